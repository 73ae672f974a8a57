// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"example.org/xtls/fingerprint"
	"example.org/xtls/jingle"
)

// setupDigest is the digest that both elements of these tests announce.
var setupDigest = fingerprint.Fingerprint{0xab, 0xcd}.Digest()

func TestSetupIsRead(t *testing.T) {
	for name, transport := range map[string]string{
		"empty":         `<transport xmlns="urn:xmpp:jingle:transports:ibb:1" sid="x"/>`,
		"empty, spaced": `<transport xmlns='urn:xmpp:jingle:transports:ibb:1' sid='x' />`,
		"with children": `<transport xmlns="urn:x"><a/><b>/></b></transport>`,
		"with a prefix": `<p:transport xmlns:p="urn:x"><p:a/></p:transport>`,
		"prefix, empty": `<p:transport xmlns:p="urn:x" sid="x"/>`,
	} {
		t.Run(name, func(t *testing.T) {
			for _, setup := range []string{"", setupActive, setupPassive} {
				ours := security{digests: []fingerprint.Digest{setupDigest}, setup: setup}
				e := ours.withSetup(jingle.Element(transport))
				theirs := security{digests: ours.digests}
				if err := theirs.readSetup(e); err != nil || theirs.setup != setup {
					t.Errorf("%s: read %q, %v", e, theirs.setup, err)
				}
				if (setup == "") != (string(e) == transport) {
					t.Errorf("rendered %s", e)
				}
			}
		})
	}
}

func TestSetupRefused(t *testing.T) {
	fp := func(attrs, text string) string {
		return `<fingerprint xmlns="` + nsDTLS + `" ` + attrs + `>` + text + `</fingerprint>`
	}
	good, other := setupDigest.Colons(), fingerprint.Fingerprint{1}.Digest().Colons()
	for name, tt := range map[string]struct {
		inner string
		want  error // nil: any
	}{
		"no role":           {fp(`hash="sha-256"`, good), errSetup},
		"two roles":         {fp(`hash="sha-256" setup="active"`, good) + fp(`hash="sha-256" setup="passive"`, good), errSetup},
		"another digest":    {fp(`hash="sha-256" setup="active"`, other), errTwoWays},
		"one good, one not": {fp(`hash="sha-256" setup="active"`, good) + fp(`hash="sha-256" setup="active"`, other), errTwoWays},
		"no known hash":     {fp(`hash="md5" setup="active"`, "AB:CD"), errTwoWays},
		"malformed":         {fp(`hash="sha-256" setup="active"`, "AB"), nil},
		"one over":          {strings.Repeat(fp(`hash="sha-256" setup="active"`, good), maxListed+1), nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := security{digests: []fingerprint.Digest{setupDigest}}
			err := s.readSetup(jingle.Element(`<transport xmlns="urn:x">` + tt.inner + `</transport>`))
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("err = %v, want %v", err, tt.want)
			}
		})
	}
	s := security{digests: []fingerprint.Digest{setupDigest}}
	all := strings.Repeat(fp(`hash="sha-256" setup="active"`, good), maxListed)
	if err := s.readSetup(jingle.Element(`<transport xmlns="urn:x">` + all + `</transport>`)); err != nil {
		t.Errorf("as many as are allowed: %v", err)
	}
}

// FuzzSetup: DTLS is read out of a transport only with a digest that the security has too.
func FuzzSetup(f *testing.F) {
	ours := security{digests: []fingerprint.Digest{setupDigest}, setup: setupActive}
	f.Add(string(ours.withSetup(jingle.Element(`<transport xmlns="urn:x"/>`))))
	f.Add(fmt.Sprintf(`<transport xmlns="urn:x"><fingerprint xmlns="%s" hash="sha-512" setup="x">AB</fingerprint></transport>`, nsDTLS))
	f.Add(`<transport`)
	f.Fuzz(func(t *testing.T, text string) {
		s := security{digests: ours.digests}
		err := s.readSetup(jingle.Element(text))
		if err != nil && s.setup != "" {
			t.Fatal("a role in spite of an error")
		}
		if s.setup != "" && !strings.Contains(strings.ToLower(text), "ab") {
			t.Fatalf("role %q without the digest", s.setup)
		}
	})
}
