// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import (
	"fmt"
	"testing"
	"time"
)

const ms = time.Millisecond

// testController is one as streams with credit have it.
func testController(blockSize int) *controller {
	c := newController(blockSize, sessionBlocks, DefaultReceiveBuffer, false)
	return &c
}

// capacity is the payload rate of a path of this rate that blocks of 4096 octets can have: what
// the envelopes leave of it, and what the largest window carries.
func capacity(rate float64, rtt time.Duration) float64 {
	share := 4096.0 / float64(weight(4096))
	if rtt == 0 {
		return rate * share
	}
	return min(rate, float64(min(DefaultReceiveBuffer, sessionBlocks*weight(4096)))/rtt.Seconds()) * share
}

// TestControllerOnLinks: on a path that has a rate and a round trip and nothing else most of the
// rate is used, and what stands in the queue delays others by little: by a block, or where that
// is short by a part of the round trip; at first by twice what the path holds.
func TestControllerOnLinks(t *testing.T) {
	for _, rate := range []float64{10e3, 100e3, 1e6, 5e6, 20e6} {
		for _, rtt := range []time.Duration{0, 20 * ms, 100 * ms, 200 * ms, 500 * ms} {
			t.Run(fmt.Sprintf("%.0f/%v", rate, rtt), func(t *testing.T) {
				c := testController(4096)
				p := &path{service: link(rate), rtt: rtt}
				block := seconds(float64(weight(4096)) / rate)
				start := p.run(c, max(15*time.Second, 40*rtt))
				if most := 3*block + 2*rtt; start.worstDelay > most {
					t.Errorf("starting, the queue takes up to %v, want %v", start.worstDelay, most)
				}
				if share := start.rate() / capacity(rate, rtt); share < 0.6 {
					t.Errorf("starting takes so long that the share is %.2f", share)
				}
				then := p.run(c, time.Minute)
				if share := then.rate() / capacity(rate, rtt); share < 0.9 {
					t.Errorf("share %.3f of the path with %v", share, c)
				}
				if most := 2*block + rtt/3 + 30*ms; then.meanDelay > most {
					t.Errorf("the queue takes %v, want %v; %v", then.meanDelay, most, c)
				}
			})
		}
	}
}

// TestControllerWithJitter: round trips that vary do not make it take a path for full. The
// acknowledgements keep their order, so jitter of 50 ms makes the mean round trip nearly as much
// longer.
func TestControllerWithJitter(t *testing.T) {
	const jitter = 50 * ms
	for _, rate := range []float64{10e3, 100e3, 1e6, 5e6, 20e6} {
		for _, rtt := range []time.Duration{0, 20 * ms, 100 * ms, 500 * ms} {
			t.Run(fmt.Sprintf("%.0f/%v", rate, rtt), func(t *testing.T) {
				c := testController(4096)
				p := &path{service: link(rate), rtt: rtt, jitter: jitter}
				p.run(c, 15*time.Second)
				then := p.run(c, time.Minute)
				if share := then.rate() / capacity(rate, rtt+jitter); share < 0.85 {
					t.Errorf("share %.3f of the path with %v", share, c)
				}
				block := seconds(float64(weight(4096)) / rate)
				if most := 2*block + rtt + 3*jitter; then.meanDelay > most {
					t.Errorf("the queue takes %v, want %v; %v", then.meanDelay, most, c)
				}
			})
		}
	}
}

// TestControllerWithClumps: nor do acknowledgements that come many at once.
func TestControllerWithClumps(t *testing.T) {
	for _, batch := range []time.Duration{5 * ms, 20 * ms, 100 * ms} {
		for _, rate := range []float64{100e3, 1e6, 10e6} {
			t.Run(fmt.Sprintf("%v/%.0f", batch, rate), func(t *testing.T) {
				c := testController(4096)
				p := &path{service: link(rate), rtt: 50 * ms, batch: batch}
				p.run(c, 15*time.Second)
				then := p.run(c, time.Minute)
				if share := then.rate() / capacity(rate, 50*ms+2*batch); share < 0.75 {
					t.Errorf("share %.3f of the path with %v", share, c)
				}
				if most := 150*ms + 2*batch; then.meanDelay > most {
					t.Errorf("the queue takes %v, want %v; %v", then.meanDelay, most, c)
				}
			})
		}
	}
}

