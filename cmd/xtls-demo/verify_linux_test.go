// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.org/xtls/fingerprint"
)

// press types a line.
func (s *seat) press(line string) { _, _ = io.WriteString(s.keys, line+"\n") }

var shownCode = regexp.MustCompile(`Your code:  ([a-z0-9]{3}-[a-z0-9]{3})`)

// codeOnScreen waits for the code, which is what its user reads out.
func (s *seat) codeOnScreen(t *testing.T) string {
	t.Helper()
	s.mustAwait(t, shownCode.String()+`(?s:.*)Type the code that THEY read out`)
	return shownCode.FindStringSubmatch(s.String())[1]
}

// twoSeats starts serve and another command, each at a terminal of its own.
func twoSeats(t *testing.T, dir string, config func(string) string, args ...string) (alice, bob *seat, caller, serve *exec.Cmd) {
	t.Helper()
	bob, alice = newSeat(t), newSeat(t)
	serve = bob.command(t, dir, "serve", "--once", config("bob"))
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	bob.mustAwait(t, "serving nothing but ping, bench and verify")
	caller = alice.command(t, dir, append(args, config("alice"))...)
	if err := caller.Start(); err != nil {
		t.Fatal(err)
	}
	return alice, bob, caller, serve
}

// Two people at two terminals: one mistypes twice, then both are verified.
func TestCompareOnTerminal(t *testing.T) {
	dir, config := scene(t)
	alice, bob, verify, serve := twoSeats(t, dir, config, "verify", "bob@localhost")
	alice.mustAwait(t, `(?s)key is NEW.*"password".*Anything else stops: `)
	if strings.Contains(alice.String(), `"pin"`) {
		t.Errorf("who wants to verify is offered not to:\n%s", alice)
	}
	alice.press("")
	bob.mustAwait(t, `(?s)A tunnel is wanted by alice@localhost/.*They have chosen to compare codes.*stops: `)
	bob.press("compare")
	heard := bob.codeOnScreen(t)
	if own := alice.codeOnScreen(t); own != heard {
		t.Fatalf("codes %q and %q", own, heard)
	}
	alice.press("yyy-yyy")
	alice.mustAwait(t, "not your code.* after 2 more it is a mismatch")
	alice.press("not a code")
	alice.mustAwait(t, "after 1 more it is a mismatch")
	alice.press(strings.ToUpper(strings.ReplaceAll(heard, "-", " ")))
	alice.mustAwait(t, "Right. Waiting until the user of bob@localhost has typed yours")
	bob.press(heard)
	bob.mustAwait(t, `alice@localhost is now VERIFIED \(sas, 20..-..-..\). Stored in known_peers.`)
	if code := codeOf(verify.Wait()); code != exitOK {
		t.Errorf("exit code %d\n%s", code, alice)
	}
	alice.mustAwait(t, `bob@localhost is now VERIFIED \(sas, 20..-..-..\). Stored in known_peers.`)
	_ = serve.Process.Kill()
	_ = serve.Wait()
}

// The third typo is a mismatch, for both.
func TestTyposOnTerminal(t *testing.T) {
	dir, config := scene(t)
	alice, bob, ping, serve := twoSeats(t, dir, config, "ping", "bob@localhost", "-c=1")
	alice.mustAwait(t, `Anything else stops: `)
	alice.press("compare")
	bob.mustAwait(t, `(?s)They have chosen to compare codes.*stops: `)
	bob.press("")
	alice.codeOnScreen(t)
	bob.codeOnScreen(t)
	for _, await := range []string{"after 2 more", "after 1 more", "STOP. Verifying bob@localhost ended in a MISMATCH"} {
		alice.press("yyyyyy")
		alice.mustAwait(t, await)
	}
	bob.mustAwait(t, "STOP. Verifying alice@localhost ended in a MISMATCH") // its question is gone
	if a, b := codeOf(ping.Wait()), codeOf(serve.Wait()); a != exitAlarm || b != exitAlarm {
		t.Errorf("exit codes %d and %d\n%s\n%s", a, b, alice, bob)
	}
}

// A password that is typed is not shown.
func TestPasswordOfTwoOnTerminal(t *testing.T) {
	dir, config := scene(t)
	alice, bob, verify, serve := twoSeats(t, dir, config, "verify", "bob@localhost", "--method", "password")
	const password = "correct horse"
	alice.mustAwait(t, `The password that you and bob@localhost have agreed on \(not shown\): `)
	_, _ = io.WriteString(alice.keys, password+"\r")
	alice.mustAwait(t, "Waiting until the user of bob@localhost chooses the password")
	bob.mustAwait(t, `(?s)They have chosen the password.*stops: `) // what is typed before that is dropped
	bob.press("password")
	bob.mustAwait(t, `agreed on \(not shown\): `)
	_, _ = io.WriteString(bob.keys, password+"\r")
	bob.mustAwait(t, `is now VERIFIED \(password, `)
	if code := codeOf(verify.Wait()); code != exitOK {
		t.Errorf("exit code %d\n%s", code, alice)
	}
	if strings.Contains(alice.String()+bob.String(), password) {
		t.Errorf("the password was shown:\n%s\n%s", alice, bob)
	}
	_ = serve.Process.Kill()
	_ = serve.Wait()
}

