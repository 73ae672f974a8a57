// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls_test

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"mellium.im/xmlstream"
	"mellium.im/xmpp"
	"mellium.im/xmpp/disco"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/ping"
	"mellium.im/xmpp/roster"
	"mellium.im/xmpp/stanza"
	"mellium.im/xmpp/stream"

	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// A streamEnd is one end of an XML stream that is being served.
type streamEnd struct {
	*xmpp.Session
	conn   *xtls.Conn
	served chan error
	heard  chan stanzaSeen // messages and presence
}

type stanzaSeen struct {
	kind     string
	from, to jid.JID
	body     string
}

// serveStream serves a session with what mellium has for clients.
func serveStream(s *xmpp.Session, conn *xtls.Conn) *streamEnd {
	e := &streamEnd{Session: s, conn: conn, served: make(chan error, 1), heard: make(chan stanzaSeen, 100)}
	body := func(msg stanza.Message, t xmlstream.TokenReadEncoder) error {
		var m struct {
			Body string `xml:"jabber:client body"`
		}
		err := xml.NewTokenDecoder(t).Decode(&m)
		e.heard <- stanzaSeen{"message", msg.From, msg.To, m.Body}
		return err
	}
	h := mux.New(stanza.NSClient, disco.Handle(), ping.Handle(), xtls.HandleCertificate(conn),
		mux.MessageFunc(stanza.ChatMessage, xml.Name{Space: stanza.NSClient, Local: "body"}, body),
		mux.MessageFunc(stanza.NormalMessage, xml.Name{Space: stanza.NSClient, Local: "body"}, body),
		mux.PresenceFunc(stanza.AvailablePresence, xml.Name{}, func(p stanza.Presence, _ xmlstream.TokenReadEncoder) error {
			e.heard <- stanzaSeen{kind: "presence", from: p.From, to: p.To}
			return nil
		}),
		mux.IQFunc(stanza.SetIQ, xml.Name{Space: "urn:test", Local: "panic"}, func(stanza.IQ, xmlstream.TokenReadEncoder, *xml.StartElement) error {
			panic("a handler panics")
		}),
		mux.IQFunc(stanza.SetIQ, xml.Name{Space: "urn:test", Local: "echo"}, func(iq stanza.IQ, t xmlstream.TokenReadEncoder, start *xml.StartElement) error {
			_, err := xmlstream.Copy(t, iq.Result(xmlstream.Wrap(xmlstream.Inner(t), start.Copy())))
			return err
		}),
		roster.Handle(roster.Handler{Push: func(string, roster.Item) error {
			e.heard <- stanzaSeen{kind: "roster"}
			return nil
		}}))
	go func() { e.served <- s.Serve(xtls.Protect(h, nil)) }()
	return e
}

// streamPair is an XML stream between alice and bob.
func streamPair(t *testing.T, maxStanza int) (alice, bob *streamEnd) {
	t.Helper()
	a, b := streamTunnel(t, maxStanza)
	return openPair(t, a, b)
}

func streamTunnel(t *testing.T, maxStanza int) (a, b *xtls.Conn) {
	t.Helper()
	s := xtlstest.NewServer(t, xtlstest.Config{})
	var clients []*xtls.Client
	for _, name := range []string{"alice", "bob"} {
		cfg := xtlstest.ClientConfig(t, s, name)
		cfg.MaxStanza = maxStanza
		clients = append(clients, xtlstest.NewClient(t, s, name, cfg))
	}
	return xtlstest.TunnelFor(t, clients[0], clients[1], xtls.XMLStream())
}

func openPair(t *testing.T, a, b *xtls.Conn) (alice, bob *streamEnd) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTime)
	defer cancel()
	opened := make(chan *streamEnd, 1)
	go func() {
		s, err := xtls.Stream(ctx, b)
		if err != nil {
			t.Errorf("Stream of the accepted end: %v", err)
			opened <- nil
			return
		}
		opened <- serveStream(s, b)
	}()
	s, err := xtls.Stream(ctx, a)
	if bob = <-opened; err != nil || bob == nil {
		t.Fatalf("Stream of the dialled end: %v", err)
	}
	return serveStream(s, a), bob
}

