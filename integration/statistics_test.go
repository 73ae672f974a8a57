// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// rates are those of each contender, one for each round, in octets per second.
type rates map[string][]float64

// report adds the median rate of each contender to the results of a benchmark.
func (r rates) report(b *testing.B) {
	b.Helper()
	b.ReportMetric(0, "ns/op") // it would only say how long all rounds took
	for name, values := range r {
		b.ReportMetric(median(values)/1e6, name+"-MB/s")
		each := make([]string, len(values))
		for i, v := range values {
			each[i] = fmt.Sprintf("%.4g", v/1e6)
		}
		b.Logf("%s, MB/s in each round: %s", name, strings.Join(each, " "))
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
