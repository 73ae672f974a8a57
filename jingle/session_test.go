// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package jingle_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/jingle"
	"example.org/xtls/jingle/jingletest"
)

// refusedBy returns the stanza error in err.
func refusedBy(t *testing.T, err error) stanza.Error {
	t.Helper()
	refused, ok := errors.AsType[*jingle.RefusedError](err)
	if !ok {
		t.Fatalf("error is %v, want a *RefusedError", err)
	}
	return refused.Err
}

// answerWith makes b answer the next action a of alba's with this error instead.
func (e *ends) answerWith(a jingle.Action, condition string) {
	e.a.Tap(func(s jingletest.Stanza) []jingletest.Stanza {
		if s.Action != string(a) {
			return []jingletest.Stanza{s}
		}
		e.a.Inject("<iq xmlns='jabber:client' type='error' id='" + s.ID + "' from='" + jingletest.AddrB + "'><error type='cancel'><" + condition +
			" xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>\x7f" + strings.Repeat("x", 2000) + "</text></error></iq>")
		return nil
	})
}

func TestInitiateRefused(t *testing.T) {
	for _, condition := range []string{"service-unavailable", "item-not-found", "resource-constraint", "unexpected-request"} {
		t.Run(condition, func(t *testing.T) {
			e := newEnds(t, jingle.Config{}, jingle.Config{})
			e.answerWith(jingle.ActionSessionInitiate, condition)
			s, err := e.ha.Initiate(t.Context(), e.b.LocalAddr(), stub())
			if s != nil || string(refusedBy(t, err).Condition) != condition {
				t.Errorf("Initiate = %v, %v, want %s", s, err, condition)
			}
			if text := err.Error(); len(text) > 700 || strings.Contains(text, "\x7f") {
				t.Errorf("the peer's text is neither cut nor quoted: %q", text)
			}
			if n := e.ha.Sessions(); n != 0 {
				t.Errorf("%d sessions are left", n)
			}
		})
	}
}

