// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"example.org/xtls/fingerprint"
)

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		tv1SHA256, strings.ToUpper(tv1SHA256), "SHA256:" + tv1SHA256, "sha-256: " + tv1SHA256, key1.Grouped(), key1.Digest().Colons(),
		"", "SHA256:", tv1SHA1, "SHA256:T7YwXfnPZdMYSqo1VtM1OjTj3iQDyw3z0QS9OE69c+Q", "\xff", "4fb6 305d\u00a0f9cf",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		fp, err := fingerprint.Parse(s)
		if err != nil {
			if fp != (fingerprint.Fingerprint{}) || len(err.Error()) > 800 {
				t.Errorf("Parse(%q) = %v, %v", s, fp, err)
			}
			return
		}
		for _, text := range []string{fp.String(), fp.Grouped(), fp.Digest().Colons(), "SHA256:" + fp.String()} {
			if again, err := fingerprint.Parse(text); err != nil || again != fp {
				t.Errorf("Parse(%q) = %v, but Parse(%q) = %v, %v", s, fp, text, again, err)
			}
		}
		// Nothing but the prefix, colons and white space is dropped.
		hex := strings.ToLower(s)
		if n := strings.Count(hex, "a") + strings.Count(hex, "f"); n < strings.Count(fp.String(), "a")+strings.Count(fp.String(), "f") {
			t.Errorf("Parse(%q) = %v has digits that are not in the text", s, fp)
		}
	})
}

func FuzzParseDigest(f *testing.F) {
	for _, algo := range []string{"", "sha1", "sha-1", "SHA256", "sha-256", "sha384", " sha-384", "sha512", "sha-512", "md5", "sha-224"} {
		for _, text := range []string{tv1SHA1, tv1SHA256, key1.Digest().Colons(), tv1SHA256[:32] + tv1SHA256, tv1SHA256 + tv1SHA256, tv1SHA256[:32], "x", " \n", ""} {
			f.Add(algo, text)
		}
	}
	sizes := map[string]int{fingerprint.SHA1: 20, fingerprint.SHA256: 32, fingerprint.SHA384: 48, fingerprint.SHA512: 64}
	f.Fuzz(func(t *testing.T, algo, text string) {
		d, err := fingerprint.ParseDigest(algo, text)
		if err != nil {
			if d.Algo != "" || d.Sum != nil || strings.TrimSpace(algo) == "" && !errors.Is(err, fingerprint.ErrUnsupportedDigest) {
				t.Errorf("ParseDigest(%q, %q) = %v, %v", algo, text, d, err)
			}
			return
		}
		if size, ok := sizes[d.Algo]; !ok || len(d.Sum) != size || d.Strong() != (size >= 32) {
			t.Fatalf("ParseDigest(%q, %q) = %+v", algo, text, d)
		}
		for _, written := range []string{d.String(), d.Colons()} {
			for _, name := range []string{d.Algo, strings.ReplaceAll(d.Algo, "-", ""), ""} {
				again, err := fingerprint.ParseDigest(name, written)
				if err != nil || again.Algo != d.Algo || !bytes.Equal(again.Sum, d.Sum) {
					t.Errorf("ParseDigest(%q, %q) = %v, but ParseDigest(%q, %q) = %v, %v", algo, text, d, name, written, again, err)
				}
			}
		}
		if _, ok := d.Fingerprint(); ok != (d.Algo == fingerprint.SHA256) {
			t.Errorf("%+v.Fingerprint() is %t", d, ok)
		}
	})
}
