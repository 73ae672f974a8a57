// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest_test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"example.org/xtls/xtls/xtlstest"
	"go.uber.org/goleak"
	"mellium.im/sasl"
	"mellium.im/xmpp"
	"mellium.im/xmpp/jid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come before it fails.
const patience = 20 * time.Second

var accounts = map[string]string{"alba": "alba's password", "bruno": "bruno's password", "mallory": "x"}

func startServer(t testing.TB, cfg xtlstest.Config) *xtlstest.Server {
	t.Helper()
	if cfg.Accounts == nil {
		cfg.Accounts = accounts
	}
	return xtlstest.NewServer(t, cfg)
}

// A peer is a client that writes and reads exactly what a test says.
type peer struct {
	t    testing.TB
	conn net.Conn
	dec  *xml.Decoder
	jid  string
}

// An el is one first-level element that a peer received.
type el struct {
	XMLName xml.Name
	Attrs   []xml.Attr `xml:",any,attr"`
	Inner   string     `xml:",innerxml"`
}

func (e el) attr(name string) string {
	for _, a := range e.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func (e el) String() string {
	var b strings.Builder
	b.WriteString(e.XMLName.Local)
	for _, a := range e.Attrs {
		fmt.Fprintf(&b, " %s=%q", a.Name.Local, a.Value)
	}
	return b.String() + " " + e.Inner
}

// newPeer wraps a connection; nothing on it blocks for ever.
func newPeer(t testing.TB, conn net.Conn) *peer {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &peer{t: t, conn: conn, dec: xml.NewDecoder(conn)}
}

func dialPlain(t testing.TB, s *xtlstest.Server) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return newPeer(t, conn)
}

func dialTLS(t testing.TB, s *xtlstest.Server) *peer {
	t.Helper()
	conn, err := tls.Dial("tcp", s.DirectAddr(), s.ClientTLS())
	if err != nil {
		t.Fatal(err)
	}
	return newPeer(t, conn)
}

func (p *peer) send(format string, args ...any) {
	p.t.Helper()
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	if _, err := io.WriteString(p.conn, text); err != nil {
		p.t.Fatalf("%s: write: %v", p.jid, err)
	}
}

const streamHeader = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>"

// open opens a stream and returns the features.
func (p *peer) open(header string) el {
	p.t.Helper()
	p.dec = xml.NewDecoder(p.conn)
	p.send("%s", header)
	for {
		tok, err := p.dec.Token()
		if err != nil {
			p.t.Fatalf("stream header: %v", err)
		}
		if start, ok := tok.(xml.StartElement); ok {
			if start.Name.Local != "stream" {
				p.t.Fatalf("got %v, want a stream header", start)
			}
			return p.next()
		}
	}
}

// read returns the next element, or io.EOF at the end of the stream.
func (p *peer) read() (el, error) {
	for {
		tok, err := p.dec.Token()
		if err != nil {
			return el{}, err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			var e el
			err := p.dec.DecodeElement(&e, &tok)
			return e, err
		case xml.EndElement:
			return el{}, io.EOF
		}
	}
}

func (p *peer) next() el {
	p.t.Helper()
	e, err := p.read()
	if err != nil {
		p.t.Fatalf("%s: read: %v", p.jid, err)
	}
	return e
}

// want reads one element and checks that it contains all of parts.
func (p *peer) want(parts ...string) el {
	p.t.Helper()
	e := p.next()
	for _, part := range parts {
		if !strings.Contains(e.String(), part) {
			p.t.Fatalf("%s: got %s\nwant it to contain %s", p.jid, e, part)
		}
	}
	return e
}

