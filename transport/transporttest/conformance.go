// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package transporttest

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/nettest"
	"mellium.im/xmpp/jid"

	"example.org/xtls/transport"
)

// patience bounds every wait of the suite. Only a method that hangs reaches it.
const patience = 30 * time.Second

// An Ends is two clients that can reach each other.
type Ends struct {
	// Dial is the method at the client that initiates, Accept at the other one.
	Dial, Accept transport.Method

	// DialJID and AcceptJID are the full JIDs of the two.
	DialJID, AcceptJID jid.JID

	// Vanish makes the accepting client disappear without a word, in a way that the other one
	// is bound to notice sooner or later.
	Vanish func()

	// Close ends both clients and joins their goroutines.
	Close func()
}

// Conformance runs what every stream-mode method must pass: golang.org/x/net/nettest.TestConn,
// the cancellation of Connect at each end, a peer that vanishes, and the rules of package
// transport for the end of a carrier. newEnds is called anew for each part. No goroutine may be
// left after any part.
func Conformance(t *testing.T, newEnds func(t *testing.T) Ends) {
	for _, part := range []struct {
		name string
		run  func(t *testing.T, e Ends)
	}{
		{"CancelDial", testCancelDial},
		{"CancelAccept", testCancelAccept},
		{"Close", testClose},
		{"Abort", testAbort},
		{"Vanish", testVanish},
	} {
		t.Run(part.name, func(t *testing.T) {
			ignore := goleak.IgnoreCurrent()
			t.Cleanup(func() { goleak.VerifyNone(t, ignore) }) // after those of newEnds
			e := newEnds(t)
			defer e.Close()
			part.run(t, e)
		})
	}
	t.Run("TestConn", func(t *testing.T) {
		nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
			e := newEnds(t)
			a, b, err := Connect(t.Context(), e, false)
			if err != nil {
				e.Close()
				return nil, nil, nil, err
			}
			return eofConn{a}, eofConn{b}, func() { Abort(a); Abort(b); e.Close() }, nil
		})
	})
}

// Connect negotiates one carrier between the ends; messages is Negotiation.Messages.
func Connect(ctx context.Context, e Ends, messages bool) (dialed, accepted transport.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	type result struct {
		c   transport.Conn
		err error
	}
	got := make(chan result, 1)
	ds, as := Pipe()
	go func() {
		c, err := e.Accept.Connect(ctx, &transport.Negotiation{Peer: e.DialJID, Messages: messages, Signal: as})
		if err != nil {
			cancel() // the other end would wait for nothing
		}
		got <- result{c, err}
	}()
	dialed, err = e.Dial.Connect(ctx, &transport.Negotiation{Peer: e.AcceptJID, Initiator: true, Messages: messages, Signal: ds})
	if err != nil {
		cancel()
	}
	r := <-got
	if err == nil && r.err == nil {
		return dialed, r.c, nil
	}
	for _, c := range []transport.Conn{dialed, r.c} {
		if c != nil {
			Abort(c)
		}
	}
	return nil, nil, fmt.Errorf("transporttest: dial: %v, accept: %w", err, r.err)
}

// Abort closes c without waiting for anybody.
func Abort(c transport.Conn) {
	c.Abort(net.ErrClosed)
	c.Close()
}

// An eofConn is a carrier as nettest.TestConn wants it, which takes the close of the peer to be
// io.EOF and anything else to be a failure.
type eofConn struct{ net.Conn }

func (c eofConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == transport.ErrClosedByPeer {
		err = io.EOF
	}
	return n, err
}

// A hooked signal tells when the negotiation has got so far.
type hooked struct {
	transport.Signal
	onRecv func() // before receiving
	onSend func() // instead of sending
}

func (h hooked) Recv(ctx context.Context) (xml.TokenReader, error) {
	if h.onRecv != nil {
		h.onRecv()
	}
	return h.Signal.Recv(ctx)
}

func (h hooked) Send(ctx context.Context, payload []byte) error {
	if h.onSend != nil {
		h.onSend()
		return nil
	}
	return h.Signal.Send(ctx, payload)
}

// testCancelDial cancels an initiator whose offer nobody answers.
func testCancelDial(t *testing.T, e Ends) {
	ctx, cancel := context.WithCancel(t.Context())
	s, _ := Pipe()
	h := hooked{Signal: s, onRecv: cancel}
	c, err := e.Dial.Connect(ctx, &transport.Negotiation{Peer: e.AcceptJID, Initiator: true, Signal: h})
	if c != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("Connect = %v, %v, want context.Canceled", c, err)
	}
}

