// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.org/xtls/fingerprint"
)

var (
	oidSAN      = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidXMPPAddr = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5}
	oidOther    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}
)

// element returns the DER of one element.
func element(class, tag int, compound bool, content ...[]byte) []byte {
	der, err := asn1.Marshal(asn1.RawValue{Class: class, Tag: tag, IsCompound: compound, Bytes: slices.Concat(content...)})
	if err != nil {
		panic(err)
	}
	return der
}

func sequence(content ...[]byte) []byte { return element(0, asn1.TagSequence, true, content...) }

func otherName(id asn1.ObjectIdentifier, value ...[]byte) []byte {
	oid, err := asn1.Marshal(id)
	if err != nil {
		panic(err)
	}
	return element(2, 0, true, oid, slices.Concat(value...))
}

// addrName is an XMPP address whose text has the given tag.
func addrName(tag int, text string) []byte {
	return otherName(oidXMPPAddr, element(2, 0, true, element(0, tag, false, []byte(text))))
}

func TestXMPPAddrs(t *testing.T) {
	dns := element(2, 2, false, []byte("isle.example"))
	utf8 := func(text string) []byte { return addrName(asn1.TagUTF8String, text) }
	for _, tt := range []struct {
		name string
		san  []byte // nil: no such extension
		want string // of fmt.Sprint; empty: an error
		why  string
	}{
		{"no names", nil, "[]", ""},
		{"only others", sequence(dns, otherName(oidOther, element(2, 0, true, element(0, asn1.TagUTF8String, false, []byte("x"))))), "[]", ""},
		{"one", sequence(utf8("alba@isle.example")), "[alba@isle.example]", ""},
		{"two and others", sequence(dns, utf8("alba@isle.example"), dns, utf8("bruno@moor.example")), "[alba@isle.example bruno@moor.example]", ""},
		{"normalised, resource cut", sequence(utf8("Alba@ISLE.example./desk")), "[alba@isle.example]", ""},
		{"IA5String", sequence(addrName(asn1.TagIA5String, "alba@isle.example")), "[alba@isle.example]", ""},
		{"64 names", sequence(slices.Repeat([][]byte{dns}, 64)...), "[]", ""},
		{"65 names", sequence(slices.Repeat([][]byte{dns}, 65)...), "", "more than 64 names"},
		{"not a sequence", element(0, asn1.TagUTF8String, false, []byte("x")), "", "not a list"},
		{"rest", append(sequence(dns), 0), "", "not a list"},
		{"cut", sequence(utf8("alba@isle.example")[:20]), "", "malformed"},
		{"no type", sequence(element(2, 0, true)), "", "no type"},
		{"no value", sequence(otherName(oidXMPPAddr)), "", "no value"},
		{"value not tagged", sequence(otherName(oidXMPPAddr, element(0, asn1.TagUTF8String, false, []byte("a@b")))), "", "no value"},
		{"not text", sequence(addrName(asn1.TagOctetString, "alba@isle.example")), "", "not text"},
		{"not UTF-8", sequence(utf8("alba\xff@isle.example")), "", "not UTF-8"},
		{"too long", sequence(utf8("a@b/" + strings.Repeat("c", 3068))), "", "too long"},
		{"no address", sequence(utf8("@")), "", `XMPP address "@"`},
		{"terminal escape", sequence(utf8("\x1b[2J@b")), "", `"\x1b[2J@b"`},
		{"NUL inside", sequence(utf8("alba@isle.example\x00.evil.example")), "", `\x00`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cert := &x509.Certificate{}
			if tt.san != nil {
				cert.Extensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 19}}, {Id: oidSAN, Value: tt.san}}
			}
			addrs, err := fingerprint.XMPPAddrs(cert)
			if tt.want == "" {
				if err == nil || !strings.Contains(err.Error(), tt.why) || len(addrs) > 0 {
					t.Errorf("XMPPAddrs = %v, %v, want an error with %q", addrs, err, tt.why)
				}
				return
			}
			if got := fmt.Sprint(addrs); err != nil || got != tt.want {
				t.Errorf("XMPPAddrs = %s, %v, want %s", got, err, tt.want)
			}
		})
	}
	if _, err := fingerprint.XMPPAddrs(nil); err == nil {
		t.Error("XMPPAddrs(nil) succeeded")
	}
}

func TestXMPPAddrsVector(t *testing.T) {
	cert, err := x509.ParseCertificate(tv1DER(t))
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := fingerprint.XMPPAddrs(cert)
	if got := fmt.Sprint(addrs); err != nil || got != "[alba@isle.example]" {
		t.Errorf("XMPPAddrs(TV1) = %s, %v", got, err)
	}
}
