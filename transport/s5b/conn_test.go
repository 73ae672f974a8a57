// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"testing"
	"time"

	"example.org/xtls/transport"
)

// newDirect returns a direct carrier, its Transport, and the bare socket at its other end.
func newDirect(t testing.TB) (*carrier, *Transport, *net.TCPConn) {
	t.Helper()
	x, y := tcpPair(t)
	tr := newTransport(t, newSession(alba))
	c, err := tr.newCarrier(x, transport.Direct)
	if err != nil {
		t.Fatal(err)
	}
	return c, tr, y
}

// TestCloseDelivers: what was written arrives although the peer's own data lie unread: a plain
// close would reset the connection. Close does not wait for it, Transport.Close does for a while.
func TestCloseDelivers(t *testing.T) {
	c, tr, y := newDirect(t)
	if _, err := y.Write(make([]byte, 100_000)); err != nil { // which nobody reads
		t.Fatal(err)
	}
	sent := make([]byte, 4<<20)
	_, _ = rand.Read(sent)
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		wrote <- errors.Join(err, c.Close())
	}()
	var got bytes.Buffer
	if _, err := io.CopyN(&got, y, int64(len(sent))/2); err != nil {
		t.Fatal(err)
	}
	if _, err := y.Write(make([]byte, 100_000)); err != nil { // and more
		t.Fatal(err)
	}
	if _, err := io.Copy(&got, y); err != nil || !bytes.Equal(got.Bytes(), sent) {
		t.Errorf("%d of %d octets, %v", got.Len(), len(sent), err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	start := time.Now() // y stays open
	tr.Close(nil)
	if took := time.Since(start); took > 2*closeLinger {
		t.Errorf("Transport.Close took %v", took)
	}
}

// TestCloseWrite: the peer reads the end, and this end reads on.
func TestCloseWrite(t *testing.T) {
	c, _, y := newDirect(t)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write = %v", err)
	}
	if got, err := io.ReadAll(y); len(got) != 0 || err != nil {
		t.Errorf("the peer reads %q, %v", got, err)
	}
	_, werr := y.Write([]byte("more"))
	_ = y.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "more" || err != transport.ErrClosedByPeer || werr != nil {
		t.Errorf("Read = %q, %v; %v", got, err, werr)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.CloseWrite(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("CloseWrite after Close = %v", err)
	}
}

// TestCloseWriteWhileWriting: it wakes who writes, and reading goes on with all that belongs to it.
func TestCloseWriteWhileWriting(t *testing.T) {
	check := func(t *testing.T, c interface {
		transport.Conn
		CloseWrite() error
	}, y *net.TCPConn,
	) {
		wrote := writeUnderWay(t, c, y)
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if err := <-wrote; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write = %v", err)
		}
		_ = c.SetReadDeadline(past)
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read after its deadline = %v", err)
		}
		why := errors.New("why")
		c.Abort(why)
		if _, err := c.Read(make([]byte, 1)); err != why {
			t.Errorf("Read after Abort = %v", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Run("direct", func(t *testing.T) {
		c, _, y := newDirect(t)
		check(t, c, y)
	})
	t.Run("relayed", func(t *testing.T) {
		c, y := newPaddedPair(t)
		check(t, c, y)
	})
}

// writeUnderWay writes more than any system takes ahead to c, of which y has read a part when it
// returns.
func writeUnderWay(t *testing.T, c net.Conn, y *net.TCPConn) <-chan error {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience))
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, 64<<20))
		wrote <- err
	}()
	if _, err := io.CopyN(io.Discard, y, 1<<20); err != nil {
		t.Fatal(err)
	}
	return wrote
}

// TestSessionEnds: Transport.Close ends carriers with an error of its own.
func TestSessionEnds(t *testing.T) {
	c, tr, y := newDirect(t)
	why := errors.New("why")
	read := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		read <- err
	}()
	tr.Close(why)
	if err := <-read; !errors.Is(err, ErrSessionEnded) || !errors.Is(err, why) {
		t.Errorf("Read = %v", err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, ErrSessionEnded) {
		t.Errorf("Write = %v", err)
	}
	if n, err := y.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the peer reads %d, %v", n, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	tr.Close(nil) // again
}

// TestNoEOF: an end of the session that is io.EOF does not make the carrier's end one.
func TestNoEOF(t *testing.T) {
	c, tr, _ := newDirect(t)
	tr.Close(io.EOF)
	if _, err := c.Read(make([]byte, 1)); errors.Is(err, io.EOF) || !errors.Is(err, ErrSessionEnded) {
		t.Errorf("Read = %v", err)
	}
	_ = c.Close()
}

// TestReset: a lost connection is an error that stays.
func TestReset(t *testing.T) {
	c, _, y := newDirect(t)
	_ = y.SetLinger(0)
	_ = y.Close()
	_, first := c.Read(make([]byte, 1))
	_, second := c.Read(make([]byte, 1))
	_, write := c.Write([]byte("x"))
	if first == nil || errors.Is(first, io.EOF) || first == transport.ErrClosedByPeer || first != second || first != write {
		t.Errorf("Read = %v, %v, Write = %v", first, second, write)
	}
	_ = c.Close()
}

// BenchmarkDirect is TLS over a direct carrier, and over a TCP connection as net.Dial makes it.
func BenchmarkDirect(b *testing.B) {
	cfg := tlsConfig(b)
	b.Run("carrier", func(b *testing.B) {
		x, y := newRig(b, true, false).connect(b)
		benchmarkTLS(b, cfg, x, y)
	})
	b.Run("tcp", func(b *testing.B) {
		x, y := tcpPair(b)
		benchmarkTLS(b, cfg, x, y)
	})
}

func benchmarkTLS(b *testing.B, cfg *tls.Config, x, y net.Conn) {
	_ = x.SetDeadline(time.Time{})
	_ = y.SetDeadline(time.Time{})
	from, to := tls.Client(x, cfg), tls.Server(y, cfg)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for chunk := make([]byte, 64<<10); ; {
			if _, err := from.Write(chunk); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 64<<10)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if _, err := io.ReadFull(to, buf); err != nil {
			b.Fatal(err)
		}
	}
	_ = y.Close()
	_ = x.Close()
	<-stopped
}

func tlsConfig(b *testing.B) *tls.Config {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}
	return &tls.Config{
		Certificates:       []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		InsecureSkipVerify: true,
	}
}
