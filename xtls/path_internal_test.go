// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/jingle"
	"example.org/xtls/transport"
)

// TestPayloadBeforeFailure: a transport that has said something before it failed is heard; the
// peer waits for that.
func TestPayloadBeforeFailure(t *testing.T) {
	for range 100 { // a choice of select's would go wrong in one of them
		a := &attempt{signal: newSignal(nil, "urn:example"), done: make(chan carrier, 1)}
		if err := a.signal.Send(t.Context(), []byte("<transport/>")); err != nil {
			t.Fatal(err)
		}
		failed := errors.New("no candidate")
		a.done <- carrier{err: failed}
		tun := &tunnel{ctx: context.Background()}
		if got, err := tun.payload(t.Context(), a); string(got) != "<transport/>" || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
		if got, err := tun.payload(t.Context(), a); got != nil || !errors.Is(err, failed) {
			t.Fatalf("then %q, %v", got, err)
		}
	}
}

// TestTakeReplace: only the initiator may propose another path, once, and before the handshake is done.
func TestTakeReplace(t *testing.T) {
	newTunnel := func() *tunnel { return &tunnel{replaced: make(chan *jingle.Message, 1)} }
	m := &jingle.Message{Action: jingle.ActionTransportReplace}
	tun := newTunnel()
	if tun.replacedBefore() || !tun.takeReplace(m) || tun.replacedBefore() {
		t.Error("the first one is not taken")
	}
	if tun.takeReplace(m) {
		t.Error("a second one is taken while the first waits")
	}
	if got := <-tun.replaced; got != m || tun.takeReplace(m) || !tun.replacedBefore() {
		t.Error("a second one is taken after the first")
	}
	if tun = newTunnel(); !tun.settle() || tun.takeReplace(m) {
		t.Error("one is taken after the handshake")
	}
	tun = newTunnel()
	tun.state.Initiator = true
	if tun.takeReplace(m) {
		t.Error("the initiator takes one")
	}
}

// TestHandshakeTime: a peer that says nothing in the handshake has 20 seconds for it.
func TestHandshakeTime(t *testing.T) {
	for _, initiator := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			cert, err := fingerprint.NewIdentity(jid.MustParse("alba@isle.example"))
			if err != nil {
				t.Fatal(err)
			}
			near, far := net.Pipe()
			defer far.Close()
			go func() { _, _ = io.Copy(io.Discard, far) }()
			tun := &tunnel{
				client: &Client{cfg: Config{Certificate: cert}}, ours: &security{},
				state: State{Initiator: initiator, Draft: true}, carrier: &watched{Conn: pipe{near}},
			}
			tun.ctx, tun.cancel = context.WithCancelCause(t.Context())
			start := time.Now()
			if err := tun.secure(t.Context()); !errors.Is(err, errHandshakeTime) || time.Since(start) != handshakeTime {
				t.Errorf("initiator %t: %v after %v", initiator, err, time.Since(start))
			}
			_ = near.Close()
		})
	}
}

// A pipe is a carrier in memory.
type pipe struct{ net.Conn }

func (pipe) Path() transport.Path { return transport.Direct }
func (p pipe) Abort(error)        { _ = p.Close() }

// TestAwait: what came before the end of the session is taken.
func TestAwait(t *testing.T) {
	tun := &tunnel{}
	tun.ctx, tun.cancel = context.WithCancelCause(t.Context())
	tun.cancel(errPeerDone)
	c := make(chan int, 1)
	for range 100 {
		c <- 1
		if v, err := await(t.Context(), tun, c); v != 1 || err != nil {
			t.Fatalf("got %d, %v", v, err)
		}
	}
	if v, err := await(t.Context(), tun, c); v != 0 || !errors.Is(err, errPeerDone) {
		t.Errorf("then %d, %v", v, err)
	}
}
