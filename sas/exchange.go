// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package sas

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
)

// A state is how far a run has come at this end.
//
//	       initiator                             responder
//	idle   Start or REQUEST: send COMMIT         Start: send REQUEST, stay
//	                                             COMMIT: send NONCE
//	waits  NONCE: send REVEAL                    REVEAL opens COMMIT
//	shown  Decide: send RESULT; RESULT; in either order, then
//	over
//
// ABORT, Abort and whatever is not in this table lead to over from everywhere.
type state byte

const (
	idle  state = iota // nothing has happened
	waits              // for the nonce of the peer
	shown              // there is a code
	over
)

// An Outcome is what a run means for trust and for the failure counter.
type Outcome byte

const (
	OutcomeOpen     Outcome = iota // not known yet
	OutcomeVoid                    // ended before this end passed COMMIT; counts as nothing
	OutcomeFailed                  // passed COMMIT without a match: a failure (rule 6)
	OutcomeMatch                   // our user saw equal codes, and the peer has not said otherwise
	OutcomeMismatch                // one of the users saw different codes: end the tunnel, mark the peer disputed (rule 7)
)

// String returns the outcome in English.
func (o Outcome) String() string {
	switch o {
	case OutcomeOpen:
		return "open"
	case OutcomeVoid:
		return "void"
	case OutcomeFailed:
		return "failed"
	case OutcomeMatch:
		return "match"
	case OutcomeMismatch:
		return "mismatch"
	}
	return fmt.Sprintf("outcome %d", byte(o))
}

const ruleLimit = "too many failures, or a mismatch, in this tunnel"

// An Exchange is one end of one run. Get it from [Series.Exchange].
type Exchange struct {
	s   *Series
	run byte

	// Frames of the runs from late to run-1 may still arrive, until the peer is
	// heard in this one: this end aborted those runs while frames were on their
	// way. 0 if there are none.
	late  byte
	heard bool

	state       state
	asked       bool // a REQUEST was sent (responder) or has arrived (initiator)
	committed   bool
	abortedHere bool
	code        Code // zero until the code may be shown, and again after an abort

	commit [macSize]byte // responder: what arrived
	own    nonce
	value  [macSize]byte // S
	mine   Result        // 0 until Decide
	theirs Result        // 0 until RESULT
}

// Run returns the number of the run, 1 to 255.
func (x *Exchange) Run() byte { return x.run }

// Over reports whether the run has ended: by both results, or by an abort.
func (x *Exchange) Over() bool { return x.state == over }

// Committed reports whether the run got past COMMIT at this end. From then on
// everything but a match counts as a failure, a crash too. So when it turns true,
// the caller has the counter on disk before it hands on the frame it was just
// given: that is COMMIT at the initiator (from [Exchange.Start], or from
// [Exchange.Step] on a REQUEST), and NONCE at the responder (from Exchange.Step on
// COMMIT). Otherwise an attacker who sees that the codes will differ breaks the
// line and tries again unseen (rule 6).
func (x *Exchange) Committed() bool { return x.committed }

// Code returns the code to show, and whether there is one: only after the
// commitment was opened and checked at this end (rule 11), and not after an abort.
func (x *Exchange) Code() (Code, bool) { return x.code, x.code.set }

// PeerResult returns what the peer's user said, and whether it has arrived. It
// never raises trust (rule 9); [Exchange.Outcome] puts both results together.
func (x *Exchange) PeerResult() (Result, bool) { return x.theirs, x.theirs != 0 }

// Outcome returns what is known so far. Only our own user can make it a match, and
// only a mismatch of the peer can take that back (rule 9).
func (x *Exchange) Outcome() Outcome {
	switch {
	case x.mine == Mismatch || x.theirs == Mismatch:
		return OutcomeMismatch
	case x.mine == Match:
		return OutcomeMatch
	case x.mine == GaveUp, x.state == over && x.committed:
		return OutcomeFailed
	case x.state == over:
		return OutcomeVoid
	}
	return OutcomeOpen
}

