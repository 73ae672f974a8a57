// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint_test

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"testing"
	"time"

	"example.org/xtls/fingerprint"
	"mellium.im/xmpp/jid"
)

func certified(peer jid.JID, f fingerprint.Fingerprint) fingerprint.Record {
	return fingerprint.Record{Peer: peer, Key: f, Level: fingerprint.LevelCA, Method: fingerprint.MethodCA}
}

// A revoked key is refused by everything that could make it good again, and nothing else is touched.
func TestRevoke(t *testing.T) {
	var revoked *fingerprint.RevokedError
	stores(t, func(t *testing.T, s *fingerprint.Store) {
		r := verified(bob, key1)
		r.Label, r.Attrs = "laptop", []fingerprint.Attr{{Key: "x", Value: "1"}}
		want := pin(t, s, r, noon)
		pin(t, s, verified(bob, key2), noon)
		change(t, s, bob, allFacts)

		want.Level = fingerprint.LevelRevoked
		for range 2 {
			if got, err := s.Revoke(jid.MustParse("bob@example.net/phone"), key1); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("Revoke = %+v, %v, want %+v", got, err, want)
			}
		}
		_, errCheck := s.Check(bob, key1)
		_, errPin := s.Pin(verified(bob, key1), noon)
		_, errTOFU := s.Pin(tofu(bob, key1), noon)
		_, errAnother := s.PinAnother(certified(bob, key1), noon)
		errTouch := s.Touch(bob, key1, noon.AddDate(0, 0, 1))
		for i, err := range []error{errCheck, errPin, errTOFU, errAnother, errTouch} {
			if !errors.As(err, &revoked) || !reflect.DeepEqual(revoked.Record, want) {
				t.Errorf("error %d = %v, want a RevokedError with %+v", i, err, want)
			}
		}
		if got, want := errCheck.Error(), fmt.Sprintf(`fingerprint: "bob@example.net" shows a key that is revoked: %s`, key1); got != want {
			t.Errorf("RevokedError: %s\nwant %s", got, want)
		}
		if p := peerOf(t, s, bob); !reflect.DeepEqual(p, allOf) {
			t.Errorf("facts after the revocation: %+v\nwant %+v", p, allOf)
		}
		if r, err := s.Check(bob, key2); err != nil || r.Level != fingerprint.LevelVerified {
			t.Errorf("Check(the other key) = %+v, %v", r, err)
		}
		var other *fingerprint.OtherPeerError
		if _, err := s.Check(carol, key1); !errors.As(err, &other) {
			t.Errorf("Check(revoked key of another) = %v, want an OtherPeerError", err)
		}
		if rs, err := s.Records(); err != nil || len(rs) != 2 {
			t.Errorf("Records() = %v, %v, want two", rs, err)
		}
	})
}

func TestRevokeRefuses(t *testing.T) {
	var changed *fingerprint.ChangedError
	var other *fingerprint.OtherPeerError
	stores(t, func(t *testing.T, s *fingerprint.Store) {
		if _, err := s.Revoke(bob, key1); !errors.Is(err, fingerprint.ErrUnknown) {
			t.Errorf("Revoke(stranger) = %v, want ErrUnknown", err)
		}
		pin(t, s, tofu(bob, key1), noon)
		if _, err := s.Revoke(bob, key2); !errors.As(err, &changed) {
			t.Errorf("Revoke(unknown key) = %v, want a ChangedError", err)
		}
		if _, err := s.Revoke(carol, key1); !errors.As(err, &other) {
			t.Errorf("Revoke(key of another) = %v, want an OtherPeerError", err)
		}
		if _, err := s.Revoke(jid.JID{}, key1); err == nil {
			t.Error("Revoke(nobody) succeeded")
		}
		r := tofu(bob, key1)
		r.Level = fingerprint.LevelRevoked
		if _, err := s.Pin(r, noon); err == nil {
			t.Error("Pin revoked a key")
		}
		if r, err := s.Check(bob, key1); err != nil || r.Level != fingerprint.LevelPinned {
			t.Errorf("Check = %+v, %v", r, err)
		}
	})
}

