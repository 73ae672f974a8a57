// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import (
	"fmt"
	"time"
)

const (
	// startChunk is the payload of a block in octets as long as nothing is known of the path:
	// every server takes it (RFC 6120 §13.12 promises stanzas of 10,000 octets).
	startChunk = 4096

	// minChunk is the least payload of a block that a server refused in larger pieces.
	minChunk = minBlockSize

	// envelope is what a block's stanza weighs beside its payload, in octets of payload.
	envelope = 192

	// writeAhead is how much of the path's time Write may hand over beyond what is in flight
	// and one block: enough for a writer to be woken up in.
	writeAhead = 10 * time.Millisecond

	// trusted is of what has been carried the part (1/trusted) up to which this goes.
	trusted = 16

	// idleTrial is how long nobody may write during a trial before its result is worthless,
	// idleRestart how long before the path is taken for another one, which gets no more than
	// idleBlocks blocks at first.
	idleTrial   = time.Second
	idleRestart = 30 * time.Second
	idleBlocks  = 4

	// warmRounds is for how many round trips nothing is judged after idleTrial or more, and half of
	// them after a trial of a size that was worse, unless it takes more than twice as long: TCP
	// begins with a small window again (RFC 5681 §4.1), and a server takes its time with what it does
	// not like.
	warmRounds = 4
)

// weight is what a block of n octets takes of the path, in octets of payload.
func weight(n int) int { return n + envelope }

// A controller finds out how much of a stream may be in flight and how large its blocks
// should be. It sees when blocks are sent and acknowledged, and nothing else; it does no I/O,
// has no lock and no clock: now is the time since the stream began. The package comment says
// what it does, climb.go how it decides.
type controller struct {
	maxBlocks int  // most blocks in flight
	maxWindow int  // most weight in flight
	maxChunk  int  // most octets in a block
	fixed     bool // maxBlocks blocks of maxChunk octets, whatever happens
	messages  bool // blocks are as large as the messages are

	cur  setting // in use
	kept setting // what a trial of cur is compared with and goes back to
	climb
	reading reading

	inFlight  int           // weight sent and not answered
	blocks    int           // the same in blocks
	out       uint64        // weight sent so far
	delivered uint64        // weight acknowledged so far
	load      float64       // what was in flight, times the seconds it was
	counted   time.Duration // until then

	pace      float64 // of the last block: weight acknowledged during its flight, per second
	idling    bool    // there is room, but nothing to send
	idleSince time.Duration
	backedOff bool          // since the last acknowledgement
	warm      time.Duration // what is sent until then is not judged
	surging   time.Duration // since when round trips show that the path has become slower; 0 = they do not
}

// A setting is what the controller decides on, and what was measured with it.
type setting struct {
	chunk  int           // octets of payload to cut
	window int           // weight that may be in flight; one block may always be
	rate   float64       // weight acknowledged per second, 0 = not measured
	rtt    time.Duration // mean round trip
	least  leastRTT      // round trips of blocks of this size
}

// unit is the weight of one block.
func (s setting) unit() int { return weight(s.chunk) }

// payloadRate is the part of rate that is payload.
func (s setting) payloadRate() float64 { return s.rate * float64(s.chunk) / float64(s.unit()) }

// A stamp is what a controller notes about a block when it is sent.
type stamp struct {
	at        time.Duration
	offset    uint64 // weight sent before it
	delivered uint64 // weight acknowledged before it was sent
}

// newController returns a controller for blocks of at most blockSize octets, of which at most
// maxBlocks and maxOctets are in flight.
func newController(blockSize, maxBlocks, maxOctets int, messages bool) controller {
	c := controller{maxBlocks: maxBlocks, maxWindow: maxOctets, maxChunk: blockSize, messages: messages}
	c.cur.chunk = min(startChunk, blockSize)
	if messages {
		c.cur.chunk = minChunk // grows with the messages
	}
	c.cur.window = c.cur.unit()
	return c
}

// fixedController returns a controller that finds nothing out.
func fixedController(blockSize, blocks int) controller {
	return controller{maxBlocks: blocks, maxChunk: blockSize, fixed: true, cur: setting{chunk: blockSize}}
}

// chunk is how many octets the next block should carry.
func (c *controller) chunk() int { return c.cur.chunk }

// room tells whether a block of n octets may be sent now.
func (c *controller) room(n int) bool {
	switch {
	case c.blocks == 0:
		return true
	case c.blocks >= c.maxBlocks:
		return false
	}
	return c.fixed || c.inFlight+weight(n) <= c.cur.window
}

// accept is how many octets Write should take ahead of their acknowledgement. What is accepted
// delays whatever is written later, so it is little more than what may be in flight: one block,
// and on a fast path what it carries in writeAhead. A path that is fast for the first blocks only,
// as servers with limits are, has not carried enough for that.
func (c *controller) accept() int {
	if c.fixed {
		return maxBuffer
	}
	blocks := 1 + c.cur.window/c.cur.unit() // whole ones: a part of one more would wait for the rest of it
	return blocks*c.cur.chunk + int(min(c.pace*writeAhead.Seconds(), float64(c.delivered/trusted)))
}

// count keeps the load.
func (c *controller) count(now time.Duration) {
	c.load += float64(c.inFlight) * (now - c.counted).Seconds()
	c.counted = now
}

