// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package jingle

import (
	"encoding/xml"
	"fmt"
	"slices"
	"time"

	"mellium.im/xmlstream"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/stanza"
)

var _ mux.IQHandler = (*Handler)(nil)

// HandleIQ answers one IQ of type set with a <jingle/> element. It is called by
// the mux on the goroutine that reads the XMPP session; it does not block, and
// always returns nil, because an error would end the XMPP session.
func (h *Handler) HandleIQ(iq stanza.IQ, t xmlstream.TokenReadEncoder, start *xml.StartElement) error {
	m, size, err := parse(xmlstream.MultiReader(xmlstream.Token(*start), t))
	var refused *refusal
	var offer, of *Session
	switch {
	case err != nil:
		refused = badRequest(cut(err.Error(), maxText))
	case !canTalk(iq.From):
		refused = badRequest("from must be a full JID")
	case m.Action == ActionSessionInitiate:
		offer, refused = h.receiveOffer(iq.From, m)
	default:
		of, refused = h.receive(iq.From, m, size)
	}
	h.answer(iq, t, refused)
	// Only now, so that what is done about it cannot overtake the acknowledgement.
	switch {
	case offer != nil:
		h.publish(offer)
	case of != nil:
		of.inbox <- queued{m, size} // does not block: takeLocked has kept a place
	}
	return nil
}

// answer writes the result, or the error if refused is not nil.
func (h *Handler) answer(iq stanza.IQ, t xmlstream.TokenWriter, refused *refusal) {
	reply := iq.Result(nil)
	if refused != nil {
		// On debug level, since a stranger decides how often.
		h.log.Debugf("refused %q of %q: %q", cut(iq.ID, maxQuoted), iq.From.String(), refused.String())
		reply = stanza.IQ{XMLName: iq.XMLName, ID: iq.ID, Type: stanza.ErrorIQ, To: iq.From, From: iq.To}.Wrap(refused.reader())
	}
	if _, err := xmlstream.Copy(t, reply); err != nil {
		// The XMPP session is going down; Close will be told.
		h.log.Debugf("answer to %q: %v", iq.From.String(), err)
	}
}

// receiveOffer decides about a session-initiate. Allow and Equivalent are called
// without the lock.
func (h *Handler) receiveOffer(peer jid.JID, m *Message) (*Session, *refusal) {
	// The attribute initiator is not looked at: all traffic of a session is with
	// the address that sent it. XEP-0166 §13.5 would allow to follow it to another
	// resource of the same account; nobody does, and it is one more thing a server
	// could play with.
	if !h.allow(peer) {
		return nil, unavailable()
	}
	if len(m.Contents) != 1 {
		return nil, notImplemented("sessions with one content only")
	}
	offer := m.Contents[0]
	if offer.Creator == "" {
		offer.Creator = CreatorInitiator
	}
	if offer.Creator != CreatorInitiator {
		return nil, badRequest("creator of a content in session-initiate must be the initiator")
	}
	h.mu.Lock()
	crossed := h.crossedLocked(peer)
	h.mu.Unlock()
	var lost []*Session
	theirs := newSession(h, peer, m.SID, false, offer)
	for _, mine := range crossed {
		if !h.equivalent(mine.offer, offer) {
			continue
		}
		if mine.overrules(theirs) {
			return nil, tieBreak()
		}
		lost = append(lost, mine)
	}
	return h.admit(theirs, lost)
}

// crossedLocked returns our offers to peer that it has not answered. H.mu is
// held.
func (h *Handler) crossedLocked(peer jid.JID) []*Session {
	var crossed []*Session
	for _, s := range h.sessions {
		if s.initiator && !s.answered && s.peer.Equal(peer) {
			crossed = append(crossed, s)
		}
	}
	return crossed
}

// overrules reports whether our offer s counts rather than the peer's: the one
// with the lower id does, octet by octet, and with equal ids the one of the lower
// JID (XEP-0166 §7.2.16).
func (s *Session) overrules(theirs *Session) bool {
	if s.sid != theirs.sid {
		return s.sid < theirs.sid
	}
	return s.h.stanzas.LocalAddr().String() < s.peer.String()
}

// admit registers an offer of a peer if the limits allow, and ends ours that
// lost against it.
func (h *Handler) admit(s *Session, lost []*Session) (*Session, *refusal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	total := 0
	for _, n := range h.waiting {
		total += n
	}
	bare := s.peer.Bare().String()
	known := h.sessions[s.key()]
	switch {
	case h.isClosed():
		return nil, unavailable()
	case known != nil && !slices.Contains(lost, known):
		return nil, outOfOrder("there is a session with this sid")
	case total >= MaxOffers:
		return nil, resourceConstraint(fmt.Sprintf("at most %d pending offers", MaxOffers))
	case h.waiting[bare] >= MaxOffersPerPeer:
		return nil, resourceConstraint(fmt.Sprintf("at most %d pending offers from one account", MaxOffersPerPeer))
	}
	for _, l := range lost {
		l.endLocked(&EndError{Err: ErrTieBreak})
	}
	h.sessions[s.key()] = s
	h.waiting[bare]++
	h.tasks.Add(1)
	s.timer = time.AfterFunc(OfferLimit, func() {
		defer h.tasks.Done()
		s.expire()
	})
	return s, nil
}

