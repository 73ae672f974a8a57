// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/sas"
	"example.org/xtls/xtls/internal/cpace"
)

// Errors of a [Verification], to test for with errors.Is.
var (
	// ErrMismatch: the two codes differ, or the peer's user says so. Somebody is in
	// the middle. An alarm: the tunnel is ended and the peer is disputed until a later
	// verification succeeds.
	ErrMismatch = errors.New("the codes differ: somebody is between you and the peer")
	// ErrPassword: the passwords, or the one-time code shown and the one typed, differ, or
	// somebody in the middle does not know them.
	ErrPassword = errors.New("the passwords or one-time codes differ, or somebody is between you and the peer")
	// ErrCodeSpent: the one-time code was used, has failed three times, or is older than
	// [CodeLife]. A new one is needed.
	ErrCodeSpent = errors.New("the one-time code is not valid any more")
	// ErrInterrupted: a verification ended before both users had decided. It counts
	// as a failure: somebody in the middle who sees that the codes differ would cut
	// the line.
	ErrInterrupted = errors.New("the verification was interrupted")
	// ErrNotCompared: the peer's user does not want to verify, or there is nobody to
	// ask.
	ErrNotCompared = errors.New("the peer does not want to compare")
	// ErrBusy: another verification with the same peer is under way. More than one at a
	// time would give somebody in the middle more than one guess.
	ErrBusy = errors.New("another verification with this peer is under way")
	// ErrTooOften: too many verifications with this peer have failed.
	ErrTooOften = errors.New("too many verifications with this peer have failed")
	// ErrOtherMethod: the peer's user chose another method, or both show a one-time code,
	// or both want to type one.
	ErrOtherMethod = errors.New("the peer chose another method")
)

// What a peer may ask for ([Verification].Asked).
const (
	AskedSAS      = "sas"       // to compare codes
	AskedPassword = "password"  // a password that both have agreed on
	AskedTypeCode = "type-code" // it shows a one-time code, which is to be typed here
	AskedShowCode = "show-code" // a one-time code that is to be shown here, to be typed there
)

// A Secret is what two people both know: a password they agreed on, or a one-time
// code that one read to the other. It is never shown.
type Secret = cpace.Password

// ParseCode reads a one-time code as somebody typed it, for [Verification.TypeCode].
func ParseCode(typed string) (Secret, error) { return cpace.ParseCode(typed) }

// ParsePassword reads a password as somebody typed it (RFC 8265 OpaqueString).
func ParsePassword(typed string) (Secret, error) { return cpace.ParsePassword(typed) }

// A Verification is what [Config.Verify] decides on: whether the peer, who does
// hold the key (the handshake is done), is who it should be. Its methods run one
// after the other, as often as the limits allow, until Verify returns.
type Verification struct {
	Peer        jid.JID                 // full JID
	Fingerprint fingerprint.Fingerprint // of the key it holds
	App         App                     // what the tunnel is for
	Initiator   bool                    // this end dialled
	Level       Level                   // what the key is known to be already; LevelNone on first contact
	Live        bool                    // this end has accepted the key already; one side wants to verify it now
	Asked       string                  // what the peer had asked for when this was made, like AskedSAS; "" for nothing; see Wanted
	Changed     []fingerprint.Record    // the keys the peer was known by, none of them verified, if this is a new one: see AnotherDevice
	Facts       fingerprint.Peer        // what is remembered of the peer: disputed, interrupted verifications

	t       *tunnel
	another bool
}

// AnotherDevice says that the user knows the new key of a peer who was known by
// other ones (Changed) to be that of another device or installation, although
// nobody has compared it. Without it, or a verification, such a key is refused
// as changed, whatever Verify returns. The key of a peer of whom any key is
// verified cannot be accepted in this way at all.
func (v *Verification) AnotherDevice() { v.another = true }

