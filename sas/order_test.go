// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package sas_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"example.org/xtls/sas"
)

// A scene is the second run of a tunnel, brought to some point, with every frame
// that an honest or dishonest peer could have at hand.
type scene struct {
	target, peer *sas.Exchange
	i, r         *sas.Exchange // of which target is one

	request, commit, nonce, reveal, resultI, resultR sas.Frame // of this run
	earlier                                          []sas.Frame
	nonces                                           [][]byte // of the run before, and the target's own
	forged                                           []sas.Frame
}

var (
	earlierI, earlierR = bytes.Repeat([]byte{0xa1}, 32), bytes.Repeat([]byte{0xb1}, 32)
	nonceI, nonceR     = bytes.Repeat([]byte{0xa2}, 32), bytes.Repeat([]byte{0xb2}, 32)
)

func newScene(t *testing.T, role sas.Role) *scene {
	t.Helper()
	keys := someKeys(t, "one tunnel")
	si, sr := newSeries(t, sas.Initiator, keys), newSeries(t, sas.Responder, keys)
	fixNonces(si, earlierI, nonceI)
	fixNonces(sr, earlierR, nonceR)
	i, r := exchange(t, si), exchange(t, sr)
	c := start(t, i)
	n := step(t, r, c)
	v := step(t, i, n)
	step(t, r, v)
	resI, resR := decide(t, i, sas.Match), decide(t, r, sas.Match)
	step(t, i, resR)
	step(t, r, resI)

	s := &scene{i: exchange(t, si), r: exchange(t, sr), earlier: []sas.Frame{c, n, v, resI, resR}, nonces: [][]byte{earlierI, earlierR}}
	s.target, s.peer = s.i, s.r
	own := nonceI
	if role == sas.Responder {
		s.target, s.peer, own = s.r, s.i, nonceR
	}
	s.nonces = append(s.nonces, own)

	run := []byte{2}
	value := hmacSum(keys.Value, run, nonceI, nonceR)
	result := func(key []byte, v byte) sas.Frame {
		return sas.Frame{Type: sas.FrameResult, Run: 2, Body: append([]byte{v}, hmacSum(key, run, []byte{v}, value)...)}
	}
	s.request = sas.Frame{Type: sas.FrameRequest}
	s.commit = sas.Frame{Type: sas.FrameCommit, Run: 2, Body: hmacSum(keys.Commit, run, nonceI)}
	s.nonce = sas.Frame{Type: sas.FrameNonce, Run: 2, Body: nonceR}
	s.reveal = sas.Frame{Type: sas.FrameReveal, Run: 2, Body: nonceI}
	s.resultI, s.resultR = result(keys.ResultInitiator, 1), result(keys.ResultResponder, 1)
	for _, key := range [][]byte{keys.ResultInitiator, keys.ResultResponder} {
		swapped := result(key, 2)
		swapped.Body[0] = 1 // the MAC of a mismatch on a match
		s.forged = append(s.forged, result(key, 0), result(key, 4), swapped)
	}
	return s
}

// candidates is everything that the peer might send, right or wrong: each type
// with each honest body, with bodies of wrong lengths, with wrong runs; what was
// sent in the run before, as it was and renumbered; forged results. It holds every
// replay, duplicate and reflection, since it holds every frame of both ends.
func (s *scene) candidates() []sas.Frame {
	honest := []sas.Frame{s.request, s.commit, s.nonce, s.reveal, s.resultI, s.resultR, {Type: sas.FrameAbort, Run: 2, Body: []byte{3}}}
	all := slices.Concat(honest, s.earlier, s.forged)
	for _, typ := range []sas.FrameType{0, 0x02, 0x0f, 0x15, 0x1e, 0x20, 0x80, 0xff} {
		all = append(all, sas.Frame{Type: typ, Run: 2, Body: nonceI}, sas.Frame{Type: typ})
	}
	for _, f := range honest {
		for _, run := range []byte{0, 1, 2, 3, 255} {
			all = append(all, sas.Frame{Type: f.Type, Run: run, Body: f.Body})
		}
		for _, body := range [][]byte{nil, {0}, {0xff}, make([]byte, 31), make([]byte, 32), make([]byte, 33), make([]byte, 34), make([]byte, 16<<10), append(slices.Clone(f.Body), 0)} {
			all = append(all, sas.Frame{Type: f.Type, Run: f.Run, Body: body})
		}
		if n := len(f.Body); n > 0 {
			all = append(all, sas.Frame{Type: f.Type, Run: f.Run, Body: f.Body[:n-1]})
		}
	}
	for _, f := range s.earlier {
		all = append(all, sas.Frame{Type: f.Type, Run: 2, Body: f.Body})
	}
	return all
}

