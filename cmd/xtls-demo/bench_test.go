// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.org/xtls/xtls/mux"
)

// A line counts what passes.
type line struct {
	net.Conn
	sent, got atomic.Int64
}

func (l *line) Write(p []byte) (int, error) {
	n, err := l.Conn.Write(p)
	l.sent.Add(int64(n))
	return n, err
}

func (l *line) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	l.got.Add(int64(n))
	return n, err
}

// benchPair returns a client, its line, and the outcome of its server.
func benchPair(t *testing.T, octets int64, most time.Duration) (*benchClient, *line, <-chan error) {
	t.Helper()
	conn, b := net.Pipe()
	a := &line{Conn: conn}
	c := &benchClient{mux.Client(a)}
	served := make(chan error, 1)
	go func() {
		_, err := newBenchServer(octets).serve(t.Context(), b, most)
		served <- err
	}()
	t.Cleanup(func() { _ = c.s.Close() })
	return c, a, served
}

func TestBenchMeasures(t *testing.T) {
	c, l, served := benchPair(t, maxBenchOctets, time.Minute)
	f := benchFlags{duration: 100 * time.Millisecond, size: maxBenchOctets}
	for _, m := range []measurement{{what: "idle"}, {what: "up", up: true}, {what: "down", down: true}, {what: "both", up: true, down: true}} {
		l.sent.Store(0)
		l.got.Store(0)
		if err := c.measure(t.Context(), &m, f); err != nil {
			t.Fatalf("%s: %v", m.what, err)
		}
		// What is said to have gone one way has, and without a load that way little has.
		sent, got := l.sent.Load(), l.got.Load()
		if m.sent.octets > sent || m.got.octets > got || !m.up && sent > 1e5+got/10 || !m.down && got > 1e5+sent/10 {
			t.Errorf("%s: %d and %d octets are said to have gone up and down; %d and %d have", m.what, m.sent.octets, m.got.octets, sent, got)
		}
		if (m.sent.octets > 0) != m.up || (m.got.octets > 0) != m.down || len(m.times) == 0 || m.median <= 0 || m.max < m.median || m.low > m.median {
			t.Errorf("%+v", m)
		}
	}
	_ = c.s.Close()
	if err := <-served; err != nil {
		t.Errorf("the server ended with %v", err)
	}
}

// What is measured is bounded in octets, time and kind, and the client says so.
func TestBenchBounds(t *testing.T) {
	const bound = 100000
	up := func(size int64) func(*benchClient, *testing.T) error {
		return func(c *benchClient, t *testing.T) error {
			_, err := c.up(t.Context(), t.Context(), size)
			return err
		}
	}
	for _, tt := range []struct {
		name   string
		most   time.Duration
		do     func(*benchClient, *testing.T) error
		served error // of the server; nil: it goes on
		fails  bool
	}{
		{"all of it", time.Minute, up(bound), nil, false},
		{"one octet over", time.Minute, up(bound + 1), errBenchOver, true},
		{"down", time.Minute, func(c *benchClient, t *testing.T) error {
			_, err := c.down(t.Context(), t.Context(), 2*bound)
			return err
		}, errBenchOver, true},
		{"time", 20 * time.Millisecond, func(c *benchClient, _ *testing.T) error {
			<-c.s.Done()
			return c.s.Err()
		}, errBenchOver, true},
		{"unknown", time.Minute, func(c *benchClient, t *testing.T) error {
			st, end, err := c.open(t.Context(), 'x')
			if err == nil {
				defer end()
				_, err = io.ReadAll(st)
			}
			return benchError(t.Context(), err)
		}, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _, served := benchPair(t, bound, tt.most)
			if err := tt.do(c, t); (err != nil) != tt.fails {
				t.Errorf("got %v", err)
			}
			if tt.served == nil {
				_ = c.s.Close()
			}
			if err := <-served; !errors.Is(err, tt.served) {
				t.Errorf("the server ended with %v, want %v", err, tt.served)
			}
		})
	}
}

// The echoes of a measurement are bounded as those of ping.
func TestBenchEchoBound(t *testing.T) {
	c, _, _ := benchPair(t, maxBenchOctets, time.Minute)
	st, end, err := c.open(t.Context(), benchEcho)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	go func() { _, _ = st.Write(make([]byte, maxEcho+1)) }()
	got, err := io.ReadAll(st)
	if len(got) > maxEcho || !errors.Is(err, mux.ErrReset) {
		t.Errorf("got %d octets, %v", len(got), err)
	}
}

// A peer that did not get everything is no measurement.
func TestBenchCounts(t *testing.T) {
	a, b := net.Pipe()
	c, s := &benchClient{mux.Client(a)}, mux.Server(b)
	defer s.Close()
	defer c.s.Close()
	served := make(chan error, 1)
	go func() {
		st, err := s.Accept(t.Context())
		var n int64
		if err == nil {
			n, err = io.Copy(io.Discard, st)
		}
		if err == nil {
			_, err = st.Write(binary.BigEndian.AppendUint64(nil, uint64(n-2))) // without the verb, and one more
		}
		served <- err
	}()
	if _, err := c.up(t.Context(), t.Context(), 1000); err == nil || !strings.Contains(err.Error(), "999 of 1000") {
		t.Errorf("up: %v", err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestMeaning(t *testing.T) {
	line := func(rate int64, median float64) []measurement {
		return []measurement{{what: "idle", median: 12}, {what: "up", up: true, sent: bulk{rate, time.Second}, median: median}}
	}
	for _, tt := range []struct {
		path, own, peer string
		all             []measurement
		want            string
	}{
		{"inband", "example.org", "example.org", line(7200, 1234), "in-band 7.2 kB/s, probably limited by example.org; a round trip takes 12 ms, beside large transfers 1.2 s"},
		{"inband", "example.org", "example.net", line(800, 12), "in-band 800 B/s, probably limited by example.org or example.net; "},
		{"inband", "example.org", "example.net", line(4_100_000, 12), "in-band 4.1 MB/s, through example.org and example.net; "},
		{"relay", "example.org", "example.org", line(4_100_000, 12), "relay 4.1 MB/s, through a proxy of example.org; "},
		{"direct", "example.org", "example.org", line(1_230_000_000, 0.5), "direct 1.23 GB/s, from one end to the other; a round trip takes 12 ms, beside large transfers 0.50 ms"},
		{"direct", "example.org", "example.org", append(line(1_000_000, 70), measurement{what: "down", down: true, got: bulk{2_000_000, time.Second}, median: 60}), "direct 2.0 MB/s, from one end to the other; a round trip takes 12 ms, beside large transfers 70 ms"},
	} {
		if got := meaning(tt.path, tt.own, tt.peer, tt.all); !strings.HasPrefix(got, tt.want) {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	if got := (bulk{octets: 1}).rate(); got != 0 {
		t.Errorf("the rate of no time is %v", got)
	}
}
