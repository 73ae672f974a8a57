// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

// A queue is a first-in first-out buffer of octets. Its memory is of the pool, and goes back there
// when it runs empty: a thousand idle streams are to cost next to nothing, and a busy one not to
// begin with a small piece again and again. The zero value is an empty queue. It does not bound
// itself; its users do.
type queue struct {
	buf  []byte
	head int     // buf[head:] is in the queue
	mem  *[]byte // buf's, of buffers; nil while the queue is empty
}

func (q *queue) len() int { return len(q.buf) - q.head }

// push appends b.
func (q *queue) push(b []byte) {
	if len(b) == 0 {
		return
	}
	if q.mem == nil {
		q.mem = buffers.Get().(*[]byte)
		q.buf = (*q.mem)[:0]
	}
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

// drop removes n octets from the front, one at least.
func (q *queue) drop(n int) {
	q.head += n
	if q.head < len(q.buf) {
		return
	}
	*q.mem = q.buf[:0]
	buffers.Put(q.mem)
	*q = queue{}
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
