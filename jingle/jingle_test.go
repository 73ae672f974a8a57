// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package jingle_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/jingle"
	"example.org/xtls/jingle/jingletest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ends are two clients with Jingle on them.
type ends struct {
	a, b   *jingletest.End
	ha, hb *jingle.Handler
}

// newEnds connects two clients. The configurations may be zero.
func newEnds(t *testing.T, ca, cb jingle.Config) *ends {
	t.Helper()
	e := &ends{}
	e.a, e.b = jingletest.Pair(t)
	add := func(end *jingletest.End, cfg jingle.Config) *jingle.Handler {
		cfg.Stanzas = end
		h, err := jingle.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		end.Serve(jingle.Handle(h))
		t.Cleanup(func() { h.Close(errors.New("test is over")) })
		return h
	}
	e.ha, e.hb = add(e.a, ca), add(e.b, cb)
	return e
}

func stub() jingle.Content {
	return jingle.Content{
		Name:        "stub",
		Description: jingle.Element("<description xmlns='urn:xmpp:jingle:apps:stub:0'/>"),
		Transport:   jingle.Element("<transport xmlns='urn:xmpp:jingle:transports:stub:0'/>"),
		Security:    jingle.Element("<security xmlns='urn:xmpp:jingle:security:stub:0'/>"),
	}
}

func transport(n string) jingle.Content {
	return jingle.Content{Transport: jingle.Element("<transport xmlns='urn:xmpp:jingle:transports:stub:0' n='" + n + "'/>")}
}

func security(n string) jingle.Content {
	return jingle.Content{Security: jingle.Element("<security xmlns='urn:xmpp:jingle:security:stub:0' n='" + n + "'/>")}
}

// offered returns both sides of a session that alba has offered to bruno.
func (e *ends) offered(t *testing.T) (sa, sb *jingle.Session) {
	t.Helper()
	sa, err := e.ha.Initiate(t.Context(), e.b.LocalAddr(), stub())
	if err != nil {
		t.Fatalf("Initiate: %v", err)
	}
	sb, err = e.hb.Next(t.Context())
	if err != nil {
		t.Fatalf("Next: %v", err)
	}
	return sa, sb
}

// accepted returns both sides of a session that bruno has accepted.
func (e *ends) accepted(t *testing.T) (sa, sb *jingle.Session) {
	t.Helper()
	sa, sb = e.offered(t)
	if err := sb.Accept(t.Context(), stub()); err != nil {
		t.Fatalf("Accept: %v", err)
	}
	recv(t, sa, jingle.ActionSessionAccept)
	return sa, sb
}

func recv(t *testing.T, s *jingle.Session, want jingle.Action) *jingle.Message {
	t.Helper()
	m, err := s.Recv(t.Context())
	if err != nil || m.Action != want {
		t.Fatalf("Recv = %+v, %v, want %s", m, err, want)
	}
	return m
}

// actions returns the actions and answers in the log, in short.
func (e *ends) actions() []string {
	var list []string
	for _, s := range jingletest.Log(e.a) {
		what := s.Type
		if s.Action != "" {
			what = s.Action
		}
		list = append(list, s.From.Localpart()+" "+what)
	}
	return list
}

