// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package sas_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"example.org/xtls/sas"
)

// TestRunNumbers uses up all the runs of a tunnel (rule 1).
func TestRunNumbers(t *testing.T) {
	si, sr := pair(t)
	for run := 1; run <= 255; run++ {
		i, r := exchange(t, si), exchange(t, sr)
		if again := exchange(t, si); again != i {
			t.Fatal("an open run is not returned again")
		}
		if int(i.Run()) != run || int(r.Run()) != run {
			t.Fatalf("runs %d and %d, want %d", i.Run(), r.Run(), run)
		}
		finish(t, i, r, sas.Match, sas.Match)
	}
	for _, s := range []*sas.Series{si, sr} {
		if _, err := s.Exchange(); !errors.Is(err, sas.ErrExhausted) {
			t.Errorf("run 256: %v, want ErrExhausted", err)
		}
	}
}

func TestOutcomes(t *testing.T) {
	const m, x, g = sas.Match, sas.Mismatch, sas.GaveUp
	for _, tt := range []struct {
		mine, theirs sas.Result // 0: none
		abort        bool
		want         sas.Outcome
	}{
		{0, 0, false, sas.OutcomeOpen},
		{0, m, false, sas.OutcomeOpen}, // rule 9: the peer never raises it
		{0, g, false, sas.OutcomeOpen},
		{0, x, false, sas.OutcomeMismatch},
		{m, 0, false, sas.OutcomeMatch},
		{m, m, false, sas.OutcomeMatch},
		{m, g, false, sas.OutcomeMatch},
		{m, x, false, sas.OutcomeMismatch}, // rule 9: but it lowers it
		{x, 0, false, sas.OutcomeMismatch},
		{x, m, false, sas.OutcomeMismatch},
		{g, 0, false, sas.OutcomeFailed},
		{g, m, false, sas.OutcomeFailed},
		{g, x, false, sas.OutcomeMismatch},
		{0, 0, true, sas.OutcomeFailed},
		{0, m, true, sas.OutcomeFailed},
		{0, x, true, sas.OutcomeMismatch},
		{m, 0, true, sas.OutcomeMatch}, // our user has seen it; the peer's did not answer in time
		{x, 0, true, sas.OutcomeMismatch},
	} {
		for _, swap := range []bool{false, true} {
			si, sr := pair(t)
			i, r := exchange(t, si), exchange(t, sr)
			show(t, i, r)
			own, peer := i, r
			if swap {
				own, peer = r, i
			}
			if tt.mine != 0 {
				decide(t, own, tt.mine)
				if _, err := own.Decide(tt.mine); !errors.Is(err, sas.ErrNotNow) {
					t.Errorf("a second decision: %v", err)
				}
			}
			if tt.theirs != 0 {
				step(t, own, decide(t, peer, tt.theirs))
			}
			if tt.abort {
				abort(t, own, sas.ReasonTimeout)
			}
			if got := own.Outcome(); got != tt.want {
				t.Errorf("mine %v, theirs %v, abort %v, swapped %v: %v, want %v", tt.mine, tt.theirs, tt.abort, swap, got, tt.want)
			}
			if got, ok := own.PeerResult(); got != tt.theirs || ok != (tt.theirs != 0) {
				t.Errorf("PeerResult = %v, %v, want %v", got, ok, tt.theirs)
			}
		}
	}
}

// TestAbortBeforeCommitIsVoid: what ended before anything could be guessed is no
// failure.
func TestAbortBeforeCommitIsVoid(t *testing.T) {
	si, sr := pair(t)
	for range 10 {
		i, r := exchange(t, si), exchange(t, sr)
		start(t, r)
		_, err := r.Step(abort(t, i, sas.ReasonBusy))
		if e, ok := errors.AsType[*sas.AbortError](err); !ok || !e.Remote || e.Reason != sas.ReasonBusy {
			t.Fatalf("%v, want the peer's abort (busy)", err)
		}
		if i.Outcome() != sas.OutcomeVoid || r.Outcome() != sas.OutcomeVoid {
			t.Fatalf("outcomes %v and %v", i.Outcome(), r.Outcome())
		}
	}
	finish(t, exchange(t, si), exchange(t, sr), sas.Match, sas.Match)
}

