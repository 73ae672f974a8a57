// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText bounds, in octets, the text of one digest as a person or a peer may write it. The longest sensible one is a SHA-512 in pairs
// with colons (191 octets); the rest is room for blanks and line breaks.
const maxText = 512

// A Fingerprint names a certificate: it is the SHA-256 of the DER form of the end-entity certificate, not of its key (PROTOCOL.md section 4).
// It is comparable and may be a map key. The zero value names no certificate.
type Fingerprint [sha256.Size]byte

// Of returns the fingerprint of the certificate whose DER form is der, such as the first element of [crypto/tls.Certificate].Certificate
// or the Raw field of a [crypto/x509.Certificate].
func Of(der []byte) Fingerprint { return sha256.Sum256(der) }

// Parse reads a fingerprint the way people write and paste it: 64 hexadecimal digits of either case, with colons and white space
// anywhere, and optionally "SHA256:" or "sha-256:" in front. It accepts everything that [Fingerprint.String], [Fingerprint.Grouped] and
// [Digest.Colons] write. Text of more than 512 octets is refused unread.
func Parse(s string) (Fingerprint, error) {
	if len(s) > maxText {
		return Fingerprint{}, fmt.Errorf("fingerprint: %s is not a fingerprint: %w", quote(s), errTooLong)
	}
	text := strings.TrimSpace(s)
	if name, rest, ok := strings.Cut(text, ":"); ok {
		switch strings.ToLower(name) {
		case "sha256", "sha-256":
			text = rest
		}
	}
	sum, err := decodeHex(text)
	if err != nil {
		return Fingerprint{}, fmt.Errorf("fingerprint: %s is not a fingerprint: %w", quote(s), err)
	}
	if len(sum) != sha256.Size {
		return Fingerprint{}, fmt.Errorf("fingerprint: %s is not a fingerprint: it has %d hexadecimal digits, not 64", quote(s), 2*len(sum))
	}
	return Fingerprint(sum), nil
}

// String returns 64 lower-case hexadecimal digits, the form written in signalling and files.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// Grouped returns the digits of [Fingerprint.String] as eight groups of eight, separated by blanks, for people who read them to each other.
func (f Fingerprint) Grouped() string {
	const group = 8
	digits := f.String()
	var b strings.Builder
	for i := 0; i < len(digits); i += group {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(digits[i : i+group])
	}
	return b.String()
}

// Digest returns f in the form in which it is signalled: algorithm sha-256.
func (f Fingerprint) Digest() Digest { return Digest{Algo: SHA256, Sum: f[:]} }

var (
	errNotHex    = errors.New("it may only hold hexadecimal digits, colons and blanks")
	errTooLong   = fmt.Errorf("it is longer than %d octets", maxText)
	errOddDigits = errors.New("it has an odd number of hexadecimal digits")
)

// decodeHex decodes text after dropping colons and white space (PROTOCOL.md section 4). The caller bounds its length.
func decodeHex(text string) ([]byte, error) {
	digits := strings.Map(func(r rune) rune {
		if r == ':' || unicode.IsSpace(r) {
			return -1
		}
		return r
	}, text)
	sum, err := hex.DecodeString(digits)
	switch {
	case errors.Is(err, hex.ErrLength):
		return nil, errOddDigits
	case err != nil:
		return nil, errNotHex
	}
	return sum, nil
}

// maxQuoted bounds the octets of foreign text in an error.
const maxQuoted = 80

// quote makes text of others safe to print: cut, and quoted as by %q.
func quote(s string) string {
	if len(s) <= maxQuoted {
		return strconv.Quote(s)
	}
	cut := maxQuoted
	for cut > maxQuoted-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strconv.Quote(s[:cut]) + "..."
}
