// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package cpace

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
)

const (
	// CodeLength is the number of symbols in a one-time code; each has 5 bits.
	CodeLength = 6
	// codeAlphabet is z-base-32: no l, v, 0, 2.
	codeAlphabet = "ybndrfg8ejkmcpqxot1uwisza345h769"
	// MaxPassword bounds a typed password, in octets of UTF-8 before and after
	// normalisation.
	MaxPassword = 1024
)

// Errors of [ParseCode] and [ParsePassword]. None holds what was typed.
var (
	ErrCodeLength        = fmt.Errorf("cpace: a code has %d letters and digits", CodeLength)
	ErrCodeSymbol        = errors.New("cpace: a code has only letters and digits, and never l, v, 0 or 2")
	ErrPasswordEmpty     = errors.New("cpace: the password is empty")
	ErrPasswordTooLong   = fmt.Errorf("cpace: the password has over %d octets", MaxPassword)
	ErrPasswordForbidden = errors.New("cpace: the password has control, unassigned or other forbidden characters (RFC 8265 §4.2)")
)

// A Password is a secret that two people share, in the form that goes into the
// exchange. The zero value is none. No print shows it, and it cannot be taken out.
type Password struct{ prs hidden[string] }

// IsZero reports whether p is no secret.
func (p Password) IsZero() bool { return p.prs == nil }

// NewCode makes a one-time code of 30 random bits. display is what its owner reads to
// the other person, like "x9a-4up". It is used as [CodeAttempts] says.
func NewCode() (pw Password, display string) {
	var b [CodeLength]byte
	_, _ = rand.Read(b[:]) // never fails
	for i := range b {
		b[i] = codeAlphabet[b[i]%byte(len(codeAlphabet))] // 256 is a multiple of 32
	}
	code := string(b[:])
	return Password{hide(code)}, code[:CodeLength/2] + "-" + code[CodeLength/2:]
}

// ParseCode reads a one-time code as somebody typed it: upper or lower case, with
// blanks and separators anywhere. The error is ErrCodeLength or ErrCodeSymbol.
func ParseCode(typed string) (Password, error) {
	var b strings.Builder
	for _, r := range typed {
		switch {
		case unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) || strings.ContainsRune("._,:/", r):
			continue
		case 'A' <= r && r <= 'Z':
			r += 'a' - 'A'
		}
		if !strings.ContainsRune(codeAlphabet, r) {
			return Password{}, ErrCodeSymbol
		}
		b.WriteRune(r)
	}
	if b.Len() != CodeLength {
		return Password{}, ErrCodeLength
	}
	return Password{hide(b.String())}, nil
}

// ParsePassword reads a password as somebody typed it, by the OpaqueString profile of
// RFC 8265 §4.2: all blanks become spaces, and the same letters the same octets (NFC),
// however they were typed; case and the number of spaces matter. The error is one of
// ErrPasswordEmpty, ErrPasswordTooLong and ErrPasswordForbidden.
func ParsePassword(typed string) (Password, error) {
	switch {
	case typed == "":
		return Password{}, ErrPasswordEmpty
	case len(typed) > MaxPassword:
		return Password{}, ErrPasswordTooLong
	case !utf8.ValidString(typed):
		return Password{}, ErrPasswordForbidden
	}
	prs, err := precis.OpaqueString.String(typed)
	switch {
	case err != nil: // not wrapped: it is of no use to who typed
		return Password{}, ErrPasswordForbidden
	case len(prs) > MaxPassword:
		return Password{}, ErrPasswordTooLong
	default:
		return Password{hide(prs)}, nil
	}
}

// Format implements fmt.Formatter so that every verb prints the same, and no secret.
func (Password) Format(s fmt.State, _ rune) {
	_, _ = s.Write([]byte("cpace.Password(hidden)"))
}

// A hidden holds a value that no print shows. Package fmt does not call the Format of
// values in unexported fields of other structs, but looks inside them, through pointers
// too; of a function it shows no more than the address. Nil holds nothing.
type hidden[T any] func() T

func hide[T any](v T) hidden[T] { return func() T { return v } }
