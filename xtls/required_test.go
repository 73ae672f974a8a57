// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"mellium.im/xmpp/jid"

	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// later is a tamper that does nothing until it is switched on.
func later(on *atomic.Bool, tamper xtlstest.Tamper) xtlstest.Tamper {
	return func(st *xtlstest.Stanza) []*xtlstest.Stanza {
		if on.Load() {
			return tamper(st)
		}
		return []*xtlstest.Stanza{st}
	}
}

// TestRequired has a server leave the binding out, of the offer or of the answer,
// between two clients that have had a tunnel of version 1, and who would take the
// plain draft from strangers. Whoever gets less than before refuses it as tampered
// with, until the user forgets the peer.
func TestRequired(t *testing.T) {
	for _, stripped := range []string{"session-initiate", "session-accept"} {
		t.Run(stripped, func(t *testing.T) {
			var on atomic.Bool
			s := xtlstest.NewServer(t, xtlstest.Config{Tamper: later(&on, only(stripped, xtlstest.StripBinding()))})
			aCfg, bCfg := xtlstest.ClientConfig(t, s, "alice"), xtlstest.ClientConfig(t, s, "bob")
			draft := func(jid.JID) bool { return true }
			aCfg.AllowDraft, bCfg.AllowDraft = draft, draft
			alice, bob := xtlstest.NewClient(t, s, "alice", aCfg), xtlstest.NewClient(t, s, "bob", bCfg)
			if facts(t, aCfg, "bob@localhost").Required {
				t.Error("required before the first contact")
			}
			if r := try(t, alice, bob); r.dial != nil || r.aToB != nil {
				t.Fatalf("first contact: %v, %v", r.dial, r.aToB)
			}
			if !facts(t, aCfg, "bob@localhost").Required || !facts(t, bCfg, "alice@localhost").Required {
				t.Error("not required after a tunnel of version 1")
			}
			on.Store(true)
			r := try(t, alice, bob)
			noticed, told := r.accept, r.dial
			if stripped == "session-accept" {
				noticed, told = told, noticed
			}
			if !errors.Is(noticed, xtls.ErrTampered) || !errors.Is(told, xtls.ErrPeerAlarm) {
				t.Errorf("who noticed: %v\nwho was told: %v\nwant ErrTampered and ErrPeerAlarm", noticed, told)
			}
			if len(r.gotAToB)+len(r.gotBToA) > 0 {
				t.Error("something was delivered")
			}
		})
	}
}

// TestRequiredOfDraftPeer refuses a client that speaks the plain draft in the place
// of one that spoke version 1, although its key is pinned and the draft is
// allowed by name. Forgetting it opens the way again.
func TestRequiredOfDraftPeer(t *testing.T) {
	s := xtlstest.NewServer(t, xtlstest.Config{})
	aCfg, bCfg := xtlstest.ClientConfig(t, s, "alice"), xtlstest.ClientConfig(t, s, "bob")
	aCfg.AllowDraft = func(jid.JID) bool { return true }
	alice := xtlstest.NewClient(t, s, "alice", aCfg)
	a, b := xtlstest.Tunnel(t, alice, xtlstest.NewClient(t, s, "bob", bCfg))
	a.Close()
	b.Close()
	old := newRawPeer(t, s, draftPeer{bCfg.Certificate, true, false}.take)
	if _, err := alice.Dial(t.Context(), old.LocalAddr(), xtls.Tunnel("")); !errors.Is(err, xtls.ErrTampered) {
		t.Errorf("Dial: %v, want ErrTampered", err)
	}
	if n, err := aCfg.Trust.Forget(jid.MustParse("bob@localhost")); n != 1 || err != nil {
		t.Fatalf("forgot %d, %v", n, err)
	}
	another := newRawPeer(t, s, draftPeer{bCfg.Certificate, true, false}.take)
	c, err := alice.Dial(t.Context(), another.LocalAddr(), xtls.Tunnel(""))
	if err != nil {
		t.Fatalf("Dial after forgetting: %v", err)
	}
	if !c.State().Draft || facts(t, aCfg, "bob@localhost").Required {
		t.Errorf("state %+v", c.State())
	}
	c.Close()
}
