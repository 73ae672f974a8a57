// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package jingle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

// A state is where a session is in its life (XEP-0166 §5.1):
//
//	          session-initiate
//	                 │
//	                 ▼
//	┌──────────── pending ◄─┐ session-info, security-info,
//	│                │  └───┘ transport-info, -replace, -accept, -reject
//	│ session-accept │
//	│                ▼
//	│             active ◄──┐ the same
//	│                │  └───┘
//	│                │
//	│  session-terminate, sent or received;
//	│  the peer does not know the session;
//	│  our offer was refused or lost a tie;
//	│  a peer's offer waited too long;
//	│  the only content was removed;
//	│  the XMPP session is gone
//	│                │
//	└─────────────►  ▼
//	               ended
//
// A session is active as soon as session-accept is sent or received, and ended
// as soon as session-terminate is. Within pending and active, a
// transport-replace of either side is open until transport-accept or
// transport-reject answers it; only one can be open at a time, and if two cross
// each other the initiator's counts.
type state uint8

const (
	pending state = iota
	active
	ended
)

// A Session is one Jingle session with one content, from offer to end. Its
// methods may be called from any goroutine; actions sent from several have no
// defined order.
type Session struct {
	h         *Handler
	sid       string
	peer      jid.JID
	initiator bool
	offer     Content

	// life ends with the session, and then cancels its requests.
	life context.Context
	kill context.CancelFunc

	inbox chan queued // for Recv

	// Protected by h.mu.
	state        state
	answered     bool        // the peer knows of our offer
	ourReplace   bool        // our transport-replace is open
	theirReplace bool        // the peer's is
	waiting      int         // actions in inbox, or about to be
	queuedSize   int         // octets of these
	timer        *time.Timer // ends an offer that waits too long; nil if there is none
	err          *EndError   // set when ended
}

// A queued message waits for Recv.
type queued struct {
	m    *Message
	size int
}

func newSession(h *Handler, peer jid.JID, sid string, initiator bool, offer Content) *Session {
	s := &Session{h: h, peer: peer, sid: sid, initiator: initiator, offer: offer, inbox: make(chan queued, MaxQueue)}
	s.life, s.kill = context.WithCancel(context.Background())
	return s
}

func (s *Session) key() sessionKey { return sessionKey{s.peer.String(), s.sid} }

// ID returns the session id. It is chosen by the initiator; a peer's is not
// random if it does not want it to be.
func (s *Session) ID() string { return s.sid }

// Peer returns the full JID of the other side.
func (s *Session) Peer() jid.JID { return s.peer }

// Initiator reports whether we made the offer.
func (s *Session) Initiator() bool { return s.initiator }

// Offer returns the content of session-initiate. Its elements must not be
// changed.
func (s *Session) Offer() Content { return s.offer }

// Done returns a channel that is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.life.Done() }

// Err returns nil until the session has ended, then an *[EndError].
func (s *Session) Err() error {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if s.state != ended {
		return nil
	}
	return s.err
}

// Accept accepts the peer's offer with the content c, whose creator and name are
// filled in; it must have a description and a transport. From then on the offer
// does not time out. Errors are those of [Session.Send]; after any of them the
// caller should terminate the session.
func (s *Session) Accept(ctx context.Context, c Content) error {
	s.fill(&c)
	m := &Message{Action: ActionSessionAccept, SID: s.sid, Contents: []Content{c}, Responder: s.h.stanzas.LocalAddr()}
	payload, err := m.XML()
	if err != nil {
		return err
	}
	s.h.mu.Lock()
	err = s.mayLocked(ActionSessionAccept)
	if err == nil {
		s.activateLocked()
	}
	s.h.mu.Unlock()
	if err != nil {
		return err
	}
	return s.request(ctx, ActionSessionAccept, payload)
}