func TestSession(t *testing.T) {
	e := newEnds(t, jingle.Config{}, jingle.Config{})
	sa, sb := e.offered(t)
	if sa.ID() != sb.ID() || len(sa.ID()) < 26 || !sa.Initiator() || sb.Initiator() ||
		!sa.Peer().Equal(e.b.LocalAddr()) || !sb.Peer().Equal(e.a.LocalAddr()) {
		t.Errorf("sessions do not match: %v %v", sa.ID(), sb.ID())
	}
	if got := sb.Offer(); got.Name != "stub" || got.Creator != jingle.CreatorInitiator || string(got.Security) != string(stub().Security) {
		t.Errorf("Offer = %+v", got)
	}
	// All in-session actions are allowed while the offer is pending (XEP-0166 §5.1).
	if err := sb.Send(t.Context(), jingle.ActionTransportInfo, transport("early")); err != nil {
		t.Errorf("transport-info while pending: %v", err)
	}
	if err := sb.Accept(t.Context(), stub()); err != nil {
		t.Fatalf("Accept: %v", err)
	}
	recv(t, sa, jingle.ActionTransportInfo)
	if m := recv(t, sa, jingle.ActionSessionAccept); !m.Responder.Equal(e.b.LocalAddr()) || m.Contents[0].Name != "stub" || m.Contents[0].Security == nil {
		t.Errorf("session-accept = %+v", m)
	}
	if err := sa.Send(t.Context(), jingle.ActionSecurityInfo, security("1")); err != nil {
		t.Errorf("security-info: %v", err)
	}
	if m := recv(t, sb, jingle.ActionSecurityInfo); m.Contents[0].Creator != jingle.CreatorInitiator || !strings.Contains(string(m.Contents[0].Security), "n='1'") {
		t.Errorf("security-info = %+v", m)
	}
	if err := sb.Ping(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
	if err := sa.Send(t.Context(), jingle.ActionTransportReplace, transport("2")); err != nil {
		t.Errorf("transport-replace: %v", err)
	}
	recv(t, sb, jingle.ActionTransportReplace)
	if err := sb.Send(t.Context(), jingle.ActionTransportAccept, transport("2")); err != nil {
		t.Errorf("transport-accept: %v", err)
	}
	recv(t, sa, jingle.ActionTransportAccept)
	if err := sa.Terminate(t.Context(), jingle.ReasonSuccess, ""); err != nil {
		t.Errorf("Terminate: %v", err)
	}
	_, err := sb.Recv(t.Context())
	if end, ok := errors.AsType[*jingle.EndError](err); !ok || end.Reason != jingle.ReasonSuccess || !end.Remote {
		t.Errorf("Recv after the end = %v", err)
	}
	if e.ha.Sessions() != 0 || e.hb.Sessions() != 0 {
		t.Errorf("%d and %d sessions are left", e.ha.Sessions(), e.hb.Sessions())
	}
	want := "alba session-initiate,bruno result,bruno transport-info,alba result,bruno session-accept,alba result,alba security-info,bruno result," +
		"bruno session-info,alba result,alba transport-replace,bruno result,bruno transport-accept,alba result,alba session-terminate,bruno result"
	if got := strings.Join(e.actions(), ","); got != want {
		t.Errorf("stanzas: %s\nwant %s", got, want)
	}
}

// The responder may be faster with its accept than the network with the result.
func TestAcceptBeforeResult(t *testing.T) {
	e := newEnds(t, jingle.Config{}, jingle.Config{})
	e.b.Hold(func(s jingletest.Stanza) bool { return s.Type == "result" })
	got := make(chan *jingle.Session, 1)
	go func() {
		s, err := e.ha.Initiate(t.Context(), e.b.LocalAddr(), stub())
		if err != nil {
			t.Error(err)
		}
		got <- s
	}()
	sb, err := e.hb.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := sb.Accept(t.Context(), stub()); err != nil {
		t.Fatalf("Accept: %v", err)
	}
	if err := sb.Send(t.Context(), jingle.ActionSecurityInfo, security("1")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-got:
		t.Fatal("Initiate returned before the acknowledgement")
	default:
	}
	e.b.Release()
	sa := <-got
	recv(t, sa, jingle.ActionSessionAccept)
	recv(t, sa, jingle.ActionSecurityInfo)
}

func TestActionsKeepOrder(t *testing.T) {
	e := newEnds(t, jingle.Config{}, jingle.Config{})
	sa, sb := e.offered(t)
	if err := sb.Accept(t.Context(), stub()); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"1", "2", "3"} {
		if err := sb.Send(t.Context(), jingle.ActionTransportInfo, transport(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := sb.Terminate(t.Context(), jingle.ReasonGone, "bye"); err != nil {
		t.Fatal(err)
	}
	recv(t, sa, jingle.ActionSessionAccept)
	for _, n := range []string{"1", "2", "3"} {
		if m := recv(t, sa, jingle.ActionTransportInfo); !strings.Contains(string(m.Contents[0].Transport), "n='"+n+"'") {
			t.Errorf("got %s, want n='%s'", m.Contents[0].Transport, n)
		}
	}
	_, err := sa.Recv(t.Context())
	if end, ok := errors.AsType[*jingle.EndError](err); !ok || end.Reason != jingle.ReasonGone || end.Text != "bye" || !end.Remote {
		t.Errorf("Recv = %v, want what the peer said at its end", err)
	}
}

func TestConfig(t *testing.T) {
	if _, err := jingle.New(jingle.Config{}); err == nil || !strings.Contains(err.Error(), "Config.Stanzas") {
		t.Errorf("New without Stanzas = %v", err)
	}
}

func TestClose(t *testing.T) {
	t.Run("going offline", func(t *testing.T) {
		e := newEnds(t, jingle.Config{}, jingle.Config{})
		sa, sb := e.accepted(t)
		e.ha.Close(nil)
		if err := sa.Err(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("own session: %v, want net.ErrClosed", err)
		}
		<-sb.Done()
		if end, ok := errors.AsType[*jingle.EndError](sb.Err()); !ok || end.Reason != jingle.ReasonGone || !end.Remote {
			t.Errorf("peer's session: %v, want gone", sb.Err())
		}
	})
	t.Run("session lost", func(t *testing.T) {
		e := newEnds(t, jingle.Config{}, jingle.Config{})
		sa, _ := e.accepted(t)
		before := len(jingletest.Log(e.a))
		lost := errors.New("line cut")
		e.ha.Close(lost)
		jingletest.Settle(e.a)
		if err := sa.Err(); !errors.Is(err, lost) {
			t.Errorf("session: %v, want %v", err, lost)
		}
		if after := len(jingletest.Log(e.a)); after != before {
			t.Errorf("%d stanzas were sent", after-before)
		}
		if _, err := e.ha.Next(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Next = %v, want net.ErrClosed", err)
		}
		if _, err := e.ha.Initiate(t.Context(), e.b.LocalAddr(), stub()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Initiate = %v, want net.ErrClosed", err)
		}
		if _, err := e.hb.Initiate(t.Context(), e.a.LocalAddr(), stub()); !errors.Is(err, stanza.Error{Condition: stanza.ServiceUnavailable}) {
			t.Errorf("peer's offer = %v, want service-unavailable", err)
		}
	})
}

func TestCloseUnblocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnds(t, jingle.Config{}, jingle.Config{})
		sa, _ := e.accepted(t)
		lost := errors.New("line cut")
		errs := make(chan error, 3)
		e.b.Hold(nil)
		go func() { _, err := e.ha.Next(t.Context()); errs <- err }()
		go func() { _, err := sa.Recv(t.Context()); errs <- err }()
		go func() { errs <- sa.Ping(t.Context()) }()
		synctest.Wait()
		e.ha.Close(lost)
		for range 3 {
			if err := <-errs; !errors.Is(err, lost) && !errors.Is(err, net.ErrClosed) {
				t.Errorf("unblocked with %v", err)
			}
		}
	})
}