// wantStreamError reads to the end of the stream, which must be this error.
func (p *peer) wantStreamError(condition string) {
	p.t.Helper()
	for {
		e, err := p.read()
		if err != nil {
			p.t.Fatalf("stream ended with %v, want %s", err, condition)
		}
		if e.XMLName.Space == "http://etherx.jabber.org/streams" && e.XMLName.Local == "error" {
			if want := "<" + condition + " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"; e.Inner != want {
				p.t.Fatalf("got stream error %s, want %s", e.Inner, condition)
			}
			break
		}
	}
	if e, err := p.read(); err != io.EOF {
		p.t.Fatalf("after the stream error: %v, %v; want the end of the stream", e, err)
	}
	if _, err := io.Copy(io.Discard, p.conn); err != nil {
		p.t.Fatalf("after the stream: %v", err)
	}
}

// gone waits until the connection has ended without an end of the stream.
func (p *peer) gone() {
	p.t.Helper()
	for {
		e, err := p.read()
		if err == nil {
			continue
		}
		if err == io.EOF || errors.As(err, new(net.Error)) && err.(net.Error).Timeout() {
			p.t.Fatalf("got %v and %v, want a lost connection", e, err)
		}
		return
	}
}

// sync waits until the server has done all that p asked for so far.
func (p *peer) sync() {
	p.t.Helper()
	p.send("<iq type='get' id='sync'><ping xmlns='urn:xmpp:ping'/></iq>")
	p.want(`type="result"`, `id="sync"`)
}

func plain(authzid, name, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(authzid + "\x00" + name + "\x00" + password))
}

func (p *peer) auth(name, password string) {
	p.t.Helper()
	p.open(streamHeader)
	p.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth>", plain("", name, password))
	if e := p.next(); e.XMLName.Local != "success" {
		p.t.Fatalf("login of %s: %s", name, e)
	}
}

func (p *peer) bind(resource string) {
	p.t.Helper()
	p.open(streamHeader)
	p.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>%s</resource></bind></iq>", resource)
	e := p.want(`type="result"`, "<jid>")
	_, rest, _ := strings.Cut(e.Inner, "<jid>")
	p.jid, _, _ = strings.Cut(rest, "</jid>")
}

// login returns a client with a bound resource.
func login(t testing.TB, s *xtlstest.Server, name, password, resource string) *peer {
	t.Helper()
	p := dialTLS(t, s)
	p.auth(name, password)
	p.bind(resource)
	return p
}

// two returns alba@localhost/desk and bruno@localhost/phone.
func two(t testing.TB, s *xtlstest.Server) (a, b *peer) {
	t.Helper()
	return login(t, s, "alba", accounts["alba"], "desk"), login(t, s, "bruno", accounts["bruno"], "phone")
}

// dialMellium logs a mellium client in, by STARTTLS or direct TLS.
func dialMellium(t testing.TB, s *xtlstest.Server, direct bool, name, password string) (*xmpp.Session, error) {
	t.Helper()
	var conn net.Conn
	var err error
	features := []xmpp.StreamFeature{xmpp.SASL("", password, sasl.Plain), xmpp.BindResource()}
	if direct {
		conn, err = tls.Dial("tcp", s.DirectAddr(), s.ClientTLS())
	} else {
		conn, err = net.Dial("tcp", s.Addr())
		features = append(features, xmpp.StartTLS(s.ClientTLS()))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return xmpp.NewClientSession(t.Context(), jid.MustParse(name+"@localhost"), conn, features...)
}

// countReader discards what comes and says when it has seen enough.
type countReader struct {
	want int64
	done chan struct{}
}

func (c *countReader) Write(b []byte) (int, error) {
	if c.want > 0 {
		if c.want -= int64(len(b)); c.want <= 0 {
			close(c.done)
		}
	}
	return len(b), nil
}

// drain reads and discards in the background until the connection ends.
func drain(p *peer, want int64) (enough chan struct{}) {
	c := &countReader{want: want, done: make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(c, p.conn) // ends with the connection
	}()
	p.t.Cleanup(func() { _ = p.conn.Close(); <-ended })
	return c.done
}

func repeat(s string, n int) string { return string(bytes.Repeat([]byte(s), n)) }
