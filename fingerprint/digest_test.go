// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint_test

import (
	"crypto/sha1"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"example.org/xtls/fingerprint"
)

func digestsOf(der []byte) (s1, s384, s512 string) {
	a, b, c := sha1.Sum(der), sha512.Sum384(der), sha512.Sum512(der)
	return hex.EncodeToString(a[:]), hex.EncodeToString(b[:]), hex.EncodeToString(c[:])
}

// The forms of the table in PROTOCOL.md section 4.
func TestParseDigest(t *testing.T) {
	der := tv1DER(t)
	s1, s384, s512 := digestsOf(der)
	if s1 != tv1SHA1 {
		t.Fatalf("SHA-1 of TV1 = %s, want %s", s1, tv1SHA1)
	}
	colons := fingerprint.Of(der).Digest().Colons()
	for _, tt := range []struct {
		name, algo, text, want, written string
		strong                          bool
	}{
		{"draft-02", "sha1", s1, fingerprint.SHA1, s1, false},
		{"sha-1", "sha-1", s1, fingerprint.SHA1, s1, false},
		{"sha-256", "sha-256", tv1SHA256, fingerprint.SHA256, tv1SHA256, true},
		{"sha256", "sha256", tv1SHA256, fingerprint.SHA256, tv1SHA256, true},
		{"sha-384", "sha-384", s384, fingerprint.SHA384, s384, true},
		{"sha384", "sha384", s384, fingerprint.SHA384, s384, true},
		{"sha-512", "sha-512", s512, fingerprint.SHA512, s512, true},
		{"sha512", "sha512", s512, fingerprint.SHA512, s512, true},
		{"XEP-0320", "sha-256", colons, fingerprint.SHA256, tv1SHA256, true},
		{"Gajim: no algo, upper case, colons", "", colons, fingerprint.SHA256, tv1SHA256, true},
		{"no algo, 40 digits", "", s1, fingerprint.SHA1, s1, false},
		{"no algo, 96 digits", " ", s384, fingerprint.SHA384, s384, true},
		{"no algo, 128 digits", "", s512, fingerprint.SHA512, s512, true},
		{"case and blanks", " SHA-256\n", "\n  " + strings.ToUpper(tv1SHA256[:32]) + "\n  " + tv1SHA256[32:] + "\n", fingerprint.SHA256, tv1SHA256, true},
		{"at the bound", "sha-256", tv1SHA256 + strings.Repeat(" ", 512-64), fingerprint.SHA256, tv1SHA256, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := fingerprint.ParseDigest(tt.algo, tt.text)
			if err != nil || d.Algo != tt.want || d.String() != tt.written || d.Strong() != tt.strong {
				t.Errorf("ParseDigest(%q, %q) = %s %v strong %t, %v, want %s %s strong %t", tt.algo, tt.text, d.Algo, d, d.Strong(), err, tt.want, tt.written, tt.strong)
			}
			if !d.Matches(der) {
				t.Error("Matches(its certificate) = false")
			}
			if d.Matches(der[1:]) {
				t.Error("Matches(something else) = true")
			}
			f, ok := d.Fingerprint()
			if ok != (tt.want == fingerprint.SHA256) || ok && f != fingerprint.Of(der) {
				t.Errorf("Fingerprint() = %v, %t", f, ok)
			}
		})
	}
}

func TestParseDigestRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, algo, text string
		ignore           bool
	}{
		{"MD5 by name", "md5", "d41d8cd98f00b204e9800998ecf8427e", true},
		{"MD5 by length", "", "d41d8cd98f00b204e9800998ecf8427e", true},
		{"MD5 by name, other length", "md5", tv1SHA256, true},
		{"unknown, too long", "sha3-512", strings.Repeat("0", 1000), true},
		{"sha-224", "sha-224", strings.Repeat("0", 56), true},
		{"none, placeholder", "", "FINGERPRINT", true},
		{"none, empty", "", "", true},
		{"none, too long", "", tv1SHA256 + strings.Repeat(" ", 512), true},
		{"sha-256 of another length", "sha-256", tv1SHA1, false},
		{"sha-1 of another length", "sha-1", tv1SHA256, false},
		{"sha-256 empty", "sha-256", "", false},
		{"sha-256 not hexadecimal", "sha-256", "x" + tv1SHA256[1:], false},
		{"sha-256 odd", "sha-256", tv1SHA256[1:], false},
		{"sha-256 over the bound", "sha-256", tv1SHA256 + strings.Repeat(" ", 513-64), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := fingerprint.ParseDigest(tt.algo, tt.text)
			if err == nil || errors.Is(err, fingerprint.ErrUnsupportedDigest) != tt.ignore {
				t.Errorf("ParseDigest(%q, %q) = %v, %v, want an error, to be ignored: %t", tt.algo, tt.text, d, err, tt.ignore)
			}
		})
	}
}

func TestDigestColons(t *testing.T) {
	want := "4F:B6:30:5D:F9:CF:65:D3:18:4A:AA:35:56:D3:35:3A:34:E3:DE:24:03:CB:0D:F3:D1:04:BD:38:4E:BD:73:E4"
	if got := fingerprint.Of(tv1DER(t)).Digest().Colons(); got != want {
		t.Errorf("Colons() = %q, want %q", got, want)
	}
}

// PROTOCOL.md section 4.
func TestCheckDigests(t *testing.T) {
	der := tv1DER(t)
	parse := func(algo, text string) fingerprint.Digest {
		t.Helper()
		d, err := fingerprint.ParseDigest(algo, text)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	s1, s384, s512 := digestsOf(der)
	wrong1, _, wrong512 := digestsOf([]byte("another certificate"))
	right := parse("", tv1SHA256)
	wrong := fingerprint.Of([]byte("another certificate")).Digest()
	for _, tt := range []struct {
		name    string
		digests []fingerprint.Digest
		want    error
	}{
		{"none", nil, fingerprint.ErrWeakDigests},
		{"sha-1 alone", []fingerprint.Digest{parse("", s1)}, fingerprint.ErrWeakDigests},
		{"sha-1 twice", []fingerprint.Digest{parse("", s1), parse("sha1", s1)}, fingerprint.ErrWeakDigests},
		{"sha-256 alone", []fingerprint.Digest{right}, nil},
		{"sha-384 alone", []fingerprint.Digest{parse("", s384)}, nil},
		{"sha-512 alone", []fingerprint.Digest{parse("", s512)}, nil},
		{"draft pair", []fingerprint.Digest{parse("sha1", s1), right}, nil},
		{"wrong", []fingerprint.Digest{wrong}, fingerprint.ErrNotAnnounced},
		{"right, then wrong", []fingerprint.Digest{right, wrong}, fingerprint.ErrNotAnnounced},
		{"wrong, then right", []fingerprint.Digest{wrong, right}, fingerprint.ErrNotAnnounced},
		{"right, wrong sha-1", []fingerprint.Digest{right, parse("", wrong1)}, fingerprint.ErrNotAnnounced},
		{"right, wrong sha-512", []fingerprint.Digest{right, parse("", wrong512)}, fingerprint.ErrNotAnnounced},
		{"made by hand: unknown algorithm", []fingerprint.Digest{right, {Algo: "md5", Sum: make([]byte, 16)}}, fingerprint.ErrNotAnnounced},
		{"made by hand: cut", []fingerprint.Digest{{Algo: fingerprint.SHA256, Sum: right.Sum[:31]}}, fingerprint.ErrNotAnnounced},
		{"made by hand: empty", []fingerprint.Digest{{}}, fingerprint.ErrNotAnnounced},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := fingerprint.CheckDigests(tt.digests, der); !errors.Is(err, tt.want) {
				t.Errorf("CheckDigests(%v) = %v, want %v", tt.digests, err, tt.want)
			}
		})
	}
}
