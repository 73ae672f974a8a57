// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.org/xtls/fingerprint"
	"example.org/xtls/sas"
	"example.org/xtls/xtls/internal/cpace"
)

// A passwordRun is one end of one run of CPace (PROTOCOL.md section 7.2), with a
// password or a one-time code.
type passwordRun struct {
	t      *tunnel
	secret Secret
	slot   cpace.Slot // of the one-time code; zero for a password
	made   time.Time  // of the one-time code
	// typed has the user type the one-time code that the peer shows, which slot then
	// names; nil: the secret is known.
	typed func(context.Context) (Secret, error)

	x      *cpace.Exchange // from when the secret is known
	number byte            // of the run, with x
}

// run runs CPace to its end at both ends.
func (r *passwordRun) run(ctx context.Context) error {
	first, err := r.meet(ctx)
	if err != nil {
		return err
	}
	if err := r.begin(ctx, first); err != nil {
		return err
	}
	limit := sas.UserTimeout // the peer's user may have to type
	for !r.x.Done() {
		f, err := r.t.nextFrame(ctx, listening{isPassword, r.number, limit})
		if err != nil {
			return r.abort(ctx, err)
		}
		limit = sas.FrameTimeout
		switch {
		case f.typ == frameType(cpace.TypeRequest): // it asks for what has begun
			if err := r.fits(f.octets()); err != nil {
				return r.abort(ctx, err)
			}
			continue
		case f.typ == frameType(cpace.TypeAbort) && f.run == 0: // sent before it knew the run
			f.run = r.number
		}
		if err := r.step(ctx, f.octets()); err != nil {
			return err
		}
	}
	if err := r.t.count(r.succeed); err != nil {
		return err
	}
	return r.t.verified(r.method())
}

// meet waits for what the peer must say before the secret is known, or its place
// in the run: for R that is PW_A, for I whose user types a code the PW_REQUEST that
// names it. R, and I whose user types, ask for that unless it is there.
func (r *passwordRun) meet(ctx context.Context) (cpace.Frame, error) {
	wanted := cpace.TypeA
	if r.t.initiator() {
		wanted = cpace.TypeRequest
	}
	f, err := r.waiting(wanted)
	switch {
	case err != nil:
		return nil, r.refuse(ctx, f, err)
	case r.t.initiator() && r.typed == nil:
		return nil, nil // I begins
	case f == nil:
		if err := r.t.sendPassword(ctx, cpace.Request(r.requested())); err != nil {
			return nil, err
		}
	}
	for f == nil {
		in, err := r.t.nextFrame(ctx, r.listening())
		if err == nil {
			f, err = r.take(in, wanted)
		}
		if err != nil {
			return nil, r.refuse(ctx, f, err)
		}
	}
	if r.typed != nil {
		r.slot, r.made = f.Slot(), time.Now()
		if r.secret, err = r.typed(ctx); err != nil {
			return nil, r.refuse(ctx, f, err)
		}
	}
	return f, nil
}

// waiting looks through the frames that are there already.
func (r *passwordRun) waiting(wanted cpace.FrameType) (cpace.Frame, error) {
	r.t.askedFor() // drops what is left of earlier runs
	for {
		in, ok, err := r.t.takeVerifyFrame(r.listening())
		if err != nil || !ok {
			return nil, err
		}
		if f, err := r.take(in, wanted); f != nil || err != nil {
			return f, err
		}
	}
}

// listening is for frames that no run here has seen yet.
func (r *passwordRun) listening() listening {
	return listening{isPassword, r.t.nextPasswordRun(), sas.UserTimeout}
}

// take takes one frame before the run. It returns the frame if it is the one
// wanted, and with an error the one to refuse.
func (r *passwordRun) take(in frame, wanted cpace.FrameType) (cpace.Frame, error) {
	f, err := cpace.ParseFrame(in.octets())
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrControl, err)
	case f.Type() == cpace.TypeAbort:
		return nil, passwordError(&cpace.AbortError{Reason: f.Reason(), Remote: true})
	case f.Type() != cpace.TypeRequest && (f.Type() != cpace.TypeA || r.t.initiator()):
		return nil, fmt.Errorf("%w: %s before the run", ErrControl, f)
	}
	if err := r.fits(f); err != nil {
		return f, err
	}
	if f.Type() == wanted && (r.typed == nil || f.Slot() != cpace.AnyCode()) {
		return f, nil
	}
	return nil, nil
}

