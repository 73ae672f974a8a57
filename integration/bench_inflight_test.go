// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"fmt"
	"os"
	"testing"
	"time"
)

const (
	// plotRTT is the delay at which the effect of the blocks in flight is shown.
	plotRTT = 20 * time.Millisecond
	// plotPings is how often a small message goes through the tunnel meanwhile.
	plotPings = 50 * time.Millisecond
	// plotRounds is how often all settings take their turn. What is shown is medians.
	plotRounds = 3
)

// BenchmarkInFlight is the rate of rendered stanzas and the time until a block is
// answered, against the octets in flight, and the rate that a tunnel finds by itself,
// with the round trip of a small message in another tunnel meanwhile. XTLS_PLOT=FILE
// draws it: an SVG with a column for each server.
func BenchmarkInFlight(b *testing.B) {
	var p plot
	benchServers(b, func(b *testing.B, s *server) {
		tunnel, ping := loadedTunnel(b, connect(b, s.behind(b, plotRTT, true), "alice"), connect(b, s.behind(b, plotRTT, true), "bob"))
		pair := newRawPair(b, s, "alice", "bob", plotRTT, true)
		for b.Loop() {
			p.columns = append(p.columns, inFlight(b, s.name, pair, tunnel, ping))
		}
	})
	if name := os.Getenv("XTLS_PLOT"); name != "" && len(p.columns) > 0 {
		if err := os.WriteFile(name, p.svg(), 0o666); err != nil {
			b.Fatal(err)
		}
	}
}

// inFlight is one column of the plot.
func inFlight(b *testing.B, server string, pair *rawPair, tunnel contender, ping func() (time.Duration, error)) plotColumn {
	b.Helper()
	column := plotColumn{title: fmt.Sprintf("%s, %s added", server, seconds(plotRTT.Seconds()))}
	blocks := []int{1 << 10, 4 << 10, 16 << 10, 64 << 10}
	all := make([][]*rawContender, len(blocks))
	found := make(rates)
	var trips []time.Duration
	for i, block := range blocks {
		for n := 1; n <= maxRawInFlight && n*block <= 4<<20; n *= 2 {
			all[i] = append(all[i], pair.contender(block, n))
		}
	}
	for range plotRounds {
		for _, series := range all {
			for _, c := range series {
				found[c.name] = append(found[c.name], compete(b, 1, trial{500 * time.Millisecond, time.Second}, c.contender)[c.name]...)
			}
		}
		rate, took, err := load{trial{time.Second, 4 * time.Second}, ping, plotPings}.measure(b.Context(), tunnel)
		if err != nil {
			b.Fatal(err)
		}
		found[tunnel.name] = append(found[tunnel.name], rate)
		trips = append(trips, took...)
	}
	for i, series := range all {
		line := plotSeries{name: fmt.Sprintf("blocks of %s", kibi(float64(blocks[i])))}
		row := line.name + ", MB/s and ms:"
		for _, c := range series {
			at := plotPoint{float64(c.inFlight * c.block), median(found[c.name]), c.roundTrip()}
			line.points = append(line.points, at)
			row += fmt.Sprintf(" x%d %.2f %.0f", c.inFlight, at.rate/1e6, milliseconds(at.trip))
		}
		b.Log(row)
		column.series = append(column.series, line)
	}
	column.rate, column.trip = median(found[tunnel.name]), median(trips)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(column.rate/1e6, "xtls-MB/s")
	b.ReportMetric(milliseconds(column.trip), "xtls-ping-ms")
	return column
}
