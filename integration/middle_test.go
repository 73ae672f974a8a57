// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// TestManInTheMiddle: the server puts clients of its own between two people, with
// certificates in their names, so that fingerprints and certificates agree on each
// side. Whoever knows the other's key raises the alarm. Who does not know it cannot
// notice without comparing: level vouched says so.
//
// Prosody stays out of it: the embedded server can do what no module is needed for.
func TestManInTheMiddle(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name                 string
		aliceKnows, bobKnows bool
		alice, bob           int // exit codes
	}{
		{"both know each other", true, true, exitAlarm, exitAlarm},
		{"the caller knows", true, false, exitAlarm, anyExit},
		{"the one called knows", false, true, anyExit, exitAlarm},
		{"strangers", false, false, exitDone, exitDone},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, ca := embeddedServer(t)
			alice, bob := login(t, "alice", s.Addr(), ca), login(t, "bob", s.Addr(), ca)
			if tc.aliceKnows {
				alice.pin(bob.jid, bob.fingerprint())
			}
			if tc.bobKnows {
				bob.pin(alice.jid, alice.fingerprint())
			}
			serve := bob.serve("--accept-new", "--stdio", "--once")
			target := jid.MustParse(serve.event("ready").text("jid"))
			caller := jid.MustParse(alice.jid + "/desk")
			m := putBetween(t, s, caller, target)
			nc := alice.start("--jid", caller.String(), "--accept-new", "nc", target.String())
			secret := []byte("between the two of us")
			serve.feed(secret)
			nc.feed(secret)
			nc.exit(tc.alice)
			serve.exit(tc.bob)
			if !m.offered() {
				t.Error("nobody was in the middle")
			}
			want := []byte(nil)
			if !tc.aliceKnows && !tc.bobKnows {
				want = secret
			}
			nc.received(want)
			serve.received(want)
			for p, knows := range map[*program]bool{nc: tc.aliceKnows, serve: tc.bobKnows} {
				e := p.happened("tunnel")
				if knows != (e == nil) || e != nil && e.text("level") != "vouched" {
					t.Errorf("%s: %v", p.name, e)
				}
			}
		})
	}
}

// embeddedServer starts the server of xtlstest with the accounts alice and bob, and
// writes its authority into a file.
func embeddedServer(t testing.TB) (s *xtlstest.Server, ca string) {
	t.Helper()
	s = xtlstest.NewServer(t, xtlstest.Config{Accounts: map[string]string{"alice": passwordOf("alice"), "bob": passwordOf("bob")}})
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, s.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return s, ca
}

// A middle is somebody between two others.
type middle struct {
	mu    sync.Mutex
	calls int
}

// offered says whether somebody has called.
func (m *middle) offered() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls > 0
}

// putBetween puts two clients between caller and target: one that is target for
// caller, and one that is caller for target. What one of them gets, the other one
// sends on.
func putBetween(t testing.TB, s *xtlstest.Server, caller, target jid.JID) *middle {
	t.Helper()
	asTarget := shadow(t, s, "mallory", target, caller)
	asCaller := shadow(t, s, "trudy", caller, target)
	l, err := asTarget.Listen()
	if err != nil {
		t.Fatal(err)
	}
	m := &middle{}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	var relaying sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		relaying.Wait()
		_ = l.Close()
	})
	relaying.Go(func() {
		for {
			o, err := l.Next(ctx)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.calls++
			m.mu.Unlock()
			relaying.Go(func() { relay(ctx, o, asCaller, target) })
		}
	})
	return m
}

// shadow logs in somebody who is as for toward, with a certificate in that name.
func shadow(t testing.TB, s *xtlstest.Server, name string, as, toward jid.JID) *xtls.Client {
	t.Helper()
	if err := s.AddShadow(name, passwordOf(name), as, toward); err != nil {
		t.Fatal(err)
	}
	id, err := fingerprint.NewIdentity(as.Bare())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := xtls.Connect(ctx, jid.MustParse(name+"@"+domain), passwordOf(name), &xtls.Config{
		Certificate: id,
		Trust:       fingerprint.NewMemory(),
		Verify: func(context.Context, *xtls.Verification) (xtls.Level, error) {
			return xtls.LevelServerVouched, nil
		},
		Server:    s.Addr(),
		ServerTLS: &tls.Config{RootCAs: s.CA()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// relay accepts what the caller offers and offers the same to target, side by side.
// If both are taken in, it sends on what comes, both ways.
func relay(ctx context.Context, o *xtls.Offer, asCaller *xtls.Client, target jid.JID) {
	var ends [2]*xtls.Conn
	var errs [2]error
	var establishing sync.WaitGroup
	establishing.Go(func() { ends[0], errs[0] = o.Accept(ctx) })
	establishing.Go(func() { ends[1], errs[1] = asCaller.Dial(ctx, target, o.App) })
	establishing.Wait()
	closeBoth := func() {
		for _, end := range ends {
			if end != nil {
				_ = end.Close()
			}
		}
	}
	defer closeBoth()
	if errors.Join(errs[:]...) != nil {
		return
	}
	defer context.AfterFunc(ctx, closeBoth)()
	var copying sync.WaitGroup
	copying.Go(func() { pipe(ends[0], ends[1]) })
	copying.Go(func() { pipe(ends[1], ends[0]) })
	copying.Wait()
}

// pipe sends on what comes, and its end.
func pipe(from, to *xtls.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.CloseWrite()
}
