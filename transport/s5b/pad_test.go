// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"example.org/xtls/transport"
)

// tcpPair returns a connected pair of sockets.
func tcpPair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	x, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	y, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close(); _ = y.Close() })
	_ = y.SetDeadline(time.Now().Add(patience))
	return x.(*net.TCPConn), y.(*net.TCPConn)
}

// newPaddedPair returns a padded carrier and the bare socket at its other end.
func newPaddedPair(t testing.TB) (*padded, *net.TCPConn) {
	t.Helper()
	x, y := tcpPair(t)
	c, err := newTransport(t, newSession(alba)).newCarrier(x, transport.Relay)
	if err != nil {
		t.Fatal(err)
	}
	p := newPadded(c)
	_ = p.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { _ = y.Close(); _ = p.Close() })
	return p, y
}

// TestPadWire: a frame, and then padding, later each time.
func TestPadWire(t *testing.T) {
	p, y := newPaddedPair(t)
	start := time.Now()
	if n, err := p.Write([]byte("hello")); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	read := func(n int) string {
		t.Helper()
		buf := make([]byte, n)
		if _, err := io.ReadFull(y, buf); err != nil {
			t.Fatal(err)
		}
		return string(buf)
	}
	if got := read(7); got != "\x00\x05hello" {
		t.Fatalf("frame %q", got)
	}
	after := padFirst
	for i := range 3 {
		if got := read(2); got != "\x00\x00" {
			t.Fatalf("padding %d is %q", i, got)
		}
		if since := time.Since(start); since < after {
			t.Errorf("padding %d after %v, want %v", i, since, after)
		}
		after *= padStep
	}
	// The next Write takes the rest of it back: it begins anew.
	if _, err := p.Write(make([]byte, maxFrame+1)); err != nil {
		t.Fatal(err)
	}
	big := read(2 + maxFrame + 2 + 1)
	if big[:2] != "\xff\xfe" || big[2+maxFrame:][:2] != "\x00\x01" {
		t.Errorf("headers %x and %x", big[:2], big[2+maxFrame:][:2])
	}
	if got := read(2); got != "\x00\x00" {
		t.Errorf("padding %q", got)
	}
}

// TestPadRead: padding is dropped, wherever it is, and frames may come octet by octet.
func TestPadRead(t *testing.T) {
	p, y := newPaddedPair(t)
	wire := "\x00\x00\x00\x00\x00\x02he\x00\x00\x00\x01l\x00\x02lo\x00\x00"
	written := make(chan error, 1)
	go func() {
		var err error
		for _, b := range []byte(wire) {
			if _, werr := y.Write([]byte{b}); werr != nil {
				err = werr
			}
		}
		written <- errors.Join(err, y.CloseWrite())
	}()
	got, err := io.ReadAll(p)
	if string(got) != "hello" || err != transport.ErrClosedByPeer {
		t.Errorf("Read = %q, %v", got, err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// TestPadDeadline: a frame that a deadline cut is finished by the next Write or by padding, and no
// octet is lost or comes twice.
func TestPadDeadline(t *testing.T) {
	p, y := newPaddedPair(t)
	sent := make([]byte, 32<<20)
	_, _ = rand.Read(sent)
	total := 0
	_ = p.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	for { // until nothing moves
		n, err := p.Write(sent[total:min(len(sent), total+100_000)])
		total += n
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			break
		}
	}
	if n, err := p.Write(sent[total : total+1]); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Write after the deadline = %d, %v", n, err)
	}
	// The reader starts only now, and padding alone has to get the rest out.
	c, err := newTransport(t, newSession(bruno)).newCarrier(y, transport.Relay)
	if err != nil {
		t.Fatal(err)
	}
	other := newPadded(c)
	defer other.Close()
	_ = other.SetDeadline(time.Now().Add(patience))
	got := make([]byte, total)
	if n, err := io.ReadFull(other, got); err != nil || !bytes.Equal(got, sent[:total]) {
		t.Fatalf("read %d of %d: %v", n, total, err)
	}
	_ = p.SetDeadline(time.Now().Add(patience))
	joined(t, p, other)
}

// TestPadWithheld: what the relay keeps back comes by padding, for all sizes around its own.
func TestPadWithheld(t *testing.T) {
	r := newRig(t, false, true)
	newRelay(t, proxyJID, r.a, r.b).withholds = true
	a, b := r.connect(t)
	for _, n := range []int{1, 4093, 4094, 4095, 4096, 4097, 8189, 8190, 8192, 12_288, 65_536, 100_000} {
		for _, dir := range [][2]net.Conn{{a, b}, {b, a}} {
			sent := make([]byte, n)
			_, _ = rand.Read(sent)
			if _, err := dir[0].Write(sent); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, n)
			if k, err := io.ReadFull(dir[1], got); err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("%d of %d octets, %v", k, n, err)
			}
		}
	}
}

