// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"strings"
	"testing"
)

// A wrongKey is the fingerprint of a key that nobody has.
const wrongKey = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// TestSecondContact: a key that was taken once is known the next time, and nothing
// is asked or has to be allowed any more.
func TestSecondContact(t *testing.T) {
	t.Parallel()
	p := startProsody(t, prosodyOptions{})
	alice, bob := login(t, "alice", p.starttls, p.ca), login(t, "bob", p.starttls, p.ca)
	for _, tc := range []struct {
		name, level string
		flags       []string
	}{
		{"first", "vouched", []string{"--accept-new"}},
		{"second", "pinned", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			alice, bob := alice.in(t), bob.in(t)
			serve := bob.serve(append(tc.flags, "--stdio", "--once")...)
			nc := alice.start(append(tc.flags, "nc", bob.jid)...)
			serve.feed(nil)
			nc.feed([]byte("it is me"))
			nc.exit(exitDone)
			serve.exit(exitDone)
			serve.received([]byte("it is me"))
			for _, p := range []*program{nc, serve} {
				if e := p.event("tunnel"); e.text("level") != tc.level || e["draft"] != false || e.text("tls") != "TLS 1.3" || e["pq"] != true {
					t.Errorf("%s: %v, want level %s", p.name, e, tc.level)
				}
				if asked := p.happened("new") != nil; asked != (tc.level == "vouched") {
					t.Errorf("%s: the key was new: %v", p.name, asked)
				}
			}
		})
	}
	for _, u := range []*user{alice, bob} {
		list := u.start("peers")
		list.exit(exitDone)
		if e := list.happened("peer"); e.text("level") != "pinned" || e.text("method") != "tofu" {
			t.Errorf("%s: %v", u.jid, e)
		}
	}
}

// TestCompared: keys that were pinned by hand make a tunnel of the highest level.
func TestCompared(t *testing.T) {
	t.Parallel()
	_, alice, bob := prosodyCouple(t, prosodyOptions{})
	serve := bob.serve("--min-level", "verified", "--stdio", "--once")
	nc := alice.start("--min-level", "verified", "nc", bob.jid)
	serve.feed([]byte("so am I"))
	nc.feed(nil)
	nc.exit(exitDone)
	serve.exit(exitDone)
	nc.received([]byte("so am I"))
	for _, p := range []*program{nc, serve} {
		if e := p.happened("tunnel"); e.text("level") != "verified" || e.text("method") != "fingerprint" {
			t.Errorf("%s: %v", p.name, e)
		}
	}
}

// TestWrongPin: whoever shows another key than the one that is known gets no byte.
func TestWrongPin(t *testing.T) {
	t.Parallel()
	secret := []byte("for nobody else")
	t.Run("of the one called", func(t *testing.T) {
		t.Parallel()
		p := startProsody(t, prosodyOptions{})
		alice, bob := login(t, "alice", p.starttls, p.ca), login(t, "bob", p.starttls, p.ca)
		bob.pin(alice.jid, alice.fingerprint())
		alice.pin(bob.jid, wrongKey)
		serve := bob.serve("--stdio", "--once")
		nc := alice.start("nc", bob.jid)
		serve.feed(secret)
		nc.feed(secret)
		if why := nc.exit(exitAlarm); !strings.Contains(why, bob.fingerprint()) {
			t.Errorf("the alarm does not name the key: %s", why)
		}
		checkNothing(t, nc, serve)
		// The other end knows only that it was refused, which is an alarm as well.
		serve.exit(exitAlarm)
		if list := alice.start("peers", "list"); list.exit(exitDone) != "" && list.happened("peer").text("fingerprint") != wrongKey {
			t.Error("the known key was replaced")
		}
	})
	t.Run("of the caller", func(t *testing.T) {
		t.Parallel()
		p := startProsody(t, prosodyOptions{})
		alice, bob := login(t, "alice", p.starttls, p.ca), login(t, "bob", p.starttls, p.ca)
		alice.pin(bob.jid, bob.fingerprint())
		bob.pin(alice.jid, wrongKey)
		serve := bob.serve("--stdio", "--once")
		nc := alice.start("nc", bob.jid)
		serve.feed(secret)
		nc.feed(secret)
		if why := serve.exit(exitAlarm); !strings.Contains(why, alice.fingerprint()) {
			t.Errorf("the alarm does not name the key: %s", why)
		}
		nc.exit(exitAlarm)
		checkNothing(t, nc, serve)
	})
}

// checkNothing checks that no tunnel was handed out and nothing was printed.
func checkNothing(t *testing.T, ps ...*program) {
	t.Helper()
	for _, p := range ps {
		if p.happened("tunnel") != nil {
			t.Errorf("%s had a tunnel", p.name)
		}
		if p.stdout != p.events {
			p.received(nil)
		}
	}
}

// TestUnknownPeer: without a terminal, nobody is asked and nobody unknown is taken.
func TestUnknownPeer(t *testing.T) {
	t.Parallel()
	secret := []byte("for friends")
	t.Run("called", func(t *testing.T) {
		t.Parallel()
		p := startProsody(t, prosodyOptions{})
		alice, bob := login(t, "alice", p.starttls, p.ca), login(t, "bob", p.starttls, p.ca)
		serve := bob.serve("--accept-new", "--stdio", "--once")
		nc := alice.start("nc", bob.jid)
		serve.feed(secret)
		nc.feed(secret)
		nc.exit(exitUnknown)
		if e := nc.happened("new"); e.text("fingerprint") != bob.fingerprint() {
			t.Errorf("the key shown is not bob's: %v", e)
		}
		if e := serve.event("refused"); e.number("code") != exitDeclined {
			t.Errorf("bob: %v", e)
		}
		checkNothing(t, nc, serve)
		if serve.happened("exit") != nil {
			t.Error("serve --once ended although there was no tunnel")
		}
	})
	t.Run("calling", func(t *testing.T) {
		t.Parallel()
		p := startProsody(t, prosodyOptions{})
		alice, bob := login(t, "alice", p.starttls, p.ca), login(t, "bob", p.starttls, p.ca)
		serve := bob.serve("--stdio", "--once")
		nc := alice.start("--accept-new", "nc", bob.jid)
		serve.feed(secret)
		nc.feed(secret)
		nc.exit(exitDeclined)
		if e := serve.event("refused"); e.number("code") != exitUnknown {
			t.Errorf("bob: %v", e)
		}
		checkNothing(t, nc, serve)
	})
}
