// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mellium.im/xmpp/jid"
)

// ErrUnknown is what [Store.Check] and [Store.Touch] report if nothing is known of the peer, nor of the key.
var ErrUnknown = errors.New("fingerprint: the peer is unknown: no key of it has been seen before")

// A ChangedError says that a peer is known, but by other keys. Either the peer has a new device or installation, or somebody is in the middle.
// Nothing may be sent before the user has decided; if [ChangedError.Verified], nothing but a new verification may decide
// (PROTOCOL.md section 7). Revoked keys are among those known: a peer that has no other is not new, and the user is asked.
type ChangedError struct {
	Peer jid.JID     // bare
	Got  Fingerprint // what the peer shows now
	Want []Record    // what is known of the peer, in the order of the store; never empty
}

// Verified reports whether any of the known keys is verified or certified, rather than only seen before or revoked.
func (e *ChangedError) Verified() bool {
	level := e.best().Level
	return level == LevelVerified || level == LevelCA
}

// allows reports whether a further key may be added at this level. A CA does not overrule the user. another: the user was asked.
func (e *ChangedError) allows(level Level, another bool) bool {
	switch level {
	case LevelVerified:
		return true
	case LevelCA:
		return e.best().Level != LevelVerified
	}
	return another && !e.Verified()
}

// best returns the record that says most about the peer: of those of the highest level the one verified last, else the first one.
func (e *ChangedError) best() Record {
	rank := func(r Record) int {
		return slices.Index([]Level{LevelRevoked, LevelPinned, LevelCA, LevelVerified}, r.Level)
	}
	best := e.Want[0]
	for _, r := range e.Want[1:] {
		higher := rank(r) - rank(best)
		if higher > 0 || higher == 0 && r.Level != LevelRevoked && r.Verified.After(best.Verified) {
			best = r
		}
	}
	return best
}

func (e *ChangedError) Error() string {
	best := e.best()
	var b strings.Builder
	fmt.Fprintf(&b, "fingerprint: the key of %s is not ", quote(e.Peer.String()))
	switch best.Level {
	case LevelVerified:
		fmt.Fprintf(&b, "the one that was verified%s (%s)", on(best.Verified), best.Method)
	case LevelCA:
		fmt.Fprintf(&b, "the one that was certified%s", on(best.Verified))
	case LevelRevoked:
		b.WriteString("a known one; what was known is revoked")
	default:
		fmt.Fprintf(&b, "the one first seen%s (never checked)", on(best.First))
	}
	fmt.Fprintf(&b, ": was %s", best.Key)
	if more := len(e.Want) - 1; more > 0 {
		fmt.Fprintf(&b, " (or one of %d more)", more)
	}
	fmt.Fprintf(&b, ", now %s", e.Got)
	return b.String()
}

func on(t time.Time) string {
	if t.IsZero() {
		return " earlier"
	}
	return " on " + t.Format(time.DateOnly)
}

// An OtherPeerError says that a key is known as somebody else's. One key is never accepted for two addresses: that is how one pretends to
// be another (RFC 8844).
type OtherPeerError struct {
	Peer  jid.JID     // who shows the key now, bare
	Got   Fingerprint // the key
	Other jid.JID     // whose it is, bare
}

func (e *OtherPeerError) Error() string {
	return fmt.Sprintf("fingerprint: %s shows the key that is known as that of %s; a key belongs to one address only: %s",
		quote(e.Peer.String()), quote(e.Other.String()), e.Got)
}

// A RevokedError says that the peer shows a key that the user has revoked with [Store.Revoke]. Nothing may be sent, and nobody is to be
// asked: whoever has the key may not be the peer.
type RevokedError struct {
	Record Record // what is known of the key; its Level is LevelRevoked
}

func (e *RevokedError) Error() string {
	return fmt.Sprintf("fingerprint: %s shows a key that is revoked: %s", quote(e.Record.Peer.String()), e.Record.Key)
}
