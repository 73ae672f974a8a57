// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/jingle"
)

// A Conn is an established tunnel: a net.Conn whose octets only the two ends can
// read. Its methods may be called concurrently, like those of a tls.Conn.
//
// Read returns io.EOF only where the peer said that it is the end; if the tunnel
// is cut before, the error is io.ErrUnexpectedEOF and [ErrLost]. Data that a
// server altered is [ErrTampered]. After a Read deadline has passed, reading goes
// on; after a Write deadline has passed, the tunnel cannot be written any more,
// because a record may have left in part.
type Conn struct {
	t        *tunnel
	xml      streams // of XML, if it carries one
	closed   atomic.Bool
	tampered atomic.Bool // what arrived was not what the peer sent
}

var _ net.Conn = (*Conn)(nil)

// State describes the tunnel. Its level may rise, by [Conn.Verify].
func (c *Conn) State() State { return c.t.State() }

// Read reads what the peer sent.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.t.tls.Read(p)
	if err == io.EOF { //nolint:errorlint // as in ioError
		c.t.carrier.exhausted()
	}
	return n, c.ioError("read", err)
}

// Write sends p. It returns when the octets are on their way, at the latest when
// the transport takes more, not when the peer has read them. Once the peer has ended
// the tunnel the error is [ErrLost].
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.t.tls.Write(p)
	return n, c.ioError("write", err)
}

// CloseWrite tells the peer that nothing more will come: it reads io.EOF. Reading
// goes on. If the peer has ended the tunnel there is nobody to be told, which is no error.
func (c *Conn) CloseWrite() error {
	err := c.ioError("close", c.t.tls.CloseWrite())
	if err != nil && !c.closed.Load() && errors.Is(context.Cause(c.t.ctx), errPeerDone) {
		return nil
	}
	return err
}

// Close says goodbye, waits for what was written to leave, and ends the Jingle session.
// That takes some seconds at most, in-band 30 if nothing is answered, and a minute if the
// peer goes on taking what was written; Abort ends the waiting. An XML stream is closed
// before, and its end awaited. Close unblocks Read and Write. The second Close returns
// net.ErrClosed. An error means that something written did not arrive; through a relay, a
// peer that reads nothing for 5 seconds may miss the end without one, and learns it by its
// own error.
func (c *Conn) Close() error { return c.close(jingle.ReasonSuccess) }

// close is Close; the peer is told the reason.
func (c *Conn) close(r jingle.Reason) error {
	c.xml.goodbye()
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	c.t.cancel(net.ErrClosed)
	if c.tampered.Load() {
		c.t.carrier.Abort(ErrTampered) // nothing is worth waiting for; the session's end tells the peer
	}
	_ = c.t.tls.Close() // close_notify, then the carrier
	c.xml.join()
	c.t.terminate(c.endReason(r))
	<-c.t.received
	c.t.tasks.Wait()
	c.t.client.forget(c)
	if err := c.t.carrier.closeError(); err != nil {
		return opError("close", c.t.state.Peer, lost(err))
	}
	return nil // a close_notify that the peer does not want any more is no loss
}

// Abort ends the tunnel without a goodbye: what the peer reads then is not io.EOF
// but [ErrLost]. It is for an application that cannot send what it promised.
// Close is not needed after it. While Close waits, Abort has it return.
func (c *Conn) Abort() {
	if c.closed.Swap(true) {
		c.t.carrier.Abort(errGivenUp)
		return
	}
	c.t.hangUp(net.ErrClosed)
	c.xml.abort()
	_ = c.t.carrier.Close()
	c.xml.join()
	c.t.terminate(c.endReason(jingle.ReasonFailedApplication))
	<-c.t.received
	c.t.tasks.Wait()
	c.t.client.forget(c)
}

// endReason is what the peer is told at the end instead of r. Whoever has found that
// something was changed sends an alert, but the end of the session may overtake it.
func (c *Conn) endReason(r jingle.Reason) jingle.Reason {
	if c.tampered.Load() {
		return jingle.ReasonSecurityError
	}
	return r
}

// Done is closed when nothing more comes from the peer, because it ended the
// tunnel, or because the tunnel was lost. What came before can still be read.
func (c *Conn) Done() <-chan struct{} { return c.t.ctx.Done() }

// Err says why Done is closed: nil if the peer ended the tunnel in order, or while
// Done is open; net.ErrClosed if it was this end; else an error, such as
// [ErrLost]. Whether everything was received only Read can tell.
func (c *Conn) Err() error {
	if c.t.ctx.Err() == nil {
		return nil
	}
	cause := context.Cause(c.t.ctx)
	if errors.Is(cause, errPeerDone) {
		return nil
	}
	return opError("read", c.t.state.Peer, cause)
}

// LocalAddr returns the own full JID as a net.Addr.
func (c *Conn) LocalAddr() net.Addr { return Addr{c.t.client.LocalAddr()} }

// RemoteAddr returns the peer's full JID as a net.Addr.
func (c *Conn) RemoteAddr() net.Addr { return Addr{c.t.state.Peer} }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error { return c.t.tls.SetDeadline(t) }

// SetReadDeadline sets the deadline of Read; zero means none.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.t.tls.SetReadDeadline(t) }

// SetWriteDeadline sets the deadline of Write; zero means none.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.t.tls.SetWriteDeadline(t) }

// ioError maps what crypto/tls and the carrier report to what callers test for.
func (c *Conn) ioError(op string, err error) error {
	var alert *net.OpError
	switch {
	case err == nil, err == io.EOF: //nolint:errorlint // exactly io.EOF is the authenticated end
		return err
	case c.closed.Load():
		err = net.ErrClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
	case errors.As(err, &alert) && (alert.Op == "local error" || alert.Op == "remote error"):
		c.tampered.Store(true)
		err = fmt.Errorf("%w (%v)", ErrTampered, alert.Err)
	case isAlarm(err):
	default:
		cause := c.t.awaitCause()
		if isAlarm(cause) {
			err = cause
			break
		}
		if errors.Is(cause, ErrLost) && !errors.Is(cause, errPeerDone) {
			err = cause // it says more than that the carrier has ended
		}
		if err = lost(err); op == "read" {
			err = fmt.Errorf("%w: %w", err, io.ErrUnexpectedEOF)
		}
	}
	return opError(op, c.t.state.Peer, err)
}

// reasonTime is how long the end of the session may come after that of its carrier.
const reasonTime = 2 * time.Second

// awaitCause returns why the session has ended, nil if it has not: on a direct path the
// reason takes longer than the end of the carrier.
func (t *tunnel) awaitCause() error {
	timer := time.NewTimer(reasonTime)
	defer timer.Stop()
	select {
	case <-t.ctx.Done():
	case <-timer.C:
	}
	return context.Cause(t.ctx)
}

func lost(err error) error {
	if errors.Is(err, ErrLost) {
		return err
	}
	return fmt.Errorf("%w: %v", ErrLost, err) // whatever it was, it is no time-out now, and no refusal
}

// An Addr is a JID as a [net.Addr].
type Addr struct{ JID jid.JID }

// Network returns "xmpp".
func (a Addr) Network() string { return "xmpp" }

// String returns the JID.
func (a Addr) String() string { return a.JID.String() }

var (
	_ net.Error = (*OpError)(nil)
	_ net.Addr  = Addr{}
)
