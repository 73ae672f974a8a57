// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.org/xtls/fingerprint"
	"example.org/xtls/sas"
	"example.org/xtls/xtls/internal/cpace"
)

// Frames of verifications (PROTOCOL.md section 7) are put in order here and
// handed, one by one, to the run that waits for them. The rules of a run are in
// package sas and in cpace; here are its time-outs, its counters on disk, and
// what its end does to the tunnel.

const (
	firstSAS      frameType = 0x10
	firstPassword frameType = 0x20
	lastPassword  frameType = 0x2f
)

func isSAS(typ frameType) bool      { return typ >= firstSAS && typ < firstPassword }
func isPassword(typ frameType) bool { return typ >= firstPassword && typ <= lastPassword }

// begins reports whether a frame begins a run, or asks for one.
func begins(typ frameType) bool {
	switch typ {
	case frameType(sas.FrameRequest), frameType(sas.FrameCommit), frameType(cpace.TypeRequest), frameType(cpace.TypeA):
		return true
	default:
		return false
	}
}

// askedFor is the method by which the peer has begun a run that nobody here has
// joined yet. What waits before is left over from a run that is over, and dropped.
func (t *tunnel) askedFor() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.verifyFrames) > 0 && !begins(t.verifyFrames[0].typ) {
		t.verifyFrames = t.verifyFrames[1:]
	}
	switch {
	case len(t.verifyFrames) == 0:
		return ""
	case isSAS(t.verifyFrames[0].typ):
		return AskedSAS
	default:
		return askedBy(t.verifyFrames[0])
	}
}

// queueLocked takes a frame of a verification.
func (t *tunnel) queueLocked(f frame) error {
	if len(t.verifyFrames) == maxFrames {
		return errFlood
	}
	t.verifyFrames = append(t.verifyFrames, f)
	select {
	case t.verifyWake <- struct{}{}:
	default:
	}
	if begins(f.typ) {
		select {
		case t.begun <- struct{}{}:
		default:
		}
		t.answerVerifyLocked()
	}
	return nil
}

// awaitAsked waits until the peer has begun a run that nobody here has joined, and
// returns the method.
func (t *tunnel) awaitAsked(ctx context.Context) (string, error) {
	for {
		if method := t.askedFor(); method != "" {
			return method, nil
		}
		if _, err := await(ctx, t, t.begun); err != nil {
			return "", err
		}
	}
}

// A listening says which frames a run waits for.
type listening struct {
	mine  func(frameType) bool
	run   byte          // frames of earlier runs are dropped
	limit time.Duration // for the next frame
}

// nextFrame waits for the next frame of a run.
func (t *tunnel) nextFrame(ctx context.Context, l listening) (frame, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.limit, fmt.Errorf("%w: nothing came within %v", ErrInterrupted, l.limit))
	defer cancel()
	for {
		if f, ok, err := t.takeVerifyFrame(l); ok || err != nil {
			return f, err
		}
		select {
		case <-t.verifyWake:
		case <-ctx.Done():
			if f, ok, err := t.takeVerifyFrame(l); ok || err != nil {
				return f, err // it came before the end
			}
			return frame{}, context.Cause(ctx)
		}
	}
}

// refuseRun tells the peer that nobody here joins the run that it has begun, if it
// still waits for that.
func (t *tunnel) refuseRun() {
	method := t.askedFor()
	t.mu.Lock()
	var run byte
	if len(t.verifyFrames) > 0 {
		run = t.verifyFrames[0].run
		t.verifyFrames = nil
	}
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.ctx, goodbyeTime)
	defer cancel()
	switch method {
	case "":
	case AskedSAS:
		x, err := t.series.Exchange()
		if err != nil {
			return
		}
		if f, err := x.Abort(sas.ReasonUser); err == nil && f != nil {
			_ = t.send(ctx, frame{typ: frameType(f.Type), run: f.Run, body: f.Body})
		}
	default:
		_ = t.sendPassword(ctx, cpace.Refuse(run, cpace.ReasonUser))
		t.passwordRunBegun(run)
	}
}

