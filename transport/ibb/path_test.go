// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// A path is a simulated one from a sender to its peer and back: a queue in front of a server, and
// a delay. Time is counted, not waited for, so a test of minutes takes milliseconds and always
// ends alike.
type path struct {
	// service is how long the server takes for a block of n octets with so many in flight.
	service func(now time.Duration, n, inFlight int) time.Duration
	rtt     time.Duration
	jitter  time.Duration                              // each acknowledgement is later by up to this, but none overtakes
	batch   time.Duration                              // acknowledgements come only at multiples of this
	credit  int                                        // most octets of payload that the peer takes unacknowledged; 0 = any
	ready   func(now time.Duration) bool               // whether there is something to send; nil = always
	late    func(f flying, inFlight int) time.Duration // when an answer comes that was due; nil = when it is due

	rnd      *rand.Rand
	now      time.Duration
	busy     time.Duration // when the server will be done with what it has
	lastAck  time.Duration
	inFlight []flying
}

// A flying block.
type flying struct {
	n        int
	done     time.Duration // the server is done with it
	answered time.Duration // its answer is here
	stamp    stamp
}

// A tally is what a stretch of time on a path looked like.
type tally struct {
	took       time.Duration
	octets     int           // acknowledged
	worstDelay time.Duration // a stanza sent now would have waited in the queue
	worstQueue int           // octets in the queue, at most
	meanDelay  time.Duration // over acknowledgements
	acks       int
	sumDelay   time.Duration
}

// rate is in octets per second.
func (t tally) rate() float64 { return float64(t.octets) / t.took.Seconds() }

// run lets c send over p for a while.
func (p *path) run(c *controller, d time.Duration) tally {
	if p.rnd == nil {
		p.rnd = rand.New(rand.NewPCG(4, 7))
	}
	t := tally{took: d}
	end := p.now + d
	for {
		for p.ready == nil || p.ready(p.now) {
			n := c.chunk()
			if !c.room(n) {
				break
			}
			if p.credit > 0 && p.unacked()+n > p.credit {
				c.starved(p.now)
				break
			}
			p.send(c, n)
		}
		if p.ready != nil && !p.ready(p.now) {
			c.idle(p.now)
		}
		p.look(&t)
		next := p.now + time.Millisecond
		if len(p.inFlight) > 0 {
			next = p.inFlight[0].answered
			if p.ready != nil {
				next = min(next, p.now+time.Millisecond)
			}
		}
		if next > end {
			p.now = end
			break
		}
		p.now = max(p.now, next)
		for len(p.inFlight) > 0 && p.inFlight[0].answered <= p.now {
			f := p.inFlight[0]
			p.inFlight = p.inFlight[1:]
			c.acked(p.now, f.n, f.stamp)
			t.octets += f.n
		}
	}
	if t.acks > 0 {
		t.meanDelay = t.sumDelay / time.Duration(t.acks)
	}
	return t
}

// unacked is how many octets of payload are in flight.
func (p *path) unacked() int {
	n := 0
	for _, f := range p.inFlight {
		n += f.n
	}
	return n
}

// send puts one block on its way.
func (p *path) send(c *controller, n int) {
	f := flying{n: n, stamp: c.sent(p.now, n)}
	start := max(p.busy, p.now+p.rtt/2)
	p.busy = start + p.service(start, n, len(p.inFlight)+1)
	f.done = p.busy
	f.answered = f.done + p.rtt/2
	if p.jitter > 0 {
		f.answered += time.Duration(p.rnd.Int64N(int64(p.jitter)))
	}
	if p.batch > 0 {
		f.answered = (f.answered + p.batch - 1) / p.batch * p.batch
	}
	if p.late != nil {
		f.answered = p.late(f, len(p.inFlight)+1)
	}
	f.answered = max(f.answered, p.lastAck)
	p.lastAck = f.answered
	p.inFlight = append(p.inFlight, f)
}

// look notes what stands in the queue now.
func (p *path) look(t *tally) {
	delay := max(0, p.busy-p.now-p.rtt/2)
	queue := 0
	for _, f := range slices.Backward(p.inFlight) {
		if f.done <= p.now+p.rtt/2 {
			break
		}
		queue += f.n
	}
	t.acks++
	t.sumDelay += delay
	t.worstDelay = max(t.worstDelay, delay)
	t.worstQueue = max(t.worstQueue, queue)
}

