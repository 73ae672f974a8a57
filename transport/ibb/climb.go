// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import (
	"math"
	"time"
)

// A stage is what a controller is doing.
//
//	starting --no growth--> holding --surge of round trips---> draining
//	   ^                    |     ^                               |
//	   | much better  trial |     | result                        |
//	   |                    v     |                               |
//	   +----- raising, lowering, resizing        holding <--------+
type stage uint8

const (
	starting stage = iota // the window doubles as long as the rate grows
	holding               // what was found best is in use and measured
	raising               // trial of a larger window
	lowering              // trial of a smaller one
	resizing              // trial of another size of blocks
	draining              // the path has become slower, its queue is to run out
)

func (s stage) String() string {
	return [...]string{"starting", "holding", "raising", "lowering", "resizing", "draining"}[s]
}

const (
	// growth is by how much the rate must grow when the window doubles for starting to go on.
	growth = 1.25

	// shortDelay is a delay that nobody notices. A window whose round trips are shorter is
	// worth having for little.
	shortDelay = 20 * time.Millisecond

	// shortQueue is a queue that is not worth a trial where blocks are larger than startChunk: a
	// server that likes these finds more to do at a time when more is in flight, by less than what
	// two readings differ.
	shortQueue = 10 * time.Millisecond

	// cheap and dear are what a larger window must bring, as exponents: the rate must be better
	// by the ratio of the windows to this power. A path that is not full has 1, a full one 0, a
	// server that suffers when pushed less than 0.
	cheap = 0.05
	dear  = 0.15

	// free is what a path that is not nearly full has.
	free = 0.75

	// otherPath is by how much the rate of a window may change before what failed is tried again.
	otherPath = 1.5

	// mostWait is how many readings lie between two trials of the same kind that keep failing,
	// at most; longWait on short paths, where readings are short and each change of the window may
	// cost a delayed acknowledgement of TCP, and where a block takes longBlock of the path's time,
	// so that a trial delays what others write by that.
	shortWait = 8 // at first, on short paths
	mostWait  = 16
	longWait  = 64
	longBlock = 100 * time.Millisecond

	// refresh is how often a smaller window is tried even if no queue shows: the least round
	// trip could be one that has a queue in it.
	refresh = 20 * time.Second

	// sizeGain is by how much another size of blocks must be better.
	sizeGain = 1.2

	// sizeStep is how many times as large the next size is: less would make less of a difference
	// than there is between two readings of the same setting.
	sizeStep = 4

	// leastTrialChunk is the smallest size tried, in octets; startChunk is sizeStep times as large.
	leastTrialChunk = 1024

	// A size that was worse, by measurement or by chance, is tried again after sizePause, then twice
	// that, up to mostSizePause; the one before one that was better after four times as long.
	sizePause     = 2 * time.Second
	mostSizePause = 10 * time.Minute

	// longestChunk is how much of the path's time a block larger than startChunk may take.
	longestChunk = 50 * time.Millisecond

	// Where a block takes more than slowBlock, blocks are of slowChunk octets: their envelopes cost
	// less than everybody's waiting for them.
	slowBlock = 250 * time.Millisecond
	slowChunk = startChunk * 3 / 4
)

// climb is the part of a controller that decides.
type climb struct {
	stage stage

	raise, lower    backoff
	raised          bool          // a larger window was tried and was no better
	lowered         time.Duration // when a smaller window was tried last
	tried           uint64        // weight acknowledged when the trial began, or was cut to what it got
	peak            int           // most weight in flight since then
	half            int           // largest window after draining
	larger, smaller retry         // sizes of blocks
}

// A backoff counts readings until something may be tried again.
type backoff struct{ left, last int }

func (b *backoff) fail(least, most int) {
	b.last = min(max(least, 2*b.last), most)
	b.left = b.last
}

// A retry is the same for trials of sizes, in time.
type retry struct{ at, last time.Duration }

func (r *retry) fail(now time.Duration) {
	r.last = min(max(sizePause, 2*r.last), mostSizePause)
	r.at = now + r.last
}

// change makes the setting in use take its effect before it is measured.
func (c *controller) change(s stage) {
	c.stage = s
	c.reading = reading{}
}

// try begins a trial.
func (c *controller) try(s stage, chunk, window int) {
	c.kept = c.cur
	if chunk != c.cur.chunk {
		c.cur = setting{chunk: chunk}
	}
	c.setWindow(window)
	c.change(s)
	c.watchTrial()
}

// watchTrial begins to watch whether the window fills.
func (c *controller) watchTrial() { c.tried, c.peak = c.delivered, 0 }

