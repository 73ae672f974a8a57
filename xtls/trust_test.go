// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// people makes alice and bob, whose configurations may be changed before they log
// in.
func people(t *testing.T, change func(s *xtlstest.Server, alice, bob *xtls.Config)) (alice, bob *xtls.Client) {
	t.Helper()
	s := xtlstest.NewServer(t, xtlstest.Config{Security: securityOf(t)})
	a, b := xtlstest.ClientConfig(t, s, "alice"), xtlstest.ClientConfig(t, s, "bob")
	change(s, a, b)
	return xtlstest.NewClient(t, s, "alice", a), xtlstest.NewClient(t, s, "bob", b)
}

func pin(t *testing.T, store *fingerprint.Store, peer string, key fingerprint.Fingerprint, level fingerprint.Level) {
	t.Helper()
	_, err := store.Pin(fingerprint.Record{
		Peer: jid.MustParse(peer), Key: key, Level: level, Method: fingerprint.MethodFingerprint,
	}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
}

func keyOf(cfg *xtls.Config) fingerprint.Fingerprint {
	return fingerprint.Of(cfg.Certificate.Certificate[0])
}

func refuse(context.Context, *xtls.Verification) (xtls.Level, error) {
	return xtls.LevelNone, xtls.ErrUnverified
}

func TestTrust(t *testing.T) {
	other := fingerprint.Fingerprint{1, 2, 3}
	tests := []struct {
		name         string
		change       func(s *xtlstest.Server, alice, bob *xtls.Config)
		dial, accept error // what errors.Is must find; nil: established
		level        xtls.Level
	}{
		{"first contact, nobody to ask", func(_ *xtlstest.Server, a, _ *xtls.Config) { a.Verify = nil }, xtls.ErrUnverified, xtls.ErrDeclined, 0},
		{"first contact, user says no", func(_ *xtlstest.Server, a, _ *xtls.Config) { a.Verify = refuse }, xtls.ErrUnverified, xtls.ErrDeclined, 0},
		{"responder does not know us", func(_ *xtlstest.Server, _, b *xtls.Config) { b.Verify = nil }, xtls.ErrDeclined, xtls.ErrUnverified, 0},
		{"pinned", func(_ *xtlstest.Server, a, b *xtls.Config) {
			a.Verify = nil
			pin(t, a.Trust, "bob@localhost", keyOf(b), fingerprint.LevelPinned)
		}, nil, nil, xtls.LevelPinned},
		{"verified", func(_ *xtlstest.Server, a, b *xtls.Config) {
			a.Verify, a.MinLevel = nil, xtls.LevelVerified
			pin(t, a.Trust, "bob@localhost", keyOf(b), fingerprint.LevelVerified)
		}, nil, nil, xtls.LevelVerified},
		{"verified on first contact", func(_ *xtlstest.Server, a, _ *xtls.Config) {
			a.Verify = func(context.Context, *xtls.Verification) (xtls.Level, error) { return xtls.LevelVerified, nil }
		}, nil, nil, xtls.LevelVerified},
		{"level too low", func(_ *xtlstest.Server, a, _ *xtls.Config) { a.MinLevel = xtls.LevelPinned }, xtls.ErrUnverified, xtls.ErrDeclined, 0},
		{"a level that nothing supports", func(_ *xtlstest.Server, a, _ *xtls.Config) {
			a.Verify = func(context.Context, *xtls.Verification) (xtls.Level, error) { return xtls.LevelPinned, nil }
		}, xtls.ErrUnverified, xtls.ErrDeclined, 0},
		{"key changed", func(_ *xtlstest.Server, a, _ *xtls.Config) {
			pin(t, a.Trust, "bob@localhost", other, fingerprint.LevelPinned)
		}, &xtls.KeyChangedError{}, errAlarm, 0},
		{"key changed at the responder", func(_ *xtlstest.Server, _, b *xtls.Config) {
			pin(t, b.Trust, "alice@localhost", other, fingerprint.LevelVerified)
		}, errAlarm, &xtls.KeyChangedError{}, 0},
		{"key known under another JID", func(_ *xtlstest.Server, a, b *xtls.Config) {
			pin(t, a.Trust, "carol@localhost", keyOf(b), fingerprint.LevelPinned)
		}, &fingerprint.OtherPeerError{}, errAlarm, 0},
		{"certificate names somebody else", func(s *xtlstest.Server, _, b *xtls.Config) {
			b.Certificate = xtlstest.ClientConfig(t, s, "carol").Certificate
		}, xtls.ErrTampered, errAlarm, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			alice, bob := people(t, tt.change)
			r := try(t, alice, bob)
			if !is(r.dial, tt.dial) {
				t.Errorf("Dial: %v, want %v", r.dial, tt.dial)
			}
			// Where dialling fails early, the other end may not have begun.
			if !is(r.accept, tt.accept) && !errors.Is(r.accept, context.Canceled) {
				t.Errorf("Accept: %v, want %v", r.accept, tt.accept)
			}
			if tt.dial != nil && len(r.gotAToB)+len(r.gotBToA) > 0 {
				t.Error("something was delivered")
			}
			if tt.dial == nil && (r.aToB != nil || r.bToA != nil || len(r.gotAToB) != len(aliceSays)) {
				t.Errorf("the tunnel does not work: %v, %v", r.aToB, r.bToA)
			}
		})
	}
}