// Start asks for the run: the initiator gets the COMMIT to send (see
// [Exchange.Committed]), the responder the REQUEST that asks for it. The error is
// [ErrNotNow] if the run has begun, [ErrOver], or an *[AbortError] with
// [ReasonLimit] and nothing to send if the tunnel may have no further run.
func (x *Exchange) Start() (*Frame, error) {
	switch {
	case x.state == over:
		return nil, ErrOver
	case x.state != idle || x.asked:
		return nil, ErrNotNow
	case x.s.exhausted():
		return nil, &AbortError{Reason: ReasonLimit, Rule: ruleLimit}
	case x.s.role == Initiator:
		return x.sendCommit(), nil
	}
	x.asked = true
	return &Frame{Type: FrameRequest}, nil
}

// Step takes the next frame of the peer and returns the one to send, or nil. The
// error is [ErrOver] if the run had ended, else an *[AbortError]: then send its
// Frame, if any; the run is over. What the run has to say after each step is in
// Committed, Code, PeerResult, Outcome and Over.
func (x *Exchange) Step(f Frame) (*Frame, error) {
	switch {
	case x.state == over:
		return nil, ErrOver
	case x.isLate(f):
		return nil, nil
	case f.Type == FrameRequest:
		return x.takeRequest(f)
	case f.Run != x.run:
		return nil, x.abort(ReasonOrder, "a frame of another run")
	}
	x.heard = true
	switch f.Type {
	case FrameCommit:
		return x.takeCommit(f.Body)
	case FrameNonce:
		return x.takeNonce(f.Body)
	case FrameReveal:
		return nil, x.takeReveal(f.Body)
	case FrameResult:
		return nil, x.takeResult(f.Body)
	case FrameAbort:
		return nil, x.takeAbort(f.Body)
	}
	return nil, x.abort(ReasonOrder, "an unknown frame")
}

// Decide tells what our user said and returns the RESULT to send. The error is
// [ErrNotNow] if there is no code yet or the user has decided before, [ErrOver]
// if the run has ended without a decision, or that r is none.
func (x *Exchange) Decide(r Result) (*Frame, error) {
	switch {
	case !r.valid():
		return nil, fmt.Errorf("sas: %s does not exist", r)
	case x.state == over:
		return nil, ErrOver
	case x.state != shown || x.mine != 0:
		return nil, ErrNotNow
	}
	x.mine = r
	x.endIfDecided()
	return x.frame(FrameResult, append([]byte{byte(r)}, x.resultMAC(x.s.role, r)...)), nil
}

// Abort ends the run for a reason of the caller's (timeout, busy, limit, user) and
// returns the ABORT to send. It must be sent even if nothing was sent before, so
// that both ends count alike. What our user has decided stands. The error is
// [ErrOver] if the run had ended.
func (x *Exchange) Abort(r AbortReason) (*Frame, error) {
	if x.state == over {
		return nil, ErrOver
	}
	return x.abort(r, "").Frame, nil
}

// isLate reports whether f belongs to a run that this end has aborted and was
// sent before the peer knew.
func (x *Exchange) isLate(f Frame) bool {
	return x.late != 0 && !x.heard && f.Run >= x.late && f.Run < x.run
}

// takeRequest starts the run at the initiator. One that crossed our COMMIT on its
// way is answered by that: both users may ask at once. It says nothing and
// changes nothing, so it cannot be of use to an attacker.
func (x *Exchange) takeRequest(f Frame) (*Frame, error) {
	begun := x.state == waits
	switch {
	case x.s.role != Initiator || x.asked || x.state != idle && !begun:
		return nil, x.abort(ReasonOrder, "REQUEST out of order")
	case f.Run != 0 || len(f.Body) != 0:
		return nil, x.abort(ReasonOrder, "REQUEST with a run or a body")
	case !begun && x.s.exhausted():
		return nil, x.abort(ReasonLimit, ruleLimit)
	}
	x.asked = true
	if begun {
		return nil, nil
	}
	return x.sendCommit(), nil
}

// sendCommit draws the initiator's nonce and commits to it.
func (x *Exchange) sendCommit() *Frame {
	x.own = x.s.fresh()
	x.state, x.committed = waits, true
	return x.frame(FrameCommit, x.mac(x.s.keys.Commit, x.own[:]))
}

