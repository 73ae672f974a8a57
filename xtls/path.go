// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/jingle"
	"example.org/xtls/transport"
	"example.org/xtls/transport/s5b"
)

// A Path says which ways the octets of a tunnel may take. The zero value is PathAuto.
type Path string

const (
	// PathAuto takes the best way there is: direct, else a relay, else in-band. A peer whose
	// key is not remembered yet gets in-band only: it is not shown an address.
	PathAuto Path = ""
	// PathInBand is inside XMPP stanzas and nothing else. Nobody but the servers learns an
	// address.
	PathInBand Path = "inband"
	// PathRelay is through a SOCKS5 proxy and nothing else (XEP-0065). The peer does not learn this
	// end's address; whoever runs the proxy does. That is a proxy of the own server, or, with peers
	// whose key is remembered, one that the peer names: who runs a server can name one of his own.
	PathRelay Path = "relay"
	// PathDirect is from one end to the other and nothing else, with peers whose key is
	// remembered.
	PathDirect Path = "direct"
)

// ParsePath reads "auto", "inband", "relay" or "direct".
func ParsePath(s string) (Path, error) {
	switch p := Path(s); p {
	case "auto":
		return PathAuto, nil
	case PathInBand, PathRelay, PathDirect:
		return p, nil
	default:
		return "", fmt.Errorf("xtls: unknown path %q: want auto, inband, relay or direct", s)
	}
}

// String is the inverse of [ParsePath].
func (p Path) String() string {
	if p == PathAuto {
		return "auto"
	}
	return string(p)
}

const (
	// carrierTime bounds the negotiation of a transport after the accept.
	carrierTime = 30 * time.Second
	// replaceTime bounds how long one side waits for the other's part when a way has failed:
	// the initiator's proposal of another one, or the answer to it.
	replaceTime = 10 * time.Second
)

// errUnsupportedTransport: the peer does not know the transport that was offered, or may not use it.
var errUnsupportedTransport = fmt.Errorf("%w over this path: %s", ErrNotSupported, jingle.ReasonUnsupportedTransports)

// errReplaced: the peer proposes another way while this one is being tried.
var errReplaced = errors.New("the peer gave this path up")

// A ways is what may be tried with one peer.
type ways struct{ direct, relay, peerRelay, inBand bool }

// ways decides what may be tried with a peer. Its key is known or not: an address is private.
func (p Path) ways(known bool) ways {
	switch p {
	case PathInBand:
		return ways{inBand: true}
	case PathRelay:
		return ways{relay: true, peerRelay: known}
	case PathDirect:
		return ways{direct: known}
	default:
		return ways{direct: known, relay: known, peerRelay: known, inBand: true}
	}
}

// methods are the transports to offer, best first. DTLS wants messages, which only blocks are.
func (c *Client) methods(w ways) []transport.Method {
	var m []transport.Method
	if (w.direct || w.relay) && c.cfg.Security == TLS {
		m = append(m, c.s5b)
	}
	if w.inBand {
		m = append(m, c.ibb)
	}
	return m
}

// method is the transport with that namespace, nil if there is none. A peer's offer of one that
// may not be used is taken up all the same where that shows nothing: s5b then finds no way, and
// tells the peer, who may propose another.
func (c *Client) method(ns string, w ways) transport.Method {
	switch {
	case ns == c.s5b.Namespace():
		return c.s5b
	case ns == c.ibb.Namespace() && w.inBand:
		return c.ibb
	default:
		return nil
	}
}

// A Proxy is a SOCKS5 relay (XEP-0065 §6).
type Proxy = s5b.Proxy

// Proxies returns the SOCKS5 relays of the own server (XEP-0065), at most 4, in the order the server
// names them. Nil without an error means that there is none; an error, that the server or one of its
// services did not answer. The server is asked once, within 10 seconds, after a failure again a
// minute later; with [Connect], unless Config.Path or Security rules relays out, right after login.
func (c *Client) Proxies(ctx context.Context) ([]Proxy, error) {
	proxies, err := c.s5b.Proxies(ctx)
	if err != nil {
		return nil, opError("proxies", c.LocalAddr().Domain(), err)
	}
	return proxies, nil
}

