// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package mux

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// A Stream is one connection within a tunnel. Its methods may be called concurrently.
// Deadlines are those of the stream; after one has passed it can be set again and the
// stream be used further.
type Stream struct {
	s   *Session
	id  uint32
	own bool          // opened by this end
	end chan struct{} // closed when the peer takes nothing more

	// Everything below is under the mutex of the session.
	closed bool // by Close or Abort
	gone   bool // end is closed

	// From the peer.
	readable     *sync.Cond
	readDeadline deadline
	in           buffer
	window       int    // how much may be there unread
	consumed     uint32 // octets read, modulo 2^32
	unsaid       int    // of them, how many the peer was not told
	ended        bool   // nothing more comes
	cutOff       bool   // and it was not everything

	// To the peer.
	writable      *sync.Cond
	writeDeadline deadline
	writing       bool   // a Write has its turn
	out           []byte // what it has left to send
	taken         int    // what of it was taken
	written       uint32 // octets sent, modulo 2^32
	acknowledged  uint32 // of them, read by the peer
	peerWindow    int    // what may be sent from there
	stopped       bool   // the peer reads no more
	finishing     bool   // after out comes the end
	finished      bool   // the end, or the reset, was sent

	// What there is to say beside data.
	opening, update, stop, reset bool

	queued bool   // among those ready for data
	urged  bool   // among those with something urgent
	used   uint64 // up to where on the clock of the session it had its share
}

var _ net.Conn = (*Stream)(nil)

func newStream(s *Session, id uint32, own bool) *Stream {
	return &Stream{
		s: s, id: id, own: own, end: make(chan struct{}),
		readable: sync.NewCond(&s.mu), writable: sync.NewCond(&s.mu),
		window: initialWindow, peerWindow: initialWindow,
	}
}

// Read reads what the peer sent. It returns io.EOF only if that was everything; see
// the package comment for other ends.
func (st *Stream) Read(p []byte) (int, error) {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	for {
		switch {
		case st.closed, st.s.closed:
			return 0, net.ErrClosed
		case st.readDeadline.expired:
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case st.in.size > 0:
			n := st.in.read(p)
			st.consumedLocked(n)
			return n, nil
		case st.cutOff:
			return 0, fmt.Errorf("%w: %w", ErrReset, io.ErrUnexpectedEOF)
		case st.ended:
			return 0, io.EOF
		case st.s.cause != nil:
			return 0, cut(st.s.cause)
		}
		st.readable.Wait()
	}
}

// consumedLocked tells the peer, now and then, that it may send more.
func (st *Stream) consumedLocked(n int) {
	s := st.s
	st.consumed += uint32(n)
	st.unsaid += n
	s.settleLocked(st)
	if st.ended || st.unsaid < st.window/2 {
		return
	}
	if st.in.size == 0 { // the reader is faster than the path
		more := min(st.window, maxWindow-st.window, maxGrowth-s.grown)
		st.window += more
		s.grown += more
	}
	st.unsaid = 0
	st.update = true
	s.urgeLocked(st)
}

// Write sends p. It returns when the octets are on their way, not when the peer has
// read them. At the deadline it returns how many of them are. Of several at a time one
// goes after the other.
func (st *Stream) Write(p []byte) (int, error) {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	for st.writing && st.unwritableLocked() == nil {
		st.writable.Wait()
	}
	if err := st.unwritableLocked(); err != nil {
		return 0, err
	}
	st.writing, st.out, st.taken = true, p, 0
	defer func() {
		st.writing, st.out = false, nil
		st.writable.Broadcast()
		st.s.scheduleLocked(st) // the end may be what is left to send
	}()
	st.s.scheduleLocked(st)
	for st.taken < len(p) {
		if err := st.unwritableLocked(); err != nil {
			return st.taken, err
		}
		st.writable.Wait()
	}
	return len(p), nil
}

// unwritableLocked says why a Write must end; nil if it need not.
func (st *Stream) unwritableLocked() error {
	switch {
	case st.closed, st.s.closed, st.finishing:
		return net.ErrClosed
	case st.writeDeadline.expired:
		return os.ErrDeadlineExceeded
	case st.stopped:
		return ErrReset
	default:
		return st.s.brokenLocked()
	}
}

// CloseWrite tells the peer that nothing more will come: it reads io.EOF. Reading goes
// on. A Write that has not returned is interrupted.
func (st *Stream) CloseWrite() error {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	if st.closed || st.s.closed {
		return net.ErrClosed
	}
	if st.finishing {
		return nil
	}
	err := st.s.brokenLocked()
	st.finishLocked()
	return err
}

func (st *Stream) finishLocked() {
	st.finishing = true
	st.writable.Broadcast()
	st.s.scheduleLocked(st)
}

// Close ends both directions and waits for nobody: what was written is followed by
// the end, and if the peer is not done its writes fail. Session.Close after it still
// lets everything leave. Close unblocks Read and Write; the second one returns
// net.ErrClosed.
func (st *Stream) Close() error {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	if st.closed || st.s.closed {
		st.closeLocked()
		return net.ErrClosed
	}
	st.closeLocked()
	st.finishLocked()
	return nil
}