// SAS compares short codes: each user sees a code, and somebody in the middle
// makes them differ but for a chance of 2^-30. ask shows the code and returns what
// the user says after hearing the peer's, by telephone or in person, never
// through the tunnel; its context ends when the peer says that they differ, or is
// gone. SAS returns LevelVerified once both users have decided and this one said
// [sas.Match]. The peer's result alone never raises anything.
//
// The peer's user must choose the same within 10 minutes. Errors are those of this
// file.
func (v *Verification) SAS(ctx context.Context, ask func(ctx context.Context, code sas.Code) (sas.Result, error)) (Level, error) {
	return v.run(ctx, func(ctx context.Context) error { return v.t.runSAS(ctx, ask) })
}

// Password proves to each other that both sides know the same secret, without
// showing it to somebody in the middle, who gets one guess per run. It returns
// LevelVerified. Three failures in a row lock the peer for an hour, and more for
// longer (PROTOCOL.md section 7.2); the count is on disk before the attempt is made.
func (v *Verification) Password(ctx context.Context, secret Secret) (Level, error) {
	r := &passwordRun{t: v.t, secret: secret}
	return v.run(ctx, r.run)
}

// ShowCode is [Verification.Password] with a one-time code that this end's user sees
// and reads to the peer's, who types it ([Verification.TypeCode]). Failed attempts are
// counted for the code, on disk before each is made; after the third, after 15
// minutes, or after success it is destroyed ([ErrCodeSpent]).
func (v *Verification) ShowCode(ctx context.Context, code *Code) (Level, error) {
	r, err := code.begin(v.t)
	if err != nil {
		return LevelNone, err
	}
	level, err := v.run(ctx, r.run)
	if err == nil || errors.Is(err, ErrCodeSpent) {
		code.destroy()
	}
	return level, err
}

// TypeCode is the other end of [Verification.ShowCode]. As soon as the peer shows a
// code, ask has the user type it ([ParseCode]); an error of ask ends the run.
func (v *Verification) TypeCode(ctx context.Context, ask func(ctx context.Context) (Secret, error)) (Level, error) {
	r := &passwordRun{t: v.t, typed: ask}
	return v.run(ctx, r.run)
}

// Wanted waits until the peer has asked for a verification that nobody here has
// joined, and returns what for, like [AskedSAS]. It returns with an error when ctx or the session ends. It
// must have returned before a method of the Verification is called.
func (v *Verification) Wanted(ctx context.Context) (string, error) { return v.t.awaitAsked(ctx) }

// Compare compares the peer's fingerprint with one that came by a safe way, as
// people write it. It returns LevelVerified, or ErrMismatch.
func (v *Verification) Compare(typed string) (Level, error) {
	f, err := fingerprint.Parse(typed)
	switch {
	case err != nil:
		return LevelNone, err
	case f != v.Fingerprint:
		return LevelNone, errors.Join(ErrMismatch, v.t.count(func(p *fingerprint.Peer) error {
			p.Disputed = time.Now()
			return nil
		}))
	}
	return LevelVerified, v.t.verified(fingerprint.MethodFingerprint)
}

// run runs one method with everything that holds for all of them.
func (v *Verification) run(ctx context.Context, method func(context.Context) error) (Level, error) {
	t := v.t
	if !t.extended() {
		return LevelNone, fmt.Errorf("%w: it speaks the plain draft", ErrNotSupported)
	}
	if !t.client.beginRun(t.state.Peer) {
		return LevelNone, ErrBusy
	}
	defer t.client.endRun(t.state.Peer)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.ctx, func() { cancel(context.Cause(t.ctx)) })()
	if err := method(ctx); err != nil {
		return LevelNone, err
	}
	return LevelVerified, nil
}

// beginRun takes the one place for a verification with peer, on any session.
func (c *Client) beginRun(peer jid.JID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := peer.Bare().String()
	if c.running[key] {
		return false
	}
	c.running[key] = true
	return true
}

func (c *Client) endRun(peer jid.JID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, peer.Bare().String())
}

// verified writes down that this end's user has verified the key.
func (t *tunnel) verified(m fingerprint.Method) error {
	now := time.Now()
	_, err := t.client.cfg.Trust.Pin(fingerprint.Record{
		Peer: t.state.Peer.Bare(), Key: t.state.Fingerprint, Level: fingerprint.LevelVerified, Method: m,
	}, now)
	if err != nil {
		return err
	}
	t.raise(LevelVerified, string(m), now)
	return nil
}
