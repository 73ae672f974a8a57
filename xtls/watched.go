// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"example.org/xtls/transport"
)

// endTime is how long a Read waits for more once the peer has ended the session, on a
// carrier that does not end with it.
const endTime = 10 * time.Second

// A watched carrier notes that something arrives, and what became of what was
// sent: crypto/tls mixes that up with its own goodbye.
type watched struct {
	transport.Conn
	alive   atomic.Bool  // something arrived since the last heartbeat
	broken  atomic.Bool  // it has failed
	reading atomic.Int32 // calls of Read

	mu       sync.Mutex
	closeErr error // of the first Close
	closed   bool
	end      *time.Timer // of awaitEnd
	endErr   error       // what it was called with
	read     bool        // all there is was read
}

// Read reads and notes it.
func (c *watched) Read(p []byte) (int, error) {
	c.reading.Add(1)
	defer c.reading.Add(-1)
	n, err := c.Conn.Read(p)
	c.note(n, err)
	return n, err
}

// Write writes. What the carrier takes beyond its buffer, the peer has taken.
func (c *watched) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.note(n, err)
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.endErr != nil {
			err = c.endErr
		}
	}
	return n, err
}

func (c *watched) note(n int, err error) {
	if n > 0 {
		c.alive.Store(true)
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.broken.Store(true)
	}
}

// awaitEnd lets what is under way arrive. The carrier is aborted because of err when
// somebody has waited in vain for endTime; a reader that takes its time has it. Nothing is
// written any more: nobody would read it, and if the peer has left it would be answered by a
// reset, which takes what is under way with it.
func (c *watched) awaitEnd(err error) {
	c.mu.Lock()
	c.endErr = err
	if c.read {
		c.mu.Unlock()
		_ = c.Close() // it may be closed
		return
	}
	defer c.mu.Unlock()
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // fails if it has ended
	}
	c.end = time.AfterFunc(endTime, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case c.closed:
		case c.reading.Load() > 0 && !c.alive.Swap(false):
			c.Abort(err)
		default:
			c.end.Reset(endTime)
		}
	})
}

// exhausted notes that all there is was read. Once the session has ended as well, nothing is
// left of the carrier, whose end the peer waits for.
func (c *watched) exhausted() {
	c.mu.Lock()
	c.read = true
	ended := c.endErr != nil
	c.mu.Unlock()
	if ended {
		_ = c.Close() // it may be closed
	}
}

// Close closes and remembers how.
func (c *watched) Close() error {
	err := c.Conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !errors.Is(err, net.ErrClosed) {
		c.closeErr = err
	}
	c.closed = true
	if c.end != nil {
		c.end.Stop()
	}
	return err
}

// closeError is how closing went: an error means that something did not arrive.
func (c *watched) closeError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closeErr
}
