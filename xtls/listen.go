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
	"sync"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/jingle"
)

// maxAccepting bounds the handshakes that Listener.Accept runs side by side.
const maxAccepting = 32

var errListening = errors.New("xtls: already listening on this session")

// A Listener takes the tunnels that peers offer: one by one with [Listener.Next],
// where the application decides about each, or as a [net.Listener] that accepts
// them all. Only one way should be used. Peers whose key is unknown are still up
// to Config.Verify.
type Listener struct {
	c      *Client
	ctx    context.Context
	cancel context.CancelCauseFunc

	once  sync.Once // starts the accept loop
	conns chan *Conn
	loops sync.WaitGroup
}

var _ net.Listener = (*Listener)(nil)

// Listen begins to take offers; without a Listener they are refused. There is at
// most one at a time. On a session made by [Connect] it also announces presence, so
// that peers can find this end ([Client.Find]).
func (c *Client) Listen() (*Listener, error) {
	l := &Listener{c: c, conns: make(chan *Conn)}
	l.ctx, l.cancel = context.WithCancelCause(c.ctx)
	c.mu.Lock()
	busy := c.listener != nil
	if !busy {
		c.listener = l
	}
	c.mu.Unlock()
	if busy {
		return nil, errListening
	}
	if err := c.announce(true); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// Next returns the next offer. It waits until there is one, ctx or the session
// ends, or the listener is closed (net.ErrClosed).
func (l *Listener) Next(ctx context.Context) (*Offer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.ctx, func() { cancel(context.Cause(l.ctx)) })()
	for {
		if l.ctx.Err() != nil {
			return nil, context.Cause(l.ctx)
		}
		js, err := l.c.jingle.Next(ctx)
		if err != nil {
			if l.ctx.Err() != nil {
				err = context.Cause(l.ctx)
			} else if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return nil, err
		}
		o, reason, err := l.c.newOffer(js)
		if err == nil {
			return o, nil
		}
		l.c.log.Infof("refused an offer of %s: %v", js.Peer(), err)
		refuse(js, reason)
	}
}

// Accept returns the next established tunnel of opaque octets; it implements
// [net.Listener]. XML streams are refused: who takes them uses [Listener.Next]. A
// tunnel that could not be established is only logged. Handshakes run side by
// side, so a slow peer does not keep the others waiting.
func (l *Listener) Accept() (net.Conn, error) {
	l.once.Do(func() {
		l.loops.Add(1)
		go l.acceptLoop()
	})
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ctx.Done():
		return nil, &net.OpError{Op: "accept", Net: "xmpp", Addr: l.Addr(), Err: context.Cause(l.ctx)}
	}
}

// refuse ends a session without waiting for the answer.
func refuse(js *jingle.Session, r jingle.Reason) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // the session-terminate leaves all the same
	_ = js.Terminate(ctx, r, "")
}

// acceptLoop accepts what is offered, side by side, but not so much of one peer
// that nobody else's turn comes.
func (l *Listener) acceptLoop() {
	defer l.loops.Done()
	slots := make(chan struct{}, maxAccepting)
	var mu sync.Mutex
	ofPeer := make(map[string]int)
	for {
		o, err := l.Next(l.ctx)
		if err != nil {
			return
		}
		if o.App.IsXMLStream() {
			refuse(o.js, jingle.ReasonUnsupportedApplications)
			continue
		}
		peer := o.Peer.Bare().String()
		mu.Lock()
		full := ofPeer[peer] == jingle.MaxOffersPerPeer
		if !full {
			ofPeer[peer]++
		}
		mu.Unlock()
		if full {
			refuse(o.js, jingle.ReasonBusy)
			continue
		}
		slots <- struct{}{}
		l.loops.Go(func() {
			defer func() {
				<-slots
				mu.Lock()
				defer mu.Unlock()
				if ofPeer[peer]--; ofPeer[peer] == 0 {
					delete(ofPeer, peer)
				}
			}()
			conn, err := o.Accept(l.ctx)
			if err != nil {
				l.c.log.Infof("%v", err)
				return
			}
			select {
			case l.conns <- conn:
			case <-l.ctx.Done():
				_ = conn.Close()
			}
		})
	}
}

