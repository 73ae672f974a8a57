// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package mux

import (
	"slices"
	"time"
)

// send writes what there is to send until the session has ended and nothing is left,
// or the tunnel takes no more.
func (s *Session) send() {
	defer close(s.sent)
	batch := make([]byte, 0, fullBatch)
	limit := oneFrame
	for {
		if batch = s.next(batch[:0], limit); len(batch) == 0 {
			return
		}
		start := time.Now()
		if _, err := s.conn.Write(batch); err != nil {
			s.sendFailed(err)
			return
		}
		limit = nextLimit(limit, len(batch), time.Since(start))
	}
}

// nextLimit is how much the next batch may hold: one frame, unless full batches leave
// so quickly that nobody would notice to have waited for one, or so slowly that everybody
// does.
func nextLimit(limit, size int, took time.Duration) int {
	switch {
	case took > slowly:
		return shortFrame
	case took > quickly:
		return oneFrame
	case size > limit-leastRoom:
		return min(2*limit, fullBatch)
	default:
		return limit
	}
}

// next waits for something to send and appends it to batch. Nothing means that there
// will be no more.
func (s *Session) next(batch []byte, limit int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.dead {
			return nil
		}
		if batch = s.fillLocked(batch, limit); len(batch) > 0 || s.cause != nil {
			return batch
		}
		s.work.Wait()
	}
}

// sendFailed notes that nothing can be written any more. What the peer sent before
// can still be read: it may have said everything and gone.
func (s *Session) sendFailed(err error) {
	s.mu.Lock()
	s.sendErr = notEOF(err)
	for _, st := range s.streams {
		st.writable.Broadcast()
	}
	if !s.dead {
		s.drain = time.AfterFunc(drainTime, func() { _ = s.closeConn() })
	}
	s.mu.Unlock()
}

// fillLocked appends frames up to limit octets: first what is said about streams,
// then data. It is the choice of who goes next.
func (s *Session) fillLocked(batch []byte, limit int) []byte {
	const most = 3 * headerSize // of one stream: opened and updated, or opened, stopped and reset
	for len(s.refused) > 0 && len(batch)+most <= limit {
		batch = appendHeader(batch, cmdStop, 0, s.refused[0])
		batch = appendHeader(batch, cmdReset, 0, s.refused[0])
		s.refused = s.refused[1:]
	}
	for len(s.urgent) > 0 && len(batch)+most <= limit {
		st := s.urgent[0]
		s.urgent = s.urgent[1:]
		batch = s.urgentLocked(batch, st)
	}
	for len(s.ready) > 0 && len(batch)+leastRoom <= limit {
		i := s.chooseLocked()
		st := s.ready[i]
		s.ready = slices.Delete(s.ready, i, i+1)
		st.queued = false
		if st.wantsLocked() {
			batch = s.dataLocked(batch, st, limit)
			s.scheduleLocked(st)
		}
	}
	return batch
}

// chooseLocked returns the index of the ready stream whose turn it is. This is fair
// queueing with a clock that counts the octets one stream had while there were others:
// whose next frame would be through first goes first, and who was silent has saved
// nothing but is not behind either. So a stream with few octets goes at once, one that
// always has more goes in turn, and none can take more than its share.
func (s *Session) chooseLocked() int {
	best, first := 0, ^uint64(0)
	for i, st := range s.ready {
		through := max(s.clock, st.used) + uint64(min(len(st.out), frameSize, st.roomLocked()))
		if through < first {
			best, first = i, through
		}
	}
	return best
}

// urgentLocked appends what a stream has to say beside data.
func (s *Session) urgentLocked(batch []byte, st *Stream) []byte {
	st.urged = false
	if st.opening {
		st.opening = false
		batch = appendHeader(batch, cmdOpen, 0, st.id)
	}
	if st.update && !st.ended && !st.closed {
		batch = appendUpdate(batch, st.id, st.consumed, uint32(st.window))
	}
	st.update = false
	if st.stop {
		st.stop = false
		batch = appendHeader(batch, cmdStop, 0, st.id)
	}
	if st.reset && !st.finished {
		st.finished = true
		batch = appendHeader(batch, cmdReset, 0, st.id)
	}
	s.settleLocked(st)
	s.scheduleLocked(st)
	return batch
}

// dataLocked appends a frame of data, and the end if there is one.
func (s *Session) dataLocked(batch []byte, st *Stream, limit int) []byte {
	if n := min(len(st.out), frameSize, st.roomLocked(), limit-len(batch)-headerSize); n > 0 {
		batch = appendHeader(batch, cmdData, n, st.id)
		batch = append(batch, st.out[:n]...)
		st.out = st.out[n:]
		st.taken += n
		st.written += uint32(n)
		s.clock = max(s.clock, st.used)
		st.used = s.clock + headerSize + uint64(n)
		if len(st.out) == 0 {
			st.writable.Broadcast()
		}
	}
	if st.finishing && len(st.out) == 0 && len(batch)+headerSize <= limit {
		st.finished = true
		batch = appendHeader(batch, cmdFinish, 0, st.id)
		s.settleLocked(st)
	}
	return batch
}

// scheduleLocked lets a stream have its turn if it has something to send.
func (s *Session) scheduleLocked(st *Stream) {
	if st.queued || !st.wantsLocked() {
		return
	}
	st.queued = true
	s.ready = append(s.ready, st)
	s.work.Signal()
}

// urgeLocked lets a stream say something soon.
func (s *Session) urgeLocked(st *Stream) {
	if !st.urged {
		st.urged = true
		s.urgent = append(s.urgent, st)
	}
	s.work.Signal()
}
