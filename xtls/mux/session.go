// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package mux

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// closeTime bounds how long Close waits until what was written has left.
	closeTime = 5 * time.Second
	// drainTime bounds how long a session goes on reading what has already arrived
	// when it cannot write any more.
	drainTime = 5 * time.Second
)

// A Session is one end of a tunnel with streams in it. Its methods may be called
// concurrently.
//
// One goroutine, receive, reads frames and never waits for an application; another
// one, send, chooses and writes them. All state is under one mutex. Both have ended
// when Close returns.
type Session struct {
	conn      net.Conn
	closeConn func() error  // once
	accepts   chan *Stream  // of the peer, not yet accepted
	slots     chan struct{} // one token for each stream of this end
	done      chan struct{} // closed with cause
	sent      chan struct{} // closed when send has ended
	loops     sync.WaitGroup

	mu       sync.Mutex // protects the fields below, and those of the streams
	work     *sync.Cond // there may be something to send
	streams  map[uint32]*Stream
	lastOwn  uint32      // the last stream opened by this end
	lastPeer uint32      // and by the peer
	accepted int         // of the peer, still there
	grown    int         // sum of what windows are larger than at first
	closed   bool        // by Close
	cause    error       // why the session has ended; nil while it lives
	sendErr  error       // why nothing can be written any more
	drain    *time.Timer // then: it bounds what receive still waits for
	dead     bool        // receive has ended

	// What there is to send, in this order.
	refused []uint32
	urgent  []*Stream // with something to say beside data
	ready   []*Stream // with data, or its end; see chooseLocked
	clock   uint64
}

// Client returns the session of the end that dialled conn. The session owns conn
// from now on: nothing else may use it, and Close closes it.
func Client(conn net.Conn) *Session { return newSession(conn, 1) }

// Server returns the session of the end that accepted conn; see [Client]. Both ends
// can open streams.
func Server(conn net.Conn) *Session { return newSession(conn, 0) }

// newSession starts a session whose streams have odd or even numbers.
func newSession(conn net.Conn, odd uint32) *Session {
	s := newState(conn, odd)
	s.loops.Go(s.receive)
	s.loops.Go(s.send)
	return s
}

func newState(conn net.Conn, odd uint32) *Session {
	s := &Session{
		conn: conn, closeConn: sync.OnceValue(conn.Close),
		accepts: make(chan *Stream, maxStreams), slots: make(chan struct{}, maxStreams),
		done: make(chan struct{}), sent: make(chan struct{}),
		streams: make(map[uint32]*Stream), lastOwn: odd, lastPeer: 1 - odd,
	}
	s.work = sync.NewCond(&s.mu)
	return s
}

// Open opens a stream. It does not wait for the peer, which learns of the stream
// together with the first data; if the peer does not want it, Read and Write return
// [ErrReset]. It waits while 128 streams of this end are there; ctx bounds that wait
// and has no effect on the stream.
func (s *Session) Open(ctx context.Context) (*Stream, error) {
	select {
	case s.slots <- struct{}{}:
	case <-s.done:
		return nil, unsent(s.end())
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.brokenLocked()
	if err == nil && s.lastOwn+2 < s.lastOwn {
		err = errors.New("mux: this session has no more numbers for streams")
	}
	if err != nil {
		<-s.slots
		return nil, err
	}
	s.lastOwn += 2
	st := newStream(s, s.lastOwn, true)
	st.opening = true
	s.streams[st.id] = st
	s.urgeLocked(st)
	return st, nil
}

// Accept returns the next stream that the peer opens. At the end of the session it
// returns [Session.Err], after the streams that came before.
func (s *Session) Accept(ctx context.Context) (*Stream, error) {
	select {
	case st := <-s.accepts:
		return st, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-s.done:
	}
	select {
	case st := <-s.accepts:
		return st, nil
	default:
		return nil, s.Err()
	}
}

// Close ends the session: streams that did not end before are cut at both ends. It
// waits for what was written to leave, as the tunnel does when it is closed, and closes the tunnel,
// whose error it returns. The second Close returns net.ErrClosed. Close is due also
// after the session has ended otherwise.
func (s *Session) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return net.ErrClosed
	}
	s.closed = true
	lost := s.cause
	s.endLocked(net.ErrClosed)
	s.mu.Unlock()
	patience := time.NewTimer(closeTime)
	defer patience.Stop()
	select {
	case <-s.sent:
	case <-patience.C:
	}
	err := s.closeConn()
	s.loops.Wait()
	if lost != nil {
		return nil // Err has said it
	}
	return err
}

// Done is closed when the session has ended: nothing more comes from the peer, and
// nothing can be sent. What came before can still be read, unless it was Close.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err says why Done is closed: io.EOF if the peer ended the tunnel in order,
// net.ErrClosed if it was this end, else [ErrProtocol] or the error of the tunnel. It
// is nil while Done is open.
func (s *Session) Err() error {
	err := s.end()
	if err == errPeerEnded {
		return io.EOF
	}
	return err
}

func (s *Session) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// endLocked ends the session for a cause, if it has not ended yet, and wakes whoever
// waits.
func (s *Session) endLocked(cause error) {
	if s.cause == nil {
		s.cause = cause
		close(s.done)
	}
	s.work.Signal()
	for _, st := range s.streams {
		st.wakeLocked()
		st.goneLocked()
	}
}

// brokenLocked says why nothing can be sent; nil if it can.
func (s *Session) brokenLocked() error {
	switch {
	case s.cause != nil:
		return unsent(s.cause)
	case s.sendErr != nil:
		return unsent(s.sendErr)
	default:
		return nil
	}
}

// settleLocked forgets a stream that has ended in both directions and of which
// nothing is left to be read.
func (s *Session) settleLocked(st *Stream) {
	if !st.finished || !st.ended || st.in.size > 0 || s.streams[st.id] != st {
		return
	}
	delete(s.streams, st.id)
	s.grown -= st.window - initialWindow
	if st.own {
		<-s.slots
	} else {
		s.accepted--
	}
	st.goneLocked()
}
