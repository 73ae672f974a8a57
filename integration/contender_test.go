// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
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

// TestMeasure: a contender of a known rate is found to have it, and is at rest
// afterwards.
func TestMeasure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := contender{name: "steady", arrived: new(arrivals)}
		var sent int64
		c.send = func(ctx context.Context) error {
			for ctx.Err() == nil {
				time.Sleep(time.Millisecond)
				sent += 1000
				time.AfterFunc(time.Second, func() { c.arrived.add(1000) })
			}
			return c.arrived.await(sent)
		}
		for range 2 {
			rate, err := c.measure(t.Context(), trial{settle: 2 * time.Second, window: 3 * time.Second})
			if err != nil || rate < 0.99e6 || rate > 1.01e6 {
				t.Errorf("rate = %.0f, %v", rate, err)
			}
			if got := c.arrived.count(); got != sent {
				t.Errorf("%d of %d octets have arrived at the end", got, sent)
			}
		}
	})
}

// TestMeasureFails: a contender that ends or loses something is an error.
func TestMeasureFails(t *testing.T) {
	broken := errors.New("broken")
	for _, tc := range []struct {
		name string
		send func(ctx context.Context, a *arrivals) error
		want error // nil: any
	}{
		{"error", func(context.Context, *arrivals) error { return broken }, broken},
		{"ends", func(context.Context, *arrivals) error { return nil }, io.ErrUnexpectedEOF},
		{"loses", func(ctx context.Context, a *arrivals) error {
			<-ctx.Done()
			return a.await(1)
		}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := new(arrivals)
				c := contender{tc.name, a, func(ctx context.Context) error { return tc.send(ctx, a) }}
				_, err := c.measure(t.Context(), trial{settle: time.Second, window: time.Second})
				if err == nil || tc.want != nil && !errors.Is(err, tc.want) {
					t.Errorf("error = %v, want %v", err, tc.want)
				}
			})
		})
	}
}

// TestContenders: whatever a tunnel is compared with carries octets, and nothing of it
// is left on the way afterwards.
func TestContenders(t *testing.T) {
	t.Parallel()
	const rtt = 40 * time.Millisecond // far more than the rest takes
	servers := map[string]*server{
		"prosody":  startProsody(t, prosodyOptions{proxy65: true}),
		"ejabberd": startEjabberd(t, ejabberdOptions{}),
	}
	for name, s := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tunnel, ping := loadedTunnel(t, connect(t, s.behind(t, rtt, true), "alice"), connect(t, s.behind(t, rtt, true), "bob"))
			raw := newRawPair(t, s, "alice", "bob", rtt, true).contender(1024, 4)
			for _, c := range []contender{
				tunnel,
				raw.contender,
				newRawPair(t, s, "alice", "bob", 0, false).contender(65536, 2).contender,
				melliumContender(t, s, "alice", "bob", rtt),
				slixmppContender(t, s, "alice", "bob", rtt),
			} {
				carries(t, c, 0)
			}
			carries(t, relayContender(t, s, "alice", "bob"), relayHeld)
			if trip := raw.roundTrip(); trip < rtt {
				t.Errorf("a block is answered after %v although %v were added", trip, rtt)
			}
			rate, trips, err := load{trial{0, time.Second}, ping, rtt}.measure(t.Context(), tunnel)
			if err != nil || rate == 0 || median(trips) < rtt {
				t.Errorf("%s under load: %.0f octets/s, %v, %v", tunnel.name, rate, trips, err)
			}
		})
	}
	t.Run("direct", func(t *testing.T) {
		t.Parallel()
		carries(t, tlsContender(t), 0)
		carries(t, sshContender(t), 0)
	})
}

// carries lets c send twice and checks that it rests in between, when up to held
// octets may still arrive.
func carries(t *testing.T, c contender, held int64) {
	t.Helper()
	for range 2 {
		before := c.arrived.count()
		err := c.during(t.Context(), func(context.Context) error { return c.arrived.await(before + 30_000) })
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		before = c.arrived.count()
		if err := pause(t.Context(), 50*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if late := c.arrived.count() - before; late > held {
			t.Errorf("%s: %d octets have arrived at rest", c.name, late)
		}
	}
}
