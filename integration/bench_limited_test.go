// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"example.org/xtls/xtls"
	"example.org/xtls/xtls/mux"
)

// Rate limits of the configurations that servers ship, in octets of stanzas a second.
const (
	prosodyLimit  = 10_000 // limits = { c2s = { rate = "10kb/s" } }
	ejabberdLimit = 3_000  // shaper: {normal: {rate: 3000}}
)

const (
	// limitedRounds and limitedTrial: a window is long enough for 20 blocks, and what
	// a server lets through at first (two seconds, 20,000 octets) is over before.
	limitedRounds = 3
	limitedSettle = 15 * time.Second
	limitedWindow = 30 * time.Second

	// pingEvery is how often the round trip is measured then. Each takes about 500
	// octets of stanzas, so that more often it would be a load of its own.
	pingEvery = 2 * time.Second
)

// BenchmarkLimited is what remains under the rate limits that servers ship: the rate
// of a tunnel as a share of the payload that the limit leaves room for in blocks of
// 4096 octets, and the round trip of a small message in another stream of the tunnel
// meanwhile. Beside it the raw sender and how long its blocks wait.
func BenchmarkLimited(b *testing.B) {
	b.Run("prosody", func(b *testing.B) {
		limited(b, startProsody(b, prosodyOptions{limits: true}), prosodyLimit)
	})
	b.Run("ejabberd", func(b *testing.B) {
		limited(b, startEjabberd(b, ejabberdOptions{shaper: true}), ejabberdLimit)
	})
}

func limited(b *testing.B, s *server, limit float64) {
	tunnel, ping := loadedTunnel(b, connect(b, s, "alice"), connect(b, s, "bob"))
	pair := newRawPair(b, s, "alice", "bob", 0, true)
	raw := []*rawContender{pair.contender(rawBlock, 1), pair.contender(rawBlock, 4)}
	room := limit * rawBlock / float64(raw[0].stanza())
	for b.Loop() {
		all := make(rates)
		var trips []time.Duration
		for range limitedRounds {
			load := load{trial: trial{limitedSettle, limitedWindow}, ping: ping, every: pingEvery}
			rate, took, err := load.measure(b.Context(), tunnel)
			if err != nil {
				b.Fatal(err)
			}
			all[tunnel.name] = append(all[tunnel.name], rate)
			trips = append(trips, took...)
			for _, c := range raw {
				for name, r := range compete(b, 1, load.trial, c.contender) {
					all[name] = append(all[name], r...)
				}
			}
		}
		b.ReportMetric(0, "ns/op")
		for name, r := range all {
			b.ReportMetric(median(r)/1e3, name+"-kB/s")
		}
		b.ReportMetric(median(all[tunnel.name])/room, "xtls/limit")
		b.ReportMetric(milliseconds(median(trips)), "xtls-ping-ms")
		for _, c := range raw {
			b.ReportMetric(milliseconds(c.roundTrip()), c.name+"-ms")
		}
	}
}

// rawBlock is the block-size that every server takes (XEP-0047 §5).
const rawBlock = 4096

// A load is how a contender is measured while small messages go the same way.
type load struct {
	trial
	ping  func() (time.Duration, error) // takes a round trip
	every time.Duration
}

// measure returns the rate of c and the round trips meanwhile.
func (l load) measure(ctx context.Context, c contender) (rate float64, trips []time.Duration, err error) {
	err = c.during(ctx, func(ctx context.Context) error {
		if err := pause(ctx, l.settle); err != nil {
			return err
		}
		before, start := c.arrived.count(), time.Now()
		for time.Since(start) < l.window {
			took, err := l.ping()
			if err != nil {
				return err
			}
			trips = append(trips, took)
			if err := pause(ctx, l.every); err != nil {
				return err
			}
		}
		rate = float64(c.arrived.count()-before) / time.Since(start).Seconds()
		return nil
	})
	return rate, trips, err
}

// loadedTunnel is a tunnel between two clients with two streams in it (package mux): one
// to load, and one for small messages, whose round trip ping takes.
func loadedTunnel(b testing.TB, from, to *xtls.Client) (c contender, ping func() (time.Duration, error)) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dialled, accepted, err := tunnels(ctx, from, to, 1)
	if err != nil {
		b.Fatal(err)
	}
	near, far := mux.Client(dialled[0]), mux.Server(accepted[0])
	b.Cleanup(func() { _, _ = near.Close(), far.Close() })
	stream := func() (out, in *mux.Stream) {
		if out, err = near.Open(ctx); err == nil {
			in, err = far.Accept(ctx)
		}
		if err != nil {
			b.Fatal(err)
		}
		return out, in
	}
	small, back := stream()
	var echo sync.WaitGroup
	echo.Go(func() { _, _ = io.Copy(back, back) })
	b.Cleanup(func() {
		_, _ = small.Close(), back.Close()
		echo.Wait()
	})
	bulk, arrives := stream()
	message := make([]byte, 16)
	return connContender(b, "xtls", bulk, arrives, 0), func() (time.Duration, error) {
		start := time.Now()
		if err := small.SetDeadline(start.Add(drainTime)); err != nil {
			return 0, err
		}
		if _, err := small.Write(message); err != nil {
			return 0, err
		}
		_, err := io.ReadFull(small, make([]byte, len(message)))
		return time.Since(start), err
	}
}
