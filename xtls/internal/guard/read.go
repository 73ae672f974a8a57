// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package guard

import (
	"errors"
	"net"
)

const (
	// readSize is how much is read at once: a TLS record.
	readSize = 16 << 10
	// MaxIntercept bounds a stanza that an Interceptor can take, in octets. The largest
	// block of XEP-0047 is 87,380 in base64.
	MaxIntercept = 96 << 10
)

// An Interceptor takes stanzas off the stream before the session library sees them.
type Interceptor interface {
	// Intercept is called with what has arrived from the point on where a stanza may
	// begin; everything before it has been read. It returns how many octets it takes, a
	// whole stanza, or 0 to leave it to the reader. more says that it cannot tell yet:
	// it is called again with more octets, unless there are none or p has MaxIntercept
	// already. It runs on the goroutine that reads and must not keep p.
	Intercept(p []byte) (taken int, more bool)
}

// An inbox is what came in: buf[next:checked] may be read, buf[checked:end] was not
// looked at yet.
type inbox struct {
	buf                []byte
	next, checked, end int
	lean               Interceptor // nil for none

	scan     Scanner // of the stream on which stanzas arrive, none before
	counting bool    // count stanzas rather than octets before login
	preAuth  int
	err      error // returned once buf is empty
}

// startStream makes the next octet the first of a stream.
func (in *inbox) startStream() {
	in.counting = true
	in.scan = Scanner{MaxStanza: MaxStanza, MaxHeader: MaxStanza, MaxDepth: MaxDepth}
	in.checked = in.next
}

// Intercept lets i take stanzas from now on. It must be called by the reader, or
// before it reads on.
func (g *Conn) Intercept(i Interceptor) { g.in.lean = i }

// Read reads and checks. After a violation the connection is closed and every
// Read returns the violation.
func (g *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := g.advance(); err != nil {
		return 0, err
	}
	n := copy(p, g.in.buf[g.in.next:g.in.checked])
	g.in.next += n
	return n, nil
}

// ReadByte is Read of one octet. A decoder that finds it keeps no buffer of its own
// (encoding/xml), so that whatever follows a stanza is still here when the stanza has
// been read.
func (g *Conn) ReadByte() (byte, error) {
	if g.in.next == g.in.checked {
		if err := g.advance(); err != nil {
			return 0, err
		}
	}
	b := g.in.buf[g.in.next]
	g.in.next++
	return b, nil
}

// advance returns once there is something to be read, at most to the end of a stanza.
func (g *Conn) advance() error {
	in := &g.in
	for in.next == in.checked {
		if in.next == in.end {
			if err := g.fill(); err != nil {
				return err
			}
			continue
		}
		if in.lean != nil && in.scan.ended() {
			taken, more := in.lean.Intercept(in.buf[in.next:in.end])
			in.next += taken
			in.checked = in.next
			if taken > 0 || more && in.end-in.next < MaxIntercept && g.fill() == nil {
				continue
			}
		}
		n, err := in.check(in.buf[in.next:in.end])
		if err != nil {
			in.err, in.end = err, in.next
			g.fail(err)
			return err
		}
		in.checked += n
	}
	return nil
}

// check looks at octets and returns how many of them may be read.
func (in *inbox) check(p []byte) (int, error) {
	if in.counting {
		return in.scan.stanza(p)
	}
	if in.preAuth += len(p); in.preAuth > maxPreAuth {
		return 0, ErrPreAuth
	}
	return len(p), nil
}

// fill reads more into the buffer. It is only called where nothing is left that was
// checked.
func (g *Conn) fill() error {
	in := &g.in
	if in.err != nil {
		return in.err
	}
	kept := copy(in.buf, in.buf[in.next:in.end])
	in.next, in.checked, in.end = 0, 0, kept
	switch {
	case in.buf == nil:
		in.buf = make([]byte, readSize)
	case kept == len(in.buf):
		in.buf = append(in.buf, make([]byte, MaxIntercept-kept)...)
	}
	n, err := g.Conn.Read(in.buf[in.end:])
	in.end += n
	if n > 0 {
		err = nil // it comes again
	}
	var timeout net.Error
	if err != nil && !(errors.As(err, &timeout) && timeout.Timeout()) { // a deadline may be moved
		in.err = err
	}
	return err
}