// TestPadCut: a relay that cuts both ways when one end has gone cuts nothing that was written: who
// closes first stays until the other has it, or has closed as well.
func TestPadCut(t *testing.T) {
	sent := make([]byte, 4<<20)
	_, _ = rand.Read(sent)
	r := newRig(t, false, true)
	relay := newRelay(t, proxyJID, r.a, r.b)
	relay.withholds, relay.cuts = true, true
	a, b := r.connect(t)
	wrote := make(chan error, 1)
	go func() {
		_, err := a.Write(sent)
		wrote <- errors.Join(err, a.Close())
	}()
	var got bytes.Buffer
	var err error
	for err == nil {
		if _, err := b.Write([]byte("x")); err != nil { // which would find a connection that was cut
			t.Fatalf("Write after %d of %d octets were read: %v", got.Len(), len(sent), err)
		}
		_, err = io.CopyN(&got, b, 4096)
	}
	if !bytes.Equal(got.Bytes(), sent) || err != transport.ErrClosedByPeer {
		t.Errorf("%d of %d octets, %v", got.Len(), len(sent), err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

// TestPadEnd: Read finds the end that the peer said, drops what follows, and says by the end of the
// connection that it has all of it.
func TestPadEnd(t *testing.T) {
	p, y := newPaddedPair(t)
	if _, err := y.Write([]byte("\x00\x03bye\x00\x00\xff\xff\x00\x04more")); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(p); string(got) != "bye" || err != transport.ErrClosedByPeer {
		t.Errorf("Read = %q, %v", got, err)
	}
	if n, err := p.Read(make([]byte, 1)); n != 0 || err != transport.ErrClosedByPeer {
		t.Errorf("Read after the end = %d, %v", n, err)
	}
	if n, err := p.Write([]byte("x")); n != 0 || err != transport.ErrClosedByPeer {
		t.Errorf("Write after the end = %d, %v", n, err)
	}
	if got, err := io.ReadAll(y); len(got) != 0 || err != nil {
		t.Errorf("the peer reads %q, %v", got, err)
	}
}

// TestPadCloseWrite: nothing is padded any more, and the connection stays.
func TestPadCloseWrite(t *testing.T) {
	p, y := newPaddedPair(t)
	if _, err := p.Write([]byte("bye")); err != nil {
		t.Fatal(err)
	}
	if err := p.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	p.pads.Wait()
	if _, err := y.Write([]byte("\x00\x04more\xff\xff")); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(p); string(got) != "more" || err != transport.ErrClosedByPeer {
		t.Errorf("Read = %q, %v", got, err)
	}
	got, err := io.ReadAll(y)
	if !bytes.HasPrefix(got, []byte("\x00\x03bye")) || len(got) >= 5+padCount*padHeader || err != nil {
		t.Errorf("the peer reads %q, %v", got, err)
	}
}

// TestPadClose: Close says that it is the end, and pads that as well. The connection stays until
// the peer has closed too, whatever it was writing.
func TestPadClose(t *testing.T) {
	p, y := newPaddedPair(t)
	if _, err := p.Write([]byte("bye")); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for want := []byte("\x00\x03bye\xff\xff\x00\x00\x00\x00\x00\x00"); len(got) < len(want); {
		frame := make([]byte, padHeader)
		if _, err := io.ReadFull(y, frame); err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		if len(got) == 5 && frame[1] == 0 {
			continue // a padding of Write's
		}
		if frame[1] == 3 {
			frame = append(frame, "bye"...)
			if _, err := io.ReadFull(y, frame[padHeader:]); err != nil {
				t.Fatal(err)
			}
		}
		if got = append(got, frame...); !bytes.HasPrefix(want, got) {
			t.Fatalf("%q", got)
		}
	}
	if err := p.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close = %v", err)
	}
	if err := p.SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("SetDeadline = %v", err)
	}
	if _, err := y.Write([]byte("\x00\x00\x00\x04more\xff\xff")); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(y); len(bytes.Trim(rest, "\x00")) > 0 || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
}

// TestPadCloseUnblocks: while a closed carrier stays for its peer nobody else waits for that.
func TestPadCloseUnblocks(t *testing.T) {
	p, y := newPaddedPair(t)
	wrote := writeUnderWay(t, p, y)
	read := make(chan error, 1)
	go func() {
		_, err := p.Read(make([]byte, 1))
		read <- err
	}()
	start := time.Now()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []<-chan error{wrote, read} {
		if err := <-c; !errors.Is(err, net.ErrClosed) {
			t.Errorf("what was under way ended with %v", err)
		}
	}
	if n, err := p.Read(make([]byte, 1)); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read = %d, %v", n, err)
	}
	if n, err := p.Write([]byte("x")); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write = %d, %v", n, err)
	}
	if took := time.Since(start); took >= closeLinger {
		t.Errorf("all of it took %v", took)
	}
	p.t.running.Wait()
	if took := time.Since(start); took < closeLinger {
		t.Errorf("it left after %v", took)
	}
}