// TestFailureLimit fails three runs in each way and finds the fourth refused by
// both ends, whoever asks (rule 6).
func TestFailureLimit(t *testing.T) {
	for name, fail := range map[string]func(i, r *sas.Exchange){
		"gave up": func(i, r *sas.Exchange) { finish(t, i, r, sas.GaveUp, sas.GaveUp) },
		"timeout": func(i, r *sas.Exchange) {
			step(t, r, start(t, i))
			i.Step(abort(t, r, sas.ReasonTimeout))
		},
		"bad reveal": func(i, r *sas.Exchange) {
			step(t, r, start(t, i))
			_, err := r.Step(sas.Frame{Type: sas.FrameReveal, Run: r.Run(), Body: make([]byte, 32)})
			wantAbort(t, r, err, sas.ReasonCommit)
			abort(t, i, sas.ReasonTimeout)
		},
	} {
		t.Run(name, func(t *testing.T) {
			si, sr := pair(t)
			finish(t, exchange(t, si), exchange(t, sr), sas.Match, sas.Match) // does not count
			for range sas.MaxFailures {
				fail(exchange(t, si), exchange(t, sr))
			}
			wantRefused(t, si, sr)
		})
	}
	t.Run("one less", func(t *testing.T) {
		si, sr := pair(t)
		for range sas.MaxFailures - 1 {
			finish(t, exchange(t, si), exchange(t, sr), sas.GaveUp, sas.GaveUp)
		}
		finish(t, exchange(t, si), exchange(t, sr), sas.Match, sas.Match)
	})
}

// TestNoRunAfterMismatch: rule 7, for a mismatch on either side.
func TestNoRunAfterMismatch(t *testing.T) {
	for _, results := range [][2]sas.Result{{sas.Mismatch, sas.Match}, {sas.Match, sas.Mismatch}, {sas.Mismatch, sas.Mismatch}} {
		si, sr := pair(t)
		finish(t, exchange(t, si), exchange(t, sr), results[0], results[1])
		wantRefused(t, si, sr)
	}
}

// wantRefused checks that neither end starts a run, of its own or for the peer.
func wantRefused(t *testing.T, si, sr *sas.Series) {
	t.Helper()
	for _, s := range []*sas.Series{si, sr} {
		x := exchange(t, s)
		f, err := x.Start()
		e, ok := errors.AsType[*sas.AbortError](err)
		if f != nil || !ok || e.Reason != sas.ReasonLimit || e.Frame != nil || e.Remote {
			t.Errorf("Start: %v, %v, want ReasonLimit and nothing to send", f, err)
		}
	}
	i, r := exchange(t, si), exchange(t, sr)
	_, err := i.Step(sas.Frame{Type: sas.FrameRequest})
	wantAbort(t, i, err, sas.ReasonLimit)
	_, err = r.Step(sas.Frame{Type: sas.FrameCommit, Run: r.Run(), Body: make([]byte, 32)})
	wantAbort(t, r, err, sas.ReasonLimit)
	if i.Committed() || r.Committed() {
		t.Error("a refused run got past COMMIT")
	}
}

// TestBothAskAtOnce: REQUEST and COMMIT cross on their way.
func TestBothAskAtOnce(t *testing.T) {
	si, sr := pair(t)
	i, r := exchange(t, si), exchange(t, sr)
	commit, request := start(t, i), start(t, r)
	if f := step(t, i, request); f.Type != 0 {
		t.Errorf("the crossing REQUEST was answered by %v", f.Type)
	}
	step(t, r, step(t, i, step(t, r, commit)))
	if a, b := code(t, i).B32(), code(t, r).B32(); a != b {
		t.Errorf("codes %q and %q", a, b)
	}
	for _, x := range []*sas.Exchange{i, r} {
		if _, err := x.Start(); !errors.Is(err, sas.ErrNotNow) {
			t.Errorf("Start of a run that is under way: %v, want ErrNotNow", err)
		}
	}
}

// TestLateFrames aborts runs while frames of the peer are on their way. They must
// not end the next run, and must not pass for frames of it.
func TestLateFrames(t *testing.T) {
	si, sr := pair(t)
	i1, r1 := exchange(t, si), exchange(t, sr)
	nonce1 := step(t, r1, start(t, i1))
	abort1 := abort(t, i1, sas.ReasonUser)
	i2 := exchange(t, si)
	commit2 := start(t, i2)
	abort2 := abort(t, i2, sas.ReasonUser)
	i3 := exchange(t, si)
	commit3 := start(t, i3)

	if f := step(t, i3, nonce1); f.Type != 0 {
		t.Errorf("a late NONCE was answered by %v", f.Type)
	}
	r1.Step(abort1)
	r2 := exchange(t, sr)
	nonce2 := step(t, r2, commit2)
	r2.Step(abort2)
	step(t, i3, nonce2)
	r3 := exchange(t, sr)
	step(t, r3, step(t, i3, step(t, r3, commit3)))
	if a, b := code(t, i3).B32(), code(t, r3).B32(); a != b {
		t.Errorf("codes %q and %q", a, b)
	}

	_, err := i3.Step(nonce2) // the peer knows of run 3: no longer late
	wantAbort(t, i3, err, sas.ReasonOrder)

	i4 := exchange(t, si)
	_, err = i4.Step(nonce2) // nor is it in the next run: only run 3 may be
	wantAbort(t, i4, err, sas.ReasonOrder)
}