// expire terminates an offer that nobody answered in time.
func (s *Session) expire() {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if s.state == pending {
		s.terminateLocked(&EndError{Reason: ReasonTimeout})
	}
}

// publish hands an offer to Next.
func (h *Handler) publish(s *Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.state == ended {
		return
	}
	h.offers = append(h.offers, s)
	h.wakeNext()
}

// receive decides about an action other than session-initiate. It returns the session in
// whose inbox it belongs, nil if in none.
func (h *Handler) receive(peer jid.JID, m *Message, size int) (*Session, *refusal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.sessions[sessionKey{peer.String(), m.SID}]
	if s == nil {
		return nil, unknownSession()
	}
	s.answered = true // it knows the session, so our offer arrived
	switch m.Action {
	case ActionSessionAccept, ActionSecurityInfo, ActionTransportInfo,
		ActionTransportReplace, ActionTransportAccept, ActionTransportReject:
		if refused := s.takeLocked(m, size); refused != nil {
			return nil, refused
		}
		return s, nil
	default:
		return nil, s.receiveLocked(m)
	}
}

// receiveLocked decides about what is not for the inbox. H.mu is held.
func (s *Session) receiveLocked(m *Message) *refusal {
	switch m.Action {
	case ActionSessionTerminate:
		s.endLocked(&EndError{Reason: m.Reason, Text: m.Text, Alternative: m.Alternative, Remote: true})
		return nil
	case ActionSessionInfo:
		if m.Info != nil {
			return unsupportedInfo()
		}
		return nil // a ping
	case ActionDescriptionInfo:
		return unsupportedInfo()
	case ActionContentRemove:
		return s.removeLocked(m)
	case ActionContentAdd, ActionContentModify:
		// XEP-0166 §7.2.2 wants content-reject from those who do content-add. We do
		// not, and say so; the session goes on as it was.
		return notImplemented("sessions with one content only, which cannot be modified")
	case ActionContentAccept, ActionContentReject:
		return outOfOrder("no content-add to answer")
	case ActionSessionInitiate:
		return outOfOrder("there is a session with this sid")
	}
	return badRequest("unknown action")
}

// takeLocked keeps a place in the inbox for an action, if it fits the state and the limits.
func (s *Session) takeLocked(m *Message, size int) *refusal {
	if len(m.Contents) != 1 {
		return badRequest("this session has one content")
	}
	if refused := s.checkLocked(m.Action); refused != nil {
		return refused
	}
	if s.waiting == MaxQueue || s.queuedSize+size > MaxQueueSize {
		return resourceConstraint("too many unprocessed actions in this session")
	}
	// There is only one content, so a missing or wrong name or creator can be
	// forgiven: one implementation of XTLS leaves both out of security-info, and
	// puts the creator where the name belongs in session-accept.
	s.fill(&m.Contents[0])
	s.receivedLocked(m.Action)
	s.waiting++
	s.queuedSize += size
	return nil
}

// checkLocked says why the peer may not send a now, if so.
func (s *Session) checkLocked(a Action) *refusal {
	switch a {
	case ActionSessionAccept:
		if !s.initiator || s.state != pending {
			return outOfOrder("no offer to accept")
		}
	case ActionTransportReplace:
		if s.theirReplace {
			return outOfOrder("a transport-replace is open")
		}
		if s.ourReplace && s.initiator {
			return tieBreak()
		}
	case ActionTransportAccept, ActionTransportReject:
		if !s.ourReplace {
			return outOfOrder("no transport-replace to answer")
		}
	}
	return nil
}

// receivedLocked follows what the peer sent.
func (s *Session) receivedLocked(a Action) {
	switch a {
	case ActionSessionAccept:
		s.activateLocked()
	case ActionTransportReplace:
		s.ourReplace, s.theirReplace = false, true
	case ActionTransportAccept, ActionTransportReject:
		s.ourReplace = false
	}
}

// removeLocked handles content-remove: a session without content is void and is
// to be terminated (XEP-0166 §7.2.5).
func (s *Session) removeLocked(m *Message) *refusal {
	c := m.Contents[0]
	if len(m.Contents) != 1 || c.Name != s.offer.Name || c.Creator != "" && c.Creator != s.offer.Creator {
		return badRequest("no such content")
	}
	s.terminateLocked(&EndError{Reason: ReasonGeneralError, Text: "the only content was removed"})
	return nil
}