// A point is a place in a run, and the rule for what may come there.
type point struct {
	name  string
	role  sas.Role
	reach func(t *testing.T, s *scene)
	// allows says whether the peer may send f here; ABORT, which it always may, apart.
	allows func(s *scene, f sas.Frame) bool
	// ended is what the run has come to if it ends here.
	ended sas.Outcome
}

func allowNothing(*scene, sas.Frame) bool { return false }

func allowRequest(_ *scene, f sas.Frame) bool {
	return f.Type == sas.FrameRequest && f.Run == 0 && len(f.Body) == 0
}

func allowCommit(_ *scene, f sas.Frame) bool {
	return f.Type == sas.FrameCommit && f.Run == 2 && len(f.Body) == 32
}

func allowNonce(s *scene, f sas.Frame) bool {
	return f.Type == sas.FrameNonce && f.Run == 2 && len(f.Body) == 32 &&
		!slices.ContainsFunc(s.nonces, func(n []byte) bool { return bytes.Equal(n, f.Body) })
}

func allowReveal(s *scene, f sas.Frame) bool { return same(f, s.reveal) }

func allowResult(s *scene, f sas.Frame) bool {
	if s.target == s.i {
		return same(f, s.resultR)
	}
	return same(f, s.resultI)
}

func same(a, b sas.Frame) bool {
	return a.Type == b.Type && a.Run == b.Run && bytes.Equal(a.Body, b.Body)
}

func points() []point {
	shown := func(t *testing.T, s *scene) { show(t, s.i, s.r) }
	decided := func(t *testing.T, s *scene) { show(t, s.i, s.r); decide(t, s.target, sas.Match) }
	answered := func(t *testing.T, s *scene) { show(t, s.i, s.r); step(t, s.target, decide(t, s.peer, sas.Match)) }
	all := []point{
		{"idle", sas.Initiator, func(*testing.T, *scene) {}, allowRequest, sas.OutcomeVoid},
		{"committed", sas.Initiator, func(t *testing.T, s *scene) { start(t, s.i) }, func(s *scene, f sas.Frame) bool {
			return allowRequest(s, f) || allowNonce(s, f) // a REQUEST may have crossed our COMMIT
		}, sas.OutcomeFailed},
		{"committed after request", sas.Initiator, func(t *testing.T, s *scene) { step(t, s.i, start(t, s.r)) }, allowNonce, sas.OutcomeFailed},
		{"committed, request crossed", sas.Initiator, func(t *testing.T, s *scene) {
			start(t, s.i)
			step(t, s.i, start(t, s.r))
		}, allowNonce, sas.OutcomeFailed},
		{"idle", sas.Responder, func(*testing.T, *scene) {}, allowCommit, sas.OutcomeVoid},
		{"requested", sas.Responder, func(t *testing.T, s *scene) { start(t, s.r) }, allowCommit, sas.OutcomeVoid},
		{"nonce sent", sas.Responder, func(t *testing.T, s *scene) { step(t, s.r, start(t, s.i)) }, allowReveal, sas.OutcomeFailed},
	}
	for _, role := range []sas.Role{sas.Initiator, sas.Responder} {
		all = append(all,
			point{"code shown", role, shown, allowResult, sas.OutcomeFailed},
			point{"decided", role, decided, allowResult, sas.OutcomeMatch},
			point{"peer decided", role, answered, allowNothing, sas.OutcomeFailed})
	}
	return all
}

// TestOrder hands every candidate to both roles at every point of a run (rules 1
// to 4): what is not allowed there ends the run, is answered by ABORT, and counts.
func TestOrder(t *testing.T) {
	for _, p := range points() {
		t.Run(fmt.Sprintf("%v/%s", p.role, p.name), func(t *testing.T) {
			taken := 0
			for n, f := range newScene(t, p.role).candidates() {
				s := newScene(t, p.role)
				p.reach(t, s)
				if p.check(t, s, f) {
					taken++
				}
				if t.Failed() {
					t.Fatalf("candidate %d: %v of run %d with %x", n, f.Type, f.Run, f.Body)
				}
			}
			if final := p.name == "peer decided"; (taken == 0) != final {
				t.Errorf("%d frames were allowed here: the table is of no use", taken)
			}
		})
	}
}

// check hands f to the target and reports whether it was allowed.
func (p point) check(t *testing.T, s *scene, f sas.Frame) bool {
	_, err := s.target.Step(f)
	switch {
	case p.allows(s, f):
		if err != nil {
			t.Errorf("%v, want it taken", err)
		}
		return true
	case f.Type == sas.FrameAbort && f.Run == 2 && len(f.Body) == 1:
		e, ok := errors.AsType[*sas.AbortError](err)
		if !ok || !e.Remote || e.Reason != sas.AbortReason(f.Body[0]) || e.Frame != nil {
			t.Errorf("%v, want the peer's abort and nothing to send", err)
		}
		wantEnded(t, s.target)
	case p.name == "nonce sent" && f.Type == sas.FrameReveal && f.Run == 2 && len(f.Body) == 32:
		wantAbort(t, s.target, err, sas.ReasonCommit)
	default:
		wantAbort(t, s.target, err, sas.ReasonOrder)
	}
	if got := s.target.Outcome(); got != p.ended {
		t.Errorf("outcome %v, want %v", got, p.ended)
	}
	return false
}

