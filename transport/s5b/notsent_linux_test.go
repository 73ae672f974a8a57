// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"testing"
	"time"
)

// TestSmallWritesDoNotWait: a writer does not get megabytes ahead of the network.
func TestSmallWritesDoNotWait(t *testing.T) {
	c, _, y := newDirect(t)
	_ = y.SetReadBuffer(4096)
	_ = c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	total := 0
	for {
		n, err := c.Write(make([]byte, 8192))
		if total += n; err != nil {
			break
		}
	}
	// What y's window took, and notSent in the kernel. Without the bound it is some megabytes.
	if total > 2<<20 {
		t.Errorf("%d octets are under way to a peer that reads nothing", total)
	}
	_ = c.Close()
}
