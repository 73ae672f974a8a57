// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"example.org/xtls/xtls"
)

// A fakeTunnel is the near end of a tunnel whose far end the test plays: it writes
// to far and reads from near. Both pipes have no buffer, so every step is an event.
type fakeTunnel struct {
	fromFar  *io.PipeReader // what Read returns
	toFar    *io.PipeWriter // where Write goes
	far      *io.PipeWriter
	near     *io.PipeReader
	once     sync.Once
	closed   chan struct{}
	closeErr error
	aborted  bool
	gone     chan struct{} // the peer is
	goneErr  error
}

func newFakeTunnel() *fakeTunnel {
	t := &fakeTunnel{closed: make(chan struct{}), gone: make(chan struct{})}
	t.fromFar, t.far = io.Pipe()
	t.near, t.toFar = io.Pipe()
	return t
}

func (t *fakeTunnel) Read(p []byte) (int, error)  { return t.fromFar.Read(p) }
func (t *fakeTunnel) Write(p []byte) (int, error) { return t.toFar.Write(p) }
func (t *fakeTunnel) CloseWrite() error           { return t.toFar.Close() }
func (t *fakeTunnel) Done() <-chan struct{}       { return t.gone }
func (t *fakeTunnel) Err() error                  { return t.goneErr }

func (t *fakeTunnel) Abort() {
	t.aborted = true
	_ = t.Close()
}

func (t *fakeTunnel) Close() error {
	t.once.Do(func() { close(t.closed) })
	_ = t.fromFar.CloseWithError(net.ErrClosed)
	_ = t.toFar.CloseWithError(net.ErrClosed)
	return t.closeErr
}

// A fakeLocal is the local side of a tunnel.
type fakeLocal struct {
	in      *io.PipeWriter
	out     bytes.Buffer
	outErr  error
	ended   chan struct{} // closed by the half-close
	stopped bool
}

func (l *fakeLocal) Write(p []byte) (int, error) {
	if l.outErr != nil {
		return 0, l.outErr
	}
	return l.out.Write(p)
}

func newFakeLocal() (*fakeLocal, localEnd) {
	r, w := io.Pipe()
	l := &fakeLocal{in: w, ended: make(chan struct{})}
	return l, localEnd{
		in: r, out: l,
		endOut: func() error { close(l.ended); return nil },
		stop:   func() { l.stopped = true; _ = r.CloseWithError(errStopped) },
	}
}

// A splicing is one running splice.
type splicing struct {
	*fakeTunnel
	*fakeLocal
	cancel context.CancelCauseFunc
	done   chan struct{}
	n      traffic
	err    error
}

func startSplice() *splicing {
	s := &splicing{fakeTunnel: newFakeTunnel(), done: make(chan struct{})}
	l, end := newFakeLocal()
	s.fakeLocal = l
	ctx, cancel := context.WithCancelCause(context.Background())
	s.cancel = cancel
	go func() {
		defer close(s.done)
		defer cancel(nil)
		s.n, s.err = splice(ctx, s.fakeTunnel, end)
	}()
	return s
}

var errTest = errors.New("of the test")

