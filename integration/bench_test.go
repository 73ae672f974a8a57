// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/transport/ibb"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

const (
	// benchChunk is how much one Write takes: as much as io.Copy writes.
	benchChunk = 32 << 10
	// benchRounds is how often the contenders take their turn. Figures are medians.
	benchRounds = 5
	// finalists is how many settings of the raw sender go on from the sweep to that.
	finalists = 3
	// benchTime bounds what an idle machine does in some seconds.
	benchTime = 2 * time.Minute
)

// addedRTTs are the delays of the contenders' ways: what is added to the round trip
// of an acknowledgement.
func addedRTTs() []time.Duration {
	return []time.Duration{0, 20 * time.Millisecond, 100 * time.Millisecond}
}

// benchServers runs f on each server, without rate limits.
func benchServers(b *testing.B, f func(b *testing.B, s *server)) {
	b.Run("prosody", func(b *testing.B) {
		f(b, startProsody(b, prosodyOptions{proxy65: true}))
	})
	b.Run("ejabberd", func(b *testing.B) {
		f(b, startEjabberd(b, ejabberdOptions{}))
	})
}

// BenchmarkInBand is the rate of payload one way through each server, at each delay:
// tunnels in blocks of the default and of the largest size, other implementations of
// in-band bytestreams, and rendered stanzas without TLS inside. Of these a sweep over
// block sizes and blocks in flight, with and without quick acknowledgements of TCP
// segments, finds the best, which take part.
func BenchmarkInBand(b *testing.B) {
	benchServers(b, func(b *testing.B, s *server) {
		for _, rtt := range addedRTTs() {
			b.Run(fmt.Sprintf("rtt%d", rtt.Milliseconds()), func(b *testing.B) { inBand(b, s, rtt) })
		}
	})
}

// inBand is one row of BenchmarkInBand. All contenders share two accounts, but each has
// sessions of its own.
func inBand(b *testing.B, s *server, rtt time.Duration) {
	// On the way of a tunnel segments are acknowledged at once, as xtls.Connect does.
	client := func(name string, block int) *xtls.Client { return connectSized(b, s.behind(b, rtt, true), name, block) }
	tunnel := tunnelContender(b, client("alice", 0), client("bob", 0))
	large := tunnelContender(b, client("alice", maxBlock), client("bob", maxBlock))
	large.name = fmt.Sprintf("xtls-%d", maxBlock)
	contenders := []contender{
		tunnel, large,
		melliumContender(b, s, "alice", "bob", rtt),
		slixmppContender(b, s, "alice", "bob", rtt),
	}
	plain, quick := newRawPair(b, s, "alice", "bob", rtt, false), newRawPair(b, s, "alice", "bob", rtt, true)
	for b.Loop() {
		raw, usual := sweep(b, rtt, plain, quick)
		// A slow start is part of neither.
		t := trial{settle: 500*time.Millisecond + 10*rtt, window: 1500*time.Millisecond + 5*rtt}
		r := compete(b, benchRounds, t, append(contenders, raw...)...)
		r.report(b)
		best := r.best(raw)
		b.ReportMetric(r.ratio(tunnel.name, best), "xtls/raw")
		b.ReportMetric(r.ratio(large.name, best), large.name+"/raw")
		b.ReportMetric(r.ratio(tunnel.name, r.best(usual)), "xtls/usual")
		b.ReportMetric(r.ratio(tunnel.name, "mellium"), "xtls/mellium")
		b.ReportMetric(r.ratio(tunnel.name, "slixmpp"), "xtls/slixmpp")
	}
}

// maxBlock is the largest block-size (XEP-0047 §2.1).
const maxBlock = 65535

