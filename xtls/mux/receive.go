// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package mux

import (
	"bufio"
	"encoding/binary"
	"io"
)

// readBuffer is how much is read from the tunnel at once: a TLS record.
const readBuffer = 16 << 10

// receive reads frames until the tunnel ends or the peer breaks a rule. It waits for
// nobody but the tunnel.
func (s *Session) receive() {
	err := s.frames(bufio.NewReaderSize(s.conn, readBuffer))
	s.mu.Lock()
	if s.sendErr != nil && err != io.EOF { //nolint:errorlint // exactly io.EOF is the authenticated end
		err = s.sendErr // which was first
	}
	s.dead = true
	if s.drain != nil {
		s.drain.Stop()
	}
	s.endLocked(notEOF(err))
	s.mu.Unlock()
	_ = s.closeConn() // Close returns its error
}

func (s *Session) frames(r *bufio.Reader) error {
	for {
		b, err := r.Peek(headerSize)
		if err == io.EOF && len(b) > 0 { //nolint:errorlint // bufio passes it on as it is
			err = errCutHeader
		}
		if err != nil {
			return err
		}
		h := parseHeader(b)
		_, _ = r.Discard(headerSize)
		if err := s.frame(h, r); err != nil {
			return err
		}
	}
}

// frame takes one frame, whose payload is still to be read from r.
func (s *Session) frame(h header, r *bufio.Reader) error {
	if h.version != version {
		return protocolError("version %d", h.version)
	}
	want := 0
	switch h.cmd {
	case cmdData:
		return s.data(h, r)
	case cmdUpdate:
		want = updateSize
	}
	if h.length != want {
		return protocolError("%d octets in a frame of type %d", h.length, h.cmd)
	}
	b, err := r.Peek(want)
	if err != nil {
		return inFrame(err)
	}
	s.mu.Lock()
	err = s.controlLocked(h, b)
	s.mu.Unlock()
	_, _ = r.Discard(want)
	return err
}

// inFrame is what the end of the tunnel is within a frame.
func inFrame(err error) error {
	if err == io.EOF { //nolint:errorlint // bufio passes it on as it is
		return errCutHeader
	}
	return err
}

// controlLocked takes a frame without data.
func (s *Session) controlLocked(h header, payload []byte) error {
	switch h.cmd {
	case cmdNone:
		return nil
	case cmdOpen:
		return s.openedLocked(h.id)
	case cmdFinish, cmdUpdate, cmdStop, cmdReset:
	default:
		return protocolError("unknown frame of type %d", h.cmd)
	}
	st, err := s.findLocked(h.id)
	if st == nil {
		return err
	}
	switch h.cmd {
	case cmdUpdate:
		return st.updatedLocked(binary.LittleEndian.Uint32(payload), binary.LittleEndian.Uint32(payload[4:]))
	case cmdStop:
		st.stoppedLocked()
	default:
		st.endedLocked(h.cmd == cmdReset)
	}
	s.settleLocked(st)
	return nil
}

// openedLocked takes a stream of the peer, or refuses it.
func (s *Session) openedLocked(id uint32) error {
	if id&1 != s.lastPeer&1 || id <= s.lastPeer {
		return protocolError("stream %d was opened out of order", id)
	}
	s.lastPeer = id
	switch {
	case s.cause != nil:
		return nil
	case s.accepted < maxStreams:
		s.accepted++
		st := newStream(s, id, false)
		s.streams[id] = st
		s.accepts <- st // there is room for maxStreams, of which it is one
		return nil
	case len(s.refused) == maxRefusals:
		return protocolError("it opens streams and does not hear that there are too many")
	}
	s.refused = append(s.refused, id)
	s.work.Signal()
	return nil
}

// findLocked returns the stream of a frame; nil without an error if there is none any
// more.
func (s *Session) findLocked(id uint32) (*Stream, error) {
	last := s.lastOwn
	if id&1 == s.lastPeer&1 {
		last = s.lastPeer
	}
	if id > last || id <= 1 {
		return nil, protocolError("stream %d was never opened", id)
	}
	return s.streams[id], nil
}

// data takes a frame of data, piece by piece as it arrives.
func (s *Session) data(h header, r *bufio.Reader) error {
	s.mu.Lock()
	st, err := s.findLocked(h.id)
	if st != nil {
		err = st.admitLocked(h.length)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	for left := h.length; left > 0; {
		if _, err := r.Peek(1); err != nil {
			return inFrame(err)
		}
		piece, _ := r.Peek(min(left, r.Buffered()))
		if st != nil {
			st.arrived(piece)
		}
		_, _ = r.Discard(len(piece))
		left -= len(piece)
	}
	return nil
}
