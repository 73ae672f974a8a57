// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"fmt"
	"strings"
	"time"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls"
)

// introduction is what a person is told of a peer before anything is asked.
func introduction(v *xtls.Verification) string {
	what := "You are calling"
	switch {
	case v.Live && v.Asked != "":
		what = "A verification is wanted by"
	case v.Live:
		what = "You verify"
	case !v.Initiator:
		what = "A tunnel is wanted by"
	}
	service := "a tunnel"
	switch {
	case v.App.IsXMLStream():
		service = "a chat"
	case v.App.Service != "":
		service = "service " + v.App.Service
	}
	return fmt.Sprintf("\n  %s %s (%s).\n  It shows the key  %s\n%s%s", what, printable(v.Peer.String()), printable(service),
		v.Fingerprint.Grouped(), situation(v), factLines("  ", v.Facts))
}

// situation says what is known of the key, and what that means.
func situation(v *xtls.Verification) string {
	switch {
	case v.Changed != nil:
		var b strings.Builder
		b.WriteString("  WARNING: this is not a key you know of it. You have used\n")
		for _, r := range v.Changed {
			fmt.Fprintf(&b, "      %s  since %s, %s\n", r.Key.Grouped(), day(r.First), unchecked(r))
		}
		b.WriteString(`  It is a new device or installation of the peer, or an attack: somebody, for
  example a server, is between you. Nothing has been sent. Do not guess: call the
  peer by telephone or meet it.
`)
		return b.String()
	case v.Level == xtls.LevelVerified:
		return "  This key is VERIFIED: you have verified it before.\n"
	case v.Level == xtls.LevelCA:
		return `  This key is CA: an authority that you named (--ca) says that it is the peer's. You
  have never checked it.
`
	case v.Level == xtls.LevelPinned, v.Live:
		return `  This key is PINNED, never checked. Somebody who was in the middle from the first
  contact on would not be noticed without verifying.
`
	default:
		return `  This key is NEW: you have never talked to it. Only the servers vouch for it, and
  a dishonest server could have put its own there.
`
	}
}

func unchecked(r fingerprint.Record) string {
	if r.Level == fingerprint.LevelRevoked {
		return "REVOKED"
	}
	return "never checked"
}

// choices is the question itself.
func (g *gate) choices(v *xtls.Verification, alone bool) string {
	if alone {
		return fmt.Sprintf(`  Type "pin" to remember its key and go on, and verify it later
  (xtls-demo verify %s); anything else stops: `, shellWord(v.Peer.Bare().String()))
	}
	var b strings.Builder
	b.WriteString("\n  Verify it now: call its user by telephone or meet, not over XMPP. They are asked\n  the same as you and must choose the same.\n")
	standard := methodSAS
	if v.Asked != "" {
		standard = methodOf(v.Asked)
	}
	switch v.Asked {
	case xtls.AskedPassword:
		b.WriteString("  They have chosen the password.\n")
	case xtls.AskedTypeCode:
		b.WriteString("  They have chosen a one-time code, which they see and you type.\n")
	case xtls.AskedShowCode:
		b.WriteString("  They have chosen a one-time code, which you see and they type.\n")
	case xtls.AskedSAS:
		b.WriteString("  They have chosen to compare codes.\n")
	}
	choice := func(method, keys, does string) {
		if method == standard {
			keys = "Enter"
			does += " (default)"
		}
		fmt.Fprintf(&b, "    %-18s %s\n", keys, does)
	}
	choice(methodSAS, `"compare"`, "compare six characters")
	choice(methodPassword, `"password"`, "type a password that both have agreed on")
	choice(methodCode, `"code"`, "one sees a one-time code, the other types it")
	switch {
	case v.Changed != nil && g.mayPin(v):
		fmt.Fprintf(&b, "  Type %q only if you know that it is one: the key is then used\n  without being verified. ", answerAnother)
	case g.offersPin(v, alone):
		b.WriteString("  Type \"pin\" to remember this key and go on without verifying it. ")
	default:
		b.WriteString("  ")
	}
	b.WriteString("Anything else stops: ")
	return b.String()
}

// factLines are lines on what is remembered of a peer whatever its key, each with
// indent before and a line break after it.
func factLines(indent string, p fingerprint.Peer) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, indent+format+"\n", args...) }
	if !p.Disputed.IsZero() {
		line("DISPUTED: a verification with this peer ended in a mismatch on %s.", day(p.Disputed))
	}
	if p.Interrupted > 0 {
		line("Verification with this peer was interrupted %s: so it is if", times(p.Interrupted))
		line("somebody in the middle sees that the codes differ.")
	}
	if p.SASFailures > 0 {
		line("Comparing codes failed %s on %s.", times(p.SASFailures), day(p.SASDay))
	}
	if p.PasswordFailures > 0 {
		line("The password was wrong %s in a row, %s in all.", times(p.PasswordFailures), times(p.PasswordTotal))
	}
	if !p.PasswordLocked.IsZero() {
		line("No password is tried before %s.", p.PasswordLocked.UTC().Format("2006-01-02 15:04 UTC"))
	}
	for _, c := range p.Codes {
		switch left := xtls.MaxCodeAttempts - c.Tried; {
		case time.Since(c.Made) >= xtls.CodeLife:
		case left > 0:
			line("A one-time code was wrong %s; it may be tried %s more.", times(c.Tried), times(left))
		default:
			line("A one-time code of %s is used up.", c.Made.UTC().Format("15:04 UTC"))
		}
	}
	return b.String()
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
