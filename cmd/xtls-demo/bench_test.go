// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"example.org/xtls/xtls/mux"
)

// benchPair returns a client and the outcome of its server.
func benchPair(t *testing.T, octets int64, most time.Duration) (*benchClient, <-chan error) {
	t.Helper()
	a, b := net.Pipe()
	c := &benchClient{mux.Client(a)}
	served := make(chan error, 1)
	go func() {
		_, err := newBenchServer(octets).serve(t.Context(), b, most)
		served <- err
	}()
	t.Cleanup(func() { _ = c.s.Close() })
	return c, served
}

func TestBenchMeasures(t *testing.T) {
	c, served := benchPair(t, maxBenchOctets, time.Minute)
	f := benchFlags{duration: 100 * time.Millisecond, size: maxBenchOctets}
	for _, m := range []measurement{{what: "idle"}, {what: "up", up: true}, {what: "down", down: true}, {what: "both", up: true, down: true}} {
		if err := c.measure(t.Context(), &m, f); err != nil {
			t.Fatalf("%s: %v", m.what, err)
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
			c, served := benchPair(t, bound, tt.most)
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
	c, _ := benchPair(t, maxBenchOctets, time.Minute)
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
	} {
		if got := meaning(tt.path, tt.own, tt.peer, tt.all); !strings.HasPrefix(got, tt.want) {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	if got := (bulk{octets: 1}).rate(); got != 0 {
		t.Errorf("the rate of no time is %v", got)
	}
}
