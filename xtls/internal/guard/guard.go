// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

// Package guard stands between an XMPP session and its TLS connection and keeps
// the server from hurting the client.
//
// The session library reads stanzas of any size, waits for the reader goroutine
// to write its own answers, and cannot be cancelled on TCP. A [Conn] bounds what
// comes in (size and depth of a stanza, no comments, processing instructions or
// document types: RFC 6120 §11.1), takes what goes out without ever blocking the
// writer (a bounded queue and one goroutine that drains it), and unblocks
// everything when it is closed.
package guard

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	// MaxStanza bounds one stanza from the server, in octets as they arrive. Servers
	// refuse more than 256 KiB from a client themselves.
	MaxStanza = 512 << 10
	// MaxDepth bounds the nesting of one stanza.
	MaxDepth = 64
	// MaxQueue bounds the octets that wait to be written, for a server that does not
	// read. One over closes the connection.
	MaxQueue = 8 << 20
	// maxPreAuth bounds everything a server may send before it has been
	// authenticated and the guard counts stanzas.
	maxPreAuth = 256 << 10
	// flushTime is how long Close waits for queued octets to leave.
	flushTime = 2 * time.Second
)

// Errors that end the connection.
var (
	ErrStanzaTooLarge = fmt.Errorf("guard: the server sent a stanza over %d octets", MaxStanza)
	ErrTooDeep        = fmt.Errorf("guard: the server sent a stanza nested over %d deep", MaxDepth)
	ErrRestrictedXML  = errors.New("guard: the server sent a comment, processing instruction or document type (RFC 6120 §11.1)")
	ErrQueueFull      = fmt.Errorf("guard: the server does not read: over %d octets wait for it", MaxQueue)
	ErrPreAuth        = fmt.Errorf("guard: the server sent over %d octets before login was done", maxPreAuth)
)

// A Conn is a guarded net.Conn. Read must be called by one goroutine at a time;
// everything else may be called concurrently.
type Conn struct {
	net.Conn

	// Owned by the reader.
	scan     scanner
	counting bool // count stanzas rather than octets before login
	preAuth  int
	readErr  error

	mu      sync.Mutex // protects the fields below
	wake    *sync.Cond // something was queued, or the conn is closing
	queue   []byte
	err     error // set once: why the conn can no longer be written
	closing bool
	drained chan struct{} // closed when the writer has ended
}

// New guards c and starts the goroutine that writes to it. Close ends it.
func New(c net.Conn) *Conn {
	g := &Conn{Conn: c, drained: make(chan struct{})}
	g.wake = sync.NewCond(&g.mu)
	go g.writeLoop()
	return g
}

// StartStream tells the guard that the next octet read is the first of the
// stream on which stanzas arrive: from here on stanzas are bounded one by one.
// It must be called by the reader.
func (g *Conn) StartStream() {
	g.counting = true
	g.scan = scanner{}
}

// ConnectionState returns the state of the TLS connection below, or the zero
// value if it is none. SASL channel binding needs it.
func (g *Conn) ConnectionState() tls.ConnectionState {
	if tc, ok := g.Conn.(interface{ ConnectionState() tls.ConnectionState }); ok {
		return tc.ConnectionState()
	}
	return tls.ConnectionState{}
}

// Read reads and checks. After a violation the connection is closed and every
// Read returns the violation.
func (g *Conn) Read(p []byte) (int, error) {
	if g.readErr != nil {
		return 0, g.readErr
	}
	n, err := g.Conn.Read(p)
	if n > 0 {
		if bad := g.check(p[:n]); bad != nil {
			g.readErr = bad
			g.fail(bad)
			return 0, bad
		}
	}
	if err != nil {
		g.readErr = err
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			g.readErr = nil // the deadline may be moved
		}
	}
	return n, err
}

func (g *Conn) check(p []byte) error {
	if g.counting {
		return g.scan.scan(p)
	}
	if g.preAuth += len(p); g.preAuth > maxPreAuth {
		return ErrPreAuth
	}
	return nil
}

// Write queues p and returns; it never blocks. It fails once the connection has
// failed or been closed, or if the server has not read MaxQueue octets.
func (g *Conn) Write(p []byte) (int, error) {
	g.mu.Lock()
	switch {
	case g.err != nil:
		err := g.err
		g.mu.Unlock()
		return 0, err
	case g.closing:
		g.mu.Unlock()
		return 0, net.ErrClosed
	case len(g.queue)+len(p) > MaxQueue:
		g.mu.Unlock()
		g.fail(ErrQueueFull)
		return 0, ErrQueueFull
	}
	g.queue = append(g.queue, p...)
	g.wake.Signal()
	g.mu.Unlock()
	return len(p), nil
}

// Full reports whether so much waits to be written that nothing that can wait
// should be added. What is left is for answers, which cannot.
func (g *Conn) Full() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.queue) > MaxQueue/2
}

// keepQueue is the largest queue buffer kept once it has been written.
const keepQueue = 256 << 10

func (g *Conn) writeLoop() {
	defer close(g.drained)
	var spare []byte
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		for len(g.queue) == 0 && g.err == nil && !g.closing {
			g.wake.Wait()
		}
		if g.err != nil || len(g.queue) == 0 {
			return
		}
		batch := g.queue
		g.queue = spare[:0]
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

// fail closes the connection at once and makes every later call return err.
func (g *Conn) fail(err error) {
	g.mu.Lock()
	if g.err == nil {
		g.err = err
	}
	g.wake.Signal()
	g.mu.Unlock()
	g.closeNow()
}

// closeNow closes the socket without the TLS goodbye, which could block behind a
// write to a server that does not read.
func (g *Conn) closeNow() {
	if tc, ok := g.Conn.(*tls.Conn); ok {
		_ = tc.NetConn().Close()
		return
	}
	_ = g.Conn.Close()
}

// Close waits a moment for what was queued to leave, then closes the connection
// and joins the writer. It unblocks Read.
func (g *Conn) Close() error {
	g.mu.Lock()
	if g.closing {
		g.mu.Unlock()
		<-g.drained
		return net.ErrClosed
	}
	g.closing = true
	g.wake.Signal()
	g.mu.Unlock()

	timer := time.AfterFunc(flushTime, g.closeNow)
	<-g.drained
	timer.Stop()
	_ = g.SetWriteDeadline(time.Now().Add(flushTime))
	return g.Conn.Close()
}
