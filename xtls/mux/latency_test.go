// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package mux

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A link is one direction of a slow tunnel: block after block leaves at a rate, and
// Write takes no more ahead than a bound.
type link struct {
	rate, block, ahead int // octets per second, octets, octets

	mu      sync.Mutex
	changed *sync.Cond
	queue   []byte // to leave
	arrived []byte // to be read
	closed  bool
}

func newLink(rate, block, ahead int) *link {
	l := &link{rate: rate, block: block, ahead: ahead}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// run moves blocks until the link is closed.
func (l *link) run() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for len(l.queue) == 0 {
			if l.closed {
				return
			}
			l.changed.Wait()
		}
		b := l.queue[:min(l.block, len(l.queue))]
		l.queue = l.queue[len(b):]
		l.changed.Broadcast()
		l.mu.Unlock()
		time.Sleep(time.Duration(len(b)) * time.Second / time.Duration(l.rate))
		l.mu.Lock()
		l.arrived = append(l.arrived, b...)
		l.changed.Broadcast()
	}
}

func (l *link) write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := 0; n < len(p); {
		if l.closed {
			return n, net.ErrClosed
		}
		room := min(l.ahead-len(l.queue), len(p)-n)
		if room <= 0 {
			l.changed.Wait()
			continue
		}
		l.queue = append(l.queue, p[n:n+room]...)
		n += room
		l.changed.Broadcast()
	}
	return len(p), nil
}

func (l *link) read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.arrived) == 0 {
		if l.closed {
			return 0, io.EOF
		}
		l.changed.Wait()
	}
	n := copy(p, l.arrived)
	l.arrived = l.arrived[n:]
	return n, nil
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed, l.queue = true, nil
	l.changed.Broadcast()
}

// A slowConn is one end of a slow tunnel.
type slowConn struct {
	net.Conn // nil: nothing else is used
	in, out  *link
}

func (c slowConn) Read(p []byte) (int, error)      { return c.in.read(p) }
func (c slowConn) Write(p []byte) (int, error)     { return c.out.write(p) }
func (c slowConn) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }
func (c slowConn) Close() error {
	c.in.close()
	c.out.close()
	return nil
}

// An opener makes both ends of streams with these numbers between the ends of a tunnel.
type opener func(t *testing.T, a, b net.Conn, count int) (from, to []net.Conn)

// loaded measures round trips of few octets while bulk streams run both ways, in the
// time of one frame.
func loaded(t *testing.T, open opener, rate, bulk int) (trips []float64, moved int) {
	const pings = 15
	block := oneFrame + recordOverhead
	if time.Duration(block)*time.Second/time.Duration(rate) > slowly {
		block = shortFrame + recordOverhead // so does transport/ibb
	}
	up, down := newLink(rate, block, block), newLink(rate, block, block)
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(up.run)
	work.Go(down.run)
	a, b := slowConn{in: down, out: up}, slowConn{in: up, out: down}
	defer a.Close()
	from, to := open(t, a, b, bulk+1)
	var mu sync.Mutex
	for i := range bulk {
		for _, way := range [][2]net.Conn{{from[i], to[i]}, {to[i], from[i]}} {
			work.Go(func() {
				piece := make([]byte, 32<<10)
				for {
					if _, err := way[0].Write(piece); err != nil {
						return
					}
				}
			})
			work.Go(func() {
				piece := make([]byte, 32<<10)
				for {
					n, err := way[1].Read(piece)
					if err != nil {
						return
					}
					mu.Lock()
					moved += n
					mu.Unlock()
				}
			})
		}
	}
	work.Go(func() { _, _ = io.Copy(to[bulk], to[bulk]) })
	frame := time.Duration(oneFrame+recordOverhead) * time.Second / time.Duration(rate)
	begin := time.Now()
	for range pings {
		time.Sleep(7*frame + frame/3)
		start := time.Now()
		mustWrite(t, from[bulk], []byte("sixteen octets.."))
		mustRead(t, from[bulk], []byte("sixteen octets.."))
		trips = append(trips, float64(time.Since(start))/float64(frame))
	}
	slices.Sort(trips)
	mu.Lock()
	defer mu.Unlock()
	share := float64(moved) / (2 * float64(rate) * time.Since(begin).Seconds())
	t.Logf("%d octets/s, %d streams each way: round trip median %.1f, most %.1f frames; bulk has %.0f %% of the line",
		rate, bulk, trips[len(trips)/2], trips[len(trips)-1], 100*share)
	if share < 0.9 || share > 1.1 {
		t.Errorf("bulk streams moved %.0f %% of what the line carries", 100*share)
	}
	return trips, moved
}

// openMux opens streams of this package.
func openMux(t *testing.T, a, b net.Conn, count int) (from, to []net.Conn) {
	client, server := sessions(t, a, b)
	for range count {
		st, peer := streams(t, client, server)
		from, to = append(from, st), append(to, peer)
	}
	return from, to
}

// The round trip of a few octets takes a few times as long as one frame, with one
// large transfer each way or with many, on any path. One frame is leaving and up to
// two blocks are in the tunnel, on each way.
func TestLatencyUnderLoad(t *testing.T) {
	for _, tt := range []struct{ rate, bulk int }{{10_000, 1}, {10_000, 20}, {3_000, 2}, {200_000, 20}} {
		synctest.Test(t, func(t *testing.T) {
			trips, _ := loaded(t, openMux, tt.rate, tt.bulk)
			if most := trips[len(trips)-1]; most > 7 {
				t.Errorf("%d octets/s, %d streams: a round trip took %.1f frames", tt.rate, tt.bulk, most)
			}
		})
	}
}

// The same measurement tells a multiplexer apart that does not see to it.
func TestLatencyOfNaive(t *testing.T) {
	for _, bulk := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			trips, _ := loaded(t, openNaive, 10_000, bulk)
			if median := trips[len(trips)/2]; median < 7 {
				t.Errorf("a round trip of the naive one takes %.1f frames: the measurement shows nothing", median)
			}
		})
	}
}

// openNaive opens streams of a multiplexer of a few lines: every Write is one frame,
// and who comes first goes first.
func openNaive(_ *testing.T, a, b net.Conn, count int) (from, to []net.Conn) {
	return naive(a, count), naive(b, count)
}

type naiveStream struct {
	net.Conn // the reading end of a pipe
	id       uint16
	conn     net.Conn
	turn     chan struct{}
}

func (s naiveStream) Write(p []byte) (int, error) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	frame := binary.LittleEndian.AppendUint16(nil, s.id)
	frame = binary.LittleEndian.AppendUint32(frame, uint32(len(p)))
	_, err := s.conn.Write(append(frame, p...))
	return len(p), err
}

func naive(conn net.Conn, count int) []net.Conn {
	var all, feeds []net.Conn
	turn := make(chan struct{}, 1)
	for i := range count {
		r, w := net.Pipe()
		all, feeds = append(all, naiveStream{r, uint16(i), conn, turn}), append(feeds, w)
	}
	go func() {
		defer func() {
			for _, w := range feeds {
				_ = w.Close()
			}
		}()
		in := bufio.NewReader(conn)
		for {
			var h [6]byte
			if _, err := io.ReadFull(in, h[:]); err != nil {
				return
			}
			_, _ = io.CopyN(feeds[binary.LittleEndian.Uint16(h[:])], in, int64(binary.LittleEndian.Uint32(h[2:])))
		}
	}()
	return all
}
