// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest

import "time"

// A bucket is the allowance of one client in octets: it fills at rate per second
// up to one second's worth. Taking never fails; it waits until the bucket is out
// of debt, so that a single large piece is possible. Not for concurrent use.
type bucket struct {
	rate  float64
	level float64
	last  time.Time
}

func newBucket(rate int) *bucket {
	return &bucket{rate: float64(rate), level: float64(rate), last: time.Now()}
}

// take takes n octets out and waits off what the bucket then owes, or until stop
// is closed.
func (b *bucket) take(n int, stop <-chan struct{}) {
	now := time.Now()
	b.level = min(b.rate, b.level+b.rate*now.Sub(b.last).Seconds()) - float64(n)
	b.last = now
	if b.level >= 0 {
		return
	}
	timer := time.NewTimer(time.Duration(-b.level / b.rate * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-stop:
	}
}