// A peer whose only keys are revoked is not a new one: its next key is not taken without asking.
func TestAllKeysRevoked(t *testing.T) {
	var changed *fingerprint.ChangedError
	stores(t, func(t *testing.T, s *fingerprint.Store) {
		pin(t, s, verified(bob, key1), noon)
		if _, err := s.Revoke(bob, key1); err != nil {
			t.Fatal(err)
		}
		_, err := s.Check(bob, key2)
		if !errors.As(err, &changed) || changed.Verified() || len(changed.Want) != 1 {
			t.Fatalf("Check(next key) = %v, want a ChangedError, not verified", err)
		}
		want := fmt.Sprintf(`fingerprint: the key of "bob@example.net" is not a known one; what was known is revoked: was %s, now %s`, key1, key2)
		if err.Error() != want {
			t.Errorf("ChangedError: %v\nwant %s", err, want)
		}
		if _, err := s.Pin(tofu(bob, key2), noon); !errors.As(err, &changed) {
			t.Errorf("Pin(next key) = %v, want a ChangedError", err)
		}
		if _, err := s.PinAnother(tofu(bob, key2), noon); err != nil {
			t.Errorf("PinAnother(next key) = %v", err)
		}
	})
}

// Revoking twice writes once; a line keeps its place and its comment.
func TestRevokedLine(t *testing.T) {
	s, name := openText(t, "# mine\nbob@example.net  "+key1.String()+" verified sas verified=2026-11-19 x # lost\n# end\n")
	if _, err := s.Revoke(bob, key1); err != nil {
		t.Fatal(err)
	}
	want := "# mine\nbob@example.net sha-256:" + key1.String() + " revoked sas verified=2026-11-19 x # lost\n# end\n"
	if got := readFile(t, name); got != want {
		t.Errorf("the file holds %q, want %q", got, want)
	}
	before, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Revoke(bob, key1); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(name); err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was replaced (%v)", err)
	}
}

// Certification stands between what was only seen and what the user has checked.
func TestCertified(t *testing.T) {
	var changed *fingerprint.ChangedError
	next := noon.AddDate(0, 0, 1)
	stores(t, func(t *testing.T, s *fingerprint.Store) {
		pin(t, s, tofu(bob, key1), noon)
		r := pin(t, s, certified(bob, key2), noon) // the authority speaks for it
		if r.Level != fingerprint.LevelCA || !r.Verified.Equal(day0) || !r.First.Equal(day0) {
			t.Errorf("a further key, certified: %+v", r)
		}
		if r = pin(t, s, certified(bob, key1), next); r.Level != fingerprint.LevelCA || r.Method != fingerprint.MethodCA || !r.Verified.Equal(day0.AddDate(0, 0, 1)) {
			t.Errorf("a pinned key, certified: %+v", r)
		}
		if r = pin(t, s, tofu(bob, key1), next); r.Level != fingerprint.LevelCA {
			t.Errorf("a certified key, pinned: %+v", r)
		}
		_, err := s.Check(bob, key3)
		want := fmt.Sprintf(`fingerprint: the key of "bob@example.net" is not the one that was certified on 2026-11-21: was %s (or one of 1 more), now %s`, key1, key3)
		if !errors.As(err, &changed) || !changed.Verified() || err.Error() != want {
			t.Errorf("Check(key that nobody speaks for) = %v\nwant %s", err, want)
		}
		if _, err := s.PinAnother(tofu(bob, key3), noon); !errors.As(err, &changed) {
			t.Errorf("PinAnother(unchecked key, others certified) = %v, want a ChangedError", err)
		}
		if r = pin(t, s, verified(bob, key1), next); r.Level != fingerprint.LevelVerified || r.Method != fingerprint.MethodSAS {
			t.Errorf("a certified key, verified: %+v", r)
		}
		if r = pin(t, s, certified(bob, key1), next.AddDate(0, 0, 1)); r.Level != fingerprint.LevelVerified || r.Method != fingerprint.MethodSAS || !r.Verified.Equal(day0.AddDate(0, 0, 1)) {
			t.Errorf("a verified key, certified: %+v", r)
		}
		// The authority does not overrule the user.
		if _, err := s.Pin(certified(bob, key3), noon); !errors.As(err, &changed) || !changed.Verified() {
			t.Errorf("Pin(certified key, one verified) = %v, want a ChangedError", err)
		}
		bad := certified(carol, fingerprint.Of([]byte("carol")))
		bad.Method = fingerprint.MethodSAS
		if _, err := s.Pin(bad, time.Now()); err == nil {
			t.Error("a key certified by a comparison was pinned")
		}
	})
}
