// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stream"
)

// lingerOctets is how much a client may still send after its stream has ended with
// an error, so that the error reaches it before TCP cuts the line.
const lingerOctets = 16 << 20

// errKilled is how a connection ends that is to be closed at once.
var errKilled = &lostError{"killed"}

// A client is one connection. One goroutine reads from it and routes what it
// sends; a second one writes, once a resource is bound.
type client struct {
	s      *Server
	raw    net.Conn
	direct bool // TLS comes before XMPP

	conn net.Conn // raw, then TLS over it
	in   *reader
	out  *outbox
	lang string // xml:lang of the stream

	// Set when a resource is bound.
	account string
	jid     jid.JID
	addr    string // jid as a string
	shadow  *shadow

	stopOnce sync.Once
	stopped  chan struct{}
	reason   error // why; set before stopped is closed

	// Used only by the reading goroutine.
	toText   string // the last to attribute and what it means
	toJID    jid.JID
	directed map[string]jid.JID // who got directed presence

	// Protected by s.mu.
	available bool
	priority  int8
	presence  []byte // last broadcast, rendered without to
}

func newClient(s *Server, raw net.Conn, direct bool) *client {
	c := &client{
		s: s, raw: raw, direct: direct,
		stopped:  make(chan struct{}),
		directed: make(map[string]jid.JID),
	}
	c.setConn(raw)
	return c
}

// setConn makes conn the connection that is spoken on.
func (c *client) setConn(conn net.Conn) {
	var rate *bucket
	if c.s.cfg.RateLimit > 0 {
		rate = newBucket(c.s.cfg.RateLimit)
	}
	c.conn = conn
	c.in = newReader(newSource(conn, rate, c.stopped), loginStanzaLimit)
	c.out = newOutbox(conn, c.s.cfg.QueueLimit)
}

// write writes directly; only until the writing goroutine runs.
func (c *client) write(b []byte) error {
	_, err := c.conn.Write(b)
	return err
}

// stop ends the connection from any goroutine, with a stream error if that is
// what reason is. The first reason counts.
func (c *client) stop(reason error) {
	c.stopOnce.Do(func() {
		c.reason = reason
		close(c.stopped)
	})
	_ = c.raw.SetReadDeadline(time.Unix(1, 0)) // wakes the reader; fails only if closed
	if reason == errKilled {
		_ = c.raw.Close()
	}
}

// serve runs the connection from its first to its last octet.
func (c *client) serve() {
	defer func() { _ = c.raw.Close() }()
	err := c.negotiate()
	var said bool // the stream was ended in order on our side
	if c.addr != "" {
		said, err = c.serveBound(err)
	} else if err = c.cause(err); farewell(err) != nil {
		_ = c.raw.SetWriteDeadline(time.Now().Add(closeTime)) // fails only if closed
		said = c.write(farewell(err)) == nil
	}
	c.s.log.Debugf("connection of %q from %s ended: %v", cut(c.addr), c.raw.RemoteAddr(), err)
	if said {
		c.linger(err)
	}
}

// serveBound runs the connection of a client that has a resource. negotiated is
// the error of the negotiation's very end. It returns whether the stream was ended
// in order on our side, and what ended it.
func (c *client) serveBound(negotiated error) (said bool, err error) {
	c.s.log.Debugf("%q bound from %s", cut(c.addr), c.raw.RemoteAddr())
	written := make(chan error, 1)
	go func() {
		err := c.out.run()
		if err != nil {
			c.stop(err)
		}
		written <- err
	}()
	err = negotiated
	if err == nil {
		err = c.read()
	}
	err = c.cause(err)
	c.s.unbind(c)
	last := farewell(err)
	c.out.finish(last)
	return <-written == nil && last != nil, err
}

// read routes what the client sends until its stream ends; that is io.EOF.
func (c *client) read() error {
	c.in.limit = c.s.cfg.StanzaLimit
	for {
		e, err := c.in.next()
		if err != nil {
			return err
		}
		if err := c.s.route(c, e); err != nil {
			return err
		}
	}
}

// setDeadline sets the time by which the login must be done, none if that is
// zero. It fails if the connection was stopped, which sets a deadline as well that
// must not be lifted again.
func (c *client) setDeadline(t time.Time) error {
	if err := c.raw.SetDeadline(t); err != nil {
		return err
	}
	select {
	case <-c.stopped:
		return c.reason
	default:
		return nil
	}
}

// cause returns why the connection ends: the reason it was stopped for goes before
// what its reader then saw.
func (c *client) cause(err error) error {
	select {
	case <-c.stopped:
		return c.reason
	default:
		return err
	}
}

// farewell returns the last octets of a stream that ends with err, nil if the
// connection is lost.
func farewell(err error) []byte {
	const end = "</stream:stream>"
	if se, ok := errors.AsType[stream.Error](err); ok {
		return []byte("<stream:error><" + se.Err + " xmlns='" + nsStreams + "'/></stream:error>" + end)
	}
	if errors.Is(err, io.EOF) {
		return []byte(end)
	}
	return nil
}

// linger ends TLS after the end of the stream. If the client broke a rule it is
// probably still sending; closing now would make TCP discard the stream error it
// has not read yet, so it is read from for a while.
func (c *client) linger(err error) {
	timer := time.AfterFunc(closeTime, func() { _ = c.raw.Close() })
	defer timer.Stop()
	if conn, ok := c.conn.(*tls.Conn); ok {
		_ = conn.CloseWrite() // the client may be gone
	}
	if _, ok := errors.AsType[stream.Error](err); !ok {
		return
	}
	if tcp, ok := c.raw.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // the client may be gone
	}
	select {
	case <-c.stopped: // not the client's fault, or it reads nothing anyway
	default:
		_ = c.raw.SetReadDeadline(time.Time{}) // of the login; fails only if closed
		_, _ = io.CopyN(io.Discard, c.raw, lingerOctets)
	}
}