// Send sends security-info, transport-info, transport-replace, -accept or
// -reject with c, whose creator and name are filled in, and returns when the
// peer has acknowledged it.
//
// An error answer is a *[RefusedError] and does not end the session, with two
// exceptions: if the peer does not know the session it has ended and the error
// is an *[EndError]; a transport-replace that crossed the initiator's is
// [ErrTieBreak]. [ErrOutOfOrder] means that nothing was sent. If no answer came,
// because ctx or the XMPP session ended, it is unknown whether the peer got it.
func (s *Session) Send(ctx context.Context, a Action, c Content) error {
	s.fill(&c)
	m := &Message{Action: a, SID: s.sid, Contents: []Content{c}}
	switch a {
	case ActionSecurityInfo, ActionTransportInfo, ActionTransportReplace, ActionTransportAccept, ActionTransportReject:
	default:
		return fmt.Errorf("%w: Send does not send %q", ErrOutOfOrder, a)
	}
	payload, err := m.XML()
	if err != nil {
		return err
	}
	s.h.mu.Lock()
	if err = s.mayLocked(a); err == nil {
		s.sentLocked(a)
	}
	s.h.mu.Unlock()
	if err != nil {
		return err
	}
	err = s.request(ctx, a, payload)
	var refused *RefusedError
	if a == ActionTransportReplace && (errors.Is(err, ErrTieBreak) || errors.As(err, &refused)) {
		s.h.mu.Lock()
		s.ourReplace = false
		s.h.mu.Unlock()
	}
	return err
}

// Ping asks the peer whether it still has the session, by an empty session-info
// (XEP-0166 §6.8). Errors are those of [Session.Send].
func (s *Session) Ping(ctx context.Context) error {
	if err := s.Err(); err != nil {
		return err
	}
	payload, err := (&Message{Action: ActionSessionInfo, SID: s.sid}).XML()
	if err != nil {
		return err
	}
	return s.request(ctx, ActionSessionInfo, payload)
}

