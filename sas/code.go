// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package sas

import (
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"unicode"
)

const (
	codeBits    = 42 // the longest form
	b32Bits     = 30 // 6 characters of 5
	decimalBits = 39 // 3 numbers of 13
	emojiBits   = 42 // 7 pictures of 6

	decimalBase = 1000 // numbers are 1000 to 9191, four digits always

	// b32Alphabet is z-base-32, as in ZRTP: without l, v, 0 and 2.
	b32Alphabet = "ybndrfg8ejkmcpqxot1uwisza345h769"

	// maxTyped is the longest input that is looked at, in octets. Seven names or
	// pictures with blanks and commas need about 100.
	maxTyped = 512
)

// A Form is a way to write a code (PROTOCOL.md section 7.1). All forms are prefixes of
// the same bits, so it does not matter which one two people use, and an attacker
// gains nothing if they use several.
type Form byte

// The forms. Both users must read the same one.
const (
	FormB32     Form = iota + 1 // "x9a-4up", 30 bits: the default
	FormDecimal                 // "5094-2702-7958", 39 bits: for any script and language
	FormEmoji                   // seven of 64 pictures, 42 bits
)

// A Code is what two people compare: the leading 42 bits of S. The zero Code is no
// code: it is written as nothing and nothing matches it. Printing a Code shows
// nothing, so that it does not get into logs; show it with B32, Decimal or Emoji.
type Code struct {
	bits uint64 // 42 bits, right-aligned
	set  bool
}

func newCode(s [macSize]byte) Code {
	return Code{bits: binary.BigEndian.Uint64(s[:8]) >> (64 - codeBits), set: true}
}

// Format keeps codes out of logs, whatever the verb.
func (c Code) Format(f fmt.State, _ rune) { io.WriteString(f, "sas.Code(not shown)") }

// lead returns the leading n bits, right-aligned.
func (c Code) lead(n int) uint64 { return c.bits >> (codeBits - n) }

// B32 returns six characters of z-base-32, such as "x9a4up".
func (c Code) B32() string {
	if !c.set {
		return ""
	}
	var b [b32Bits / 5]byte
	for i := range b {
		b[i] = b32Alphabet[c.lead(5*(i+1))&31]
	}
	return string(b[:])
}

// B32Grouped returns B32 as people read it: "x9a-4up".
func (c Code) B32Grouped() string {
	if !c.set {
		return ""
	}
	s := c.B32()
	return s[:3] + "-" + s[3:]
}

// Decimal returns three numbers from 1000 to 9191, such as "5094-2702-7958".
func (c Code) Decimal() string {
	if !c.set {
		return ""
	}
	number := func(i int) uint64 { return c.lead(13*i)&8191 + decimalBase }
	return fmt.Sprintf("%d-%d-%d", number(1), number(2), number(3))
}

// Emoji returns seven entries of the table of Matrix. All are zero if c is.
func (c Code) Emoji() [7]Emoji {
	var e [7]Emoji
	if !c.set {
		return e
	}
	for i := range e {
		n := int(c.lead(6*(i+1)) & 63)
		e[i] = Emoji{Number: n, Symbol: emojiTable[n].symbol, Name: emojiTable[n].name}
	}
	return e
}

// Matches reports whether typed, what the user entered of the other's code, is
// this code in the given form. Case, blanks, hyphens and commas do not matter. In
// FormB32 the four characters that never occur stand for those they are mistaken
// for (0 for o, l for 1, 2 for z, v for u); since they never occur this accepts no
// second code. In FormEmoji names, symbols and numbers are taken, also mixed;
// numbers must be separated.
//
// The comparison takes the same time whatever the code is. Text that is no code
// matches nothing, as does anything longer than 512 octets. How many typos are
// allowed before it is a [Mismatch] is for the caller to count.
func (c Code) Matches(form Form, typed string) bool {
	if !c.set || len(typed) > maxTyped {
		return false
	}
	var got uint64
	var ok bool
	var n int
	switch form {
	case FormB32:
		n = b32Bits
		got, ok = parseB32(typed)
	case FormDecimal:
		n = decimalBits
		got, ok = parseDecimal(typed)
	case FormEmoji:
		n = emojiBits
		got, ok = parseEmoji(typed)
	}
	if !ok {
		return false
	}
	var a, b [8]byte
	binary.BigEndian.PutUint64(a[:], got)
	binary.BigEndian.PutUint64(b[:], c.lead(n))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

func isSeparator(r rune) bool {
	return unicode.IsSpace(r) || unicode.Is(unicode.Dash, r) || r == ','
}

// compact drops separators and turns ASCII letters to lower case.
func compact(typed string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case isSeparator(r):
			return -1
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return r
	}, typed)
}

// mistaken replaces what is not in the alphabet by what it looks like, which is
// why it is not in the alphabet.
var mistaken = strings.NewReplacer("0", "o", "l", "1", "2", "z", "v", "u")

func parseB32(typed string) (v uint64, ok bool) {
	s := mistaken.Replace(compact(typed))
	if len(s) != b32Bits/5 {
		return 0, false
	}
	for i := range len(s) {
		d := strings.IndexByte(b32Alphabet, s[i])
		if d < 0 {
			return 0, false
		}
		v = v<<5 | uint64(d)
	}
	return v, true
}

func parseDecimal(typed string) (v uint64, ok bool) {
	s := compact(typed)
	if len(s) != 3*4 {
		return 0, false
	}
	for i := 0; i < len(s); i += 4 {
		n, ok := parseNumber(s[i : i+4])
		if !ok || n < decimalBase || n > decimalBase+8191 {
			return 0, false
		}
		v = v<<13 | (n - decimalBase)
	}
	return v, true
}

// parseNumber takes one to four decimal digits and nothing else.
func parseNumber(s string) (n uint64, ok bool) {
	if len(s) < 1 || len(s) > 4 {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = 10*n + uint64(s[i]-'0')
	}
	return n, true
}