// spliceTests are the ways in which a tunnel can end.
var spliceTests = []struct {
	name  string
	play  func(s *splicing)
	want  error
	local bool
	n     traffic
}{
	{"local end first", func(s *splicing) {
		_, _ = io.WriteString(s.in, "question")
		_, _ = io.ReadFull(s.near, make([]byte, 8))
		_ = s.in.Close()
		_, _ = s.near.Read(make([]byte, 1)) // the end has been passed on
		_, _ = io.WriteString(s.far, "ok")
		_ = s.far.Close()
	}, nil, false, traffic{8, 2}},
	{"peer's end first", func(s *splicing) {
		_ = s.far.Close()
		<-s.fakeLocal.ended // passed on
		_, _ = io.WriteString(s.in, "still here")
		_, _ = io.ReadFull(s.near, make([]byte, 10))
		_ = s.in.Close()
		_, _ = s.near.Read(make([]byte, 1))
	}, nil, false, traffic{10, 0}},
	{"tunnel lost", func(s *splicing) { _ = s.far.CloseWithError(errTest) }, errTest, false, traffic{}},
	{"peer takes nothing more after its end", func(s *splicing) {
		_ = s.far.Close()
		<-s.fakeLocal.ended
		_ = s.near.CloseWithError(errTest)
		_, _ = io.WriteString(s.in, "anybody?")
	}, errTest, false, traffic{}},
	{"peer takes nothing more, then alarm", func(s *splicing) {
		_ = s.near.CloseWithError(errTest)
		_, _ = io.WriteString(s.in, "anybody?")
		_ = s.far.CloseWithError(xtls.ErrTampered)
	}, xtls.ErrTampered, false, traffic{}},
	{"input fails", func(s *splicing) { _ = s.in.CloseWithError(errTest) }, errTest, true, traffic{}},
	{"output fails", func(s *splicing) {
		s.outErr = errTest
		_, _ = io.WriteString(s.far, "x")
	}, errTest, true, traffic{}},
	{"interrupted", func(s *splicing) { s.cancel(errTest) }, errTest, false, traffic{}},
	{"peer lost after its end", func(s *splicing) {
		_ = s.far.Close()
		<-s.fakeLocal.ended
		s.goneErr = xtls.ErrLost
		close(s.gone)
	}, xtls.ErrLost, false, traffic{}},
	{"peer gone in order after its end", func(s *splicing) {
		_ = s.far.Close()
		<-s.fakeLocal.ended
		close(s.gone)
	}, nil, false, traffic{}},
	{"close fails", func(s *splicing) {
		s.closeErr = errTest
		_ = s.in.Close()
		_, _ = s.near.Read(make([]byte, 1))
		_ = s.far.Close()
	}, errTest, false, traffic{}},
}

func TestSplice(t *testing.T) {
	for _, tt := range spliceTests {
		t.Run(tt.name, func(t *testing.T) {
			s := startSplice()
			tt.play(s)
			<-s.done
			var local *localError
			if !errors.Is(s.err, tt.want) || errors.As(s.err, &local) != tt.local {
				t.Errorf("got %v, want %v (local: %v)", s.err, tt.want, tt.local)
			}
			if s.n != tt.n {
				t.Errorf("traffic %+v, want %+v", s.n, tt.n)
			}
			<-s.fakeTunnel.closed
			if polite := tt.want == nil || s.closeErr != nil; s.aborted == polite {
				t.Errorf("aborted: %v, after %v", s.aborted, s.err)
			}
			if !s.stopped {
				t.Error("the local side was not stopped")
			}
		})
	}
}

// Two tunnels after each other share standard input: nothing is lost between.
func TestStdio(t *testing.T) {
	r, w := io.Pipe()
	var out closeable
	std := newStdio(streams{in: r, out: &out})
	first, second := std.end(false), std.end(true)
	go func() { _, _ = io.WriteString(w, "onetwo"); _ = w.Close() }()
	got := make([]byte, 3)
	if _, err := io.ReadFull(first.in, got); err != nil || string(got) != "one" {
		t.Fatalf("got %q, %v", got, err)
	}
	first.stop()
	first.stop() // twice does no harm
	rest, err := io.ReadAll(second.in)
	if err != nil || string(rest) != "two" {
		t.Fatalf("got %q, %v", rest, err)
	}
	if _, err := io.WriteString(second.out, strings.Repeat("x", 10)); err != nil || out.Len() != 10 {
		t.Fatalf("%v, %d octets", err, out.Len())
	}
	// Only the last tunnel closes output, so that its reader sees the end.
	if err := first.endOut(); err != nil || out.closed {
		t.Errorf("after a tunnel that is not the last: %v, closed %v", err, out.closed)
	}
	if err := second.endOut(); err != nil || !out.closed {
		t.Errorf("after the last tunnel: %v, closed %v", err, out.closed)
	}
	std.close()
}

type closeable struct {
	bytes.Buffer
	closed bool
}

func (c *closeable) Close() error {
	c.closed = true
	return nil
}

// Neither a silent input nor an output that nobody reads can keep a tunnel alive.
func TestStdioStopped(t *testing.T) {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	std := newStdio(streams{in: inR, out: outW})
	end := std.end(true)
	read, wrote := make(chan error), make(chan error)
	go func() { _, err := end.in.Read(make([]byte, 1)); read <- err }()
	go func() { _, err := end.out.Write([]byte("x")); wrote <- err }()
	end.stop()
	for name, c := range map[string]chan error{"read": read, "write": wrote} {
		if err := <-c; !errors.Is(err, errStopped) {
			t.Errorf("%s: %v", name, err)
		}
	}
	std.close()
	_ = inW.Close()
	_ = outR.Close()
}
