// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package guard

import (
	"math"
	"net"
	"sync"
)

// maxBulk is how much bulk leaves at a time, in octets, if it is more than one stanza: a
// TLS record.
const maxBulk = 16 << 10

// StartStream tells the Writer that what is written next begins an XML stream, and that
// there will be bulk between its stanzas. A comment, processing instruction or document
// type in the stream is then an error of Write (RFC 6120 §11.1).
func (w *Writer) StartStream() {
	w.mu.Lock()
	defer w.mu.Unlock()
	// What is our own need not keep to bounds.
	w.stream = Scanner{MaxStanza: math.MaxInt, MaxHeader: math.MaxInt, MaxDepth: math.MaxInt - 1}
}

// WriteBulk queues one whole stanza that lets everything else go first: whatever is
// passed to Write meanwhile waits for no more than one bulk stanza, or 16 KiB of
// them. It never blocks; where Write fails for good because too much waits, only
// WriteBulk fails.
func (w *Writer) WriteBulk(stanza []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.err != nil:
		return w.err
	case w.closing:
		return net.ErrClosed
	case w.waitingLocked()+len(stanza) > w.limit:
		return ErrQueueFull
	}
	w.bulk.push(stanza)
	w.wake.Broadcast()
	return nil
}

// dueLocked tells whether there is something to be written now.
func (w *Writer) dueLocked() bool {
	return len(w.queue) > 0 || w.bulk.len() > 0 && w.betweenLocked()
}

// betweenLocked tells whether bulk may leave: between two stanzas of the stream, not
// before or after it.
func (w *Writer) betweenLocked() bool { return w.stream.Between() && w.stream.Depth() == 1 }

// lanes holds the memory of lanes that are empty.
var lanes = sync.Pool{New: func() any { return new([]byte) }}

// A lane is a queue of whole stanzas. The zero value is an empty one.
type lane struct {
	buf   []byte
	head  int     // buf[head:] waits
	sizes []int   // of the stanzas in it
	mem   *[]byte // buf's, of lanes; nil while the lane is empty
}

func (l *lane) len() int { return len(l.buf) - l.head }

func (l *lane) push(stanza []byte) {
	if l.mem == nil {
		l.mem = lanes.Get().(*[]byte)
		l.buf = (*l.mem)[:0]
	}
	if l.head > l.len() && len(l.buf)+len(stanza) > cap(l.buf) {
		l.buf = l.buf[:copy(l.buf, l.buf[l.head:])]
		l.head = 0
	}
	l.buf = append(l.buf, stanza...)
	l.sizes = append(l.sizes, len(stanza))
}

// pop moves the first stanza to the end of dst, and as many more as fit in maxBulk.
func (l *lane) pop(dst []byte) []byte {
	n, k := 0, 0
	for k < len(l.sizes) && (k == 0 || n+l.sizes[k] <= maxBulk) {
		n += l.sizes[k]
		k++
	}
	dst = append(dst, l.buf[l.head:l.head+n]...)
	l.head += n
	l.sizes = l.sizes[:copy(l.sizes, l.sizes[k:])]
	if l.mem != nil && l.len() == 0 {
		*l.mem = l.buf[:0]
		lanes.Put(l.mem)
		l.buf, l.head, l.mem = nil, 0, nil
	}
	return dst
}
