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
//
// It also lets the few stanzas that are many past the session library: an
// [Interceptor] may take stanzas before they are parsed, and what goes to
// [Conn.WriteBulk] lets everything else go first.
//
// Its parts, [Scanner] and [Writer], also stand below the XML streams in tunnels
// (package e2e).
package guard

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
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
	ErrStanzaTooLarge = errors.New("guard: a stanza that is too large was received")
	ErrTooDeep        = errors.New("guard: a stanza that is nested too deep was received")
	ErrRestrictedXML  = errors.New("guard: a comment, processing instruction or document type in the stream (RFC 6120 §11.1)")
	ErrQueueFull      = errors.New("guard: the other side does not read what waits for it")
	ErrPreAuth        = fmt.Errorf("guard: the server sent over %d octets before login was done", maxPreAuth)
)

// A Conn is a guarded net.Conn. Read and ReadByte must be called by one goroutine at a
// time; everything else may be called concurrently.
type Conn struct {
	net.Conn
	in     inbox // owned by the reader
	out    *Writer
	closed atomic.Bool
}

// New guards c and starts the goroutine that writes to it. Close ends it.
func New(c net.Conn) *Conn {
	g := &Conn{Conn: c, out: NewWriter(c, MaxQueue)}
	g.out.StartStream()
	return g
}

// StartStream tells the guard that the next octet read is the first of the
// stream on which stanzas arrive, and the next one written the first of the other
// direction: from here on stanzas are bounded one by one. It must be called by the
// reader.
func (g *Conn) StartStream() {
	g.in.startStream()
	g.out.StartStream()
}

// ConnectionState returns the state of the TLS connection below, or the zero
// value if it is none. SASL channel binding needs it.
func (g *Conn) ConnectionState() tls.ConnectionState {
	if tc, ok := g.Conn.(interface{ ConnectionState() tls.ConnectionState }); ok {
		return tc.ConnectionState()
	}
	return tls.ConnectionState{}
}

// Write queues p and returns; it never blocks. It fails once the connection has
// failed or been closed, or if the server has not read MaxQueue octets. What is
// written need not be whole stanzas.
func (g *Conn) Write(p []byte) (int, error) {
	n, err := g.out.Write(p)
	if errors.Is(err, ErrQueueFull) || errors.Is(err, ErrRestrictedXML) {
		g.closeNow()
	}
	return n, err
}

// WriteBulk queues one whole stanza that lets everything else go first: see
// [Writer.WriteBulk].
func (g *Conn) WriteBulk(stanza []byte) error { return g.out.WriteBulk(stanza) }

// Full reports whether so much waits to be written that nothing that can wait
// should be added. What is left is for answers, which cannot.
func (g *Conn) Full() bool { return g.out.Waiting() > MaxQueue/2 }

// fail closes the connection at once and makes every later call return err.
func (g *Conn) fail(err error) {
	g.out.Fail(err)
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
	if g.closed.Swap(true) {
		<-g.out.Done()
		return net.ErrClosed
	}
	timer := time.AfterFunc(flushTime, g.closeNow)
	g.out.Close()
	timer.Stop()
	_ = g.SetWriteDeadline(time.Now().Add(flushTime))
	return g.Conn.Close()
}