// TestPadBothClose: two that close with much on its way to each other do not block each other, nor
// the last frame that a deadline has cut.
func TestPadBothClose(t *testing.T) {
	x, y := tcpPair(t)
	var ends [2]*padded
	for i, tcp := range []*net.TCPConn{x, y} {
		c, err := newTransport(t, newSession(alba)).newCarrier(tcp, transport.Relay)
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = newPadded(c)
		_ = ends[i].SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		for err == nil { // until nothing moves
			_, err = ends[i].Write(make([]byte, 100_000))
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	start := time.Now()
	for _, p := range ends {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, p := range ends {
		p.t.running.Wait()
	}
	if took := time.Since(start); took > closeLinger {
		t.Errorf("%v until both had gone", took)
	}
}

func FuzzPadRead(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02he\x00\x00\x00\x01l"), 3)
	f.Add([]byte("\xff\xfeshort"), 1)
	f.Add([]byte("\x00\x01a\xff\xff\x00\x01b"), 2)
	tr, err := New(Config{Stanzas: newSession(alba)})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { tr.Close(nil) })
	f.Fuzz(func(t *testing.T, wire []byte, size int) {
		if len(wire) > 1<<16 { // fits the buffers of the socket
			return
		}
		x, y := tcpPair(t)
		c, err := tr.newCarrier(x, transport.Relay)
		if err != nil {
			t.Fatal(err)
		}
		p := newPadded(c)
		defer p.Close()
		if _, err := y.Write(wire); err != nil {
			t.Fatal(err)
		}
		_ = y.CloseWrite()
		var got []byte
		buf := make([]byte, 1+uint(size)%100)
		for err == nil {
			var n int
			n, err = p.Read(buf)
			got = append(got, buf[:n]...)
		}
		var want []byte
		for in := wire; len(in) >= padHeader; {
			n := int(in[0])<<8 + int(in[1])
			if in = in[padHeader:]; n == endFrame {
				break
			}
			want = append(want, in[:min(n, len(in))]...)
			in = in[min(n, len(in)):]
		}
		if !bytes.Equal(got, want) || err != transport.ErrClosedByPeer {
			t.Errorf("%q was read as %q, %v, want %q", wire, got, err, want)
		}
	})
}
