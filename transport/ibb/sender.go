// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import "time"

// A sender is the outgoing direction of a stream: what Write accepted, until the peer has
// acknowledged it. It does no I/O and has no lock; Conn's mutex guards it.
//
//	         send            answer: result
//	(queue) ------> blockSent --------------> blockAcked, dropped once all before it are
//	   ^             ^     |
//	   |        send |     | answer: wait, too big
//	   |             |     v
//	   |       blockDue <-- blockRefused
//	   |             resume    |
//	   +-----------------------+
//	             recut
type sender struct {
	size     int  // most octets in q
	messages bool // the queue holds messages, not a stream
	credit   int  // what the peer announced it can buffer; 0 = credit is not used

	ctl controller // how much may be in flight, in blocks of which size

	q      queue  // not acknowledged; the blocks in flight first
	cutLen int    // octets of q that are in flight
	flight flight // these
	first  uint64 // number of the first of them, counted from 0 without wrapping
	seq    uint16 // of the next block; wraps from 65535 to 0 by itself (XEP-0047 §2.2)
	sent   uint64 // octets of payload cut into blocks so far: the stream offset
	limit  uint64 // offset up to which the peer takes octets, if credit > 0

	// trouble is true from a refusal until an acknowledgement after which no block is refused.
	// Meanwhile only the first block is tried, since any later one would be a gap at the peer.
	trouble bool

	// proven is the largest payload known to pass; a larger one has nothing in flight after it.
	proven int
	// tooBig is the size of the smallest block that was refused because of its size, 0 if none was.
	tooBig int
}

// A block is one <data/> element in flight.
type block struct {
	seq   uint16
	n     int // octets of payload
	state blockState
	stamp stamp
}

type blockState uint8

const (
	blockDue     blockState = iota // to be sent, or sent again
	blockSent                      // waiting for its answer
	blockAcked                     // result
	blockRefused                   // error of type wait: the peer has not processed it
)

// held tells whether b is to be sent again, now or later.
func (b block) held() bool { return b.state == blockDue || b.state == blockRefused }

// span is how many octets of the queue b takes.
func (s *sender) span(b block) int {
	if s.messages {
		return lengthSize + b.n
	}
	return b.n
}

// spare is room behind a full queue, in octets, for what is small and has a deadline: the close_notify
// of TLS (RFC 8446 §6.1), for which crypto/tls sets one of 5 seconds, while under a server's limit a
// block takes longer.
const spare = 64

// write queues as much of b as there is room for, or the whole message or nothing. urgent may have
// the spare room.
func (s *sender) write(b []byte, urgent bool) int {
	if s.messages {
		if s.q.len() > 0 && s.q.len()+lengthSize+len(b) > s.most() {
			return 0
		}
		s.q.pushMessage(b)
		return len(b)
	}
	room := s.most() - s.q.len()
	if urgent {
		room += spare
	}
	b = b[:min(len(b), max(0, room))]
	s.q.push(b)
	return len(b)
}

// most is how many octets the queue may hold now. There is no use in more than one block that the
// peer has given no credit for.
func (s *sender) most() int {
	n := min(s.size, s.ctl.accept())
	if s.credit > 0 {
		n = min(n, s.cutLen+int(s.limit-s.sent)+s.ctl.chunk())
	}
	return n
}

// wantsMore tells whether it is time to wake up a writer: half of what may wait to be sent has
// been, or less than a block would be left behind the next one. To wake it up for each block would
// cost a fast path more than the block does.
func (s *sender) wantsMore() bool {
	waiting := s.q.len() - s.cutLen
	return s.messages || waiting < 2*s.ctl.chunk() || waiting <= (s.most()-s.cutLen)/2
}

// pending is how many octets of the queue were not acknowledged.
func (s *sender) pending() int { return s.q.len() }

// A due block is one to be sent now: block i of the flight again, or a new one of n octets if i
// is its length.
type due struct{ i, n int }

// next tells which block is to be sent now; ok is false if there is none. flush asks for what
// there is even if it fills no block.
func (s *sender) next(now time.Duration, flush bool) (d due, ok bool) {
	blocks := s.flight.blocks()
	if s.flight.held > 0 {
		return s.again(blocks)
	}
	if n := len(blocks); n > 0 && blocks[n-1].n > s.proven {
		return due{}, false
	}
	n := s.cut(flush)
	if n == 0 && s.ctl.room(s.ctl.chunk()) { // the path is not what it waits for
		if s.q.len()-s.cutLen >= s.ctl.chunk() {
			s.ctl.starved(now)
		} else {
			s.ctl.idle(now)
		}
	}
	return due{len(blocks), n}, n > 0
}

// again returns the first block that is due again, if no other one is in its way.
func (s *sender) again(blocks []block) (d due, ok bool) {
	for i, b := range blocks {
		if b.state == blockDue {
			return due{i, b.n}, true
		}
		if s.trouble || b.state == blockRefused {
			break
		}
	}
	return due{}, false
}

