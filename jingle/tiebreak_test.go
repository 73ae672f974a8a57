// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package jingle_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"example.org/xtls/jingle"
	"example.org/xtls/jingle/jingletest"
)

// cross makes both ends offer at the same time and returns what each Initiate
// returned.
func (e *ends) cross(t *testing.T) (sa, sb *jingle.Session, erra, errb error) {
	t.Helper()
	isOffer := func(s jingletest.Stanza) bool { return s.Action == "session-initiate" }
	e.a.Hold(isOffer)
	e.b.Hold(isOffer)
	done := make(chan struct{}, 2)
	go func() { sa, erra = e.ha.Initiate(t.Context(), e.b.LocalAddr(), stub()); done <- struct{}{} }()
	go func() { sb, errb = e.hb.Initiate(t.Context(), e.a.LocalAddr(), stub()); done <- struct{}{} }()
	synctest.Wait()
	e.a.Release()
	e.b.Release()
	<-done
	<-done
	return sa, sb, erra, errb
}

func TestTieBreakOfOffers(t *testing.T) {
	var ea *ends
	same := func(mine, theirs jingle.Content) bool {
		ea.ha.Sessions() // must not be under a lock
		ea.hb.Sessions()
		return string(mine.Description) == string(theirs.Description)
	}
	wins := map[bool]int{}
	for range 20 { // the ids are random
		synctest.Test(t, func(t *testing.T) {
			e := newEnds(t, jingle.Config{Equivalent: same}, jingle.Config{Equivalent: same})
			ea = e
			sa, sb, erra, errb := e.cross(t)
			won, lost, other := sa, errb, e.hb
			if erra != nil {
				won, lost, other = sb, erra, e.ha
			}
			wins[erra == nil]++
			if won == nil || !errors.Is(lost, jingle.ErrTieBreak) {
				t.Fatalf("Initiate = %v and %v, want one ErrTieBreak", erra, errb)
			}
			ids := map[string]string{} // sid by sender
			for _, s := range jingletest.Log(e.a) {
				if s.Action == "session-initiate" {
					ids[s.From.Localpart()] = mustParse(t, payload(t, s.XML)).SID
				}
			}
			if won.ID() != min(ids["alba"], ids["bruno"]) {
				t.Errorf("%s won of %v", won.ID(), ids)
			}
			theirs, err := other.Next(t.Context())
			if err != nil || theirs.ID() != won.ID() {
				t.Fatalf("Next = %v, %v", theirs, err)
			}
			if err := theirs.Accept(t.Context(), stub()); err != nil {
				t.Error(err)
			}
			recv(t, won, jingle.ActionSessionAccept)
			if e.ha.Sessions() != 1 || e.hb.Sessions() != 1 {
				t.Errorf("%d and %d sessions, want one", e.ha.Sessions(), e.hb.Sessions())
			}
		})
	}
	if len(wins) != 2 {
		t.Errorf("the same side won 20 times: %v", wins)
	}
}

func TestDifferentOffersDoNotTie(t *testing.T) {
	for name, equivalent := range map[string]func(mine, theirs jingle.Content) bool{
		"no callback":    nil,
		"not equivalent": func(_, _ jingle.Content) bool { return false },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := jingle.Config{Equivalent: equivalent}
				e := newEnds(t, cfg, cfg)
				if _, _, erra, errb := e.cross(t); erra != nil || errb != nil {
					t.Errorf("Initiate = %v and %v", erra, errb)
				}
				if e.ha.Sessions() != 2 || e.hb.Sessions() != 2 {
					t.Errorf("%d and %d sessions, want two", e.ha.Sessions(), e.hb.Sessions())
				}
			})
		})
	}
}

// The ids can only be equal on purpose. Then the lower JID wins, which is
// alba's.
func TestTieBreakOfEqualIDs(t *testing.T) {
	for name, same := range map[string]bool{"equivalent": true, "not equivalent": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := jingle.Config{Equivalent: func(_, _ jingle.Content) bool { return same }}
				e := newEnds(t, cfg, cfg)
				mirror := func(end *jingletest.End, from string) func(s jingletest.Stanza) []jingletest.Stanza {
					return func(s jingletest.Stanza) []jingletest.Stanza {
						if s.Action == "session-initiate" && s.Type == "set" {
							sid := mustParse(t, payload(t, s.XML)).SID
							end.Inject("<iq xmlns='jabber:client' type='set' id='mirror' from='" + from + "'>" +
								strings.Replace(initiate, "sid='s'", "sid='"+sid+"'", 1) + content + "</jingle></iq>")
							return nil
						}
						return []jingletest.Stanza{s}
					}
				}
				answer := func() string {
					return verdict(t, jingletest.Await(e.a, func(s jingletest.Stanza) bool { return s.ID == "mirror" && s.Type != "set" }))
				}
				wantA, wantB := isOutOfOrder, isOutOfOrder
				if same {
					wantA, wantB = isTieBreak, isResult
				}
				e.a.Tap(mirror(e.a, jingletest.AddrB))
				got := make(chan error, 1)
				go func() { _, err := e.ha.Initiate(t.Context(), e.b.LocalAddr(), stub()); got <- err }()
				if v := answer(); v != wantA {
					t.Errorf("alba answers %q, want %q", v, wantA)
				}
				e.ha.Close(errors.New("done"))
				<-got

				e = newEnds(t, cfg, cfg)
				e.b.Tap(mirror(e.b, jingletest.AddrA))
				go func() { _, err := e.hb.Initiate(t.Context(), e.a.LocalAddr(), stub()); got <- err }()
				if v := answer(); v != wantB {
					t.Errorf("bruno answers %q, want %q", v, wantB)
				}
				if !same {
					e.hb.Close(errors.New("done"))
					<-got
					return
				}
				if err := <-got; !errors.Is(err, jingle.ErrTieBreak) {
					t.Errorf("Initiate of bruno = %v, want ErrTieBreak", err)
				}
				if s, err := e.hb.Next(t.Context()); err != nil || s.Initiator() || s.Err() != nil {
					t.Errorf("Next = %v, %v", s, err)
				}
			})
		})
	}
}

// In a session the initiator's transport-replace counts (XEP-0166 §7.2.16).
func TestTieBreakOfReplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnds(t, jingle.Config{}, jingle.Config{})
		sa, sb := e.accepted(t)
		e.a.Hold(nil)
		e.b.Hold(nil)
		erra, errb := make(chan error, 1), make(chan error, 1)
		go func() { erra <- sa.Send(t.Context(), jingle.ActionTransportReplace, transport("a")) }()
		go func() { errb <- sb.Send(t.Context(), jingle.ActionTransportReplace, transport("b")) }()
		synctest.Wait()
		e.a.Release()
		e.b.Release()
		if err := <-erra; err != nil {
			t.Errorf("initiator: %v", err)
		}
		if err := <-errb; !errors.Is(err, jingle.ErrTieBreak) {
			t.Errorf("responder: %v, want ErrTieBreak", err)
		}
		recv(t, sb, jingle.ActionTransportReplace)
		if err := sb.Send(t.Context(), jingle.ActionTransportAccept, transport("a")); err != nil {
			t.Errorf("transport-accept: %v", err)
		}
		recv(t, sa, jingle.ActionTransportAccept)
		// It is over: the next can begin.
		if err := sb.Send(t.Context(), jingle.ActionTransportReplace, transport("c")); err != nil {
			t.Errorf("responder's next: %v", err)
		}
		recv(t, sa, jingle.ActionTransportReplace)
	})
}
