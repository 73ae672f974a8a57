// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"mellium.im/xmpp/stanza"
)

const (
	// stagger is how long after one attempt the next one begins (XEP-0260 §4), if the first has
	// not failed sooner.
	stagger = 200 * time.Millisecond

	// proxyDelay is how much longer a proxy waits while others are still tried.
	proxyDelay = 300 * time.Millisecond

	// directTime bounds an attempt at a direct candidate: where a firewall swallows what it does not
	// like nobody answers, and the user waits. TCP repeats its first segment after 1 s.
	directTime = 3 * time.Second

	// betterTime is how long better candidates are still tried once the peer has reached one.
	betterTime = time.Second
)

var (
	errTimeout = errors.New("timed out")
	errBeaten  = errors.New("given up for a better one")
	errAddress = errors.New("not an address to connect to")
	errForeign = errors.New("is no proxy of the own server, and the peer is not known")
)

// A race is the attempts at the peer's candidates. Those of higher priority start first; the first
// that succeeds wins.
type race struct {
	g      *negotiation
	ctx    context.Context
	cancel context.CancelCauseFunc

	queue   []candidate // not begun, best first
	running map[string]running
	next    *time.Timer // when the next one may begin
	hurry   *time.Timer // ends all of them, nil as long as the peer has reached none
	ready   time.Time   // the same
	done    chan attempt
	bar     int64 // priority that has to be beaten, -1 for none

	failed []string // what was tried and why it failed
	used   *candidate
	conn   *net.TCPConn // of used, nil when taken
}

type running struct {
	candidate
	cancel context.CancelCauseFunc
}

// An attempt is the end of one.
type attempt struct {
	candidate
	conn *net.TCPConn
	err  error
}

// start begins with what the peer has offered so far. ctx bounds all attempts.
func (r *race) start(ctx context.Context, g *negotiation) {
	r.g = g
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	r.running = make(map[string]running)
	r.done = make(chan attempt, maxCandidates) // nobody ever waits to be heard
	r.next = time.NewTimer(0)
	r.bar = -1
	r.add(g.theirs)
}

// add queues candidates, or notes why not.
func (r *race) add(cs []candidate) {
	for _, c := range cs {
		if c.typ != typeProxy && !r.g.n.Direct && r.g.n.Relay {
			continue // only a relay was asked for
		}
		if why := r.g.forbids(c); why != "" {
			r.failed = append(r.failed, fmt.Sprintf("%v %s", c, why))
			continue
		}
		r.queue = append(r.queue, c)
	}
	slices.SortStableFunc(r.queue, byPriority)
}

// forbids says why a peer's candidate is not tried, "" if it may be.
func (g *negotiation) forbids(c candidate) string {
	if c.typ == typeProxy {
		if !g.n.Relay {
			return "is not allowed"
		}
		return ""
	}
	if !g.n.Direct {
		return "is not allowed"
	}
	if _, err := netip.ParseAddr(c.host); err != nil {
		return "is no IP address"
	}
	return ""
}

// beat gives up what is not better than what the peer has reached (XEP-0260 §2.3), and the rest after
// betterTime.
func (r *race) beat(priority uint32) {
	r.bar = int64(priority)
	worse := func(c candidate) bool { return int64(c.priority) <= r.bar }
	r.queue = slices.DeleteFunc(r.queue, worse)
	for _, a := range r.running {
		if worse(a.candidate) {
			a.cancel(errBeaten)
		}
	}
	r.hurry = time.AfterFunc(betterTime, func() { r.cancel(errTimeout) })
}

// step begins what is due. It returns true if the race is over.
func (r *race) step() bool {
	for r.used == nil && len(r.queue) > 0 {
		due := r.ready
		if r.queue[0].typ == typeProxy {
			due = due.Add(proxyDelay)
		}
		if wait := time.Until(due); wait > 0 && len(r.running) > 0 {
			r.next.Reset(wait)
			return false
		}
		r.begin(r.queue[0])
		r.queue = slices.Delete(r.queue, 0, 1)
		r.ready = time.Now().Add(stagger)
	}
	return r.used != nil || len(r.running) == 0
}

