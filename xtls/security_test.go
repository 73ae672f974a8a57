// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"strings"
	"testing"

	"example.org/xtls/fingerprint"
	"example.org/xtls/jingle"
)

const goodNonce = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

func securityElement(children string) jingle.Element {
	return jingle.Element(`<security xmlns="` + NS + `">` + children + `</security>`)
}

func TestParseSecurity(t *testing.T) {
	fp := strings.Repeat("ab", 32)
	tests := []struct {
		name, in string
		bad      bool
		digests  int
		methods  int
		extended bool
	}{
		{"full", `<fingerprint algo="sha-256">` + fp + `</fingerprint><method name="x509"/><method name="sas"/><binding xmlns="urn:xmpp:xtls:1" version="1 2" nonce="` + goodNonce + `"/>`, false, 1, 2, true},
		{"draft", `<fingerprint algo="sha1">` + fp[:40] + `</fingerprint><method name="x509"/><method name="srp"/>`, false, 1, 2, false},
		{"Gajim", `<fingerprint>` + strings.ToUpper(fp[:2]) + strings.Repeat(":AB", 31) + `</fingerprint><method name="x509"/>`, false, 1, 1, false},
		{"empty", ``, false, 0, 0, false},
		{"MD5 and unknown ones are ignored", `<fingerprint algo="md5">` + fp[:32] + `</fingerprint><fingerprint algo="sha3-256">` + fp + `</fingerprint><other xmlns="x"/>`, false, 0, 0, false},
		{"foreign children are not ours", `<fingerprint xmlns="urn:other" algo="sha-256">` + fp + `</fingerprint><binding version="1" nonce="` + goodNonce + `"/>`, false, 0, 0, false},
		{"32 methods", strings.Repeat(`<method name="m"/>`, 32), false, 0, 32, false},
		{"33 methods", strings.Repeat(`<method name="m"/>`, 33), true, 0, 0, false},
		{"33 fingerprints", strings.Repeat(`<fingerprint>`+fp+`</fingerprint>`, 33), true, 0, 0, false},
		{"digest of the wrong length", `<fingerprint algo="sha-256">` + fp[:62] + `</fingerprint>`, true, 0, 0, false},
		{"long method name", `<method name="` + strings.Repeat("m", 65) + `"/>`, true, 0, 0, false},
		{"two bindings", strings.Repeat(`<binding xmlns="urn:xmpp:xtls:1" version="1" nonce="`+goodNonce+`"/>`, 2), true, 0, 0, false},
		{"no version", `<binding xmlns="urn:xmpp:xtls:1" nonce="` + goodNonce + `"/>`, true, 0, 0, false},
		{"33 versions", `<binding xmlns="urn:xmpp:xtls:1" version="` + strings.Repeat("1 ", 33) + `" nonce="` + goodNonce + `"/>`, true, 0, 0, false},
		{"short nonce", `<binding xmlns="urn:xmpp:xtls:1" version="1" nonce="AAAA"/>`, true, 0, 0, false},
		{"loose base64", `<binding xmlns="urn:xmpp:xtls:1" version="1" nonce="` + goodNonce[:42] + `B="/>`, true, 0, 0, false},
		{"number of a control frame", `<control xmlns="urn:xmpp:xtls:1" seq="01">AAAA</control>`, true, 0, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := parseSecurity(securityElement(tt.in))
			if (err != nil) != tt.bad {
				t.Fatalf("err = %v, want one: %v", err, tt.bad)
			}
			if err == nil && (len(s.digests) != tt.digests || len(s.methods) != tt.methods || (s.binding != nil) != tt.extended) {
				t.Errorf("parsed %+v", s)
			}
		})
	}
}

func TestParseApp(t *testing.T) {
	tests := map[string]struct {
		in   string
		want App
		ok   bool
	}{
		"default":       {`<description xmlns="urn:xmpp:xtls:tunnel:1"/>`, Tunnel(""), true},
		"service":       {`<description xmlns="urn:xmpp:xtls:tunnel:1" service="a-z.0_9"/>`, Tunnel("a-z.0_9"), true},
		"longest":       {`<description xmlns="urn:xmpp:xtls:tunnel:1" service="` + strings.Repeat("a", 64) + `"/>`, Tunnel(strings.Repeat("a", 64)), true},
		"one over":      {`<description xmlns="urn:xmpp:xtls:tunnel:1" service="` + strings.Repeat("a", 65) + `"/>`, App{}, false},
		"empty":         {`<description xmlns="urn:xmpp:xtls:tunnel:1" service=""/>`, App{}, false},
		"upper case":    {`<description xmlns="urn:xmpp:xtls:tunnel:1" service="Web"/>`, App{}, false},
		"blank":         {`<description xmlns="urn:xmpp:xtls:tunnel:1" service="a b"/>`, App{}, false},
		"other app":     {`<description xmlns="urn:xmpp:jingle:apps:rtp:1"/>`, App{}, false},
		"other element": {`<transport xmlns="urn:xmpp:xtls:tunnel:1"/>`, App{}, false},
		"absent":        {``, App{}, false},
	}
	for name, tt := range tests {
		got, err := parseApp(jingle.Element(tt.in))
		if (err == nil) != tt.ok || tt.ok && got != tt.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if again, err := parseApp(got.element()); tt.ok && (err != nil || again != got) {
			t.Errorf("%s: rendered and parsed again: %+v, %v", name, again, err)
		}
	}
}

// FuzzSecurity checks that what is parsed is within bounds and survives being
// written and parsed again.
func FuzzSecurity(f *testing.F) {
	f.Add(`<fingerprint algo="sha-256">` + strings.Repeat("ab", 32) + `</fingerprint><method name="x509"/><binding xmlns="urn:xmpp:xtls:1" version="1" nonce="` + goodNonce + `"/>`)
	f.Add(`<fingerprint>AB:CD</fingerprint><method name="&quot;&lt;"/>`)
	f.Add(`<control xmlns="urn:xmpp:xtls:1" seq="7">AAAA</control>`)
	f.Fuzz(func(t *testing.T, children string) {
		s, err := parseSecurity(securityElement(children))
		if err != nil {
			return
		}
		if len(s.digests) > maxListed || len(s.methods) > maxListed {
			t.Fatalf("over the bounds: %+v", s)
		}
		again, err := parseSecurity(s.element())
		if err != nil {
			t.Fatalf("rendered as %s: %v", s.element(), err)
		}
		o1, o2 := s.offer(Tunnel("")), again.offer(Tunnel(""))
		if string(o1.canonical()) != string(o2.canonical()) {
			t.Fatalf("%s means something else than %s", s.element(), children)
		}
		if (s.control == nil) != (again.control == nil) {
			t.Fatal("control frame lost")
		}
	})
}

func TestOwnSecurityElement(t *testing.T) {
	s := security{
		digests: []fingerprint.Digest{fingerprint.Fingerprint{1}.Digest()},
		methods: []string{methodX509},
		binding: &binding{versions: []string{"1"}, nonce: make([]byte, nonceSize)},
	}
	const want = `<security xmlns="urn:xmpp:jingle:security:xtls:0"><fingerprint algo="sha-256">0100000000000000000000000000000000000000000000000000000000000000</fingerprint>` +
		`<method name="x509"/><binding xmlns="urn:xmpp:xtls:1" version="1" nonce="` + goodNonce + `"/></security>`
	if got := string(s.element()); got != want {
		t.Errorf("rendered %s\nwant     %s", got, want)
	}
}
