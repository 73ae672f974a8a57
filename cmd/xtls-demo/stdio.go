// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"errors"
	"io"
	"sync"
)

// errStopped is what a read or write returns that was stopped from this side.
var errStopped = errors.New("stopped")

// A stdio joins standard input and output with one tunnel after the other. A Read
// or Write of a terminal, pipe or file cannot be interrupted in general, so both
// run in goroutines that are left behind if they are stuck when the program ends.
type stdio struct {
	in     io.Reader
	out    io.Writer
	start  sync.Once
	blocks chan block
	quit   chan struct{} // closed when the program ends

	rest []byte // read, not yet taken; of the one tunnel of the moment
	err  error  // how input has ended
}

// A block is a piece of input.
type block struct {
	data []byte
	err  error
}

func newStdio(std streams) *stdio {
	return &stdio{in: std.in, out: std.out, blocks: make(chan block), quit: make(chan struct{})}
}

// close ends the reading of input, unless it is stuck.
func (s *stdio) close() { close(s.quit) }

// end returns standard input and output for one tunnel. last means that there will
// be no other: output is then closed after the last octet, so that whoever reads
// it sees the end while the other direction goes on.
func (s *stdio) end(last bool) localEnd {
	stopped := make(chan struct{})
	c := &stdioEnd{s, stopped}
	return localEnd{
		in: c, out: c,
		endOut: func() error {
			if closer, ok := s.out.(io.Closer); ok && last {
				return closer.Close()
			}
			return nil
		},
		stop: sync.OnceFunc(func() { close(stopped) }),
	}
}

// A stdioEnd is standard input and output as one tunnel sees them.
type stdioEnd struct {
	s       *stdio
	stopped chan struct{}
}

// Read reads standard input.
func (e *stdioEnd) Read(p []byte) (int, error) {
	s := e.s
	s.start.Do(func() { go s.pump() })
	if len(s.rest) == 0 && s.err == nil {
		select {
		case b := <-s.blocks:
			s.rest, s.err = b.data, b.err
		case <-e.stopped:
			return 0, errStopped
		}
	}
	if len(s.rest) == 0 {
		return 0, s.err
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// pump reads input ahead by one block. There are two buffers: while one is being
// taken, the other one is filled.
func (s *stdio) pump() {
	var buffers [2][pumpBuffer]byte
	for i := 0; ; i = 1 - i {
		n, err := s.in.Read(buffers[i][:])
		select {
		case s.blocks <- block{buffers[i][:n], err}:
		case <-s.quit:
			return
		}
		if err != nil {
			return
		}
	}
}

// Write writes standard output. p must not be used again after an error.
func (e *stdioEnd) Write(p []byte) (int, error) {
	type outcome struct {
		n   int
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		n, err := e.s.out.Write(p)
		done <- outcome{n, err}
	}()
	select {
	case o := <-done:
		return o.n, o.err
	case <-e.stopped:
		return 0, errStopped
	}
}
