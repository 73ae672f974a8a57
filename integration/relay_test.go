// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"mellium.im/xmlstream"
	"mellium.im/xmpp"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/transport"
	"example.org/xtls/transport/s5b"
	"example.org/xtls/transport/transporttest"
	"example.org/xtls/xtls"
)

// relayStall is how long a burst may take through the relay on a busy machine. One
// that the relay keeps back without padding never arrives.
const relayStall = 20 * time.Second

// A relayEnd is one client with SOCKS5 bytestreams on its session.
type relayEnd struct {
	*s5b.Transport
	addr jid.JID
}

// newRelayEnd logs a client in for the test.
func newRelayEnd(t testing.TB, p *server, name string) relayEnd {
	t.Helper()
	c := connect(t, p, name)
	tr, err := s5b.New(s5b.Config{Stanzas: sessionStanzas{c}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close(nil) })
	return relayEnd{tr, c.LocalAddr()}
}

// Connect negotiates a relay, or else nothing.
func (e relayEnd) Connect(ctx context.Context, n *transport.Negotiation) (transport.Conn, error) {
	n.Direct, n.Relay = false, true
	return e.Transport.Connect(ctx, n)
}

// relayed returns two ends joined by the relay. Signalling goes from one to the other
// directly.
func relayed(ctx context.Context, a, b transport.Method, addrs [2]jid.JID) (x, y transport.Conn, err error) {
	return transporttest.Connect(ctx, transporttest.Ends{
		Dial: a, Accept: b, DialJID: addrs[0], AcceptJID: addrs[1],
	}, false)
}

// sessionStanzas is a client's session as a transport sees it.
type sessionStanzas struct{ c *xtls.Client }

func (s sessionStanzas) LocalAddr() jid.JID { return s.c.LocalAddr() }

func (s sessionStanzas) Request(ctx context.Context, typ stanza.IQType, to jid.JID, payload []byte) (xml.TokenReader, error) {
	tokens, err := requestIQ(ctx, s.c.Session(), stanza.IQ{Type: typ, To: to}, payload)
	return xmlstream.MultiReader(tokenSlice(tokens)...), err
}

func (s sessionStanzas) Go(typ stanza.IQType, to jid.JID, payload []byte, done func(xml.TokenReader, error)) {
	go func() { done(s.Request(context.Background(), typ, to, payload)) }()
}

// requestIQ sends an IQ and returns the payload of its result.
func requestIQ(ctx context.Context, s *xmpp.Session, iq stanza.IQ, payload []byte) ([]xml.Token, error) {
	undeclared := xmlstream.RemoveAttr(func(_ xml.StartElement, a xml.Attr) bool { return a.Name.Local == "xmlns" })
	r, err := s.SendIQElement(ctx, undeclared(xml.NewDecoder(bytes.NewReader(payload))), iq)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	tok, err := r.Token()
	if err != nil {
		return nil, err
	}
	start, ok := tok.(xml.StartElement)
	if !ok {
		return nil, fmt.Errorf("the answer begins with %T", tok)
	}
	if _, err := stanza.UnmarshalIQError(r, start); err != nil {
		return nil, err
	}
	return xmlstream.ReadAll(xmlstream.Inner(r))
}

func tokenSlice(tokens []xml.Token) []xml.TokenReader {
	all := make([]xml.TokenReader, len(tokens))
	for i, t := range tokens {
		all[i] = xmlstream.Token(t)
	}
	return all
}

// startRelay starts a Prosody with a relay, and two clients on it.
func startRelay(t testing.TB) (a, b relayEnd) {
	t.Helper()
	p := startProsody(t, prosodyOptions{proxy65: true})
	a, b = newRelayEnd(t, p, "alice"), newRelayEnd(t, p, "bob")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, e := range []relayEnd{a, b} {
		found, err := e.Proxies(ctx)
		if err != nil || len(found) != 1 || found[0].Addr() != p.relay || found[0].JID.String() != "proxy."+domain {
			t.Fatalf("Proxies = %v, %v, want %s", found, err, p.relay)
		}
	}
	return a, b
}

// TestRelayBursts: Prosody's proxy65 keeps up to 4096 octets of a burst until one
// more octet comes. Whatever the size, each request and each answer gets through.
func TestRelayBursts(t *testing.T) {
	t.Parallel()
	a, b := startRelay(t)
	x, y, err := relayed(t.Context(), a, b, [2]jid.JID{a.addr, b.addr})
	if err != nil {
		t.Fatal(err)
	}
	defer transporttest.Abort(x)
	defer transporttest.Abort(y)
	if x.Path() != transport.Relay || y.Path() != transport.Relay {
		t.Fatalf("paths %s and %s", x.Path(), y.Path())
	}
	sizes := []int{1, 100, 2048}
	for k := 1; k <= 5; k++ {
		for d := -4; d <= 3; d++ {
			sizes = append(sizes, k*4096+d)
		}
	}
	sizes = append(sizes, 65535, 65536, 1<<17, 1<<20)
	for _, n := range sizes {
		sent := randomBytes(n)
		if err := pass(x, y, sent); err != nil {
			t.Fatalf("request of %d octets: %v", n, err)
		}
		if err := pass(y, x, sent); err != nil {
			t.Fatalf("answer of %d octets: %v", n, err)
		}
	}
}

// TestRelayClose: the last words arrive, and then the end.
func TestRelayClose(t *testing.T) {
	t.Parallel()
	a, b := startRelay(t)
	x, y, err := relayed(t.Context(), a, b, [2]jid.JID{a.addr, b.addr})
	if err != nil {
		t.Fatal(err)
	}
	defer transporttest.Abort(y)
	sent := randomBytes(8190) // with its header a size that is kept back
	if _, err := x.Write(sent); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if err := y.SetDeadline(time.Now().Add(relayStall)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(y, got); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("Read: %v", err)
	}
	if _, err := y.Read(got); !errors.Is(err, transport.ErrClosedByPeer) {
		t.Errorf("Read at the end: %v", err)
	}
}

// pass writes at one end and reads at the other.
func pass(from, to net.Conn, sent []byte) error {
	deadline := time.Now().Add(relayStall)
	if err := errors.Join(from.SetDeadline(deadline), to.SetDeadline(deadline)); err != nil {
		return err
	}
	wrote := make(chan error, 1)
	go func() {
		_, err := from.Write(sent)
		wrote <- err
	}()
	got := make([]byte, len(sent))
	n, err := io.ReadFull(to, got)
	if err = errors.Join(err, <-wrote); err != nil {
		return fmt.Errorf("after %d octets: %w", n, err)
	}
	if !bytes.Equal(got, sent) {
		return errors.New("other octets came out")
	}
	return nil
}
