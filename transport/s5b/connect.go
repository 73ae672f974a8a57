// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/transport"
)

// How long each state of a negotiation may last. Signalling comes on top of none of them: each
// bounds all that happens in its state.
const (
	// gatherTime: for proxies to be found; what is found later is for the next negotiation.
	gatherTime = time.Second

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

// findProxies offers the own server's proxies.
func (g *negotiation) findProxies(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, gatherTime)
	defer cancel()
	proxies, err := g.t.Proxies(ctx)
	g.mine = append(g.mine, proxyCandidates(proxies)...)
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

// connect tries the peer's candidates, and hears what the peer makes of ours, until both outcomes
// are known (XEP-0260 §2.3).
func (g *negotiation) connect(ctx context.Context) error {
	attempts, cancel := context.WithTimeoutCause(ctx, connectTime, errTimeout)
	defer cancel()
	g.race.start(attempts, g)
	late := time.NewTimer(outcomeTime)
	defer late.Stop()
	for {
		if !g.ours.known && g.race.step() {
			if err := g.settle(ctx); err != nil {
				return err
			}
		}
		if !g.ours.known || !g.peers.known && !g.hopeless() {
			if err := g.wait(ctx, late.C); err != nil {
				return err
			}
			continue
		}
		return nil
	}
}

// hopeless reports whether nothing can come of this although the peer has not said so yet.
func (g *negotiation) hopeless() bool { return g.ours.used == nil && len(g.mine) == 0 }

// settle says what came of our attempts.
func (g *negotiation) settle(ctx context.Context) error {
	g.ours = outcome{known: true, used: g.race.used}
	if g.ours.used == nil {
		return g.tell(ctx, actionCandidateError, "")
	}
	return g.tell(ctx, actionCandidateUsed, g.ours.used.cid)
}

// wait waits for anything to happen while candidates are tried.
func (g *negotiation) wait(ctx context.Context, late <-chan time.Time) error {
	select {
	case a := <-g.race.done:
		g.race.ended(a)
		return nil
	case <-g.race.next.C:
		return nil
	case r := <-g.messages:
		return g.hear(r)
	case <-late:
		return g.failure(fmt.Sprintf("the peer did not say within %v what it could reach", outcomeTime))
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// hear takes an element of the peer while candidates are tried.
func (g *negotiation) hear(r received) error {
	if err := g.check(r); err != nil {
		return err
	}
	m := r.message
	if err := g.add(m.candidates); err != nil {
		return err
	}
	if !g.ours.known {
		g.race.add(m.candidates)
	}
	switch m.action {
	case actionNone:
		return nil
	case actionCandidateUsed, actionCandidateError:
	default:
		return violation("XEP-0260 §2.4", "%s before a candidate was chosen", m.action)
	}
	if g.peers.known {
		return violation("XEP-0260 §2.3", "%s after it had said what came of its attempts", m.action)
	}
	g.peers.known = true
	if m.action == actionCandidateError {
		return nil
	}
	i := slices.IndexFunc(g.mine, func(c candidate) bool { return c.cid == m.cid })
	if i < 0 {
		return violation("XEP-0260 §2.3", "candidate-used with cid %s, which was not offered", quote(m.cid))
	}
	g.peers.used = &g.mine[i]
	g.race.beat(g.mine[i].priority)
	return nil
}

// check refuses what cannot belong here in any state.
func (g *negotiation) check(r received) error {
	if r.err != nil {
		return r.err
	}
	if r.message.sid != g.sid {
		return violation("XEP-0260 §2.2", "sid %s", quote(r.message.sid))
	}
	return nil
}

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
	if len(tried) == 0 {
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
