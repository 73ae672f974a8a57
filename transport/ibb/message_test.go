// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"example.org/xtls/jingle/jingletest"
	"example.org/xtls/transport/ibb"
	"example.org/xtls/transport/transporttest"
)

// TestMessages: one Write is one block is one Read, of any size up to the block-size.
func TestMessages(t *testing.T) {
	r := newRig(t, ibb.Config{BlockSize: 512})
	a, b := r.connect(t, true)
	if got := a.BlockSize(); got != 512 {
		t.Errorf("BlockSize() = %d, want 512", got)
	}
	want := []string{"a", "", "bc", string(make([]byte, 512)), "d"}
	for _, m := range want {
		mustWrite(t, a, m)
	}
	buf := make([]byte, 1024)
	for _, m := range want {
		if m == "" {
			continue // writing nothing sends nothing
		}
		n, err := b.Read(buf)
		if err != nil || string(buf[:n]) != m {
			t.Fatalf("Read = %q, %v, want %q", buf[:n], err, m)
		}
	}
	if got := sentBlocks(r.a); got != 4 {
		t.Errorf("%d blocks were sent, want 4", got)
	}
}

// TestMessageTooLong: nothing of it is sent, and the stream goes on.
func TestMessageTooLong(t *testing.T) {
	r := newRig(t, ibb.Config{BlockSize: 512})
	a, b := r.connect(t, true)
	if n, err := a.Write(make([]byte, 513)); n != 0 || !errors.Is(err, ibb.ErrMessageTooLong) {
		t.Errorf("Write = %d, %v, want ErrMessageTooLong", n, err)
	}
	mustWrite(t, a, "next")
	if got := readString(t, b, 4); got != "next" {
		t.Errorf("Read = %q", got)
	}
	if got := sentBlocks(r.a); got != 1 {
		t.Errorf("%d blocks were sent, want 1", got)
	}
}

// TestShortBuffer: a message that does not fit is kept.
func TestShortBuffer(t *testing.T) {
	r := newRig(t, ibb.Config{})
	a, b := r.connect(t, true)
	mustWrite(t, a, "hello")
	buf := make([]byte, 5)
	for _, size := range []int{4, 0} {
		if n, err := b.Read(buf[:size]); n != 0 || err != io.ErrShortBuffer {
			t.Errorf("Read into %d octets = %d, %v, want io.ErrShortBuffer", size, n, err)
		}
	}
	if n, err := b.Read(buf); err != nil || string(buf[:n]) != "hello" {
		t.Errorf("Read = %q, %v", buf[:n], err)
	}
}

// TestMessageWriteIsWholeOrNothing: at the deadline no part of a message was taken.
func TestMessageWriteIsWholeOrNothing(t *testing.T) {
	r := newRig(t, ibb.Config{BlockSize: 256, SendBuffer: 600, ReceiveBuffer: 512})
	a, b := r.connect(t, true)
	r.b.Hold(func(s jingletest.Stanza) bool { return s.Type == "result" })
	msg := make([]byte, 200)
	taken := 0
	for {
		a.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		n, err := a.Write(msg)
		if err != nil {
			if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("Write = %d, %v, want 0 and a timeout", n, err)
			}
			break
		}
		taken++
	}
	r.b.Release()
	for range taken {
		if n, err := b.Read(make([]byte, 256)); n != len(msg) || err != nil {
			t.Fatalf("Read = %d, %v, want %d", n, err, len(msg))
		}
	}
}

// TestSeqWraps sends more blocks than seq has values (XEP-0047 §2.2: after 65535 comes 0), in
// both directions at different rates.
func TestSeqWraps(t *testing.T) {
	const blocks = 70_000
	a, b, err := transporttest.Connect(t.Context(), newWires(t, ibb.Config{InFlight: 64}), true)
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		for i := range uint32(blocks) {
			if _, err := a.Write(binary.BigEndian.AppendUint32(nil, i)); err != nil {
				sent <- fmt.Errorf("Write %d: %w", i, err)
				return
			}
		}
		sent <- nil
	}()
	buf := make([]byte, 8)
	for i := range uint32(blocks) {
		n, err := b.Read(buf)
		if err != nil {
			t.Fatalf("Read %d: %v", i, err)
		}
		if got := binary.BigEndian.Uint32(buf[:n]); got != i {
			t.Fatalf("Read %d = %d", i, got)
		}
		if i%10_000 == 0 { // the other direction has a seq of its own
			mustWrite(t, b, "back")
			if got := readString(t, a, 4); got != "back" {
				t.Fatalf("Read = %q", got)
			}
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{a, b} {
		c.Close()
	}
}