// end closes both ends in order.
func (e *streamEnd) end(t *testing.T, peer *streamEnd) {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Errorf("Close of the session: %v", err)
	}
	if err := errors.Join(<-e.served, <-peer.served); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := errors.Join(e.conn.Close(), peer.conn.Close()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func (e *streamEnd) hears(t *testing.T) stanzaSeen {
	t.Helper()
	select {
	case s := <-e.heard:
		return s
	case <-time.After(testTime):
		t.Fatal("nothing arrived")
		return stanzaSeen{}
	}
}

// TestStream does with the packages of the library what is done over a server.
func TestStream(t *testing.T) {
	alice, bob := streamPair(t, 0)
	ctx, cancel := context.WithTimeout(t.Context(), testTime)
	defer cancel()
	aliceAddr, bobAddr := bob.conn.State().Peer, alice.conn.State().Peer
	for _, e := range []*streamEnd{alice, bob} {
		peer := e.conn.State().Peer
		if !e.RemoteAddr().Equal(peer) || !e.LocalAddr().Equal(e.conn.LocalAddr().(xtls.Addr).JID) {
			t.Errorf("the session is between %v and %v", e.LocalAddr(), e.RemoteAddr())
		}
		if err := ping.Send(ctx, e.Session, peer); err != nil {
			t.Errorf("ping: %v", err)
		}
		info, err := disco.GetInfo(ctx, "", peer, e.Session)
		if err != nil || len(info.Features) == 0 {
			t.Errorf("disco: %v, %v", info, err)
		}
		cert, err := xtls.PeerCertificate(ctx, e.Session, e.conn)
		if err != nil || cert == nil {
			t.Errorf("PeerCertificate: %v", err)
		}
	}
	say := func(from *streamEnd, text string) {
		body := xmlstream.Wrap(xmlstream.Token(xml.CharData(text)), xml.StartElement{Name: xml.Name{Local: "body"}})
		if err := from.Send(ctx, stanza.Message{Type: stanza.ChatMessage}.Wrap(body)); err != nil {
			t.Errorf("Send: %v", err)
		}
	}
	const text = "<&>\r\n\t\"' \u2028 \U0001F600 ]]>"
	say(alice, text)
	say(bob, text)
	for e, want := range map[*streamEnd]stanzaSeen{
		alice: {"message", bobAddr, aliceAddr, text}, bob: {"message", aliceAddr, bobAddr, text},
	} {
		if got := e.hears(t); !got.equal(want) {
			t.Errorf("heard %+v, want %+v", got, want)
		}
	}
	if err := alice.Send(ctx, stanza.Presence{}.Wrap(nil)); err != nil {
		t.Error(err)
	}
	if got := bob.hears(t); !got.equal(stanzaSeen{"presence", aliceAddr, bobAddr, ""}) {
		t.Errorf("heard %+v", got)
	}
	alice.end(t, bob)
}

func (s stanzaSeen) equal(o stanzaSeen) bool {
	return s.kind == o.kind && s.body == o.body && s.from.Equal(o.from) && s.to.Equal(o.to)
}

// TestStreamHandler: neither a panic nor an unknown request ends the stream.
func TestStreamHandler(t *testing.T) {
	alice, bob := streamPair(t, 0)
	ctx, cancel := context.WithTimeout(t.Context(), testTime)
	defer cancel()
	for name, condition := range map[string]stanza.Condition{
		"panic": stanza.ServiceUnavailable, "unknown": stanza.ServiceUnavailable,
	} {
		err := request(ctx, alice, "urn:test", name)
		var refused stanza.Error
		if !errors.As(err, &refused) || refused.Condition != condition {
			t.Errorf("%s: %v, want %s", name, err, condition)
		}
	}
	if err := ping.Send(ctx, alice.Session, bob.LocalAddr()); err != nil {
		t.Errorf("ping after it: %v", err)
	}
	alice.end(t, bob)
}

func request(ctx context.Context, e *streamEnd, space, name string) error {
	return e.UnmarshalIQElement(ctx, xmlstream.Wrap(nil, xml.StartElement{Name: xml.Name{Space: space, Local: name}}),
		stanza.IQ{Type: stanza.SetIQ}, nil)
}

// TestStreamLarge sends a stanza of a mebibyte there and back.
func TestStreamLarge(t *testing.T) {
	alice, bob := streamPair(t, 2<<20)
	ctx, cancel := context.WithTimeout(t.Context(), testTime)
	defer cancel()
	text := strings.Repeat("0123456789abcde\n", 1<<16)
	var got struct {
		Text string `xml:",chardata"`
	}
	err := alice.UnmarshalIQElement(ctx, xmlstream.Wrap(xmlstream.Token(xml.CharData(text)),
		xml.StartElement{Name: xml.Name{Space: "urn:test", Local: "echo"}}), stanza.IQ{Type: stanza.SetIQ}, &got)
	if err != nil || got.Text != text {
		t.Errorf("%d octets came back of %d, %v", len(got.Text), len(text), err)
	}
	alice.end(t, bob)
}

// TestStreamBothWays pings both ways with much under way: nobody blocks for ever.
func TestStreamBothWays(t *testing.T) {
	alice, bob := streamPair(t, 0)
	ctx, cancel := context.WithTimeout(t.Context(), testTime)
	defer cancel()
	var work sync.WaitGroup
	for _, e := range []*streamEnd{alice, bob} {
		for range 20 {
			work.Go(func() {
				for range 10 {
					if err := ping.Send(ctx, e.Session, e.RemoteAddr()); err != nil {
						t.Errorf("ping: %v", err)
						return
					}
				}
			})
		}
	}
	work.Wait()
	alice.end(t, bob)
}

// TestStreamServerRole: what only a server may say does not get through.
func TestStreamServerRole(t *testing.T) {
	alice, bob := streamPair(t, 0)
	ctx, cancel := context.WithTimeout(t.Context(), testTime)
	defer cancel()
	for _, raw := range []string{
		`<message type="chat"><received xmlns="urn:xmpp:carbons:2"><forwarded xmlns="urn:xmpp:forward:0"/></received><body>x</body></message>`,
		`<message type="groupchat"><body>x</body></message>`,
		`<m:message xmlns:m="jabber:client" xmlns:c="urn:xmpp:carbons:2"><body>x</body><c:sent/></m:message>`,
		`<presence type="subscribe"/>`,
		`<iq type="set"><query xmlns="jabber:iq:roster"><item jid="mallory@localhost"/></query></iq>`,
	} {
		raw := xml.NewDecoder(strings.NewReader(raw))
		if err := alice.Send(ctx, raw); err != nil {
			t.Error(err)
		}
	}
	for _, space := range []string{"jabber:iq:roster", "urn:xmpp:carbons:2"} {
		err := request(ctx, alice, space, "query")
		var refused stanza.Error
		if !errors.As(err, &refused) || refused.Condition != stanza.ServiceUnavailable {
			t.Errorf("%s: %v", space, err)
		}
	}
	select {
	case got := <-bob.heard:
		t.Errorf("bob heard %+v", got)
	default:
	}
	alice.end(t, bob)
}

// TestStreamAgain closes a stream and opens another one in the same tunnel.
func TestStreamAgain(t *testing.T) {
	a, b := streamTunnel(t, 0)
	alice, bob := openPair(t, a, b)
	if _, err := xtls.Stream(t.Context(), a); err == nil {
		t.Error("a second stream while the first is open")
	}
	ctx, cancel := context.WithTimeout(t.Context(), testTime)
	defer cancel()
	if err := bob.Close(); err != nil {
		t.Error(err)
	}
	if err := errors.Join(<-alice.served, <-bob.served); err != nil {
		t.Fatal(err)
	}
	alice, bob = openPair(t, a, b)
	if err := ping.Send(ctx, alice.Session, bob.LocalAddr()); err != nil {
		t.Errorf("ping in the second stream: %v", err)
	}
	// The tunnel alone is closed: that closes the stream as well.
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if err := <-alice.served; err != nil {
		t.Errorf("alice: %v", err)
	}
	if err := <-bob.served; err != nil {
		t.Errorf("bob: %v", err)
	}
	if _, err := xtls.Stream(ctx, b); !errors.Is(err, io.EOF) {
		t.Errorf("Stream after the tunnel was closed: %v, want io.EOF", err)
	}
	if _, err := xtls.Stream(ctx, a); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Stream on a closed Conn: %v, want net.ErrClosed", err)
	}
}

