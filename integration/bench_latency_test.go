// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"testing"
	"time"

	"example.org/xtls/xtls"
)

// BenchmarkLatency is the round trip of 16 octets in a stream of a tunnel (mux): alone, and while another
// stream carries as much as it can, on each path.
func BenchmarkLatency(b *testing.B) {
	benchServers(b, func(b *testing.B, s *server) {
		for _, path := range []xtls.Path{xtls.PathInBand, xtls.PathRelay} {
			b.Run(path.String(), func(b *testing.B) { latency(b, connectBy(b, s, "alice", path), connectBy(b, s, "bob", path)) })
		}
	})
	b.Run("direct", func(b *testing.B) {
		alice, bob := directPair(b)
		latency(b, alice, bob)
	})
}

// latency is one row of BenchmarkLatency.
func latency(b *testing.B, from, to *xtls.Client) {
	const idlePings, every = 200, 10 * time.Millisecond
	c, ping := loadedTunnel(b, from, to)
	for b.Loop() {
		var idle, loaded []time.Duration
		var all []float64
		for range benchRounds {
			for range idlePings {
				took, err := ping()
				if err != nil {
					b.Fatal(err)
				}
				idle = append(idle, took)
			}
			rate, trips, err := load{directTrial(), ping, every}.measure(b.Context(), c)
			if err != nil {
				b.Fatal(err)
			}
			all, loaded = append(all, rate), append(loaded, trips...)
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(milliseconds(median(idle)), "idle-ms")
		b.ReportMetric(milliseconds(median(loaded)), "loaded-ms")
		b.ReportMetric(median(all)/1e6, "MB/s")
	}
}