func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnds(t, jingle.Config{}, jingle.Config{})
		e.accepted(t)
		e.b.Hold(nil)
		start := time.Now()
		e.ha.Close(nil)
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("Close took %v, want 5 s", took)
		}
	})
}

func TestOfferTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnds(t, jingle.Config{}, jingle.Config{})
		sa, sb := e.offered(t)
		unseen, err := e.ha.Initiate(t.Context(), e.b.LocalAddr(), stub())
		if err != nil {
			t.Fatal(err)
		}
		kept, err := e.ha.Initiate(t.Context(), e.b.LocalAddr(), stub())
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(jingle.OfferLimit - time.Nanosecond)
		synctest.Wait()
		if sa.Err() != nil || sb.Err() != nil {
			t.Fatalf("ended too early: %v, %v", sa.Err(), sb.Err())
		}
		for {
			s, err := e.hb.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if s.ID() == kept.ID() {
				if err := s.Accept(t.Context(), stub()); err != nil {
					t.Fatal(err)
				}
				break
			}
		}
		start := time.Now()
		<-sa.Done()
		<-unseen.Done()
		if took := time.Since(start); took > time.Nanosecond {
			t.Errorf("ended %v late", took)
		}
		if end, ok := errors.AsType[*jingle.EndError](sa.Err()); !ok || end.Reason != jingle.ReasonTimeout || !end.Remote {
			t.Errorf("initiator: %v, want timeout", sa.Err())
		}
		if end, ok := errors.AsType[*jingle.EndError](sb.Err()); !ok || end.Reason != jingle.ReasonTimeout || end.Remote {
			t.Errorf("responder: %v, want timeout", sb.Err())
		}
		<-time.After(2 * jingle.OfferLimit)
		synctest.Wait()
		if err := kept.Err(); err != nil {
			t.Errorf("accepted session ended: %v", err)
		}
	})
}

