// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package dtls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// frameOverhead is what a record adds to the octets of the stream in it.
	frameOverhead = headerSize + offsetSize + tagSize
	// maxLate bounds the records of epoch 0, or Finished of epoch 1, that come after the
	// handshake: a peer on a slow path may have sent its last flight again.
	maxLate = 64
	// goodbyeTime bounds how long Close waits to hand its alert to the carrier.
	goodbyeTime = 5 * time.Second
)

// Alerts (RFC 5246 §7.2).
const (
	alertWarning      = 1
	alertFatal        = 2
	alertCloseNotify  = 0
	alertBadRecordMAC = 20
)

var (
	errShutdown = errors.New("dtls: the stream was ended")
	errLate     = fmt.Errorf("more than %d handshake records after the handshake", maxLate)
)

// A Conn is one end of an established connection: a [net.Conn] with half-close. Its methods
// may be called concurrently.
//
// Read returns io.EOF only if the peer said that it is the end. If the carrier ends before,
// the error is the carrier's; if anything was lost, repeated, reordered or altered on the
// way, it is a [*net.OpError] with Op "local error", for writing as well. After a read
// deadline has passed, reading goes on; after a Write has failed, at its deadline or
// otherwise, nothing can be written any more.
type Conn struct {
	carrier  net.Conn
	leaf     *x509.Certificate
	group    tls.CurveID
	exported []byte
	closed   atomic.Bool
	broken   atomic.Pointer[error] // what ended the connection, once it was tampered with

	inMu    sync.Mutex // guards what follows
	in      half
	frames  inbound
	buf     []byte // one datagram
	rest    []byte // records not looked at yet
	unread  []byte // of buf: data
	late    int
	readErr error // final

	outMu    sync.Mutex // guards what follows
	out      half
	outBuf   []byte // one datagram
	offset   uint64
	ended    bool
	writeErr error // final
}

var _ net.Conn = (*Conn)(nil)

// PeerCertificate is the peer's certificate, proven in the handshake.
func (c *Conn) PeerCertificate() *x509.Certificate { return c.leaf }

// Exported is 32 octets of keying material under Config.ExporterLabel, without a context
// (RFC 5705 §4). They depend on both certificates (RFC 7627).
func (c *Conn) Exported() []byte { return c.exported }

// Group is the curve of the key exchange. None of DTLS 1.2 resists a quantum computer.
func (c *Conn) Group() tls.CurveID { return c.group }

