// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.org/xtls/fingerprint"
	"mellium.im/xmpp/jid"
)

var (
	key1 = fingerprint.Of([]byte("one"))
	key2 = fingerprint.Of([]byte("two"))
	key3 = fingerprint.Of([]byte("three"))

	day0 = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	noon = day0.Add(12 * time.Hour)
)

func tofu(peer jid.JID, f fingerprint.Fingerprint) fingerprint.Record {
	return fingerprint.Record{Peer: peer, Key: f, Level: fingerprint.LevelPinned, Method: fingerprint.MethodTOFU}
}

func verified(peer jid.JID, f fingerprint.Fingerprint) fingerprint.Record {
	return fingerprint.Record{Peer: peer, Key: f, Level: fingerprint.LevelVerified, Method: fingerprint.MethodSAS}
}

func pin(t testing.TB, s *fingerprint.Store, r fingerprint.Record, now time.Time) fingerprint.Record {
	t.Helper()
	got, err := s.Pin(r, now)
	if err != nil {
		t.Fatalf("Pin(%v): %v", r, err)
	}
	return got
}

// stores runs test on a store in a file and on one in memory.
func stores(t *testing.T, test func(t *testing.T, s *fingerprint.Store)) {
	t.Run("file", func(t *testing.T) {
		s, err := fingerprint.Open(filepath.Join(t.TempDir(), "new", "known_peers"))
		if err != nil {
			t.Fatal(err)
		}
		test(t, s)
	})
	t.Run("memory", func(t *testing.T) { test(t, fingerprint.NewMemory()) })
}

func TestCheck(t *testing.T) {
	stores(t, func(t *testing.T, s *fingerprint.Store) {
		if _, err := s.Check(bob, key1); !errors.Is(err, fingerprint.ErrUnknown) {
			t.Fatalf("empty store: Check = %v, want ErrUnknown", err)
		}
		pin(t, s, tofu(bob, key1), noon)
		pin(t, s, verified(bob, key2), noon)

		for _, peer := range []string{"bob@example.net", "bob@example.net/phone", "BOB@Example.NET", "bob@example.net.", "bob@example.net..", "bob@example.net.../phone"} {
			r, err := s.Check(jid.MustParse(peer), key1)
			want := fingerprint.Record{
				Peer: bob, Key: key1, Level: fingerprint.LevelPinned, Method: fingerprint.MethodTOFU,
				First: day0, Last: day0,
			}
			if err != nil || !reflect.DeepEqual(r, want) {
				t.Errorf("Check(%q) = %+v, %v, want %+v", peer, r, err, want)
			}
		}
		pin(t, s, verified(jid.MustParse("eve@[2001:DB8::1]"), fingerprint.Of([]byte("eve"))), noon)
		if _, err := s.Check(jid.MustParse("eve@[2001:db8::1]"), fingerprint.Of([]byte("eve"))); err != nil {
			t.Errorf("IPv6 address in the other case: Check = %v", err)
		}
		if r, err := s.Check(bob, key2); err != nil || r.Level != fingerprint.LevelVerified || !r.Verified.Equal(day0) {
			t.Errorf("Check(verified key) = %+v, %v", r, err)
		}

		var changed *fingerprint.ChangedError
		if _, err := s.Check(jid.MustParse("bob@example.net/new"), key3); !errors.As(err, &changed) {
			t.Fatalf("other key: Check = %v, want a ChangedError", err)
		}
		if !changed.Peer.Equal(bob) || changed.Got != key3 || len(changed.Want) != 2 || changed.Want[0].Key != key1 || !changed.Verified() {
			t.Errorf("ChangedError = %+v", changed)
		}

		var other *fingerprint.OtherPeerError
		if _, err := s.Check(carol, key1); !errors.As(err, &other) {
			t.Fatalf("key of another: Check = %v, want an OtherPeerError", err)
		}
		if !other.Peer.Equal(carol) || !other.Other.Equal(bob) || other.Got != key1 {
			t.Errorf("OtherPeerError = %+v", other)
		}
		// Also for a peer that is itself known: whose key it is counts for more than that the own one changed.
		pin(t, s, tofu(carol, key3), noon)
		if _, err := s.Check(carol, key1); !errors.As(err, &other) {
			t.Errorf("key of another, known peer: Check = %v, want an OtherPeerError", err)
		}
		if _, err := s.Check(jid.MustParse("dora@example.net"), fingerprint.Of(nil)); !errors.Is(err, fingerprint.ErrUnknown) {
			t.Errorf("stranger: Check = %v, want ErrUnknown", err)
		}
		if _, err := s.Check(jid.JID{}, key1); err == nil || errors.Is(err, fingerprint.ErrUnknown) {
			t.Errorf("nobody: Check = %v, want an error of its own", err)
		}
	})
}