// An offer that ended before anybody took it is not handed out.
func TestNextSkipsEndedOffers(t *testing.T) {
	e := newEnds(t, jingle.Config{}, jingle.Config{})
	gone, err := e.ha.Initiate(t.Context(), e.b.LocalAddr(), stub())
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Terminate(t.Context(), jingle.ReasonCancel, ""); err != nil {
		t.Fatal(err)
	}
	sa, sb := e.offered(t)
	if sa.ID() != sb.ID() {
		t.Errorf("Next returned %v, want %v", sb.ID(), sa.ID())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := e.hb.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Next = %v, %v, want context.Canceled", s, err)
	}
}

// If nobody knows whether the offer arrived, it is withdrawn.
func TestInitiateContext(t *testing.T) {
	e := newEnds(t, jingle.Config{}, jingle.Config{})
	e.b.Hold(nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		jingletest.Await(e.a, func(s jingletest.Stanza) bool { return s.Action == "session-initiate" })
		cancel()
	}()
	if s, err := e.ha.Initiate(ctx, e.b.LocalAddr(), stub()); !errors.Is(err, context.Canceled) {
		t.Fatalf("Initiate = %v, %v, want context.Canceled", s, err)
	}
	last := jingletest.Await(e.a, func(s jingletest.Stanza) bool { return s.Action == "session-terminate" })
	if m := mustParse(t, payload(t, last.XML)); m.Reason != jingle.ReasonCancel {
		t.Errorf("terminated with %q, want cancel", m.Reason)
	}
	e.b.Release()
	if n := e.ha.Sessions(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// Who the initiator is is decided by from, whatever the attribute says
// (XEP-0166 §13.5).
func TestInitiatorAttributeDoesNotRedirect(t *testing.T) {
	for _, initiator := range []string{"mallory@evil.example/x", "alba@isle.example/other", "@"} {
		t.Run(initiator, func(t *testing.T) {
			e := newEnds(t, jingle.Config{}, jingle.Config{})
			e.a.Tap(func(s jingletest.Stanza) []jingletest.Stanza {
				s.XML = strings.Replace(s.XML, "initiator='"+jingletest.AddrA+"'", "initiator='"+initiator+"'", 1)
				return []jingletest.Stanza{s}
			})
			sa, sb := e.offered(t)
			if !sb.Peer().Equal(e.a.LocalAddr()) {
				t.Errorf("peer is %v, want %v", sb.Peer(), e.a.LocalAddr())
			}
			if err := sb.Accept(t.Context(), stub()); err != nil {
				t.Errorf("Accept: %v", err)
			}
			recv(t, sa, jingle.ActionSessionAccept)
		})
	}
}
