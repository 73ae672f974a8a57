// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package sas_test

import (
	"crypto/rand"
	"errors"
	"math"
	"testing"

	"example.org/xtls/sas"
)

// Mallory has two tunnels, one with Alice (the initiator) and one with Bob (the
// responder), and therefore all the keys of both. Alice and Bob are real
// Exchanges. She does not use one: she sends whatever she likes.
type mallory struct {
	keysA, keysB sas.Keys // of the tunnel with Alice, with Bob
	alice, bob   *sas.Exchange
}

// meet puts her in the middle of a fresh pair of tunnels.
func meet(t testing.TB, keysA, keysB sas.Keys) *mallory {
	t.Helper()
	return &mallory{
		keysA: keysA, keysB: keysB,
		alice: exchange(t, newSeries(t, sas.Initiator, keysA)),
		bob:   exchange(t, newSeries(t, sas.Responder, keysB)),
	}
}

// value8 is the first 8 bits of the code that keys give with these nonces. She
// has the same program as everybody to compute it with.
func value8(t testing.TB, keys sas.Keys, nI, nR []byte) int {
	t.Helper()
	s := newSeries(t, sas.Initiator, keys)
	fixNonces(s, nI)
	x := exchange(t, s)
	start(t, x)
	step(t, x, sas.Frame{Type: sas.FrameNonce, Run: 1, Body: nR})
	return lead8(code(t, x))
}

func random() []byte {
	b := make([]byte, 32)
	rand.Read(b)
	return b
}

// toBob plays the initiator towards Bob with the nonce n, which she must commit
// to first, and returns his nonce.
func (m *mallory) toBob(t testing.TB, n []byte) []byte {
	t.Helper()
	f := step(t, m.bob, sas.Frame{Type: sas.FrameCommit, Run: 1, Body: hmacSum(m.keysB.Commit, []byte{1}, n)})
	return f.Body
}

func (m *mallory) revealToBob(t testing.TB, n []byte) {
	t.Helper()
	step(t, m.bob, sas.Frame{Type: sas.FrameReveal, Run: 1, Body: n})
}

// toAlice plays the responder towards Alice, who has committed, with the nonce n,
// and returns hers.
func (m *mallory) toAlice(t testing.TB, n []byte) []byte {
	t.Helper()
	return step(t, m.alice, sas.Frame{Type: sas.FrameNonce, Run: 1, Body: n}).Body
}

// guess is the best she can do about a nonce she cannot see: a candidate of her own
// that hits the target with one of the values which the other's nonce might have,
// if she finds one in a few tries.
func guess(hits func(own, other []byte) bool) []byte {
	for range 3 {
		if own := random(); hits(own, random()) {
			return own
		}
	}
	return random()
}

// The ways in which the two legs can be laid into each other so that she knows as
// much as possible when she must choose. Each returns with both codes shown.
var strategies = map[string]func(t testing.TB, m *mallory){
	// Bob's leg is done before Alice's begins: she knows the code to hit.
	"Bob first": func(t testing.TB, m *mallory) {
		nI := random()
		nR := m.toBob(t, nI)
		m.revealToBob(t, nI)
		target := value8(t, m.keysB, nI, nR)
		start(t, m.alice)
		m.toAlice(t, guess(func(own, other []byte) bool { return value8(t, m.keysA, other, own) == target }))
	},
	// Alice's leg is done before Bob's begins.
	"Alice first": func(t testing.TB, m *mallory) {
		start(t, m.alice)
		nR := random()
		target := value8(t, m.keysA, m.toAlice(t, nR), nR)
		nI := guess(func(own, other []byte) bool { return value8(t, m.keysB, own, other) == target })
		m.toBob(t, nI)
		m.revealToBob(t, nI)
	},
	// She learns Bob's nonce while Alice waits for hers, and only then answers.
	"interleaved": func(t testing.TB, m *mallory) {
		start(t, m.alice)
		nI := random()
		nR := m.toBob(t, nI)
		target := value8(t, m.keysB, nI, nR)
		m.toAlice(t, guess(func(own, other []byte) bool { return value8(t, m.keysA, other, own) == target }))
		m.revealToBob(t, nI)
	},
	// She is Bob towards Alice, as far as she can be: his nonce, her commitment.
	"Bob's nonce relayed": func(t testing.TB, m *mallory) {
		start(t, m.alice)
		nI := random()
		nR := m.toBob(t, nI)
		m.toAlice(t, nR)
		m.revealToBob(t, nI)
	},
}

// TestAttackerRate lets her try 40,000 times at 8 bits: she must win once in 256
// runs, within six standard deviations, and not more often with any strategy.
func TestAttackerRate(t *testing.T) {
	const perStrategy = 10_000
	keysA, keysB := someKeys(t, "tunnel with Alice"), someKeys(t, "tunnel with Bob")
	total := 0
	for name, attack := range strategies {
		wins := 0
		for range perStrategy {
			m := meet(t, keysA, keysB)
			attack(t, m)
			if lead8(code(t, m.alice)) == lead8(code(t, m.bob)) {
				wins++
			}
		}
		wantRate(t, name, wins, perStrategy)
		total += wins
	}
	wantRate(t, "all", total, perStrategy*len(strategies))
}

func wantRate(t *testing.T, name string, wins, runs int) {
	t.Helper()
	const p = 1.0 / 256
	mean := float64(runs) * p
	sigma := math.Sqrt(mean * (1 - p))
	t.Logf("%s: %d of %d, %.1f expected, sigma %.1f", name, wins, runs, mean, sigma)
	if math.Abs(float64(wins)-mean) > 6*sigma {
		t.Errorf("%s: %d wins in %d runs, want %.1f within %.1f", name, wins, runs, mean, 6*sigma)
	}
}

// TestRelayedCommitmentNeverOpens: she passes Alice's own frames on to Bob, so
// that the nonces are the same on both legs. The commitment is keyed by Alice's
// tunnel and does not open in Bob's.
func TestRelayedCommitmentNeverOpens(t *testing.T) {
	keysA, keysB := someKeys(t, "tunnel with Alice"), someKeys(t, "tunnel with Bob")
	for range 1000 {
		m := meet(t, keysA, keysB)
		reveal := step(t, m.alice, step(t, m.bob, start(t, m.alice)))
		_, err := m.bob.Step(reveal)
		if e, ok := errors.AsType[*sas.AbortError](err); !ok || e.Reason != sas.ReasonCommit {
			t.Fatalf("error %v, want an abort (commit)", err)
		}
		if _, ok := m.bob.Code(); ok || m.bob.Outcome() != sas.OutcomeFailed {
			t.Fatalf("Bob shows a code: %v; outcome %v", ok, m.bob.Outcome())
		}
	}
}

// TestChangedMind: towards Bob she reveals another nonce than she committed to,
// which would let her choose the code. It is what the check of the commitment is for.
func TestChangedMind(t *testing.T) {
	m := meet(t, someKeys(t, "tunnel with Alice"), someKeys(t, "tunnel with Bob"))
	start(t, m.alice)
	nR := random()
	target := value8(t, m.keysA, m.toAlice(t, nR), nR)
	bobs := m.toBob(t, random())
	better := random()
	for value8(t, m.keysB, better, bobs) != target {
		better = random()
	}
	_, err := m.bob.Step(sas.Frame{Type: sas.FrameReveal, Run: 1, Body: better})
	wantAbort(t, m.bob, err, sas.ReasonCommit)
}
