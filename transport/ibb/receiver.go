// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import "io"

// A receiver is the incoming direction of a stream: what came in order and was not read yet.
// It does no I/O and has no lock; Conn's mutex guards it.
type receiver struct {
	blockSize int
	first     int  // most octets of payload queued at first
	window    int  // the same now; grows
	most      int  // most of window
	messages  bool // the queue holds messages, not a stream

	q        queue
	queued   int    // octets of payload in q
	seq      uint16 // expected next; wraps from 65535 to 0 by itself (XEP-0047 §2.2)
	received uint64 // octets of payload so far: the stream offset
	limit    uint64 // offset up to which the peer was told it may go

	all   *windows // of the session
	grown uint64   // offset from which on the window was watched
	peak  int      // most octets queued since then
}

// check tells whether the block seq with payload is the next one and allowed.
func (r *receiver) check(seq uint16, payload []byte) *ProtocolError {
	const rule = "XEP-0047 §2.2"
	switch d := seq - r.seq; {
	case d >= 1<<15:
		return violation(rule, "seq %d again, %d was next", seq, r.seq)
	case d != 0:
		return violation(rule, "seq %d, but %d was next: a block was lost", seq, r.seq)
	case len(payload) > r.blockSize:
		return violation(rule, "block of %d octets, block-size is %d", len(payload), r.blockSize)
	}
	return nil
}

// fits tells whether there is room for n more octets.
func (r *receiver) fits(n int) bool { return r.queued+n <= r.window }

// take queues the payload of the next block, or only counts it if keep is false. An empty block
// carries nothing, in either mode.
func (r *receiver) take(payload []byte, keep bool) {
	r.seq++
	r.received += uint64(len(payload))
	if !keep || len(payload) == 0 {
		return
	}
	if r.messages {
		r.q.pushMessage(payload)
	} else {
		r.q.push(payload)
	}
	r.queued += len(payload)
	r.grow()
}

// grow doubles the window when the peer has sent one and the reader always kept up, so that half of
// it was free: then the window may be what limits the rate, and a larger one will hold little.
// Where the reader is the slower one it stays.
func (r *receiver) grow() {
	r.peak = max(r.peak, r.queued)
	if r.received-r.grown < uint64(r.window) {
		return
	}
	if next := min(2*r.window, r.most); r.peak <= r.window/2 && next > r.window && r.all.take(next-r.window) {
		r.window = next
	}
	r.grown, r.peak = r.received, r.queued
}

// empty tells whether there is nothing to read.
func (r *receiver) empty() bool { return r.q.len() == 0 }

// read moves queued octets to b: as many as fit of a stream, exactly one message otherwise.
func (r *receiver) read(b []byte) (int, error) {
	if !r.messages {
		n := copy(b, r.q.at(0, r.q.len()))
		r.q.drop(n)
		r.queued -= n
		return n, nil
	}
	n := r.q.messageLen(0)
	if n > len(b) {
		return 0, io.ErrShortBuffer
	}
	copy(b, r.q.at(lengthSize, n))
	r.q.drop(lengthSize + n)
	r.queued -= n
	return n, nil
}

// close throws away what was not read. Nothing is kept any more.
func (r *receiver) close() {
	r.q, r.queued = queue{}, 0
	r.all.give(r.window - r.first)
	r.first = r.window
}

// grant raises the limit to what there is room for and returns it. It never falls: what is
// read makes room, and what is received takes exactly its own.
func (r *receiver) grant() uint64 {
	r.limit = r.received + uint64(r.window-r.queued)
	return r.limit
}

// starved tells whether the peer may be waiting for a higher limit and there is enough room to
// make it worth a stanza. Less than a block left counts: a message cannot be sent in part.
func (r *receiver) starved() bool {
	free := r.window - r.queued
	return r.limit-r.received < uint64(r.blockSize) && free >= max(r.blockSize, r.window/4)
}