// Recv returns the peer's next action: session-accept, security-info,
// transport-info, transport-replace, -accept or -reject, with one content, in
// the order of arrival. It has been acknowledged. What arrived before the peer ended
// the session is returned first; then the error is an *[EndError].
func (s *Session) Recv(ctx context.Context) (*Message, error) {
	for {
		select {
		case q := <-s.inbox:
			return s.taken(q), nil
		case <-s.Done():
			// What came before the peer's end is in the inbox, but select may have chosen
			// this while something was there.
			if len(s.inbox) == 0 {
				return nil, s.Err()
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// taken does the accounting for a message that leaves the inbox.
func (s *Session) taken(q queued) *Message {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.waiting--
	s.queuedSize -= q.size
	return q.m
}

// Terminate ends the session at once and tells the peer why. Text, which may be
// empty, is for people; it should not tell a stranger more than the reason does.
// It returns when the peer has answered, whatever the answer, or when ctx ends;
// session-terminate is sent in any case, even if ctx has ended before. If the
// session has ended already, nothing is sent and the result is nil.
func (s *Session) Terminate(ctx context.Context, r Reason, text string) error {
	return s.terminateWait(ctx, &EndError{Reason: r, Text: cut(text, maxText)})
}

// TerminateAlternative is Terminate with ReasonAlternativeSession, naming the
// session that is to be used instead (XEP-0166 §6.7).
func (s *Session) TerminateAlternative(ctx context.Context, sid string) error {
	return s.terminateWait(ctx, &EndError{Reason: ReasonAlternativeSession, Alternative: sid})
}

func (s *Session) terminateWait(ctx context.Context, end *EndError) error {
	if _, err := s.terminateMessage(end).XML(); err != nil {
		return err
	}
	told := s.terminate(end)
	if told == nil {
		return nil
	}
	select {
	case err := <-told:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// terminate ends the session and sends session-terminate in the background. The
// channel yields the outcome; it is nil if the session has ended already.
func (s *Session) terminate(end *EndError) <-chan error {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	return s.terminateLocked(end)
}

// terminateLocked is terminate with h.mu held.
func (s *Session) terminateLocked(end *EndError) <-chan error {
	// The sessions of a closed Handler have ended, so no task begins after Close.
	if s.state == ended {
		return nil
	}
	s.endLocked(end)
	told := make(chan error, 1)
	payload, err := s.terminateMessage(end).XML()
	if err != nil {
		told <- err
		return told
	}
	s.h.tasks.Go(func() {
		s.logEnd(end)
		ctx, cancel := context.WithTimeout(s.h.life, terminateLimit)
		defer cancel()
		_, err := s.h.stanzas.Request(ctx, stanza.SetIQ, s.peer, payload)
		if errors.Is(err, stanza.Error{}) {
			err = nil // whatever the peer does not like about it, it is over
		}
		told <- err
	})
	return told
}

func (s *Session) terminateMessage(end *EndError) *Message {
	return &Message{Action: ActionSessionTerminate, SID: s.sid, Reason: end.Reason, Text: end.Text, Alternative: end.Alternative}
}

// end ends the session without telling the peer. Only the first end counts.
func (s *Session) end(end *EndError) {
	s.h.mu.Lock()
	s.endLocked(end)
	s.h.mu.Unlock()
	s.logEnd(end)
}

func (s *Session) logEnd(end *EndError) {
	s.h.log.Infof("session %q with %q: %v", s.sid, s.peer.String(), end)
}

// endLocked is end with h.mu held. It is the one place where a session dies.
func (s *Session) endLocked(end *EndError) {
	if s.state == ended {
		return
	}
	s.settleOfferLocked()
	s.state = ended
	s.err = end
	if s.h.sessions[s.key()] == s {
		delete(s.h.sessions, s.key())
	}
	s.h.offers = slices.DeleteFunc(s.h.offers, func(o *Session) bool { return o == s })
	s.kill()
}

// activateLocked is the step from pending to active. h.mu is held.
func (s *Session) activateLocked() {
	s.settleOfferLocked()
	s.state = active
	s.answered = true
}

// settleOfferLocked stops counting the session among the offers that wait for
// us, if it was one. h.mu is held.
func (s *Session) settleOfferLocked() {
	if s.timer == nil {
		return
	}
	if s.timer.Stop() {
		s.h.tasks.Done()
	}
	s.timer = nil
	peer := s.peer.Bare().String()
	if s.h.waiting[peer]--; s.h.waiting[peer] == 0 {
		delete(s.h.waiting, peer)
	}
}

// mayLocked reports whether we may send a now, as an error if not. H.mu is held.
func (s *Session) mayLocked(a Action) error {
	if s.state == ended {
		return s.err
	}
	ok := true
	switch a {
	case ActionSessionAccept:
		ok = !s.initiator && s.state == pending
	case ActionTransportReplace:
		ok = !s.ourReplace && !s.theirReplace
	case ActionTransportAccept, ActionTransportReject:
		ok = s.theirReplace
	}
	if !ok {
		return fmt.Errorf("%w: %s", ErrOutOfOrder, a)
	}
	return nil
}

// sentLocked follows what we are about to send. H.mu is held.
func (s *Session) sentLocked(a Action) {
	switch a {
	case ActionTransportReplace:
		s.ourReplace = true
	case ActionTransportAccept, ActionTransportReject:
		s.theirReplace = false
	}
}

// fill puts the creator and name of the session's content into c.
func (s *Session) fill(c *Content) {
	c.Creator, c.Name = s.offer.Creator, s.offer.Name
}

// request sends a rendered action and waits for the answer. It ends early if the
// session does.
func (s *Session) request(ctx context.Context, a Action, payload []byte) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()

	_, err := s.h.stanzas.Request(ctx, stanza.SetIQ, s.peer, payload)
	if err == nil {
		return nil
	}
	var refused stanza.Error
	switch {
	case !errors.As(err, &refused):
		if end := s.Err(); end != nil {
			return end
		}
		return fmt.Errorf("jingle: %s: %w", a, err)
	case refused.Condition == stanza.ItemNotFound && a != ActionSessionInitiate:
		// unknown-session. Mellium's stanza.Error has no place for the condition in
		// Jingle's namespace, and XEP-0166 uses this one for nothing else. A peer that
		// has just ended the session answers like this, and its session-terminate, which
		// says why, may be right behind.
		grace, stop := context.WithTimeout(ctx, goodbyeGrace)
		defer stop()
		<-grace.Done()
		s.end(&EndError{Remote: true, Err: &RefusedError{a, refused}})
		return s.Err()
	case refused.Condition == stanza.Conflict && (a == ActionSessionInitiate || a == ActionTransportReplace):
		return fmt.Errorf("%w (%s)", ErrTieBreak, a)
	}
	return &RefusedError{a, refused}
}