// abandonTrial ends a trial without a result.
func (c *controller) abandonTrial() {
	switch c.stage {
	case raising, lowering, resizing:
		c.revert()
	case starting, holding, draining:
		c.reading = reading{}
	}
}

// revert goes back to what was in use before the trial.
func (c *controller) revert() {
	if c.cur.chunk == c.kept.chunk {
		c.kept.least = c.cur.least
	}
	c.cur = c.kept
	c.change(holding)
}

// giveUp ends a trial whose result is that it is no good.
func (c *controller) giveUp(now time.Duration) {
	switch c.stage {
	case starting, raising:
		c.raise.fail(c.wait())
		c.raised = true
	case lowering:
		c.lower.fail(c.wait())
	case resizing:
		c.sizeRetry(c.cur.chunk, c.kept.chunk).fail(now)
		c.warm = now + warmRounds/2*c.kept.rtt // the blocks of the trial are still in front
	case holding, draining: // no trials
	}
	c.revert()
}

// wait is for how many readings a trial that failed has to wait, at first and at most.
func (c *controller) wait() (least, most int) {
	switch {
	case c.kept.rtt <= shortDelay:
		return shortWait, longWait
	case float64(c.kept.unit()) > c.kept.rate*longBlock.Seconds():
		return 1, longWait
	}
	return 1, mostWait
}

// forget makes the controller measure anew what the path does, and try more soon.
func (c *controller) forget() {
	c.cur.rate = 0
	c.raise, c.lower = backoff{}, backoff{}
	c.change(holding)
}

// decide takes the result of a reading of the setting in use; before is what it was until then.
func (c *controller) decide(now time.Duration, before setting) {
	switch c.stage {
	case starting:
		if c.kept.rate == 0 || c.cur.rate >= growth*c.kept.rate {
			c.grow()
			return
		}
		if c.leap() {
			return
		}
		if !c.better() {
			c.giveUp(now)
			return
		}
	case holding:
		c.hold(now, before)
		return
	case raising:
		if !c.better() {
			if !c.leap() {
				c.giveUp(now)
			}
			return
		}
		c.raise = backoff{}
		if c.elasticity() >= free {
			c.grow()
			return
		}
	case lowering:
		if !c.better() {
			c.giveUp(now)
			return
		}
		c.lower = backoff{}
		c.raise.fail(c.wait())
	case resizing:
		if c.cur.payloadRate() < sizeGain*c.kept.payloadRate() {
			c.giveUp(now)
			return
		}
		c.resized(now)
	case draining: // measures nothing
	}
	c.change(holding)
}

// better tells whether the setting on trial is worth its window.
func (c *controller) better() bool {
	price := cheap
	if max(c.cur.rtt, c.kept.rtt) > shortDelay {
		price = dear
	}
	return math.Log(c.cur.rate/c.kept.rate) >= price*math.Log(float64(c.cur.window)/float64(c.kept.window))
}

// elasticity is the exponent that the larger window on trial turned out to have.
func (c *controller) elasticity() float64 {
	return math.Log(c.cur.rate/c.kept.rate) / math.Log(float64(c.cur.window)/float64(c.kept.window))
}

// grow doubles the window, or ends starting where that is not possible.
func (c *controller) grow() {
	if c.cur.window+c.cur.unit() > c.mostWindow() {
		c.change(holding)
		return
	}
	c.try(starting, c.cur.chunk, 2*c.cur.window)
}

// leap goes on from four blocks that were no better than two to eight, still compared with the two:
// TCP may take a round trip more for three blocks than for two, which looks like a full path until
// there are many. On a path that is full it costs a moment of no more than twice longBlock.
func (c *controller) leap() bool {
	if c.kept.window/c.kept.unit() != 2 || c.cur.window != 2*c.kept.window || 2*c.cur.window > c.mostWindow() ||
		c.cur.rtt <= shortDelay || c.cur.rtt > longBlock {
		return false
	}
	kept := c.kept
	c.try(c.stage, c.cur.chunk, 2*c.cur.window)
	c.kept = kept
	return true
}

