// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest_test

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net"
	"strings"
	"testing"

	"example.org/xtls/xtls/xtlstest"
	"mellium.im/xmpp/jid"
)

func TestMelliumLogin(t *testing.T) {
	s := startServer(t, xtlstest.Config{})
	for _, direct := range []bool{false, true} {
		session, err := dialMellium(t, s, direct, "alba", accounts["alba"])
		if err != nil {
			t.Fatalf("direct %v: %v", direct, err)
		}
		if got := session.LocalAddr(); !got.Bare().Equal(jid.MustParse("alba@localhost")) || len(got.Resourcepart()) < 16 {
			t.Errorf("direct %v: bound to %v", direct, got)
		}
		for _, wrong := range [][2]string{{"alba", "bruno's password"}, {"nobody", "x"}} {
			_, err := dialMellium(t, s, direct, wrong[0], wrong[1])
			if err == nil || !strings.Contains(err.Error(), "not-authorized") {
				t.Errorf("direct %v: login of %v with a wrong password: %v", direct, wrong[0], err)
			}
		}
	}
}

func TestCertificate(t *testing.T) {
	s := startServer(t, xtlstest.Config{Domain: "demo.example"})
	for _, tc := range []struct {
		name string
		ok   bool
	}{{"demo.example", true}, {"localhost", true}, {"127.0.0.1", true}, {"evil.example", false}} {
		cfg := s.ClientTLS()
		cfg.ServerName = tc.name
		conn, err := tls.Dial("tcp", s.DirectAddr(), cfg)
		if err == nil {
			_ = conn.Close()
		}
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	cfg := s.ClientTLS()
	if !cfg.RootCAs.AppendCertsFromPEM(s.CAPEM()) {
		t.Error("CAPEM is no certificate")
	}
	other := startServer(t, xtlstest.Config{Domain: "demo.example"})
	if conn, err := tls.Dial("tcp", other.DirectAddr(), cfg); err == nil {
		_ = conn.Close()
		t.Error("one server's authority vouches for another server")
	}
	cfg.NextProtos = []string{"http/1.1"}
	if conn, err := tls.Dial("tcp", s.DirectAddr(), cfg); err == nil {
		_ = conn.Close()
		t.Error("another protocol was agreed to")
	}
	cfg.NextProtos = []string{"xmpp-client"}
	conn, err := tls.Dial("tcp", s.DirectAddr(), cfg)
	if err != nil {
		t.Fatalf("xmpp-client: %v", err)
	}
	_ = conn.Close()
}

// TestNoPlaintext: without TLS there is nothing but STARTTLS.
func TestNoPlaintext(t *testing.T) {
	s := startServer(t, xtlstest.Config{})
	p := dialPlain(t, s)
	if f := p.open(streamHeader); !strings.Contains(f.Inner, "<required/>") || strings.Contains(f.Inner, "PLAIN") {
		t.Errorf("features without TLS: %s", f.Inner)
	}
	p.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth>", plain("", "alba", accounts["alba"]))
	p.want("failure", "encryption-required")
	p.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
	p.wantStreamError("not-authorized")

	p = dialPlain(t, s)
	p.open(streamHeader)
	for range 16 {
		p.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>")
	}
	p.wantStreamError("policy-violation")
}

// TestStartTLS: what was sent ahead of TLS is never taken for what came inside;
// an end tag of its own is part of the request.
func TestStartTLS(t *testing.T) {
	s := startServer(t, xtlstest.Config{})
	p := dialPlain(t, s)
	p.open(streamHeader)
	p.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" + streamHeader)
	p.wantStreamError("policy-violation")

	p = dialPlain(t, s)
	p.open(strings.Replace(streamHeader, "?>", "?>\n ", 1))
	p.send("\n <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'></starttls>")
	p.want("proceed")
	conn := tls.Client(p.conn, s.ClientTLS())
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	p = newPeer(t, conn)
	p.auth("alba", accounts["alba"])
	p.bind("desk")
	p.sync()
	p.send("</stream:stream>")
	if _, err := p.read(); err == nil {
		t.Error("the stream goes on after its end")
	}
}

func TestSASL(t *testing.T) {
	s := startServer(t, xtlstest.Config{})
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	good := plain("", "alba", accounts["alba"])
	for _, tc := range []struct{ name, mechanism, message, want string }{
		{"good", "PLAIN", good, "success"},
		{"own authzid", "PLAIN", plain("alba@localhost", "alba", accounts["alba"]), "success"},
		{"other case", "PLAIN", plain("", "ALBA", accounts["alba"]), "success"},
		{"wrong password", "PLAIN", plain("", "alba", accounts["alba"]+"x"), "not-authorized"},
		{"no password", "PLAIN", plain("", "alba", ""), "not-authorized"},
		{"unknown", "PLAIN", plain("", "nobody", ""), "not-authorized"},
		{"no name", "PLAIN", plain("", "", "x"), "not-authorized"},
		{"bad name", "PLAIN", plain("", "a@b", "x"), "not-authorized"},
		{"foreign authzid", "PLAIN", plain("bruno@localhost", "alba", accounts["alba"]), "invalid-authzid"},
		{"mechanism", "SCRAM-SHA-1", good, "invalid-mechanism"},
		{"base64", "PLAIN", "!!!", "incorrect-encoding"},
		{"empty", "PLAIN", "=", "incorrect-encoding"},
		{"two parts", "PLAIN", b64("\x00alba"), "malformed-request"},
		{"four parts", "PLAIN", b64("\x00alba\x00x\x00y"), "malformed-request"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := dialTLS(t, s)
			p.open(streamHeader)
			p.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='%s'>%s</auth>", tc.mechanism, tc.message)
			p.want(tc.want)
		})
	}

	p := dialTLS(t, s)
	p.open(streamHeader)
	p.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>")
	p.want("challenge")
	p.send("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
	p.want("failure", "aborted")
	p.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>")
	p.want("challenge")
	p.send("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>%s</response>", good)
	p.want("success")

	p = dialTLS(t, s)
	p.open(streamHeader)
	for range 3 {
		p.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth>", plain("", "alba", "guess"))
	}
	for range 3 {
		p.want("failure", "not-authorized")
	}
	p.wantStreamError("policy-violation")
}

func TestBind(t *testing.T) {
	s := startServer(t, xtlstest.Config{})
	first := login(t, s, "alba", accounts["alba"], "desk")
	if first.jid != "alba@localhost/desk" {
		t.Errorf("bound to %q, asked for desk", first.jid)
	}
	second := login(t, s, "alba", accounts["alba"], "desk")
	third := login(t, s, "alba", accounts["alba"], "")
	for _, p := range []*peer{second, third} {
		res := jid.MustParse(p.jid).Resourcepart()
		if len(res) != 32 || p.jid == first.jid {
			t.Errorf("bound to %q, want 128 random bits", p.jid)
		}
	}
	if second.jid == third.jid {
		t.Error("two clients have one address")
	}
	p := dialTLS(t, s)
	p.auth("alba", accounts["alba"])
	p.open(streamHeader)
	p.send("<iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>%s</resource></bind></iq>", repeat("x", 1024))
	p.want(`type="error"`, `id="b1"`, "bad-request")
	p.send("<iq type='set' id='b2'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>a&amp;b</resource></bind></iq>")
	p.want(`type="result"`, "<jid>alba@localhost/a&amp;b</jid>")
	p.send("<iq type='set' id='b3'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
	p.want(`type="error"`, "service-unavailable")

	p = dialTLS(t, s)
	p.auth("alba", accounts["alba"])
	p.open(streamHeader)
	p.send("<message to='bruno@localhost'><body>too early</body></message>")
	p.wantStreamError("not-authorized")
}

func TestStreamHeader(t *testing.T) {
	s := startServer(t, xtlstest.Config{})
	for _, tc := range []struct{ name, header, want string }{
		{"domain", strings.Replace(streamHeader, "localhost", "evil.example", 1), "host-unknown"},
		{"no domain", strings.Replace(streamHeader, "to='localhost'", "", 1), "host-unknown"},
		{"version", strings.Replace(streamHeader, "version='1.0'>", "version='2.0'>", 1), "unsupported-version"},
		{"content namespace", strings.Replace(streamHeader, "jabber:client", "jabber:server", 1), "invalid-namespace"},
		{"stream namespace", strings.Replace(streamHeader, "etherx", "other", 1), "invalid-namespace"},
		{"root", "<iq xmlns='jabber:client'>", "invalid-namespace"},
		{"from", strings.Replace(streamHeader, "to=", "from='a@b@c/' to=", 1), "invalid-from"},
		{"encoding", "<?xml version='1.0' encoding='iso-8859-1'?>" + strings.TrimPrefix(streamHeader, "<?xml version='1.0'?>"), "unsupported-encoding"},
		{"DTD", "<!DOCTYPE x>" + streamHeader, "restricted-xml"},
		{"end", "</x>", "not-well-formed"},
		{"second declaration", "<?xml version='1.0'?>" + streamHeader, "restricted-xml"},
		{"text", "hello<", "not-well-formed"},
		{"garbage", "\x16\x03\x01\x00\xff<", "not-well-formed"},
		{"endless", "<" + repeat("a", 20<<10), "policy-violation"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := dialTLS(t, s)
			// The error stands in a stream of its own, whatever ours was.
			if e := p.open(tc.header); e.XMLName.Local != "error" || !strings.Contains(e.Inner, tc.want) {
				t.Errorf("got %s, want %s", e, tc.want)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	for _, cfg := range []xtlstest.Config{
		{RateLimit: -1},
		{StanzaLimit: -1},
		{QueueLimit: -1},
		{Latency: -1},
		{DropAfter: -1},
		{Domain: "a@b"},
		{Domain: "a/b"},
		{Listen: "nowhere"},
		{ListenDirect: "nowhere"},
		{Accounts: map[string]string{"": "x"}},
		{Accounts: map[string]string{"a b": "x"}},
		{Accounts: map[string]string{"a": ""}},
	} {
		s, err := xtlstest.Start(cfg)
		if err == nil {
			_ = s.Close()
			t.Errorf("accepted %+v", cfg)
		} else if !strings.HasPrefix(err.Error(), "xtlstest: ") {
			t.Errorf("%v does not say where it comes from", err)
		}
	}
}

func TestClose(t *testing.T) {
	s, err := xtlstest.Start(xtlstest.Config{Accounts: accounts})
	if err != nil {
		t.Fatal(err)
	}
	bound := login(t, s, "alba", accounts["alba"], "desk")
	early := dialTLS(t, s)
	early.open(streamHeader)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	bound.wantStreamError("system-shutdown")
	early.wantStreamError("system-shutdown")
	if err := s.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	if conn, err := net.Dial("tcp", s.Addr()); err == nil {
		_ = conn.Close()
		t.Error("still listening")
	}
}
