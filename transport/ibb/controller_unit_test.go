// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import (
	"testing"
	"time"
)

// TestAbandonedSize: a trial of a size that a pause ends without a result is not tried again at once.
func TestAbandonedSize(t *testing.T) {
	c := testController(maxBlockSize)
	p := &path{service: ejabberd.service, rtt: 20 * ms}
	for c.stage != resizing {
		p.run(c, ms)
	}
	c.abandonTrial()
	if size := c.otherSize(p.now); size > c.cur.chunk {
		t.Errorf("%d is tried again at once", size)
	}
}

// TestSizes: all sizes are those that can be tried, and each leads to the next.
func TestSizes(t *testing.T) {
	for _, tt := range []struct{ chunk, above, below int }{
		{1024, 4096, 1024}, {3072, 4096, 1024}, {4096, 16384, 1024}, {8192, 16384, 4096}, {16384, 65536, 4096}, {65535, 65536, 16384},
	} {
		if above, below := sizeAbove(tt.chunk), sizeBelow(tt.chunk); above != tt.above || below != tt.below {
			t.Errorf("beside %d are %d and %d, want %d and %d", tt.chunk, above, below, tt.above, tt.below)
		}
	}
}

// TestControllerIdles: a writer that has little to say does not make the window grow, and what a
// path was like half an hour ago does not decide how much floods it now.
func TestControllerIdles(t *testing.T) {
	c := testController(4096)
	p := &path{service: link(5e6), rtt: 100 * ms}
	p.ready = func(now time.Duration) bool { return now/(100*ms)%10 == 0 } // a tenth of the time
	p.run(c, 30*time.Second)
	if blocks := c.cur.window / c.cur.unit(); blocks > 64 {
		t.Errorf("the window grew to %d blocks although little was sent", blocks)
	}
	p.ready = nil
	p.run(c, 20*time.Second)
	if c.cur.window < 100*4096 {
		t.Fatalf("%v on a path of 500 kB", c)
	}
	idle := p.now
	p.ready = func(now time.Duration) bool { return now > idle+time.Hour }
	p.run(c, time.Hour+50*ms)
	if blocks := c.cur.window / c.cur.unit(); blocks > idleBlocks {
		t.Errorf("%d blocks after an hour", blocks)
	}
	p.ready = nil
	p.run(c, 5*time.Second)
	if then := p.run(c, 10*time.Second); then.rate() < 0.85*capacity(5e6, 100*ms) {
		t.Errorf("%.0f octets per second; %v", then.rate(), c)
	}
}

// TestControllerBounds: whatever the path is, no more blocks and octets are in flight than allowed.
func TestControllerBounds(t *testing.T) {
	for _, tt := range []struct{ blockSize, blocks, octets int }{
		{4096, 1, DefaultReceiveBuffer},
		{4096, 10, DefaultReceiveBuffer},
		{4096, sessionBlocks, 100_000},
		{256, sessionBlocks, DefaultReceiveBuffer},
		{65535, 3, DefaultReceiveBuffer},
		{65535, sessionBlocks, 65535},
	} {
		c := newController(tt.blockSize, tt.blocks, tt.octets, false)
		p := &path{service: link(100e6), rtt: time.Second}
		for range 400 {
			p.run(&c, 100*ms)
			if c.blocks > max(1, tt.blocks) || c.blocks > 1 && c.inFlight > tt.octets || c.cur.chunk > tt.blockSize {
				t.Fatalf("%+v: %d blocks and %d octets in flight", tt, c.blocks, c.inFlight)
			}
		}
		if full := min(tt.blocks, max(1, tt.octets/weight(c.cur.chunk))); c.blocks < full*3/4 {
			t.Errorf("%+v: %d blocks in flight, %d would be possible; %v", tt, c.blocks, full, &c)
		}
	}
}

// TestControllerRefused: a refusal halves the window once, however many blocks were refused, and
// it grows again.
func TestControllerRefused(t *testing.T) {
	c := testController(4096)
	p := &path{service: link(5e6), rtt: 100 * ms}
	p.run(c, 20*time.Second)
	for c.stage != holding { // a refusal ends a trial as well
		p.run(c, ms)
	}
	before := c.cur.window
	for _, f := range p.inFlight {
		c.refused(p.now, f.n)
	}
	p.inFlight = nil
	if c.cur.window < before/2-c.cur.unit() || c.cur.window > before/2 || c.blocks != 0 || c.inFlight != 0 {
		t.Errorf("window %d after a refusal, %d before; %d blocks in flight", c.cur.window, before, c.blocks)
	}
	p.run(c, 5*time.Second)
	if then := p.run(c, 10*time.Second); then.rate() < 0.85*capacity(5e6, 100*ms) {
		t.Errorf("%.0f octets per second; %v", then.rate(), c)
	}
}

// TestControllerTooBig: sizes that were refused are never tried again.
func TestControllerTooBig(t *testing.T) {
	c := testController(65535)
	p := &path{service: ejabberd.service}
	for _, f := range []struct{ refused, chunk int }{{4096, 2048}, {2048, 1024}, {700, 350}, {300, 256}} {
		if !c.tooBig(f.refused) || c.chunk() != f.chunk {
			t.Errorf("after %d was refused the size is %d, want %d", f.refused, c.chunk(), f.chunk)
		}
		for range 20 {
			p.run(c, 100*ms)
			if c.chunk() > f.chunk {
				t.Fatalf("%d octets, although %d were refused", c.chunk(), f.refused)
			}
		}
	}
	if c.tooBig(256) {
		t.Error("there is a size below 256")
	}
}

// TestControllerFixed: what is fixed stays.
func TestControllerFixed(t *testing.T) {
	c := fixedController(4096, 7)
	p := &path{service: link(1e6), rtt: 100 * ms}
	p.run(&c, 10*time.Second)
	if c.blocks != 7 || c.chunk() != 4096 || c.accept() < DefaultSendBuffer {
		t.Errorf("%d blocks of %d octets, %d accepted", c.blocks, c.chunk(), c.accept())
	}
}

// TestControllerMessages: the size of messages is not the controller's.
func TestControllerMessages(t *testing.T) {
	c := newController(65535, sessionBlocks, DefaultReceiveBuffer, true)
	for _, n := range []int{100, 8100, 300} {
		s := c.sent(0, n)
		c.acked(ms, n, s)
	}
	if c.chunk() != 8100 {
		t.Errorf("chunk %d, want that of the largest message", c.chunk())
	}
}
