// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package mux

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// Every rule of the format, broken once: the session ends and says which it was.
func TestRules(t *testing.T) {
	update := func(consumed, window byte) []byte { return []byte{consumed, 0, 0, 0, 0, 0, window, 0} }
	for _, tt := range []struct {
		name string
		send func(p *rawPeer)
		want string // in the error; "" means that it is no violation
	}{
		{"nothing wrong", func(p *rawPeer) {
			_ = p.send(cmdOpen, 3)
			_ = p.send(cmdNone, 0)
			_ = p.send(cmdData, 3, 'x')
			_ = p.send(cmdData, 3)
			_ = p.send(cmdUpdate, 3, update(0, 1)...)
			_ = p.send(cmdFinish, 3)
			_ = p.send(cmdFinish, 3) // smux does so
			_ = p.send(cmdStop, 3)
			_ = p.send(cmdReset, 3)
		}, ""},
		{"version", func(p *rawPeer) { _, _ = p.conn.Write([]byte{1, 0, 0, 0, 3, 0, 0, 0}) }, "version 1"},
		{"unknown command", func(p *rawPeer) { _ = p.send(cmdReset+1, 3) }, "unknown frame of type 7"},
		{"open with payload", func(p *rawPeer) { _ = p.send(cmdOpen, 3, 0) }, "1 octets in a frame of type 0"},
		{"update too short", func(p *rawPeer) { _ = p.send(cmdUpdate, 3, 0, 0, 0, 0) }, "4 octets in a frame of type 4"},
		{"the other side's number", func(p *rawPeer) { _ = p.send(cmdOpen, 2) }, "stream 2 was opened out of order"},
		{"number one", func(p *rawPeer) { _ = p.send(cmdOpen, 1) }, "stream 1 was opened out of order"},
		{"opened twice", func(p *rawPeer) {
			_ = p.send(cmdOpen, 5)
			_ = p.send(cmdOpen, 5)
		}, "stream 5 was opened out of order"},
		{"opened backwards", func(p *rawPeer) {
			_ = p.send(cmdOpen, 5)
			_ = p.send(cmdOpen, 3)
		}, "stream 3 was opened out of order"},
		{"data of a stream never opened", func(p *rawPeer) { _ = p.send(cmdData, 3, 'x') }, "stream 3 was never opened"},
		{"end of a stream never opened by us", func(p *rawPeer) { _ = p.send(cmdFinish, 2) }, "stream 2 was never opened"},
		{"number zero", func(p *rawPeer) { _ = p.send(cmdData, 0, 'x') }, "stream 0 was never opened"},
		{"data after the end", func(p *rawPeer) {
			_ = p.send(cmdOpen, 3)
			_ = p.send(cmdFinish, 3)
			_ = p.send(cmdData, 3, 'x')
		}, "data after the end of stream 3"},
		{"data after a reset", func(p *rawPeer) {
			_ = p.send(cmdOpen, 3)
			_ = p.send(cmdReset, 3)
			_ = p.send(cmdData, 3, 'x')
		}, "data after the end of stream 3"},
		{"more read than sent", func(p *rawPeer) {
			_ = p.send(cmdOpen, 3)
			_ = p.send(cmdUpdate, 3, update(1, 1)...)
		}, "more was read than was sent"},
		{"absurd window", func(p *rawPeer) {
			_ = p.send(cmdOpen, 3)
			_ = p.send(cmdUpdate, 3, 0, 0, 0, 0, 1, 0, 0, 0x40)
		}, "a window of 1073741825 octets"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newRawPeer(t)
			p.discard()
			tt.send(p)
			if tt.want == "" {
				_ = p.conn.Close()
				if err := p.ends(); err != io.EOF {
					t.Errorf("Err = %v", err)
				}
				return
			}
			if err := p.ends(); !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Err = %v, want %q", err, tt.want)
			}
		})
	}
}

// One octet over the window ends the session; the window itself does not.
func TestWindowBound(t *testing.T) {
	p := newRawPeer(t)
	p.discard()
	_ = p.send(cmdOpen, 3)
	piece := make([]byte, 1<<14)
	for range initialWindow / len(piece) {
		if err := p.send(cmdData, 3, piece...); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.send(cmdNone, 0); err != nil {
		t.Fatalf("the whole window: %v", err)
	}
	_ = p.send(cmdData, 3, 'x')
	if err := p.ends(); !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), "1 octets beyond the window") {
		t.Errorf("one over: %v", err)
	}
}

// Data of a stream that this end has closed is thrown away, however much it is, and
// the peer was told.
func TestDataAfterClose(t *testing.T) {
	p := newRawPeer(t)
	_ = p.send(cmdOpen, 3)
	st, err := p.s.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = st.Close()
	want := map[command]bool{cmdStop: true, cmdFinish: true}
	for len(want) > 0 {
		h, _ := p.recv()
		if !want[h.cmd] || h.id != 3 {
			t.Fatalf("got %+v", h)
		}
		delete(want, h.cmd)
	}
	p.discard()
	for range 40 {
		if err := p.send(cmdData, 3, make([]byte, 1<<14)...); err != nil {
			t.Fatal(err)
		}
	}
	p.s.mu.Lock()
	held := len(st.in.ring)
	p.s.mu.Unlock()
	if held != 0 {
		t.Errorf("%d octets are held for nobody", held)
	}
}

