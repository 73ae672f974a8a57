// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

// keepCap is how much memory an empty queue holds on to, in octets. A thousand idle streams
// are to cost next to nothing.
const keepCap = 2 << 10

// A queue is a first-in first-out buffer of octets that frees its memory when it runs empty.
// The zero value is an empty queue. It does not bound itself; its users do.
type queue struct {
	buf  []byte
	head int // buf[head:] is in the queue
}

func (q *queue) len() int { return len(q.buf) - q.head }

// push appends b.
func (q *queue) push(b []byte) {
	// Moving down before growing keeps the memory near what is queued; moving no more than was
	// dropped meanwhile keeps it cheap.
	if q.head > q.len() && len(q.buf)+len(b) > cap(q.buf) {
		q.buf = q.buf[:copy(q.buf, q.buf[q.head:])]
		q.head = 0
	}
	q.buf = append(q.buf, b...)
}

// at returns the n octets from offset off on. They are valid until the next push or drop.
func (q *queue) at(off, n int) []byte {
	return q.buf[q.head+off:][:n:n]
}

// drop removes n octets from the front.
func (q *queue) drop(n int) {
	q.head += n
	if q.head < len(q.buf) {
		return
	}
	q.head = 0
	q.buf = q.buf[:0]
	if cap(q.buf) > keepCap {
		q.buf = nil
	}
}

// lengthSize is the size of what precedes each message in a queue of messages: its length,
// big-endian.
const lengthSize = 2

// pushMessage appends a message of at most maxBlockSize octets.
func (q *queue) pushMessage(b []byte) {
	q.push([]byte{byte(len(b) >> 8), byte(len(b))})
	q.push(b)
}

// messageLen is the length of the message whose length stands at offset off.
func (q *queue) messageLen(off int) int {
	l := q.at(off, lengthSize)
	return int(l[0])<<8 | int(l[1])
}
