// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package guard

import (
	"errors"
	"net"
)

const (
	// keepQueue is the largest queue buffer kept once it has been written.
	keepQueue = 256 << 10
	// maxBulk is how much bulk leaves at a time, in octets, if it is more than one
	// stanza: a TLS record.
	maxBulk = 16 << 10
)

// Write queues p and returns; it never blocks. It fails once the connection has
// failed or been closed, or if the server has not read MaxQueue octets. What is
// written need not be whole stanzas.
func (g *Conn) Write(p []byte) (int, error) {
	n, err := g.enqueue(p)
	if errors.Is(err, ErrQueueFull) || errors.Is(err, ErrRestrictedXML) {
		g.fail(err)
	}
	return n, err
}

func (g *Conn) enqueue(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.writableLocked(len(p)); err != nil {
		return 0, err
	}
	if err := g.written.follow(p); err != nil {
		return 0, err
	}
	g.queue = append(g.queue, p...)
	g.wake.Signal()
	return len(p), nil
}

// WriteBulk queues one whole stanza that lets everything else go first: whatever is
// passed to Write meanwhile waits for no more than one bulk stanza, or 16 KiB of
// them. It never blocks; where Write would close the connection because too much
// waits, it only fails.
func (g *Conn) WriteBulk(stanza []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.writableLocked(len(stanza)); err != nil {
		return err
	}
	g.bulk.push(stanza)
	g.wake.Signal()
	return nil
}

// writableLocked says why n octets more cannot be queued.
func (g *Conn) writableLocked(n int) error {
	switch {
	case g.err != nil:
		return g.err
	case g.closing:
		return net.ErrClosed
	case len(g.queue)+g.bulk.len()+n > MaxQueue:
		return ErrQueueFull
	}
	return nil
}

// Full reports whether so much waits to be written that nothing that can wait
// should be added. What is left is for answers, which cannot.
func (g *Conn) Full() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.queue)+g.bulk.len() > MaxQueue/2
}

func (g *Conn) writeLoop() {
	defer close(g.drained)
	var spare []byte
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		for g.err == nil && !g.closing && !g.dueLocked() {
			g.wake.Wait()
		}
		if g.err != nil || !g.dueLocked() {
			return
		}
		batch := g.queue
		g.queue = spare[:0]
		if g.written.outside() {
			batch = g.bulk.pop(batch)
		}
		g.mu.Unlock()
		_, err := g.Conn.Write(batch)
		if spare = batch; cap(spare) > keepQueue {
			spare = nil
		}
		g.mu.Lock()
		if err != nil && g.err == nil {
			g.err = err
		}
	}
}

// dueLocked tells whether there is something to be written now. Bulk leaves only
// between two stanzas of the session, and not before or after its stream.
func (g *Conn) dueLocked() bool {
	return len(g.queue) > 0 || g.bulk.len() > 0 && g.written.outside()
}

// A lane is a queue of whole stanzas. The zero value is an empty one.
type lane struct {
	buf   []byte
	head  int   // buf[head:] waits
	sizes []int // of the stanzas in it
}

func (l *lane) len() int { return len(l.buf) - l.head }

func (l *lane) push(stanza []byte) {
	if l.head > 0 && len(l.buf)+len(stanza) > cap(l.buf) {
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
	if l.len() == 0 {
		l.buf, l.head = l.buf[:0], 0
		if cap(l.buf) > keepQueue {
			l.buf = nil
		}
	}
	return dst
}
