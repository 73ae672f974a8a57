// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package cpace

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"fmt"
)

// state is what an [Exchange] waits for.
//
//	I  Initiate ─PW_A→  awaitB ─Tb good, PW_C→ awaitOK ─PW_OK arrives→ done
//	R  Respond          awaitA ──PW_B→         awaitC  ─Ta good, PW_OK→ done
//
// Anything else, in any state but done, leads to failed.
type state byte

const (
	awaitA state = iota
	awaitB
	awaitC
	awaitOK
	done
	failed
)

// awaited names the frame that each state waits for.
var awaited = map[state]FrameType{awaitA: TypeA, awaitB: TypeB, awaitC: TypeC, awaitOK: TypeOK}

// An Exchange is one side of one run. It must be used by one goroutine at a time.
type Exchange struct {
	state state
	run   byte
	slot  Slot
	sid   [32]byte

	point []byte // own Ya or Yb
	keys  hidden[*keys]

	requested bool // I has seen the PW_REQUEST that may have crossed its PW_A
}

// keys are the secrets of an exchange, each set while it is needed.
type keys struct {
	scalar  *ecdh.PrivateKey // ya or yb, until it is used
	wantTag []byte           // Ta, which R waits for
	isk     []byte
}

// Initiate begins a run as I. run is 1 to 255 and rises by one per run in the session.
// The frame is PW_A; it must not be sent before the attempt is on disk. An error is one
// of the arguments, not of the peer.
func Initiate(pw Password, run byte, slot Slot, c Context) (*Exchange, Frame, error) {
	e, err := newExchange(pw, run, slot, c, newScalar())
	if err != nil {
		return nil, nil, err
	}
	e.state = awaitB
	return e, frame(TypeA, run, []byte{suite}, slot[:], e.point), nil
}

// Respond begins a run as R, which waits for PW_A with this run and slot. The first
// [Exchange.Step] returns PW_B, which must not be sent before the attempt is on disk.
// An error is one of the arguments, not of the peer.
func Respond(pw Password, run byte, slot Slot, c Context) (*Exchange, error) {
	return newExchange(pw, run, slot, c, newScalar())
}

// newScalar is G_X25519.sample_scalar. X25519 clamps it.
func newScalar() (s [pointBytes]byte) {
	_, _ = rand.Read(s[:]) // never fails
	return s
}

