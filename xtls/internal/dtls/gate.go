// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package dtls

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// maxHandshake bounds what is taken of the peer before it is known, in octets of records.
// A handshake has about 2,000 with certificates of 500.
const maxHandshake = 64 << 10

var (
	errFlood    = fmt.Errorf("more than %d octets of handshake", maxHandshake)
	errOversize = fmt.Errorf("message of more than %d octets", maxDatagram)
	errMixed    = errors.New("old and new handshake records in one message")
	errEarly    = errors.New("something else than the end of the handshake")
)

// A gate is the carrier as pion sees it during the handshake. It lets pass what is due,
// and nothing after the one record of epoch 1 that holds the peer's Finished: what follows
// stays where it is, for the [Conn]. Once it is shut, pion is cut off from the carrier.
//
// pion cancels a Read or a Write by a deadline in the past, so the gate honours those.
type gate struct {
	carrier net.Conn
	onGroup func(tls.CurveID) // told of the curve of the key exchange
	buf     []byte            // owned by Read, like the next four
	order   order
	seq     uint64 // of the next record of epoch 0
	octets  int    // of what was let pass
	rest    []byte // what came in one datagram with the Finished, after it

	mu      sync.Mutex // guards what follows
	changed sync.Cond
	passed  bool  // the Finished went through
	expired bool  // the read deadline is in the past
	shut    bool  // pion is done
	err     error // what ended the handshake; pion hides it
}

func newGate(carrier net.Conn, server bool, inspect func(typ byte, body []byte) error, onGroup func(tls.CurveID)) *gate {
	g := &gate{
		carrier: carrier,
		onGroup: onGroup,
		buf:     make([]byte, maxDatagram+1),
		order:   order{fromClient: server, inspect: inspect},
	}
	g.changed.L = &g.mu
	return g
}

// Read returns the records of the next datagram that pion may see. When there can be no
// more it waits for its deadline, or until the gate is shut.
func (g *gate) Read(b []byte) (int, error) {
	for {
		if err := g.wait(); err != nil {
			return 0, err
		}
		n, err := g.carrier.Read(g.buf)
		switch {
		case isTimeout(err):
			return 0, err
		case errors.Is(err, io.ErrShortBuffer), err == nil && n > maxDatagram:
			err = localError(errOversize)
		}
		var out []byte
		if err == nil {
			out, err = g.filter(b[:0], g.buf[:n])
		}
		if err != nil {
			g.fail(err)
			return 0, err
		}
		if len(out) > 0 {
			return len(out), nil
		}
	}
}

// wait returns nil if the carrier may be read.
func (g *gate) wait() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		switch {
		case g.err != nil:
			return g.err
		case g.shut:
			return net.ErrClosed
		case g.expired:
			return os.ErrDeadlineExceeded
		case !g.passed:
			return nil
		}
		g.changed.Wait()
	}
}

// filter appends to out the records of a datagram that are due.
func (g *gate) filter(out, datagram []byte) ([]byte, error) {
	if g.octets += len(datagram); g.octets > maxHandshake {
		return nil, localError(errFlood)
	}
	repeated := false
	for len(datagram) > 0 {
		r, rest, err := nextRecord(datagram)
		if err != nil {
			return nil, localError(err)
		}
		datagram = rest
		fresh, err := g.check(r)
		if err != nil {
			return nil, localError(err)
		}
		if fresh {
			out = append(out, r.raw...)
		}
		if repeated = repeated || !fresh; repeated && len(out) > 0 {
			return nil, localError(errMixed) // a flight is sent again as a whole
		}
		if r.epoch > 0 {
			g.rest = append([]byte(nil), rest...)
			g.pass()
			break
		}
	}
	return out, nil
}

// check reports whether pion is to see r; an error ends the handshake.
func (g *gate) check(r record) (fresh bool, err error) {
	if r.epoch > 0 {
		if r.epoch > 1 || !g.order.ccs || r.typ != typeHandshake && r.typ != typeAlert {
			return false, errEarly
		}
		return true, nil
	}
	if r.seq != g.seq {
		return false, outOfOrder(r.seq, g.seq)
	}
	g.seq++
	switch r.typ {
	case typeHandshake:
		return g.order.take(r.body())
	case typeChangeCipherSpec:
		return g.order.changeCipherSpec(r.body())
	case typeAlert:
		return true, nil
	default:
		return false, fmt.Errorf("%w: record of type %d", errEarly, r.typ)
	}
}

func (g *gate) pass() {
	g.mu.Lock()
	g.passed = true
	g.mu.Unlock()
}

// fail ends the handshake.
func (g *gate) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = err
	}
	g.changed.Broadcast()
}

// failure is what ended the handshake here, nil if nothing did.
func (g *gate) failure() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// Write sends what pion has to say, until the gate is shut.
func (g *gate) Write(b []byte) (int, error) {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut {
		return len(b), nil // pion's goodbye: the connection goes on without it
	}
	g.lookForGroup(b)
	n, err := g.carrier.Write(b)
	if err != nil && !isTimeout(err) {
		g.fail(err)
	}
	return n, err
}

// lookForGroup finds the curve in the ServerKeyExchange that we send.
func (g *gate) lookForGroup(b []byte) {
	for len(b) > 0 {
		r, rest, err := nextRecord(b)
		if err != nil {
			return
		}
		if m := r.body(); r.epoch == 0 && r.typ == typeHandshake && len(m) > fragmentHeader &&
			m[0] == serverKeyExchange && uint24(m[6:]) == 0 {
			g.group(m[fragmentHeader:])
		}
		b = rest
	}
}

// group reads the beginning of a ServerKeyExchange (RFC 8422 §5.4).
func (g *gate) group(b []byte) {
	const namedCurve = 3
	if len(b) >= 3 && b[0] == namedCurve {
		g.onGroup(tls.CurveID(binary.BigEndian.Uint16(b[1:])))
	}
}

// Close cuts pion off from the carrier, which stays as it is.
func (g *gate) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
	g.changed.Broadcast()
	return nil
}

// LocalAddr is that of the carrier.
func (g *gate) LocalAddr() net.Addr { return g.carrier.LocalAddr() }

// RemoteAddr is that of the carrier.
func (g *gate) RemoteAddr() net.Addr { return g.carrier.RemoteAddr() }

// SetDeadline sets both deadlines.
func (g *gate) SetDeadline(t time.Time) error {
	return errors.Join(g.SetReadDeadline(t), g.SetWriteDeadline(t))
}

// SetReadDeadline takes a time in the past, which ends Read, or none.
func (g *gate) SetReadDeadline(t time.Time) error {
	g.mu.Lock()
	g.expired = !t.IsZero() && !t.After(time.Now())
	g.changed.Broadcast()
	g.mu.Unlock()
	return g.carrier.SetReadDeadline(t)
}

// SetWriteDeadline is that of the carrier.
func (g *gate) SetWriteDeadline(t time.Time) error { return g.carrier.SetWriteDeadline(t) }

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