// sent notes that a block of n octets is handed over now. What its way to the wire takes counts
// as a part of the path.
func (c *controller) sent(now time.Duration, n int) stamp {
	c.count(now)
	c.endIdle(now)
	if c.messages && n > c.cur.chunk && !c.fixed {
		c.cur.chunk = n
		c.cur.window = max(c.cur.window, c.cur.unit())
	}
	s := stamp{at: now, offset: c.out, delivered: c.delivered}
	c.out += uint64(weight(n))
	c.inFlight += weight(n)
	c.peak = max(c.peak, c.inFlight)
	c.blocks++
	if !c.reading.filled && !c.room(c.cur.chunk) {
		c.reading.filled, c.reading.mark = true, s.offset
	}
	return s
}

// starved notes that a block could be sent now, if the peer gave credit for it, or the other streams
// of the session left room. The peer's window grows while it keeps up, but a trial may not wait for
// that: it goes on with what it got.
func (c *controller) starved(now time.Duration) {
	c.idle(now)
	trial := c.stage == raising || c.stage == resizing || c.stage == starting && c.kept.rate > 0
	switch {
	case !trial || c.reading.filled || c.delivered-c.tried < 2*uint64(c.cur.window):
	case c.stage != resizing && c.peak <= c.kept.window:
		c.giveUp(now)
	default:
		c.setWindow(c.peak)
		c.watchTrial()
	}
}

// idle notes that a block could be sent now, if there were one.
func (c *controller) idle(now time.Duration) {
	if !c.idling {
		c.idling, c.idleSince = true, now
	}
}

func (c *controller) endIdle(now time.Duration) {
	if !c.idling {
		return
	}
	c.idling = false
	gap := now - c.idleSince
	c.reading.idle += gap
	switch {
	case c.fixed || gap < idleTrial:
	case gap > idleRestart && c.cur.window > idleBlocks*c.cur.unit():
		c.abandonTrial()
		c.cur.window = idleBlocks * c.cur.unit()
		c.cur.rate = 0
		c.kept = c.cur
		c.change(starting)
	default:
		c.abandonTrial()
		c.surging = 0
		if c.cur.window > idleBlocks*c.cur.unit() {
			c.warm = now + warmRounds*c.cur.least.get()
		}
	}
}

// acked notes the acknowledgement of a block of n octets.
func (c *controller) acked(now time.Duration, n int, s stamp) {
	c.count(now)
	c.inFlight -= weight(n)
	c.blocks--
	c.delivered += uint64(weight(n))
	c.backedOff = false
	if c.fixed {
		return
	}
	rtt := max(now-s.at, time.Microsecond)
	c.pace = float64(c.delivered-s.delivered) / rtt.Seconds()
	if (n == c.cur.chunk || c.messages) && c.stage != draining { // then all have a queue in them
		c.cur.least.add(now, rtt)
	}
	switch {
	case c.stage == draining:
		c.drain(now)
	case s.at < c.warm && rtt < 2*warmRounds*c.cur.least.get()+surge:
	case c.collapsed(now, rtt):
		c.startDraining(now)
	case !c.reading.settled:
		c.settle(now, rtt, s)
	default:
		c.measure(now, rtt, s)
	}
}

// refused notes an answer that says that a block of n octets was not processed. Whoever cannot
// take all gets half.
func (c *controller) refused(now time.Duration, n int) {
	c.count(now)
	c.inFlight -= weight(n)
	c.blocks--
	if c.fixed || c.backedOff {
		return
	}
	c.backedOff = true
	c.abandonTrial()
	c.setWindow(c.cur.window / 2)
	c.forget()
}

// tooBig notes that a block of n octets was refused because of its size. It returns false if
// there is no smaller one to try.
func (c *controller) tooBig(n int) bool {
	if n <= minChunk || c.messages {
		return false
	}
	c.abandonTrial()
	c.maxChunk = max(minChunk, n/2)
	if n > c.cur.chunk {
		c.maxChunk = min(c.maxChunk, c.cur.chunk) // it was on trial, and this one is known to pass
	}
	c.cur = setting{chunk: c.maxChunk, window: c.cur.window}
	c.setWindow(c.cur.window)
	c.forget()
	return true
}

// setWindow changes what may be in flight: whole blocks within the bounds.
func (c *controller) setWindow(w int) {
	unit := c.cur.unit()
	c.cur.window = max(unit, min(w, c.mostWindow())/unit*unit)
}

// mostWindow is the largest window that blocks of this size can fill.
func (c *controller) mostWindow() int { return min(c.maxWindow, c.maxBlocks*c.cur.unit()) }

// String tells what is in use, for logs.
func (c *controller) String() string {
	if c.fixed {
		return fmt.Sprintf("%d blocks of %d, fixed", c.maxBlocks, c.maxChunk)
	}
	return fmt.Sprintf("%d blocks of %d, %.4g MB/s, round trip %v (least %v), %v",
		c.cur.window/c.cur.unit(), c.cur.chunk, c.cur.rate/1e6, c.cur.rtt, c.cur.least.get(), c.stage)
}

// leastSpan is how long a round trip counts among the least ones, once or twice.
const leastSpan = 15 * time.Second

// A leastRTT is the least of the round trips of the last leastSpan to twice that.
type leastRTT struct {
	recent, before time.Duration // 0 = none
	since          time.Duration // beginning of recent
}

func (l *leastRTT) add(now, rtt time.Duration) {
	if now-l.since > leastSpan {
		l.before, l.recent, l.since = l.recent, 0, now
	}
	if l.recent == 0 || rtt < l.recent {
		l.recent = rtt
	}
}

// get returns 0 if there is none.
func (l leastRTT) get() time.Duration {
	if l.before != 0 && l.before < l.recent {
		return l.before
	}
	return l.recent
}
