// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"context"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

const (
	// benchSize is how much one round of one contender carries.
	benchSize = 4 << 20
	// benchChunk is how much one Write takes.
	benchChunk = 64 << 10
	// benchRounds is how often the contenders take their turn. Figures are medians.
	benchRounds = 5
	// benchTime bounds one round.
	benchTime = 2 * time.Minute
)

// A contender carries octets from one client to another one, somehow.
type contender struct {
	name string
	// carry returns when size octets have arrived.
	carry func(ctx context.Context, size int) error
}

// compete lets the contenders carry benchSize octets, in turn, and reports the median
// rate of each.
func compete(b *testing.B, contenders ...contender) {
	rates := make(map[string][]float64)
	for b.Loop() {
		for range benchRounds {
			for _, c := range contenders {
				ctx, cancel := context.WithTimeout(b.Context(), benchTime)
				start := time.Now()
				err := c.carry(ctx, benchSize)
				took := time.Since(start)
				cancel()
				if err != nil {
					b.Fatalf("%s: %v", c.name, err)
				}
				rates[c.name] = append(rates[c.name], benchSize/1e6/took.Seconds())
			}
		}
	}
	b.ReportMetric(0, "ns/op") // it would only say how long all rounds took
	for name, r := range rates {
		b.ReportMetric(median(r), name+"-MB/s")
	}
}

func median[T float64 | time.Duration](values []T) T {
	values = slices.Clone(values)
	slices.Sort(values)
	return values[len(values)/2]
}

// BenchmarkInBand is the rate of payload one way through Prosody: a tunnel, the ibb
// package of mellium.im/xmpp, and rendered stanzas without TLS inside, with one and
// with four of them unanswered.
func BenchmarkInBand(b *testing.B) {
	p := startProsody(b, prosodyOptions{accounts: []string{"alice", "bob", "carol", "dave", "erin", "frank"}})
	compete(b,
		tunnelContender(b, connect(b, p, "alice"), connect(b, p, "bob")),
		melliumContender(b, p, "carol", "dave"),
		rawContender(b, "raw-4096x1", p, "erin", "frank", 4096, 1),
		rawContender(b, "raw-4096x4", p, "erin", "frank", 4096, 4),
	)
}

// BenchmarkInBandEmbedded is the rate through the server of xtlstest.
func BenchmarkInBandEmbedded(b *testing.B) {
	pair := xtlstest.NewPair(b, xtlstest.Config{})
	compete(b, tunnelContender(b, pair.Alice, pair.Bob))
}

// tunnelContender is a tunnel between two clients.
func tunnelContender(b *testing.B, from, to *xtls.Client) contender {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dialled, accepted, err := tunnels(ctx, from, to, 1)
	if err != nil {
		b.Fatal(err)
	}
	data := randomBytes(benchChunk)
	return contender{"xtls", func(ctx context.Context, size int) error {
		defer context.AfterFunc(ctx, func() { _ = dialled[0].Close() })()
		var sending sync.WaitGroup
		defer sending.Wait()
		sending.Go(func() {
			for sent := 0; sent < size; sent += len(data) {
				if _, err := dialled[0].Write(data); err != nil {
					return // the other end notices
				}
			}
		})
		_, err := io.CopyN(io.Discard, accepted[0], int64(size))
		return err
	}}
}

// BenchmarkSetUp is the time of one Dial between sessions that are online, and what
// travels for it.
func BenchmarkSetUp(b *testing.B) {
	b.Run("Prosody", func(b *testing.B) {
		p := startProsody(b, prosodyOptions{})
		setUp(b, connect(b, p, "alice"), connect(b, p, "bob"))
	})
	b.Run("embedded", func(b *testing.B) {
		var seen stanzaCounter
		pair := xtlstest.NewPair(b, xtlstest.Config{OnStanza: seen.count})
		dials := setUp(b, pair.Alice, pair.Bob)
		b.ReportMetric(float64(seen.requests)/float64(dials), "stanzas/dial")
	})
}

// A stanzaCounter counts stanzas between clients that are no acknowledgements.
type stanzaCounter struct {
	mu       sync.Mutex
	requests int
}

func (s *stanzaCounter) count(_, _ jid.JID, stanza []byte) {
	head, _, _ := strings.Cut(string(stanza), ">")
	if strings.Contains(head, `type="result"`) || strings.Contains(head, `type='result'`) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
}

// dialsTimed is how many dials are timed in one iteration.
const dialsTimed = 50

// setUp reports the median time of a dial. The tunnels are left open, so that nothing
// but dials is counted; it returns how many there are.
func setUp(b *testing.B, from, to *xtls.Client) (dials int) {
	b.Helper()
	var times []time.Duration
	for b.Loop() {
		for range dialsTimed {
			ctx, cancel := context.WithTimeout(b.Context(), patience)
			l, err := to.Listen()
			if err != nil {
				b.Fatal(err)
			}
			var accepting sync.WaitGroup
			accepting.Go(func() {
				if o, err := l.Next(ctx); err != nil {
					b.Error(err)
				} else if _, err := o.Accept(ctx); err != nil {
					b.Error(err)
				}
			})
			start := time.Now()
			_, err = from.Dial(ctx, to.LocalAddr(), xtls.Tunnel(""))
			times = append(times, time.Since(start))
			if err != nil {
				b.Fatal(err)
			}
			accepting.Wait()
			_ = l.Close()
			cancel()
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(median(times).Microseconds())/1000, "ms/dial")
	return len(times)
}

// BenchmarkIdleTunnels is the memory of a tunnel on which nothing happens, for each
// side: live heap and stacks.
func BenchmarkIdleTunnels(b *testing.B) {
	const n = 1000
	p := startProsody(b, prosodyOptions{})
	alice, bob := connect(b, p, "alice"), connect(b, p, "bob")
	var perSide []float64
	for b.Loop() {
		ctx, cancel := context.WithTimeout(b.Context(), benchTime)
		before := liveMemory()
		dialled, accepted, err := tunnels(ctx, alice, bob, n)
		if err != nil {
			b.Fatal(err)
		}
		perSide = append(perSide, float64(liveMemory()-before)/(2*n))
		var closing sync.WaitGroup
		for _, conn := range append(dialled, accepted...) {
			closing.Go(func() { _ = conn.Close() })
		}
		closing.Wait()
		cancel()
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(perSide), "B/tunnel-side")
}

// liveMemory is what the heap and the stacks of this process hold after a collection.
func liveMemory() int64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools kept
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
