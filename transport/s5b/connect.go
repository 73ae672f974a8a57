// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"context"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/transport"
)

// How long each state of a negotiation may last. Signalling comes on top of none of them: each
// bounds all that happens in its state.
const (
	// gatherTime: for proxies to be found; what is found later is for the next negotiation. It is
	// gatherRelayTime where nothing else may be used.
	gatherTime      = time.Second
	gatherRelayTime = 5 * time.Second

	// offerTime: for the peer's answer to an offer, or the offer itself. A person may be asked
	// first; Connect's own context usually ends sooner.
	offerTime = 2 * time.Minute

	// connectTime: for connecting to the peer's candidates, all together.
	connectTime = 5 * time.Second

	// outcomeTime: for the peer to say what came of its attempts. It has begun about when we have.
	outcomeTime = 10 * time.Second

	// arrivalTime: for the connection that the peer says it has to be there.
	arrivalTime = 2 * time.Second

	// activateTime: for connecting to the own proxy and activating it.
	activateTime = 5 * time.Second

	// activatedTime: for the peer to do the same.
	activatedTime = 8 * time.Second

	// tellTime: for the peer to take note of what we say in between.
	tellTime = 5 * time.Second
)

// A negotiation is one run of Connect. One goroutine runs it and owns its fields; the others it
// starts only talk to its channels.
type negotiation struct {
	t    *Transport
	n    *transport.Negotiation
	own  jid.JID
	sid  string
	pad  bool // both ends know the padding
	ln   *listener
	work sync.WaitGroup

	messages chan received

	mine, theirs []candidate
	dstaddr      digest // that the peer expects at its candidates
	race         race

	ours, peers outcome // what came of the attempts of either end
}

// An outcome is what one end says about its attempts.
type outcome struct {
	known bool
	used  *candidate // nil: candidate-error
}

// A received is what the peer sent.
type received struct {
	message message
	err     error
}

// Connect negotiates a bytestream with n.Peer (XEP-0260 §2) and returns a carrier: a TCP connection
// from end to end, or through a proxy. Which candidates are offered and tried n.Direct and n.Relay
// say, see the package comment. ctx governs only the negotiation.
//
// Errors wrap ctx's cause, [ErrNoCandidate], [ErrMessages], a [*ProtocolError], or
// [ErrSessionEnded]. All sockets but that of the carrier are closed when Connect returns.
func (t *Transport) Connect(ctx context.Context, n *transport.Negotiation) (transport.Conn, error) {
	if n.Signal == nil || n.Peer.Equal(jid.JID{}) {
		return nil, errors.New("s5b: Negotiation.Signal and Negotiation.Peer are required")
	}
	if n.Messages {
		return nil, ErrMessages
	}
	if err := t.enter(); err != nil {
		return nil, err
	}
	defer t.running.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(t.ctx, func() { cancel(context.Cause(t.ctx)) })
	defer stop()
	g := &negotiation{
		t: t, n: n, own: t.stanzas.LocalAddr(), messages: make(chan received),
	}
	c, err := g.run(ctx)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("s5b: connect: %w", context.Cause(ctx))
	}
	cancel(nil)
	g.close()
	if err != nil {
		t.logf("negotiation %s with %s: %v", quote(g.sid), n.Peer, err)
		return nil, err
	}
	t.logf("negotiation %s with %s: %s %v", quote(g.sid), n.Peer, c.Path(), c.RemoteAddr())
	return c, nil
}

// enter counts a negotiation, so that Close waits for it.
func (t *Transport) enter() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	t.running.Add(1)
	return nil
}

// run goes through the states of the package comment.
func (g *negotiation) run(ctx context.Context) (transport.Conn, error) {
	exchange := g.accept
	if g.n.Initiator {
		exchange = g.offer
	}
	if err := exchange(ctx); err != nil {
		return nil, err
	}
	if err := g.connect(ctx); err != nil {
		return nil, err
	}
	return g.open(ctx)
}

// close ends everything that is not the carrier.
func (g *negotiation) close() {
	g.race.close()
	if g.ln != nil {
		g.ln.close()
	}
	g.work.Wait()
}

// offer is the initiator's exchange of candidates.
func (g *negotiation) offer(ctx context.Context) error {
	g.sid = rand.Text() // at least 128 bits
	if err := g.gather(ctx); err != nil {
		return err
	}
	if err := g.send(ctx, g.introduction()); err != nil {
		return err
	}
	theirs, err := g.firstMessage(ctx)
	if err != nil {
		return err
	}
	if theirs.sid != g.sid {
		return violation("XEP-0260 §2.2", "answer for sid %s", quote(theirs.sid))
	}
	return g.meet(theirs)
}

