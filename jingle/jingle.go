// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

// Package jingle negotiates sessions between two XMPP clients (XEP-0166).
//
// A session begins with an offer, session-initiate, which says what is to be
// carried (a description), how (a transport), and what must hold before it is
// (a security precondition). The other side accepts or terminates. Both may then
// tell each other details about transport and security, replace the transport,
// and end the session. This package does the bookkeeping of that: who may say
// what when, what the right answer to everything else is, and how much a
// stranger may make us remember. It knows no description, no transport and no
// security precondition: they are opaque [Element] values.
//
// A [Handler] belongs to one XMPP session. Register it with [Handle]; then
// [Handler.Initiate] offers a session to a peer and [Handler.Next] returns the
// offers of others. Both give a [Session]:
//
//	s, err := h.Initiate(ctx, peer, jingle.Content{Name: "a", Description: d, Transport: t})
//	m, err := s.Recv(ctx) // session-accept, or an *EndError
//
// Every session must be ended with [Session.Terminate], unless it ended itself.
//
// What it does not do: more than one content in a session. Offers with several
// are refused, and so are content-add, content-modify and the like.
package jingle

import (
	"context"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/pion/logging"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/stanza"
)

const (
	// MaxOffersPerPeer is how many offers of one account (bare JID) may wait for
	// our answer at a time; MaxOffers is how many of all peers together. One more
	// is answered with resource-constraint.
	MaxOffersPerPeer = 4
	MaxOffers        = 64

	// OfferLimit is how long an offer of a peer may wait for our answer. Then the
	// session is terminated with ReasonTimeout.
	OfferLimit = 60 * time.Second

	// MaxQueue is how many actions of the peer may wait for Recv in one session,
	// and MaxQueueSize how many octets they may have together. One more is
	// answered with resource-constraint and not taken; the session goes on, since
	// the peer knows and can repeat it.
	MaxQueue     = 64
	MaxQueueSize = 1 << 20

	// goodbyeGrace is how long a peer that no longer knows a session may take to say
	// why it ended.
	goodbyeGrace = 500 * time.Millisecond

	// terminateLimit bounds the wait for the answer to a session-terminate, and
	// closeLimit that of all together in Close.
	terminateLimit = 30 * time.Second
	closeLimit     = 5 * time.Second
)

// Stanzas is what a Handler needs of an XMPP session. Stanzas handed to it by
// one goroutine must leave in that order.
type Stanzas interface {
	// LocalAddr is the full JID of the own end.
	LocalAddr() jid.JID

	// Request sends an IQ of type get or set to the full JID to and waits for the
	// answer. Payload is exactly one XML element, rendered, with its namespaces
	// declared; it is not kept. The returned reader yields the payload of the
	// result (nothing if it was empty) and is independent of the connection. An
	// error answer is returned as a [stanza.Error]. Any other error means that no
	// answer came: ctx ended, or the session did.
	Request(ctx context.Context, typ stanza.IQType, to jid.JID, payload []byte) (xml.TokenReader, error)
}

// A Config configures a Handler. It is copied by New.
type Config struct {
	// Stanzas is the XMPP session. It is required.
	Stanzas Stanzas

	// Allow decides from whom offers are taken; those of others are answered with
	// service-unavailable, as if there were no Jingle here (XEP-0166 §6.3.2). It
	// runs on the goroutine that reads the XMPP session and must not block. Nil
	// allows everybody.
	Allow func(peer jid.JID) bool

	// Equivalent reports whether an offer of ours and one of the peer, which
	// crossed each other, are for the same purpose, so that one is enough
	// (XEP-0166 §7.2.16). It runs where Allow does. Nil means never.
	Equivalent func(mine, theirs Content) bool

	// Logger gets what is refused and why sessions end, never payload. Nil
	// discards.
	Logger logging.LeveledLogger
}

// A Handler holds the Jingle sessions of one XMPP session. All methods may be
// called from any goroutine. It must be closed.
type Handler struct {
	stanzas    Stanzas
	allow      func(peer jid.JID) bool
	equivalent func(mine, theirs Content) bool
	log        logging.LeveledLogger

	// life ends when Close has sent what it wants to send. Only what runs in the
	// background uses it: session-terminates and timers.
	life context.Context
	kill context.CancelFunc

	offered chan struct{}  // holds one if offers may have become non-empty
	closed  chan struct{}  // closed by Close, under mu
	tasks   sync.WaitGroup // timers and background requests; added to under mu, never after closed

	mu       sync.Mutex // protects all below and the state of all sessions
	sessions map[sessionKey]*Session
	offers   []*Session     // for Next, oldest first; none that ended
	waiting  map[string]int // offers of peers that are neither accepted nor ended, by bare JID
}

// A sessionKey identifies a session. The id alone does not: a stranger could
// guess or learn it.
type sessionKey struct{ peer, sid string }

