// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"example.org/xtls/xtls"
	"example.org/xtls/xtls/mux"
)

// benchService is the name of the service that every serve has for measurements. Its
// tunnel carries streams; the first octet of each says what the server does with it.
const benchService = "bench"

const (
	benchEcho   = 'e' // sends everything back
	benchSink   = 's' // reads to the end and answers how many octets that were, 64 bits big-endian
	benchSource = 'd' // sends zeros until the stream is closed
)

const (
	// maxBenches bounds the measurements that serve takes part in at once.
	maxBenches = 4
	// maxBenchTime bounds one tunnel of a measurement.
	maxBenchTime = 5 * time.Minute
	// maxBenchOctets bounds what one such tunnel moves, both ways together. None of it
	// goes anywhere: it is made here and thrown away here. Only echoes come back, and
	// these are bounded as those of ping.
	maxBenchOctets = 32 << 30
	// mostTransfer bounds one transfer: those up, down and both ways fit in one tunnel.
	mostTransfer = maxBenchOctets / 4
	// benchPiece is how many octets are written at once.
	benchPiece = 32 << 10
)

// errBenchOver: somebody measured too much in one tunnel.
var errBenchOver = fmt.Errorf("more than %d octets or %v of measurements in one tunnel", int64(maxBenchOctets), maxBenchTime)

// bench takes part in the measurements of a peer.
func (h *host) bench(ctx context.Context, o *xtls.Offer) {
	defer func() {
		h.mu.Lock()
		h.benches--
		h.mu.Unlock()
	}()
	conn := h.establish(ctx, o)
	if conn == nil {
		return
	}
	n, err := newBenchServer(maxBenchOctets).serve(ctx, conn, maxBenchTime)
	h.a.tunnelClosed(conn.State(), n, err)
}

// A benchServer is the other end of a measurement.
type benchServer struct {
	left           atomic.Int64 // octets that may still be moved
	sent, received atomic.Int64
	over           context.CancelFunc
}

func newBenchServer(octets int64) *benchServer {
	b := &benchServer{}
	b.left.Store(octets)
	return b
}

