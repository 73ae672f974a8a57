// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import "testing"

// TestUnprovenSizeTravelsAlone: although there is room, nothing follows a block of a size that
// nobody knows to pass, until it has passed; what is known to pass goes on together.
func TestUnprovenSizeTravelsAlone(t *testing.T) {
	const size = 8192
	s := sender{size: 100 * size, proven: size / 2, ctl: fixedController(size, 5)}
	s.write(make([]byte, 20*size))
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
