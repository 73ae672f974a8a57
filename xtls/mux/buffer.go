// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package mux

const (
	// leastBuffer is the first allocation of a buffer.
	leastBuffer = 4 << 10
	// keptBuffer is the largest allocation that an empty buffer keeps for what comes next.
	keptBuffer = initialWindow
)

// A buffer is what has arrived on a stream and was not read. It grows as it must, to
// less than twice of what is in it; whoever fills it sees to the bound.
type buffer struct {
	ring  []byte // length is a power of two, or 0
	start int
	size  int
}

// write appends a copy of p.
func (b *buffer) write(p []byte) {
	if b.size+len(p) > len(b.ring) {
		b.grow(b.size + len(p))
	}
	end := (b.start + b.size) & (len(b.ring) - 1)
	n := copy(b.ring[end:], p)
	copy(b.ring, p[n:])
	b.size += len(p)
}

func (b *buffer) grow(need int) {
	room := max(len(b.ring), leastBuffer)
	for room < need {
		room *= 2
	}
	ring := make([]byte, room)
	size := b.size
	b.read(ring[:size])
	b.ring, b.start, b.size = ring, 0, size
}

// read moves up to len(p) octets to p.
func (b *buffer) read(p []byte) int {
	n := min(len(p), b.size)
	first := copy(p[:n], b.ring[b.start:])
	copy(p[first:n], b.ring)
	b.size -= n
	if b.size > 0 {
		b.start = (b.start + n) & (len(b.ring) - 1)
		return n
	}
	b.start = 0
	if len(b.ring) > keptBuffer {
		b.ring = nil
	}
	return n
}