// serve takes streams until the peer ends the tunnel or has measured enough.
func (b *benchServer) serve(ctx context.Context, conn net.Conn, most time.Duration) (traffic, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	b.over = func() { cancel(errBenchOver) }
	defer time.AfterFunc(most, b.over).Stop()
	s := mux.Server(conn)
	var streams sync.WaitGroup
	var err error
	for {
		var st *mux.Stream
		if st, err = s.Accept(ctx); err != nil {
			break
		}
		streams.Go(func() { b.stream(st) })
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	err = errors.Join(err, s.Close()) // which ends all streams
	streams.Wait()
	return traffic{b.sent.Load(), b.received.Load()}, err
}

// stream does what the first octet of a stream says, to its end.
func (b *benchServer) stream(st *mux.Stream) {
	var verb [1]byte
	_, err := io.ReadFull(st, verb[:])
	in := &meter{b, st, &b.received}
	out := &meter{b, st, &b.sent}
	switch {
	case err != nil:
	case verb[0] == benchEcho:
		_, err = io.Copy(out, &bounded{in, maxEcho})
	case verb[0] == benchSink:
		var n int64
		if n, err = io.Copy(io.Discard, in); err == nil {
			_, err = st.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
		}
	case verb[0] == benchSource:
		_, err = io.Copy(out, zeros{})
	default:
		err = fmt.Errorf("unknown measurement %q", verb[0])
	}
	if err != nil {
		st.Abort()
		return
	}
	_ = st.Close()
}

// A meter counts octets and ends the measurement when they are too many.
type meter struct {
	b     *benchServer
	st    *mux.Stream
	count *atomic.Int64
}

// Read reads from the stream.
func (m *meter) Read(p []byte) (int, error) {
	n, err := m.st.Read(p)
	if over := m.moved(n); over != nil {
		return n, over
	}
	return n, err
}

// Write writes to the stream.
func (m *meter) Write(p []byte) (int, error) {
	n, err := m.st.Write(p)
	if over := m.moved(n); over != nil {
		return n, over
	}
	return n, err
}

func (m *meter) moved(n int) error {
	m.count.Add(int64(n))
	if m.b.left.Add(-int64(n)) < 0 {
		m.b.over()
		return errBenchOver
	}
	return nil
}

// zeros reads as zeros without an end.
type zeros struct{}

// Read fills p.
func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A benchClient measures through one tunnel.
type benchClient struct {
	s *mux.Session
}

// open opens a stream for something; when ctx ends, so does the stream.
func (c *benchClient) open(ctx context.Context, verb byte) (st *mux.Stream, end func(), err error) {
	if st, err = c.s.Open(ctx); err != nil {
		return nil, nil, benchError(ctx, err)
	}
	stop := context.AfterFunc(ctx, st.Abort)
	end = func() {
		stop()
		_ = st.Close()
	}
	if _, err := st.Write([]byte{verb}); err != nil {
		end()
		return nil, nil, benchError(ctx, err)
	}
	return st, end, nil
}

// A bulk is one large transfer: how much arrived in which time.
type bulk struct {
	octets int64
	took   time.Duration
}

// rate is in octets per second.
func (b bulk) rate() float64 {
	if b.took <= 0 {
		return 0
	}
	return float64(b.octets) / b.took.Seconds()
}

// until lets a deadline pass when enough ends.
func until(enough context.Context, setDeadline func(time.Time) error) (stop func() bool) {
	return context.AfterFunc(enough, func() { _ = setDeadline(time.Unix(1, 0)) })
}

// up sends size octets, or as many as leave before enough ends. It takes until the
// peer has said that it got them.
func (c *benchClient) up(ctx, enough context.Context, size int64) (bulk, error) {
	st, end, err := c.open(ctx, benchSink)
	if err != nil {
		return bulk{}, err
	}
	defer end()
	defer until(enough, st.SetWriteDeadline)()
	start := time.Now()
	piece := make([]byte, benchPiece)
	var sent int64
	for sent < size && err == nil {
		var n int
		n, err = st.Write(piece[:min(size-sent, benchPiece)])
		sent += int64(n)
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return bulk{}, benchError(ctx, err)
	}
	if err := st.CloseWrite(); err != nil {
		return bulk{}, benchError(ctx, err)
	}
	var answer [8]byte
	_ = st.SetReadDeadline(time.Now().Add(pingTime))
	if _, err := io.ReadFull(st, answer[:]); err != nil {
		return bulk{}, benchError(ctx, err)
	}
	if got := int64(binary.BigEndian.Uint64(answer[:])); got != sent {
		return bulk{}, fmt.Errorf("the peer says that it got %d of %d octets", got, sent)
	}
	return bulk{sent, time.Since(start)}, nil
}

// down receives size octets, or as many as arrive before enough ends.
func (c *benchClient) down(ctx, enough context.Context, size int64) (bulk, error) {
	st, end, err := c.open(ctx, benchSource)
	if err != nil {
		return bulk{}, err
	}
	defer end()
	defer until(enough, st.SetReadDeadline)()
	start := time.Now()
	buf := make([]byte, benchPiece)
	var got int64
	for got < size && err == nil {
		var n int
		n, err = st.Read(buf[:min(size-got, benchPiece)])
		got += int64(n)
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return bulk{}, benchError(ctx, err)
	}
	return bulk{got, time.Since(start)}, nil
}

// benchError is an error of a stream, as the user should see it.
func benchError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &timeoutError{pingTime, "waiting for the peer to have received everything", true}
	case errors.Is(err, xtls.ErrLost), errors.Is(err, xtls.ErrTampered):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, mux.ErrReset):
		return errors.New("the peer ended the measurement")
	default:
		return err
	}
}