// TestControllerUnderLimit: a server lets 20 kB pass at once and then 10 kB/s, base64 counted.
// Nothing of it is left unused, and others wait behind a block, and no flood at the beginning.
func TestControllerUnderLimit(t *testing.T) {
	for _, rtt := range []time.Duration{0, 50 * ms, 200 * ms} {
		t.Run(rtt.String(), func(t *testing.T) {
			c := testController(maxBlockSize)
			p := &path{service: bucket(10e3, 20e3, 10e6), rtt: rtt}
			start := p.run(c, 15*time.Second)
			if start.worstQueue > 4*4096 {
				t.Errorf("%d octets stood in the queue at first", start.worstQueue)
			}
			if ahead := c.accept(); ahead > 4*4096 {
				t.Errorf("Write takes %d octets ahead", ahead)
			}
			then := p.run(c, 2*time.Minute)
			if share := then.rate() / capacity(10e3*3/4, 0); share < 0.95 {
				t.Errorf("share %.3f of the limit with %v", share, c)
			}
			if then.worstQueue > 2*4096 || then.meanDelay > 700*ms {
				t.Errorf("up to %d octets stand in the queue, which takes %v on average; %v", then.worstQueue, then.meanDelay, c)
			}
			if c.cur.chunk != slowChunk {
				t.Errorf("settled at %v", c)
			}
		})
	}
}

// TestControllerOnServers: what a server carries depends on what is in flight and how it is cut,
// and the best of it is not found by a model. Rates are measured ones, in MB/s.
func TestControllerOnServers(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		server               server
		blockSize            int
		best                 float64 // of its table
		minChunk, maxChunk   int
		minBlocks, maxBlocks int
	}{
		{"Prosody", prosody, 4096, 10.6, 4096, 4096, 1, 2},
		{"Prosody, large blocks possible", prosody, 65535, 10.6, 4096, 4096, 1, 2},
		{"Prosody, quick acknowledgements", prosodyQuick, 65535, 9.9, 4096, 4096, 2, 16},
		{"ejabberd", ejabberd, 4096, 44, 4096, 4096, 4, 64},
		{"ejabberd, large blocks possible", ejabberd, 65535, 112, 32768, 65535, 1, 64},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := testController(tt.blockSize)
			p := &path{service: tt.server.service}
			if first := p.run(c, 3*time.Second).rate() / 1e6; first < 0.5*tt.best {
				t.Errorf("%.1f MB/s in the first seconds", first)
			}
			if then := p.run(c, 20*time.Second).rate() / 1e6; then < 0.75*tt.best {
				t.Errorf("%.1f MB/s, the best is %.1f; %v", then, tt.best, c)
			}
			for c.stage != holding {
				p.run(c, ms)
			}
			blocks := c.cur.window / c.cur.unit()
			if c.cur.chunk < tt.minChunk || c.cur.chunk > tt.maxChunk || blocks < tt.minBlocks || blocks > tt.maxBlocks {
				t.Errorf("settled at %v", c)
			}
		})
	}
}

// TestControllerWithNoise: nor is it lost where two readings of one setting differ by as much as one
// of two settings.
func TestControllerWithNoise(t *testing.T) {
	for name, tt := range map[string]struct {
		server server
		best   float64 // of its table
	}{
		"Prosody": {prosody, 10.6}, "Prosody, quick acknowledgements": {prosodyQuick, 9.9}, "ejabberd": {ejabberd, 112},
	} {
		t.Run(name, func(t *testing.T) {
			c := testController(maxBlockSize)
			p := &path{service: noisy(tt.server.service, 0.2)}
			p.run(c, 3*time.Second)
			for range 3 {
				if then := p.run(c, 10*time.Second).rate() / 1e6; then < 0.75*tt.best {
					t.Errorf("%.1f MB/s, the best is %.1f; %v", then, tt.best, c)
				}
			}
		})
	}
}

