// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package e2e

import (
	"crypto/rand"
	"errors"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"mellium.im/xmpp/stanza"
	"mellium.im/xmpp/stream"

	"example.org/xtls/xtls/internal/guard"
)

const footer = "</stream:stream>"

// A Stream is one XML stream in a tunnel, as a net.Conn for the session above. It is
// read by one goroutine at a time; everything else may be called concurrently.
type Stream struct {
	net.Conn // the tunnel, for its addresses
	e        *Endpoint

	readers atomic.Int32  // those who read or want to
	touched chan struct{} // holds one since somebody wanted to
	inEnded chan struct{} // closed when nothing more is read: the peer's footer, or an error
	once    sync.Once     // of closing inEnded
	rmu     sync.Mutex    // protects the fields below
	in      *filter
	pos     int // octets of what is ready that the session has read
	readErr error

	wmu     sync.Mutex // protects the fields below
	scan    guard.Scanner
	header  bool          // our header was sent
	footer  bool          // our footer was sent, or is pending
	pending []byte        // stanzas of our own that wait for a gap
	said    chan struct{} // closed when our footer was queued
	err     error         // why nothing more is written
}

var _ net.Conn = (*Stream)(nil)

func newStream(e *Endpoint) *Stream {
	s := &Stream{Conn: e.conn, e: e, inEnded: make(chan struct{}), touched: make(chan struct{}, 1), said: make(chan struct{})}
	s.in = newFilter(&e.cfg, e.in, s.answer)
	s.scan = guard.Scanner{MaxStanza: math.MaxInt, MaxHeader: math.MaxInt, MaxDepth: math.MaxInt - 1}
	return s
}

// Open sends our stream header, and with it, if the peer's came first, that no
// features are on offer (RFC 6120 §4.3.2).
func (s *Stream) Open() error {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if err := s.openLocked(); err != nil || s.e.cfg.Opens {
		return err
	}
	return s.writeLocked([]byte("<stream:features/>"))
}

func (s *Stream) openLocked() error {
	s.header = true
	b := []byte(`<?xml version="1.0"?><stream:stream xmlns="` + stanza.NSClient + `" xmlns:stream="` + stream.NS + `"`)
	b = appendAttr(b, "from", s.e.cfg.Local.String())
	b = appendAttr(b, "to", s.e.cfg.Peer.String())
	if !s.e.cfg.Opens {
		b = appendAttr(b, "id", rand.Text())
	}
	return s.writeLocked(append(appendAttr(b, "version", "1.0"), '>'))
}

// over reports whether both ends have closed the stream.
func (s *Stream) over() bool {
	select {
	case <-s.inEnded:
	default:
		return false
	}
	s.rmu.Lock()
	defer s.rmu.Unlock()
	s.wmu.Lock()
	defer s.wmu.Unlock()
	return s.footer && s.in.ended
}

// Read reads what the peer sent and may say: whole stanzas. After a violation it
// has told the peer and ended the tunnel, and returns a *Violation.
func (s *Stream) Read(p []byte) (int, error) {
	s.readers.Add(1)
	defer s.readers.Add(-1)
	select {
	case s.touched <- struct{}{}:
	default:
	}
	s.rmu.Lock()
	defer s.rmu.Unlock()
	for s.in.ready == 0 {
		if s.readErr != nil {
			return 0, s.readErr
		}
		s.nextLocked()
	}
	n := copy(p, s.in.out[s.pos:s.in.ready])
	if s.pos += n; s.pos == s.in.ready { // nothing is behind it
		s.in.out, s.in.ready, s.pos = s.in.out[:0], 0, 0
		if cap(s.in.out) > keepBuffer {
			s.in.out = nil
		}
	}
	return n, nil
}

// nextLocked takes one token of the peer.
func (s *Stream) nextLocked() {
	s.readErr = s.in.next()
	if s.readErr != nil || s.in.ended {
		s.once.Do(func() { close(s.inEnded) })
		s.hangUp(s.readErr)
	}
}

// drain drops what the peer sends until it closes its stream. That end is left to
// the session, which may be about to read it.
func (s *Stream) drain() {
	s.rmu.Lock()
	defer s.rmu.Unlock()
	keep := s.in.ready
	for s.readErr == nil && !s.in.ended {
		header := !s.in.started
		s.nextLocked()
		switch {
		case header && s.in.started:
			keep = s.in.ready
		case !s.in.ended && s.in.ready > keep:
			s.in.out, s.in.ready = s.in.out[:keep], keep
		}
	}
}

// keepBuffer is the largest buffer kept after a stanza.
const keepBuffer = 64 << 10

