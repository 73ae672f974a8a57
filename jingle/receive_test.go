// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package jingle_test

import (
	"context"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"

	"mellium.im/xmpp/jid"

	"example.org/xtls/jingle"
	"example.org/xtls/jingle/jingletest"
)

// ask delivers a <jingle/> to end as if it came from there and returns the
// answer.
func ask(t *testing.T, end *jingletest.End, from, element string) jingletest.Stanza {
	t.Helper()
	id := fmt.Sprintf("ask%d", len(jingletest.Log(end)))
	end.Inject("<iq xmlns='jabber:client' type='set' id='" + id + "' from='" + from + "' to='" + end.LocalAddr().String() + "'>" + element + "</iq>")
	return jingletest.Await(end, func(s jingletest.Stanza) bool { return s.ID == id && s.Type != "set" })
}

// verdict says in short what an answer is: "result", or type, conditions of the
// error.
func verdict(t *testing.T, s jingletest.Stanza) string {
	t.Helper()
	if s.Type == "result" {
		return s.Type
	}
	var iq struct {
		Error struct {
			Type     string `xml:"type,attr"`
			Children []struct {
				XMLName xml.Name
			} `xml:",any"`
		} `xml:"error"`
	}
	if err := xml.Unmarshal([]byte(s.XML), &iq); err != nil {
		t.Fatal(err)
	}
	var v strings.Builder
	v.WriteString(iq.Error.Type)
	for _, c := range iq.Error.Children {
		switch {
		case c.XMLName.Space == jingle.NSErrors:
			v.WriteString(" +" + c.XMLName.Local)
		case c.XMLName.Local != "text":
			v.WriteString(" " + c.XMLName.Local)
		}
	}
	return v.String()
}

// Error answers, as verdict puts them. TestErrorsAsInTheXEP holds them against
// the examples.
const (
	isResult          = "result"
	isBadRequest      = "cancel bad-request"
	isUnavailable     = "cancel service-unavailable"
	isConstraint      = "wait resource-constraint"
	isOutOfOrder      = "wait unexpected-request +out-of-order"
	isUnknownSession  = "cancel item-not-found +unknown-session"
	isTieBreak        = "cancel conflict +tie-break"
	isUnsupportedInfo = "modify feature-not-implemented +unsupported-info"
	isNotImplemented  = "cancel feature-not-implemented"
)

func TestErrorsAsInTheXEP(t *testing.T) {
	all := examples(t)
	for name, want := range map[string]string{
		"xep0166-12-initiator-is-unknown-to-responder":             isUnavailable,
		"xep0166-13-responder-does-not-support-jingle":             isUnavailable,
		"xep0166-15-responder-has-insufficent-resources":           isConstraint,
		"xep0166-16-initiation-request-malformed":                  isBadRequest,
		"xep0166-29-unknown-session-error":                         isUnknownSession,
		"xep0166-31-responder-returns-unsupported-info-error":      isUnsupportedInfo,
		"xep0166-34-initiator-returns-conflict-error-on-tie-break": isTieBreak,
	} {
		if got := verdict(t, jingletest.Stanza{Type: "error", XML: all[name]}); got != want {
			t.Errorf("%s is %q, we send %q", name, got, want)
		}
	}
}

