// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package mux

import (
	"net"
	"slices"
	"testing"
	"time"
)

// idle returns a session that sends nothing by itself, with streams ready for data.
func idle(t *testing.T, count int) (*Session, []*Stream) {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() {
		_ = a.Close()
		_ = b.Close()
	})
	s := newState(a, 1)
	var all []*Stream
	for i := range count {
		st := newStream(s, uint32(2*i+3), true)
		s.slots <- struct{}{}
		s.streams[st.id] = st
		all = append(all, st)
	}
	return s, all
}

// write is the beginning of a Write.
func (st *Stream) write(n int) {
	st.out = append(st.out, make([]byte, n)...)
	st.s.scheduleLocked(st)
}

// order returns whose frames of data are in a batch.
func order(batch []byte) (ids []uint32) {
	for len(batch) > 0 {
		h := parseHeader(batch)
		if h.cmd == cmdData {
			ids = append(ids, h.id)
		}
		batch = batch[headerSize+h.length:]
	}
	return ids
}

// Who has little to send goes before those who always have more, these go in turn,
// and none of them gets ahead by what it has not used.
func TestTurns(t *testing.T) {
	s, st := idle(t, 4)
	next := func() []uint32 { return order(s.fillLocked(nil, oneFrame)) }
	for _, bulk := range st[:3] {
		bulk.write(20 * frameSize)
	}
	var got []uint32
	for range 7 {
		got = append(got, next()...)
	}
	if !slices.Equal(got, []uint32{3, 5, 7, 3, 5, 7, 3}) {
		t.Errorf("bulk streams go %d", got)
	}
	for range 5 { // in each turn, not only once a round
		st[3].write(16)
		if got := next(); got[0] != 9 {
			t.Errorf("a stream with 16 octets goes %d", got)
		}
	}

	// It was silent so long, and now it has much.
	st[3].write(100 * frameSize)
	count := make(map[uint32]int)
	for range 40 {
		for _, id := range next() {
			count[id]++
		}
	}
	if len(count) != 4 || count[9] > 12 {
		t.Errorf("frames %v: a stream that was silent takes more than its share", count)
	}
}

// A stream that always has just one frame more is no better off than others.
func TestTurnsOneByOne(t *testing.T) {
	s, st := idle(t, 2)
	st[0].write(20 * frameSize)
	count := make(map[uint32]int)
	for range 20 {
		if len(st[1].out) == 0 {
			st[1].write(frameSize)
		}
		for _, id := range order(s.fillLocked(nil, oneFrame)) {
			count[id]++
		}
	}
	if count[3] < 9 || count[5] < 9 {
		t.Errorf("frames %v", count)
	}
}

// A batch never exceeds its limit, and one frame of data with what is said beside it
// fits one block.
func TestBatchLimit(t *testing.T) {
	for _, limit := range []int{oneFrame, 2 * oneFrame, fullBatch} {
		s, st := idle(t, maxStreams)
		for _, st := range st {
			st.opening, st.update, st.finishing = true, true, true
			s.urgeLocked(st)
			st.out = make([]byte, 3000)
		}
		seen := make(map[uint32]int)
		for n := 0; ; n++ {
			batch := s.fillLocked(nil, limit)
			if len(batch) == 0 {
				break
			}
			if len(batch) > limit || n > 1000 {
				t.Fatalf("batch %d of %d octets, limit %d", n, len(batch), limit)
			}
			for len(batch) > 0 {
				h := parseHeader(batch)
				if h.cmd == cmdData {
					seen[h.id] += h.length
				}
				batch = batch[headerSize+h.length:]
			}
		}
		for _, st := range st {
			if seen[st.id] != 3000 || !st.finished {
				t.Errorf("limit %d: stream %d sent %d octets, finished %v", limit, st.id, seen[st.id], st.finished)
			}
		}
	}
	if oneFrame+recordOverhead != 4096 || fullBatch > 1<<14 {
		t.Errorf("one frame is %d octets, a full batch %d", oneFrame, fullBatch)
	}
}

func TestNextLimit(t *testing.T) {
	for _, tt := range []struct {
		limit, size int
		took        time.Duration
		want        int
	}{
		{oneFrame, oneFrame, 0, 2 * oneFrame},
		{oneFrame, 100, 0, oneFrame}, // there was no more: nothing is known
		{2 * oneFrame, 2 * oneFrame, quickly, fullBatch},
		{fullBatch, fullBatch, quickly, fullBatch},
		{fullBatch, fullBatch, quickly + 1, oneFrame},
		{fullBatch, 100, quickly + 1, oneFrame},
		{oneFrame, oneFrame, slowly + 1, shortFrame},
		{shortFrame, shortFrame, slowly, oneFrame},
	} {
		if got := nextLimit(tt.limit, tt.size, tt.took); got != tt.want {
			t.Errorf("nextLimit(%d, %d, %v) = %d, want %d", tt.limit, tt.size, tt.took, got, tt.want)
		}
	}
}

func TestBuffer(t *testing.T) {
	var b buffer
	data := pattern(300000)
	in, out := 0, 0
	got := make([]byte, 0, len(data))
	for step := 1; out < len(data); step = step*7%5003 + 1 {
		n := min(step, len(data)-in)
		b.write(data[in : in+n])
		in += n
		piece := make([]byte, step/2+1)
		m := b.read(piece)
		got = append(got, piece[:m]...)
		out += m
		if b.size != in-out || len(b.ring) > 4*max(b.size+n+m, leastBuffer, keptBuffer) {
			t.Fatalf("size %d of %d, room %d", b.size, in-out, len(b.ring))
		}
	}
	if !slices.Equal(got, data) {
		t.Error("what came out is not what went in")
	}
	b.write(make([]byte, keptBuffer+1))
	b.read(make([]byte, keptBuffer+1))
	if b.ring != nil {
		t.Errorf("an empty buffer keeps %d octets", len(b.ring))
	}
}
