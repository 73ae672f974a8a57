// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import "sync"

const (
	// MaxUnanswered is how many stanzas a session should have unanswered at most: ejabberd ends
	// one with stream management at about five times as many.
	MaxUnanswered = 1000

	// sessionBlocks is how many of them may be blocks, of all streams. The rest is for credit, the
	// closing of streams, and whatever else the session does.
	sessionBlocks = MaxUnanswered - 100
)

// A budget bounds the blocks in flight of all streams of a session.
type budget struct {
	mu      sync.Mutex
	used    int
	waiting map[*Conn]struct{}
}

// take takes a place for a block of c. If there is none, c will be woken up when there may be.
func (b *budget) take(c *Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used < sessionBlocks {
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
