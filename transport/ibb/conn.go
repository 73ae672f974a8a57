// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/transport"
)

const (
	// closeLinger bounds how long Close waits while nothing of what was written is on its way, since
	// the peer has no room for it, and for the answer to <close/>.
	closeLinger = 5 * time.Second

	// closeAnswer bounds how long it waits for the next answer to a block: under a server's limit on
	// all that an account sends it may take as long as any answer ([transport.Stanzas]).
	closeAnswer = 30 * time.Second

	// closeMost bounds it altogether: a peer that acknowledges a block now and then is not waited for
	// for ever.
	closeMost = time.Minute
)

// An Addr is one end of a stream.
type Addr struct {
	// JID is the full JID of the end.
	JID jid.JID

	// SID is the stream's id, chosen by the initiator, the same at both ends.
	SID string
}

// Network returns "xmpp-ibb".
func (Addr) Network() string { return "xmpp-ibb" }

// String returns the JID and the stream's id, for people.
func (a Addr) String() string { return a.JID.String() + " sid " + a.SID }

var (
	_ transport.Conn = (*Conn)(nil)
	_ net.Addr       = Addr{}
)

// A Conn is one in-band bytestream. It implements [net.Conn]; its methods may be called
// concurrently. [Transport.Connect] makes it.
//
// In the stream mode it moves octets; how they are cut into blocks is not kept. In the message
// mode one Write is one block is one Read.
type Conn struct {
	t         *Transport
	peer      jid.JID
	sid       string
	initiator bool
	messages  bool
	born      time.Time // what the controller's time counts from

	// The block-size and whether credit is used are fixed when the peer has answered; the
	// stream takes no data before.
	blockSize int
	credit    bool

	// writeMu lets one Write at a time in, so that their octets do not mix. It is held while
	// waiting for room; mu is not.
	writeMu sync.Mutex

	// mu guards everything below. It is never held while a stanza is handed over or answered.
	mu       sync.Mutex
	readable sync.Cond // something to read, or the end
	writable sync.Cond // room to write, or the end
	work     sync.Cond // something to do for run

	opened     bool                    // data are taken: <open/> was sent, or answered
	ready      chan struct{}           // closed when opened
	failed     context.CancelCauseFunc // ends Connect, nil when it is done
	closed     bool                    // Close was called
	cutShort   bool                    // nothing is waited for any more
	linger     *time.Timer             // of Close, which ends its patience; nil before
	progress   time.Duration           // since born: when a block was answered last, or Close was called
	lingerMost time.Duration           // since born: when progress does not prolong linger any more
	err        error                   // why the stream ended, nil while it lives or if Close ended it
	tell       bool                    // after err: the peer is to get <close/>

	readDeadline, writeDeadline deadline

	in       receiver
	out      sender
	refusal  error    // the last answer of type wait
	patience patience // with refusals
	update   creditUpdate

	done chan struct{} // closed when run returned
}

// BlockSize is how many octets one block carries at most, in both directions. In the message
// mode it is the longest message.
func (c *Conn) BlockSize() int { return c.blockSize }

// Path returns [transport.InBand].
func (c *Conn) Path() transport.Path { return transport.InBand }

// LocalAddr returns the own [Addr].
func (c *Conn) LocalAddr() net.Addr { return Addr{JID: c.t.stanzas.LocalAddr(), SID: c.sid} }

// RemoteAddr returns the peer's [Addr].
func (c *Conn) RemoteAddr() net.Addr { return Addr{JID: c.peer, SID: c.sid} }

// Read reads what the peer sent, in the stream mode as much as there is, in the message mode
// one message. A message longer than b stays and the error is io.ErrShortBuffer.
//
// When the stream has ended Read first returns what came in order before, and then the reason:
// [transport.ErrClosedByPeer], a [*ProtocolError], a [*RefusedError], one that wraps
// [ErrSessionEnded], or another; never io.EOF. After Close it is net.ErrClosed at once, after
// the read deadline os.ErrDeadlineExceeded.
func (c *Conn) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, net.ErrClosed
		case c.readDeadline.expired:
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0 && !c.messages:
			return 0, nil
		case !c.in.empty():
			n, err := c.in.read(b)
			if c.creditDueLocked() {
				c.work.Broadcast()
			}
			return n, err
		case c.err != nil:
			return 0, c.err
		}
		c.readable.Wait()
	}
}

