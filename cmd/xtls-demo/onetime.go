// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"example.org/xtls/xtls"
)

// answerType says that the peer's user shows the one-time code.
const answerType = "type"

// errAsked ends a question because the peer's user has chosen meanwhile.
var errAsked = errors.New("the peer's user has chosen")

// read has a line typed: by the script, or on the terminal.
func (g *gate) read(ctx context.Context, text string) (string, error) {
	if g.script != nil {
		return g.script.next(ctx)
	}
	return g.ask(ctx, text, false)
}

// question asks how to verify v. If the peer's user is first, it ends with
// errAsked, and v.Asked says what is wanted.
func (g *gate) question(ctx context.Context, v *xtls.Verification, text string) (string, error) {
	if v.Asked != "" {
		return g.read(ctx, text)
	}
	asking, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	wanted := make(chan string, 1)
	go func() {
		method, err := v.Wanted(asking)
		if err == nil {
			stop(errAsked)
		}
		wanted <- method
	}()
	answer, err := g.read(asking, text)
	stop(nil)
	method := <-wanted
	if errors.Is(err, errAsked) {
		v.Asked = method
	}
	return answer, err
}

// methodOf is the method by which what the peer asks for is answered; "" if it asks
// for nothing.
func methodOf(asked string) string {
	switch asked {
	case xtls.AskedTypeCode, xtls.AskedShowCode:
		return methodCode
	default:
		return asked // sas and password have the same names here
	}
}

// code verifies with a one-time code, which this end shows or types as its user
// wants, or as the peer's has chosen before.
func (g *gate) code(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
	peer := printable(v.Peer.Bare().String())
	text := fmt.Sprintf("Enter shows a one-time code, which you read to the user of %s. If they show one,\n"+
		"type \"type\", or type it here: ", peer)
	for typos := 1; ; typos++ {
		switch v.Asked {
		case xtls.AskedTypeCode:
			return g.typeCode(ctx, v, xtls.Secret{})
		case xtls.AskedShowCode:
			return g.showCode(ctx, v)
		}
		answer, err := g.question(ctx, v, text)
		switch answer = strings.TrimSpace(answer); {
		case errors.Is(err, errAsked):
			continue
		case err != nil:
			return xtls.LevelNone, stopped(err)
		case answer == "":
			return g.showCode(ctx, v)
		case answer == answerType:
			return g.typeCode(ctx, v, xtls.Secret{})
		}
		secret, err := xtls.ParseCode(answer)
		switch {
		case err == nil:
			return g.typeCode(ctx, v, secret)
		case typos >= maxTypos:
			return xtls.LevelNone, err
		}
		text = fmt.Sprintf("  That is no code (%s). Enter, \"type\" or the code: ", printable(err.Error()))
	}
}

// showCode shows a code until the peer's user has typed it. One that was mistyped
// over there is shown again, as long as it is valid.
func (g *gate) showCode(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
	code := g.codeFor(v.Peer.Bare().String())
	display, peer := code.Display(), printable(v.Peer.Bare().String())
	g.ui.event("code", "peer", v.Peer, "display", display)
	g.ui.print(g.ui.people, "%s", []any{verbatim(fmt.Sprintf(`
  One-time code:  %s

  Read it to the user of %s, by telephone or in person and not over XMPP, and make
  sure that it is them. They type it. It is good for %d minutes and three attempts.
Waiting until the user of %s has typed it ...`, display, peer, int(xtls.CodeLife.Minutes()), peer))})
	return v.ShowCode(ctx, code)
}

// codeFor is the code that was shown for a peer and is still valid, or a new one.
// Only one question is asked at a time, so nobody else uses g.codes.
func (g *gate) codeFor(peer string) *xtls.Code {
	for p, c := range g.codes {
		if c.Display() == "" {
			delete(g.codes, p)
		}
	}
	if g.codes[peer] == nil {
		if g.codes == nil {
			g.codes = make(map[string]*xtls.Code)
		}
		g.codes[peer] = xtls.NewCode()
	}
	return g.codes[peer]
}

// typeCode has the user type the code that the peer shows, unless it is typed
// already.
func (g *gate) typeCode(ctx context.Context, v *xtls.Verification, typed xtls.Secret) (xtls.Level, error) {
	peer := printable(v.Peer.Bare().String())
	if v.Asked == "" {
		g.ui.say("Waiting until the user of %s shows a one-time code ...", verbatim(peer))
	}
	return v.TypeCode(ctx, func(ctx context.Context) (xtls.Secret, error) {
		if !typed.IsZero() {
			return typed, nil
		}
		text := fmt.Sprintf("The one-time code that the user of %s reads out (empty: give up): ", peer)
		for typos := 1; ; typos++ {
			answer, err := g.read(ctx, text)
			if err != nil {
				return xtls.Secret{}, stopped(err)
			}
			if strings.TrimSpace(answer) == "" {
				return xtls.Secret{}, errRefused
			}
			secret, err := xtls.ParseCode(answer)
			if err == nil || typos == maxTypos {
				return secret, err
			}
			text = fmt.Sprintf("  That is no code (%s). Have it read again: ", printable(err.Error()))
		}
	})
}
