// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"bytes"
	"fmt"
	"testing"
)

// goesOn instead of an exit code: what arrives looks like an offer of somebody who
// has never heard of XTLS. Bob refuses it and waits for others, unless Alice is
// faster to say that something is wrong.
const goesOn = -2

// A lie is something that a dishonest Prosody does, and what must become of it.
type lie struct {
	name     string
	settings []string // of mod_xtls_tamper
	did      string   // what the module says it did
	alice    int      // exit codes
	bob      int
	refused  bool // before there was a tunnel

	strangers bool // the two have not compared their keys
	before    bool // but had a tunnel, which the server left alone
}

// tamper is the setting for a mode of mod_xtls_tamper.
func tamper(mode string) string { return fmt.Sprintf("xtls_tamper = %q", mode) }

// only restricts the tampering with the negotiation to one action.
func only(action string) string { return fmt.Sprintf("xtls_tamper_actions = { %q }", action) }

// block says which block it is about. The handshake takes three: one of the dialling
// end, one or two of the other.
func block(n int) string { return fmt.Sprintf("xtls_tamper_block = %d", n) }

// TestDishonestProsody: whatever the server does to the stanzas, the tunnel is refused
// or ends with the right error, and nothing is delivered that was not sent.
func TestDishonestProsody(t *testing.T) {
	t.Parallel()
	offer, answer := "session-initiate", "session-accept"
	for _, l := range []lie{
		{"strip security", []string{tamper("strip-security")}, "strip-security in " + offer, exitAlarm, goesOn, true, false, false},
		{"strip security from the answer", []string{tamper("strip-security"), only(answer)}, "strip-security in " + answer, exitAlarm, exitAlarm, true, false, false},
		{"swap fingerprints", []string{tamper("swap-fingerprint")}, "swap-fingerprint in " + answer, exitAlarm, exitAlarm, true, false, false},
		{"swap the fingerprint of the caller", []string{tamper("swap-fingerprint"), only(offer)}, "swap-fingerprint in " + offer, exitAlarm, exitAlarm, true, false, false},
		{"swap the fingerprint of the one called", []string{tamper("swap-fingerprint"), only(answer)}, "swap-fingerprint in " + answer, exitAlarm, exitAlarm, true, false, false},
		{"redirect to another service", []string{tamper("redirect"), only(offer)}, "redirect in " + offer, exitAlarm, exitAlarm, true, false, false},
		{"redirect and hide it", []string{tamper("redirect")}, "redirect in " + offer, exitAlarm, exitAlarm, true, false, false},
		{"strip the binding from the answer", []string{tamper("strip-binding"), only(answer)}, "strip-binding in " + answer, exitAlarm, exitAlarm, true, false, false},
		{"strip the binding between strangers", []string{tamper("strip-binding")}, "strip-binding in " + offer, exitAlarm, goesOn, true, true, false},
		{"strip the binding after a first tunnel", []string{tamper("strip-binding"), "xtls_tamper_after = 1"}, "strip-binding in " + offer, exitAlarm, exitAlarm, true, true, true},
		{"strip the binding and redirect", []string{tamper("downgrade")}, "downgrade in " + offer, exitAlarm, exitAlarm, true, false, false},
		{"strip the binding", []string{tamper("strip-binding")}, "strip-binding in " + offer, exitAlarm, exitAlarm, true, false, false},
		{"alter the handshake", []string{tamper("flip"), block(1)}, "octet altered", exitAlarm, exitAlarm, true, false, false},
		{"alter data", []string{tamper("flip")}, "octet altered", exitAlarm, exitAlarm, false, false, false},
		{"replay", []string{tamper("replay")}, "block repeated", exitLost, exitLost, false, false, false},
		{"drop", []string{tamper("drop")}, "block dropped", exitLost, exitLost, false, false, false},
		{"reorder", []string{tamper("reorder")}, "blocks exchanged", exitLost, exitLost, false, false, false},
		{"truncate", []string{tamper("truncate")}, "end forged", exitLost, exitLost, false, false, false},
	} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			l.try(t)
		})
	}
}

// try has alice and bob, who know each other or would take each other's key, send
// much both ways.
func (l lie) try(t *testing.T) {
	p := startProsody(t, prosodyOptions{module: "xtls_tamper", settings: l.settings})
	var alice, bob *user
	var flags []string
	if l.strangers {
		alice, bob = login(t, "alice", p.starttls, p.ca), login(t, "bob", p.starttls, p.ca)
		flags = []string{"--accept-new"}
	} else {
		alice, bob = couple(t, p.starttls, p.ca)
	}
	if l.before {
		l.meet(alice, bob, flags)
	}
	hers, his := randomBytes(400_000), randomBytes(400_000)
	target := startEcho(t)
	serve := bob.serve(append(flags, "--stdio", "--once", "--service", "other="+target)...)
	nc := alice.start(append(flags, "nc", bob.jid)...)
	serve.feed(his)
	nc.feed(hers)
	nc.exitWithin(lossTime, l.alice)
	if l.bob != goesOn {
		serve.exitWithin(lossTime, l.bob)
	} else if e := serve.happened("exit"); e != nil && e.number("code") != exitAlarm {
		t.Errorf("serve ended: %v", e)
	}
	if !bytes.Contains(p.stdout.bytes(), []byte("tampered: "+l.did)) {
		t.Errorf("the server was honest; want: %s", l.did)
	}
	nc.receivedStart(his)
	serve.receivedStart(hers)
	if l.refused {
		checkNothing(t, nc, serve)
		return
	}
	for _, end := range []*program{nc, serve} {
		if end.happened("tunnel") == nil {
			t.Errorf("%s had no tunnel", end.name)
		}
	}
	if len(nc.stdout.bytes()) == len(his) && len(serve.stdout.bytes()) == len(hers) {
		t.Error("everything arrived, so nothing was tampered with")
	}
}

// meet has the two open a tunnel, and remember each other.
func (l lie) meet(alice, bob *user, flags []string) {
	serve := bob.serve(append(flags, "--stdio", "--once")...)
	nc := alice.start(append(flags, "nc", bob.jid)...)
	serve.feed(nil)
	nc.feed([]byte("it is me"))
	nc.exit(exitDone)
	serve.exit(exitDone)
	serve.received([]byte("it is me"))
}
