// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"example.org/xtls/xtls"
)

// maxQuestions is how many peers may wait to be asked about. More are refused at
// once: nobody answers so many.
const maxQuestions = 8

// A gate decides about peers whose key is unknown or not known well enough, and
// verifies peers. It is safe for concurrent use; questions come one after the
// other.
type gate struct {
	ui        *ui
	acceptNew bool
	minLevel  xtls.Level
	attended  bool        // somebody may be asked
	taken     atomic.Bool // the terminal has become the input of a tunnel
	method    string      // how to verify: one of the methods; "" asks, or for scripts is methodSAS
	script    *script     // answers come from standard input; nil: from the terminal
	asking    atomic.Bool // a question was not answered, until the next one is

	verified atomic.Bool           // a peer has been verified in this run
	codes    map[string]*xtls.Code // that were shown, by bare JID; used by who has the turn

	waiting chan struct{} // one token for each question, asked or waiting
	turn    chan struct{} // holds a token while one is asked
}

func (a *app) newGate() *gate {
	g := &gate{
		ui: a.ui, acceptNew: a.set.acceptNew, minLevel: xtls.Level(a.set.minLevel), attended: a.attended(),
		method:  a.method,
		waiting: make(chan struct{}, maxQuestions), turn: make(chan struct{}, 1),
	}
	if a.set.yesCode {
		g.script = &script{in: a.in}
	}
	return g
}

var (
	errRefused       = errors.New("you neither verified nor pinned it")
	errManyQuestions = errors.New("too many other peers wait for an answer")
	errNobody        = errors.New("there is nobody to ask")
)

// verify implements xtls.Config.Verify.
func (g *gate) verify(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
	switch {
	case v.Live:
	case v.Changed != nil:
		g.ui.event("changed", "peer", v.Peer, "fingerprint", v.Fingerprint, "service", v.App.Service, "known", len(v.Changed))
	case v.Level == xtls.LevelNone:
		g.ui.event("new", "peer", v.Peer, "fingerprint", v.Fingerprint, "service", v.App.Service)
	}
	first := v.Level == xtls.LevelNone && v.Changed == nil && !v.Live
	level, err := g.decide(ctx, v, first)
	switch {
	case err == nil && level == xtls.LevelVerified:
		g.verified.Store(true)
		return level, nil
	case err == nil:
		return level, nil
	case isAlarm(err), errors.Is(err, errInterrupted):
		return xtls.LevelNone, err
	case errors.Is(err, errNoTerminal):
		err = errNobody
	}
	return xtls.LevelNone, &unknownError{v.Peer.Bare(), v.Fingerprint, standingOf(v), first && !g.acceptNew && g.mayPin(v), err}
}

// decide finds who decides: the script, --accept-new, or a person.
func (g *gate) decide(ctx context.Context, v *xtls.Verification, first bool) (xtls.Level, error) {
	switch {
	case g.script != nil:
		return g.inTurn(ctx, v, g.scripted)
	case first && g.acceptNew && g.mayPin(v):
		g.ui.say("%s is NEW: its key %s is pinned without asking (--accept-new)", v.Peer, v.Fingerprint.Grouped())
		return xtls.LevelServerVouched, nil
	case g.attended && !g.taken.Load():
		return g.inTurn(ctx, v, g.converse)
	case !v.Facts.Disputed.IsZero():
		return xtls.LevelNone, fmt.Errorf("a verification ended in a mismatch on %s, and %w", day(v.Facts.Disputed), errNobody)
	case g.minLevel > xtls.LevelServerVouched && !v.Live:
		return xtls.LevelNone, fmt.Errorf("--min-level %s demands more, and %w", g.minLevel, errNobody)
	case first:
		return xtls.LevelNone, fmt.Errorf("you have never talked to it, and %w", errNobody)
	default:
		return xtls.LevelNone, errNobody
	}
}

// mayPin reports whether a key may be used that nobody has verified.
func (g *gate) mayPin(v *xtls.Verification) bool {
	return g.minLevel <= xtls.LevelServerVouched && v.Facts.Disputed.IsZero()
}

// ask asks on the terminal, and notes whether there was an answer.
func (g *gate) ask(ctx context.Context, text string, hidden bool) (string, error) {
	g.asking.Store(true)
	line, err := ask(ctx, text, hidden)
	g.asking.Store(err != nil && !errors.Is(err, errAsked))
	return line, err
}

// inTurn waits until nobody else is asked about.
func (g *gate) inTurn(ctx context.Context, v *xtls.Verification, decide func(context.Context, *xtls.Verification) (xtls.Level, error)) (xtls.Level, error) {
	select {
	case g.waiting <- struct{}{}:
		defer func() { <-g.waiting }()
	default:
		return xtls.LevelNone, errManyQuestions
	}
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		return xtls.LevelNone, context.Cause(ctx)
	}
	return decide(ctx, v)
}

// success reports a verification. People see it whatever -q says: it is what they
// went to the telephone for.
func (g *gate) success(v *xtls.Verification, method string) {
	g.ui.event("verified", "peer", v.Peer, "method", method, "fingerprint", v.Fingerprint)
	g.ui.print(g.ui.people, "%s is now VERIFIED (%s, %s). Stored in known_peers.", []any{v.Peer.Bare(), method, day(time.Now())})
}

// standingOf is one word on the key of a peer that is to be judged.
func standingOf(v *xtls.Verification) string {
	switch {
	case v.Changed != nil:
		return "CHANGED"
	case v.Level == xtls.LevelVerified:
		return "VERIFIED"
	case v.Level == xtls.LevelCA:
		return "CA"
	case v.Level == xtls.LevelNone, v.Level == xtls.LevelServerVouched:
		return "NEW"
	default:
		return "PINNED"
	}
}

// stopped is err, or that the answer was to stop if the input has ended.
func stopped(err error) error {
	if errors.Is(err, io.EOF) {
		return errRefused
	}
	return err
}
