// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"example.org/xtls/transport"
	"example.org/xtls/transport/s5b"
	"example.org/xtls/transport/transporttest"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
	"mellium.im/xmlstream"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

const (
	proxyQuery    = "<query xmlns='http://jabber.org/protocol/bytestreams'/>"
	activateBruno = "<iq type='set' id='9' to='proxy.localhost'><query xmlns='http://jabber.org/protocol/bytestreams' sid='s1'>" +
		"<activate>bruno@localhost/phone</activate></query></iq>"
)

// TestProxyIQ: what the relay says of itself (XEP-0065 §4).
func TestProxyIQ(t *testing.T) {
	s := startServer(t, xtlstest.Config{})
	a, _ := two(t, s)
	host, port, err := net.SplitHostPort(s.ProxyAddr())
	if err != nil {
		t.Fatal(err)
	}
	const info = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
	const items = "<query xmlns='http://jabber.org/protocol/disco#items'/>"
	for _, tc := range []struct {
		name, to, typ, payload string
		want                   []string
	}{
		{"items of the server", "localhost", "get", items, []string{"<item jid='proxy.localhost'/>"}},
		{"info", "proxy.localhost", "get", info, []string{"category='proxy' type='bytestreams'"}},
		{"items", "proxy.localhost", "get", items, []string{`type="result"`}},
		{"address", "proxy.localhost", "get", proxyQuery, []string{"jid='proxy.localhost'", "host='" + host + "'", "port='" + port + "'"}},
		{"activation of nothing", "proxy.localhost", "set", proxyQuery, []string{"bad-request"}},
		{"activation without connections", "proxy.localhost", "set", "<query xmlns='http://jabber.org/protocol/bytestreams' sid='s1'><activate>bruno@localhost/phone</activate></query>", []string{"item-not-found"}},
		{"something else", "proxy.localhost", "get", "<ping xmlns='urn:xmpp:ping'/>", []string{"service-unavailable"}},
		{"another service", "elsewhere.localhost", "get", info, []string{"remote-server-not-found"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a.t = t
			a.send("<iq type='%s' id='1' to='%s'>%s</iq>", tc.typ, tc.to, tc.payload)
			a.want(tc.want...)
		})
	}

	off := startServer(t, xtlstest.Config{Proxy: xtlstest.ProxyOff})
	a, _ = two(t, off)
	a.send("<iq type='get' id='1' to='localhost'>%s</iq>", items)
	if e := a.want(`type="result"`); bytes.Contains([]byte(e.Inner), []byte("proxy")) {
		t.Errorf("a server without a relay lists %s", e.Inner)
	}
	a.send("<iq type='get' id='1' to='proxy.localhost'>%s</iq>", info)
	a.want("remote-server-not-found")
	if off.ProxyAddr() != "" {
		t.Errorf("ProxyAddr = %q", off.ProxyAddr())
	}
}

// joinProxy makes the SOCKS5 exchange of XEP-0065 §7 and returns the connection.
func joinProxy(t *testing.T, s *xtlstest.Server, sid string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.ProxyAddr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	sum := sha1.Sum([]byte(sid + "alba@localhost/desk" + "bruno@localhost/phone"))
	digest := hex.EncodeToString(sum[:])
	exchange(t, c, "\x05\x01\x00", "\x05\x00")
	exchange(t, c, "\x05\x01\x00\x03\x28"+digest+"\x00\x00", "\x05\x00\x00\x03\x28"+digest+"\x00\x00")
	return c
}

// exchange writes and then reads exactly what is wanted.
func exchange(t *testing.T, c net.Conn, write, want string) {
	t.Helper()
	if _, err := io.WriteString(c, write); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); string(got) != want {
		t.Fatalf("answer to %q is %q, %v, want %q", write, got[:n], err, want)
	}
}

// TestProxyRelays: two that know the digest are joined by who may.
func TestProxyRelays(t *testing.T) {
	s := startServer(t, xtlstest.Config{})
	a, b := two(t, s)
	x := joinProxy(t, s, "s1")
	a.send("%s", activateBruno)
	a.want("not-allowed") // one is missing
	y := joinProxy(t, s, "s1")
	b.send("%s", activateBruno)
	b.want("item-not-found") // it is alba's stream
	a.send("%s", activateBruno)
	a.want(`type="result"`)
	a.send("%s", activateBruno)
	a.want("not-allowed") // again
	for _, dir := range [][2]net.Conn{{x, y}, {y, x}} {
		if _, err := io.WriteString(dir[0], "hello"); err != nil {
			t.Fatal(err)
		}
		var got [5]byte
		if _, err := io.ReadFull(dir[1], got[:]); err != nil || string(got[:]) != "hello" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	_ = x.Close()
	if n, err := y.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("Read after the other's close = %d, %v", n, err)
	}
}