// TestNotLate: after an abort of the peer, or after both results, nothing of that
// run can be on its way.
func TestNotLate(t *testing.T) {
	for name, end := range map[string]func(i, r *sas.Exchange) sas.Frame{
		"abort of the peer": func(i, r *sas.Exchange) sas.Frame {
			nonce := step(t, r, start(t, i))
			i.Step(abort(t, r, sas.ReasonUser))
			return nonce
		},
		"both results": func(i, r *sas.Exchange) sas.Frame {
			nonce := step(t, r, start(t, i))
			step(t, r, step(t, i, nonce))
			step(t, r, decide(t, i, sas.Match))
			step(t, i, decide(t, r, sas.Match))
			return nonce
		},
	} {
		si, sr := pair(t)
		nonce := end(exchange(t, si), exchange(t, sr))
		i := exchange(t, si)
		start(t, i)
		_, err := i.Step(nonce)
		t.Log(name)
		wantAbort(t, i, err, sas.ReasonOrder)
	}
}

func TestNewRefuses(t *testing.T) {
	good := func() sas.Keys { return someKeys(t, "one tunnel") }
	if _, err := sas.New(sas.Initiator, good()); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		role   sas.Role
		change func(k *sas.Keys)
	}{
		"role 0":         {0, func(*sas.Keys) {}},
		"role 3":         {3, func(*sas.Keys) {}},
		"no key":         {sas.Initiator, func(k *sas.Keys) { k.Commit = nil }},
		"short key":      {sas.Initiator, func(k *sas.Keys) { k.Value = k.Value[:31] }},
		"long key":       {sas.Responder, func(k *sas.Keys) { k.ResultInitiator = append(k.ResultInitiator, 0) }},
		"same key twice": {sas.Responder, func(k *sas.Keys) { k.ResultResponder = k.ResultInitiator }},
	} {
		k := good()
		tt.change(&k)
		if _, err := sas.New(tt.role, k); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	want := errors.New("no exporter")
	_, err := sas.DeriveKeys(func(string, int) ([]byte, error) { return nil, want })
	if !errors.Is(err, want) {
		t.Errorf("DeriveKeys: %v, want %v", err, want)
	}
}

// TestKeysAreCopied: the caller may wipe his.
func TestKeysAreCopied(t *testing.T) {
	keys := someKeys(t, "one tunnel")
	si := newSeries(t, sas.Initiator, keys)
	for _, k := range [][]byte{keys.Commit, keys.Value, keys.ResultInitiator, keys.ResultResponder} {
		clear(k)
	}
	_, sr := pair(t)
	finish(t, exchange(t, si), exchange(t, sr), sas.Match, sas.Match)
}

// TestNothingSecretIsPrinted prints what a careless caller might.
func TestNothingSecretIsPrinted(t *testing.T) {
	s := newScene(t, sas.Initiator)
	show(t, s.i, s.r)
	keys, c := someKeys(t, "one tunnel"), code(t, s.i)
	var b strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		fmt.Fprintf(&b, verb+" "+verb+" "+verb+"\n", keys, c, &c)
	}
	_, err := s.i.Step(s.nonce)
	fmt.Fprintln(&b, err)
	out := strings.ToLower(b.String())
	number := fmt.Sprint(c.Emoji()[0].Number)
	for _, secret := range []string{
		c.B32(), c.Decimal()[:4], number + " ", hex.EncodeToString(keys.Value[:4]),
		strings.Trim(fmt.Sprint(keys.Value[:3]), "[]"), hex.EncodeToString(nonceI[:4]),
	} {
		if strings.Contains(out, secret) {
			t.Errorf("%q is in %s", secret, out)
		}
	}
	if !bytes.Contains([]byte(out), []byte("sas.code(not shown)")) {
		t.Errorf("the code is not named in %s", out)
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		v    fmt.Stringer
		want string
	}{
		{sas.FrameReveal, "REVEAL"},
		{sas.FrameType(0x15), "frame 0x15"},
		{sas.Match, "match"},
		{sas.Result(9), "result 9"},
		{sas.ReasonLimit, "limit"},
		{sas.AbortReason(200), "reason 200"},
		{sas.Responder, "responder"},
		{sas.Role(7), "role 7"},
		{sas.OutcomeVoid, "void"},
		{sas.Outcome(77), "outcome 77"},
	} {
		if got := tt.v.String(); got != tt.want {
			t.Errorf("String of %T = %q, want %q", tt.v, got, tt.want)
		}
	}
	if got, want := (&sas.AbortError{Reason: 77, Remote: true}).Error(), "sas: the peer aborted (reason 77)"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
}
