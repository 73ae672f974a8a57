// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package mux

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"
)

func TestConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		a, b := net.Pipe()
		client, server := Client(a), Server(b)
		stop = func() {
			_ = client.Close()
			_ = server.Close()
		}
		if c1, err = client.Open(t.Context()); err != nil {
			return nil, nil, stop, err
		}
		c2, err = server.Accept(t.Context())
		return c1, c2, stop, err
	})
}

// What arrives after a half-close is not lost, even if nobody reads it until the
// peer is done as well; an end in one direction is none in the other.
func TestHalfClose(t *testing.T) {
	client, server := pair(t)
	answer := pattern(10000)
	st, peer := streams(t, client, server)
	mustWrite(t, st, []byte("question"))
	if err := st.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := st.CloseWrite(); err != nil {
		t.Errorf("second CloseWrite = %v", err)
	}
	if _, err := st.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after CloseWrite = %v", err)
	}
	got, err := io.ReadAll(peer)
	if string(got) != "question" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	mustWrite(t, peer, answer)
	if err := peer.Close(); err != nil {
		t.Fatal(err)
	}
	// Wait until everything has arrived: a stream opened after it has.
	streams(t, server, client)
	if got, err := io.ReadAll(st); !bytes.Equal(got, answer) || err != nil {
		t.Errorf("got %d of %d octets, %v", len(got), len(answer), err)
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
}

// The acceptor may speak first.
func TestAcceptorSpeaksFirst(t *testing.T) {
	client, server := pair(t)
	var work sync.WaitGroup
	defer work.Wait()
	const count = 300
	work.Go(func() {
		for range count {
			st, err := server.Accept(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = st.Write([]byte("hello"))
			_ = st.Close()
		}
	})
	for range count {
		st, err := client.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(st); string(got) != "hello" || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
		_ = st.Close()
	}
}

// Many streams in both directions at once, none of whose octets gets lost, repeated
// or into another stream. More are opened than may be there at a time.
func TestManyStreams(t *testing.T) {
	client, server := pair(t)
	const count, size = maxStreams + 40, 40000
	var work sync.WaitGroup
	for _, side := range [][2]*Session{{client, server}, {server, client}} {
		work.Go(func() {
			for range count {
				st, err := side[1].Accept(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				work.Go(func() {
					_, _ = io.Copy(st, st)
					_ = st.Close()
				})
			}
		})
		for i := range count {
			work.Go(func() { roundTrip(t, side[0], pattern(size+i)) })
		}
	}
	work.Wait()
	for _, s := range []*Session{client, server} {
		left := func() int {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.streams)
		}
		for start := time.Now(); left() > 0; time.Sleep(time.Millisecond) {
			if time.Since(start) > patience {
				t.Fatalf("%d streams are never forgotten", left())
			}
		}
	}
}

// roundTrip sends data through an echo at the other end.
func roundTrip(t *testing.T, s *Session, data []byte) {
	st, err := s.Open(t.Context())
	if err != nil {
		t.Error(err)
		return
	}
	defer st.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = st.Write(data)
		_ = st.CloseWrite()
	}()
	got, err := io.ReadAll(st)
	<-sent
	if !bytes.Equal(got, data) || err != nil {
		t.Errorf("got %d of %d octets, %v", len(got), len(data), err)
	}
}