// TestAfterTheEnd hands every candidate to runs that are over.
func TestAfterTheEnd(t *testing.T) {
	ends := map[string]struct {
		end  func(t *testing.T, s *scene)
		want sas.Outcome
	}{
		"both results": {func(t *testing.T, s *scene) { finish(t, s.i, s.r, sas.Match, sas.Match) }, sas.OutcomeMatch},
		"own abort": {func(t *testing.T, s *scene) {
			show(t, s.i, s.r)
			abort(t, s.target, sas.ReasonTimeout)
		}, sas.OutcomeFailed},
		"abort of the peer": {func(t *testing.T, s *scene) {
			if _, err := s.target.Step(abort(t, s.peer, sas.ReasonUser)); err == nil {
				t.Error("ABORT is no error")
			}
		}, sas.OutcomeVoid},
	}
	for name, e := range ends {
		for _, role := range []sas.Role{sas.Initiator, sas.Responder} {
			for n, f := range newScene(t, role).candidates() {
				s := newScene(t, role)
				e.end(t, s)
				out, err := s.target.Step(f)
				if out != nil || !errors.Is(err, sas.ErrOver) || s.target.Outcome() != e.want {
					t.Fatalf("%s, %v, candidate %d (%v): answer %v, error %v, outcome %v, want ErrOver and %v", name, role, n, f.Type, out, err, s.target.Outcome(), e.want)
				}
			}
		}
	}
}

// TestNonceRules has the peer repeat a nonce in each way there is (rule 4). The
// responder sees a repeated one only behind a commitment that opens.
func TestNonceRules(t *testing.T) {
	for _, n := range [][]byte{earlierI, earlierR, nonceI} {
		s := newScene(t, sas.Initiator)
		start(t, s.i)
		_, err := s.i.Step(sas.Frame{Type: sas.FrameNonce, Run: 2, Body: n})
		wantAbort(t, s.i, err, sas.ReasonOrder)
	}
	keys := someKeys(t, "one tunnel")
	for _, n := range [][]byte{earlierI, earlierR, nonceR} {
		s := newScene(t, sas.Responder)
		step(t, s.r, sas.Frame{Type: sas.FrameCommit, Run: 2, Body: hmacSum(keys.Commit, []byte{2}, n)})
		_, err := s.r.Step(sas.Frame{Type: sas.FrameReveal, Run: 2, Body: n})
		wantAbort(t, s.r, err, sas.ReasonOrder)
	}
	s := newScene(t, sas.Responder) // the same way with a nonce of its own is right
	n := bytes.Repeat([]byte{7}, 32)
	step(t, s.r, sas.Frame{Type: sas.FrameCommit, Run: 2, Body: hmacSum(keys.Commit, []byte{2}, n)})
	step(t, s.r, sas.Frame{Type: sas.FrameReveal, Run: 2, Body: n})
	code(t, s.r)
}

// TestCodeOnlyAfterCheck follows a whole run and looks for the code, and for the
// point of no return, after each step (rules 3, 6 and 11).
func TestCodeOnlyAfterCheck(t *testing.T) {
	s := newScene(t, sas.Initiator)
	expect := func(when string, committedI, codeI, committedR, codeR bool) {
		t.Helper()
		_, okI := s.i.Code()
		_, okR := s.r.Code()
		if s.i.Committed() != committedI || okI != codeI || s.r.Committed() != committedR || okR != codeR {
			t.Errorf("%s: initiator committed %v, code %v; responder committed %v, code %v", when, s.i.Committed(), okI, s.r.Committed(), okR)
		}
		if _, err := s.i.Decide(sas.Match); !codeI && !errors.Is(err, sas.ErrNotNow) {
			t.Errorf("%s: a decision without a code: %v", when, err)
		}
	}
	expect("idle", false, false, false, false)
	request := start(t, s.r)
	expect("REQUEST sent", false, false, false, false)
	commit := step(t, s.i, request)
	expect("COMMIT ready", true, false, false, false)
	nonce := step(t, s.r, commit)
	expect("NONCE ready", true, false, true, false)
	reveal := step(t, s.i, nonce)
	expect("REVEAL ready", true, true, true, false)
	step(t, s.r, reveal)
	expect("REVEAL checked", true, true, true, true)
	if a, b := code(t, s.i), code(t, s.r); !a.Matches(sas.FormB32, b.B32()) {
		t.Error("the codes of the two ends differ")
	}
}
