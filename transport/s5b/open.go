// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"example.org/xtls/transport"
)

// nominated returns the candidate both ends use (XEP-0260 §2.4), and whether we offered it; nil if
// there is none.
func (g *negotiation) nominated() (c *candidate, mine bool) {
	ours, peers := g.ours.used, g.peers.used
	switch {
	case ours == nil:
		return peers, true
	case peers == nil:
		return ours, false
	}
	switch cmp.Compare(ours.priority, peers.priority) {
	case 1:
		return ours, false
	case -1:
		return peers, true
	}
	if g.n.Initiator { // the initiator's choice counts
		return ours, false
	}
	return peers, true
}

// open makes the carrier of the nominated candidate.
func (g *negotiation) open(ctx context.Context) (transport.Conn, error) {
	c, mine := g.nominated()
	if c == nil {
		return nil, g.failure("")
	}
	var conn *net.TCPConn
	var err error
	switch {
	case c.typ == typeProxy && mine:
		conn, err = g.activate(ctx, *c)
	case c.typ == typeProxy:
		conn, err = g.awaitActivation(ctx, *c)
	case mine:
		conn, err = g.awaitArrival(ctx, *c)
	default:
		conn = g.race.take()
	}
	if err != nil {
		return nil, err
	}
	return g.carrier(conn, c.typ == typeProxy)
}

func (g *negotiation) carrier(conn *net.TCPConn, relayed bool) (transport.Conn, error) {
	path := transport.Direct
	if relayed {
		path = transport.Relay
	}
	c, err := g.t.newCarrier(conn, path)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	if relayed && g.pad {
		return newPadded(c), nil
	}
	return c, nil
}

// awaitArrival returns the connection that the peer says it has made to us.
func (g *negotiation) awaitArrival(ctx context.Context, c candidate) (*net.TCPConn, error) {
	timeout := time.NewTimer(arrivalTime)
	defer timeout.Stop()
	for {
		if a := g.ln.take(c.host); a != nil {
			<-a.answered // bounded by strangerTime
			if a.err == nil {
				return a.conn, nil
			}
			_ = a.conn.Close()
			return nil, g.failure(fmt.Sprintf("the peer's connection to %s was lost", c.addr()))
		}
		select {
		case <-g.ln.changed:
		case <-timeout.C:
			return nil, g.failure(fmt.Sprintf("no connection came to %s although the peer says so", c.addr()))
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// activate meets the peer at our proxy (XEP-0260 §2.4). If that fails the peer is told.
func (g *negotiation) activate(ctx context.Context, c candidate) (*net.TCPConn, error) {
	trying, cancel := context.WithTimeoutCause(ctx, activateTime, errTimeout)
	defer cancel()
	type result struct {
		conn *net.TCPConn
		err  error
	}
	done := make(chan result, 1)
	g.work.Go(func() {
		conn, err := g.t.dial(trying, c, true, newDigest(g.sid, g.own, g.n.Peer))
		if err == nil {
			if err = g.t.activate(trying, c.jid, g.sid, g.n.Peer); err != nil {
				_ = conn.Close()
				err = fmt.Errorf("activation: %w", err)
			}
		}
		done <- result{conn, err}
	})
	var r result
	select {
	case r = <-done:
	case m := <-g.messages: // the peer has nothing to say now but that it gives up
		cancel()
		if r = <-done; r.err == nil {
			_ = r.conn.Close()
		}
		return nil, g.hearLast(m, "")
	}
	if r.err == nil {
		r.err = g.tell(ctx, actionActivated, c.cid)
		if r.err == nil {
			return r.conn, nil
		}
		_ = r.conn.Close()
		return nil, r.err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	// The peer waits for a word. If it cannot be told it finds out by its own timer.
	if err := g.tell(ctx, actionProxyError, ""); err != nil {
		g.t.logf("telling proxy-error: %v", err)
	}
	return nil, g.failure(fmt.Sprintf("the own %v: %s", c, reason(r.err)))
}

// awaitActivation waits until the peer has met us at its proxy.
func (g *negotiation) awaitActivation(ctx context.Context, c candidate) (*net.TCPConn, error) {
	timeout := time.NewTimer(activatedTime)
	defer timeout.Stop()
	select {
	case r := <-g.messages:
		if err := g.hearLast(r, actionActivated); err != nil {
			return nil, err
		}
		return g.race.take(), nil
	case <-timeout.C:
		return nil, g.failure(fmt.Sprintf("the peer did not activate %v within %v", c, activatedTime))
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// hearLast takes an element of the peer while a proxy is activated; it returns nil for the one
// that is wanted. Which cid <activated/> names does not matter: XEP-0260's own example has a wrong
// one, and there is only one candidate left.
func (g *negotiation) hearLast(r received, want action) error {
	if err := g.check(r); err != nil {
		return err
	}
	switch a := r.message.action; {
	case a == actionProxyError:
		return g.failure("the peer could not use the proxy")
	case want != actionNone && a == want:
		return nil
	default:
		return violation("XEP-0260 §2.4", "%s while a proxy is activated", cmp.Or(string(a), "candidates"))
	}
}

// failure says what was tried in vain, and what else went wrong.
func (g *negotiation) failure(what string) error {
	tried := slices.Clone(g.race.failed)
	if g.peers.known && g.peers.used == nil && len(g.mine) > 0 {
		tried = append(tried, "the peer reached none of "+names(g.mine))
	}
	if what != "" {
		tried = append(tried, what)
	}
	switch {
	case len(tried) > 0:
	case g.n.Relay && !g.n.Direct:
		tried = append(tried, "neither end's server has a SOCKS5 proxy (proxy65) that both may use")
	default:
		tried = append(tried, "neither end offered one that the other may use")
	}
	return fmt.Errorf("%w: %s", ErrNoCandidate, strings.Join(tried, ", "))
}

// names lists candidates for an error.
func names(cs []candidate) string {
	s := make([]string, len(cs))
	for i, c := range cs {
		s[i] = c.String()
	}
	return strings.Join(s, ", ")
}
