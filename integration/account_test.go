// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A user is somebody with an account and a --config directory of their own.
type user struct {
	t   testing.TB
	jid string // bare
	dir string
}

// login makes a user of an account: the way to the server is stored by xtls-demo
// login. server is HOST:PORT or xmpps://HOST:PORT.
func login(t testing.TB, name, server, ca string) *user {
	t.Helper()
	u := newUser(t, name)
	p := startProgram(t, name+" login", "--config", u.dir, "--server", server, "--server-ca", ca,
		"--password-file", u.password(passwordOf(name)), "login", u.jid)
	p.exit(exitDone)
	if t.Failed() {
		t.FailNow()
	}
	return u
}

// newUser is a user whose account is not stored.
func newUser(t testing.TB, name string) *user {
	t.Helper()
	return &user{t: t, jid: name + "@" + domain, dir: t.TempDir()}
}

// in is the user in a subtest.
func (u *user) in(t testing.TB) *user {
	return &user{t: t, jid: u.jid, dir: u.dir}
}

// password writes a password file.
func (u *user) password(text string) string {
	u.t.Helper()
	file := filepath.Join(u.dir, "password")
	if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
		u.t.Fatal(err)
	}
	return file
}

// start starts xtls-demo with the files of the user, for tunnels in-band unless args say
// otherwise: what a server does to a tunnel is what most tests are about.
func (u *user) start(args ...string) *program {
	u.t.Helper()
	if !slices.Contains(args, "--path") {
		args = append([]string{"--path", "inband"}, args...)
	}
	return startProgram(u.t, u.jid, append([]string{"--config", u.dir}, args...)...)
}

// serve starts xtls-demo serve and waits until it is online.
func (u *user) serve(args ...string) *program {
	u.t.Helper()
	p := u.start(append([]string{"serve"}, args...)...)
	p.event("ready")
	return p
}

// fingerprint returns what xtls-demo id says.
func (u *user) fingerprint() string {
	u.t.Helper()
	p := u.start("id")
	p.exit(exitDone)
	e := p.happened("id")
	if len(e.text("fingerprint")) != 64 {
		u.t.Fatalf("xtls-demo id: %v", e)
	}
	return e.text("fingerprint")
}

// pin stores a fingerprint as that of a peer.
func (u *user) pin(jid, fingerprint string) {
	u.t.Helper()
	u.start("peers", "pin", jid, fingerprint).exit(exitDone)
}

// couple is alice and bob, who have compared their fingerprints, on one server.
func couple(t testing.TB, server, ca string) (alice, bob *user) {
	t.Helper()
	alice, bob = login(t, "alice", server, ca), login(t, "bob", server, ca)
	alice.pin(bob.jid, bob.fingerprint())
	bob.pin(alice.jid, alice.fingerprint())
	return alice, bob
}

// prosodyCouple is a couple on a Prosody of their own.
func prosodyCouple(t testing.TB, opts prosodyOptions) (p *server, alice, bob *user) {
	t.Helper()
	p = startProsody(t, opts)
	alice, bob = couple(t, p.starttls, p.ca)
	return p, alice, bob
}