// known reports whether the user knows the peer well enough to show it an address: the peer is
// not disputed, and a key of it is remembered that satisfies is.
func (c *Client) known(peer jid.JID, is func(fingerprint.Fingerprint) bool) (bool, error) {
	facts, err := c.cfg.Trust.Peer(peer)
	if err != nil || !facts.Disputed.IsZero() {
		return false, err
	}
	records, err := c.cfg.Trust.Records()
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(records, func(r fingerprint.Record) bool {
		return r.Peer.Equal(peer.Bare()) && r.Level != fingerprint.LevelRevoked && is(r.Key)
	}), nil
}

// anyKey is for known: who offers does not know yet which key the peer will present.
func anyKey(fingerprint.Fingerprint) bool { return true }

// announced is for known: the key is the one that the peer's offer names.
func announced(digests []fingerprint.Digest) func(fingerprint.Fingerprint) bool {
	return func(key fingerprint.Fingerprint) bool {
		return slices.ContainsFunc(digests, func(d fingerprint.Digest) bool {
			f, ok := d.Fingerprint()
			return ok && f == key
		})
	}
}

// A carrier is the outcome of a transport's negotiation.
type carrier struct {
	conn transport.Conn
	err  error
}

// An attempt is one transport that is being tried.
type attempt struct {
	method transport.Method
	signal *signal
	cancel context.CancelFunc
	done   chan carrier // yields once
}

// begin starts to try m. js is nil before the session exists.
func (t *tunnel) begin(m transport.Method, js *jingle.Session) *attempt {
	ctx, cancel := context.WithCancel(context.Background())
	a := &attempt{method: m, signal: newSignal(js, m.Namespace()), cancel: cancel, done: make(chan carrier, 1)}
	t.mu.Lock()
	t.signal = a.signal
	t.mu.Unlock()
	go func() {
		conn, err := m.Connect(ctx, &transport.Negotiation{
			Peer: t.state.Peer, Initiator: t.initiator(), Signal: a.signal,
			Messages: t.ours.wants() == DTLS, Direct: t.ways.direct, Relay: t.ways.relay, PeerRelay: t.ways.peerRelay,
		})
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrNoPath, err)
		}
		a.signal.end()
		a.done <- carrier{conn, err}
	}()
	return a
}

// end gives the attempt up because of err and joins it.
func (a *attempt) end(err error) {
	a.cancel()
	if got := <-a.done; got.conn != nil {
		got.conn.Abort(err)
		_ = got.conn.Close()
	}
	a.done <- carrier{err: err} // it may be ended again
}

// payload waits for what the transport has to say first.
func (t *tunnel) payload(ctx context.Context, a *attempt) (jingle.Element, error) {
	select {
	case payload := <-a.signal.first:
		return payload, nil
	case got := <-a.done:
		a.done <- got
		select {
		case payload := <-a.signal.first: // it failed afterwards, which the peer may have to hear
			return payload, nil
		default:
			return nil, got.err
		}
	case <-t.ctx.Done():
		return nil, context.Cause(t.ctx)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// takeAnswer hands the transport of the peer's answer to the attempt. One client is known to
// answer with another transport than was offered.
func (a *attempt) takeAnswer(e jingle.Element) error {
	if ns := e.Name().Space; ns != a.method.Namespace() {
		return fmt.Errorf("%w: the peer answered with transport %.80q where %q was offered", ErrNoPath, ns, a.method.Namespace())
	}
	if !a.signal.begin(e) {
		return errFlood
	}
	return nil
}

// connect takes the session to a secured carrier, by the first way that works. What a way
// showed of TLS is worth nothing on the next: each begins with a handshake of its own.
func (t *tunnel) connect(ctx context.Context, err error) error {
	if err == nil {
		err = t.tryPath(ctx)
	}
	for (errors.Is(err, ErrNoPath) || errors.Is(err, errReplaced)) && ctx.Err() == nil {
		t.client.log.Infof("session %s with %s: %v", t.js.ID(), t.state.Peer, err)
		t.dropCarrier(err)
		t.attempt.end(err)
		next := t.awaitReplace
		if t.initiator() {
			next = t.replace
		}
		if err := next(ctx, err); err != nil {
			return err
		}
		err = t.tryPath(ctx)
	}
	return err
}

// tryPath waits for the carrier and secures it. It ends early if the peer proposes another way.
func (t *tunnel) tryPath(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if !t.open(cancel) {
		return errReplaced
	}
	got, err := t.awaitCarrier(ctx)
	if err != nil {
		return err
	}
	c := t.setCarrier(got)
	t.state.Transport = string(got.Path())
	err = t.secure(ctx)
	var own verdict
	switch {
	case err != nil && !isAlarm(err) && !errors.As(err, &own) && (c.broken.Load() || errors.Is(err, errHandshakeTime)):
		err = fmt.Errorf("%w: %w", ErrNoPath, err)
	case err == nil && !t.settle():
		err = errReplaced
	}
	return err
}

func (t *tunnel) awaitCarrier(ctx context.Context) (transport.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, carrierTime, fmt.Errorf("%w within %v", ErrNoPath, carrierTime))
	defer cancel()
	got, err := await(ctx, t, t.attempt.done)
	if err != nil {
		return nil, err
	}
	t.attempt.cancel()
	t.attempt.done <- carrier{err: net.ErrClosed} // nothing is left to end
	return got.conn, got.err
}

// open allows the peer to interrupt what is being tried. It returns false if the peer has
// proposed another way already.
func (t *tunnel) open(interrupt context.CancelCauseFunc) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.interrupt = interrupt
	return len(t.replaced) == 0
}

