// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import "slices"

// A sender is the outgoing direction of a stream: what Write accepted, until the peer has
// acknowledged it. It does no I/O and has no lock; Conn's mutex guards it.
//
//	         next            answer: result
//	(queue) ------> blockSent --------------> blockAcked, dropped once all before it are
//	                 ^     |
//	            next |     | answer: wait
//	                 |     v
//	           blockDue <-- blockRefused
//	                 resume
type sender struct {
	blockSize   int
	size        int  // most octets in q
	maxInFlight int  // most blocks not acknowledged
	messages    bool // the queue holds messages, not a stream
	credit      int  // what the peer announced it can buffer; 0 = credit is not used

	q      queue   // not acknowledged; the blocks in flight first
	cutLen int     // octets of q that are in flight
	flight []block // in order of seq
	first  uint64  // number of flight[0], counted from 0 without wrapping
	seq    uint16  // of the next block; wraps from 65535 to 0 by itself (XEP-0047 §2.2)
	sent   uint64  // octets of payload cut into blocks so far: the stream offset
	limit  uint64  // offset up to which the peer takes octets, if credit > 0

	// trouble is true from a refusal until an acknowledgement after which no block is refused.
	// Meanwhile only the first block is tried, since any later one would be a gap at the peer.
	trouble bool
}

// A block is one <data/> element in flight.
type block struct {
	seq   uint16
	n     int // octets of payload
	state blockState
}

type blockState uint8

const (
	blockDue     blockState = iota // to be sent, or sent again
	blockSent                      // waiting for its answer
	blockAcked                     // result
	blockRefused                   // error of type wait: the peer has not processed it
)

// span is how many octets of the queue b takes.
func (s *sender) span(b block) int {
	if s.messages {
		return lengthSize + b.n
	}
	return b.n
}

// write queues as much of b as there is room for, or the whole message or nothing.
func (s *sender) write(b []byte) int {
	if s.messages {
		if s.q.len() > 0 && s.q.len()+lengthSize+len(b) > s.size {
			return 0
		}
		s.q.pushMessage(b)
		return len(b)
	}
	b = b[:min(len(b), max(0, s.size-s.q.len()))]
	s.q.push(b)
	return len(b)
}

// pending is how many octets of the queue were not acknowledged.
func (s *sender) pending() int { return s.q.len() }

// next returns the next block to send now, with its number; ok is false if there is none.
// flush asks for what there is even if it fills no block. The payload is valid until the
// next call.
func (s *sender) next(flush bool) (num uint64, seq uint16, payload []byte, ok bool) {
	off := 0
	for i, b := range s.flight {
		if b.state == blockDue {
			return s.send(i, off)
		}
		if s.trouble || b.state == blockRefused {
			return 0, 0, nil, false
		}
		off += s.span(b)
	}
	n := s.cut(flush)
	if n == 0 {
		return 0, 0, nil, false
	}
	b := block{seq: s.seq, n: n}
	s.flight = append(s.flight, b)
	s.seq++
	s.sent += uint64(n)
	s.cutLen += s.span(b)
	return s.send(len(s.flight)-1, off)
}

// send marks flight[i], whose octets are at offset off, as sent.
func (s *sender) send(i, off int) (num uint64, seq uint16, payload []byte, ok bool) {
	b := &s.flight[i]
	b.state = blockSent
	off += s.span(*b) - b.n
	return s.first + uint64(i), b.seq, s.q.at(off, b.n), true
}

// cut returns how many octets the next block takes, 0 if none may be sent now.
func (s *sender) cut(flush bool) int {
	waiting := s.q.len() - s.cutLen
	if waiting == 0 || len(s.flight) >= s.maxInFlight {
		return 0
	}
	room := uint64(s.blockSize)
	if s.credit > 0 {
		room = min(room, s.limit-s.sent)
	}
	if s.messages {
		n := s.q.messageLen(s.cutLen)
		if uint64(n) > room {
			return 0
		}
		return n
	}
	n := min(waiting, int(room))
	// As in Nagle's algorithm, small writes gather while something is on its way.
	if n < s.blockSize && len(s.flight) > 0 && !flush {
		return 0
	}
	return n
}

// answered records the answer to block num: its new state. What is acknowledged without a gap
// leaves the queue.
func (s *sender) answered(num uint64, state blockState) *ProtocolError {
	i := int(num - s.first)
	if i < 0 || i >= len(s.flight) {
		return nil // Close has thrown everything away
	}
	s.flight[i].state = state
	if state == blockRefused {
		s.trouble = true
	}
	for len(s.flight) > 0 && s.flight[0].state == blockAcked {
		n := s.span(s.flight[0])
		s.q.drop(n)
		s.cutLen -= n
		s.first++
		s.flight = s.flight[1:]
		s.trouble = slices.ContainsFunc(s.flight, func(b block) bool { return b.state == blockRefused })
	}
	if len(s.flight) == 0 {
		s.flight = nil // an idle stream keeps nothing
	}
	return s.checkOrder()
}

// checkOrder refuses a result for a block after one that was not processed: the peer took it
// out of sequence, or the result is forged.
func (s *sender) checkOrder() *ProtocolError {
	refused := -1
	for i, b := range s.flight {
		switch {
		case b.state == blockRefused || b.state == blockDue:
			refused = i
		case b.state == blockAcked && refused >= 0:
			return violation("XEP-0047 §2.2", "block %d acknowledged although %d before it was refused",
				b.seq, s.flight[refused].seq)
		}
	}
	return nil
}

// awaiting tells whether the answer to a block is to come.
func (s *sender) awaiting() bool {
	return slices.ContainsFunc(s.flight, func(b block) bool { return b.state == blockSent })
}

// stalled tells whether a block was refused and no answer is awaited any more: the time to pause.
func (s *sender) stalled() bool {
	return !s.awaiting() && slices.ContainsFunc(s.flight, func(b block) bool { return b.state == blockRefused })
}

// resume makes the refused blocks due again, with the same seq and the same octets.
func (s *sender) resume() {
	for i := range s.flight {
		if s.flight[i].state == blockRefused {
			s.flight[i].state = blockDue
		}
	}
}

// raise takes a limit from the peer. Lower ones are ignored, as answers may overtake each other;
// one beyond what was sent plus what the peer announced cannot be true.
func (s *sender) raise(limit uint64) *ProtocolError {
	if limit > s.sent+uint64(s.credit) {
		return violation(NSCredit, "limit %d, but only %d octets were sent and %d announced", limit, s.sent, s.credit)
	}
	s.limit = max(s.limit, limit)
	return nil
}