// send takes d for sent and returns its number, seq and payload, which is valid until the next
// call of a method.
func (s *sender) send(now time.Duration, d due) (num uint64, seq uint16, payload []byte) {
	off := s.cutLen
	if d.i == s.flight.len() {
		b := block{seq: s.seq, n: d.n, state: blockSent}
		s.flight.push(b)
		s.seq++
		s.sent += uint64(d.n)
		s.cutLen += s.span(b)
	} else {
		off = 0
		for _, b := range s.flight.blocks()[:d.i] {
			off += s.span(b)
		}
	}
	s.flight.set(d.i, blockSent)
	b := &s.flight.blocks()[d.i]
	b.stamp = s.ctl.sent(now, b.n)
	return s.first + uint64(d.i), b.seq, s.q.at(off+s.span(*b)-b.n, b.n)
}

// cut returns how many octets the next block takes, 0 if none may be sent now.
func (s *sender) cut(flush bool) int {
	waiting := s.q.len() - s.cutLen
	if waiting == 0 {
		return 0
	}
	room := maxBlockSize
	if s.credit > 0 {
		room = int(min(uint64(room), s.limit-s.sent))
	}
	var n int
	if s.messages {
		if n = s.q.messageLen(s.cutLen); n > room {
			return 0
		}
	} else {
		chunk := s.ctl.chunk()
		n = min(waiting, room, chunk)
		// As in Nagle's algorithm, small writes gather while something is on its way.
		if n < chunk && s.flight.len() > 0 && !flush {
			return 0
		}
	}
	if !s.ctl.room(n) {
		return 0
	}
	return n
}

// answered records the answer to block num: its new state. What is acknowledged without a gap
// leaves the queue.
func (s *sender) answered(now time.Duration, num uint64, state blockState) *ProtocolError {
	i := int(num - s.first)
	if i < 0 || i >= s.flight.len() {
		return nil // Close has thrown everything away
	}
	s.flight.set(i, state)
	if b := s.flight.blocks()[i]; state == blockRefused {
		s.trouble = true
		s.ctl.refused(now, b.n)
	} else {
		s.ctl.acked(now, b.n, b.stamp)
		s.proven = max(s.proven, b.n)
	}
	for s.flight.len() > 0 && s.flight.blocks()[0].state == blockAcked {
		n := s.span(s.flight.blocks()[0])
		s.q.drop(n)
		s.cutLen -= n
		s.first++
		s.flight.pop()
		s.trouble = s.flight.refused()
	}
	return s.checkOrder()
}

// checkOrder refuses a result for a block after one that was not processed: the peer took it
// out of sequence, or the result is forged.
func (s *sender) checkOrder() *ProtocolError {
	if s.flight.held == 0 {
		return nil
	}
	blocks := s.flight.blocks()
	refused := -1
	for i, b := range blocks {
		switch {
		case b.held():
			refused = i
		case b.state == blockAcked && refused >= 0:
			return violation("XEP-0047 §2.2", "block %d acknowledged although %d before it was refused",
				b.seq, blocks[refused].seq)
		}
	}
	return nil
}

// awaiting tells whether the answer to a block is to come.
func (s *sender) awaiting() bool {
	return s.flight.any(blockSent)
}

// stalled tells whether a block was refused and no answer is awaited any more: the time to pause.
func (s *sender) stalled() bool {
	return s.flight.refused() && !s.awaiting()
}

// resume makes the refused blocks due again, with the same seq and the same octets.
func (s *sender) resume() {
	for i, b := range s.flight.blocks() {
		if b.state == blockRefused {
			s.flight.set(i, blockDue)
		}
	}
}

// refusedSize notes that block num is about to be refused because of its size.
func (s *sender) refusedSize(num uint64) {
	i := int(num - s.first)
	if i < 0 || i >= s.flight.len() {
		return
	}
	if n := s.flight.blocks()[i].n; s.tooBig == 0 || n < s.tooBig {
		s.tooBig = n
	}
}

// recut puts the blocks in flight back into the queue if one of them was too big. All of them
// were refused, so the peer has processed none: the seq of the first is still the next one there,
// and carries fewer octets now. It returns false if there is nothing smaller to send.
func (s *sender) recut() bool {
	if !s.ctl.tooBig(s.tooBig) {
		return false
	}
	s.tooBig, s.trouble = 0, false
	blocks := s.flight.blocks()
	s.seq = blocks[0].seq
	for _, b := range blocks {
		s.sent -= uint64(b.n)
	}
	s.cutLen, s.flight = 0, flight{}
	return true
}

// raise takes a limit from the peer. Lower ones are ignored, as answers may overtake each other;
// one beyond what was sent plus the larger of what the peer announced and MaxWindow cannot be
// meant.
func (s *sender) raise(limit uint64) *ProtocolError {
	if most := max(s.credit, MaxWindow); limit > s.sent+uint64(most) {
		return violation(NSCredit, "limit %d, but only %d octets were sent and a window has at most %d", limit, s.sent, most)
	}
	s.limit = max(s.limit, limit)
	return nil
}
