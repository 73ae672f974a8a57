// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"bytes"
	"strings"
	"testing"
)

// TestOffline: a peer that is not there.
func TestOffline(t *testing.T) {
	t.Parallel()
	p, alice, bob := prosodyCouple(t, prosodyOptions{})
	for _, tc := range []struct{ name, peer string }{
		{"account", bob.jid},
		{"device", bob.jid + "/gone"},
		{"no such account", "nobody@" + domain},
	} {
		t.Run(tc.name, func(t *testing.T) {
			alice := alice.in(t)
			alice.start("nc", tc.peer).exit(exitOffline)
		})
	}
	t.Run("online without XTLS", func(t *testing.T) {
		alice := alice.in(t)
		// A client that dials takes no offers itself.
		client := connect(t, p, "carol")
		nc := alice.start("nc", client.LocalAddr().String())
		nc.exit(exitOffline)
		if nc.happened("tunnel") != nil {
			t.Error("there was a tunnel")
		}
	})
}

// TestDeclined: a peer that says no.
func TestDeclined(t *testing.T) {
	t.Parallel()
	_, alice, bob := prosodyCouple(t, prosodyOptions{})
	for _, tc := range []struct {
		name    string
		serve   []string
		service []string
	}{
		{"not among those allowed", []string{"--stdio", "--allow", "carol@" + domain}, nil},
		{"no such service", []string{"--stdio"}, []string{"web"}},
		{"nothing served", nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			alice, bob := alice.in(t), bob.in(t)
			serve := bob.serve(tc.serve...)
			nc := alice.start(append([]string{"nc", bob.jid}, tc.service...)...)
			nc.feed([]byte("may I?"))
			nc.exit(exitDeclined)
			if e := serve.event("refused"); e.number("code") != exitDeclined {
				t.Errorf("bob: %v", e)
			}
			checkNothing(t, nc, serve)
			serve.kill()
		})
	}
}

// TestOwnServer: all that can be wrong with the own server, and that the password
// is not told to a server that is not the right one.
func TestOwnServer(t *testing.T) {
	t.Parallel()
	p := startProsody(t, prosodyOptions{})
	other := makeCertificate(t, t.TempDir(), domain)
	dead := freePorts(t, 1)
	for _, tc := range []struct {
		name               string
		user, password, ca string
		server             string
		want               string // in the reason
		authenticated      bool   // the certificate was accepted
	}{
		{"wrong password", "alice", "guess", p.ca, p.starttls, "the server refused the login", true},
		{"wrong password over direct TLS", "alice", "guess", p.ca, "xmpps://" + p.direct, "the server refused the login", true},
		{"no such account", "nobody", "guess", p.ca, p.starttls, "the server refused the login", true},
		{"wrong certificate", "alice", passwordOf("alice"), other, p.starttls, "unknown authority", false},
		{"wrong certificate over direct TLS", "alice", passwordOf("alice"), other, "xmpps://" + p.direct, "unknown authority", false},
		{"authorities of the system", "alice", passwordOf("alice"), "", p.starttls, "unknown authority", false},
		{"TLS where STARTTLS is spoken", "alice", passwordOf("alice"), p.ca, "xmpps://" + p.starttls, "", false},
		{"nobody there", "alice", passwordOf("alice"), p.ca, local(dead[0]), "refused", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := newUser(t, tc.user)
			args := []string{"--jid", u.jid, "--server", tc.server, "--password-file", u.password(tc.password)}
			if tc.ca != "" {
				args = append(args, "--server-ca", tc.ca)
			}
			for _, verb := range [][]string{{"login", u.jid}, {"nc", "bob@" + domain}, {"serve"}} {
				why := u.start(append(args, verb...)...).exit(exitServer)
				if !strings.Contains(why, tc.want) {
					t.Errorf("%s: %q, want %q in it", verb, why, tc.want)
				}
			}
		})
	}
	if bytes.Contains(p.stdout.bytes(), []byte("Authenticated as")) {
		t.Error("somebody was let in")
	}
	t.Run("a certificate for another name", func(t *testing.T) {
		alias := startProsody(t, prosodyOptions{certificate: "elsewhere.example"})
		u := newUser(t, "alice")
		why := u.start("--server", alias.starttls, "--server-ca", alias.ca, "--password-file", u.password(passwordOf("alice")), "login", u.jid).exit(exitServer)
		if !strings.Contains(why, "elsewhere.example") {
			t.Error(why)
		}
	})
}

// TestKilledPeer: a peer that vanishes without a word is noticed soon, whatever was
// going on.
func TestKilledPeer(t *testing.T) {
	t.Parallel()
	much := randomBytes(64 << 20)
	for _, tc := range []struct {
		name        string
		killDialled bool
		hers, his   []byte // what alice and bob go on to send
	}{
		{name: "the other end sends", hers: much},
		{name: "the other end receives", his: much},
		{name: "both send", hers: much, his: much},
		{name: "nobody sends"},
		{name: "the one that dialled, the other end sends", killDialled: true, his: much},
		{name: "the one that dialled, nobody sends", killDialled: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, alice, bob := prosodyCouple(t, prosodyOptions{})
			serve := bob.serve("--stdio", "--once")
			nc := alice.start("nc", bob.jid)
			nc.event("tunnel")
			serve.event("tunnel")
			victim, survivor, toSurvivor, toVictim := serve, nc, tc.his, tc.hers
			if tc.killDialled {
				victim, survivor, toSurvivor, toVictim = nc, serve, tc.hers, tc.his
			}
			flows := func(from, to *program, data []byte) {
				if data == nil {
					return
				}
				from.feed(data)
				to.await(t, "first data", to.stdout, patience, func(text []byte, _ bool) bool { return len(text) > 0 })
			}
			flows(victim, survivor, toSurvivor)
			flows(survivor, victim, toVictim)
			victim.kill()
			survivor.exitWithin(lossTime, exitLost)
			survivor.receivedStart(toSurvivor)
			if survivor.happened("closed").number("code") != exitLost {
				t.Errorf("%v", survivor.happened("closed"))
			}
		})
	}
}

// TestServerGone: when the server dies in the middle, both ends say so.
func TestServerGone(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		data []byte
	}{
		{"in the middle of a transfer", randomBytes(64 << 20)},
		{"while nothing is sent", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p, alice, bob := prosodyCouple(t, prosodyOptions{})
			serve := bob.serve("--stdio", "--once")
			nc := alice.start("nc", bob.jid)
			nc.event("tunnel")
			serve.event("tunnel")
			if tc.data != nil {
				nc.feed(tc.data)
				serve.await(t, "first data", serve.stdout, patience, func(text []byte, _ bool) bool { return len(text) > 0 })
			}
			p.kill()
			nc.exitWithin(lossTime, exitLost)
			serve.exitWithin(lossTime, exitLost)
			serve.receivedStart(tc.data)
		})
	}
	t.Run("while waiting for peers", func(t *testing.T) {
		t.Parallel()
		p, _, bob := prosodyCouple(t, prosodyOptions{})
		serve := bob.serve("--service", "web=127.0.0.1:1")
		p.kill()
		serve.exitWithin(lossTime, exitLost)
	})
}