// Write hands b over to be sent and returns when all of it is in the send buffer, not when the
// peer has it. It blocks while the buffer is full; at the write deadline it returns how much
// was taken, and the connection stays usable. In the message mode b is taken whole or not at
// all, and one longer than [Conn.BlockSize] is [ErrMessageTooLong]. Writing nothing sends
// nothing: there are no empty messages.
//
// The error after the end is as for Read.
func (c *Conn) Write(b []byte) (int, error) {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.messages && len(b) > c.blockSize {
		return 0, fmt.Errorf("%w: %d octets, block-size is %d", ErrMessageTooLong, len(b), c.blockSize)
	}
	urgent := len(b) <= spare && c.writeDeadline.timer != nil
	for n := 0; ; {
		switch {
		case c.closed:
			return n, net.ErrClosed
		case c.writeDeadline.expired:
			return n, os.ErrDeadlineExceeded
		case c.err != nil:
			return n, c.err
		case n == len(b):
			return n, nil
		}
		if k := c.out.write(b[n:], urgent); k > 0 {
			n += k
			c.work.Broadcast()
			if n == len(b) {
				return n, nil
			}
			continue
		}
		c.writable.Wait()
	}
}

// Close ends the stream. Reads and Writes return net.ErrClosed at once. Close then sends what
// Write accepted, tells the peer, and waits for its answer (XEP-0047 §2.3): for at most 5
// seconds if nothing is on its way or only that, 30 for the answer to a block, and about a minute
// altogether. The deadlines do not matter to it: crypto/tls sets one in the past before it closes
// what it runs on, and still wants its close_notify to arrive. Meanwhile what still comes is
// acknowledged and thrown away, so that a peer that closes too gets its own data out of the way.
//
// The error tells how many octets that Write accepted were not acknowledged, and wraps why:
// os.ErrDeadlineExceeded, or how the stream ended. If the peer closed first nothing can follow
// its close: it is answered at once, because a handler cannot hold the answer back. The second
// Close returns net.ErrClosed. [Conn.Abort] ends the waiting.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return net.ErrClosed
	}
	c.closed = true
	c.in.close()
	c.progress = c.now()
	c.lingerMost = c.progress + closeMost
	c.linger = time.AfterFunc(closeLinger, c.lingered)
	c.wakeLocked()
	c.mu.Unlock()

	<-c.done

	c.mu.Lock()
	defer c.mu.Unlock()
	c.linger.Stop()
	c.readDeadline.stopLocked()
	c.writeDeadline.stopLocked()
	lost := c.out.pending()
	c.out = sender{}
	if lost == 0 {
		return nil
	}
	why := c.err
	if why == nil {
		why = os.ErrDeadlineExceeded
	}
	return fmt.Errorf("ibb: close: %d octets not acknowledged: %w", lost, why)
}

// Abort ends the stream because of err without flushing it or telling the peer. What came in
// order before can still be read. It implements [transport.Conn].
func (c *Conn) Abort(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failLocked(err, false)
	c.cutShort = true
	c.wakeLocked()
}

// SetDeadline sets both deadlines. The zero time means none.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadline(t, true, true) }

// SetReadDeadline sets the deadline of Read.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(t, true, false) }

// SetWriteDeadline sets the deadline of Write.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(t, false, true) }

func (c *Conn) setDeadline(t time.Time, read, write bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.done:
		if c.closed {
			return net.ErrClosed
		}
	default:
	}
	if read {
		c.readDeadline.setLocked(&c.mu, t, c.wakeLocked)
	}
	if write {
		c.writeDeadline.setLocked(&c.mu, t, c.wakeLocked)
	}
	return nil
}

// wakeLocked lets everybody who waits look again.
func (c *Conn) wakeLocked() {
	c.readable.Broadcast()
	c.writable.Broadcast()
	c.work.Broadcast()
}

// lingered ends the flush if it has made no progress for too long.
func (c *Conn) lingered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait := closeLinger
	if c.out.awaiting() {
		wait = closeAnswer
	}
	left := min(c.progress+wait, c.lingerMost) - c.now()
	select {
	case <-c.done:
		return
	default:
	}
	if left > 0 {
		c.linger.Reset(min(left, closeLinger)) // then less may be on its way
		return
	}
	c.cutShort = true
	c.wakeLocked()
}

// stopWaiting ends the flush and the wait for the peer's answer to <close/>.
func (c *Conn) stopWaiting() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cutShort = true
	c.wakeLocked()
}

// failLocked ends the stream with err, unless it has ended. tell says whether the peer is to be
// told by <close/>.
func (c *Conn) failLocked(err error, tell bool) {
	if c.err != nil {
		return
	}
	c.err, c.tell = err, tell
	if c.failed != nil {
		c.failed(err)
	}
	c.t.logf("stream %s with %s ended: %v", c.sid, c.peer, err)
	c.wakeLocked()
}

// closeByPeer ends the stream because of a <close/>. It returns false if there is none to end.
func (c *Conn) closeByPeer() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.opened || c.err != nil {
		return false
	}
	c.failLocked(transport.ErrClosedByPeer, false)
	return true
}

// sessionEnded ends the stream because there is no XMPP session any more: nobody can be told.
func (c *Conn) sessionEnded(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failLocked(err, false)
	c.cutShort = true
	c.wakeLocked()
}