// Everything that ends a stream, and what its reader gets after the data.
func TestEnds(t *testing.T) {
	broken := errors.New("the line was cut")
	for _, tt := range []struct {
		name string
		end  func(st *Stream, s *Session, line *cutConn)
		want []error // of Read; all in the chain
		done error   // of Session.Err; nil: the session lives
	}{
		{"CloseWrite", func(st *Stream, _ *Session, _ *cutConn) { _ = st.CloseWrite() }, []error{io.EOF}, nil},
		{"Close", func(st *Stream, _ *Session, _ *cutConn) { _ = st.Close() }, []error{io.EOF}, nil},
		{"Abort", func(st *Stream, _ *Session, _ *cutConn) { st.Abort() }, []error{ErrReset, io.ErrUnexpectedEOF}, nil},
		{"Abort after CloseWrite", func(st *Stream, _ *Session, _ *cutConn) {
			_ = st.CloseWrite()
			st.Abort()
		}, []error{ErrReset, io.ErrUnexpectedEOF}, nil},
		{"session closed", func(_ *Stream, s *Session, _ *cutConn) { _ = s.Close() }, []error{io.ErrUnexpectedEOF}, io.EOF},
		{"Close, session closed", func(st *Stream, s *Session, _ *cutConn) {
			_ = st.Close()
			_ = s.Close()
		}, []error{io.EOF}, io.EOF},
		{"tunnel lost", func(_ *Stream, _ *Session, line *cutConn) { line.cut(broken) }, []error{io.ErrUnexpectedEOF, broken}, broken},
		{"tunnel lost, with an error that wraps io.EOF", func(_ *Stream, _ *Session, line *cutConn) {
			line.cut(&net.OpError{Op: "read", Err: io.EOF})
		}, []error{io.ErrUnexpectedEOF}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := net.Pipe()
			line := &cutConn{Conn: b}
			client, server := sessions(t, a, line)
			st, peer := streams(t, client, server)
			mustWrite(t, st, []byte("before"))
			mustRead(t, peer, []byte("bef"))
			tt.end(st, client, line)
			got, err := io.ReadAll(peer)
			if string(got) != "ore" {
				t.Errorf("got %q", got)
			}
			if err == nil {
				err = io.EOF
			}
			for _, want := range tt.want {
				if !errors.Is(err, want) {
					t.Errorf("Read = %v, want %v", err, want)
				}
			}
			if tt.want[0] != io.EOF {
				cutMeansCut(t, err)
			}
			if tt.done != nil {
				<-server.Done()
				if err := server.Err(); !errors.Is(err, tt.done) {
					t.Errorf("Err = %v, want %v", err, tt.done)
				}
				if _, err := server.Accept(t.Context()); !errors.Is(err, tt.done) {
					t.Errorf("Accept = %v, want %v", err, tt.done)
				}
				if _, err := peer.Write([]byte("x")); err == nil || errors.Is(err, io.EOF) {
					t.Errorf("Write = %v", err)
				}
				if _, err := server.Open(t.Context()); err == nil || errors.Is(err, io.EOF) {
					t.Errorf("Open = %v", err)
				}
			}
		})
	}
}

// A cutConn is a tunnel that can be cut with an error.
type cutConn struct {
	net.Conn
	mu  sync.Mutex
	err error
}

func (c *cutConn) cut(err error) {
	c.mu.Lock()
	c.err = err
	c.mu.Unlock()
	_ = c.Conn.Close()
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && c.err != nil {
		err = c.err
	}
	return n, err
}

// A tunnel that ends in order within a frame was cut.
func TestEndWithinFrame(t *testing.T) {
	for _, octets := range [][]byte{
		appendHeader(nil, cmdOpen, 0, 3)[:5],
		appendHeader(appendHeader(nil, cmdOpen, 0, 3), cmdData, 10, 3),
		append(appendHeader(appendHeader(nil, cmdOpen, 0, 3), cmdData, 10, 3), "four"...),
		appendHeader(appendHeader(nil, cmdOpen, 0, 3), cmdUpdate, updateSize, 3),
	} {
		p := newRawPeer(t)
		_, _ = p.conn.Write(octets)
		_ = p.conn.Close()
		cutMeansCut(t, p.ends())
	}
}