func newExchange(pw Password, run byte, slot Slot, c Context, scalar [pointBytes]byte) (*Exchange, error) {
	if pw.IsZero() {
		return nil, errors.New("cpace: a secret is required")
	}
	if run == 0 {
		return nil, errors.New("cpace: the first run is 1")
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	y, err := ecdh.X25519().NewPrivateKey(scalar[:])
	if err != nil {
		return nil, fmt.Errorf("cpace: %w", err)
	}
	g := generator([]byte(pw.prs()), c.channelID(), c.SID[:])
	point, err := multiply(y, g[:])
	if err != nil {
		return nil, fmt.Errorf("cpace: generator: %w", err) // one in 2^255
	}
	return &Exchange{run: run, slot: slot, sid: c.SID, point: point, keys: hide(&keys{scalar: y})}, nil
}

// multiply is G_X25519.scalar_mult_vfy. crypto/ecdh refuses the all-zero result, G.I,
// which is what every point of low order gives.
func multiply(scalar *ecdh.PrivateKey, point []byte) ([]byte, error) {
	p, err := ecdh.X25519().NewPublicKey(point)
	if err != nil {
		return nil, err
	}
	return scalar.ECDH(p)
}

// Step takes the next frame of the peer; in is not kept. reply is what is to be sent,
// nil for nothing. If it [Frame.Counts], the attempt must be on disk first.
//
// An error ends the run. It is an [*AbortError], and reply the PW_ABORT to send unless
// the peer has sent one; or it is [ErrEnded], after the end, with nothing to send. After
// a nil error [Exchange.Done] tells whether the run has succeeded.
func (e *Exchange) Step(in []byte) (reply Frame, err error) {
	if e.state == done || e.state == failed {
		return nil, ErrEnded
	}
	f, err := ParseFrame(in)
	if err != nil {
		return e.fail()
	}
	switch {
	case f.Type() == TypeAbort && f.Run() == e.run:
		e.forget(failed)
		return nil, &AbortError{Reason: f.Reason(), Remote: true}
	case e.crossed(f):
		return nil, nil
	case f.Type() != awaited[e.state] || f.Run() != e.run:
		return e.fail()
	}
	switch e.state {
	case awaitA:
		return e.takeA(f)
	case awaitB:
		return e.takeB(f)
	case awaitC:
		return e.takeC(f)
	default:
		e.forget(done) // PW_OK has no body
		return nil, nil
	}
}

// crossed reports whether f is the PW_REQUEST for this very run, sent by R before it
// saw PW_A. One is possible, and means nothing any more.
func (e *Exchange) crossed(f Frame) bool {
	if f.Type() != TypeRequest || e.state != awaitB || e.requested || f.Slot() != e.slot {
		return false
	}
	e.requested = true
	return true
}

// takeA is R's: PW_A has arrived, PW_B is due.
func (e *Exchange) takeA(f Frame) (Frame, error) {
	ya := f.body()[1+slotBytes:]
	if f.Slot() != e.slot {
		return e.fail()
	}
	ada, adb, own := e.associated('I'), e.associated('R'), e.keys()
	k, err := multiply(own.scalar, ya)
	if err != nil {
		return e.fail()
	}
	own.scalar = nil
	own.isk = sessionKey(e.sid[:], k, transcript(ya, ada, e.point, adb))
	own.wantTag = tag(e.sid[:], own.isk, ya, ada)
	e.state = awaitC
	return frame(TypeB, e.run, e.point, tag(e.sid[:], own.isk, e.point, adb)), nil
}

// takeB is I's: PW_B has arrived, PW_C is due. Ta goes only to who has proven that it
// knows the secret: it is something to check a guess by.
func (e *Exchange) takeB(f Frame) (Frame, error) {
	yb, tb := f.body()[:pointBytes], f.body()[pointBytes:]
	ada, adb, own := e.associated('I'), e.associated('R'), e.keys()
	k, err := multiply(own.scalar, yb)
	if err != nil {
		return e.fail()
	}
	own.scalar = nil
	own.isk = sessionKey(e.sid[:], k, transcript(e.point, ada, yb, adb))
	if !hmac.Equal(tb, tag(e.sid[:], own.isk, yb, adb)) {
		return e.fail()
	}
	e.state = awaitOK
	return frame(TypeC, e.run, tag(e.sid[:], own.isk, e.point, ada)), nil
}

// takeC is R's: PW_C has arrived, PW_OK is due.
func (e *Exchange) takeC(f Frame) (Frame, error) {
	if !hmac.Equal(f.body(), e.keys().wantTag) {
		return e.fail()
	}
	e.forget(done)
	return frame(TypeOK, e.run), nil
}

// associated is ADa or ADb.
func (e *Exchange) associated(role byte) []byte {
	return append([]byte{role, e.run, suite}, e.slot[:]...)
}

// fail is the one way in which a check fails.
func (e *Exchange) fail() (Frame, error) {
	return e.Abort(ReasonBad), &AbortError{Reason: ReasonBad}
}

// Abort ends the run from this side, for a reason that lies outside it: silence, the
// user. It returns the PW_ABORT to send, or nil if the run has ended already. An
// attempt that was counted stays counted.
func (e *Exchange) Abort(r Reason) Frame {
	if e.state == done || e.state == failed {
		return nil
	}
	e.forget(failed)
	return Refuse(e.run, r)
}

// forget ends the run and drops what is not needed any more.
func (e *Exchange) forget(s state) {
	e.state = s
	own := e.keys()
	own.scalar, own.wantTag = nil, nil
	if s != done {
		clear(own.isk)
		own.isk = nil
	}
}

// Done reports whether the run has succeeded: the peer has proven that it knows the
// secret and sees the same [Context], and knows that this end does too. The count of
// attempts may be cleared.
func (e *Exchange) Done() bool { return e.state == done }

// ISK returns the session key that only the two ends know, 64 octets, a copy; nil unless
// [Exchange.Done]. It must go through a key derivation before use.
func (e *Exchange) ISK() []byte {
	if !e.Done() {
		return nil
	}
	return bytes.Clone(e.keys().isk)
}

// Format implements fmt.Formatter so that every verb prints the same, and no key.
func (e *Exchange) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "cpace.Exchange(run %d)", e.run)
}
