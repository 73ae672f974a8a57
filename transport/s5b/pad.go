// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"example.org/xtls/transport"
)

const (
	// padHeader is the length of a frame's header, maxFrame the most octets that follow one.
	// endFrame stands where a length would: its sender has closed, reads nothing more, and sends
	// nothing but padding.
	padHeader = 2
	maxFrame  = endFrame - 1
	endFrame  = 1<<16 - 1

	// padFirst is how long after a Write the first padding goes out, padStep how many times later
	// each further one, padCount how many there are. A padding that overtakes nothing merges
	// with the end of the burst and may be withheld with it, so one is not enough; the late ones
	// are for lines on which a burst takes seconds.
	padFirst = 2 * time.Millisecond
	padStep  = 10
	padCount = 5

	// padPatience bounds how long a padding waits for room: what waits for it is the next Write.
	padPatience = 10 * time.Millisecond

	// padBuffer is what the reader takes from the socket at once: two TLS records.
	padBuffer = 32 << 10
)

// A padded carrier frames what goes over a relay (see the package comment) so that it can follow a
// burst by octets that mean nothing: a relay that holds the end of a burst back until more comes
// would hold it back for ever if the other end has to answer first. The end is a frame as well:
// that of the connection takes with it what the relay still has for the other end.
type padded struct {
	*carrier

	inMu     sync.Mutex // protects the fields below
	in       *bufio.Reader
	left     int  // octets of the frame at hand that were not read
	end      bool // the peer has said that it is the end
	draining bool // what comes is thrown away, this end has closed

	// writeMu protects the two below, and lets one at a time write.
	writeMu sync.Mutex
	rest    []byte // end of a frame that a deadline cut off: it goes first
	head    [padHeader]byte

	deadlineMu sync.Mutex // protects the fields below
	deadline   time.Time  // of Write
	writing    bool       // Write is under way, so the socket has that deadline
	timer      *time.Timer
	round      uint // counts Writes, so that a timer that could not be stopped does no harm
	closed     bool
	pads       sync.WaitGroup // one for each timer that will run
}

func newPadded(c *carrier) *padded {
	p := &padded{carrier: c}
	p.in = bufio.NewReaderSize(readerFunc(p.receive), padBuffer)
	return p
}

// A readerFunc is an [io.Reader].
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

var _ transport.Conn = (*padded)(nil)

// Read reads what the frames carry.
func (p *padded) Read(b []byte) (int, error) {
	p.inMu.Lock()
	defer p.inMu.Unlock()
	if p.isClosed() {
		return 0, net.ErrClosed
	}
	if len(b) == 0 {
		return 0, nil
	}
	if err := p.next(); err != nil {
		return 0, err
	}
	n, err := p.in.Read(b[:min(len(b), p.left)])
	p.left -= n
	return n, err
}

// next reads headers until there is something to read of a frame.
func (p *padded) next() error {
	for p.left == 0 {
		if p.end {
			return p.ended(io.EOF)
		}
		head, err := p.in.Peek(padHeader) // after a missed deadline what came is still there
		if err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint16(head))
		_, _ = p.in.Discard(padHeader) // it was there
		if n != endFrame {
			p.left = n
			continue
		}
		p.end = true
		err = p.ended(io.EOF)
		_ = p.tcp.CloseWrite() // the peer waits for it, and reads nothing before
		return err
	}
	return nil
}

// receive reads from the socket.
func (p *padded) receive(b []byte) (int, error) {
	if p.draining {
		return p.tcp.Read(b)
	}
	return p.carrier.Read(b)
}

