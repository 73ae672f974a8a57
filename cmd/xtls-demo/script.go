// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"cmp"
	"context"
	"io"

	"example.org/xtls/sas"
	"example.org/xtls/xtls"
)

// A script answers in the place of a person: each answer is a line of standard
// input. One question at a time is asked, see gate.inTurn.
type script struct {
	in      io.Reader
	reading chan scriptLine // a read that was not waited for; nil: none
}

type scriptLine struct {
	text string
	err  error
}

// next reads a line. A read cannot be interrupted: if ctx ends before, the line
// is the next one's, for whom it is no match.
func (s *script) next(ctx context.Context) (string, error) {
	if s.reading == nil {
		s.reading = make(chan scriptLine, 1)
		go func(done chan<- scriptLine) {
			text, err := readLine(s.in)
			done <- scriptLine{text, err}
		}(s.reading)
	}
	select {
	case l := <-s.reading:
		s.reading = nil
		return l.text, l.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// scripted verifies with what standard input says (--yes-code-from-stdin).
func (g *gate) scripted(ctx context.Context, v *xtls.Verification) (level xtls.Level, err error) {
	method := cmp.Or(g.method, methodOf(v.Asked), methodSAS)
	switch method {
	case methodSAS:
		level, err = v.SAS(ctx, func(ctx context.Context, code sas.Code) (sas.Result, error) {
			return g.scriptedCode(ctx, v, code)
		})
	case methodCode:
		level, err = g.code(ctx, v)
	default:
		var typed string
		if typed, err = g.script.next(ctx); err != nil {
			return xtls.LevelNone, stopped(err)
		}
		if method == methodFingerprint {
			level, err = v.Compare(typed)
			break
		}
		var secret xtls.Secret
		if secret, err = xtls.ParsePassword(typed); err == nil {
			level, err = v.Password(ctx, secret)
		}
	}
	if err == nil {
		g.success(v, method)
	}
	return level, err
}

// scriptedCode shows a code and compares it with the next line, once.
func (g *gate) scriptedCode(ctx context.Context, v *xtls.Verification, code sas.Code) (sas.Result, error) {
	g.sasEvent(v, code)
	if !g.ui.jsonMode {
		g.ui.print(g.ui.people, "code for %s: %s  %s  %q", []any{v.Peer, code.B32(), numbers(code), pictures(code)})
	}
	typed, err := g.script.next(ctx)
	switch {
	case err != nil:
		return sas.GaveUp, stopped(err)
	case matches(code, typed):
		return sas.Match, nil
	default:
		return sas.Mismatch, nil
	}
}
