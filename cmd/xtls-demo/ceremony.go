// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"example.org/xtls/fingerprint"
	"example.org/xtls/sas"
	"example.org/xtls/xtls"
)

// The methods of --method.
const (
	methodSAS         = string(fingerprint.MethodSAS)
	methodPassword    = string(fingerprint.MethodPassword)
	methodCode        = string(fingerprint.MethodCode)
	methodFingerprint = string(fingerprint.MethodFingerprint)
)

// What else can be answered when a person is asked about a peer.
const (
	answerPin     = "pin"
	answerAnother = "another device"
)

// maxTypos is how often somebody may mistype what the other reads out. The last
// one is a mismatch.
const maxTypos = 3

// converse asks a person on the terminal.
func (g *gate) converse(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
	method := g.method
	text := introduction(v)
	if method != "" {
		g.ui.print(g.ui.people, "%s", []any{verbatim(text)})
	}
	alone := false // the peer does not compare
	for {
		if method == "" {
			answer, err := g.question(ctx, v, text+g.choices(v, alone))
			switch {
			case errors.Is(err, errAsked):
				text = ""
				continue
			case err != nil:
				return xtls.LevelNone, stopped(err)
			}
			if method = chosen(v, answer, alone); method == "" {
				return g.unverified(v, answer, alone)
			}
		}
		level, err := g.by(ctx, v, method)
		if !errors.Is(err, xtls.ErrNotCompared) || v.Live || v.Changed != nil || !g.mayPin(v) {
			return level, err
		}
		alone, method = true, ""
		text = fmt.Sprintf("\n  The user of %s does not compare: gave up, or knows your key already, or took it as it came.\n",
			printable(v.Peer.Bare().String()))
	}
}

// chosen is the method that an answer names, "" if it names none.
func chosen(v *xtls.Verification, answer string, alone bool) string {
	switch answer = strings.TrimSpace(answer); {
	case alone:
		return ""
	case answer == "" && v.Asked != "":
		return methodOf(v.Asked)
	case answer == "", answer == "compare":
		return methodSAS
	case answer == methodPassword, answer == methodCode:
		return answer
	default:
		return ""
	}
}

// unverified goes on without a verification, if that is what the answer says and
// may say.
func (g *gate) unverified(v *xtls.Verification, answer string, alone bool) (xtls.Level, error) {
	switch answer = strings.TrimSpace(answer); {
	case v.Changed != nil && answer == answerAnother && g.mayPin(v):
		v.AnotherDevice()
		return xtls.LevelServerVouched, nil
	case g.offersPin(v, alone) && answer == answerPin:
		return xtls.LevelServerVouched, nil
	default:
		return xtls.LevelNone, errRefused
	}
}

// offersPin reports whether a new key may be pinned as it is. Who calls in order
// to verify is not asked, unless the other side has gone on without.
func (g *gate) offersPin(v *xtls.Verification, alone bool) bool {
	return !v.Live && v.Changed == nil && v.Level == xtls.LevelNone && g.mayPin(v) && (alone || v.App.Service != verifyService)
}

// by verifies by one method and reports success.
func (g *gate) by(ctx context.Context, v *xtls.Verification, method string) (level xtls.Level, err error) {
	switch method {
	case methodPassword:
		level, err = g.password(ctx, v)
	case methodCode:
		level, err = g.code(ctx, v)
	case methodFingerprint:
		level, err = g.fingerprint(ctx, v)
	default:
		level, err = g.compare(ctx, v)
	}
	if err == nil && level == xtls.LevelVerified {
		g.success(v, method)
	}
	return level, err
}

// compare has the user type what the peer's user reads out.
func (g *gate) compare(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
	peer := printable(v.Peer.Bare().String())
	g.ui.say("Waiting until the user of %s chooses to compare as well ...", verbatim(peer))
	return v.SAS(ctx, func(ctx context.Context, code sas.Code) (sas.Result, error) {
		g.sasEvent(v, code)
		text := fmt.Sprintf(`
  Your code:  %s
              %s
              %s

  Read it to the user of %s, by telephone or in person and not over XMPP, and make
  sure that it is them. One line is enough. They read theirs to you.

  Type the code that THEY read out (empty: give up): `, code.B32Grouped(), numbers(code), strings.Join(pictures(code), ", "), peer)
		for typos := 1; ; typos++ {
			typed, err := g.ask(ctx, text, false)
			if err = stopped(err); err != nil && !errors.Is(err, errRefused) {
				return sas.GaveUp, err
			}
			switch {
			case err != nil, strings.TrimSpace(typed) == "":
				return sas.GaveUp, nil
			case matches(code, typed):
				g.ui.say("Right. Waiting until the user of %s has typed yours ...", verbatim(peer))
				return sas.Match, nil
			case typos == maxTypos:
				return sas.Mismatch, nil
			}
			text = fmt.Sprintf("  That is not your code. Have it read again, slowly; after %d more it is a mismatch: ", maxTypos-typos)
		}
	})
}

// matches reports whether the code was typed, in any of the forms that are shown.
func matches(code sas.Code, typed string) bool {
	b32, dec, emoji := code.Matches(sas.FormB32, typed), code.Matches(sas.FormDecimal, typed), code.Matches(sas.FormEmoji, typed)
	return b32 || dec || emoji
}

// numbers is a code as three numbers.
func numbers(code sas.Code) string { return strings.ReplaceAll(code.Decimal(), "-", " ") }

// pictures are the names of a code's pictures.
func pictures(code sas.Code) []string {
	names := make([]string, 0, 7)
	for _, e := range code.Emoji() {
		names = append(names, e.Name)
	}
	return names
}

func (g *gate) sasEvent(v *xtls.Verification, code sas.Code) {
	g.ui.event("sas", "peer", v.Peer, "b32", code.B32(), "decimal", numbers(code), "emoji", pictures(code))
}

// password has the user type what both have agreed on.
func (g *gate) password(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
	peer := printable(v.Peer.Bare().String())
	typed, err := g.ask(ctx, fmt.Sprintf("The password that you and %s have agreed on (not shown): ", peer), true)
	if err != nil {
		return xtls.LevelNone, stopped(err)
	}
	if typed == "" {
		return xtls.LevelNone, errRefused
	}
	secret, err := xtls.ParsePassword(typed)
	if err != nil {
		return xtls.LevelNone, err
	}
	g.ui.say("Waiting until the user of %s chooses the password as well ...", verbatim(peer))
	return v.Password(ctx, secret)
}

// fingerprint has the user type or paste what xtls-demo id prints over there.
func (g *gate) fingerprint(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
	text := fmt.Sprintf("The fingerprint of %s, as xtls-demo id prints it over there (empty: give up): ", printable(v.Peer.Bare().String()))
	for typos := 1; ; typos++ {
		typed, err := g.ask(ctx, text, false)
		if err != nil {
			return xtls.LevelNone, stopped(err)
		}
		if strings.TrimSpace(typed) == "" {
			return xtls.LevelNone, errRefused
		}
		key, err := fingerprint.Parse(typed)
		switch {
		case err == nil && (key == v.Fingerprint || typos == maxTypos):
			return v.Compare(typed)
		case typos == maxTypos:
			return xtls.LevelNone, err
		}
		text = fmt.Sprintf("  That is not the fingerprint of the key it shows. Look again; %d more: ", maxTypos-typos)
	}
}