var shownOnce = regexp.MustCompile(`One-time code:  ([a-z0-9]{3}-[a-z0-9]{3})`)

// One shows a code; the question of the other is replaced by what is wanted, while
// it is asked, and Enter joins in.
func TestCodeOnTerminal(t *testing.T) {
	dir, config := scene(t)
	alice, bob, verify, serve := twoSeats(t, dir, config, "verify", "bob@localhost")
	bob.mustAwait(t, `(?s)Enter              compare six characters \(default\).*stops: `)
	alice.mustAwait(t, `Anything else stops: `)
	alice.press("code")
	alice.mustAwait(t, `Enter shows a one-time code`)
	alice.press("")
	alice.mustAwait(t, shownOnce.String())
	bob.mustAwait(t, `(?s)They have chosen a one-time code, which they see and you type.*Enter              one sees a one-time code, the other types it \(default\).*stops: `)
	bob.press("")
	bob.mustAwait(t, `The one-time code that the user of alice@localhost reads out`)
	bob.press("not a code")
	bob.mustAwait(t, `That is no code`)
	bob.press(strings.ToUpper(shownOnce.FindStringSubmatch(alice.String())[1]))
	bob.mustAwait(t, `alice@localhost is now VERIFIED \(code, 20..-..-..\). Stored in known_peers.`)
	if code := codeOf(verify.Wait()); code != exitOK {
		t.Errorf("exit code %d\n%s", code, alice)
	}
	_ = serve.Process.Kill()
	_ = serve.Wait()
}

// One who pins leaves the other one who wanted to compare with a choice, and no
// answer at all stops.
func TestPinBesideCompare(t *testing.T) {
	for _, tt := range []struct {
		answer string
		alice  int
	}{{"pin", exitOK}, {"", exitUnknown}} {
		dir, config := scene(t)
		alice, bob, ping, serve := twoSeats(t, dir, config, "ping", "bob@localhost", "-c=1")
		alice.mustAwait(t, `Type "pin" to remember this key`)
		alice.press("compare")
		bob.mustAwait(t, `Type "pin" to remember this key`)
		bob.press("pin")
		alice.mustAwait(t, `(?s)does not compare: gave up, or knows.*Type "pin" to remember its key`)
		alice.press(tt.answer)
		if code := codeOf(ping.Wait()); code != tt.alice {
			t.Errorf("%q: exit code %d, want %d\n%s", tt.answer, code, tt.alice, alice)
		}
		_ = serve.Process.Kill()
		_ = serve.Wait()
	}
}

// A new key of a peer that was only seen before is taken for that of another
// device if, and only if, somebody says so in full.
func TestAnotherDevice(t *testing.T) {
	program, err := exec.LookPath("xtls-demo")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, known, answer string
		want                int
	}{
		{"another device", "pinned tofu", "another device", exitOK},
		{"pin", "pinned tofu", "pin", exitAlarm},
		{"stop", "pinned tofu", "stop", exitAlarm},
		{"verified", "verified sas verified=2026-01-01", "", exitAlarm},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, config := scene(t)
			old := fingerprint.Fingerprint{0x11}
			writeFile(t, filepath.Join(dir, "alice"), "known_peers", []byte(
				"bob@localhost sha-256:"+old.String()+" "+tt.known+" first=2026-01-01 last=2026-01-01\n"))
			serve := exec.Command(program, "serve", "--accept-new", config("bob"))
			ready := newWatched()
			serve.Stdout = ready
			if err := serve.Start(); err != nil {
				t.Fatal(err)
			}
			if !ready.await("ready ") {
				t.Fatal("serve did not start")
			}
			alice := newSeat(t)
			ping := alice.command(t, dir, "ping", "bob@localhost", "-c=1", config("alice"))
			if err := ping.Start(); err != nil {
				t.Fatal(err)
			}
			if tt.answer != "" {
				alice.mustAwait(t, `(?s)WARNING: .*`+old.Grouped()+`  since 2026-01-01, never checked.*Type "another device".*stops: `)
				alice.press(tt.answer)
			}
			if code := codeOf(ping.Wait()); code != tt.want {
				t.Errorf("exit code %d, want %d\n%s", code, tt.want, alice)
			}
			_ = serve.Process.Kill()
			_ = serve.Wait()
		})
	}
}
