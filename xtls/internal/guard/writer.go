// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package guard

import (
	"io"
	"net"
	"sync"
	"time"
)

// A Writer takes what is to be written without ever blocking for long, and has one
// goroutine that writes it. Its methods may be called concurrently.
type Writer struct {
	// Soft and Patience, to be set before the first Write, slow down those who write
	// more than the other side reads: while over Soft octets wait, Write waits for
	// them, but not longer than Patience. Zero means that Write never waits.
	Soft     int
	Patience time.Duration

	dst   io.Writer
	limit int

	mu      sync.Mutex // protects the fields below
	wake    *sync.Cond // something was queued or written, or the Writer is closing
	queue   []byte
	stream  Scanner // follows it, if there is bulk, to know where a stanza ends
	bulk    lane    // what leaves between
	writing int     // octets of the batch that is being written
	err     error   // set once: why nothing can be written any more
	closing bool
	drained chan struct{} // closed when the goroutine has ended
}

// NewWriter starts writing to dst, at most limit octets behind. Close ends it.
func NewWriter(dst io.Writer, limit int) *Writer {
	w := &Writer{dst: dst, limit: limit, drained: make(chan struct{})}
	w.wake = sync.NewCond(&w.mu)
	go w.loop()
	return w
}

// Write queues p. It fails once writing has failed or the Writer been closed, and,
// for good, with ErrQueueFull if p does not fit in.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waitLocked(len(p))
	switch {
	case w.err != nil:
		return 0, w.err
	case w.closing:
		return 0, net.ErrClosed
	case w.waitingLocked()+len(p) > w.limit:
		w.failLocked(ErrQueueFull)
		return 0, ErrQueueFull
	}
	if w.stream.MaxStanza > 0 {
		if err := w.stream.Scan(p); err != nil {
			w.failLocked(err)
			return 0, err
		}
	}
	w.queue = append(w.queue, p...)
	w.wake.Broadcast()
	return len(p), nil
}

// waitLocked waits until n more octets are below Soft, for Patience at most.
func (w *Writer) waitLocked(n int) {
	full := func() bool {
		waiting := len(w.queue) + w.writing
		return w.Soft > 0 && w.err == nil && !w.closing && waiting > 0 && waiting+n > w.Soft
	}
	if !full() {
		return
	}
	late := false
	timer := time.AfterFunc(w.Patience, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		late = true
		w.wake.Broadcast()
	})
	defer timer.Stop()
	for full() && !late {
		w.wake.Wait()
	}
}

// Waiting is the number of octets that nobody writes yet.
func (w *Writer) Waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.waitingLocked()
}

func (w *Writer) waitingLocked() int { return len(w.queue) + w.bulk.len() }

const (
	// keepQueue is the largest queue buffer kept once it has been written.
	keepQueue = 256 << 10
	// piece is how much is written at once, so that those who wait see it move.
	piece = 64 << 10
)

func (w *Writer) loop() {
	defer close(w.drained)
	var spare []byte
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for w.err == nil && !w.closing && !w.dueLocked() {
			w.wake.Wait()
		}
		if w.err != nil || !w.dueLocked() {
			return
		}
		batch := w.queue
		w.queue = spare[:0]
		if w.betweenLocked() {
			batch = w.bulk.pop(batch)
		}
		for rest := batch; len(rest) > 0 && w.err == nil; {
			w.writing = len(rest)
			n := min(len(rest), piece)
			w.mu.Unlock()
			_, err := w.dst.Write(rest[:n])
			w.mu.Lock()
			rest = rest[n:]
			if err != nil {
				w.failLocked(err)
			}
			w.wake.Broadcast()
		}
		w.writing = 0
		if spare = batch; cap(spare) > keepQueue {
			spare = nil
		}
	}
}

// Fail makes every later Write fail with err and drops what was queued. A write
// under way must be unblocked by whoever owns the destination.
func (w *Writer) Fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failLocked(err)
}

func (w *Writer) failLocked(err error) {
	if w.err == nil {
		w.err = err
	}
	w.wake.Broadcast()
}

// Done is closed when nothing is written any more and the goroutine has ended.
func (w *Writer) Done() <-chan struct{} { return w.drained }

// End takes nothing more; what was queued is still written, and then Done is
// closed. It may be called more than once.
func (w *Writer) End() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closing = true
	w.wake.Broadcast()
}

// Close is End; it waits until what was queued has been written or writing has
// failed.
func (w *Writer) Close() {
	w.End()
	<-w.drained
}
