// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest

import (
	"net"
	"sync"
	"time"
)

const (
	// writeBatch is about how many octets are written at once.
	writeBatch = 64 << 10

	// writeTime is how long one such write may take before the client counts as
	// gone.
	writeTime = 30 * time.Second

	// closeTime is how long the end of a stream may take: what is still queued, the
	// last words, and the client's own end.
	closeTime = time.Second
)

// An outbox holds what waits to be written to one client. Putting something in
// never blocks, so no client can hold up another. One goroutine runs it.
type outbox struct {
	conn  net.Conn
	limit int
	wake  chan struct{} // holds one token if something changed

	mu    sync.Mutex // protects the fields below
	queue []outItem
	size  int    // octets in queue
	done  bool   // nothing more is taken
	last  []byte // written at the very end
}

type outItem struct {
	data []byte
	due  time.Time // not before this; zero is at once
}

func newOutbox(conn net.Conn, limit int) *outbox {
	return &outbox{conn: conn, limit: limit, wake: make(chan struct{}, 1)}
}

// put queues data, which must not change any more. It says whether the outbox
// still takes anything, and whether there was room.
func (o *outbox) put(data []byte, due time.Time) (open, room bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done {
		return false, true
	}
	if o.size+len(data) > o.limit {
		return true, false
	}
	o.queue = append(o.queue, outItem{data, due})
	o.size += len(data)
	o.signal()
	return true, true
}

// finish takes nothing more. What is queued is written without delay, then last;
// both within closeTime.
func (o *outbox) finish(last []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done {
		return
	}
	o.done, o.last = true, last
	_ = o.conn.SetWriteDeadline(time.Now().Add(closeTime)) // fails only if closed
	o.signal()
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// run writes until the outbox is finished and empty, or a write fails. Afterwards
// nothing more is taken.
func (o *outbox) run() error {
	buf := make([]byte, 0, writeBatch)
	for {
		batch, wait, end := o.take(buf[:0])
		if len(batch) > 0 {
			if _, err := o.conn.Write(batch); err != nil {
				o.abandon()
				return err
			}
			continue
		}
		if end {
			return nil
		}
		o.sleep(wait)
	}
}

// sleep waits for a change, at most for d if that is not zero.
func (o *outbox) sleep(d time.Duration) {
	if d == 0 {
		<-o.wake
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-o.wake:
	}
}

// take moves what is due into batch, up to about writeBatch octets. If there is
// nothing, it returns how long until there will be (0: unknown), or that the end
// is reached.
func (o *outbox) take(batch []byte) (_ []byte, wait time.Duration, end bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for n < len(o.queue) && len(batch) < writeBatch {
		item := o.queue[n]
		if !item.due.IsZero() && !o.done {
			if wait = time.Until(item.due); wait > 0 {
				break
			}
		}
		batch = append(batch, item.data...)
		o.size -= len(item.data)
		o.queue[n] = outItem{}
		n++
	}
	o.queue = o.queue[n:]
	if len(o.queue) == 0 {
		o.queue = nil
		if o.done && o.last != nil {
			batch, o.last = append(batch, o.last...), nil
		}
	}
	if len(batch) > 0 {
		if !o.done {
			_ = o.conn.SetWriteDeadline(time.Now().Add(writeTime)) // fails only if closed
		}
		return batch, 0, false
	}
	return nil, wait, o.done
}

// abandon drops everything.
func (o *outbox) abandon() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done, o.queue, o.size, o.last = true, nil, 0, nil
}