func TestErrorTexts(t *testing.T) {
	s := fingerprint.NewMemory()
	pin(t, s, tofu(bob, key1), noon)
	_, err := s.Check(bob, key3)
	want := fmt.Sprintf(`fingerprint: the key of "bob@example.net" is not the one first seen on 2026-11-20 (never checked): was %s, now %s`, key1, key3)
	if err == nil || err.Error() != want {
		t.Errorf("only seen before: %v\nwant %s", err, want)
	}
	if changed := (*fingerprint.ChangedError)(nil); !errors.As(err, &changed) || changed.Verified() {
		t.Errorf("only seen before: Verified() = true")
	}
	pin(t, s, verified(bob, key2), noon.AddDate(0, 0, 1))
	_, err = s.Check(bob, key3)
	want = fmt.Sprintf(`fingerprint: the key of "bob@example.net" is not the one that was verified on 2026-11-21 (sas): was %s (or one of 1 more), now %s`, key2, key3)
	if err == nil || err.Error() != want {
		t.Errorf("verified: %v\nwant %s", err, want)
	}
	_, err = s.Check(carol, key1)
	want = fmt.Sprintf(`fingerprint: "carol@example.org" shows the key that is known as that of "bob@example.net"; a key belongs to one address only: %s`, key1)
	if err == nil || err.Error() != want {
		t.Errorf("other peer: %v\nwant %s", err, want)
	}
}

// The rules of PROTOCOL.md section 7 that the store itself holds.
func TestPinRules(t *testing.T) {
	var changed *fingerprint.ChangedError
	var other *fingerprint.OtherPeerError
	stores(t, func(t *testing.T, s *fingerprint.Store) {
		pin(t, s, tofu(bob, key1), noon)
		if _, err := s.Pin(tofu(bob, key2), noon); !errors.As(err, &changed) {
			t.Errorf("Pin(second key, tofu) = %v, want a ChangedError", err)
		}
		if _, err := s.Pin(tofu(carol, key1), noon); !errors.As(err, &other) {
			t.Errorf("Pin(key of another) = %v, want an OtherPeerError", err)
		}
		if _, err := s.PinAnother(verified(carol, key1), noon); !errors.As(err, &other) {
			t.Errorf("PinAnother(key of another, verified) = %v, want an OtherPeerError", err)
		}
		if _, err := s.PinAnother(tofu(bob, key2), noon); err != nil {
			t.Errorf("PinAnother(second key, none verified) = %v", err)
		}
		pin(t, s, verified(bob, key2), noon)
		if _, err := s.PinAnother(tofu(bob, key3), noon); !errors.As(err, &changed) || !changed.Verified() {
			t.Errorf("PinAnother(third key, one verified) = %v, want a ChangedError", err)
		}
		ca := tofu(bob, key3)
		ca.Method = fingerprint.MethodCA
		if _, err := s.PinAnother(ca, noon); !errors.As(err, &changed) {
			t.Errorf("PinAnother(third key, pinned by a CA, one verified) = %v, want a ChangedError", err)
		}
		pin(t, s, verified(bob, key3), noon)
		rs, err := s.Records()
		if err != nil || len(rs) != 3 {
			t.Errorf("Records() = %v, %v, want three", rs, err)
		}
	})
}

