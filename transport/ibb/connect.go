// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import (
	"context"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"time"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/transport"
)

// Connect negotiates a stream with n.Peer (XEP-0261 §2.2) and returns a [*Conn]. The initiator
// offers a fresh random sid, its block-size and credit, takes the answer, and sends <open/>. The
// responder agrees to the smaller block-size and waits for <open/>; the stream is registered
// before its answer leaves, so that nothing that follows can be missed.
//
// ctx governs only the negotiation. Errors wrap ctx's cause, [ErrBlockSize], a
// [*ProtocolError], a [*RefusedError], or [ErrSessionEnded].
func (t *Transport) Connect(ctx context.Context, n *transport.Negotiation) (transport.Conn, error) {
	if n.Signal == nil || n.Peer.Equal(jid.JID{}) {
		return nil, errors.New("ibb: Negotiation.Signal and Negotiation.Peer are required")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := t.newConn(n, cancel)
	step := c.accept
	if n.Initiator {
		step = c.offer
	}
	err := step(ctx, n.Signal)
	if err == nil {
		err = t.start(c)
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		c.abandon(err)
		return nil, wrapCause("ibb: connect", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = nil
	return c, nil
}

// newConn returns a Conn that takes no data yet. fail ends its negotiation.
func (t *Transport) newConn(n *transport.Negotiation, fail context.CancelCauseFunc) *Conn {
	c := &Conn{
		t:         t,
		peer:      n.Peer,
		initiator: n.Initiator,
		messages:  n.Messages,
		born:      time.Now(),
		ready:     make(chan struct{}),
		done:      make(chan struct{}),
		failed:    fail,
	}
	c.readable.L, c.writable.L, c.work.L = &c.mu, &c.mu, &c.mu
	return c
}

func (c *Conn) key() streamKey { return streamKey{c.peer.String(), c.sid} }

// offer is the initiator's part.
func (c *Conn) offer(ctx context.Context, s transport.Signal) error {
	cfg := c.t.cfg
	c.sid = rand.Text() // at least 128 bits
	mine := params{sid: c.sid, blockSize: cfg.BlockSize, credit: cfg.firstWindow()}
	if err := c.t.register(c); err != nil {
		return err
	}
	if err := s.Send(ctx, mine.render()); err != nil {
		return err
	}
	theirs, err := recvParams(ctx, s)
	if err != nil {
		return err
	}
	if theirs.sid != c.sid {
		return violation("XEP-0261 §2.2", "answer for sid %s", quote(theirs.sid))
	}
	if theirs.blockSize > mine.blockSize {
		return fmt.Errorf("%w: %d answered, %d offered", ErrBlockSize, theirs.blockSize, mine.blockSize)
	}
	// The peer may send as soon as it has <open/>, and its blocks may be handled before our
	// request returns.
	c.agree(theirs, theirs.blockSize, true)
	_, err = c.t.stanzas.Request(ctx, stanza.SetIQ, c.peer, renderOpen(params{sid: c.sid, blockSize: theirs.blockSize}))
	if err != nil {
		return answerError("open", err)
	}
	return nil
}

// accept is the responder's part.
func (c *Conn) accept(ctx context.Context, s transport.Signal) error {
	theirs, err := recvParams(ctx, s)
	if err != nil {
		return err
	}
	c.sid = theirs.sid
	mine := params{sid: theirs.sid, blockSize: min(theirs.blockSize, c.t.cfg.BlockSize)}
	if theirs.credit > 0 {
		mine.credit = c.t.cfg.firstWindow()
	}
	c.agree(theirs, mine.blockSize, false)
	if err := c.t.register(c); err != nil {
		return err
	}
	if err := s.Send(ctx, mine.render()); err != nil {
		return err
	}
	select {
	case <-c.ready:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-c.ready: // before the end
		return nil
	default:
		return context.Cause(ctx)
	}
}

// recvParams receives the peer's <transport/>.
func recvParams(ctx context.Context, s transport.Signal) (params, error) {
	r, err := s.Recv(ctx)
	if err != nil {
		return params{}, err
	}
	p, err := parseTransport(r)
	if err == nil && p.blockSize < minBlockSize {
		err = fmt.Errorf("%w: %d octets, the least is %d", ErrBlockSize, p.blockSize, minBlockSize)
	}
	return p, err
}

// agree fixes what both ends have agreed on.
func (c *Conn) agree(theirs params, blockSize int, opened bool) {
	cfg := c.t.cfg
	window, most, blocks := cfg.firstWindow(), cfg.ReceiveBuffer, sessionBlocks
	if theirs.credit == 0 {
		most, blocks = window, 1
	}
	ctl := newController(blockSize, blocks, cfg.SendBuffer, c.messages)
	if cfg.InFlight > 0 {
		ctl = fixedController(blockSize, min(cfg.InFlight, blocks))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blockSize = blockSize
	c.credit = theirs.credit > 0
	c.in = receiver{
		blockSize: blockSize, first: window, window: window, most: most, messages: c.messages,
		limit: uint64(window), all: &c.t.windows,
	}
	c.out = sender{
		size: cfg.SendBuffer, messages: c.messages, credit: theirs.credit, limit: uint64(theirs.credit),
		ctl: ctl, proven: startChunk,
	}
	if c.messages || cfg.InFlight > 0 {
		c.out.proven = blockSize
	}
	c.opened = opened
}

// abandon undoes a negotiation that failed with err. If the peer may take the stream for open it
// is told that it is not.
func (c *Conn) abandon(err error) {
	c.t.remove(c)
	c.mu.Lock()
	tell := c.opened && c.err == nil
	c.failed = nil
	c.failLocked(err, false)
	c.mu.Unlock()
	if _, refused := errors.AsType[*RefusedError](err); tell && !refused {
		c.t.stanzas.Go(stanza.SetIQ, c.peer, renderClose(c.sid), func(xml.TokenReader, error) {})
	}
}
