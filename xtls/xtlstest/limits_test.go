// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest_test

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"

	"mellium.im/xmpp/jid"

	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// TestLimits: a client knows what its server announces, over STARTTLS and direct TLS,
// offers blocks that fit, and nothing that it sends is larger.
func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		limit int
		block string
	}{
		{0, "4096"},
		{10_000, "3366"},
		{100_000, "37116"},
	} {
		for _, direct := range []bool{false, true} {
			var mu sync.Mutex
			offered, largest := "", 0
			s := xtlstest.NewServer(t, xtlstest.Config{StanzaLimit: tt.limit, OnStanza: func(_, _ jid.JID, stanza []byte) {
				mu.Lock()
				defer mu.Unlock()
				largest = max(largest, len(stanza))
				if _, after, ok := strings.Cut(string(stanza), "block-size="); ok && offered == "" {
					offered = strings.Split(after, after[:1])[1]
				}
			}})
			client := func(name string) *xtls.Client {
				cfg := xtlstest.ClientConfig(t, s, name)
				if direct {
					cfg.Server = "xmpps://" + s.DirectAddr()
				}
				return xtlstest.NewClient(t, s, name, cfg)
			}
			alice, bob := client("alice"), client("bob")
			if got := alice.Limits(); got.MaxBytes != tt.limit || got.Idle != 0 {
				t.Errorf("limit %d, direct %v: the client knows %+v", tt.limit, direct, got)
			}
			a, b := xtlstest.Tunnel(t, alice, bob)
			data := bytes.Repeat([]byte("x"), 200_000)
			go func() { _, _ = a.Write(data) }()
			if _, err := io.ReadFull(b, make([]byte, len(data))); err != nil {
				t.Errorf("limit %d, direct %v: %v", tt.limit, direct, err)
			}
			mu.Lock()
			if offered != tt.block {
				t.Errorf("limit %d, direct %v: a block-size of %q was offered, want %s", tt.limit, direct, offered, tt.block)
			}
			if tt.limit > 0 && largest > tt.limit/2 {
				t.Errorf("limit %d, direct %v: sent a stanza of %d octets", tt.limit, direct, largest)
			}
			mu.Unlock()
		}
	}
}