// New returns a Handler. Its goroutines, which exist only while it has something
// to wait for, end with [Handler.Close].
func New(cfg Config) (*Handler, error) {
	if cfg.Stanzas == nil {
		return nil, errors.New("jingle: Config.Stanzas is required")
	}
	h := &Handler{
		stanzas:    cfg.Stanzas,
		allow:      cfg.Allow,
		equivalent: cfg.Equivalent,
		log:        cfg.Logger,
		offered:    make(chan struct{}, 1),
		closed:     make(chan struct{}),
		sessions:   make(map[sessionKey]*Session),
		waiting:    make(map[string]int),
	}
	if h.allow == nil {
		h.allow = func(jid.JID) bool { return true }
	}
	if h.equivalent == nil {
		h.equivalent = func(_, _ Content) bool { return false }
	}
	if h.log == nil {
		h.log = logging.NewDefaultLeveledLoggerForScope("jingle", logging.LogLevelDisabled, io.Discard)
	}
	h.life, h.kill = context.WithCancel(context.Background())
	return h, nil
}

// Handle returns an option that registers h for the stanzas of Jingle.
func Handle(h *Handler) mux.Option {
	return mux.IQ(stanza.SetIQ, xml.Name{Space: NS, Local: "jingle"}, h)
}

// Initiate offers a session with the content c to peer, a full JID or the
// address of a service, and returns when the peer has acknowledged the offer,
// which does not mean that it will accept: see [Session.Recv]. C must have a
// name, a description and a transport; its creator is filled in.
//
// An error answer is a *[RefusedError]; [ErrTieBreak] says that the peer offered
// the same at the same time and its offer counts. If ctx ends first, the offer
// is withdrawn in the background. Ctx has no effect on the returned session.
// There is no limit on how long the peer may take to accept but the caller's.
func (h *Handler) Initiate(ctx context.Context, peer jid.JID, c Content) (*Session, error) {
	if !canTalk(peer) {
		return nil, fmt.Errorf("jingle: %q is not a full JID", peer.String())
	}
	c.Creator = CreatorInitiator
	m := &Message{Action: ActionSessionInitiate, Contents: []Content{c}, Initiator: h.stanzas.LocalAddr()}
	// rand.Text has at least 128 bits (XEP-0166 §7.1: RFC 4086 applies) and is an
	// Nmtoken.
	s := newSession(h, peer, rand.Text(), true, c)
	m.SID = s.sid
	payload, err := m.XML()
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	if h.isClosed() {
		h.mu.Unlock()
		return nil, errClosed()
	}
	// Before it is sent: the peer's next action may be faster than its answer.
	h.sessions[s.key()] = s
	h.mu.Unlock()

	err = s.request(ctx, ActionSessionInitiate, payload)
	if err == nil {
		h.mu.Lock()
		s.answered = true
		h.mu.Unlock()
		return s, nil
	}
	var refused *RefusedError
	switch {
	case errors.Is(err, ErrTieBreak):
		s.end(&EndError{Err: ErrTieBreak})
	case errors.As(err, &refused):
		s.end(&EndError{Remote: true, Err: err})
	default:
		// Nobody knows whether the offer arrived.
		s.terminate(&EndError{Reason: ReasonCancel, Err: err})
	}
	return nil, err
}

// Next returns the next offer of a peer. It has been acknowledged; the caller
// must accept or terminate it. Offers that ended meanwhile are left out. After
// Close the error is [net.ErrClosed].
func (h *Handler) Next(ctx context.Context) (*Session, error) {
	for {
		h.mu.Lock()
		if h.isClosed() {
			h.mu.Unlock()
			return nil, errClosed()
		}
		if len(h.offers) > 0 {
			s := h.offers[0]
			h.offers = slices.Delete(h.offers, 0, 1)
			if len(h.offers) > 0 {
				h.wakeNext()
			}
			h.mu.Unlock()
			return s, nil
		}
		h.mu.Unlock()
		select {
		case <-h.offered:
		case <-h.closed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Sessions returns the number of sessions that have not ended.
func (h *Handler) Sessions() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.sessions)
}

// Close ends all sessions and waits for everything that h does in the
// background. With a nil err the peers are told that we go offline
// (ReasonGone), which takes at most 5 s; otherwise err says why the XMPP session
// is gone, is what the sessions end with, and nothing is sent. Later offers get
// service-unavailable. Close may be called again and then only waits.
func (h *Handler) Close(err error) {
	h.mu.Lock()
	if h.isClosed() {
		h.mu.Unlock()
		h.tasks.Wait()
		return
	}
	for _, s := range h.sessions {
		if err != nil {
			s.endLocked(&EndError{Err: err})
		} else {
			s.terminateLocked(&EndError{Reason: ReasonGone, Err: net.ErrClosed})
		}
	}
	close(h.closed)
	h.mu.Unlock()

	if err == nil {
		limit := time.AfterFunc(closeLimit, h.kill)
		defer limit.Stop()
		h.tasks.Wait()
	}
	h.kill()
	h.tasks.Wait()
}

// isClosed reports whether Close was called. h.mu is held.
func (h *Handler) isClosed() bool {
	select {
	case <-h.closed:
		return true
	default:
		return false
	}
}

// wakeNext makes one call of Next look at the offers.
func (h *Handler) wakeNext() {
	select {
	case h.offered <- struct{}{}:
	default:
	}
}

func errClosed() error { return fmt.Errorf("jingle: %w", net.ErrClosed) }

// canTalk reports whether j can have a session: clients have a resource,
// services no localpart.
func canTalk(j jid.JID) bool {
	return j.Resourcepart() != "" || j.Localpart() == "" && j.Domainpart() != ""
}