// TestControllerWithinCredit: where the peer takes less than the path, all of that is used, and a
// window that it does not fill is no trial that goes on for ever: the size of blocks is found as well.
func TestControllerWithinCredit(t *testing.T) {
	for _, credit := range []int{300_000, 1 << 20, 3 << 20} {
		for _, rtt := range []time.Duration{20 * ms, 100 * ms} {
			t.Run(fmt.Sprintf("%d/%v", credit, rtt), func(t *testing.T) {
				c := testController(maxBlockSize)
				p := &path{service: ejabberd.service, rtt: rtt, credit: credit}
				p.run(c, 5*time.Second)
				then := p.run(c, 20*time.Second)
				if share := then.rate() / min(90e6, float64(credit)/rtt.Seconds()); share < 0.75 {
					t.Errorf("share %.3f of the credit with %v", share, c)
				}
				if credit >= 1<<20 && c.cur.chunk < 4*startChunk {
					t.Errorf("settled at %v", c)
				}
			})
		}
	}
}

// TestControllerWhenTheRateChanges: in mid-flight, in both directions. What is in the queue when a
// path becomes slower must run out first, which no sender can hasten.
func TestControllerWhenTheRateChanges(t *testing.T) {
	const at = 20 * time.Second
	for _, tt := range []struct {
		first, second float64
		rtt           time.Duration
		recovery      time.Duration
	}{
		{20e6, 10e3, 0, 5 * time.Second},
		{5e6, 500e3, 50 * ms, 5 * time.Second},
		{1e6, 100e3, 200 * ms, 10 * time.Second},
		{5e6, 100e3, 100 * ms, 15 * time.Second},
		{10e3, 20e6, 0, 2 * time.Second},
		{100e3, 5e6, 50 * ms, 5 * time.Second},
		{10e3, 1e6, 200 * ms, 10 * time.Second},
		{1e6, 20e6, 100 * ms, 10 * time.Second},
	} {
		t.Run(fmt.Sprintf("%.0f to %.0f at %v", tt.first, tt.second, tt.rtt), func(t *testing.T) {
			c := testController(4096)
			p := &path{service: changing(tt.first, tt.second, at), rtt: tt.rtt}
			p.run(c, at)
			p.run(c, tt.recovery)
			then := p.run(c, 10*time.Second)
			if share := then.rate() / capacity(tt.second, tt.rtt); share < 0.85 {
				t.Errorf("share %.3f of the path after %v; %v", share, tt.recovery, c)
			}
			block := seconds(float64(weight(4096)) / tt.second)
			if most := 3*block + tt.rtt + 50*ms; then.worstDelay > most {
				t.Errorf("the queue takes up to %v after %v, want %v; %v", then.worstDelay, tt.recovery, most, c)
			}
			if slow := tt.second < 17e3; (c.cur.chunk == slowChunk) != slow || c.cur.chunk < slowChunk {
				t.Errorf("settled at %v", c)
			}
		})
	}
}

// TestControllerWhenTheRateChangesInAPause: the first answers after it are not judged unless they
// are very late.
func TestControllerWhenTheRateChangesInAPause(t *testing.T) {
	const pause = 8 * time.Second
	for _, second := range []float64{10e3, 100e3, 5e6} {
		t.Run(fmt.Sprintf("%.0f", second), func(t *testing.T) {
			c := testController(4096)
			const at = 10 * time.Second
			p := &path{service: changing(5e6, second, at), rtt: 50 * ms}
			p.ready = func(now time.Duration) bool { return now < at || now >= at+pause }
			p.run(c, at+pause)
			p.run(c, 40*time.Second) // what leaves at once after the pause takes up to 27 s
			then := p.run(c, 10*time.Second)
			if share := then.rate() / capacity(second, p.rtt); share < 0.85 {
				t.Errorf("share %.3f of the path; %v", share, c)
			}
			block := seconds(float64(weight(4096)) / second)
			if most := 3*block + p.rtt + 50*ms; then.worstDelay > most {
				t.Errorf("the queue takes up to %v, want %v; %v", then.worstDelay, most, c)
			}
		})
	}
}

