// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb_test

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/jingle/jingletest"
	"example.org/xtls/transport"
	"example.org/xtls/transport/ibb"
	"example.org/xtls/transport/transporttest"
)

// A slowSession passes stanzas on at a rate, in octets as they are on the wire, and later by a
// delay; answers take no time.
type slowSession struct {
	transport.Stanzas
	rate  float64
	delay time.Duration
	queue chan func()

	mu   sync.Mutex
	busy time.Time // until then
}

// slow returns a wrapper for newWiresBelow.
func slow(t testing.TB, rate float64, delay time.Duration) func(transport.Stanzas) transport.Stanzas {
	return func(inner transport.Stanzas) transport.Stanzas {
		s := &slowSession{Stanzas: inner, rate: rate, delay: delay, queue: make(chan func(), 2*ibb.MaxUnanswered)}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for send := range s.queue {
				send()
			}
		}()
		t.Cleanup(func() { close(s.queue); <-done })
		return s
	}
}

func (s *slowSession) Go(typ stanza.IQType, to jid.JID, payload []byte, done func(xml.TokenReader, error)) {
	const envelope = 150
	payload = bytes.Clone(payload)
	s.mu.Lock()
	defer s.mu.Unlock()
	start := time.Now()
	if s.busy.After(start) {
		start = s.busy
	}
	s.busy = start.Add(time.Duration(float64(len(payload)+envelope) / s.rate * float64(time.Second)))
	at := s.busy.Add(s.delay)
	s.queue <- func() {
		time.Sleep(time.Until(at))
		s.Stanzas.Go(typ, to, payload, done)
	}
}

// TestPingBehindBulk: what Write accepts on a slow path is so little that a question asked in the
// middle of a transfer is at the other end soon, and the transfer still uses the path.
func TestPingBehindBulk(t *testing.T) {
	const rate, record, transfer, every = 10_000, 1000, 2 * time.Minute, 5 * time.Second
	synctest.Test(t, func(t *testing.T) {
		a, b, err := transporttest.Connect(t.Context(), newWiresBelow(t, ibb.Config{}, slow(t, rate, 50*time.Millisecond)), false)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var sending sync.WaitGroup
		sending.Go(func() {
			buf := make([]byte, record)
			for asked := every; time.Since(start) < transfer; {
				binary.BigEndian.PutUint64(buf, 0) // bulk
				if time.Since(start) >= asked {
					binary.BigEndian.PutUint64(buf, uint64(asked)) // when the question wanted to be sent
					asked += every
				}
				if _, err := a.Write(buf); err != nil {
					t.Error(err)
					return
				}
			}
		})
		var delays []time.Duration
		got := 0
		for buf := make([]byte, record); time.Since(start) < transfer; got += record {
			if _, err := io.ReadFull(b, buf); err != nil {
				t.Fatal(err)
			}
			if asked := binary.BigEndian.Uint64(buf); asked > 0 {
				delays = append(delays, time.Since(start)-time.Duration(asked))
			}
		}
		go io.Copy(io.Discard, b)
		sending.Wait()
		closeBoth(a, b)
		slices.Sort(delays)
		if median := delays[len(delays)/2]; median > 1700*time.Millisecond {
			t.Errorf("a record takes %v, %d of them up to %v", median, len(delays), delays[len(delays)-1])
		}
		const payload = rate * 4096 / (4096*4/3 + 230) // in base64 and with its envelope
		if got := float64(got) / time.Since(start).Seconds(); got < 0.9*payload {
			t.Errorf("%.0f octets per second, the path takes %d", got, payload)
		}
	})
}

func closeBoth(a, b net.Conn) {
	var closing sync.WaitGroup
	closing.Go(func() { a.Close() })
	closing.Go(func() { b.Close() })
	closing.Wait()
}

// TestWindowGrows: the receiver's window becomes as large as a fast and long path needs, and bounds
// what a reader that stalls then leaves in memory.
func TestWindowGrows(t *testing.T) {
	const rate, delay = 4e6, 200 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		a, b, err := transporttest.Connect(t.Context(), newWiresBelow(t, ibb.Config{}, slow(t, rate, delay)), false)
		if err != nil {
			t.Fatal(err)
		}
		written := make(chan int, 1)
		go func() {
			n := 0
			for buf := make([]byte, 16<<10); ; {
				k, err := a.Write(buf)
				n += k
				if err != nil {
					written <- n
					return
				}
			}
		}()
		read := 0
		readFor := func(d time.Duration) (octetsPerSecond float64) {
			buf := make([]byte, 64<<10)
			before := read
			for start := time.Now(); time.Since(start) < d; {
				n, err := b.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				read += n
			}
			return float64(read-before) / d.Seconds()
		}
		readFor(6 * time.Second)
		// FirstWindow alone would be 1.3 MB/s, of the 2.8 that the path can carry.
		if got := readFor(3 * time.Second); got < 0.85*rate*3/4 {
			t.Errorf("%.0f octets per second", got)
		}
		time.Sleep(10 * time.Second) // nobody reads
		a.SetWriteDeadline(time.Now())
		waiting := <-written - read
		if most := ibb.DefaultReceiveBuffer + 2*ibb.DefaultBlockSize; waiting > most || waiting < ibb.FirstWindow {
			t.Errorf("%d octets wait for the reader, at most %d may", waiting, most)
		}
		transporttest.Abort(b)
		transporttest.Abort(a)
	})
}