// hold decides after a reading of what is in use whether something else is tried now.
func (c *controller) hold(now time.Duration, before setting) {
	c.raise.left--
	c.lower.left--
	if before.rate > 0 && (c.cur.rate > otherPath*before.rate || before.rate > otherPath*c.cur.rate) {
		c.raise, c.lower = backoff{}, backoff{}
	}
	unit := c.cur.unit()
	size := c.otherSize(now)
	switch {
	case c.cur.chunk > startChunk && !c.messages && float64(unit) > c.cur.rate*longestChunk.Seconds():
		c.cut(startChunk)
	case c.cur.chunk > slowChunk && !c.messages && c.raise.last > 0 && float64(unit) > c.cur.rate*slowBlock.Seconds():
		c.cut(slowChunk) // a larger window was tried in vain: it is the path that is slow
	case c.cur.chunk == slowChunk && c.maxChunk > slowChunk && !c.messages && float64(weight(startChunk)) < c.cur.rate*slowBlock.Seconds()/2:
		c.cut(min(startChunk, c.maxChunk))
	case size > 0:
		c.sizeRetry(size, c.cur.chunk).at = now + sizePause // if there is no result
		c.try(resizing, size, max(c.cur.window, weight(size)))
	case c.cur.window > unit && (c.queued() && c.lower.left <= 0 || now-c.lowered > refresh):
		c.lowered = now
		c.try(lowering, c.cur.chunk, c.smallerWindow())
	case c.cur.window+unit <= c.mostWindow() && c.raise.left <= 0:
		c.try(raising, c.cur.chunk, c.largerWindow())
	default:
		c.begin(now)
	}
}

// cut makes the blocks smaller, or larger again, because of the time that they take.
func (c *controller) cut(chunk int) {
	c.cur = setting{chunk: chunk, window: c.cur.window}
	c.setWindow(c.cur.window)
	c.forget()
}

// queued tells whether round trips show a queue. TCP takes a round trip more for some blocks than
// for one, and what is that short is no queue.
func (c *controller) queued() bool {
	least := c.cur.least.get()
	short := least/3 + min(least/2, shortDelay)
	if c.cur.chunk > startChunk {
		short = max(short, shortQueue)
	}
	return c.cur.rtt > least+short
}

// smallerWindow is the one to try instead of that in use: what the path needs at its rate if
// there were no queue, if the delay matters, but half at least, since a part of what looks like a
// queue may be jitter.
func (c *controller) smallerWindow() int {
	w, unit := c.cur.window, c.cur.unit()
	if !c.queued() {
		return min(w-unit, w*3/4)
	}
	least := c.cur.least.get()
	if c.cur.rtt-least <= shortDelay {
		return w / 2
	}
	return min(w-unit, max(w/2, roundUp(c.cur.rate*least.Seconds(), unit)))
}

// largerWindow is the one to try instead of that in use: twice as much where it says most and costs
// least, a little more where that would be a queue.
func (c *controller) largerWindow() int {
	w, unit := c.cur.window, c.cur.unit()
	if c.cur.rtt <= shortDelay || c.cur.rtt <= min(2*c.cur.least.get(), longBlock) {
		return 2 * w
	}
	return max(w+unit, w*5/4)
}

// otherSize returns the size of blocks to try now, 0 for none: where the window has been found,
// the path is so fast that nobody waits for a block, and the size was not worse a short while ago.
func (c *controller) otherSize(now time.Duration) int {
	if c.messages || !c.raised && c.cur.window+c.cur.unit() <= c.mostWindow() {
		return 0
	}
	chunk := c.cur.chunk
	larger, smaller := min(sizeAbove(chunk), c.maxChunk), sizeBelow(chunk)
	switch {
	case larger > chunk && now >= c.larger.at && float64(weight(larger)) < c.cur.rate*longestChunk.Seconds()/2:
		return larger
	case smaller < chunk && now >= c.smaller.at && float64(weight(chunk)) < c.cur.rate*longestChunk.Seconds()/2:
		return smaller
	}
	return 0
}

// sizeAbove and sizeBelow return the next larger and the next smaller size to try: leastTrialChunk,
// sizeStep times that, and so on.
func sizeAbove(chunk int) int {
	n := leastTrialChunk
	for n <= chunk {
		n *= sizeStep
	}
	return n
}

func sizeBelow(chunk int) int {
	n := leastTrialChunk
	for n*sizeStep < chunk {
		n *= sizeStep
	}
	return n
}

// sizeRetry is for trials of size instead of chunk.
func (c *controller) sizeRetry(size, chunk int) *retry {
	if size > chunk {
		return &c.larger
	}
	return &c.smaller
}

// resized takes note that the size on trial is better. The next one in the same direction comes
// soon, the way back later.
func (c *controller) resized(now time.Duration) {
	back, on := &c.smaller, &c.larger
	if c.cur.chunk < c.kept.chunk {
		back, on = on, back
	}
	*back, *on = retry{last: 2 * sizePause}, retry{}
	back.fail(now)
	c.raise, c.lower = backoff{}, backoff{}
}