// settle ends the time in which the peer may propose another way. It returns false if one has
// been proposed.
func (t *tunnel) settle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settled = len(t.replaced) == 0
	return t.settled
}

// takeReplace takes the peer's transport-replace; false means that it is to be rejected. Only the
// initiator proposes (XEP-0260 §2.4), once, and only until the handshake is done.
func (t *tunnel) takeReplace(m *jingle.Message) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.initiator() || t.settled || t.proposed {
		return false
	}
	t.proposed = true
	t.replaced <- m
	if t.interrupt != nil {
		t.interrupt(errReplaced)
	}
	return true
}

// replacedBefore reports whether the one transport-replace has come and been answered.
func (t *tunnel) replacedBefore() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.proposed && len(t.replaced) == 0
}

// replace proposes the next way. cause says why the last one did not work.
func (t *tunnel) replace(ctx context.Context, cause error) error {
	if len(t.rest) == 0 {
		return cause
	}
	m := t.rest[0]
	t.rest = t.rest[1:]
	t.attempt = t.begin(m, t.js)
	ctx, cancel := context.WithTimeoutCause(ctx, replaceTime,
		fmt.Errorf("%w; and the peer did not answer the change of path within %v", cause, replaceTime))
	defer cancel()
	payload, err := t.payload(ctx, t.attempt)
	if err != nil {
		return err
	}
	if err := t.js.Send(ctx, jingle.ActionTransportReplace, jingle.Content{Transport: t.ours.withSetup(payload)}); err != nil {
		return t.replaceError(ctx, cause, err)
	}
	answer, err := await(ctx, t, t.answered)
	switch {
	case err != nil:
		return err
	case answer.Action == jingle.ActionTransportReject:
		return fmt.Errorf("%w; and the peer refused to change the path", cause)
	}
	t.state.Detour = cause.Error()
	return t.attempt.takeAnswer(answer.Contents[0].Transport)
}

func (t *tunnel) replaceError(ctx context.Context, cause, err error) error {
	var refused *jingle.RefusedError
	switch {
	case errors.As(err, &refused):
		return fmt.Errorf("%w; and the peer refused to change the path: %w", cause, err)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	default:
		return err
	}
}

// awaitReplace waits for the initiator to propose another way, unless it has before, and agrees to it.
func (t *tunnel) awaitReplace(ctx context.Context, cause error) error {
	if t.replacedBefore() {
		return cause
	}
	timed, cancel := context.WithTimeoutCause(ctx, replaceTime,
		fmt.Errorf("%w; and the peer proposed no other path within %v", cause, replaceTime))
	defer cancel()
	m, err := await(timed, t, t.replaced)
	if errors.Is(err, ErrNoPath) && t.ctx.Err() != nil {
		return verdict{cause} // the peer knows no more than this end
	}
	if err != nil {
		return err
	}
	offered := m.Contents[0].Transport
	method := t.client.method(offered.Name().Space, t.ways)
	if method == nil {
		_ = t.js.Send(timed, jingle.ActionTransportReject, jingle.Content{Transport: offered})
		return fmt.Errorf("%w; and what the peer proposed instead is not allowed here (%.80q)", cause, offered.Name().Space)
	}
	t.attempt = t.begin(method, t.js)
	t.attempt.signal.begin(offered) // the first one always fits
	payload, err := t.payload(timed, t.attempt)
	if err != nil {
		return err
	}
	t.state.Detour = cause.Error()
	return t.js.Send(timed, jingle.ActionTransportAccept, jingle.Content{Transport: t.ours.withSetup(payload)})
}
