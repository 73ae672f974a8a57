// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import (
	"sync"
	"sync/atomic"
)

const (
	// MaxUnanswered is how many stanzas a session should have unanswered at most: ejabberd ends
	// one with stream management at about five times as many.
	MaxUnanswered = 1000

	// sessionBlocks is how many of them may be blocks, of all streams. The rest is for credit, the
	// closing of streams, and whatever else the session does.
	sessionBlocks = MaxUnanswered - 100

	// firstBlocks is how many more there may be of streams that have nothing in flight: a peer that
	// answers nothing holds on to the places of its blocks for as long as an answer may take, and
	// the streams of others are to go on meanwhile.
	firstBlocks = 50
)

// A budget bounds the blocks in flight of all streams of a session.
type budget struct {
	mu      sync.Mutex
	used    int
	waiting map[*Conn]struct{}
}

// take takes a place for a block of c, the first one in flight or another. If there is none, c will be
// woken up when there may be.
func (b *budget) take(c *Conn, first bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used < sessionBlocks || first && b.used < sessionBlocks+firstBlocks {
		b.used++
		return true
	}
	if b.waiting == nil {
		b.waiting = make(map[*Conn]struct{})
	}
	b.waiting[c] = struct{}{}
	return false
}

// give returns a place. All who wait are woken up: who does not want it any more must not keep it
// from the others. No Conn may be locked.
func (b *budget) give() {
	b.mu.Lock()
	b.used--
	waiting := b.waiting
	b.waiting = nil
	b.mu.Unlock()
	for c := range waiting {
		c.mu.Lock()
		c.work.Broadcast()
		c.mu.Unlock()
	}
}

// mostGrowth is by how many octets the receive windows of all streams of a session together may grow:
// more than any path needs, and what peers can make this end hold if nobody reads.
const mostGrowth = 32 << 20

// windows counts what receive windows have grown by.
type windows struct{ octets atomic.Int64 }

// take tells whether n octets more are allowed, and counts them.
func (w *windows) take(n int) bool {
	if w.octets.Add(int64(n)) <= mostGrowth {
		return true
	}
	w.give(n)
	return false
}

func (w *windows) give(n int) { w.octets.Add(-int64(n)) }
