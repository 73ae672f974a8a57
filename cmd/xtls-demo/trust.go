// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"example.org/xtls/xtls"
)

// maxQuestions is how many unknown peers may wait to be asked about. More are
// refused at once: nobody answers so many.
const maxQuestions = 8

// A gate decides about peers whose key is unknown. It is safe for concurrent use;
// questions come one after the other.
type gate struct {
	ui        *ui
	acceptNew bool
	minLevel  xtls.Level
	attended  bool        // somebody may be asked
	taken     atomic.Bool // the terminal has become the input of a tunnel

	waiting chan struct{} // one token for each question, asked or waiting
	turn    chan struct{} // holds a token while one is asked
}

func (a *app) newGate() *gate {
	return &gate{
		ui: a.ui, acceptNew: a.set.acceptNew, minLevel: xtls.Level(a.set.minLevel), attended: a.attended(),
		waiting: make(chan struct{}, maxQuestions), turn: make(chan struct{}, 1),
	}
}

// verify implements xtls.Config.Verify.
func (g *gate) verify(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
	peer := v.Peer.Bare()
	refuse := func(why string) (xtls.Level, error) {
		return xtls.LevelNone, &unknownError{peer, v.Fingerprint, why}
	}
	g.ui.event("new", "peer", v.Peer, "fingerprint", v.Fingerprint, "service", v.App.Service)
	switch {
	case g.minLevel > xtls.LevelServerVouched:
		return refuse(fmt.Sprintf("you have never talked to it, and --min-level %s demands more", g.minLevel))
	case g.acceptNew:
		g.ui.say("%s is NEW: its key %s is pinned without asking (--accept-new)", v.Peer, v.Fingerprint.Grouped())
		return xtls.LevelServerVouched, nil
	case !g.attended || g.taken.Load():
		return refuse("you have never talked to it, and there is nobody to ask")
	}
	err := g.ask(ctx, v)
	switch {
	case err == nil:
		return xtls.LevelServerVouched, nil
	case errors.Is(err, errNoTerminal):
		return refuse("you have never talked to it, and there is nobody to ask")
	case errors.Is(err, errRefused):
		return refuse("you did not pin it")
	case ctx.Err() != nil:
		return xtls.LevelNone, err
	default:
		return refuse(err.Error())
	}
}

var (
	errRefused       = errors.New("the answer was not pin")
	errManyQuestions = errors.New("too many other unknown peers wait for an answer")
)

// ask asks on the terminal.
func (g *gate) ask(ctx context.Context, v *xtls.Verification) error {
	select {
	case g.waiting <- struct{}{}:
		defer func() { <-g.waiting }()
	default:
		return errManyQuestions
	}
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	answer, err := ask(ctx, question(v), false)
	if err != nil {
		return err
	}
	if strings.TrimSpace(answer) != "pin" {
		return errRefused
	}
	return nil
}

// question is what a person is asked about an unknown key.
func question(v *xtls.Verification) string {
	what := "You are calling"
	if !v.Initiator {
		what = "A tunnel is wanted by"
	}
	service := "a tunnel"
	if v.App.Service != "" {
		service = "service " + v.App.Service
	}
	return fmt.Sprintf(`
  %s %s (%s).
  It shows the key  %s
  This key is NEW: you have never talked to it. Only the servers vouch for it, and
  a dishonest server could have put its own there. To be sure, ask the peer by
  telephone or in person for its fingerprint (xtls-demo id) and compare.

  Type "pin" to remember this key and go on, anything else stops: `,
		what, printable(v.Peer.String()), printable(service), v.Fingerprint.Grouped())
}
