// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"example.org/xtls/jingle"
	"example.org/xtls/transport"
)

// errTransport marks a transport that could not be connected.
var errTransport = errors.New("no path to the peer")

// A carrier is the outcome of a transport's negotiation.
type carrier struct {
	conn transport.Conn
	err  error
}

// connect runs the transport in a goroutine until it has a carrier or ctx ends.
func (t *tunnel) connect(ctx context.Context) chan carrier {
	done := make(chan carrier, 1)
	go func() {
		conn, err := t.client.ibb.Connect(ctx, &transport.Negotiation{
			Peer: t.state.Peer, Initiator: t.initiator(), Messages: t.ours.wants() == DTLS, Signal: t.signal,
		})
		if err != nil {
			err = fmt.Errorf("%w: %w", errTransport, err)
		}
		done <- carrier{conn, err}
	}()
	return done
}

// firstPayload waits for what the transport has to say in our session-initiate or
// session-accept.
func (t *tunnel) firstPayload(ctx context.Context, c chan carrier) (jingle.Element, error) {
	select {
	case payload := <-t.signal.first:
		return payload, nil
	case got := <-c: // it failed before it had anything to say
		c <- got
		return nil, got.err
	case <-t.ctx.Done():
		return nil, context.Cause(t.ctx)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// establish takes a negotiated session (or the reason why there is none) to a
// Conn: carrier, handshake, judgement, confirmation. On failure it tells the
// peer, cancels the transport and joins what was started.
func (t *tunnel) establish(ctx context.Context, cancel context.CancelFunc, c <-chan carrier, err error) (*Conn, error) {
	var got carrier
	if err == nil {
		got, err = t.awaitCarrier(ctx, c)
	}
	if err == nil {
		var conn *Conn
		if conn, err = t.protect(ctx, got.conn); err == nil {
			return conn, nil
		}
	}
	err = t.fail(err)
	if got == (carrier{}) {
		cancel()
		got = <-c
	}
	if got.conn != nil {
		got.conn.Abort(err)
		_ = got.conn.Close()
	}
	return nil, err
}

func (t *tunnel) awaitCarrier(ctx context.Context, c <-chan carrier) (carrier, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, carrierTime,
		fmt.Errorf("%w within %v", errTransport, carrierTime))
	defer cancel()
	got, err := await(ctx, t, c)
	if err == nil {
		err = got.err
	}
	return got, err
}

// protect turns the carrier into a Conn.
func (t *tunnel) protect(ctx context.Context, raw transport.Conn) (*Conn, error) {
	t.setCarrier(raw)
	t.state.Transport = string(raw.Path())
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.ctx, func() { cancel(context.Cause(t.ctx)) })()
	if err := t.secure(ctx); err != nil {
		return nil, err
	}
	if err := t.judge(ctx); err != nil {
		return nil, err
	}
	t.accept()
	if t.extended() {
		if err := t.confirm(ctx); err != nil {
			return nil, err
		}
	}
	if err := t.remember(); err != nil {
		return nil, err
	}
	return t.client.established(t)
}

// confirm tells the peer that its certificate is accepted and waits to hear the
// same: whoever is asked over there may take their time.
func (t *tunnel) confirm(ctx context.Context) error {
	if err := t.send(ctx, frame{typ: frameConfirm}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, verifyTime+time.Minute,
		fmt.Errorf("the peer did not confirm: %w", context.DeadlineExceeded))
	defer cancel()
	_, err := await(ctx, t, t.confirmed)
	return err
}

// negotiation is what both ends agreed on, in the order of their roles.
func (t *tunnel) negotiation() *negotiation {
	n := &negotiation{
		sid:       t.js.ID(),
		initiator: t.client.LocalAddr(), responder: t.state.Peer,
		creator: t.js.Offer().Creator, content: t.js.Offer().Name,
		offerI: t.ours.offer(t.state.App), offerR: t.theirs.offer(t.state.App),
	}
	if !t.initiator() {
		n.initiator, n.responder = n.responder, n.initiator
		n.offerI, n.offerR = n.offerR, n.offerI
	}
	return n
}

// A watched carrier notes that something arrives, and what became of what was
// sent: crypto/tls mixes that up with its own goodbye.
type watched struct {
	transport.Conn
	alive    atomic.Bool // something arrived since the last heartbeat
	closeErr error       // of Close
}

// Read reads and notes it.
func (c *watched) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.alive.Store(true)
	}
	return n, err
}

// Write writes. What the carrier takes beyond its buffer, the peer has taken.
func (c *watched) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if n > 0 {
		c.alive.Store(true)
	}
	return n, err
}

// Close closes and remembers how.
func (c *watched) Close() error {
	c.closeErr = c.Conn.Close()
	return c.closeErr
}
