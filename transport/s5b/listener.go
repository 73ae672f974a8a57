// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// maxStrangers bounds the connections to one negotiation's port that have not shown a digest
	// yet. One more and the oldest is closed: the peer needs only two round trips, so it gets
	// through while others dawdle.
	maxStrangers = 16

	// maxArrived bounds the connections that have shown one. The peer makes at most one for each
	// of our candidates; of two to the same address the first counts.
	maxArrived = maxCandidates

	// strangerTime is how long a connection may take to show its digest.
	strangerTime = 3 * time.Second

	// acceptPause is how long nothing is accepted after the system refused to.
	acceptPause = 50 * time.Millisecond
)

// An arrival is a connection of somebody who knows the digest.
type arrival struct {
	conn     *net.TCPConn
	at       netip.Addr    // our address it came to
	answered chan struct{} // closed when the answer was written, or could not be
	err      error         // of that, valid when answered is closed
}

// A listener is the port of one negotiation. Strangers get nothing from it but the SOCKS5
// greeting's answer.
type listener struct {
	ln      *net.TCPListener
	known   [2]digest
	running sync.WaitGroup
	changed chan struct{} // holds a token if something arrived

	mu        sync.Mutex // protects the fields below
	closed    bool
	strangers []*net.TCPConn // oldest first
	arrived   []*arrival
}

// listen opens a free port on all interfaces. Whoever shows one of the digests may come in.
func listen(known [2]digest) (*listener, error) {
	ln, err := net.Listen("tcp", ":0") // IPv4 and IPv6, whatever the system has
	if err != nil {
		return nil, err
	}
	l := &listener{ln: ln.(*net.TCPListener), known: known, changed: make(chan struct{}, 1)}
	l.running.Go(l.accept)
	return l, nil
}

func (l *listener) port() uint16 { return uint16(l.ln.Addr().(*net.TCPAddr).Port) }

// accept serves each connection until the listener is closed.
func (l *listener) accept() {
	for {
		c, err := l.ln.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many open files, say
			time.Sleep(acceptPause)
			continue
		}
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			_ = c.Close()
			return
		}
		if len(l.strangers) == maxStrangers {
			_ = l.strangers[0].Close() // its goroutine notices and takes no other's place
			l.strangers = slices.Delete(l.strangers, 0, 1)
		}
		l.strangers = append(l.strangers, c)
		l.running.Go(func() { l.serve(c) })
		l.mu.Unlock()
	}
}

// serve lets c in or closes it.
func (l *listener) serve(c *net.TCPConn) {
	_ = c.SetDeadline(time.Now().Add(strangerTime)) // fails only if closed
	d, err := socksAccept(c, l.known)
	a := l.admit(c, err == nil)
	if a == nil {
		_ = c.Close()
		return
	}
	// The peer says candidate-used after it has read the answer, so the arrival is known by then.
	_, a.err = c.Write(answer(d))
	close(a.answered)
}

// admit ends the time of c as a stranger; if it is welcome it becomes an arrival.
func (l *listener) admit(c *net.TCPConn, welcome bool) *arrival {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.strangers, c); i >= 0 {
		l.strangers = slices.Delete(l.strangers, i, i+1)
	} else {
		return nil // too slow
	}
	at := localIP(c)
	same := func(a *arrival) bool { return a.at == at }
	if !welcome || l.closed || len(l.arrived) == maxArrived || slices.ContainsFunc(l.arrived, same) {
		return nil
	}
	a := &arrival{conn: c, at: at, answered: make(chan struct{})}
	l.arrived = append(l.arrived, a)
	select {
	case l.changed <- struct{}{}:
	default:
	}
	return a
}

// take returns the connection that came by the candidate at host, nil if there is none yet. If
// none came to that very address but one to another, as through a translated address, it is that.
func (l *listener) take(host string) *arrival {
	want, _ := netip.ParseAddr(host)
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.arrived, func(a *arrival) bool { return a.at == want })
	if i < 0 && len(l.arrived) == 1 {
		i = 0
	}
	if i < 0 {
		return nil
	}
	a := l.arrived[i]
	l.arrived = slices.Delete(l.arrived, i, i+1) // close must not close it
	return a
}

// close closes the port and everything that came to it and was not taken, and joins all
// goroutines.
func (l *listener) close() {
	_ = l.ln.Close() // nothing was written
	l.mu.Lock()
	l.closed = true
	for _, c := range l.strangers {
		_ = c.Close()
	}
	for _, a := range l.arrived {
		_ = a.conn.Close()
	}
	l.arrived = nil
	l.mu.Unlock()
	l.running.Wait()
}

// localIP is the own address of c.
func localIP(c *net.TCPConn) netip.Addr {
	addr, _ := c.LocalAddr().(*net.TCPAddr)
	if addr == nil {
		return netip.Addr{}
	}
	return addr.AddrPort().Addr().Unmap()
}
