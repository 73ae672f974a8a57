// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package dtls

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errCut = errors.New("the line was cut")

// A lane carries messages one way, in order. In between, tap may replace each by others.
type lane struct {
	mu       sync.Mutex
	changed  sync.Cond
	queue    [][]byte
	sent     int
	octets   int
	delay    time.Duration
	tap      func(i int, b []byte) [][]byte // may be nil; i counts from 0
	err      error                          // of Read, once the queue is empty
	limit    int                            // messages in the queue before Write blocks; 0 = any
	readEnd  line
	writeEnd line
}

// A line is what one end may have done to its side of a lane.
type line struct {
	closed  bool
	expired bool
	timer   *time.Timer
}

func (l *lane) write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.limit > 0 && len(l.queue) >= l.limit && !l.writeEnd.closed && !l.writeEnd.expired && l.err == nil {
		l.changed.Wait()
	}
	switch {
	case l.writeEnd.closed:
		return 0, net.ErrClosed
	case l.writeEnd.expired:
		return 0, os.ErrDeadlineExceeded
	case l.err != nil:
		return 0, l.err
	}
	msgs := [][]byte{bytes.Clone(b)}
	if l.tap != nil {
		msgs = l.tap(l.sent, msgs[0])
	}
	l.sent++
	l.octets += len(b)
	if l.delay > 0 {
		time.AfterFunc(l.delay, func() { l.push(msgs) })
		return len(b), nil
	}
	l.queue = append(l.queue, msgs...)
	l.changed.Broadcast()
	return len(b), nil
}

func (l *lane) push(msgs [][]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, msgs...)
	l.changed.Broadcast()
}

func (l *lane) read(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.readEnd.closed:
			return 0, net.ErrClosed
		case l.readEnd.expired:
			return 0, os.ErrDeadlineExceeded
		case len(l.queue) > 0 && len(l.queue[0]) > len(b):
			return 0, io.ErrShortBuffer
		case len(l.queue) > 0:
			n := copy(b, l.queue[0])
			l.queue = l.queue[1:]
			l.changed.Broadcast()
			return n, nil
		case l.err != nil:
			return 0, l.err
		}
		l.changed.Wait()
	}
}

func (l *lane) cut(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	l.changed.Broadcast()
}

func (l *lane) deadline(e *line, t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.timer != nil {
		e.timer.Stop()
	}
	e.expired = false
	if d := time.Until(t); t.IsZero() {
		e.timer = nil
	} else if d <= 0 {
		e.expired = true
	} else {
		var timer *time.Timer
		timer = time.AfterFunc(d, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			if e.timer == timer {
				e.expired = true
			}
			l.changed.Broadcast()
		})
		e.timer = timer
	}
	l.changed.Broadcast()
}

func (l *lane) close(e *line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.timer != nil {
		e.timer.Stop()
	}
	e.closed = true
	l.changed.Broadcast()
}

// An end is a carrier: one end of two lanes.
type end struct{ in, out *lane }

func (e *end) Read(b []byte) (int, error)  { return e.in.read(b) }
func (e *end) Write(b []byte) (int, error) { return e.out.write(b) }
func (e *end) LocalAddr() net.Addr         { return &net.UnixAddr{Net: "test"} }
func (e *end) RemoteAddr() net.Addr        { return &net.UnixAddr{Net: "test"} }
func (e *end) SetDeadline(t time.Time) error {
	e.SetReadDeadline(t)
	return e.SetWriteDeadline(t)
}
func (e *end) SetReadDeadline(t time.Time) error  { e.in.deadline(&e.in.readEnd, t); return nil }
func (e *end) SetWriteDeadline(t time.Time) error { e.out.deadline(&e.out.writeEnd, t); return nil }

func (e *end) Close() error {
	e.in.close(&e.in.readEnd)
	e.out.close(&e.out.writeEnd)
	e.out.cut(errCut) // what the peer reads after everything that came before
	return nil
}

// carriers returns the two ends of a carrier.
func carriers() (client, server *end) {
	up, down := &lane{}, &lane{}
	up.changed.L, down.changed.L = &up.mu, &down.mu
	return &end{in: down, out: up}, &end{in: up, out: down}
}

// newCertificate returns a self-signed certificate.
func newCertificate(t testing.TB, key crypto.Signer) tls.Certificate {
	t.Helper()
	if key == nil {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func ed25519Key(t testing.TB) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newConfig returns a configuration that expects the certificate of the peer.
func newConfig(own, peer tls.Certificate) Config {
	return Config{
		Certificate: own, Protocol: "test", ExporterLabel: "EXPERIMENTAL-test",
		Verify: func(leaf *x509.Certificate) error {
			if !bytes.Equal(leaf.Raw, peer.Certificate[0]) {
				return errors.New("not the certificate of the peer")
			}
			return nil
		},
	}
}

// configs returns those of a client and a server.
func configs(t testing.TB) (client, server Config) {
	t.Helper()
	c, s := newCertificate(t, nil), newCertificate(t, nil)
	return newConfig(c, s), newConfig(s, c)
}

// result is what one side's handshake came to.
type result struct {
	conn *Conn
	err  error
	took time.Duration
}

// shake runs both sides.
func shake(ctx context.Context, c, s *end, client, server Config) (rc, rs result) {
	var wg sync.WaitGroup
	begin := time.Now()
	wg.Go(func() {
		rc.conn, rc.err = Client(ctx, c, client)
		rc.took = time.Since(begin)
		if rc.err != nil {
			c.Close()
		}
	})
	wg.Go(func() {
		rs.conn, rs.err = Server(ctx, s, server)
		rs.took = time.Since(begin)
		if rs.err != nil {
			s.Close()
		}
	})
	wg.Wait()
	return rc, rs
}

// connect returns an established connection over the carrier.
func connect(t testing.TB, c, s *end, client, server Config) (*Conn, *Conn) {
	t.Helper()
	rc, rs := shake(t.Context(), c, s, client, server)
	if rc.err != nil || rs.err != nil {
		t.Fatalf("handshake: client %v, server %v", rc.err, rs.err)
	}
	t.Cleanup(func() { rc.conn.Close(); rs.conn.Close() })
	return rc.conn, rs.conn
}