// Read reads what the peer wrote.
func (c *Conn) Read(p []byte) (int, error) {
	c.inMu.Lock()
	defer c.inMu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	for len(c.unread) == 0 {
		switch {
		case c.closed.Load():
			return 0, net.ErrClosed
		case c.readErr != nil:
			return 0, c.readErr
		}
		err := c.advanceLocked()
		if isTimeout(err) {
			return 0, err
		}
		c.readErr = err
	}
	n := copy(p, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

// advanceLocked takes the next record, after reading a datagram if there is none.
func (c *Conn) advanceLocked() error {
	if len(c.rest) == 0 {
		n, err := c.carrier.Read(c.buf)
		switch {
		case errors.Is(err, io.ErrShortBuffer), err == nil && n > maxDatagram:
			return c.tampered(errOversize)
		case err != nil:
			return err
		}
		c.rest = c.buf[:n]
		if n == 0 {
			return nil
		}
	}
	r, rest, err := nextRecord(c.rest)
	if err != nil {
		return c.tampered(err)
	}
	c.rest = rest
	if r.epoch == 0 {
		return c.ignoreLocked()
	}
	plain, err := c.in.open(r)
	if err != nil {
		return c.tampered(err)
	}
	switch r.typ {
	case typeData:
		data, err := c.frames.take(plain)
		if err != nil && err != io.EOF { //nolint:errorlint // take returns exactly that
			return c.tampered(err)
		}
		c.unread = data
		return err
	case typeAlert:
		return c.alert(plain)
	case typeHandshake:
		return c.ignoreLocked() // the Finished once more
	default:
		return c.tampered(fmt.Errorf("record of type %d", r.typ))
	}
}

// ignoreLocked drops a late record of the handshake, but not any number of them.
func (c *Conn) ignoreLocked() error {
	if c.late++; c.late > maxLate {
		return c.tampered(errLate)
	}
	return nil
}

// alert takes an authentic alert.
func (c *Conn) alert(b []byte) error {
	switch {
	case len(b) != 2:
		return c.tampered(errMalformed)
	case b[1] == alertCloseNotify:
		return io.EOF
	case b[0] != alertFatal:
		return nil
	}
	err := remoteError(fmt.Errorf("alert %d", b[1]))
	c.broken.CompareAndSwap(nil, &err)
	return err
}

// tampered ends the connection in both directions.
func (c *Conn) tampered(err error) error {
	err = localError(err)
	c.broken.CompareAndSwap(nil, &err)
	return err
}

// Write sends p, in as many records as it takes. It returns when the carrier has taken
// them; n counts the octets of those that it took.
func (c *Conn) Write(p []byte) (n int, err error) {
	c.outMu.Lock()
	defer c.outMu.Unlock()
	if err := c.writableLocked(); err != nil {
		return 0, err
	}
	for n < len(p) {
		k := min(len(p)-n, cap(c.outBuf)-frameOverhead)
		if err := c.sendDataLocked(p[n : n+k]); err != nil {
			return n, err
		}
		n += k
	}
	return n, nil
}

// CloseWrite tells the peer that nothing more will come: it reads io.EOF. Reading goes on.
func (c *Conn) CloseWrite() error {
	c.outMu.Lock()
	defer c.outMu.Unlock()
	if c.ended {
		return nil
	}
	if err := c.writableLocked(); err != nil {
		return err
	}
	c.ended = true
	return c.sendDataLocked(nil)
}

func (c *Conn) writableLocked() error {
	switch err := c.broken.Load(); {
	case c.closed.Load():
		return net.ErrClosed
	case c.writeErr != nil:
		return c.writeErr
	case err != nil:
		return *err
	case c.ended:
		return errShutdown
	}
	return nil
}

func (c *Conn) sendDataLocked(data []byte) error {
	frame := appendFrame(c.outBuf[:headerSize], c.offset, data)[headerSize:] // where the record will have it
	c.offset += uint64(len(data))
	return c.sendLocked(typeData, frame)
}

// sendLocked sends one record in one message. After an error nobody knows what has left,
// so that nothing may follow.
func (c *Conn) sendLocked(typ byte, plain []byte) error {
	b, err := c.out.seal(c.outBuf[:0], typ, plain)
	if err == nil {
		_, err = c.carrier.Write(b)
	}
	c.writeErr = err
	return err
}

// Close sends close_notify, or an alert if the connection was tampered with, and closes the
// carrier, which may take as long as that does. It unblocks Read and Write; if a Write is
// under way there is no goodbye. The second Close returns net.ErrClosed.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	if c.outMu.TryLock() {
		if c.writeErr == nil {
			alert := []byte{alertWarning, alertCloseNotify}
			if c.broken.Load() != nil {
				alert = []byte{alertFatal, alertBadRecordMAC}
			}
			_ = c.carrier.SetWriteDeadline(time.Now().Add(goodbyeTime))
			_ = c.sendLocked(typeAlert, alert)
		}
		c.outMu.Unlock()
	}
	return c.carrier.Close()
}

// LocalAddr is that of the carrier.
func (c *Conn) LocalAddr() net.Addr { return c.carrier.LocalAddr() }

// RemoteAddr is that of the carrier.
func (c *Conn) RemoteAddr() net.Addr { return c.carrier.RemoteAddr() }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error { return c.carrier.SetDeadline(t) }

// SetReadDeadline sets the deadline of Read; zero means none.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.carrier.SetReadDeadline(t) }

// SetWriteDeadline sets the deadline of Write; zero means none.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.carrier.SetWriteDeadline(t) }
