// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package transporttest_test

import (
	"context"
	"encoding/xml"
	"errors"
	"net"
	"testing"

	"go.uber.org/goleak"
	"mellium.im/xmpp/jid"

	"example.org/xtls/transport"
	"example.org/xtls/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPipe(t *testing.T) {
	a, b := transporttest.Pipe()
	for _, dir := range []struct{ from, to transport.Signal }{{a, b}, {b, a}} {
		for _, name := range []string{"one", "two"} {
			payload := []byte("<" + name + "/>")
			if err := dir.from.Send(t.Context(), payload); err != nil {
				t.Fatal(err)
			}
			clear(payload) // it is not kept
		}
		for _, name := range []string{"one", "two"} {
			r, err := dir.to.Recv(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			tok, err := r.Token()
			if start, ok := tok.(xml.StartElement); !ok || start.Name.Local != name {
				t.Errorf("Recv: %v, %v, want <%s>", tok, err, name)
			}
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	want := errors.New("enough")
	cancel(want)
	if _, err := a.Recv(ctx); err != want {
		t.Errorf("Recv = %v, want %v", err, want)
	}
}

// A loopback is the smallest method: a TCP connection whose address is the offer.
type loopback struct{}

func (loopback) Namespace() string { return "urn:example:loopback" }

func (l loopback) Connect(ctx context.Context, n *transport.Negotiation) (transport.Conn, error) {
	if n.Initiator {
		return l.listen(ctx, n.Signal)
	}
	r, err := n.Signal.Recv(ctx)
	if err != nil {
		return nil, err
	}
	tok, err := r.Token()
	if err != nil {
		return nil, err
	}
	addr := tok.(xml.StartElement).Attr[0].Value
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if err := n.Signal.Send(ctx, []byte("<transport/>")); err != nil {
		c.Close()
		return nil, err
	}
	return socket{c}, nil
}

func (loopback) listen(ctx context.Context, s transport.Signal) (transport.Conn, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	if err := s.Send(ctx, []byte("<transport addr='"+ln.Addr().String()+"'/>")); err != nil {
		return nil, err
	}
	if _, err := s.Recv(ctx); err != nil {
		return nil, err
	}
	c, err := ln.Accept()
	return socket{c}, err
}

// A socket is the smallest carrier.
type socket struct{ net.Conn }

func (socket) Path() transport.Path { return transport.Direct }

func (s socket) Abort(error) { s.Close() }

// TestConnect: the two carriers that come out are connected, and Abort closes them.
func TestConnect(t *testing.T) {
	e := transporttest.Ends{
		Dial: loopback{}, Accept: loopback{},
		DialJID: jid.MustParse("a@example.org/x"), AcceptJID: jid.MustParse("b@example.org/y"),
	}
	a, b, err := transporttest.Connect(t.Context(), e, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	buf := make([]byte, 1)
	if _, err := b.Read(buf); err != nil || buf[0] != 'x' {
		t.Errorf("Read = %q, %v", buf, err)
	}
	for _, c := range []transport.Conn{a, b} {
		transporttest.Abort(c)
		if _, err := c.Read(buf); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read after Abort = %v", err)
		}
	}
	e.Accept = failing{}
	if _, _, err := transporttest.Connect(t.Context(), e, false); !errors.Is(err, errFailing) {
		t.Errorf("Connect = %v", err)
	}
}

var errFailing = errors.New("failing")

type failing struct{ loopback }

func (failing) Connect(context.Context, *transport.Negotiation) (transport.Conn, error) {
	return nil, errFailing
}