// fits reports why a PW_REQUEST or PW_A is for another secret than this run's.
func (r *passwordRun) fits(octets []byte) error {
	f, err := cpace.ParseFrame(octets)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrControl, err)
	}
	ours, theirs := r.requested(), f.Slot()
	switch {
	case ours.IsPassword() != theirs.IsPassword():
		return ErrOtherMethod
	case ours.IsPassword():
		return nil
	case r.typed != nil && theirs == cpace.AnyCode():
		return fmt.Errorf("%w: both want to type a code; one has to show it", ErrOtherMethod)
	case r.typed == nil && theirs != ours && theirs != cpace.AnyCode():
		return fmt.Errorf("%w: both show a code; one has to type the other's", ErrOtherMethod)
	}
	return nil
}

// requested is the slot by which this end asks for the run.
func (r *passwordRun) requested() cpace.Slot {
	if r.typed != nil {
		return cpace.AnyCode()
	}
	return r.slot
}

// begin makes the exchange and sends its first frame, if that is for this end to
// do. first is the peer's, if it has begun.
func (r *passwordRun) begin(ctx context.Context, first cpace.Frame) error {
	t := r.t
	run := t.nextPasswordRun()
	if !t.initiator() {
		run = first.Run()
	}
	if run == 0 {
		return fmt.Errorf("%w: 255 runs in this session", ErrTooOften)
	}
	t.passwordRunBegun(run)
	r.number = run
	c, err := t.cpaceContext(run)
	if err != nil {
		return err
	}
	if !t.initiator() {
		if r.x, err = cpace.Respond(r.secret, run, r.slot, c); err != nil {
			return err
		}
		return r.step(ctx, first)
	}
	x, f, err := cpace.Initiate(r.secret, run, r.slot, c)
	if err != nil {
		return err
	}
	r.x = x
	return r.send(ctx, f)
}

// step hands a frame to the exchange and sends what it answers.
func (r *passwordRun) step(ctx context.Context, octets []byte) error {
	reply, stepErr := r.x.Step(octets)
	var sendErr error
	if reply != nil {
		sendErr = r.send(ctx, reply)
	}
	if stepErr != nil {
		return passwordError(stepErr) // whether the peer hears of it or not
	}
	return sendErr
}

// send sends a frame; one that exposes this end to a guess is counted on disk
// before.
func (r *passwordRun) send(ctx context.Context, f cpace.Frame) error {
	if f.Counts() {
		if err := r.t.count(r.attempt); err != nil {
			return r.abort(ctx, err)
		}
	}
	return r.t.sendPassword(ctx, f)
}

// abort ends a run that cannot go on and tells the peer.
func (r *passwordRun) abort(ctx context.Context, err error) error {
	if f := r.x.Abort(abortReason(err)); f != nil && ctx.Err() == nil {
		_ = r.t.sendPassword(ctx, f)
	}
	return err
}

// refuse tells the peer that nothing comes of the run that it has begun with f, or
// that it was asked for.
func (r *passwordRun) refuse(ctx context.Context, f cpace.Frame, err error) error {
	var run byte
	if f != nil {
		run = f.Run()
	}
	var abort *cpace.AbortError
	if ctx.Err() == nil && !errors.As(err, &abort) {
		_ = r.t.sendPassword(ctx, cpace.Refuse(run, abortReason(err)))
	}
	r.t.passwordRunBegun(run)
	return err
}

func abortReason(err error) cpace.Reason {
	switch {
	case errors.Is(err, ErrTooOften), errors.Is(err, ErrCodeSpent):
		return cpace.ReasonLimit
	case errors.Is(err, ErrInterrupted):
		return cpace.ReasonTimeout
	default:
		return cpace.ReasonUser
	}
}

// passwordError says what a failed run means. A wrong secret and somebody in the
// middle look alike: that is the point.
func passwordError(err error) error {
	var abort *cpace.AbortError
	if !errors.As(err, &abort) {
		return err
	}
	switch {
	case abort.Reason == cpace.ReasonBad:
		return fmt.Errorf("%w (%w)", ErrPassword, err)
	case abort.Remote && abort.Reason == cpace.ReasonUser:
		return fmt.Errorf("%w (%w)", ErrNotCompared, err)
	case abort.Remote && abort.Reason == cpace.ReasonLimit:
		return fmt.Errorf("%w (%w)", ErrTooOften, err)
	default:
		return fmt.Errorf("%w: %w", ErrInterrupted, err)
	}
}