// hangUp tells the peer which rule it broke and ends the tunnel.
func (s *Stream) hangUp(err error) {
	var v *Violation
	if !errors.As(err, &v) {
		return
	}
	s.finish([]byte(`<stream:error><`+v.Condition.Err+` xmlns="urn:ietf:params:xml:ns:xmpp-streams"/></stream:error>`), v)
	if !s.e.closing.Load() {
		s.e.cfg.Hangup()
	}
}

// Write sends what the session writes. It returns when the octets are queued, and
// waits for the peer only where it falls far behind.
func (s *Stream) Write(p []byte) (int, error) {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if s.footer && string(p) == footer {
		return len(p), nil // the session closes what has been closed below it
	}
	if err := s.writeLocked(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// writeLocked queues p, and in the first gap between two stanzas what is pending.
func (s *Stream) writeLocked(p []byte) error {
	if s.err != nil {
		return s.err
	}
	from := 0
	for i, c := range p {
		if err := s.scan.Next(c); err != nil {
			s.err = err // the peer would end the stream as well
			return err
		}
		if len(s.pending) == 0 || !s.scan.Between() {
			continue
		}
		if err := s.queueLocked(p[from : i+1]); err != nil {
			return err
		}
		from = i + 1
		if err := s.flushLocked(); err != nil {
			return err
		}
	}
	return s.queueLocked(p[from:])
}

// queueLocked queues octets that the scanner has seen.
func (s *Stream) queueLocked(p []byte) error {
	if _, err := s.e.out.Write(p); err != nil {
		s.err = err
		return err
	}
	if s.header && s.scan.Depth() == 0 && !s.footer {
		s.footer = true // the session closed it
		close(s.said)
	}
	return nil
}

// flushLocked queues what is pending. After a footer nothing follows.
func (s *Stream) flushLocked() error {
	b := s.pending
	s.pending = nil
	if _, err := s.e.out.Write(b); err != nil {
		s.err = err
		return err
	}
	if s.footer {
		if s.err == nil {
			s.err = net.ErrClosed
		}
		close(s.said)
		return s.err
	}
	return nil
}

// answer sends a stanza of our own as soon as no other one is under way.
func (s *Stream) answer(b []byte) error {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	switch {
	case s.err != nil || s.footer:
		return nil
	case len(s.pending)+len(b) > maxPending:
		return &Violation{stream.PolicyViolation, "more requests than can be refused"}
	}
	s.pending = append(s.pending, b...)
	if s.header && s.scan.Between() {
		return s.flushLocked()
	}
	return nil
}

// finish says the last words, if any, and closes our stream; err is what later
// writes return. It waits a moment for the stanza that is under way.
func (s *Stream) finish(words []byte, err error) {
	s.wmu.Lock()
	if s.footer || s.err != nil {
		s.wmu.Unlock()
		return
	}
	if !s.header {
		_ = s.openLocked() // an error must come in a stream (RFC 6120 §4.9.1.2)
	}
	s.pending = append(append(s.pending, words...), footer...)
	s.footer = true
	if s.scan.Between() {
		s.err = err
		_ = s.flushLocked()
	}
	s.wmu.Unlock()
	timer := time.NewTimer(sayTime)
	defer timer.Stop()
	select {
	case <-s.said:
	case <-timer.C:
	}
	s.wmu.Lock()
	defer s.wmu.Unlock()
	if s.err == nil || errors.Is(s.err, net.ErrClosed) {
		s.err = err
	}
}

// goodbye closes our stream and waits for the peer to close its own. What it sends
// until then goes to whoever reads, or is dropped if nobody does.
func (s *Stream) goodbye() {
	s.wmu.Lock()
	opened := s.header
	s.wmu.Unlock()
	if !opened {
		return
	}
	s.finish(nil, net.ErrClosed)
	select {
	case <-s.touched: // some time ago
	default:
	}
	_ = s.Conn.SetReadDeadline(time.Now().Add(closeTime))
	if s.readers.Load() == 0 {
		served := time.NewTimer(serveTime)
		defer served.Stop()
		select {
		case <-s.inEnded:
		case <-s.touched:
		case <-served.C:
			s.drain()
		}
	}
	timer := time.NewTimer(closeTime)
	defer timer.Stop()
	select {
	case <-s.inEnded:
	case <-timer.C:
	}
}

// SetDeadline sets the deadline of Read.
func (s *Stream) SetDeadline(t time.Time) error { return s.SetReadDeadline(t) }

// SetReadDeadline sets the deadline of Read. A stream that was read past it is of no
// use any more.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.Conn.SetReadDeadline(t) }

// SetWriteDeadline does nothing: Write only queues, and to cut a record short would
// be the end of the tunnel.
func (s *Stream) SetWriteDeadline(time.Time) error { return nil }