// What a peer, or anybody else, may say to the responder (bruno) of a session,
// and what it is answered.
func TestAnswers(t *testing.T) {
	const mallory = "mallory@evil.example/x"
	const info = "<content creator='initiator' name='stub'><security xmlns='x'/></content>"
	const trans = "<content creator='initiator' name='stub'><transport xmlns='x'/></content>"
	const full = "<content creator='initiator' name='stub'><description xmlns='x'/><transport xmlns='x'/></content>"
	for _, test := range []struct {
		name, from, element, want string
		queued                    bool // Recv returns it
	}{
		{"ping", "", action("session-info", ""), isResult, false},
		{"security-info", "", action("security-info", info), isResult, true},
		{"transport-info", "", action("transport-info", trans), isResult, true},
		{"transport-replace", "", action("transport-replace", trans), isResult, true},
		{"bare content (kaa)", "", action("security-info", "<content><security xmlns='x'/></content>"), isResult, true},
		{"creator in the name (kaa)", "", action("security-info", "<content creator='initiator' name='initiator'><security xmlns='x'/></content>"), isResult, true},
		{"terminate", "", action("session-terminate", ""), isResult, false},
		{"content-remove", "", action("content-remove", "<content creator='initiator' name='stub'/>"), isResult, false},

		{"other account, same sid", mallory, action("session-terminate", ""), isUnknownSession, false},
		{"other resource, same sid", "alba@isle.example/other", action("session-info", ""), isUnknownSession, false},
		{"bare JID", "alba@isle.example", action("session-info", ""), isBadRequest, false},
		{"unknown sid", "", strings.Replace(action("session-info", ""), "sid='s'", "sid='t'", 1), isUnknownSession, false},

		{"unknown action", "", action("session-dance", ""), isBadRequest, false},
		{"no sid", "", "<jingle xmlns='urn:xmpp:jingle:1' action='session-info'/>", isBadRequest, false},
		{"two security (H30)", "", action("security-info", "<content><security xmlns='x'/><security xmlns='x'/></content>"), isBadRequest, false},
		{"two contents", "", action("security-info", info+info), isBadRequest, false},
		{"too large", "", action("security-info", "<content><security xmlns='x'>"+strings.Repeat("x", jingle.MaxElement)+"</security></content>"), isBadRequest, false},
		{"too deep", "", action("session-info", nest(jingle.MaxDepth)), isBadRequest, false},
		{"comment", "", action("session-info", "<!-- c -->"), isBadRequest, false},

		{"session-initiate, same sid", "", action("session-initiate", full), isOutOfOrder, false},
		{"session-accept by the initiator", "", action("session-accept", full), isOutOfOrder, false},
		{"transport-accept without replace", "", action("transport-accept", trans), isOutOfOrder, false},
		{"transport-reject without replace", "", action("transport-reject", "<content/>"), isOutOfOrder, false},
		{"content-accept without add", "", action("content-accept", full), isOutOfOrder, false},
		{"content-reject without add", "", action("content-reject", "<content/>"), isOutOfOrder, false},

		{"unknown session-info", "", action("session-info", "<ringing xmlns='urn:xmpp:jingle:apps:rtp:1:info'/>"), isUnsupportedInfo, false},
		{"description-info", "", action("description-info", full), isUnsupportedInfo, false},
		{"content-add", "", action("content-add", full), isNotImplemented, false},
		{"content-modify", "", action("content-modify", "<content senders='none'/>"), isNotImplemented, false},
		{"content-remove of another", "", action("content-remove", "<content name='other'/>"), isBadRequest, false},
		{"second offer, two contents", "", strings.Replace(action("session-initiate", full+full), "sid='s'", "sid='t'", 1), isNotImplemented, false},
		{"second offer, content of the responder", "", strings.Replace(action("session-initiate", "<content creator='responder' name='n'>"+parts+"</content>"), "sid='s'", "sid='t'", 1), isBadRequest, false},
		{"second offer, disposition", "", strings.Replace(action("session-initiate", "<content disposition='x' name='n'>"+parts+"</content>"), "sid='s'", "sid='t'", 1), isBadRequest, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := newEnds(t, jingle.Config{}, jingle.Config{})
			if got := verdict(t, ask(t, e.b, jingletest.AddrA, action("session-initiate", full))); got != isResult {
				t.Fatalf("offer: %s", got)
			}
			sb, err := e.hb.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			from := test.from
			if from == "" {
				from = jingletest.AddrA
			}
			answer := ask(t, e.b, from, test.element)
			if got := verdict(t, answer); got != test.want {
				t.Errorf("answer is %q, want %q: %s", got, test.want, answer.XML)
			}
			// The session is over only if that was said by the peer.
			ends := test.want == isResult && (test.name == "terminate" || test.name == "content-remove")
			if over := sb.Err() != nil; over != ends {
				t.Errorf("session ended: %v, want %v (%v)", over, ends, sb.Err())
			}
			if test.queued {
				if m, err := sb.Recv(t.Context()); err != nil || m.Contents[0].Name != "stub" || m.Contents[0].Creator != jingle.CreatorInitiator {
					t.Errorf("Recv = %+v, %v", m, err)
				}
			}
			if got := verdict(t, ask(t, e.b, jingletest.AddrA, action("session-terminate", ""))); got != isResult && !ends {
				t.Errorf("terminate afterwards: %s", got)
			}
			if m, err := sb.Recv(t.Context()); err == nil {
				t.Errorf("something else was queued: %+v", m)
			}
		})
	}
}

