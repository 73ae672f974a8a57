// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import "time"

const (
	// A reading takes a round trip at least, and fastReading with readingBlocks blocks, twice that for
	// sizes of blocks, or slowReading on paths that do not carry so many in that time.
	fastReading   = 50 * time.Millisecond
	slowReading   = 250 * time.Millisecond
	readingBlocks = 32

	// mostIdle is the part of a reading (1/mostIdle) in which there may have been nothing to send.
	mostIdle = 4

	// lateness is by how much, beside taking twice as long as without it, a trial may be behind
	// before it is given up.
	lateness = 30 * time.Millisecond

	// surge is the same for round trips that show that the path has become slower, and how long
	// they must: everything may stand still for a moment.
	surge = 50 * time.Millisecond
)

// A reading is one measurement of the setting in use: from one acknowledgement to another one
// that is a number of round trips later. It does not begin before the setting has its effect.
type reading struct {
	filled  bool   // the window has been full with this setting
	settled bool   // a block that filled it was acknowledged
	mark    uint64 // the acknowledgement of a block sent at this offset or later ends a round

	start     time.Duration
	delivered uint64 // at start
	rounds    int
	blocks    int
	rtts      time.Duration // sum of their round trips
	load      float64       // load of the controller at start
	idle      time.Duration // time without anything to send
}

// begin starts the measurement at an acknowledgement.
func (c *controller) begin(now time.Duration) {
	c.reading = reading{filled: true, settled: true, mark: c.out, start: now, delivered: c.delivered, load: c.load}
}

// settle waits for the acknowledgement of a block that was sent when the window was full.
func (c *controller) settle(now, rtt time.Duration, s stamp) {
	if !c.reading.filled || s.offset < c.reading.mark {
		return
	}
	// While no queue shows, starting needs no measurement.
	if c.stage == starting && rtt <= c.cur.least.get()*5/4 {
		c.cur.rate = float64(c.delivered-s.delivered) / rtt.Seconds()
		c.cur.rtt = rtt
		c.grow()
		return
	}
	c.begin(now)
}

// measure takes an acknowledgement into the reading, and decides once it is complete.
func (c *controller) measure(now, rtt time.Duration, s stamp) {
	r := &c.reading
	r.blocks++
	r.rtts += rtt
	if s.offset >= r.mark {
		r.rounds++
		r.mark = c.out
	}
	took := now - r.start
	if c.late(took) {
		c.giveUp(now)
		return
	}
	least := fastReading
	if c.stage == resizing {
		least *= 2 // what is seldom tried may take longer, and an error stays longer
	}
	if r.rounds == 0 || took < least || r.blocks < readingBlocks && took < slowReading {
		return
	}
	if r.idle > took/mostIdle {
		c.begin(now)
		return
	}
	before := c.cur
	c.cur.rtt = r.rtts / time.Duration(r.blocks)
	// The rate is what was in flight on average by the mean round trip (Little's law). What came
	// in the time it took says less: acknowledgements come in clumps, and which part of a clump
	// a reading has at its ends is chance.
	c.cur.rate = (c.load - r.load) / took.Seconds() / c.cur.rtt.Seconds()
	c.decide(now, before)
}

// late tells whether a trial is so much worse already that its end need not be awaited.
func (c *controller) late(took time.Duration) bool {
	if c.stage == holding || c.kept.rate == 0 {
		return false
	}
	expected := float64(c.delivered-c.reading.delivered) / c.kept.rate
	return took.Seconds() > 2*expected+(2*c.kept.rtt+lateness).Seconds()
}

// collapsed tells from round trips that the path has become much slower than it was: what is
// in flight stands in a queue now.
func (c *controller) collapsed(now, rtt time.Duration) bool {
	ref := c.kept
	if c.stage == holding {
		ref = c.cur
	}
	if ref.rate == 0 || c.stage == resizing || c.cur.window < 2*c.cur.unit() {
		c.surging = 0
		return false
	}
	usual := float64(ref.rtt) * max(1, float64(c.cur.window)/float64(ref.window))
	if rtt <= 2*time.Duration(usual)+surge {
		c.surging = 0
		return false
	}
	if c.surging == 0 {
		c.surging = now
	}
	return now-c.surging >= surge
}

// startDraining halves the window at once and lets what stands in the queue run out.
func (c *controller) startDraining(now time.Duration) {
	c.surging = 0
	c.abandonTrial()
	c.setWindow(c.cur.window / 2)
	if c.inFlight == 0 {
		c.forget() // it has run out, and nobody writes
		return
	}
	c.half = c.cur.window
	c.change(draining)
	c.reading.start, c.reading.delivered = now, c.delivered
}

// drain ends when no more is in flight than the path needs at the rate it is emptied with: that since
// draining began, for the first answers after a standstill come slowly.
func (c *controller) drain(now time.Duration) {
	took := max(now-c.reading.start, time.Microsecond)
	rate := float64(c.delivered-c.reading.delivered) / took.Seconds()
	c.setWindow(min(c.half, roundUp(rate*c.cur.least.get().Seconds(), c.cur.unit())))
	if c.inFlight <= c.cur.window {
		c.forget()
	}
}

// roundUp returns the next multiple of unit.
func roundUp(w float64, unit int) int {
	return (int(w) + unit - 1) / unit * unit
}
