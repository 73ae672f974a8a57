// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"testing"
)

// randomBytes returns n octets that say nothing.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// TestMuchBothWays: 8 MiB each way at the same time arrive as they were sent.
func TestMuchBothWays(t *testing.T) {
	t.Parallel()
	_, alice, bob := prosodyCouple(t, prosodyOptions{})
	exchange(t, alice, bob, 8<<20)
}

// exchange has both send size octets at the same time and compares their SHA-256.
func exchange(t *testing.T, alice, bob *user, size int) {
	t.Helper()
	hers, his := randomBytes(size), randomBytes(size)
	serve := bob.serve("--stdio", "--once")
	nc := alice.start("nc", bob.jid)
	serve.feed(his)
	nc.feed(hers)
	nc.exit(exitDone)
	serve.exit(exitDone)
	for p, sent := range map[*program][]byte{serve: hers, nc: his} {
		got := p.stdout.bytes()
		if len(got) != size || sha256.Sum256(got) != sha256.Sum256(sent) {
			t.Errorf("%s received %d octets, SHA-256 %x; sent were %d, %x", p.name, len(got), sha256.Sum256(got), size, sha256.Sum256(sent))
		}
		if e := p.happened("closed"); e.number("sent") != size || e.number("received") != size || e.number("code") != 0 {
			t.Errorf("%s: %v", p.name, e)
		}
	}
}

// TestLittle: the smallest streams arrive, and their ends as well.
func TestLittle(t *testing.T) {
	t.Parallel()
	_, alice, bob := prosodyCouple(t, prosodyOptions{})
	for _, tc := range []struct {
		name      string
		hers, his []byte
	}{
		{"one byte", []byte{0}, []byte{'x'}},
		{"one byte one way", []byte{0xff}, nil},
		{"one byte the other way", nil, []byte("\n")},
		{"empty", nil, nil},
		// Blocks of IBB hold 4096 octets, with the record around it.
		{"a block and its neighbours", randomBytes(4096), randomBytes(4097)},
		{"a TLS record and its neighbours", randomBytes(1 << 14), randomBytes(1<<14 + 1)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			alice, bob := alice.in(t), bob.in(t)
			serve := bob.serve("--stdio", "--once")
			nc := alice.start("nc", bob.jid)
			serve.feed(tc.his)
			nc.feed(tc.hers)
			nc.exit(exitDone)
			serve.exit(exitDone)
			nc.received(tc.his)
			serve.received(tc.hers)
		})
	}
}

// TestHalfClose: the end of one direction arrives while the other one goes on, for
// both ends.
func TestHalfClose(t *testing.T) {
	t.Parallel()
	_, alice, bob := prosodyCouple(t, prosodyOptions{})
	for _, tc := range []struct {
		name         string
		dialledFirst bool
	}{
		{"the end that dialled", true},
		{"the end that was called", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			alice, bob := alice.in(t), bob.in(t)
			serve := bob.serve("--stdio", "--once")
			nc := alice.start("nc", bob.jid)
			first, other := nc, serve
			if !tc.dialledFirst {
				first, other = serve, nc
			}
			first.say([]byte("that is all"))
			first.hangUp()
			other.await(t, "end of its output", other.stdout, patience, func(_ []byte, ended bool) bool { return ended })
			other.received([]byte("that is all"))
			// It flows on, in pieces that answer to what arrives.
			var sent []byte
			for range 5 {
				piece := randomBytes(50_000)
				sent = append(sent, piece...)
				other.say(piece)
				first.await(t, "all that was sent", first.stdout, patience, func(text []byte, _ bool) bool { return bytes.Equal(text, sent) })
			}
			if first.happened("exit") != nil || other.happened("exit") != nil {
				t.Error("somebody ended although one direction was open")
			}
			other.hangUp()
			nc.exit(exitDone)
			serve.exit(exitDone)
			first.received(sent)
		})
	}
}

// TestStockLimits: with the rate limits that Prosody ships the tunnel is slow, but
// it works.
func TestStockLimits(t *testing.T) {
	t.Parallel()
	_, alice, bob := prosodyCouple(t, prosodyOptions{limits: true})
	hers := randomBytes(40_000)
	serve := bob.serve("--stdio", "--once")
	nc := alice.start("nc", bob.jid)
	serve.feed(nil)
	nc.feed(hers)
	nc.exit(exitDone)
	serve.exit(exitDone)
	serve.received(hers)
}
