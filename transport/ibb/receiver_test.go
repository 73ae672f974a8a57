// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import "testing"

// TestReceiverWindow: the window grows with each one that was received while the reader kept at
// least half of it free, up to its bound, and the limit never falls.
func TestReceiverWindow(t *testing.T) {
	const block, first, most = 1000, 8000, 30_000
	for _, tt := range []struct {
		name    string
		behind  int // octets that the reader leaves
		windows int
		want    int
	}{
		{"keeps up", 0, 1, 16_000},
		{"keeps up for long", 0, 20, most},
		{"half behind", 3000, 20, most},
		{"more than half behind", 4000, 20, first},
		{"first window not yet full", 0, 0, first},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := receiver{blockSize: block, first: first, window: first, most: most, limit: first, all: new(windows)}
			payload := make([]byte, block)
			for range max(first-block, tt.windows*most) / block {
				if !r.fits(block) || r.received+block > r.limit {
					t.Fatalf("no room with %d octets queued and a window of %d", r.queued, r.window)
				}
				r.take(payload, true)
				if r.queued > tt.behind {
					if _, err := r.read(make([]byte, r.queued-tt.behind)); err != nil {
						t.Fatal(err)
					}
				}
				if before := r.limit; r.grant() < before {
					t.Fatalf("limit fell from %d to %d", before, r.limit)
				}
				if tt.windows == 1 && r.received == first {
					break
				}
			}
			if r.window != tt.want {
				t.Errorf("window %d, want %d", r.window, tt.want)
			}
		})
	}
}

// TestReceiverGrowth: all windows together grow by so much and no more, until one is closed.
func TestReceiverGrowth(t *testing.T) {
	const block, first = 1000, 8000
	all := new(windows)
	grown := func() *receiver {
		r := &receiver{blockSize: block, first: first, window: first, most: mostGrowth * 3 / 4, all: all}
		payload := make([]byte, block)
		for range 4 * mostGrowth / block {
			r.take(payload, true)
			if _, err := r.read(payload); err != nil {
				t.Fatal(err)
			}
		}
		return r
	}
	a, b := grown(), grown()
	if sum := a.window + b.window - 2*first; a.window != a.most || sum > mostGrowth || b.window <= first {
		t.Errorf("windows %d and %d", a.window, b.window)
	}
	a.close()
	a.close()
	b.close()
	if c := grown(); c.window != c.most {
		t.Errorf("window %d after the others were closed", c.window)
	}
	if n := all.octets.Load(); n != mostGrowth*3/4-first {
		t.Errorf("%d octets are counted", n)
	}
}

// TestQueueMemory: who queues little does not hold on to memory that was needed for much.
func TestQueueMemory(t *testing.T) {
	var large, small queue
	piece := make([]byte, 64<<10)
	for range 32 {
		large.push(piece)
	}
	for large.len() > 0 {
		large.drop(len(piece))
	}
	small.push(piece[:1])
	if cap(small.buf) > largeQueue {
		t.Errorf("one octet holds %d", cap(small.buf))
	}
	// In order, whatever moves.
	var q queue
	next, want := byte(0), byte(0)
	for i := range 200 {
		for range 5000 {
			q.push([]byte{next})
			next++
		}
		for range min(q.len(), 50*i) {
			if got := q.at(0, 1)[0]; got != want {
				t.Fatalf("octet %d, want %d", got, want)
			}
			q.drop(1)
			want++
		}
	}
}
