// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import "sync"

// largeQueue is from how many octets on the memory of a queue comes from largeQueues: whoever queues
// little must not hold on to what somebody else needed for much.
const largeQueue = 256 << 10

// largeQueues holds memory of more than largeQueue octets.
var largeQueues = sync.Pool{New: func() any { return new([]byte) }}

// A queue is a first-in first-out buffer of octets. Its memory is of a pool, and goes back there
// when it runs empty: a thousand idle streams are to cost next to nothing, and a busy one not to
// begin with a small piece again and again. The zero value is an empty queue. It does not bound
// itself; its users do.
type queue struct {
	buf  []byte
	head int     // buf[head:] is in the queue
	mem  *[]byte // buf's, of a pool; nil while the queue is empty
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
	if len(q.buf)+len(b) > cap(q.buf) {
		q.makeRoom(len(b))
	}
	q.buf = append(q.buf, b...)
}

// makeRoom moves the queue before n more octets make it grow. Moving it down keeps the memory near
// what is queued; moving no more than was dropped meanwhile keeps that cheap.
func (q *queue) makeRoom(n int) {
	switch {
	case q.head > q.len():
		q.buf = q.buf[:copy(q.buf, q.buf[q.head:])]
		q.head = 0
	case cap(q.buf) <= largeQueue && q.len()+n > largeQueue:
		mem := largeQueues.Get().(*[]byte)
		buf := append((*mem)[:0], q.buf[q.head:]...)
		q.release()
		*q = queue{buf: buf, mem: mem}
	}
}

// release gives the memory back.
func (q *queue) release() {
	*q.mem = q.buf[:0]
	if cap(q.buf) > largeQueue {
		largeQueues.Put(q.mem)
	} else {
		buffers.Put(q.mem)
	}
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
	q.release()
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
