// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"
)

// A contender carries octets from one client to another one, somehow.
type contender struct {
	name    string
	arrived *arrivals
	// send carries octets as fast as it can until ctx ends. Then it returns, once all of
	// them have arrived and nothing is under way any more.
	send func(ctx context.Context) error
}

// A trial says how a contender is measured: it sends for settle until the rate is
// steady, then for window, in which is counted what arrives.
type trial struct {
	settle, window time.Duration
}

// drainTime bounds how long a contender may take to come to rest after a trial: a
// server with a rate limit may be holding seconds of it.
const drainTime = 3 * time.Minute

// measure returns the rate of c in octets per second.
func (c contender) measure(ctx context.Context, t trial) (float64, error) {
	var rate float64
	err := c.during(ctx, func(ctx context.Context) error {
		if err := pause(ctx, t.settle); err != nil {
			return err
		}
		before, start := c.arrived.count(), time.Now()
		if err := pause(ctx, t.window); err != nil {
			return err
		}
		rate = float64(c.arrived.count()-before) / time.Since(start).Seconds()
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", c.name, err)
	}
	return rate, nil
}

// during runs f while c sends. The context of f ends if the sending does.
func (c contender) during(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var sending sync.WaitGroup
	var sendErr error
	sending.Go(func() {
		sendErr = c.send(ctx)
		cancel(cmp.Or(sendErr, io.ErrUnexpectedEOF))
	})
	err := f(ctx)
	cancel(nil)
	sending.Wait()
	return cmp.Or(sendErr, err)
}

// pause lets d pass.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// arrivals counts octets that have arrived. It is safe for concurrent use.
type arrivals struct {
	mu    sync.Mutex
	total int64
	more  chan struct{} // closed at the next arrival; nil if nobody waits for it
}

// add counts n octets.
func (a *arrivals) add(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total += int64(n)
	if a.more != nil {
		close(a.more)
		a.more = nil
	}
}

// Write counts p.
func (a *arrivals) Write(p []byte) (int, error) {
	a.add(len(p))
	return len(p), nil
}

// count returns how many octets have arrived.
func (a *arrivals) count() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total
}

// await waits, within drainTime, until so many have arrived.
func (a *arrivals) await(total int64) error {
	timer := time.NewTimer(drainTime)
	defer timer.Stop()
	for {
		a.mu.Lock()
		got := a.total
		if a.more == nil {
			a.more = make(chan struct{})
		}
		more := a.more
		a.mu.Unlock()
		if got >= total {
			return nil
		}
		select {
		case <-more:
		case <-timer.C:
			return fmt.Errorf("%d of %d octets have arrived", got, total)
		}
	}
}

// rates are those of each contender, one for each round, in octets per second.
type rates map[string][]float64

// compete measures the contenders in turn, rounds times.
func compete(b *testing.B, rounds int, t trial, contenders ...contender) rates {
	b.Helper()
	all := make(rates)
	for range rounds {
		for _, c := range contenders {
			rate, err := c.measure(b.Context(), t)
			if err != nil {
				b.Fatal(err)
			}
			all[c.name] = append(all[c.name], rate)
		}
	}
	return all
}

// report adds the median rate of each contender to the results of a benchmark.
func (r rates) report(b *testing.B) {
	b.Helper()
	b.ReportMetric(0, "ns/op") // it would only say how long all rounds took
	for name, values := range r {
		b.ReportMetric(median(values)/1e6, name+"-MB/s")
	}
}

// ratio returns the median of what one contender reached of another one in the same
// round: what else the machine does changes both.
func (r rates) ratio(one, other string) float64 {
	var ratios []float64
	for i, rate := range r[one] {
		ratios = append(ratios, rate/r[other][i])
	}
	return median(ratios)
}

// best returns which of these contenders has the highest median.
func (r rates) best(contenders []contender) string {
	return slices.MaxFunc(contenders, func(a, b contender) int {
		return cmp.Compare(median(r[a.name]), median(r[b.name]))
	}).name
}

// median returns the middle one of values, the upper one of two; zero if there is
// none.
func median[T float64 | time.Duration](values []T) T {
	if len(values) == 0 {
		return 0
	}
	values = slices.Clone(values)
	slices.Sort(values)
	return values[len(values)/2]
}

// milliseconds is d as a metric.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
