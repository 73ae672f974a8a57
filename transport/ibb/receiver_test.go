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
			r := receiver{blockSize: block, window: first, most: most, limit: first}
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
