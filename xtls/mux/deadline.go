// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package mux

import (
	"sync"
	"time"
)

// A deadline is one of the two of a Stream. The mutex of the session, which is also that of
// the condition variables, guards it.
type deadline struct {
	timer   *time.Timer
	expired bool
	gen     uint // counts settings, so that a timer that could not be stopped does no harm
}

// setLocked replaces the deadline; the zero time means none. wake is called, with mu held, when
// it expires, at once for one in the past.
func (d *deadline) setLocked(mu *sync.Mutex, t time.Time, wake func()) {
	d.stopLocked()
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		d.expired = true
		wake()
		return
	}
	gen := d.gen
	d.timer = time.AfterFunc(left, func() {
		mu.Lock()
		defer mu.Unlock()
		if d.gen == gen {
			d.expired = true
			wake()
		}
	})
}

// stopLocked removes the deadline.
func (d *deadline) stopLocked() {
	d.gen++
	d.expired = false
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
