// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

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

// TestRates: the statistics of BENCHMARKS.md.
func TestRates(t *testing.T) {
	r := rates{"a": {1, 9, 2}, "b": {2, 3, 8}, "c": {4, 4, 4}}
	if got := median(r["b"]); got != 3 {
		t.Errorf("median = %v, want 3", got)
	}
	if got := median([]time.Duration(nil)); got != 0 {
		t.Errorf("median of nothing = %v", got)
	}
	if got := r.ratio("a", "b"); got != 0.5 { // of 0.5, 3, 0.25
		t.Errorf("ratio = %v, want 0.5", got)
	}
	if got := r.best([]contender{{name: "a"}, {name: "c"}, {name: "b"}}); got != "c" {
		t.Errorf("best = %s, want c", got)
	}
}
