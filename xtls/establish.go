// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"context"
	"fmt"
	"time"
)

// establish takes a negotiated session (or the reason why there is none) to a
// Conn: carrier, handshake, judgement, confirmation. On failure it tells the
// peer, gives up what is being tried and joins what was started.
func (t *tunnel) establish(ctx context.Context, err error) (*Conn, error) {
	within, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.ctx, func() { cancel(context.Cause(t.ctx)) })()
	if err = t.connect(within, err); err == nil {
		var conn *Conn
		if conn, err = t.conclude(within); err == nil {
			return conn, nil
		}
	}
	err = t.fail(err)
	t.dropCarrier(err)
	t.attempt.end(err)
	return nil, err
}

// conclude turns the secured carrier into a Conn, once both ends have accepted
// each other.
func (t *tunnel) conclude(ctx context.Context) (*Conn, error) {
	if err := t.judge(ctx); err != nil {
		return nil, verdict{err}
	}
	t.accept()
	if t.extended() {
		if err := t.confirm(ctx); err != nil {
			return nil, err
		}
	}
	if err := t.remember(); err != nil {
		return nil, verdict{err}
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
