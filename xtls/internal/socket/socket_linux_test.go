// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package socket_test

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.org/xtls/xtls/internal/socket"
)

// exchanges is how often a request is answered. The kernel acknowledges the first
// few segments of a connection at once by itself.
const exchanges = 40

// TestQuickAck: a server with Nagle's algorithm answers in two writes, so the second
// one waits for the acknowledgement of the first: 40 ms, unless it comes at once.
func TestQuickAck(t *testing.T) {
	const held = exchanges * 40 * time.Millisecond
	if took := timeExchanges(t, socket.Tune); took > held/2 {
		t.Errorf("%d exchanges took %v: acknowledgements are delayed", exchanges, took)
	}
}

// timeExchanges returns how long it takes.
func timeExchanges(t *testing.T, tune func(net.Conn) net.Conn) time.Duration {
	t.Helper()
	client, server := pair(t)
	if err := server.SetNoDelay(false); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	defer func() { <-done }()
	go func() {
		defer close(done)
		buf := make([]byte, 1)
		for {
			if _, err := io.ReadFull(server, buf); err != nil {
				return
			}
			_, _ = server.Write(make([]byte, 100))
			_, _ = server.Write(make([]byte, 100))
		}
	}()
	defer client.Close()
	c := tune(client)
	buf := make([]byte, 200)
	start := time.Now()
	for range exchanges {
		if _, err := c.Write(buf[:1]); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			t.Fatal(err)
		}
	}
	return time.Since(start)
}

// TestUnsent: the kernel keeps little that the server has not taken.
func TestUnsent(t *testing.T) {
	client, _ := pair(t)
	socket.Tune(client)
	raw, err := client.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		n, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT)
		if err != nil || n != 16<<10 {
			t.Errorf("TCP_NOTSENT_LOWAT is %d, %v", n, err)
		}
		n, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY)
		if err != nil || n == 0 {
			t.Errorf("TCP_NODELAY is %d, %v", n, err)
		}
	})
}

// TestNoAllocation: the options cost no memory.
func TestNoAllocation(t *testing.T) {
	client, server := pair(t)
	c := socket.Tune(client)
	buf := make([]byte, 1)
	n := testing.AllocsPerRun(100, func() {
		_, _ = server.Write(buf)
		_, _ = c.Read(buf)
	})
	if n > 0 {
		t.Errorf("%v allocations in a Read", n)
	}
}

// TestNotTCP: what is no TCP connection stays what it is.
func TestNotTCP(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if socket.Tune(a) != a {
		t.Error("another connection")
	}
}

func pair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}
