// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest

import (
	"io"
	"math"
	"net"
	"sync/atomic"

	"mellium.im/xmpp/stream"
)

const (
	// sourceBuffer is how many octets are read from a connection at once.
	sourceBuffer = 16 << 10

	// emptyReads is how many reads in a row may bring nothing.
	emptyReads = 100
)

// errDropped is how a client's connection ends that DropAfter counts out.
var errDropped = &lostError{"dropped after the set number of octets"}

// A lostError ends a client's connection without a word to the client.
type lostError struct{ why string }

func (e *lostError) Error() string { return "xtlstest: connection " + e.why }

// A source is what a client sends, octet by octet, with every limit on it. It
// implements io.ByteReader so that encoding/xml adds no buffer of its own: no
// octet is read ahead of the limits, and a new decoder can take over at any
// element. Only remaining may be used by other goroutines.
type source struct {
	conn net.Conn
	buf  []byte
	r, w int // buf[r:w] is unread

	pos   int64 // octets handed out
	limit int64 // value of pos beyond which the client is too talkative

	rate      *bucket // nil: none
	stopped   <-chan struct{}
	remaining atomic.Int64 // octets until errDropped

	err error // why nothing more comes: set once, never by a limit on stanzas
}

func newSource(conn net.Conn, rate *bucket, stopped <-chan struct{}) *source {
	s := &source{conn: conn, buf: make([]byte, sourceBuffer), rate: rate, stopped: stopped}
	s.remaining.Store(math.MaxInt64)
	return s
}

// buffered says whether octets wait that the client sent ahead.
func (s *source) buffered() bool { return s.r < s.w }

// ReadByte returns the next octet. One over the limit is a policy violation
// (RFC 6120 §4.9.3.14).
func (s *source) ReadByte() (byte, error) {
	if s.pos >= s.limit {
		return 0, stream.PolicyViolation
	}
	if s.r == s.w {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	b := s.buf[s.r]
	s.r++
	s.pos++
	return b, nil
}

// Read makes source an io.Reader, which is what encoding/xml asks for before it
// finds ReadByte.
func (s *source) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := s.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = b
	return 1, nil
}

// fill reads from the connection, then waits as long as the rate demands.
func (s *source) fill() error {
	if s.err != nil {
		return s.err
	}
	if s.remaining.Load() <= 0 {
		s.err = errDropped
		return s.err
	}
	n, err := 0, error(nil)
	for i := 0; n == 0 && err == nil; i++ {
		if i == emptyReads {
			err = io.ErrNoProgress
			break
		}
		n, err = s.conn.Read(s.buf)
	}
	// Asked only now: the number may have been set while Read waited.
	if left := s.remaining.Load(); int64(n) > left {
		n, err = int(max(left, 0)), errDropped
	}
	s.remaining.Add(int64(-n))
	s.r, s.w = 0, n
	if n > 0 { // an error comes again
		if s.rate != nil {
			s.rate.take(n, s.stopped)
		}
		return nil
	}
	s.err = err
	return s.err
}