// The peer may say everything, close, and be gone before this end has read a word: a
// failing write is no reason to stop reading.
func TestPeerGoneWithoutLoss(t *testing.T) {
	data := pattern(3 * frameSize)
	all := appendHeader(nil, cmdOpen, 0, 3)
	for piece := data; len(piece) > 0; piece = piece[frameSize:] {
		all = append(appendHeader(all, cmdData, frameSize, 3), piece[:frameSize]...)
	}
	all = appendHeader(all, cmdFinish, 0, 3)
	a, b := net.Pipe()
	s := Server(&deaf{Conn: b})
	defer s.Close()
	defer a.Close()
	go func() {
		_, _ = a.Write(all[:100])
	}()
	st, err := s.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Write([]byte("nobody takes this")); err != nil {
		t.Fatal(err)
	}
	for { // the failure is noticed after the write that it befell
		if _, err = st.Write([]byte("x")); err != nil {
			break
		}
	}
	if !errors.Is(err, errDeaf) {
		t.Errorf("Write = %v, want %v", err, errDeaf)
	}
	go func() {
		_, _ = a.Write(all[100:])
		_ = a.Close()
	}()
	if got, err := io.ReadAll(st); !bytes.Equal(got, data) || err != nil {
		t.Errorf("got %d of %d octets, %v", len(got), len(data), err)
	}
}

var errDeaf = errors.New("the other end takes nothing")

// A deaf tunnel can only be read.
type deaf struct{ net.Conn }

func (*deaf) Write([]byte) (int, error) { return 0, errDeaf }

// SetReadDeadline fails, as that of a net.Pipe does whose other end was closed.
func (*deaf) SetReadDeadline(time.Time) error { return io.ErrClosedPipe }

// A peer that takes nothing and says nothing is waited for in vain, but not for ever.
func TestDrainBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer a.Close()
		s := Server(&deaf{Conn: b})
		defer s.Close()
		if _, err := s.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		<-s.Done()
		if took := time.Since(start); took != drainTime || !errors.Is(s.Err(), errDeaf) {
			t.Errorf("after %v: %v, want %v after %v", took, s.Err(), errDeaf, drainTime)
		}
	})
}

// A reader that stalls stops nobody else, in neither direction, however many there
// are.
func TestStalledReaders(t *testing.T) {
	client, server := pair(t)
	const count = maxStreams - 1
	for range count {
		st, _ := streams(t, client, server)
		_ = st.SetWriteDeadline(time.Now().Add(patience))
		mustWrite(t, st, make([]byte, initialWindow)) // all that fits
	}
	st, peer := streams(t, client, server)
	data := pattern(1 << 20)
	go func() {
		_, _ = io.Copy(peer, peer)
		_ = peer.Close()
	}()
	go func() {
		_, _ = st.Write(data)
		_ = st.CloseWrite()
	}()
	if got, err := io.ReadAll(st); !bytes.Equal(got, data) || err != nil {
		t.Errorf("got %d of %d octets, %v", len(got), len(data), err)
	}
}

// A Write that times out says exactly how much is on its way, and what it was given
// is not looked at afterwards.
func TestWriteDeadline(t *testing.T) {
	client, server := pair(t)
	st, peer := streams(t, client, server)
	data := pattern(2 * initialWindow)
	_ = st.SetWriteDeadline(time.Now().Add(30 * time.Millisecond))
	n, err := st.Write(data)
	if n != initialWindow || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Write = %d, %v", n, err)
	}
	want := bytes.Clone(data[:n])
	clear(data)
	mustRead(t, peer, want)
	_ = st.SetWriteDeadline(time.Time{})
	mustWrite(t, st, []byte("further"))
	mustRead(t, peer, []byte("further"))
}