// Abort ends the stream without the end of the data: what the peer reads then is not
// io.EOF but [ErrReset]. It is for an application that cannot send what it promised.
// Close is not needed after it.
func (st *Stream) Abort() {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	if st.closed {
		return
	}
	st.closeLocked()
	st.reset = true
	st.out = nil
	st.s.urgeLocked(st)
}

// closeLocked is what Close and Abort have in common.
func (st *Stream) closeLocked() {
	if st.closed {
		return
	}
	st.closed = true
	st.in = buffer{}
	st.readDeadline.stopLocked()
	st.writeDeadline.stopLocked()
	if !st.ended {
		st.stop = true
		st.s.urgeLocked(st)
	}
	st.wakeLocked()
	st.goneLocked()
	st.s.settleLocked(st)
}

// Done is closed when the peer takes nothing more: it closed the stream, or the
// session has ended, or this end closed it. What came before can still be read.
func (st *Stream) Done() <-chan struct{} { return st.end }

// Err says why Done is closed: nil if the peer had sent everything before, or while
// Done is open; net.ErrClosed if it was this end; else an error as that of Read.
func (st *Stream) Err() error {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	switch {
	case !st.gone:
		return nil
	case st.closed, st.s.closed:
		return net.ErrClosed
	case st.ended && !st.cutOff:
		return nil
	case st.stopped, st.cutOff:
		return ErrReset
	default:
		return cut(st.s.cause)
	}
}

// LocalAddr returns that of the tunnel.
func (st *Stream) LocalAddr() net.Addr { return st.s.conn.LocalAddr() }

// RemoteAddr returns that of the tunnel.
func (st *Stream) RemoteAddr() net.Addr { return st.s.conn.RemoteAddr() }

// SetDeadline sets both deadlines.
func (st *Stream) SetDeadline(t time.Time) error { return st.setDeadlines(t, true, true) }

// SetReadDeadline sets the deadline of Read; zero means none.
func (st *Stream) SetReadDeadline(t time.Time) error { return st.setDeadlines(t, true, false) }

// SetWriteDeadline sets the deadline of Write; zero means none.
func (st *Stream) SetWriteDeadline(t time.Time) error { return st.setDeadlines(t, false, true) }

func (st *Stream) setDeadlines(t time.Time, read, write bool) error {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	if st.closed || st.s.closed {
		return net.ErrClosed
	}
	if read {
		st.readDeadline.setLocked(&st.s.mu, t, st.readable.Broadcast)
	}
	if write {
		st.writeDeadline.setLocked(&st.s.mu, t, st.writable.Broadcast)
	}
	return nil
}

// wakeLocked wakes whoever waits for the stream.
func (st *Stream) wakeLocked() {
	st.readable.Broadcast()
	st.writable.Broadcast()
}

// goneLocked closes Done.
func (st *Stream) goneLocked() {
	if !st.gone {
		st.gone = true
		close(st.end)
	}
}

// roomLocked is how much the peer is ready to take.
func (st *Stream) roomLocked() int {
	return max(0, st.peerWindow-int(st.written-st.acknowledged))
}

// wantsLocked reports whether there is something to send that may be sent.
func (st *Stream) wantsLocked() bool {
	if st.opening || st.finished || st.reset {
		return false
	}
	if len(st.out) > 0 {
		return st.roomLocked() > 0
	}
	return st.finishing
}

// admitLocked decides about n octets that are about to arrive.
func (st *Stream) admitLocked(n int) error {
	switch {
	case st.ended:
		return protocolError("data after the end of stream %d", st.id)
	case n > st.window-st.in.size:
		return protocolError("%d octets beyond the window of stream %d", n-st.window+st.in.size, st.id)
	default:
		return nil
	}
}

// arrived takes data that was admitted. Nobody reads that of a closed stream.
func (st *Stream) arrived(p []byte) {
	st.s.mu.Lock()
	defer st.s.mu.Unlock()
	if !st.closed {
		st.in.write(p)
		st.readable.Broadcast()
	}
}

// updatedLocked takes an update: what the peer has read, and its window from there.
func (st *Stream) updatedLocked(consumed, window uint32) error {
	if consumed-st.acknowledged > st.written-st.acknowledged {
		return protocolError("stream %d: more was read than was sent", st.id)
	}
	if window > maxUpdate {
		return protocolError("stream %d: a window of %d octets", st.id, window)
	}
	st.acknowledged, st.peerWindow = consumed, int(window)
	st.s.scheduleLocked(st)
	return nil
}

// stoppedLocked notes that the peer reads no more. Nothing but the end is sent any more.
func (st *Stream) stoppedLocked() {
	st.stopped = true
	st.out = nil
	st.writable.Broadcast()
	st.goneLocked()
}

// endedLocked notes that nothing more comes, and whether it was everything.
func (st *Stream) endedLocked(cutOff bool) {
	if st.ended {
		return
	}
	st.ended, st.cutOff = true, cutOff
	st.readable.Broadcast()
}