// One stream over the bound is refused, and the others live on; who does not listen
// to refusals is cut off.
func TestStreamBound(t *testing.T) {
	p := newRawPeer(t)
	id := uint32(1)
	open := func() error {
		id += 2
		return p.send(cmdOpen, id)
	}
	for range maxStreams + 1 {
		if err := open(); err != nil {
			t.Fatal(err)
		}
	}
	over := id
	for _, want := range []command{cmdStop, cmdReset} {
		if h, _ := p.recv(); h.cmd != want || h.id != over {
			t.Fatalf("got %+v, want type %d of stream %d", h, want, over)
		}
	}
	if err := p.send(cmdData, over, 'x'); err != nil { // it was on its way
		t.Fatal(err)
	}
	// Nobody reads the refusals now; what waits is at most one batch and maxRefusals.
	for range fullBatch/(2*headerSize) + maxRefusals + 1 {
		if open() != nil {
			break
		}
	}
	if err := p.ends(); !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), "does not hear") {
		t.Errorf("Err = %v", err)
	}
	accepted := 0
	for ; ; accepted++ {
		if _, err := p.s.Accept(t.Context()); err != nil {
			break
		}
	}
	if accepted != maxStreams {
		t.Errorf("%d streams were accepted, want %d", accepted, maxStreams)
	}
}

// The opener of a refused stream learns it.
func TestRefused(t *testing.T) {
	client, server := pair(t)
	server.mu.Lock()
	server.accepted = maxStreams
	server.mu.Unlock()
	st, err := client.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = st.Read(make([]byte, 1))
	cutMeansCut(t, err)
	if !errors.Is(err, ErrReset) {
		t.Errorf("Read = %v", err)
	}
	if _, err := st.Write([]byte("x")); !errors.Is(err, ErrReset) {
		t.Errorf("Write = %v", err)
	}
}

// A window grows while the reader keeps up, to its bound and to that of the session;
// one whose reader lags does not.
func TestWindowGrows(t *testing.T) {
	client, server := pair(t)
	_, lazy := streams(t, client, server)
	var eager []*Stream
	for range maxGrowth/(maxWindow-initialWindow) + 2 {
		_, peer := streams(t, client, server)
		eager = append(eager, peer)
	}
	server.mu.Lock()
	defer server.mu.Unlock()
	for _, st := range eager {
		for range 10 {
			lazy.in.size = 1 // there is always more
			lazy.consumedLocked(lazy.window)
			st.consumedLocked(st.window)
		}
	}
	lazy.in.size = 0
	if lazy.window != initialWindow {
		t.Errorf("the window of a slow reader is %d", lazy.window)
	}
	if eager[0].window != maxWindow {
		t.Errorf("the window of a fast reader is %d", eager[0].window)
	}
	sum := 0
	for _, st := range eager {
		sum += st.window - initialWindow
	}
	if sum != maxGrowth || server.grown != sum {
		t.Errorf("windows grew by %d, counted %d, want %d", sum, server.grown, maxGrowth)
	}
	eager[0].ended, eager[0].finished = true, true
	server.settleLocked(eager[0])
	if server.grown != maxGrowth-(maxWindow-initialWindow) {
		t.Errorf("%d is left after the stream has ended", server.grown)
	}
}

// FuzzServer feeds a session with whatever. It must not panic, hang, or hold more
// than it may.
func FuzzServer(f *testing.F) {
	open := appendHeader(nil, cmdOpen, 0, 3)
	f.Add([]byte{})
	f.Add(append(append(open, appendHeader(nil, cmdData, 3, 3)...), "abc"...))
	f.Add(appendHeader(append(open, appendUpdate(nil, 3, 0, 1<<20)...), cmdFinish, 0, 3))
	f.Add(appendHeader(appendHeader(open, cmdStop, 0, 3), cmdReset, 0, 3))
	f.Add(appendHeader(nil, cmdData, 65535, 2))
	f.Fuzz(func(t *testing.T, octets []byte) {
		a, b := net.Pipe()
		s := Server(b)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				st, err := s.Accept(ctx)
				if err != nil {
					return
				}
				_, _ = st.Write([]byte("answer"))
				_ = st.SetReadDeadline(time.Now().Add(time.Millisecond))
				_, _ = io.Copy(io.Discard, st)
				_ = st.Close()
			}
		}()
		go func() { _, _ = io.Copy(io.Discard, a) }()
		_, _ = a.Write(octets)
		_ = a.Close()
		select {
		case <-s.Done():
		case <-ctx.Done():
			t.Error("it hangs")
		}
		_ = s.Close()
		<-done
		held := 0
		for _, st := range s.streams {
			held += len(st.in.ring)
		}
		if held > 2*max(len(octets), leastBuffer)*max(1, len(s.streams)) || len(s.streams) > maxStreams {
			t.Errorf("%d octets, %d streams are held", held, len(s.streams))
		}
	})
}
