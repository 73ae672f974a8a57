// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest_test

import (
	"sync"
	"testing"
	"time"

	"example.org/xtls/xtls/xtlstest"
	"mellium.im/xmpp/jid"
)

func TestDropAfter(t *testing.T) {
	const stanza = "<message to='bruno@localhost/phone'/>"
	// Exactly three stanzas for bruno, and not one octet more.
	s := startServer(t, xtlstest.Config{DropAfter: int64(3 * len(stanza))})
	a, b := two(t, s)
	a.send("%s", repeat(stanza, 4))
	for range 3 {
		b.want("message")
	}
	a.gone()
	b.sync()

	// One octet less is one stanza less.
	s = startServer(t, xtlstest.Config{})
	a, b = two(t, s)
	if n := s.DropAfter(jid.MustParse("alba@localhost"), int64(3*len(stanza)-1)); n != 1 {
		t.Fatalf("DropAfter found %d clients", n)
	}
	a.send("%s", repeat(stanza, 4))
	for range 2 {
		b.want("message")
	}
	a.gone()
	b.sync()
}

func TestKill(t *testing.T) {
	s := startServer(t, xtlstest.Config{})
	a, b := two(t, s)
	b2 := login(t, s, "bruno", accounts["bruno"], "tablet")
	for _, tc := range []struct {
		jid  string
		want int
	}{
		{"bruno@localhost/none", 0},
		{"nobody@localhost", 0},
		{"bruno@evil.example/phone", 0},
		{"bruno@localhost/phone", 1},
		{"bruno@localhost", 1},
	} {
		// A killed client leaves the directory a moment later.
		if got := s.Kill(jid.MustParse(tc.jid)); got < tc.want || got > tc.want+1 {
			t.Errorf("Kill(%s) = %d, want %d", tc.jid, got, tc.want)
		}
	}
	b.gone()
	b2.gone()
	a.sync()
}

// TestFlood: two clients that write to each other as fast as they can get all of
// it through.
func TestFlood(t *testing.T) {
	const octets = 8 << 20
	s := startServer(t, xtlstest.Config{})
	a, b := two(t, s)
	var writers sync.WaitGroup
	for _, way := range []struct{ from, to *peer }{{a, b}, {b, a}} {
		message := "<message to='" + way.to.jid + "'><body>" + repeat("x", 5000) + "</body></message>"
		enough := drain(way.to, octets)
		writers.Go(func() {
			for sent := 0; sent < octets; sent += len(message) {
				if _, err := way.from.conn.Write([]byte(message)); err != nil {
					t.Errorf("%s: %v", way.from.jid, err)
					return
				}
			}
			select {
			case <-enough:
			case <-time.After(patience):
				t.Errorf("%s did not get it all", way.to.jid)
			}
		})
	}
	writers.Wait()
}
