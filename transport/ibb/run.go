// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import (
	"encoding/xml"
	"errors"
	"sync"
	"time"

	"mellium.im/xmpp/stanza"
)

// buffers holds memory for rendering and decoding blocks and for queues, so that streams need none
// of their own while they are idle.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// run sends what is to be sent until the stream ends, and then says so to the peer. It is the
// stream's only goroutine; Close joins it.
func (c *Conn) run() {
	defer close(c.done)
	for c.step() {
	}
	c.finish()
	c.t.remove(c)
}

// A request is a block whose answer is awaited.
type request struct {
	c    *Conn
	num  uint64
	done func(xml.TokenReader, error) // answered
}

// requests holds requests for blocks to come, so that a block costs no memory of its own.
var requests sync.Pool

// newRequest returns a request for block num of c.
func newRequest(c *Conn, num uint64) *request {
	r, _ := requests.Get().(*request)
	if r == nil {
		r = new(request)
		r.done = r.answered
	}
	r.c, r.num = c, num
	return r
}

// answered takes the answer. It runs on any goroutine, once, and does not block.
func (r *request) answered(reply xml.TokenReader, err error) {
	c, num := r.c, r.num
	r.c = nil
	requests.Put(r)
	c.blockAnswered(num, reply, err)
	c.t.flights.give()
}

// now is the time since the stream began.
func (c *Conn) now() time.Duration { return time.Since(c.born) }

// nextLocked returns what is to be sent now, if the session has room for it.
func (c *Conn) nextLocked() (due, bool) {
	d, ok := c.out.next(c.now(), c.closed)
	if !ok || c.t.flights.take(c, c.out.ctl.blocks == 0) {
		return d, ok
	}
	c.out.ctl.starved(c.now())
	return d, false
}

// step waits for something to send and sends it. It returns false when the stream has ended.
func (c *Conn) step() bool {
	c.mu.Lock()
	for {
		if c.err != nil || c.closed && (c.out.pending() == 0 || c.cutShort) {
			c.mu.Unlock()
			return false
		}
		if c.creditDueLocked() {
			limit := c.update.begin(&c.in)
			c.mu.Unlock()
			c.t.stanzas.Go(stanza.SetIQ, c.peer, credit{c.sid, limit}.render(), c.creditAnswered)
			return true
		}
		if d, ok := c.nextLocked(); ok {
			num, seq, payload := c.out.send(c.now(), d)
			buf := buffers.Get().(*[]byte)
			*buf = appendData((*buf)[:0], c.sid, seq, payload)
			c.mu.Unlock()
			c.t.stanzas.Go(stanza.SetIQ, c.peer, *buf, newRequest(c, num).done)
			buffers.Put(buf)
			return true
		}
		c.work.Wait()
	}
}

// finish ends the stream in order, for at most closeLinger. If the peer closed it the results of
// blocks on their way may still come: its handlers and its Close send on different goroutines.
// Otherwise the peer is told by <close/>, unless that is no use, and its answer is awaited
// (XEP-0047 §2.3). It may be an error: either way the stream is closed.
func (c *Conn) finish() {
	linger := time.AfterFunc(closeLinger, c.stopWaiting)
	defer linger.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := c.out.awaiting
	if c.err == nil || c.tell {
		answered := false
		waiting = func() bool { return !answered }
		c.mu.Unlock()
		c.t.stanzas.Go(stanza.SetIQ, c.peer, renderClose(c.sid), func(xml.TokenReader, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			answered = true
			c.work.Broadcast()
		})
		c.mu.Lock()
	}
	for waiting() && !c.cutShort {
		c.work.Wait()
	}
	c.patience.stop()
	c.update.patience.stop()
	c.t.logf("stream %s with %s sent %d octets, last with %v", c.sid, c.peer, c.out.sent, &c.out.ctl)
}

// blockAnswered takes the answer to block num. It runs on any goroutine and does not block.
func (c *Conn) blockAnswered(num uint64, reply xml.TokenReader, err error) {
	var granted credit
	var ok bool
	if err == nil && c.credit {
		granted, ok, err = replyCredit(reply)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok {
		c.creditLocked(granted)
	}
	state := blockAcked
	if err != nil {
		state, c.refusal = blockRefused, err
		switch {
		case isWait(err):
		case isTooBig(err):
			c.out.refusedSize(num)
		default:
			c.breakLocked("data", err)
		}
	}
	before := c.out.pending()
	if v := c.out.answered(c.now(), num, state); v != nil {
		c.failLocked(v, true)
		return
	}
	if c.out.pending() < before {
		c.progress = c.now()
		c.patience.reset()
		if c.out.wantsMore() {
			c.writable.Broadcast()
		}
	}
	if c.err == nil && c.out.stalled() {
		c.refusedLocked()
	}
	c.work.Broadcast()
}

// refusedLocked goes on after all answers are here and blocks were refused: at once with smaller
// ones if they were too big, with the same ones after a pause otherwise.
func (c *Conn) refusedLocked() {
	switch {
	case c.out.tooBig == 0:
		c.pauseLocked()
	case !c.out.recut():
		c.breakLocked("data", c.refusal)
	default:
		c.t.logf("stream %s with %s: %v; blocks have at most %d octets now", c.sid, c.peer, c.refusal, c.out.ctl.maxChunk)
	}
}

// breakLocked ends the stream because a stanza of ours got no good answer. The peer is told
// (XEP-0047 §2.2: "the sender MUST close the bytestream").
func (c *Conn) breakLocked(op string, err error) {
	if v, ok := errors.AsType[*ProtocolError](err); ok {
		c.failLocked(v, true)
		return
	}
	c.failLocked(answerError(op, err), true)
}

// pauseLocked sends the refused blocks again after a while, or gives up.
func (c *Conn) pauseLocked() {
	ok := c.patience.again(c.refusal, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.out.resume()
		c.work.Broadcast()
	})
	if !ok {
		c.breakLocked("data", c.refusal)
	}
}

// creditLocked takes a limit from the peer.
func (c *Conn) creditLocked(granted credit) {
	if granted.sid != c.sid {
		c.failLocked(violation(NSCredit, "credit for sid %s", quote(granted.sid)), true)
		return
	}
	if v := c.out.raise(granted.limit); v != nil {
		c.failLocked(v, true)
		return
	}
	c.writable.Broadcast()
	c.work.Broadcast()
}

// A creditUpdate is the <credit/> of our own that may be under way. There is at most one, so
// that its limits arrive in order.
type creditUpdate struct {
	busy     bool // sent and not answered, or pausing
	lost     bool // the last one did not arrive
	patience patience
}

// begin notes that an update is sent and returns its limit.
func (u *creditUpdate) begin(in *receiver) uint64 {
	u.busy, u.lost = true, false
	return in.grant()
}

// creditDueLocked tells whether the peer waits for a higher limit.
func (c *Conn) creditDueLocked() bool {
	return c.credit && c.err == nil && !c.update.busy && (c.update.lost || c.in.starved())
}

// creditAnswered takes the answer to a <credit/>. It runs on any goroutine and does not block.
func (c *Conn) creditAnswered(_ xml.TokenReader, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
	case err == nil:
		c.update.busy = false
		c.update.patience.reset()
		c.work.Broadcast()
	case !isWait(err) || !c.update.patience.again(err, c.resendCredit):
		c.breakLocked("credit", err)
	}
}

func (c *Conn) resendCredit() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.update.busy, c.update.lost = false, true
	c.work.Broadcast()
}