func TestPinKeepsWhatIsKnown(t *testing.T) {
	stores(t, func(t *testing.T, s *fingerprint.Store) {
		r := verified(bob, key1)
		r.Label = "bob \"laptop\""
		r.Attrs = []fingerprint.Attr{{Key: "seen", Value: "3"}, {Key: "xtls-required"}}
		r.First, r.Verified = noon.AddDate(-1, 0, 0), noon.AddDate(-1, 0, 0) // not taken over
		pin(t, s, r, noon)

		again := tofu(bob, key1)
		again.Attrs = []fingerprint.Attr{{Key: "seen", Value: "4"}, {Key: "note", Value: "two words # \\ \u202e"}, {Key: "quote", Value: `a"b`}}
		got := pin(t, s, again, noon.AddDate(0, 0, 2))
		want := fingerprint.Record{
			Peer: bob, Key: key1, Level: fingerprint.LevelVerified, Method: fingerprint.MethodSAS,
			First: day0, Last: day0.AddDate(0, 0, 2), Verified: day0, Label: r.Label,
			Attrs: []fingerprint.Attr{{Key: "seen", Value: "4"}, {Key: "xtls-required"}, {Key: "note", Value: "two words # \\ \u202e"}, {Key: "quote", Value: `a"b`}},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("pinned again:\n got %+v\nwant %+v", got, want)
		}
		later := verified(bob, key1)
		later.Method = fingerprint.MethodPassword
		if got := pin(t, s, later, noon.AddDate(0, 0, 1)); got.Method != fingerprint.MethodPassword || !got.Last.Equal(want.Last) || !got.Verified.Equal(day0.AddDate(0, 0, 1)) {
			t.Errorf("verified again, with the clock set back: %+v", got)
		}
	})
}

func TestPinRefuses(t *testing.T) {
	with := func(change func(*fingerprint.Record)) fingerprint.Record {
		r := tofu(bob, key1)
		change(&r)
		return r
	}
	attrs := func(as ...fingerprint.Attr) fingerprint.Record {
		return with(func(r *fingerprint.Record) { r.Attrs = as })
	}
	for _, tt := range []struct {
		name   string
		record fingerprint.Record
		now    time.Time
		why    string
	}{
		{"nobody", with(func(r *fingerprint.Record) { r.Peer = jid.JID{} }), noon, "no XMPP address"},
		{"no key", with(func(r *fingerprint.Record) { r.Key = fingerprint.Fingerprint{} }), noon, "no key"},
		{"no level", with(func(r *fingerprint.Record) { r.Level = "" }), noon, "unknown level"},
		{"no method", with(func(r *fingerprint.Record) { r.Method = "" }), noon, "unknown method"},
		{"verified by nothing", with(func(r *fingerprint.Record) { r.Level = fingerprint.LevelVerified }), noon, "cannot be the method"},
		{"no time", tofu(bob, key1), time.Time{}, "no time"},
		{"year 10000", tofu(bob, key1), noon.AddDate(10000, 0, 0), "cannot be written"},
		{"attribute with a line break", attrs(fingerprint.Attr{Key: "a\nb"}), noon, "not the name"},
		{"attribute with a blank", attrs(fingerprint.Attr{Key: "a b"}), noon, "not the name"},
		{"attribute without a name", attrs(fingerprint.Attr{Value: "x"}), noon, "not the name"},
		{"attribute name over the bound", attrs(fingerprint.Attr{Key: strings.Repeat("a", 65)}), noon, "not the name"},
		{"attribute twice", attrs(fingerprint.Attr{Key: "a"}, fingerprint.Attr{Key: "a"}), noon, "twice"},
		{"reserved attribute", attrs(fingerprint.Attr{Key: "verified", Value: "2026-11-20"}), noon, "reserved"},
		{"line over the bound", with(func(r *fingerprint.Record) { r.Label = strings.Repeat("a", 16<<10) }), noon, "more than 16384"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stores(t, func(t *testing.T, s *fingerprint.Store) {
				if _, err := s.Pin(tt.record, tt.now); err == nil || !strings.Contains(err.Error(), tt.why) || !strings.HasPrefix(err.Error(), "fingerprint: ") {
					t.Errorf("Pin = %v, want an error with %q", err, tt.why)
				}
				if rs, err := s.Records(); err != nil || len(rs) > 0 {
					t.Errorf("Records() = %v, %v, want none", rs, err)
				}
			})
		})
	}
}