// Close ends listening; offers are refused from now on. Tunnels that were handed
// out live on.
func (l *Listener) Close() error {
	l.c.mu.Lock()
	open := l.c.listener == l
	if open {
		l.c.listener = nil
	}
	l.c.mu.Unlock()
	if !open {
		return net.ErrClosed
	}
	l.cancel(net.ErrClosed)
	l.loops.Wait()
	l.c.mu.Lock()
	again := l.c.listener != nil // somebody listens by now
	l.c.mu.Unlock()
	if again {
		return nil
	}
	return l.c.announce(false)
}

// Addr returns the own full JID.
func (l *Listener) Addr() net.Addr { return Addr{l.c.LocalAddr()} }

// An Offer is a tunnel that a peer wants. It waits for Accept or Reject, but not
// longer than a minute. Nothing in it has been proven yet.
type Offer struct {
	Peer    jid.JID              // full JID
	App     App                  // what the tunnel is for
	Digests []fingerprint.Digest // announced for the peer's certificate

	c        *Client
	js       *jingle.Session
	security *security
	ways     ways
}

// newOffer checks what a peer proposes; where it cannot be accepted it returns
// the reason to give.
func (c *Client) newOffer(js *jingle.Session) (*Offer, jingle.Reason, error) {
	content := js.Offer()
	app, err := parseApp(content.Description)
	if err != nil {
		return nil, jingle.ReasonUnsupportedApplications, err
	}
	if content.Security == nil {
		return nil, jingle.ReasonSecurityError, errors.New("it is not to be encrypted")
	}
	s, err := parseSecurity(content.Security)
	switch {
	case err != nil:
		return nil, jingle.ReasonSecurityError, err
	case !s.offersX509():
		return nil, jingle.ReasonSecurityError, errors.New("no method in common")
	case s.binding != nil && !slices.Contains(s.binding.versions, protocolVersion):
		return nil, jingle.ReasonSecurityError, fmt.Errorf("no version of the protocol in common (%q)", s.binding.versions)
	}
	if err := s.readSetup(content.Transport); err != nil {
		return nil, jingle.ReasonSecurityError, err
	}
	if reason, err := c.checkOfferedSetup(s); err != nil {
		return nil, reason, err
	}
	known, err := c.known(js.Peer(), announced(s.digests))
	if err != nil {
		return nil, jingle.ReasonGeneralError, err
	}
	w := c.cfg.Path.ways(known)
	if ns := content.Transport.Name().Space; c.method(ns, w) == nil || s.wants() == DTLS && ns != c.ibb.Namespace() {
		return nil, jingle.ReasonUnsupportedTransports, fmt.Errorf("transport %.80q", ns)
	}
	return &Offer{Peer: js.Peer(), App: app, Digests: s.digests, c: c, js: js, security: s, ways: w}, "", nil
}

// Accept takes the offer and returns when the tunnel is established, under the
// conditions and bounds of [Client.Dial].
func (o *Offer) Accept(ctx context.Context) (*Conn, error) {
	conn, err := o.accept(ctx)
	if err != nil {
		return nil, opError("accept", o.Peer, err)
	}
	return conn, nil
}

func (o *Offer) accept(ctx context.Context) (*Conn, error) {
	t := newTunnel(o.c, o.Peer, o.App, false)
	t.theirs = o.security
	t.state.Draft = o.security.binding == nil
	t.ours = o.c.security([]string{protocolVersion})
	if t.state.Draft {
		t.ours.binding = nil
	}
	if t.theirs.wants() == DTLS {
		t.ours.setup = setupPassive
	}
	t.ways = o.ways
	offered := o.js.Offer().Transport
	t.attempt = t.begin(o.c.method(offered.Name().Space, o.ways), nil)
	t.attempt.signal.begin(offered) // the first one always fits
	t.start(o.js)
	err := t.checkDraft()
	if err == nil {
		err = t.answer(ctx)
	}
	return t.establish(ctx, err)
}

// answer sends session-accept.
func (t *tunnel) answer(ctx context.Context) error {
	payload, err := t.payload(ctx, t.attempt)
	if err != nil {
		return err
	}
	return t.js.Accept(ctx, jingle.Content{
		Description: t.state.App.element(), Transport: t.ours.withSetup(payload), Security: t.ours.element(),
	})
}

// Reject tells the peer no.
func (o *Offer) Reject(ctx context.Context) error {
	return opError("reject", o.Peer, o.js.Terminate(ctx, jingle.ReasonDecline, ""))
}