// After we have sent session-terminate, even unanswered, the session is unknown
// (XEP-0166 §6.7).
func TestUnknownAfterTerminate(t *testing.T) {
	e := newEnds(t, jingle.Config{}, jingle.Config{})
	sa, sb := e.accepted(t)
	e.a.Hold(nil)
	done := make(chan error, 1)
	go func() { done <- sa.Terminate(t.Context(), jingle.ReasonSuccess, "") }()
	<-sa.Done()
	element := strings.Replace(action("session-info", ""), "sid='s'", "sid='"+sa.ID()+"'", 1)
	e.a.Inject("<iq xmlns='jabber:client' type='set' id='late' from='" + jingletest.AddrB + "'>" + element + "</iq>")
	jingletest.Settle(e.a)
	e.a.Release()
	answer := jingletest.Await(e.a, func(s jingletest.Stanza) bool { return s.ID == "late" && s.Type != "set" })
	if got := verdict(t, answer); got != isUnknownSession {
		t.Errorf("answer is %q, want %q", got, isUnknownSession)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	<-sb.Done()
}

func TestContentRemoveEndsTheSession(t *testing.T) {
	e := newEnds(t, jingle.Config{}, jingle.Config{})
	sa, sb := e.accepted(t)
	element := strings.Replace(action("content-remove", "<content creator='initiator' name='stub'/>"), "sid='s'", "sid='"+sb.ID()+"'", 1)
	if got := verdict(t, ask(t, e.b, jingletest.AddrA, element)); got != isResult {
		t.Errorf("answer is %q", got)
	}
	<-sa.Done()
	if got := sa.Err().(*jingle.EndError); got.Reason != jingle.ReasonGeneralError || !got.Remote {
		t.Errorf("initiator's session ended with %v", got)
	}
}

func TestAllow(t *testing.T) {
	var h *jingle.Handler
	e := newEnds(t, jingle.Config{}, jingle.Config{Allow: func(peer jid.JID) bool {
		h.Sessions() // must not be under a lock
		return peer.Bare().String() == "alba@isle.example"
	}})
	h = e.hb
	const offer = initiate + content + end
	if got := verdict(t, ask(t, e.b, "mallory@evil.example/x", offer)); got != isUnavailable {
		t.Errorf("stranger is answered %q, want %q", got, isUnavailable)
	}
	if got := verdict(t, ask(t, e.b, jingletest.AddrA, offer)); got != isResult {
		t.Errorf("friend is answered %q", got)
	}
	if n := e.hb.Sessions(); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}

// offerFrom delivers an offer to bruno and returns the verdict.
func (e *ends) offerFrom(t *testing.T, from string, sid int) string {
	t.Helper()
	return verdict(t, ask(t, e.b, from, strings.Replace(initiate+content+end, "sid='s'", fmt.Sprintf("sid='s%d'", sid), 1)))
}

func TestPendingOfferLimits(t *testing.T) {
	e := newEnds(t, jingle.Config{}, jingle.Config{})
	// Resources do not matter: the account counts.
	for i := range jingle.MaxOffersPerPeer {
		if got := e.offerFrom(t, fmt.Sprintf("alba@isle.example/r%d", i), i); got != isResult {
			t.Fatalf("offer %d: %s", i+1, got)
		}
	}
	if got := e.offerFrom(t, jingletest.AddrA, 99); got != isConstraint {
		t.Errorf("offer %d of one account: %s, want %s", jingle.MaxOffersPerPeer+1, got, isConstraint)
	}
	s, err := e.hb.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Whatever the answer to an offer, it makes room.
	if err := s.Terminate(t.Context(), jingle.ReasonDecline, ""); err != nil {
		t.Fatal(err)
	}
	if got := e.offerFrom(t, jingletest.AddrA, 100); got != isResult {
		t.Errorf("offer after one was declined: %s", got)
	}
	for i := jingle.MaxOffersPerPeer; i < jingle.MaxOffers; i++ {
		if got := e.offerFrom(t, fmt.Sprintf("peer%d@isle.example/r", i), i); got != isResult {
			t.Fatalf("offer %d: %s", i+1, got)
		}
	}
	if got := e.offerFrom(t, "late@isle.example/r", 1); got != isConstraint {
		t.Errorf("offer %d: %s, want %s", jingle.MaxOffers+1, got, isConstraint)
	}
	if n := e.hb.Sessions(); n != jingle.MaxOffers {
		t.Errorf("%d sessions, want %d", n, jingle.MaxOffers)
	}
}

// The action that is one too many is refused and can be repeated; the others are
// there, in order.
func TestQueueLimits(t *testing.T) {
	for _, test := range []struct {
		name string
		fit  int
		size int // octets of payload in each
	}{
		{"count", jingle.MaxQueue, 1},
		{"size", jingle.MaxQueueSize / (50 << 10), 50 << 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := newEnds(t, jingle.Config{}, jingle.Config{})
			sa, sb := e.accepted(t)
			send := func(n int) error {
				c := security(fmt.Sprint(n))
				c.Security = jingle.Element(strings.Replace(string(c.Security), "/>", ">"+strings.Repeat("x", test.size)+"</security>", 1))
				return sa.Send(t.Context(), jingle.ActionSecurityInfo, c)
			}
			for i := range test.fit {
				if err := send(i); err != nil {
					t.Fatalf("action %d: %v", i+1, err)
				}
			}
			err := send(test.fit)
			if refused := refusedBy(t, err); refused.Condition != "resource-constraint" || refused.Type != "wait" {
				t.Errorf("action %d: %v, want resource-constraint", test.fit+1, err)
			}
			for i := range test.fit + 1 {
				if m := recv(t, sb, jingle.ActionSecurityInfo); !strings.Contains(string(m.Contents[0].Security), fmt.Sprintf("n='%d'", i)) {
					t.Fatalf("action %d is another", i+1)
				}
				if i == 0 { // there is room again
					if err := send(test.fit); err != nil {
						t.Fatalf("repeated: %v", err)
					}
				}
			}
			if test.size > 1 {
				return
			}
			// A full queue is no obstacle to the end of the session.
			for i := range test.fit {
				if err := send(i); err != nil {
					t.Fatal(err)
				}
			}
			if err := sa.Terminate(t.Context(), jingle.ReasonSuccess, ""); err != nil {
				t.Error(err)
			}
			<-sb.Done()
		})
	}
}

// An action is acknowledged before Recv returns it: nothing that is done about it can overtake
// the acknowledgement.
func TestAcknowledgedFirst(t *testing.T) {
	e := newEnds(t, jingle.Config{}, jingle.Config{})
	sa, sb := e.accepted(t)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	e.b.Tap(func(s jingletest.Stanza) []jingletest.Stanza {
		for range 100 { // Recv may choose that its context has ended, but not so often
			if m, err := sb.Recv(over); err == nil {
				t.Errorf("%s is there before its %s", m.Action, s.Type)
				break
			}
		}
		return []jingletest.Stanza{s}
	})
	if err := sa.Send(t.Context(), jingle.ActionSecurityInfo, security("1")); err != nil {
		t.Fatal(err)
	}
	if !t.Failed() {
		recv(t, sb, jingle.ActionSecurityInfo)
	}
}