func TestInitiateMistakes(t *testing.T) {
	e := newEnds(t, jingle.Config{}, jingle.Config{})
	if _, err := e.ha.Initiate(t.Context(), jid.MustParse("bruno@moor.example"), stub()); err == nil || !strings.Contains(err.Error(), "full JID") {
		t.Errorf("bare JID: %v", err)
	}
	for name, change := range map[string]func(c *jingle.Content){
		"no name":        func(c *jingle.Content) { c.Name = "" },
		"no description": func(c *jingle.Content) { c.Description = nil },
		"no transport":   func(c *jingle.Content) { c.Transport = nil },
		"bad security":   func(c *jingle.Content) { c.Security = jingle.Element("<a><b></a>") },
	} {
		c := stub()
		change(&c)
		if _, err := e.ha.Initiate(t.Context(), e.b.LocalAddr(), c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if n := len(jingletest.Log(e.a)); n != 0 {
		t.Errorf("%d stanzas were sent", n)
	}
}

// draft-meyer §4: an old peer that does not know security-info is no reason to end
// the session; that is for the caller to decide.
func TestRefusedActionKeepsTheSession(t *testing.T) {
	e := newEnds(t, jingle.Config{}, jingle.Config{})
	sa, sb := e.accepted(t)
	e.answerWith(jingle.ActionSecurityInfo, "feature-not-implemented")
	err := sa.Send(t.Context(), jingle.ActionSecurityInfo, security("1"))
	if got := refusedBy(t, err); got.Condition != stanza.FeatureNotImplemented || !errors.Is(err, stanza.Error{Condition: stanza.FeatureNotImplemented}) {
		t.Errorf("Send = %v", err)
	}
	if sa.Err() != nil {
		t.Fatalf("session ended: %v", sa.Err())
	}
	e.a.Tap(nil)
	if err := sa.Send(t.Context(), jingle.ActionTransportInfo, transport("1")); err != nil {
		t.Errorf("Send afterwards: %v", err)
	}
	recv(t, sb, jingle.ActionTransportInfo)
}

// If the peer does not know the session, it is over.
func TestUnknownSessionAnswerEndsTheSession(t *testing.T) {
	for name, do := range map[string]func(t *testing.T, s *jingle.Session) error{
		"ping": func(t *testing.T, s *jingle.Session) error { return s.Ping(t.Context()) },
		"send": func(t *testing.T, s *jingle.Session) error {
			return s.Send(t.Context(), jingle.ActionTransportInfo, transport("1"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnds(t, jingle.Config{}, jingle.Config{})
			sa, _ := e.accepted(t)
			e.hb.Close(errors.New("restarted"))
			err := do(t, sa)
			if end, ok := errors.AsType[*jingle.EndError](err); !ok || !end.Remote || !errors.Is(err, stanza.Error{Condition: stanza.ItemNotFound}) {
				t.Errorf("got %v, want an *EndError", err)
			}
			if sa.Err() == nil || e.ha.Sessions() != 0 {
				t.Errorf("session goes on: %v", sa.Err())
			}
			log := len(jingletest.Log(e.a))
			if err := sa.Terminate(t.Context(), jingle.ReasonSuccess, ""); err != nil || len(jingletest.Log(e.a)) != log {
				t.Errorf("Terminate of a session that the peer does not know = %v, or was sent", err)
			}
		})
	}
}

func TestOutOfOrderIsNotSent(t *testing.T) {
	e := newEnds(t, jingle.Config{}, jingle.Config{})
	sa, sb := e.offered(t)
	check := func(name string, err error) {
		t.Helper()
		if !errors.Is(err, jingle.ErrOutOfOrder) {
			t.Errorf("%s: %v, want ErrOutOfOrder", name, err)
		}
	}
	log := len(jingletest.Log(e.a))
	check("accept own offer", sa.Accept(t.Context(), stub()))
	check("transport-accept", sa.Send(t.Context(), jingle.ActionTransportAccept, transport("1")))
	check("transport-reject", sa.Send(t.Context(), jingle.ActionTransportReject, transport("1")))
	check("session-info", sa.Send(t.Context(), jingle.ActionSessionInfo, transport("1")))
	check("content-add", sa.Send(t.Context(), jingle.ActionContentAdd, stub()))
	if n := len(jingletest.Log(e.a)); n != log {
		t.Errorf("%d stanzas were sent", n-log)
	}
	if err := sb.Accept(t.Context(), stub()); err != nil {
		t.Fatal(err)
	}
	check("accept twice", sb.Accept(t.Context(), stub()))
	if err := sb.Send(t.Context(), jingle.ActionTransportReplace, transport("1")); err != nil {
		t.Fatal(err)
	}
	check("replace twice", sb.Send(t.Context(), jingle.ActionTransportReplace, transport("2")))
	recv(t, sa, jingle.ActionSessionAccept)
	recv(t, sa, jingle.ActionTransportReplace)
	check("replace before answering", sa.Send(t.Context(), jingle.ActionTransportReplace, transport("3")))
	if err := sa.Send(t.Context(), jingle.ActionTransportReject, transport("1")); err != nil {
		t.Errorf("transport-reject: %v", err)
	}
	recv(t, sb, jingle.ActionTransportReject)
	if err := sa.Send(t.Context(), jingle.ActionTransportReplace, transport("3")); err != nil {
		t.Errorf("replace after the other was answered: %v", err)
	}
}

func TestTerminateReasons(t *testing.T) {
	for _, r := range []jingle.Reason{
		jingle.ReasonAlternativeSession, jingle.ReasonBusy, jingle.ReasonCancel, jingle.ReasonConnectivityError, jingle.ReasonDecline,
		jingle.ReasonExpired, jingle.ReasonFailedApplication, jingle.ReasonFailedTransport, jingle.ReasonGeneralError, jingle.ReasonGone,
		jingle.ReasonIncompatibleParameters, jingle.ReasonMediaError, jingle.ReasonSecurityError, jingle.ReasonSuccess, jingle.ReasonTimeout,
		jingle.ReasonUnsupportedApplications, jingle.ReasonUnsupportedTransports, "",
	} {
		t.Run(string(r), func(t *testing.T) {
			e := newEnds(t, jingle.Config{}, jingle.Config{})
			sa, sb := e.offered(t)
			if err := sb.Terminate(t.Context(), r, strings.Repeat("é", 300)); err != nil {
				t.Fatal(err)
			}
			<-sa.Done()
			end := sa.Err().(*jingle.EndError)
			if end.Reason != r || !end.Remote || end.Text != strings.Repeat("é", 256) {
				t.Errorf("peer sees %+v, want %q and 512 octets of text", end, r)
			}
			if end := sb.Err().(*jingle.EndError); end.Reason != r || end.Remote {
				t.Errorf("own end is %+v", end)
			}
		})
	}
	t.Run("bad reason", func(t *testing.T) {
		e := newEnds(t, jingle.Config{}, jingle.Config{})
		sa, _ := e.offered(t)
		if err := sa.Terminate(t.Context(), "no name", ""); err == nil || sa.Err() != nil {
			t.Errorf("Terminate = %v, session %v", err, sa.Err())
		}
	})
	t.Run("alternative", func(t *testing.T) {
		e := newEnds(t, jingle.Config{}, jingle.Config{})
		sa, sb := e.offered(t)
		if err := sb.TerminateAlternative(t.Context(), "other"); err != nil {
			t.Fatal(err)
		}
		<-sa.Done()
		if end := sa.Err().(*jingle.EndError); end.Reason != jingle.ReasonAlternativeSession || end.Alternative != "other" {
			t.Errorf("peer sees %+v", end)
		}
	})
}

func TestTerminateIsIdempotent(t *testing.T) {
	e := newEnds(t, jingle.Config{}, jingle.Config{})
	sa, sb := e.accepted(t)
	for range 2 {
		if err := sa.Terminate(t.Context(), jingle.ReasonSuccess, ""); err != nil {
			t.Error(err)
		}
	}
	// The side that was told does not answer with its own.
	if err := sb.Terminate(t.Context(), jingle.ReasonBusy, ""); err != nil {
		t.Error(err)
	}
	sent := 0
	for _, a := range e.actions() {
		if strings.HasSuffix(a, "session-terminate") {
			sent++
		}
	}
	if sent != 1 {
		t.Errorf("session-terminate was sent %d times", sent)
	}
	if end := sb.Err().(*jingle.EndError); end.Reason != jingle.ReasonSuccess {
		t.Errorf("second Terminate changed the end: %v", end)
	}
	for name, err := range map[string]error{
		"Send":   sa.Send(t.Context(), jingle.ActionSecurityInfo, security("1")),
		"Ping":   sa.Ping(t.Context()),
		"Accept": sb.Accept(t.Context(), stub()),
	} {
		if _, ok := errors.AsType[*jingle.EndError](err); !ok {
			t.Errorf("%s after the end = %v, want an *EndError", name, err)
		}
	}
}

// Both may end it at the same time; neither hangs nor fails.
func TestTerminateCrossing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnds(t, jingle.Config{}, jingle.Config{})
		sa, sb := e.accepted(t)
		e.a.Hold(nil)
		e.b.Hold(nil)
		done := make(chan error, 2)
		go func() { done <- sa.Terminate(t.Context(), jingle.ReasonSuccess, "") }()
		go func() { done <- sb.Terminate(t.Context(), jingle.ReasonGone, "") }()
		synctest.Wait()
		e.a.Release()
		e.b.Release()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

// A caller whose context has ended still gets the peer told.
func TestTerminateContext(t *testing.T) {
	e := newEnds(t, jingle.Config{}, jingle.Config{})
	sa, sb := e.accepted(t)
	e.b.Hold(nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sa.Terminate(ctx, jingle.ReasonSecurityError, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("Terminate = %v, want context.Canceled", err)
	}
	<-sb.Done()
	if end := sb.Err().(*jingle.EndError); end.Reason != jingle.ReasonSecurityError {
		t.Errorf("peer sees %v", end)
	}
	e.b.Release()
}

// An action that is on its way when the session ends does not wait for an
// answer.
func TestEndUnblocksSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnds(t, jingle.Config{}, jingle.Config{})
		sa, sb := e.accepted(t)
		start := time.Now()
		e.b.Hold(func(s jingletest.Stanza) bool { return s.Type == "result" })
		errs := make(chan error, 1)
		go func() { errs <- sa.Send(t.Context(), jingle.ActionTransportInfo, transport("1")) }()
		recv(t, sb, jingle.ActionTransportInfo)
		if err := sb.Terminate(t.Context(), jingle.ReasonGone, ""); err != nil {
			t.Fatal(err)
		}
		if end, ok := errors.AsType[*jingle.EndError](<-errs); !ok || end.Reason != jingle.ReasonGone {
			t.Errorf("Send = %v, want the end of the session", end)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("Send waited %v for the answer", took)
		}
	})
}

func TestRecvContext(t *testing.T) {
	e := newEnds(t, jingle.Config{}, jingle.Config{})
	sa, sb := e.accepted(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if m, err := sa.Recv(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Recv = %v, %v, want context.Canceled", m, err)
	}
	if err := sb.Send(t.Context(), jingle.ActionTransportInfo, transport("1")); err != nil {
		t.Fatal(err)
	}
	recv(t, sa, jingle.ActionTransportInfo)
}