// testCancelAccept cancels a responder that took an offer and whose answer is lost.
func testCancelAccept(t *testing.T, e Ends) {
	ds, as := Pipe()
	dialCtx, cancelDial := context.WithCancel(t.Context())
	dialing := make(chan error, 1)
	go func() {
		_, err := e.Dial.Connect(dialCtx, &transport.Negotiation{Peer: e.AcceptJID, Initiator: true, Signal: ds})
		dialing <- err
	}()
	ctx, cancel := context.WithCancel(t.Context())
	h := hooked{Signal: as, onSend: cancel}
	c, err := e.Accept.Connect(ctx, &transport.Negotiation{Peer: e.DialJID, Signal: h})
	if c != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("Connect = %v, %v, want context.Canceled", c, err)
	}
	cancelDial()
	if err := <-dialing; !errors.Is(err, context.Canceled) {
		t.Errorf("initiator: %v, want context.Canceled", err)
	}
}

// mustConnect is Connect for tests.
func mustConnect(t *testing.T, e Ends) (dialed, accepted transport.Conn) {
	t.Helper()
	a, b, err := Connect(t.Context(), e, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{a, b} {
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

// testClose checks both sides of a close in either direction: what was written arrives, and then
// the error that is no io.EOF.
func testClose(t *testing.T, e Ends) {
	a, b := mustConnect(t, e)
	a2, b2 := mustConnect(t, e)
	for _, dir := range []struct {
		name     string
		from, to net.Conn
	}{{"dialed", a, b}, {"accepted", b2, a2}} {
		want := "the last words of the " + dir.name
		if _, err := dir.from.Write([]byte(want)); err != nil {
			t.Fatalf("%s: Write: %v", dir.name, err)
		}
		if err := dir.from.Close(); err != nil {
			t.Errorf("%s: Close = %v", dir.name, err)
		}
		if err := dir.from.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: second Close = %v, want net.ErrClosed", dir.name, err)
		}
		if _, err := dir.from.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: Read after Close = %v, want net.ErrClosed", dir.name, err)
		}
		if _, err := dir.from.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: Write after Close = %v, want net.ErrClosed", dir.name, err)
		}
		got, err := readAll(dir.to)
		if got != want {
			t.Errorf("%s: got %q, want %q", dir.name, got, want)
		}
		if err != transport.ErrClosedByPeer {
			t.Errorf("%s: Read after the peer's Close = %v, want ErrClosedByPeer", dir.name, err)
		}
		if _, err := dir.to.Write([]byte("x")); err == nil {
			t.Errorf("%s: Write after the peer's Close worked", dir.name)
		}
		if err := dir.to.Close(); err != nil {
			t.Errorf("%s: Close after the peer's = %v", dir.name, err)
		}
	}
}

// testAbort checks that a carrier can be given up at once although the peer takes nothing, also
// while Close is waiting for it, and that what has arrived can be read then.
func testAbort(t *testing.T, e Ends) {
	a, b := mustConnect(t, e)
	a2, b2 := mustConnect(t, e)
	defer Abort(b)
	defer Abort(b2)
	fill(t, a)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		a.Close()
	}()
	enough := errors.New("enough")
	a.Abort(enough)
	select {
	case <-closed:
	case <-time.After(patience):
		t.Error("Close still waits after Abort")
	}

	if _, err := b2.Write([]byte("arrived")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 7)
	if _, err := io.ReadFull(a2, buf[:1]); err != nil { // so all of it is there, or comes too late
		t.Fatal(err)
	}
	a2.Abort(enough)
	if _, err := a2.Write(buf); err != enough {
		t.Errorf("Write after Abort = %v, want its error", err)
	}
	if got, err := readAll(a2); err != enough || got != "rrived" {
		t.Errorf("Read after Abort = %q, %v, want what arrived and its error", got, err)
	}
	a2.Abort(errors.New("again"))
	if _, err := a2.Read(buf); err != enough {
		t.Errorf("Read after a second Abort = %v, want the error of the first", err)
	}
	if err := a2.Close(); err != nil {
		t.Errorf("Close after Abort = %v", err)
	}
}

// fill writes to a until nothing moves any more.
func fill(t *testing.T, a net.Conn) {
	t.Helper()
	for err := error(nil); err == nil; {
		a.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		_, err = a.Write(make([]byte, 4096))
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("Write: %v", err)
		}
	}
	a.SetWriteDeadline(time.Time{})
}

// testVanish takes the accepting client away in mid-stream.
func testVanish(t *testing.T, e Ends) {
	a, b := mustConnect(t, e)
	defer Abort(b)
	if _, err := b.Write([]byte("before")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	if n, err := io.ReadFull(a, buf[:6]); err != nil {
		t.Fatalf("Read = %q, %v", buf[:n], err)
	}
	e.Vanish()
	var err error
	for err == nil {
		_, err = a.Write(make([]byte, 4096))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) {
		t.Errorf("Write = %v, want an error that says the peer is gone", err)
	}
	if _, err = readAll(a); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read = %v, want an error that says the peer is gone", err)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Read = %v: a cut line must not look like an end", err)
	}
	Abort(a)
}

// readAll reads until an error, whichever it is.
func readAll(c net.Conn) (string, error) {
	var all []byte
	buf := make([]byte, 1024)
	for {
		n, err := c.Read(buf)
		all = append(all, buf[:n]...)
		if err != nil {
			return string(all), err
		}
	}
}