// takeCommit draws the responder's nonce, now that the peer's is fixed (rule 2).
func (x *Exchange) takeCommit(body []byte) (*Frame, error) {
	switch {
	case x.s.role != Responder || x.state != idle:
		return nil, x.abort(ReasonOrder, "COMMIT out of order")
	case len(body) != macSize:
		return nil, x.abort(ReasonOrder, "COMMIT of a wrong length")
	case x.s.exhausted():
		return nil, x.abort(ReasonLimit, ruleLimit)
	}
	copy(x.commit[:], body)
	x.own = x.s.fresh()
	x.state, x.committed = waits, true
	return x.frame(FrameNonce, bytes.Clone(x.own[:])), nil
}

// takeNonce shows the initiator's nonce, now that the peer's is here (rule 2).
func (x *Exchange) takeNonce(body []byte) (*Frame, error) {
	switch {
	case x.s.role != Initiator || x.state != waits:
		return nil, x.abort(ReasonOrder, "NONCE out of order")
	case len(body) != nonceSize:
		return nil, x.abort(ReasonOrder, "NONCE of a wrong length")
	}
	theirs := nonce(body)
	if !x.s.accept(theirs) {
		return nil, x.abort(ReasonOrder, "NONCE repeats a nonce")
	}
	x.show(x.own, theirs)
	return x.frame(FrameReveal, bytes.Clone(x.own[:])), nil
}

// takeReveal opens the commitment. It must be checked before anything is computed
// from the nonce: this check is what makes the short code safe (rule 3).
func (x *Exchange) takeReveal(body []byte) error {
	switch {
	case x.s.role != Responder || x.state != waits:
		return x.abort(ReasonOrder, "REVEAL out of order")
	case len(body) != nonceSize:
		return x.abort(ReasonOrder, "REVEAL of a wrong length")
	case subtle.ConstantTimeCompare(x.mac(x.s.keys.Commit, body), x.commit[:]) != 1:
		return x.abort(ReasonCommit, "REVEAL does not open COMMIT")
	}
	theirs := nonce(body)
	if !x.s.accept(theirs) {
		return x.abort(ReasonOrder, "REVEAL repeats a nonce")
	}
	x.show(theirs, x.own)
	return nil
}

// show computes S and with it the code.
func (x *Exchange) show(nI, nR nonce) {
	copy(x.value[:], x.mac(x.s.keys.Value, nI[:], nR[:]))
	x.code = newCode(x.value)
	x.state = shown
}

func (x *Exchange) takeResult(body []byte) error {
	switch {
	case x.state != shown || x.theirs != 0:
		return x.abort(ReasonOrder, "RESULT out of order")
	case len(body) != 1+macSize || !Result(body[0]).valid():
		return x.abort(ReasonOrder, "RESULT of a wrong length or value")
	}
	peer := Initiator + Responder - x.s.role
	if subtle.ConstantTimeCompare(x.resultMAC(peer, Result(body[0])), body[1:]) != 1 {
		return x.abort(ReasonOrder, "RESULT with a wrong MAC")
	}
	x.theirs = Result(body[0])
	x.endIfDecided()
	return nil
}

func (x *Exchange) takeAbort(body []byte) error {
	if len(body) != 1 {
		return x.abort(ReasonOrder, "ABORT of a wrong length")
	}
	x.end()
	return &AbortError{Reason: AbortReason(body[0]), Remote: true}
}

func (x *Exchange) endIfDecided() {
	if x.mine != 0 && x.theirs != 0 {
		x.state = over
	}
}

// abort ends the run from this side.
func (x *Exchange) abort(r AbortReason, rule string) *AbortError {
	x.end()
	x.abortedHere = true
	return &AbortError{Reason: r, Rule: rule, Frame: x.frame(FrameAbort, []byte{byte(r)})}
}

// end makes sure that nothing is shown or decided any more.
func (x *Exchange) end() {
	x.state = over
	x.code = Code{}
	clear(x.value[:])
	clear(x.own[:])
}

func (x *Exchange) frame(t FrameType, body []byte) *Frame {
	return &Frame{Type: t, Run: x.run, Body: body}
}

// resultMAC is the MAC by which an end of the given role vouches for its RESULT.
func (x *Exchange) resultMAC(role Role, r Result) []byte {
	key := x.s.keys.ResultInitiator
	if role == Responder {
		key = x.s.keys.ResultResponder
	}
	return x.mac(key, []byte{byte(r)}, x.value[:])
}

// mac is HMAC(key, k ‖ parts), k being the number of the run.
func (x *Exchange) mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte{x.run})
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}