// TestProxyRefuses: strangers, a third one, and too many get nothing.
func TestProxyRefuses(t *testing.T) {
	s := startServer(t, xtlstest.Config{})
	for _, bad := range []string{"GET / HTTP/1.1\r\n\r\n", "\x04\x01", "\x05\x01\x00\x05\x02\x00\x03\x28" + string(make([]byte, 42)), "\x05\x01\x00\x05\x01\x00\x01" + string(make([]byte, 46))} {
		c, err := net.Dial("tcp", s.ProxyAddr())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(c, bad+string(make([]byte, 300)))
		got, _ := io.ReadAll(c) // it may be reset
		if len(got) > 2 {
			t.Errorf("%q was answered by %q", bad, got)
		}
		_ = c.Close()
	}
	joinProxy(t, s, "s2")
	joinProxy(t, s, "s2")
	third, err := net.Dial("tcp", s.ProxyAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	_ = third.SetDeadline(time.Now().Add(patience))
	sum := sha1.Sum([]byte("s2" + "alba@localhost/desk" + "bruno@localhost/phone"))
	exchange(t, third, "\x05\x01\x00", "\x05\x00")
	_, _ = io.WriteString(third, "\x05\x01\x00\x03\x28"+hex.EncodeToString(sum[:])+"\x00\x00")
	if n, err := third.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("the third got %d octets, %v", n, err)
	}
}

// TestProxyTooMany: one connection over the bound is closed at once.
func TestProxyTooMany(t *testing.T) {
	s := startServer(t, xtlstest.Config{})
	const maxRelayed = 256
	for i := 0; i <= maxRelayed; i++ {
		c, err := net.Dial("tcp", s.ProxyAddr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		if i == maxRelayed {
			if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("one too many: Read = %d, %v", n, err)
			}
			return
		}
		exchange(t, c, "\x05\x01\x00", "\x05\x00")
	}
}

// A bytestreams is a client that can use the relay.
type bytestreams struct {
	*s5b.Transport
	addr jid.JID
}

func newBytestreams(t *testing.T, c *xtls.Client) bytestreams {
	t.Helper()
	tr, err := s5b.New(s5b.Config{Stanzas: requests{c}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close(nil) })
	return bytestreams{tr, c.LocalAddr()}
}

// Connect negotiates a relay, or else nothing.
func (b bytestreams) Connect(ctx context.Context, n *transport.Negotiation) (transport.Conn, error) {
	n.Relay = true
	return b.Transport.Connect(ctx, n)
}

// requests is a client's session as package s5b needs it.
type requests struct{ c *xtls.Client }

func (r requests) LocalAddr() jid.JID { return r.c.LocalAddr() }

func (r requests) Request(ctx context.Context, typ stanza.IQType, to jid.JID, payload []byte) (xml.TokenReader, error) {
	undeclared := xmlstream.RemoveAttr(func(_ xml.StartElement, a xml.Attr) bool { return a.Name.Local == "xmlns" })
	answer, err := r.c.Session().SendIQElement(ctx, undeclared(xml.NewDecoder(bytes.NewReader(payload))), stanza.IQ{Type: typ, To: to})
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	tok, err := answer.Token()
	if err != nil {
		return nil, err
	}
	start, ok := tok.(xml.StartElement)
	if !ok {
		return nil, fmt.Errorf("the answer begins with %T", tok)
	}
	if _, err := stanza.UnmarshalIQError(answer, start); err != nil {
		return nil, err
	}
	tokens, err := xmlstream.ReadAll(xmlstream.Inner(answer))
	all := make([]xml.TokenReader, len(tokens))
	for i, t := range tokens {
		all[i] = xmlstream.Token(t)
	}
	return xmlstream.MultiReader(all...), err
}

func (r requests) Go(stanza.IQType, jid.JID, []byte, func(xml.TokenReader, error)) {
	panic("package s5b does not use it")
}

// TestProxyModes: package s5b finds the relay and gets through it, or says why not.
func TestProxyModes(t *testing.T) {
	for _, tc := range []struct {
		name string
		mode xtlstest.ProxyMode
		ok   bool
	}{
		{"works", xtlstest.ProxyWorks, true},
		{"off", xtlstest.ProxyOff, false},
		{"refuses", xtlstest.ProxyRefuses, false},
		{"stalls", xtlstest.ProxyStalls, false},
		{"forbids", xtlstest.ProxyForbids, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := xtlstest.NewPair(t, xtlstest.Config{Proxy: tc.mode})
			a, b := newBytestreams(t, p.Alice), newBytestreams(t, p.Bob)
			x, y, err := transporttest.Connect(t.Context(), transporttest.Ends{
				Dial: a, Accept: b, DialJID: a.addr, AcceptJID: b.addr,
			}, false)
			if !tc.ok {
				// One end fails so, and that ends the other one.
				if err == nil || !strings.Contains(err.Error(), s5b.ErrNoCandidate.Error()) {
					t.Errorf("Connect: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer transporttest.Abort(x)
			defer transporttest.Abort(y)
			if x.Path() != transport.Relay || y.Path() != transport.Relay {
				t.Errorf("paths %s and %s", x.Path(), y.Path())
			}
			_ = y.SetDeadline(time.Now().Add(patience))
			if _, err := io.WriteString(x, "hello"); err != nil {
				t.Fatal(err)
			}
			var got [5]byte
			if _, err := io.ReadFull(y, got[:]); err != nil || string(got[:]) != "hello" {
				t.Fatalf("%q, %v", got, err)
			}
		})
	}
}