// TestStreamOtherApp: a tunnel of opaque octets is none for a stream, and a Listener
// used as net.Listener takes no streams.
func TestStreamOtherApp(t *testing.T) {
	p := xtlstest.NewPair(t, xtlstest.Config{})
	a, _ := xtlstest.Tunnel(t, p.Alice, p.Bob)
	if _, err := xtls.Stream(t.Context(), a); err == nil {
		t.Error("a stream in a tunnel that is not for it")
	}
	l, err := p.Bob.Listen()
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		_, _ = l.Accept()
	}()
	if _, err := p.Alice.Dial(t.Context(), p.Bob.LocalAddr(), xtls.XMLStream()); !errors.Is(err, xtls.ErrNotSupported) {
		t.Errorf("Dial: %v, want ErrNotSupported", err)
	}
	_ = l.Close()
	<-accepted
}

// TestStreamCancelled waits for a header that does not come.
func TestStreamCancelled(t *testing.T) {
	a, b := streamTunnel(t, 0)
	for _, conn := range []*xtls.Conn{a, b} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if conn == b {
			cancel() // alice has sent hers
		}
		_, err := xtls.Stream(ctx, conn)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			t.Errorf("Stream: %v", err)
		}
	}
}

// TestStreamHostile: a peer that speaks in the tunnel what it likes.
func TestStreamHostile(t *testing.T) {
	const header = `<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>`
	tests := []struct {
		name string
		sent string
		want stream.Error
	}{
		{"spoofed from", header + `<message from='mallory@localhost'><body>x</body></message>`, stream.InvalidFrom},
		{"own from", header + `<message from='bob@localhost'><body>x</body></message>`, stream.InvalidFrom},
		{"another device", header + `<message from='alice@localhost/other'><body>x</body></message>`, stream.InvalidFrom},
		{"to somebody else", header + `<message to='carol@localhost'><body>x</body></message>`, stream.ImproperAddressing},
		{"header from somebody else", strings.Replace(header, " version", " from='mallory@localhost' version", 1), stream.InvalidFrom},
		{"header to somebody else", strings.Replace(header, " version", " to='carol@localhost' version", 1), stream.ImproperAddressing},
		{"comment", header + `<!-- x -->`, stream.RestrictedXML},
		{"comment in a stanza", header + `<message><body>x<!-- x --></body></message>`, stream.RestrictedXML},
		{"document type", `<!DOCTYPE x [<!ENTITY a "b">]>` + header, stream.RestrictedXML},
		{"processing instruction", header + `<?php x ?>`, stream.RestrictedXML},
		{"stanza too large", header + `<message><body>` + strings.Repeat("x", 1<<18) + `</body></message>`, stream.PolicyViolation},
		{"header too large", header[:len(header)-1] + strings.Repeat(" ", 1<<14), stream.PolicyViolation},
		{"too deep", header + `<message>` + strings.Repeat("<a>", 64), stream.PolicyViolation},
		{"not well-formed", header + `<message><body>x</message>`, stream.NotWellFormed},
		{"attribute twice", header + `<message type='chat' type='normal'/>`, stream.NotWellFormed},
		{"end of nothing", header + `</message>`, stream.NotWellFormed},
		{"text between stanzas", header + `x<presence/>`, stream.BadFormat},
		{"not a header", `<message xmlns='http://etherx.jabber.org/streams'/>`, stream.BadFormat},
		{"version", strings.Replace(header, "1.0", "one", 1), stream.UnsupportedVersion},
		{"not a stanza", header + `<x xmlns='urn:test'/>`, stream.UnsupportedStanzaType},
		{"a stream in a stream", header + header, stream.UnsupportedStanzaType},
		{"server namespace", strings.Replace(header, "jabber:client", "jabber:server", 1), stream.InvalidNamespace},
		{"encoding", `<?xml version='1.0' encoding='latin1'?>` + header, stream.UnsupportedEncoding},
	}
	p := xtlstest.NewPair(t, xtlstest.Config{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := xtlstest.TunnelFor(t, p.Alice, p.Bob, xtls.XMLStream())
			go func() { _, _ = io.WriteString(a, tt.sent) }()
			ended := make(chan error, 1)
			go func() {
				s, err := xtls.Stream(t.Context(), b)
				if err == nil {
					e := serveStream(s, b)
					err = <-e.served
					if len(e.heard) > 0 {
						t.Errorf("bob heard %+v", <-e.heard)
					}
				}
				ended <- err
			}()
			_ = a.SetReadDeadline(time.Now().Add(testTime))
			got, err := io.ReadAll(a)
			if err != nil {
				t.Errorf("alice reads to the end: %v", err)
				a.Abort() // bob has noticed nothing
			}
			want := `<stream:error><` + tt.want.Err + ` xmlns="urn:ietf:params:xml:ns:xmpp-streams"/></stream:error></stream:stream>`
			if !strings.Contains(string(got), `<stream:stream `) || !strings.HasSuffix(string(got), want) {
				t.Errorf("alice was told %q, want at its end %q", got, want)
			}
			if err := <-ended; !errors.Is(err, tt.want) {
				t.Errorf("bob's end: %v, want %v", err, tt.want)
			}
			select {
			case <-a.Done():
			case <-time.After(testTime):
				t.Error("the tunnel lives on")
			}
		})
	}
}

