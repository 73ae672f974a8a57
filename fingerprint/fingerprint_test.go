// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint_test

import (
	"strings"
	"testing"

	"example.org/xtls/fingerprint"
)

func TestOfVector(t *testing.T) {
	f := fingerprint.Of(tv1DER(t))
	if f.String() != tv1SHA256 {
		t.Errorf("Of(TV1) = %v, want %s", f, tv1SHA256)
	}
	want := "4fb6305d f9cf65d3 184aaa35 56d3353a 34e3de24 03cb0df3 d104bd38 4ebd73e4"
	if got := f.Grouped(); got != want {
		t.Errorf("Grouped() = %q, want %q", got, want)
	}
}

func TestParse(t *testing.T) {
	f := fingerprint.Of(tv1DER(t))
	upper := strings.ToUpper(tv1SHA256)
	for _, tt := range []struct{ name, text string }{
		{"String", f.String()},
		{"Grouped", f.Grouped()},
		{"Colons", f.Digest().Colons()},
		{"upper case", upper},
		{"prefix", "SHA256:" + tv1SHA256},
		{"prefix, lower case", "sha256:" + upper},
		{"prefix with hyphen", "sha-256:" + tv1SHA256},
		{"prefix and colons", "SHA256:" + f.Digest().Colons()},
		{"white space", "  SHA256: \t" + f.Grouped() + "\r\n"},
		{"no-break space", strings.ReplaceAll(f.Grouped(), " ", "\u00a0")},
		{"at the bound", tv1SHA256 + strings.Repeat(" ", 512-64)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := fingerprint.Parse(tt.text); err != nil || got != f {
				t.Errorf("Parse(%q) = %v, %v, want %v", tt.text, got, err, f)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ name, text, why string }{
		{"empty", "", "0 hexadecimal digits"},
		{"prefix only", "SHA256:", "0 hexadecimal digits"},
		{"one digit short", tv1SHA256[1:], "odd number"},
		{"one octet short", tv1SHA256[2:], "62 hexadecimal digits"},
		{"one octet long", tv1SHA256 + "00", "66 hexadecimal digits"},
		{"SHA-1", tv1SHA1, "40 hexadecimal digits"},
		{"other prefix", "MD5:" + tv1SHA256, "may only hold"},
		{"prefix twice", "SHA256:SHA256:" + tv1SHA256, "may only hold"},
		{"base64, as ssh writes it", "SHA256:T7YwXfnPZdMYSqo1VtM1OjTj3iQDyw3z0QS9OE69c+Q", "may only hold"},
		{"hyphens", strings.Repeat("4fb6-", 16), "may only hold"},
		{"letter", "g" + tv1SHA256[1:], "may only hold"},
		{"not UTF-8", tv1SHA256[:62] + "\xff\xfe", "may only hold"},
		{"over the bound", tv1SHA256 + strings.Repeat(" ", 513-64), "longer than 512"},
		{"terminal escape", "\x1b[2J" + strings.Repeat("é", 200), `\x1b[2J`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := fingerprint.Parse(tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.why) {
				t.Fatalf("Parse(%q) = %v, %v, want an error with %q", tt.text, f, err, tt.why)
			}
			if msg := err.Error(); len(msg) > 220 || strings.ContainsAny(msg, "\x1b\uFFFD") {
				t.Errorf("the error is not fit for a terminal: %q", msg)
			}
			if f != (fingerprint.Fingerprint{}) {
				t.Errorf("Parse(%q) returned %v beside an error", tt.text, f)
			}
		})
	}
}
