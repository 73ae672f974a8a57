// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

// keepBlocks is for how many blocks an empty flight keeps its memory.
const keepBlocks = 8

// A flight is the blocks that were sent and have not left the queue of their sender, in order of
// seq. The zero value is empty.
type flight struct {
	buf  []block
	head int // buf[head:] is in flight
	held int // how many of these are refused or due: usually none
}

// blocks returns the blocks in flight. They may be changed until the next push or pop.
func (f *flight) blocks() []block { return f.buf[f.head:] }

func (f *flight) len() int { return len(f.buf) - f.head }

// set changes the state of block i.
func (f *flight) set(i int, state blockState) {
	b := &f.buf[f.head+i]
	if b.held() {
		f.held--
	}
	b.state = state
	if b.held() {
		f.held++
	}
}

// push appends a block that is sent.
func (f *flight) push(b block) {
	if len(f.buf) == cap(f.buf) && f.head > len(f.buf)/2 {
		f.buf = f.buf[:copy(f.buf, f.buf[f.head:])]
		f.head = 0
	}
	f.buf = append(f.buf, b)
}

// pop removes the first block.
func (f *flight) pop() {
	f.head++
	if f.head < len(f.buf) {
		return
	}
	*f = flight{buf: f.buf[:0]}
	if cap(f.buf) > keepBlocks {
		f.buf = nil
	}
}

// refused tells whether any block is.
func (f *flight) refused() bool { return f.held > 0 && f.any(blockRefused) }

// any tells whether a block has the state.
func (f *flight) any(state blockState) bool {
	for _, b := range f.blocks() {
		if b.state == state {
			return true
		}
	}
	return false
}