func TestForgetAndPeers(t *testing.T) {
	stores(t, func(t *testing.T, s *fingerprint.Store) {
		pin(t, s, verified(bob, key1), noon)
		pin(t, s, tofu(carol, key2), noon)
		pin(t, s, verified(bob, key3), noon)
		peers, err := s.Peers()
		if got := fmt.Sprint(peers); err != nil || got != "[bob@example.net carol@example.org]" {
			t.Errorf("Peers() = %s, %v", got, err)
		}
		if n, err := s.Forget(jid.MustParse("bob@example.net/phone")); n != 2 || err != nil {
			t.Errorf("Forget(bob) = %d, %v, want 2", n, err)
		}
		if n, err := s.Forget(bob); n != 0 || err != nil {
			t.Errorf("Forget(bob) once more = %d, %v, want 0", n, err)
		}
		if _, err := s.Forget(jid.JID{}); err == nil {
			t.Error("Forget(nobody) succeeded")
		}
		if _, err := s.Check(bob, key1); !errors.Is(err, fingerprint.ErrUnknown) {
			t.Errorf("Check(forgotten) = %v, want ErrUnknown", err)
		}
		if _, err := s.Check(carol, key2); err != nil {
			t.Errorf("Check(the other) = %v", err)
		}
		pin(t, s, tofu(carol, key2), noon)
		if _, err := s.Pin(tofu(jid.MustParse("dora@example.net"), key1), noon); err != nil {
			t.Errorf("a forgotten key is still bound to its peer: %v", err)
		}
	})
}

func TestTouch(t *testing.T) {
	stores(t, func(t *testing.T, s *fingerprint.Store) {
		pin(t, s, verified(bob, key1), noon)
		for _, tt := range []struct {
			now, want time.Time
		}{
			{noon.Add(time.Hour), day0},
			{noon.AddDate(0, 0, 3), day0.AddDate(0, 0, 3)},
			{noon.AddDate(0, 0, 1), day0.AddDate(0, 0, 3)},
		} {
			if err := s.Touch(bob, key1, tt.now); err != nil {
				t.Fatal(err)
			}
			r, err := s.Check(bob, key1)
			if err != nil || !r.Last.Equal(tt.want) || !r.First.Equal(day0) || !r.Verified.Equal(day0) || r.Level != fingerprint.LevelVerified {
				t.Errorf("after Touch(%v): %+v, %v, want last %v", tt.now, r, err, tt.want)
			}
		}
		var changed *fingerprint.ChangedError
		if err := s.Touch(bob, key2, noon); !errors.As(err, &changed) {
			t.Errorf("Touch(other key) = %v, want a ChangedError", err)
		}
		if err := s.Touch(carol, key2, noon); !errors.Is(err, fingerprint.ErrUnknown) {
			t.Errorf("Touch(stranger) = %v, want ErrUnknown", err)
		}
	})
}

// On the same day nothing is written: the file stays the same file.
func TestTouchWritesOnceADay(t *testing.T) {
	s, name := openText(t, "")
	pin(t, s, tofu(bob, key1), noon)
	before, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Touch(bob, key1, noon.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(name)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was replaced (%v)", err)
	}
}

func TestRecordsAreCopies(t *testing.T) {
	stores(t, func(t *testing.T, s *fingerprint.Store) {
		r := tofu(bob, key1)
		r.Attrs = []fingerprint.Attr{{Key: "a", Value: "1"}}
		pin(t, s, r, noon).Attrs[0].Value = "2"
		r.Attrs[0].Value = "3"
		rs, err := s.Records()
		if err != nil {
			t.Fatal(err)
		}
		rs[0].Attrs[0].Value = "4"
		got, err := s.Check(bob, key1)
		if err != nil || got.Attrs[0].Value != "1" {
			t.Errorf("the store was changed from outside: %+v, %v", got, err)
		}
	})
}