// begin starts one attempt.
func (r *race) begin(c candidate) {
	ctx, cancel := context.WithCancelCause(r.ctx)
	r.running[c.cid] = running{c, cancel}
	r.g.work.Go(func() {
		conn, err := r.g.try(ctx, c)
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		r.done <- attempt{c, conn, err}
	})
}

// ended takes the end of an attempt.
func (r *race) ended(a attempt) {
	r.running[a.cid].cancel(nil)
	delete(r.running, a.cid)
	if a.err == nil && (r.used != nil || int64(a.priority) <= r.bar) {
		_ = a.conn.Close() // too late
		a.err = errBeaten
	}
	if a.err != nil {
		if a.err != errBeaten {
			r.failed = append(r.failed, fmt.Sprintf("%v %s", a.candidate, reason(a.err)))
		}
		return
	}
	r.used, r.conn = &a.candidate, a.conn
	r.cancel(errBeaten) // the others
}

// take returns the connection of the winner.
func (r *race) take() *net.TCPConn {
	c := r.conn
	r.conn = nil
	return c
}

// close ends all attempts, and closes what came of them and was not taken.
func (r *race) close() {
	if r.cancel == nil {
		return
	}
	r.cancel(nil)
	r.next.Stop()
	if r.hurry != nil {
		r.hurry.Stop()
	}
	for range r.running {
		if a := <-r.done; a.err == nil {
			_ = a.conn.Close()
		}
	}
	for _, a := range r.running {
		a.cancel(nil)
	}
	if r.conn != nil {
		_ = r.conn.Close()
	}
}

// try connects to one candidate of the peer.
func (g *negotiation) try(ctx context.Context, c candidate) (*net.TCPConn, error) {
	if c.typ != typeProxy {
		ctx, cancel := context.WithTimeoutCause(ctx, directTime, errTimeout)
		defer cancel()
		return g.t.dial(ctx, c, false, g.dstaddr)
	}
	own := func() bool {
		return slices.ContainsFunc(g.t.known(), func(p Proxy) bool { return p.Addr() == c.addr() })
	}
	trusted := own()
	switch { // whose it is decides who learns this end's address
	case trusted || g.n.Direct:
	case g.n.PeerRelay:
		if err := g.t.confirm(ctx, c); err != nil {
			return nil, err
		}
	default:
		_, _ = g.t.Proxies(ctx) // the search may not be over
		if trusted = own(); !trusted {
			return nil, errForeign
		}
	}
	return g.t.dial(ctx, c, trusted, g.dstaddr)
}

// dial connects to a candidate and through its SOCKS5. trusted says that the own server named its
// address, which may then be any.
func (t *Transport) dial(ctx context.Context, c candidate, trusted bool, d digest) (*net.TCPConn, error) {
	dialer := net.Dialer{}
	if !trusted {
		dialer.Control = t.allows
	}
	conn, err := dialer.DialContext(ctx, "tcp", c.addr())
	if err != nil {
		return nil, err
	}
	tcp := conn.(*net.TCPConn)
	stop := context.AfterFunc(ctx, func() { _ = tcp.SetDeadline(past) }) // fails only if closed
	err = socksDial(tcp, d)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = tcp.Close()
		return nil, err
	}
	return tcp, nil
}

// allows refuses addresses that a peer has no business to send us to. It sees what a name was
// resolved to.
func (t *Transport) allows(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return errAddress
	}
	ip := ap.Addr().Unmap()
	if isUsable(ip) {
		return nil
	}
	if !ip.IsLoopback() {
		return errAddress
	}
	own, err := ownAddresses(t.interfaceAddrs, t.cfg.Loopback)
	if err != nil || !slices.ContainsFunc(own, netip.Addr.IsLoopback) {
		return errAddress
	}
	return nil
}

// reason says in a few words why something failed.
func reason(err error) string {
	var dns *net.DNSError
	for _, e := range []error{errUnconfirmed, errForeign} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	if se, ok := errors.AsType[stanza.Error](err); ok {
		return "refused by the proxy: " + quote(string(se.Condition))
	}
	switch {
	case errors.Is(err, errTimeout), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "timed out"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "unreachable"
	case errors.As(err, &dns):
		return "has no address"
	case errors.Is(err, errAddress):
		return errAddress.Error()
	}
	return "failed: " + strings.TrimPrefix(err.Error(), "s5b: ")
}
