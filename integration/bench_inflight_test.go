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
)

// BenchmarkInFlight is the rate of rendered stanzas and the time until a block is
// answered, against the octets in flight, and the rate that a tunnel finds by itself,
// with the round trip of a small message in another tunnel meanwhile. XTLS_PLOT=FILE
// draws it: an SVG with a column for each server.
func BenchmarkInFlight(b *testing.B) {
	var p plot
	benchServers(b, func(b *testing.B, s *server) {
		tunnel, ping := loadedTunnels(b, connect(b, s.behind(b, plotRTT, true), "alice"), connect(b, s.behind(b, plotRTT, true), "bob"))
		pair := newRawPair(b, s, "carol", "dave", plotRTT, true)
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
	t := trial{settle: 500 * time.Millisecond, window: time.Second}
	column := plotColumn{title: fmt.Sprintf("%s, %v added", server, plotRTT)}
	for _, block := range []int{1 << 10, 4 << 10, 16 << 10, 64 << 10} {
		series := plotSeries{name: fmt.Sprintf("blocks of %d KiB", block>>10)}
		row := series.name + ", MB/s and ms:"
		for n := 1; n <= maxRawInFlight && n*block <= 4<<20; n *= 2 {
			c := pair.contender(block, n)
			rate := compete(b, 1, t, c.contender)[c.name][0]
			series.points = append(series.points, plotPoint{float64(n * block), rate, c.roundTrip()})
			row += fmt.Sprintf(" x%d %.2f %.0f", n, rate/1e6, milliseconds(c.roundTrip()))
		}
		b.Log(row)
		column.series = append(column.series, series)
	}
	rate, trips, err := load{trial{2 * time.Second, 5 * time.Second}, ping, plotPings}.measure(b.Context(), tunnel)
	if err != nil {
		b.Fatal(err)
	}
	column.rate, column.trip = rate, median(trips)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(rate/1e6, "xtls-MB/s")
	b.ReportMetric(milliseconds(column.trip), "xtls-ping-ms")
	return column
}
