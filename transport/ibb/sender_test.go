// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import (
	"testing"
	"time"
)

// TestUnprovenSizeTravelsAlone: although there is room, nothing follows a block of a size that
// nobody knows to pass, until it has passed; what is known to pass goes on together.
func TestUnprovenSizeTravelsAlone(t *testing.T) {
	const size = 8192
	s := sender{size: 100 * size, proven: size / 2, ctl: fixedController(size, 5)}
	s.write(make([]byte, 20*size), false)
	sendAll := func() (blocks int) {
		for {
			d, ok := s.next(0, false)
			if !ok {
				return blocks
			}
			s.send(0, d)
			blocks++
		}
	}
	if got := sendAll(); got != 1 {
		t.Fatalf("%d blocks of a new size in flight, want 1", got)
	}
	if err := s.answered(0, 0, blockAcked); err != nil {
		t.Fatal(err)
	}
	if got := sendAll(); got != 5 {
		t.Errorf("%d blocks in flight once it has passed, want 5", got)
	}
}

// TestTrialBeyondCredit: a window that there is no credit for is not waited for.
func TestTrialBeyondCredit(t *testing.T) {
	const granted = 20 * startChunk
	s := sender{
		size: DefaultSendBuffer, credit: granted, limit: granted, proven: startChunk,
		ctl: newController(startChunk, sessionBlocks, DefaultSendBuffer, false),
	}
	now, rtt := time.Duration(0), 20*time.Millisecond
	for range 50 { // round trips in which the peer takes everything
		s.write(make([]byte, DefaultSendBuffer), false)
		for {
			d, ok := s.next(now, false)
			if !ok {
				break
			}
			s.send(now, d)
		}
		now += rtt
		first := s.first
		for i := range uint64(s.flight.len()) {
			s.limit += uint64(s.flight.blocks()[0].n)
			if err := s.answered(now, first+i, blockAcked); err != nil {
				t.Fatal(err)
			}
		}
	}
	if c := &s.ctl; c.stage == starting || min(c.cur.window, c.kept.window) > 20*c.cur.unit() {
		t.Errorf("after a second: %v", c)
	}
}