// sweep tries every setting of the raw sender once and returns the best. usual are those of them
// whose blocks are no larger than those of a tunnel by default; there is one at least.
func sweep(b *testing.B, rtt time.Duration, pairs ...*rawPair) (best, usual []contender) {
	b.Helper()
	var all []*rawContender
	found := make(rates)
	t := trial{settle: 200*time.Millisecond + 4*rtt, window: 500*time.Millisecond + 4*rtt}
	for _, p := range pairs {
		for _, block := range []int{1 << 10, 4 << 10, 16 << 10, 64 << 10} {
			row := fmt.Sprintf("raw, quick %v, blocks of %d, MB/s:", p.quick, block)
			for _, inFlight := range []int{1, 4, 8, 16, 64} {
				c := p.contender(block, inFlight)
				all = append(all, c)
				rate := compete(b, 1, t, c.contender)[c.name]
				found[c.name] = rate
				row += fmt.Sprintf(" x%d %.2f", inFlight, rate[0]/1e6)
			}
			b.Log(row)
		}
	}
	slices.SortFunc(all, func(x, y *rawContender) int { return cmp.Compare(found[y.name][0], found[x.name][0]) })
	for _, c := range all {
		small := c.block <= ibb.DefaultBlockSize
		if len(best) < finalists || small && len(usual) == 0 {
			best = append(best, c.contender)
			if small {
				usual = append(usual, c.contender)
			}
		}
	}
	return best, usual
}

// BenchmarkInBandEmbedded is the rate through the server of xtlstest.
func BenchmarkInBandEmbedded(b *testing.B) {
	pair := xtlstest.NewPair(b, xtlstest.Config{})
	c := tunnelContender(b, pair.Alice, pair.Bob)
	for b.Loop() {
		compete(b, benchRounds, trial{500 * time.Millisecond, 1500 * time.Millisecond}, c).report(b)
	}
}

// tunnelContender is a tunnel between two clients.
func tunnelContender(b testing.TB, from, to *xtls.Client) contender {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dialled, accepted, err := tunnels(ctx, from, to, 1)
	if err != nil {
		b.Fatal(err)
	}
	return connContender(b, "xtls", dialled[0], accepted[0], 0)
}

// connContender is a connection with both ends here. It is closed at the end. Up to
// held octets may stay on the way when nothing more is written.
func connContender(b testing.TB, name string, out io.WriteCloser, in io.ReadCloser, held int64) contender {
	b.Helper()
	arrived := new(arrivals)
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(arrived, in) })
	b.Cleanup(func() {
		_ = out.Close()
		_ = in.Close()
		reading.Wait()
	})
	data := randomBytes(benchChunk)
	var sent int64
	return contender{name, arrived, func(ctx context.Context) error {
		for ctx.Err() == nil {
			n, err := out.Write(data)
			sent += int64(n)
			if err != nil {
				return err
			}
		}
		return arrived.await(sent - held)
	}}
}

// BenchmarkSetUp is the time of one Dial between sessions that are online, and what
// travels for it.
func BenchmarkSetUp(b *testing.B) {
	benchServers(b, func(b *testing.B, s *server) { setUp(b, connect(b, s, "alice"), connect(b, s, "bob")) })
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
	p := startProsody(b, prosodyOptions{proxy65: true})
	for _, bm := range []struct {
		path xtls.Path
		n    int
	}{{xtls.PathInBand, 1000}, {xtls.PathRelay, 200}} {
		b.Run(bm.path.String(), func(b *testing.B) {
			idleTunnels(b, connectBy(b, p, "alice", bm.path), connectBy(b, p, "bob", bm.path), bm.n)
		})
	}
}

// idleTunnels reports the memory of one side of one of n tunnels.
func idleTunnels(b *testing.B, alice, bob *xtls.Client, n int) {
	var perSide []float64
	for b.Loop() {
		ctx, cancel := context.WithTimeout(b.Context(), benchTime)
		before := liveMemory()
		dialled, accepted, err := tunnels(ctx, alice, bob, n)
		if err != nil {
			b.Fatal(err)
		}
		perSide = append(perSide, float64(liveMemory()-before)/float64(2*n))
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