// takeVerifyFrame takes the oldest frame of the run. One that begins the other
// method stays where it is, for whoever runs that.
func (t *tunnel) takeVerifyFrame(l listening) (frame, bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.verifyFrames) > 0 {
		f := t.verifyFrames[0]
		if !l.mine(f.typ) && begins(f.typ) {
			return frame{}, false, ErrOtherMethod
		}
		t.verifyFrames = t.verifyFrames[1:]
		if l.mine(f.typ) && (f.run == 0 || f.run >= l.run) {
			return f, true, nil
		}
	}
	return frame{}, false, nil
}

// count changes what is remembered of the peer; it is on disk when it returns.
func (t *tunnel) count(change func(p *fingerprint.Peer) error) error {
	_, err := t.client.cfg.Trust.ChangePeer(t.state.Peer, change)
	return err
}

// A sasRun is one end of one comparison of codes.
type sasRun struct {
	t       *tunnel
	x       *sas.Exchange
	counted bool
}

// runSAS runs one comparison to its end at both ends.
func (t *tunnel) runSAS(ctx context.Context, ask func(context.Context, sas.Code) (sas.Result, error)) error {
	x, err := t.series.Exchange()
	if err != nil {
		return err
	}
	r := &sasRun{t: t, x: x}
	code, err := r.exchange(ctx)
	if err != nil {
		return r.abandon(ctx, err)
	}
	if err := r.decide(ctx, code, ask); err != nil {
		return r.abandon(ctx, err)
	}
	_ = r.peerResult(ctx) // its mismatch is in the outcome
	return r.outcome()
}

// exchange goes as far as the code. The first frame of the peer may take as long
// as its user takes to come to the telephone, the others may not.
func (r *sasRun) exchange(ctx context.Context) (sas.Code, error) {
	limit := sas.UserTimeout
	if r.t.askedFor() != AskedSAS {
		f, err := r.x.Start()
		if err := r.emit(ctx, f, err); err != nil {
			return sas.Code{}, err
		}
	}
	for {
		if code, ok := r.x.Code(); ok {
			return code, nil
		}
		f, err := r.t.nextFrame(ctx, listening{isSAS, r.x.Run(), limit})
		if err != nil {
			return sas.Code{}, err
		}
		reply, err := r.x.Step(sas.Frame{Type: sas.FrameType(f.typ), Run: f.run, Body: f.body})
		if err := r.emit(ctx, reply, err); err != nil {
			return sas.Code{}, err
		}
		limit = sas.FrameTimeout
	}
}

// emit sends what the exchange wants sent. Before the frame leaves that gives the
// peer its one chance, the attempt is counted on disk as a failure: somebody in
// the middle who does not like what she sees must not get another for nothing.
func (r *sasRun) emit(ctx context.Context, f *sas.Frame, err error) error {
	var abort *sas.AbortError
	if errors.As(err, &abort) {
		if abort.Frame != nil {
			_ = r.send(ctx, abort.Frame)
		}
		return err
	}
	if err != nil {
		return err
	}
	if r.x.Committed() && !r.counted {
		if err := r.t.count(countSAS); err != nil {
			return err
		}
		r.counted = true
	}
	if f == nil {
		return nil
	}
	return r.send(ctx, f)
}

func countSAS(p *fingerprint.Peer) error {
	now := time.Now()
	if p.SASFailuresOn(now) >= sas.MaxFailuresPerDay {
		return fmt.Errorf("%w: %d today; compare the fingerprints instead, or wait until tomorrow", ErrTooOften, sas.MaxFailuresPerDay)
	}
	p.AddSASFailure(now)
	p.Interrupted++
	return nil
}

func (r *sasRun) send(ctx context.Context, f *sas.Frame) error {
	return r.t.send(ctx, frame{typ: frameType(f.Type), run: f.Run, body: f.Body})
}

