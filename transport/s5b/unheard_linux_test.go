// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestUnheard: what is written into nothing is known to be, and a peer that reads nothing is not
// taken for dead.
func TestUnheard(t *testing.T) {
	c, _, y := newDirect(t)
	until := func(what string, ok func(time.Duration) bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !ok(c.Unheard()); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: unheard for %v", what, c.Unheard())
			}
		}
	}
	heard := func(d time.Duration) bool { return d == 0 }

	raw, err := c.tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for quiet := uint32(0); quiet < 50; time.Sleep(time.Millisecond) { // ms
		if err := raw.Control(func(fd uintptr) {
			info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
			if err != nil {
				t.Fatal(err)
			}
			quiet = info.Last_ack_recv
		}); err != nil {
			t.Fatal(err)
		}
	}
	if c.Unheard() != 0 {
		t.Errorf("nothing was written, and unheard for %v", c.Unheard())
	}
	_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	written := 0
	for err == nil { // until nothing fits
		var n int
		n, err = c.Write(make([]byte, 8192))
		written += n
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	until("a peer that reads nothing", heard)

	_ = c.SetWriteDeadline(time.Time{})
	if _, err := io.ReadFull(y, make([]byte, written)); err != nil {
		t.Fatal(err)
	}
	until("a peer that reads", heard)
	if raw, err = y.SyscallConn(); err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { deafen(t, int(fd)) }); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("lost")); err != nil {
		t.Fatal(err)
	}
	until("a dead path", func(d time.Duration) bool { return d > 300*time.Millisecond })
}

// TestUnheardShrunk: a peer that takes room back and reads nothing lives: it answers whatever is sent again.
func TestUnheardShrunk(t *testing.T) {
	t.Parallel()
	c, _, y := newDirect(t)
	if err := y.SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	var err error
	for err == nil { // until nothing fits
		_, err = c.Write(make([]byte, 8192))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if d := c.Unheard(); d > 500*time.Millisecond {
			t.Fatalf("unheard for %v", d)
		}
	}
}

// deafen drops whatever comes to a socket: its filter, a classic BPF program, keeps 0 octets of each
// segment.
func deafen(t *testing.T, fd int) {
	t.Helper()
	program := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &program[0]})
	if err != nil {
		t.Fatal(err)
	}
}