// accept is the responder's. It tries the offer only when it has answered: what it says of the
// attempts comes after that.
func (g *negotiation) accept(ctx context.Context) error {
	theirs, err := g.firstMessage(ctx)
	if err != nil {
		return err
	}
	g.sid = theirs.sid
	if err := g.meet(theirs); err != nil {
		return err
	}
	if err := g.gather(ctx); err != nil {
		return err
	}
	return g.send(ctx, g.introduction())
}

// firstMessage waits for the peer's <transport/> and starts listening for more.
func (g *negotiation) firstMessage(ctx context.Context) (message, error) {
	g.work.Go(func() { g.receive(ctx) })
	timeout := time.NewTimer(offerTime)
	defer timeout.Stop()
	select {
	case r := <-g.messages:
		return r.message, r.err
	case <-timeout.C:
		return message{}, fmt.Errorf("s5b: the peer sent no <transport/> within %v", offerTime)
	case <-ctx.Done():
		return message{}, context.Cause(ctx)
	}
}

// receive hands over what the peer sends until ctx ends.
func (g *negotiation) receive(ctx context.Context) {
	for {
		var m message
		var r xml.TokenReader
		var err error
		if r, err = g.n.Signal.Recv(ctx); err == nil {
			m, err = parseTransport(r)
		}
		select {
		case g.messages <- received{m, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// meet takes the peer's first element.
func (g *negotiation) meet(m message) error {
	if m.action != actionNone {
		return violation("XEP-0260 §2.2", "%s in the first element", m.action)
	}
	// What the peer says is what it will expect; both orders are in use for direct candidates.
	theirs, other := newDigest(g.sid, g.n.Peer, g.own), newDigest(g.sid, g.own, g.n.Peer)
	switch m.dstaddr {
	case "", theirs.String():
		g.dstaddr = theirs
	case other.String():
		g.dstaddr = other
	default:
		return violation("XEP-0260 §2.2", "dstaddr %s is not that of this session", quote(m.dstaddr))
	}
	g.pad = m.pad
	return g.add(m.candidates)
}

// add takes more candidates of the peer.
func (g *negotiation) add(cs []candidate) error {
	for _, c := range cs {
		if len(g.theirs) == maxCandidates {
			return violation("XEP-0260 §2.2", "more than %d candidates", maxCandidates)
		}
		if slices.ContainsFunc(g.theirs, func(o candidate) bool { return o.cid == c.cid }) {
			return violation("XEP-0260 §2.2", "two candidates with cid %s", quote(c.cid))
		}
		g.theirs = append(g.theirs, c)
	}
	return nil
}

// gather collects what is offered to the peer, and opens the port. What fails is left out.
func (g *negotiation) gather(ctx context.Context) error {
	if g.n.Direct {
		if err := g.listen(); err != nil {
			g.t.logf("offering no address: %v", err)
		}
	}
	if g.n.Relay {
		if err := g.findProxies(ctx); err != nil {
			g.t.logf("offering no proxy: %v", err)
		}
	}
	prefix := "r"
	if g.n.Initiator {
		prefix = "i"
	}
	g.mine = without(g.mine, g.theirs, prefix)
	return context.Cause(ctx)
}

// listen opens the port and offers the own addresses.
func (g *negotiation) listen() error {
	ips, err := ownAddresses(g.t.interfaceAddrs, g.t.cfg.Loopback)
	if err != nil || len(ips) == 0 {
		return err
	}
	g.ln, err = listen([2]digest{newDigest(g.sid, g.own, g.n.Peer), newDigest(g.sid, g.n.Peer, g.own)})
	if err != nil {
		return err
	}
	g.mine = directCandidates(g.own, ips, g.ln.port())
	return nil
}

// findProxies offers the own server's proxies, as far as they are found in time.
func (g *negotiation) findProxies(ctx context.Context) error {
	wait := gatherTime
	if !g.n.Direct {
		wait = gatherRelayTime
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	_, err := g.t.Proxies(ctx)
	g.mine = append(g.mine, proxyCandidates(g.t.known())...) // one that does not answer hides no other
	return err
}

// introduction is the own first element.
func (g *negotiation) introduction() message {
	m := message{sid: g.sid, pad: true, candidates: g.mine}
	for _, c := range g.mine {
		if c.typ == typeProxy {
			m.dstaddr = newDigest(g.sid, g.own, g.n.Peer).String()
		}
	}
	return m
}

// send sends one element.
func (g *negotiation) send(ctx context.Context, m message) error {
	return g.n.Signal.Send(ctx, m.render())
}

// tell sends an action, within tellTime.
func (g *negotiation) tell(ctx context.Context, a action, cid string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, tellTime,
		fmt.Errorf("s5b: the peer did not take %s within %v", a, tellTime))
	defer cancel()
	return g.send(ctx, message{sid: g.sid, action: a, cid: cid})
}
