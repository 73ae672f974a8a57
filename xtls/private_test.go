// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// TestAddressIsPrivate looks at what either end tells the other one of itself on the way to a
// tunnel: candidates only if it remembers a key of the other one, that key, and no doubt.
func TestAddressIsPrivate(t *testing.T) {
	const a, b = "alice@localhost", "bob@localhost"
	tests := []struct {
		name       string
		know       func(t *testing.T, alice, bob *xtls.Config)
		path       xtls.Path
		alice, bob bool // tells candidates
	}{
		{"both know", func(t *testing.T, alice, bob *xtls.Config) {
			pin(t, alice.Trust, b, keyOf(bob), fingerprint.LevelPinned)
			pin(t, bob.Trust, a, keyOf(alice), fingerprint.LevelPinned)
		}, xtls.PathAuto, true, true},
		{"both know, in-band", func(t *testing.T, alice, bob *xtls.Config) {
			pin(t, alice.Trust, b, keyOf(bob), fingerprint.LevelPinned)
			pin(t, bob.Trust, a, keyOf(alice), fingerprint.LevelPinned)
		}, xtls.PathInBand, false, false},
		{"nobody knows", func(*testing.T, *xtls.Config, *xtls.Config) {}, xtls.PathAuto, false, false},
		{"alice knows", func(t *testing.T, alice, bob *xtls.Config) {
			pin(t, alice.Trust, b, keyOf(bob), fingerprint.LevelPinned)
		}, xtls.PathAuto, true, false},
		{"bob knows", func(t *testing.T, alice, bob *xtls.Config) {
			pin(t, bob.Trust, a, keyOf(alice), fingerprint.LevelPinned)
		}, xtls.PathAuto, false, false},
		{"bob knows another key", func(t *testing.T, alice, bob *xtls.Config) {
			pin(t, alice.Trust, b, keyOf(bob), fingerprint.LevelPinned)
			pin(t, bob.Trust, a, fingerprint.Fingerprint{1}, fingerprint.LevelPinned)
		}, xtls.PathAuto, true, false},
		{"alice has revoked", func(t *testing.T, alice, bob *xtls.Config) {
			pin(t, alice.Trust, b, keyOf(bob), fingerprint.LevelPinned)
			if _, err := alice.Trust.Revoke(jid.MustParse(b), keyOf(bob)); err != nil {
				t.Fatal(err)
			}
		}, xtls.PathAuto, false, false},
		{"bob is disputed", func(t *testing.T, alice, bob *xtls.Config) {
			pin(t, alice.Trust, b, keyOf(bob), fingerprint.LevelPinned)
			if _, err := alice.Trust.ChangePeer(jid.MustParse(b), func(p *fingerprint.Peer) error {
				p.Disputed = time.Now()
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}, xtls.PathAuto, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			told := make(map[string]bool)
			s := xtlstest.NewServer(t, xtlstest.Config{OnStanza: func(from, _ jid.JID, stanza []byte) {
				if strings.Contains(string(stanza), "<candidate ") {
					mu.Lock()
					told[from.Bare().String()] = true
					mu.Unlock()
				}
			}})
			alice, bob := xtlstest.ClientConfig(t, s, "alice"), xtlstest.ClientConfig(t, s, "bob")
			alice.Path = tt.path
			tt.know(t, alice, bob)
			_ = try(t, xtlstest.NewClient(t, s, "alice", alice), xtlstest.NewClient(t, s, "bob", bob)) // what comes of it is for others
			mu.Lock()
			defer mu.Unlock()
			if told[a] != tt.alice || told[b] != tt.bob {
				t.Errorf("alice tells candidates: %t, want %t; bob: %t, want %t", told[a], tt.alice, told[b], tt.bob)
			}
		})
	}
}