// TestControllerOnLedge: with three blocks on the way or more, TCP takes a round trip more; after a
// pause it finds its own rate first; and all may stand still for a moment. None of it is a queue.
// So it is with Prosody on a link of 20 ms with an MTU of 1500, where the raw sender has 0.09,
// 0.18, 0.19, 0.24, 0.51, 0.98, 2.1 and 3.4 MB/s with 1, 2, 3, 4, 8, 16, 32 and 64 blocks.
func TestControllerOnLedge(t *testing.T) {
	for _, tt := range []struct {
		steep       time.Duration // what three and four blocks take more than many
		jitter      time.Duration
		still, each time.Duration // how long all stands still, and how often
	}{
		{},
		{jitter: 10 * ms},
		{jitter: 30 * ms},
		{still: 120 * ms, each: 1500 * ms},
		{jitter: 10 * ms, still: 120 * ms, each: 1500 * ms},
		{jitter: 30 * ms, still: 120 * ms, each: 1500 * ms},
		{steep: 16 * ms},
		{steep: 16 * ms, jitter: 10 * ms},
		{steep: 16 * ms, still: 120 * ms, each: 1500 * ms},
		{still: 600 * ms, each: 7100 * ms},
		{steep: 16 * ms, still: 600 * ms, each: 7100 * ms},
	} {
		t.Run(fmt.Sprintf("%v/%v/%v", tt.steep, tt.jitter, tt.still), func(t *testing.T) {
			c := testController(4096)
			var resumed, paused time.Duration
			p := &path{service: link(5e6), rtt: 45 * ms, jitter: tt.jitter}
			p.ready = func(now time.Duration) bool { return now >= resumed || now < paused }
			p.late = func(f flying, inFlight int) time.Duration {
				due := f.answered
				if inFlight > 2 {
					due += 20 * ms
				}
				if inFlight == 3 || inFlight == 4 {
					due += tt.steep
				}
				if since := f.stamp.at - resumed; since < 300*ms {
					due += (300*ms - since) / 2
				}
				if tt.each > 0 && due%tt.each < tt.still {
					due += tt.still - due%tt.each
				}
				return due
			}
			p.run(c, 2*time.Second)
			if got := p.run(c, time.Second).rate() / 1e6; got < 2.5 {
				t.Errorf("%.2f MB/s after the start; %v", got, c)
			}
			for i := range 5 {
				if got := p.run(c, 3*time.Second).rate() / 1e6; got < 3 {
					t.Errorf("%.2f MB/s after %d pauses; %v", got, i, c)
				}
				paused, resumed = p.now, p.now+8*time.Second
				p.run(c, 8*time.Second)
				if got := p.run(c, 2*time.Second).rate() / 1e6; got < 2 {
					t.Errorf("%.2f MB/s in the first seconds after %d pauses; %v", got, i+1, c)
				}
			}
		})
	}
}

// TestControllerAfterStandstill: all stands still, the first answers come slowly, and then it goes on as
// before.
func TestControllerAfterStandstill(t *testing.T) {
	for _, still := range []time.Duration{200 * ms, 400 * ms, time.Second} {
		t.Run(still.String(), func(t *testing.T) {
			c := testController(4096)
			p := &path{service: link(5e6), rtt: 50 * ms}
			p.run(c, 10*time.Second)
			before, from, slow := c.cur.window, p.now+50*ms, 0
			p.late = func(f flying, _ int) time.Duration {
				if f.answered < from {
					return f.answered
				}
				slow = min(slow+1, 6)
				return max(f.answered, from+still+time.Duration(slow)*20*ms)
			}
			drained := false
			for range int((still + 300*ms) / ms) {
				p.run(c, ms)
				drained = drained || c.stage == draining
			}
			if !drained || c.stage == draining || c.cur.window < before/4 {
				t.Errorf("window %d, %d before; it was drained: %t; %v", c.cur.window, before, drained, c)
			}
		})
	}
}

// TestControllerDrained: the last answers of a burst come late, and nothing is left to run out. Whoever
// writes again later finds half of the window, not one block.
func TestControllerDrained(t *testing.T) {
	c := testController(4096)
	p := &path{service: link(5e6), rtt: 100 * ms}
	p.run(c, 10*time.Second)
	before := c.cur.window
	late := p.now + 2*time.Second
	c.change(holding) // no reading is so far that these would end it
	for i, f := range p.inFlight {
		if i == len(p.inFlight)-1 {
			late += surge
		}
		c.acked(late, f.n, f.stamp)
	}
	c.idle(late)
	*p = path{service: p.service, rtt: p.rtt, now: late + 20*time.Second}
	if p.run(c, 300*ms); c.cur.window < before/2-c.cur.unit() {
		t.Errorf("window %d, %d before; %v", c.cur.window, before, c)
	}
}