// errAlarm is what the end sees whose peer refused it for security: an alert in
// the handshake or the end of the session, whichever comes first.
var errAlarm = errors.New("alarm")

// is is errors.Is, or errors.As for the error types of this test.
func is(err, want error) bool {
	if want == errAlarm {
		return errors.Is(err, xtls.ErrTampered) || errors.Is(err, xtls.ErrPeerAlarm)
	}
	switch want.(type) {
	case *xtls.KeyChangedError:
		_, ok := errors.AsType[*xtls.KeyChangedError](err)
		return ok
	case *fingerprint.OtherPeerError:
		_, ok := errors.AsType[*fingerprint.OtherPeerError](err)
		return ok
	}
	return errors.Is(err, want)
}

func TestSecondContact(t *testing.T) {
	asked := 0
	alice, bob := people(t, func(_ *xtlstest.Server, a, _ *xtls.Config) {
		verify := a.Verify
		a.Verify = func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
			asked++
			return verify(ctx, v)
		}
	})
	for i, want := range []xtls.Level{xtls.LevelServerVouched, xtls.LevelPinned, xtls.LevelPinned} {
		a, b := xtlstest.Tunnel(t, alice, bob)
		if got := a.State().Level; got != want {
			t.Errorf("contact %d: level %s, want %s", i+1, got, want)
		}
		a.Close()
		b.Close()
	}
	if asked != 1 {
		t.Errorf("the user was asked %d times, want once", asked)
	}
}

// TestManInTheMiddle puts a full man in the middle, with two tunnels of his own,
// between two people. On first contact nothing can tell; but once they know each
// other's keys he is found out.
func TestManInTheMiddle(t *testing.T) {
	s := xtlstest.NewServer(t, xtlstest.Config{})
	aCfg, bCfg := xtlstest.ClientConfig(t, s, "alice"), xtlstest.ClientConfig(t, s, "bob")
	alice, bob := xtlstest.NewClient(t, s, "alice", aCfg), xtlstest.NewClient(t, s, "bob", bCfg)
	if r := try(t, alice, bob); r.dial != nil || r.aToB != nil {
		t.Fatalf("first contact: %v, %v", r.dial, r.aToB)
	}
	const password = "mallory's"
	if err := s.AddShadow("m1", password, bob.LocalAddr(), alice.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	mallory := xtlstest.ClientConfig(t, s, "bob") // a certificate in bob's name
	asBob, err := xtls.Connect(t.Context(), jid.MustParse("m1@localhost"), password, mallory)
	if err != nil {
		t.Fatal(err)
	}
	defer asBob.Close()
	l, err := asBob.Listen()
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 1)
	go func() {
		o, err := l.Next(t.Context())
		if err == nil {
			_, err = o.Accept(t.Context())
		}
		accepted <- err
	}()
	_, err = alice.Dial(t.Context(), bob.LocalAddr(), xtls.Tunnel(""))
	changed, ok := errors.AsType[*xtls.KeyChangedError](err)
	if !ok || changed.Got != asBob.Fingerprint() || len(changed.Want) != 1 || changed.Want[0].Key != bob.Fingerprint() {
		t.Errorf("Dial: %v, want a KeyChangedError that names both keys", err)
	}
	if err := <-accepted; err == nil {
		t.Error("the man in the middle got a tunnel")
	}
}