// A busySession takes only so many stanzas that wait for answers.
type busySession struct {
	transport.Stanzas
	mu      sync.Mutex
	pending int
	refused int
}

func (s *busySession) Go(typ stanza.IQType, to jid.JID, payload []byte, done func(xml.TokenReader, error)) {
	const most = 3
	s.mu.Lock()
	busy := s.pending == most
	if busy {
		s.refused++
	} else {
		s.pending++
	}
	s.mu.Unlock()
	if busy {
		done(nil, stanza.Error{Type: stanza.Wait, Condition: stanza.ResourceConstraint})
		return
	}
	s.Stanzas.Go(typ, to, payload, func(reply xml.TokenReader, err error) {
		s.mu.Lock()
		s.pending--
		s.mu.Unlock()
		done(reply, err)
	})
}

// TestBusySession: a session that takes no more stanzas now slows streams down and breaks none.
func TestBusySession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy []*busySession
		delayed := slow(t, 1e6, 20*time.Millisecond)
		ends := newWiresBelow(t, ibb.Config{}, func(s transport.Stanzas) transport.Stanzas {
			b := &busySession{Stanzas: delayed(s)}
			busy = append(busy, b)
			return b
		})
		a, b, err := transporttest.Connect(t.Context(), ends, false)
		if err != nil {
			t.Fatal(err)
		}
		want := pattern(1 << 20)
		wait := write(t, a, want)
		if got := readString(t, b, len(want)); got != want {
			t.Error("what was read differs from what was written")
		}
		wait()
		closeBoth(a, b)
		if busy[0].refused == 0 {
			t.Error("the session was never busy")
		}
	})
}

// TestSessionBudget: all streams of a session together leave room for other stanzas.
func TestSessionBudget(t *testing.T) {
	const streams, inFlight, block = 3, 400, 256
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, ibb.Config{BlockSize: block, InFlight: inFlight})
		var from, to []*ibb.Conn
		for range streams {
			a, b := r.connect(t, false)
			from, to = append(from, a), append(to, b)
		}
		r.b.Hold(func(s jingletest.Stanza) bool { return s.Type == "result" })
		want := pattern(inFlight * block)
		for _, c := range from {
			mustWrite(t, c, want)
		}
		synctest.Wait()
		if got, want := sentBlocks(r.a), ibb.MaxUnanswered-100; got != want {
			t.Errorf("%d blocks are in flight, want %d", got, want)
		}
		r.b.Release()
		for _, c := range to {
			if got := readString(t, c, len(want)); got != want {
				t.Error("what was read differs from what was written")
			}
		}
	})
}

// TestSessionBudgetOfOthers: a peer that answers nothing does not keep the streams of others from
// going on, whatever it has in flight.
func TestSessionBudgetOfOthers(t *testing.T) {
	const streams, inFlight, block = 3, 400, 256
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, ibb.Config{BlockSize: block, InFlight: inFlight})
		from, to := r.connect(t, false)
		var others []*ibb.Conn
		for range streams {
			c, _ := r.connect(t, false)
			others = append(others, c)
		}
		var silent atomic.Bool
		silent.Store(true)
		r.b.Hold(func(s jingletest.Stanza) bool { return s.Type == "result" && silent.Load() })
		for _, c := range others {
			mustWrite(t, c, pattern(inFlight*block))
		}
		synctest.Wait()
		if got, want := sentBlocks(r.a), ibb.MaxUnanswered-100; got != want {
			t.Errorf("%d blocks are in flight, want %d", got, want)
		}
		silent.Store(false)
		want := pattern(3 * block)
		mustWrite(t, from, want)
		synctest.Wait()
		if got := sentBlocks(r.a); got < ibb.MaxUnanswered-100+3 {
			t.Errorf("%d blocks are sent, none of the other stream", got)
		}
		if got := readString(t, to, len(want)); got != want {
			t.Error("what was read differs from what was written")
		}
		r.b.Release()
	})
}