// TestStreamTolerant: what an old or sparing peer leaves out, and what it may add.
func TestStreamTolerant(t *testing.T) {
	p := xtlstest.NewPair(t, xtlstest.Config{})
	alice, bob := p.Alice.LocalAddr(), p.Bob.LocalAddr()
	message := `<message><body>x</body></message></%s>`
	for name, header := range map[string]string{
		"nothing but names": `<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`,
		"declaration, bare addresses": `<?xml version="1.0"?>
			<stream:stream xmlns="jabber:client" xmlns:stream="http://etherx.jabber.org/streams" from="` + alice.Bare().String() + `" to="` + bob.Bare().String() + `" version="1.0">`,
		"another prefix, features": `<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams' from='` + alice.String() + `' to='` + bob.String() +
			`' id='x' version='1.0'><s:features><sm xmlns='urn:xmpp:sm:3'/></s:features> `,
	} {
		t.Run(name, func(t *testing.T) {
			a, b := xtlstest.TunnelFor(t, p.Alice, p.Bob, xtls.XMLStream())
			prefix := "stream:stream"
			if strings.Contains(header, "<s:") {
				prefix = "s:stream"
			}
			go func() { _, _ = io.WriteString(a, header+strings.Replace(message, "%s", prefix, 1)) }()
			s, err := xtls.Stream(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			e := serveStream(s, b)
			if got := e.hears(t); !got.equal(stanzaSeen{"message", alice, bob, "x"}) {
				t.Errorf("heard %+v", got)
			}
			if err := <-e.served; err != nil {
				t.Errorf("Serve: %v", err)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			got, err := io.ReadAll(a)
			if err != nil || !strings.Contains(string(got), "<stream:features/>") || !strings.HasSuffix(string(got), "</stream:stream>") {
				t.Errorf("alice read %q, %v", got, err)
			}
		})
	}
}