// Write frames b. After a missed deadline a frame that has begun counts as written and the rest of
// it goes first next time.
func (p *padded) Write(b []byte) (int, error) {
	p.writeMu.Lock()
	defer p.writeMu.Unlock()
	p.begin()
	defer p.finish()
	if err := p.flush(); err != nil {
		return 0, err
	}
	n := 0
	for n < len(b) {
		chunk := b[n:min(len(b), n+maxFrame)]
		begun, err := p.frame(chunk)
		if begun {
			n += len(chunk)
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// frame writes one frame by one system call. begun says whether any of it was written.
func (p *padded) frame(payload []byte) (begun bool, err error) {
	if err := p.state(); err != nil {
		return false, err
	}
	binary.BigEndian.PutUint16(p.head[:], uint16(len(payload)))
	rest := net.Buffers{p.head[:], payload}
	n, err := rest.WriteTo(p.tcp)
	if err == nil {
		return true, nil
	}
	err = p.writeError(err)
	if n == 0 {
		return false, err
	}
	for _, part := range rest { // WriteTo has taken out what it wrote
		p.rest = append(p.rest, part...)
	}
	return true, err
}

// flush writes what is left of the last frame.
func (p *padded) flush() error {
	if err := p.state(); err != nil || len(p.rest) == 0 {
		return err
	}
	n, err := p.tcp.Write(p.rest)
	if p.rest = slices.Delete(p.rest, 0, n); len(p.rest) == 0 {
		p.rest = nil
	}
	if err != nil {
		err = p.writeError(err)
	}
	return err
}

// begin takes the time for padding back and gives the socket the deadline of Write.
func (p *padded) begin() {
	p.deadlineMu.Lock()
	defer p.deadlineMu.Unlock()
	p.stopLocked()
	p.writing = true
	_ = p.carrier.SetWriteDeadline(p.deadline) // fails only if closed, which Write finds out
}

// finish schedules the padding.
func (p *padded) finish() {
	p.deadlineMu.Lock()
	defer p.deadlineMu.Unlock()
	p.writing = false
	p.scheduleLocked(0, padFirst)
}

// scheduleLocked lets pad run after wait.
func (p *padded) scheduleLocked(step int, wait time.Duration) {
	if p.closed || step == padCount || p.state() != nil {
		return
	}
	round := p.round
	p.pads.Add(1)
	p.timer = time.AfterFunc(wait, func() {
		defer p.pads.Done()
		p.pad(round, step, wait)
	})
}

// stopLocked ends the padding after the last Write.
func (p *padded) stopLocked() {
	p.round++
	if p.timer != nil && p.timer.Stop() {
		p.pads.Done()
	}
	p.timer = nil
}

// pad writes a padding, unless there was another Write, and schedules the next one.
func (p *padded) pad(round uint, step int, wait time.Duration) {
	p.writeMu.Lock()
	defer p.writeMu.Unlock()
	p.deadlineMu.Lock()
	current := p.round == round && !p.closed
	if current {
		_ = p.carrier.SetWriteDeadline(time.Now().Add(padPatience)) // as above
	}
	p.deadlineMu.Unlock()
	if !current {
		return
	}
	err := p.flush()
	if err == nil {
		p.rest = append(p.rest, 0, 0)
		err = p.flush()
	}
	p.deadlineMu.Lock()
	defer p.deadlineMu.Unlock()
	switch {
	case p.round != round:
	case err == nil:
		// wait is also how long ago the Write was, less than a factor of 1/padStep.
		p.scheduleLocked(step+1, wait*padStep)
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.scheduleLocked(step, wait) // no room: the burst is still on its way
	}
}

// SetWriteDeadline sets the deadline of Write. Padding has its own.
func (p *padded) SetWriteDeadline(t time.Time) error {
	p.deadlineMu.Lock()
	defer p.deadlineMu.Unlock()
	if p.isClosed() {
		return net.ErrClosed
	}
	p.deadline = t
	if p.writing {
		return p.carrier.SetWriteDeadline(t)
	}
	return nil
}

// SetDeadline sets both deadlines. The zero time means none.
func (p *padded) SetDeadline(t time.Time) error {
	return errors.Join(p.SetReadDeadline(t), p.SetWriteDeadline(t))
}

// Close ends the carrier as [carrier.Close] does, with the frame that was begun.
func (p *padded) Close() error {
	p.deadlineMu.Lock()
	p.closed = true
	p.stopLocked()
	p.deadlineMu.Unlock()
	err := p.carrier.close(p.goodbye)
	p.pads.Wait()
	return err
}

// goodbye says that it is the end and stays until the peer has said so too, or has gone, which it
// does when it has everything. Who comes to Read or Write now finds the carrier closed; those inside
// leave first.
func (p *padded) goodbye() {
	p.writeMu.Lock()
	last := binary.BigEndian.AppendUint16(p.rest, endFrame)
	p.writeMu.Unlock()
	p.inMu.Lock()
	p.draining = true
	p.inMu.Unlock()
	p.grace()

	drained := make(chan struct{})
	go func() {
		defer close(drained)
		p.drain()
	}()
	defer func() { <-drained }()
	_, err := p.tcp.Write(last)
	for wait := padFirst; err == nil; wait *= padStep {
		select {
		case <-drained:
			return
		case <-time.After(wait):
		}
		_, err = p.tcp.Write([]byte{0, 0})
	}
}

// drain throws away what comes until the peer has closed.
func (p *padded) drain() {
	for left := lingerOctets; left > 0 && p.next() == nil; {
		n, err := p.in.Discard(p.left)
		if err != nil {
			return
		}
		p.left -= n
		left -= n
	}
}