// method is how the peer is verified if the run succeeds.
func (r *passwordRun) method() fingerprint.Method {
	if r.slot.IsPassword() {
		return fingerprint.MethodPassword
	}
	return fingerprint.MethodCode
}

// attempt counts an attempt as failed, in advance.
func (r *passwordRun) attempt(p *fingerprint.Peer) error {
	now := time.Now()
	if r.slot.IsPassword() {
		next, err := attempts(p).Begin(now)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrTooOften, err)
		}
		setAttempts(p, next)
		return nil
	}
	c, err := r.tries(p, now)
	if err != nil {
		return err
	}
	next, err := cpace.CodeAttempts{Made: c.Made, Tried: c.Tried}.Begin(now)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCodeSpent, err)
	}
	c.Tried = next.Tried
	return nil
}

// tries is the place of the one-time code among those of p. Codes that are not
// valid any more leave theirs.
func (r *passwordRun) tries(p *fingerprint.Peer, now time.Time) (*fingerprint.CodeTries, error) {
	mine := func(c fingerprint.CodeTries) bool { return c.Slot == r.slot }
	p.Codes = slices.DeleteFunc(p.Codes, func(c fingerprint.CodeTries) bool { return !mine(c) && now.Sub(c.Made) >= CodeLife })
	i := slices.IndexFunc(p.Codes, mine)
	if i < 0 {
		if i = len(p.Codes); i == fingerprint.MaxCodes {
			return nil, fmt.Errorf("%w: %d one-time codes within %v", ErrTooOften, i, CodeLife)
		}
		p.Codes = append(p.Codes, fingerprint.CodeTries{Slot: r.slot, Made: r.made})
	}
	return &p.Codes[i], nil
}

// succeed takes back what attempt counted. A one-time code is used up.
func (r *passwordRun) succeed(p *fingerprint.Peer) error {
	if r.slot.IsPassword() {
		setAttempts(p, attempts(p).Succeed())
		return nil
	}
	c, err := r.tries(p, time.Now())
	if err == nil {
		c.Tried = cpace.CodeAttempts{}.Succeed().Tried
	}
	return err
}

func attempts(p *fingerprint.Peer) cpace.PasswordAttempts {
	return cpace.PasswordAttempts{InRow: p.PasswordFailures, Total: p.PasswordTotal, LockedUntil: p.PasswordLocked}
}

func setAttempts(p *fingerprint.Peer, a cpace.PasswordAttempts) {
	p.PasswordFailures, p.PasswordTotal, p.PasswordLocked = a.InRow, a.Total, a.LockedUntil
}

// askedBy is what a frame that begins a run with a password or a code asks for.
func askedBy(f frame) string {
	parsed, err := cpace.ParseFrame(f.octets())
	switch {
	case err != nil || parsed.Slot().IsPassword(): // the run finds what is wrong with it
		return AskedPassword
	case parsed.Slot() == cpace.AnyCode():
		return AskedShowCode
	default:
		return AskedTypeCode
	}
}

// nextPasswordRun is the number of the next run; 0 if there can be none.
func (t *tunnel) nextPasswordRun() byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.passwordRuns + 1
}

// passwordRunBegun notes that the peer has seen, or made, a run of this number.
func (t *tunnel) passwordRunBegun(run byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.passwordRuns = max(t.passwordRuns, run)
}

// octets is the frame as package cpace reads it.
func (f frame) octets() []byte { return append([]byte{byte(f.typ), f.run}, f.body...) }

// sendPassword sends a frame of package cpace.
func (t *tunnel) sendPassword(ctx context.Context, f cpace.Frame) error {
	return t.send(ctx, frame{typ: frameType(f.Type()), run: f.Run(), body: f[2:]})
}

// cpaceContext is what both ends must see alike for a password to match.
func (t *tunnel) cpaceContext(run byte) (cpace.Context, error) {
	sid, err := t.keys.derive("cpace sid", append(t.keys.ctx[:], run), 32)
	if err != nil {
		return cpace.Context{}, err
	}
	n := t.negotiation()
	c := cpace.Context{
		SID:          [32]byte(sid),
		InitiatorJID: n.initiator.Bare().String(), ResponderJID: n.responder.Bare().String(),
		FPI: t.client.fingerprint, FPR: t.state.Fingerprint,
		NH: n.hash(),
	}
	if !t.initiator() {
		c.FPI, c.FPR = c.FPR, c.FPI
	}
	return c, nil
}