// link is a service of so many octets of weight per second, whatever is in flight.
func link(rate float64) func(time.Duration, int, int) time.Duration {
	return func(_ time.Duration, n, _ int) time.Duration { return seconds(float64(weight(n)) / rate) }
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// changing is a link whose rate is another one from a time on.
func changing(first, second float64, at time.Duration) func(time.Duration, int, int) time.Duration {
	return func(now time.Duration, n, inFlight int) time.Duration {
		if now < at {
			return link(first)(now, n, inFlight)
		}
		return link(second)(now, n, inFlight)
	}
}

// bucket is a link of the rate fast behind a limit as servers have it: rate octets per second
// after a burst.
func bucket(rate, burst, fast float64) func(time.Duration, int, int) time.Duration {
	tokens, last := burst, time.Duration(0)
	return func(now time.Duration, n, inFlight int) time.Duration {
		tokens = min(burst, tokens+rate*(now-last).Seconds())
		w := float64(weight(n)) * 4 / 3 // base64 counts
		took := link(fast)(now, n, inFlight)
		if tokens < w {
			took += seconds((w - tokens) / rate)
		}
		tokens = max(tokens, w) - w
		last = now + took
		return took
	}
}

// noisy is a service that takes more or less by up to a part of it, anew every 50 ms.
func noisy(service func(time.Duration, int, int) time.Duration, part float64) func(time.Duration, int, int) time.Duration {
	rnd := rand.New(rand.NewPCG(1, 2))
	factor, until := 1.0, time.Duration(0)
	return func(now time.Duration, n, inFlight int) time.Duration {
		for now >= until {
			factor = 1 + part*(2*rnd.Float64()-1)
			until += 50 * time.Millisecond
		}
		return time.Duration(factor * float64(service(now, n, inFlight)))
	}
}

// A server is a table of rates in payload octets per second: for a size of blocks, with 1, 4, 16
// and 64 in flight. What is between is interpolated.
type server map[int][4]float64

// Measured through servers without limits on loopback, over TLS.
var (
	prosody = server{
		1024: {4.6e6, 5.5e6, 5.9e6, 6.3e6}, 2048: {6.5e6, 6.3e6, 6.0e6, 6.0e6}, 4096: {10.6e6, 6.9e6, 6.0e6, 6.1e6},
		8192: {0.18e6, 0.72e6, 3.0e6, 2.9e6}, 16384: {0.34e6, 2.8e6, 2.5e6, 2.5e6}, 65535: {1.4e6, 2.0e6, 2.0e6, 2.0e6},
	}
	prosodyQuick = server{ // with quick acknowledgements of TCP
		1024: {4.0e6, 5.5e6, 5.9e6, 6.3e6}, 2048: {5.5e6, 6.5e6, 6.5e6, 6.0e6}, 4096: {7.6e6, 9.9e6, 9.0e6, 8.0e6},
		8192: {4.7e6, 4.5e6, 4.0e6, 4.0e6}, 16384: {5.2e6, 5.0e6, 4.0e6, 4.0e6}, 65535: {4.5e6, 4.0e6, 3.0e6, 2.5e6},
	}
	ejabberd = server{
		1024: {6.2e6, 9e6, 12.6e6, 16e6}, 2048: {12e6, 18e6, 22e6, 27e6}, 4096: {22e6, 30e6, 39e6, 44e6},
		8192: {39e6, 46e6, 57e6, 63e6}, 16384: {55e6, 60e6, 68e6, 74e6}, 65535: {88e6, 90e6, 102e6, 112e6},
	}
)

// rate interpolates, in logarithms as the table is made.
func (s server) rate(n, inFlight int) float64 {
	sizes := slices.Sorted(maps.Keys(s))
	lo, hi := sizes[0], sizes[len(sizes)-1]
	for _, size := range sizes {
		if size <= n {
			lo = size
		} else {
			hi = size
			break
		}
	}
	at := func(size int) float64 {
		x := min(math.Log(float64(inFlight))/math.Log(4), 3)
		i := min(int(x), 2)
		row := s[size]
		return row[i] + (row[i+1]-row[i])*(x-float64(i))
	}
	if n <= lo || n >= hi {
		return at(min(max(n, lo), hi))
	}
	x := math.Log(float64(n)/float64(lo)) / math.Log(float64(hi)/float64(lo))
	return at(lo) + (at(hi)-at(lo))*x
}

func (s server) service(_ time.Duration, n, inFlight int) time.Duration {
	return seconds(float64(n) / s.rate(n, inFlight))
}
