// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"bytes"
	"crypto/sha256"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// The round trip of an acknowledgement is that of a block from client to server to
// client and of its answer back: the sum of the round trips of both clients to the
// server. "Added RTT" always means what is added to that, half of it for each client,
// so a quarter for each way of each client.
const waysOfAcknowledgement = 4

const (
	// delayChunk is the most octets that are forwarded at a time.
	delayChunk = 16 << 10
	// delayQueue bounds the chunks under way, 64 MiB: more than a gigabit per second
	// brings in half a second.
	delayQueue = 4096
)

// behind returns the way to s for one client, on which rtt is added to the round
// trip of an acknowledgement between two such clients. On a quick one the TCP
// segments of the server are acknowledged at once: what a server with Nagle's
// algorithm waits for is the acknowledgement of the delaying proxy, not that of the
// client, so it has to do as the client behind it does.
func (s *server) behind(t testing.TB, rtt time.Duration, quick bool) *server {
	t.Helper()
	if rtt == 0 {
		return s
	}
	way := *s
	way.direct = startDelay(t, s.direct, rtt/waysOfAcknowledgement, quick)
	return &way
}

// startDelay starts a TCP proxy that ends with the test and returns its address. It
// holds each octet back for oneWay, in both directions, and does not limit the rate.
func startDelay(t testing.TB, target string, oneWay time.Duration, quick bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &delay{target: target, oneWay: oneWay, quick: quick, open: make(map[net.Conn]struct{})}
	d.work.Go(func() { d.serve(l) })
	t.Cleanup(func() {
		_ = l.Close()
		d.closeAll()
		d.work.Wait()
	})
	return l.Addr().String()
}

// A delay is a delaying TCP proxy.
type delay struct {
	target string
	oneWay time.Duration
	quick  bool
	work   sync.WaitGroup

	mu     sync.Mutex
	open   map[net.Conn]struct{}
	closed bool
}

func (d *delay) serve(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", d.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		if d.quick {
			server = quickAcks(server)
		}
		if d.keep(client) && d.keep(server) {
			d.work.Go(func() { d.forward(server, client) })
			d.work.Go(func() { d.forward(client, server) })
		}
	}
}

// keep remembers conn, to close it at the end. It returns false if that has come.
func (d *delay) keep(conn net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		_ = conn.Close()
		return false
	}
	d.open[conn] = struct{}{}
	return true
}

func (d *delay) closeAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for conn := range d.open {
		_ = conn.Close()
	}
}

// A chunk is what has been read, and when.
type chunk struct {
	at   time.Time
	data []byte
}

// forward copies one direction, and its end. An error ends both directions.
func (d *delay) forward(to, from net.Conn) {
	queue := make(chan chunk, delayQueue)
	d.work.Go(func() {
		defer close(queue)
		buf := make([]byte, delayChunk)
		for {
			n, err := from.Read(buf)
			if n > 0 {
				queue <- chunk{time.Now(), bytes.Clone(buf[:n])}
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				_ = to.Close()
				return
			}
		}
	})
	for c := range queue {
		time.Sleep(time.Until(c.at.Add(d.oneWay)))
		if _, err := to.Write(c.data); err != nil {
			_ = from.Close()
			for range queue { // its writer ends now
			}
			return
		}
	}
	time.Sleep(d.oneWay)
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// TestDelay: every round trip takes as long as it should, even while much is under
// way, and the rate is not limited.
func TestDelay(t *testing.T) {
	t.Parallel()
	const oneWay = 20 * time.Millisecond
	for _, quick := range []bool{false, true} {
		conn, err := net.Dial("tcp", startDelay(t, startEcho(t), oneWay, quick))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		least := patience
		for range 5 {
			start := time.Now()
			if _, err := conn.Write([]byte{1}); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			least = min(least, time.Since(start))
		}
		if least < 2*oneWay || least > 2*oneWay+delaySlack {
			t.Errorf("a round trip took %v, want %v", least, 2*oneWay)
		}
		// If the chunks waited for each other, these would take 80 s, and patience ends.
		sent := randomBytes(64 << 20)
		var writer sync.WaitGroup
		writer.Go(func() {
			if _, err := conn.Write(sent); err != nil {
				t.Error(err)
			}
			_ = conn.(*net.TCPConn).CloseWrite()
		})
		got, err := io.ReadAll(conn)
		writer.Wait()
		if err != nil || sha256.Sum256(got) != sha256.Sum256(sent) {
			t.Errorf("%d octets came back, %v", len(got), err)
		}
	}
}

// delaySlack is how late the system may be to wake a process up.
const delaySlack = 500 * time.Millisecond