// Close and Abort tell a peer that is still sending, which would otherwise fill the
// window and wait forever.
func TestReaderGone(t *testing.T) {
	for name, end := range map[string]func(*Stream){"Close": func(st *Stream) { _ = st.Close() }, "Abort": (*Stream).Abort} {
		t.Run(name, func(t *testing.T) {
			client, server := pair(t)
			st, peer := streams(t, client, server)
			_ = st.SetWriteDeadline(time.Now().Add(patience))
			failed := make(chan error, 1)
			go func() {
				for {
					if _, err := st.Write(make([]byte, 10000)); err != nil {
						failed <- err
						return
					}
				}
			}()
			mustRead(t, peer, make([]byte, 50000))
			end(peer)
			if err := <-failed; !errors.Is(err, ErrReset) {
				t.Errorf("Write = %v, want ErrReset", err)
			}
			<-st.Done()
			if err := st.Err(); (name == "Abort") != errors.Is(err, ErrReset) && name == "Abort" {
				t.Errorf("Err = %v", err)
			}
			if _, err := peer.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Read after %s = %v", name, err)
			}
			if err := peer.Close(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Close after %s = %v", name, err)
			}
		})
	}
}

// Done and Err of a stream, as whoever waits with nothing to read or write needs them.
func TestDone(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(st *Stream, s *Session)
		want error
	}{
		{"the peer closed", func(st *Stream, _ *Session) { _ = st.Close() }, nil},
		{"the peer broke off", func(st *Stream, _ *Session) { st.Abort() }, ErrReset},
		{"the session ended", func(_ *Stream, s *Session) { _ = s.Close() }, io.ErrUnexpectedEOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, server := pair(t)
			st, peer := streams(t, client, server)
			select {
			case <-peer.Done():
				t.Fatal("Done from the start")
			default:
			}
			if err := peer.Err(); err != nil {
				t.Errorf("Err = %v from the start", err)
			}
			tt.end(st, client)
			if _, err := io.ReadAll(peer); (err == nil) != (tt.want == nil) {
				t.Errorf("Read = %v", err)
			}
			<-peer.Done()
			if err := peer.Err(); !errors.Is(err, tt.want) {
				t.Errorf("Err = %v, want %v", err, tt.want)
			}
			_ = peer.Close()
			if err := peer.Err(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Err after Close = %v", err)
			}
		})
	}
}

// Session.Close lets leave what was written, although nobody waited for it, and ends
// everything that waits at this end.
func TestSessionClose(t *testing.T) {
	client, server := pair(t)
	st, peer := streams(t, client, server)
	other, _ := streams(t, client, server)
	data := pattern(100000)
	waiting := make(chan error, 2)
	go func() {
		_, err := other.Read(make([]byte, 1))
		waiting <- err
	}()
	go func() {
		_, err := client.Accept(t.Context())
		waiting <- err
	}()
	mustWrite(t, st, data)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if err := client.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close = %v", err)
	}
	for range 2 {
		if err := <-waiting; !errors.Is(err, net.ErrClosed) {
			t.Errorf("what waited got %v", err)
		}
	}
	if got, err := io.ReadAll(peer); !bytes.Equal(got, data) || err != nil {
		t.Errorf("got %d of %d octets, %v", len(got), len(data), err)
	}
}

// Close does not wait forever for a tunnel that takes nothing.
func TestSessionCloseStuck(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	s := Client(a)
	st, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() {
		_, err := st.Write(make([]byte, 100000))
		written <- err
	}()
	start := time.Now()
	_ = s.Close()
	if took := time.Since(start); took > closeTime+patience/2 {
		t.Errorf("Close took %v", took)
	}
	if err := <-written; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write = %v", err)
	}
}

// Open waits for a place, as long as its context allows.
func TestOpenWaits(t *testing.T) {
	client, server := pair(t)
	var first *Stream
	for range maxStreams {
		st, _ := streams(t, client, server)
		if first == nil {
			first = st
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if st, err := client.Open(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("one over: %v, %v", st, err)
	}
	opened := make(chan error, 1)
	go func() {
		_, err := client.Open(t.Context())
		opened <- err
	}()
	_ = first.Close()
	select {
	case <-opened:
		t.Fatal("opened while the peer has not ended the stream")
	case <-time.After(20 * time.Millisecond):
	}
	server.mu.Lock()
	peer := server.streams[first.id]
	server.mu.Unlock()
	_ = peer.Close()
	if err := <-opened; err != nil {
		t.Error(err)
	}
}
