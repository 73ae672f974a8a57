// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"example.org/xtls/transport"
)

const (
	// closeLinger and lingerOctets bound how long, and for how much that still comes from the
	// peer, a closed socket is kept so that what was written can arrive: a socket that is closed
	// with unread data in it is reset, and the peer loses what is on its way to it.
	closeLinger  = 5 * time.Second
	lingerOctets = 16 << 20

	// maxArrears bounds what an aborted carrier keeps for its reader, in octets: more than the
	// receive buffer of any system by default.
	maxArrears = 8 << 20

	// notSent is how much the kernel may hold that was not sent, in octets, where it can be told:
	// enough to keep TCP going, and no more, for what is written next waits behind it.
	notSent = 128 << 10
)

// keepAlive finds out in about 30 seconds that the other end has gone while nothing is under way
// (RFC 9293 §3.8.4). While something is, Unheard does.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 4}

var past = time.Unix(1, 0)

// A carrier is a TCP connection after its SOCKS5 exchange. Read and Write go straight to it.
type carrier struct {
	t    *Transport
	tcp  *net.TCPConn
	path transport.Path

	// readMu lets one at a time read, so that Abort can take what has arrived.
	readMu  sync.Mutex
	arrears []byte // what Abort took, for Read

	mu     sync.Mutex // protects the fields below and the setting of deadlines
	closed bool       // Close was called
	half   bool       // CloseWrite was called
	err    error      // why the carrier ended, nil while it lives
}

var _ transport.Conn = (*carrier)(nil)

// newCarrier makes a carrier of a connected socket.
func (t *Transport) newCarrier(tcp *net.TCPConn, path transport.Path) (*carrier, error) {
	c := &carrier{t: t, tcp: tcp, path: path}
	// What the system refuses here costs speed, and the time until a dead path is noticed.
	_ = tcp.SetNoDelay(true)
	_ = tcp.SetKeepAliveConfig(keepAlive)
	limitNotSent(tcp)
	err := tcp.SetDeadline(time.Time{}) // of the negotiation
	if err == nil {
		err = t.register(c)
	}
	return c, err
}

func (c *carrier) Path() transport.Path { return c.path }
func (c *carrier) LocalAddr() net.Addr  { return c.tcp.LocalAddr() }
func (c *carrier) RemoteAddr() net.Addr { return c.tcp.RemoteAddr() }

// Unheard returns for how long the system at the other end of the connection has said nothing, not
// even that it is there (keepAlive), while something that was written is on its way: TCP itself would
// go on for a quarter of an hour. It is 0 while nothing is under way, while the peer only takes its
// time with reading, and where the system does not tell (all but Linux).
func (c *carrier) Unheard() time.Duration { return unheard(c.tcp) }

// Read reads from the socket.
func (c *carrier) Read(b []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	if c.isClosed() {
		return 0, net.ErrClosed
	}
	if len(c.arrears) > 0 {
		n := copy(b, c.arrears)
		c.arrears = c.arrears[n:]
		return n, nil
	}
	n, err := c.tcp.Read(b)
	if err != nil {
		err = c.ended(err)
	}
	return n, err
}

// Write writes to the socket.
func (c *carrier) Write(b []byte) (int, error) {
	if err := c.state(); err != nil {
		return 0, err
	}
	n, err := c.tcp.Write(b)
	if err != nil {
		err = c.writeError(err)
	}
	return n, err
}

// writeError is ended for an error of writing. What CloseWrite has broken off does not end the
// carrier.
func (c *carrier) writeError(err error) error {
	c.mu.Lock()
	half := c.half
	c.mu.Unlock()
	if half {
		return net.ErrClosed
	}
	return c.ended(err)
}

// state is why nothing can be written any more, nil if something can.
func (c *carrier) state() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.half {
		return net.ErrClosed
	}
	return c.err
}

func (c *carrier) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// ended turns an error of the socket into one of a carrier. All but a missed deadline are final.
func (c *carrier) ended(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return net.ErrClosed
	case c.err != nil:
		return c.err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return os.ErrDeadlineExceeded
	case errors.Is(err, io.EOF):
		c.err = transport.ErrClosedByPeer
	default:
		c.err = fmt.Errorf("s5b: connection lost: %w", err)
	}
	c.t.logf("%s carrier from %v to %v ended: %v", c.path, c.LocalAddr(), c.RemoteAddr(), c.err)
	return c.err
}

// CloseWrite ends what is written, nothing is from then on until Close. A relay is not told: it would
// end both directions.
func (c *carrier) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.half = true
	if c.path == transport.Relay {
		return c.tcp.SetWriteDeadline(past) // wakes who writes
	}
	return c.tcp.CloseWrite()
}

// Close ends the carrier. It returns at once; what Write accepted still goes out, for at most 5
// seconds, while what comes is thrown away. The second Close returns net.ErrClosed.
func (c *carrier) Close() error { return c.close(c.grace) }

// close is Close; last calls grace and may write something before the end, within the same time.
func (c *carrier) close(last func()) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return net.ErrClosed
	}
	c.closed = true
	lives := c.err == nil
	_ = c.tcp.SetDeadline(past) // wakes everybody; fails only if closed
	c.mu.Unlock()
	if lives && c.t.start(func() { c.linger(last) }) == nil {
		return nil
	}
	c.t.forget(c)
	_ = c.tcp.Close() // it may be closed, by Abort
	return nil
}

// linger keeps the socket until the peer has everything, or time is up.
func (c *carrier) linger(last func()) {
	defer c.t.forget(c)
	defer c.tcp.Close()
	last()
	if c.tcp.CloseWrite() != nil {
		return
	}
	buf := make([]byte, 16<<10)
	for left := lingerOctets; left > 0; {
		n, err := c.tcp.Read(buf)
		if err != nil {
			return
		}
		left -= n
	}
}

// grace gives the socket the time to linger, once nobody is in Read any more.
func (c *carrier) grace() {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	_ = c.tcp.SetDeadline(time.Now().Add(closeLinger)) // fails only if closed
}

// Abort ends the carrier because of err. What has arrived can still be read.
func (c *carrier) Abort(err error) {
	c.mu.Lock()
	if c.closed || c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	_ = c.tcp.SetDeadline(past) // wakes everybody; fails only if closed
	c.mu.Unlock()

	c.readMu.Lock()
	c.arrears = readArrived(c.tcp, maxArrears)
	c.readMu.Unlock()
	c.t.logf("%s carrier to %v aborted: %v", c.path, c.RemoteAddr(), err)
	_ = c.tcp.Close()
}

// SetDeadline sets both deadlines. The zero time means none.
func (c *carrier) SetDeadline(t time.Time) error { return c.setDeadline(c.tcp.SetDeadline, t) }

// SetReadDeadline sets the deadline of Read.
func (c *carrier) SetReadDeadline(t time.Time) error { return c.setDeadline(c.tcp.SetReadDeadline, t) }

// SetWriteDeadline sets the deadline of Write.
func (c *carrier) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(c.tcp.SetWriteDeadline, t)
}

func (c *carrier) setDeadline(set func(time.Time) error, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return net.ErrClosed
	case c.err != nil:
		return nil // Abort has its own use of them, and nothing waits any more
	}
	return set(t)
}
