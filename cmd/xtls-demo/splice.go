// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"context"
	"errors"
	"io"
)

// A tunnelEnd is what splice needs of an *xtls.Conn.
type tunnelEnd interface {
	io.ReadWriteCloser
	CloseWrite() error
	Abort()
	Done() <-chan struct{}
	Err() error
}

// A localEnd is what a tunnel is joined with on this side.
type localEnd struct {
	in     io.Reader
	out    io.Writer
	endOut func() error // called after the last octet: the half-close
	stop   func()       // unblocks in and out for good
}

// traffic counts the octets of one tunnel.
type traffic struct{ sent, received int64 }

// A flow is how one direction ended: well, or by an error of the local side or of
// the tunnel.
type flow struct {
	n             int64
	local, tunnel error
}

// A localError is one of the local side of a tunnel.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

// splice moves octets both ways until both directions have ended, and closes the
// tunnel. The end of one direction is passed on and leaves the other one running.
// It returns nil only if the peer said that it has sent everything, and got
// everything that there was to send. After an error the peer learns that this end
// broke off.
func splice(ctx context.Context, t tunnelEnd, l localEnd) (traffic, error) {
	ups, downs := make(chan flow, 1), make(chan flow, 1)
	go func() { ups <- outward(t, l) }()
	go func() { downs <- inward(t, l) }()
	var up, down *flow
	var err error
	gone := false
	for err == nil && !gone && (up == nil || down == nil) {
		// Reading ends by itself when the peer is gone, and with more to say. After that
		// there is nobody left to write to, even if there is nothing to write now.
		var done <-chan struct{}
		if down != nil {
			done = t.Done()
		}
		select {
		case f := <-ups:
			// If the tunnel takes nothing more, there may still be something to read.
			up, err = &f, f.local
		case f := <-downs:
			down, err = &f, errors.Join(f.tunnel, f.local)
		case <-done:
			gone, err = true, t.Err()
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if gone && up == nil {
		select {
		case f := <-ups: // it has failed before
			up = &f
		default:
		}
	}
	if err == nil && up != nil {
		err = up.tunnel
	}
	if err == nil {
		stop := context.AfterFunc(ctx, t.Abort) // which Close may wait for
		err = t.Close()
		stop()
	} else {
		t.Abort()
	}
	l.stop()
	if up == nil {
		f := <-ups
		up = &f
	}
	if down == nil {
		f := <-downs
		down = &f
	}
	return traffic{sent: up.n, received: down.n}, err
}

// outward copies from the local side into the tunnel.
func outward(t tunnelEnd, l localEnd) flow {
	n, readErr, writeErr := pump(t, l.in)
	if readErr == nil && writeErr == nil {
		writeErr = t.CloseWrite()
	}
	return flow{n, asLocal(readErr), writeErr}
}

// inward copies from the tunnel to the local side.
func inward(t tunnelEnd, l localEnd) flow {
	n, readErr, writeErr := pump(l.out, t)
	if readErr == nil && writeErr == nil {
		writeErr = l.endOut()
	}
	return flow{n, asLocal(writeErr), readErr}
}

func asLocal(err error) error {
	if err == nil {
		return nil
	}
	return &localError{err}
}

// pumpBuffer is how many octets are moved at once: two full TLS records.
const pumpBuffer = 32 << 10

// pump copies until src ends and tells apart which side failed. io.EOF is no
// failure.
func pump(dst io.Writer, src io.Reader) (n int64, readErr, writeErr error) {
	buf := make([]byte, pumpBuffer)
	for {
		got, err := src.Read(buf)
		if got > 0 {
			put, werr := dst.Write(buf[:got])
			n += int64(put)
			if werr != nil {
				return n, nil, werr
			}
		}
		if errors.Is(err, io.EOF) {
			return n, nil, nil
		}
		if err != nil {
			return n, err, nil
		}
	}
}
