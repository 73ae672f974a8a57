// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"strings"
	"testing"
)

// TestVerify: two people who have never met compare codes, or use a
// password or a one-time code, once. Later nobody is asked, whatever level is demanded.
func TestVerify(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, method string
		answer       func(mine, theirs *program) string // what the user types
		exit         int
	}{
		{"codes", "sas", func(_, theirs *program) string { return theirs.event("sas").text("b32") }, exitDone},
		{"decimal codes", "sas", func(_, theirs *program) string { return theirs.event("sas").text("decimal") }, exitDone},
		{"codes that differ", "sas", func(mine, _ *program) string { mine.event("sas"); return "yyyyyy" }, exitAlarm},
		{"password", "password", func(*program, *program) string { return "correct horse" }, exitDone},
		{"one-time code", "code", func(mine, theirs *program) string {
			if strings.HasPrefix(mine.name, "alice") {
				return "" // she shows it
			}
			return theirs.event("code").text("display")
		}, exitDone},
		{"passwords that differ", "password", func(mine, _ *program) string { return "horse of " + mine.name }, exitAlarm},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := startProsody(t, prosodyOptions{})
			alice, bob := login(t, "alice", p.starttls, p.ca), login(t, "bob", p.starttls, p.ca)
			serve := bob.serve("--method", tc.method, "--yes-code-from-stdin", "--once")
			verify := alice.start("verify", bob.jid, "--method", tc.method, "--yes-code-from-stdin")
			verify.say([]byte(tc.answer(verify, serve) + "\n"))
			serve.say([]byte(tc.answer(serve, verify) + "\n"))
			verify.exit(tc.exit)
			if tc.exit != exitDone {
				serve.exit(tc.exit)
				checkNothing(t, verify, serve)
				return
			}
			for _, p := range []*program{verify, serve} {
				if e := p.event("verified"); e.text("method") != tc.method {
					t.Errorf("%s: %v", p.name, e)
				}
			}
			serve.kill()

			serve = bob.serve("--min-level", "verified", "--stdio", "--once")
			nc := alice.start("--min-level", "verified", "nc", bob.jid)
			serve.feed(nil)
			nc.feed([]byte("it is me"))
			nc.exit(exitDone)
			serve.exit(exitDone)
			serve.received([]byte("it is me"))
			if e := nc.happened("tunnel"); e.text("level") != "verified" || e.text("method") != tc.method {
				t.Errorf("later: %v", e)
			}
		})
	}
}