// decide has the user compare and tells the peer. Meanwhile the peer's result is
// taken, and its mismatch ends the question.
func (r *sasRun) decide(ctx context.Context, code sas.Code, ask func(context.Context, sas.Code) (sas.Result, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, sas.UserTimeout, fmt.Errorf("%w: nobody decided within %v", ErrInterrupted, sas.UserTimeout))
	defer cancel()
	asking, stopAsking := context.WithCancelCause(ctx)
	defer stopAsking(nil)
	type answer struct {
		result sas.Result
		err    error
	}
	answered := make(chan answer, 1)
	go func() {
		result, err := ask(asking, code)
		answered <- answer{result, err}
	}()
	// The peer's frames are read beside the question, by this goroutine only.
	var peerErr error
	frames := make(chan struct{})
	reading, stopReading := context.WithCancel(ctx)
	go func() {
		defer close(frames)
		if peerErr = r.peerResult(reading); peerErr != nil && reading.Err() == nil {
			stopAsking(peerErr)
		}
	}()
	a := <-answered
	stopReading()
	<-frames
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case peerErr != nil && !errors.Is(peerErr, context.Canceled):
		return peerErr
	case a.err != nil:
		a.result = sas.GaveUp
	}
	f, err := r.x.Decide(a.result)
	if err != nil {
		return errors.Join(a.err, err)
	}
	if a.result == sas.Match {
		// Our user's word is enough, and must not be lost with the line.
		if err := r.t.verified(fingerprint.MethodSAS); err != nil {
			return err
		}
	}
	err = r.send(ctx, f)
	if a.result == sas.GaveUp {
		err = nil // it has come to nothing, whether the peer hears of it or not
	}
	return errors.Join(a.err, err)
}

// peerResult takes the peer's RESULT and returns an error if it is a mismatch or
// if the peer ended the run.
func (r *sasRun) peerResult(ctx context.Context) error {
	for {
		if result, ok := r.x.PeerResult(); ok {
			if result == sas.Mismatch {
				return ErrMismatch
			}
			return nil
		}
		f, err := r.t.nextFrame(ctx, listening{isSAS, r.x.Run(), sas.UserTimeout})
		if err != nil {
			return err
		}
		reply, err := r.x.Step(sas.Frame{Type: sas.FrameType(f.typ), Run: f.run, Body: f.body})
		if err := r.emit(ctx, reply, err); err != nil {
			return err
		}
	}
}

// outcome turns what the own user decided into an error, and writes down a mismatch.
// How the run went on after that, only a mismatch of the peer's user can change it.
func (r *sasRun) outcome() error {
	switch r.x.Outcome() {
	case sas.OutcomeMatch:
		return nil // whatever became of the peer's user: ours has seen equal codes
	case sas.OutcomeMismatch:
		return r.mismatch()
	default:
		return fmt.Errorf("%w: the user gave up", ErrInterrupted)
	}
}

// mismatch writes down that the codes differ. The run has had its result, so it
// does not count as interrupted.
func (r *sasRun) mismatch() error {
	return errors.Join(ErrMismatch, r.t.count(func(p *fingerprint.Peer) error {
		p.Disputed = time.Now()
		p.Interrupted = max(0, p.Interrupted-1)
		return nil
	}))
}

// abandon ends a run that cannot go on and tells the peer.
func (r *sasRun) abandon(ctx context.Context, err error) error {
	reason := sas.ReasonUser
	switch {
	case errors.Is(err, ErrTooOften):
		reason = sas.ReasonLimit
	case errors.Is(err, ErrInterrupted), errors.Is(err, context.DeadlineExceeded):
		reason = sas.ReasonTimeout
	}
	if f, abortErr := r.x.Abort(reason); abortErr == nil && f != nil && ctx.Err() == nil {
		_ = r.send(ctx, f)
	}
	if r.x.Outcome() == sas.OutcomeMismatch || errors.Is(err, ErrMismatch) {
		return r.mismatch()
	}
	var abort *sas.AbortError
	if errors.As(err, &abort) && abort.Reason == sas.ReasonLimit {
		return fmt.Errorf("%w: %w", ErrTooOften, err)
	}
	if errors.As(err, &abort) && abort.Remote && abort.Reason == sas.ReasonUser {
		return ErrNotCompared
	}
	if errors.As(err, &abort) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w: %w", ErrInterrupted, err)
	}
	return err
}
