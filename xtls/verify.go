// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.org/xtls/fingerprint"
	"example.org/xtls/jingle"
)

// verifyTime is how long Config.Verify may take: people telephone.
const verifyTime = 10 * time.Minute

// judge decides what the proven key of the peer is worth: by what the trust store
// remembers, else by asking Config.Verify.
func (t *tunnel) judge(ctx context.Context) error {
	cfg, s := t.client.cfg, &t.state
	facts, err := cfg.Trust.Peer(s.Peer)
	if err != nil {
		return err
	}
	v := t.verification()
	v.Facts = facts
	rec, err := cfg.Trust.Check(s.Peer, s.Fingerprint)
	var changed *fingerprint.ChangedError
	errors.As(err, &changed)
	switch {
	case err == nil:
		t.known(rec)
		v.Level = t.State().Level
		if !facts.Disputed.IsZero() {
			return t.ask(ctx, v)
		}
	case t.certified() && (errors.Is(err, fingerprint.ErrUnknown) || changed != nil && !userVerified(changed.Want)):
		t.raise(LevelCA, string(fingerprint.MethodCA), time.Time{})
		v.Level = LevelCA
		if !facts.Disputed.IsZero() {
			return t.ask(ctx, v)
		}
	case changed != nil && changed.Verified():
		return t.changed(changed)
	case changed != nil:
		v.Changed = changed.Want
		return t.ask(ctx, v)
	case !errors.Is(err, fingerprint.ErrUnknown):
		return err // the key is revoked or somebody else's, or the store cannot be read
	case s.Draft && (!cfg.draftAllowed(s.Peer) || len(t.theirs.digests) == 0):
		return fmt.Errorf("%w: it speaks the plain draft, which is used with pinned keys only", ErrNotSupported)
	default:
		return t.ask(ctx, v)
	}
	if v.Level < cfg.MinLevel {
		return t.ask(ctx, v)
	}
	return nil
}

// certified reports whether an authority of the user's has issued the peer's
// certificate for the peer's JID.
func (t *tunnel) certified() bool {
	pool := t.client.cfg.Authorities
	if pool == nil {
		return false
	}
	_, err := t.leaf.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return false
	}
	addrs, err := fingerprint.XMPPAddrs(t.leaf)
	return err == nil && slices.ContainsFunc(addrs, t.state.Peer.Bare().Equal)
}

// userVerified reports whether the user has verified any of the keys.
func userVerified(keys []fingerprint.Record) bool {
	return slices.ContainsFunc(keys, func(r fingerprint.Record) bool { return r.Level == fingerprint.LevelVerified })
}

// known takes over what is remembered of the key.
func (t *tunnel) known(rec fingerprint.Record) {
	s := &t.state
	s.Level, s.Method, s.First, s.Verified = LevelPinned, string(rec.Method), rec.First, rec.Verified
	switch {
	case rec.Level == fingerprint.LevelVerified:
		s.Level = LevelVerified
	case t.certified():
		s.Level, s.Method = LevelCA, string(fingerprint.MethodCA)
	}
}

func (t *tunnel) changed(e *fingerprint.ChangedError) error {
	return &KeyChangedError{Peer: t.state.Peer.Bare(), Want: e.Want, Got: t.state.Fingerprint}
}

// ask has Config.Verify decide, and holds it to what was demanded: enough for
// Config.MinLevel, and nothing less than a verification for a disputed peer.
func (t *tunnel) ask(ctx context.Context, v *Verification) error {
	least := max(t.client.cfg.MinLevel, LevelServerVouched)
	if !v.Facts.Disputed.IsZero() {
		least = LevelVerified
	}
	if t.client.cfg.Verify == nil {
		if v.Changed != nil {
			return &KeyChangedError{Peer: v.Peer.Bare(), Want: v.Changed, Got: v.Fingerprint}
		}
		return ErrUnverified
	}
	level, err := t.callVerify(ctx, v)
	t.decided.Store(level != LevelVerified)
	switch {
	case err != nil && v.Changed != nil && !isAlarm(err):
		// Nobody vouched for the new key, so it stays what it is: a changed one.
		return &KeyChangedError{Peer: v.Peer.Bare(), Want: v.Changed, Got: v.Fingerprint}
	case err != nil && isAlarm(err):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnverified, err)
	case v.Changed != nil && level == LevelServerVouched && !v.another:
		return &KeyChangedError{Peer: v.Peer.Bare(), Want: v.Changed, Got: v.Fingerprint}
	case level < least:
		return fmt.Errorf("%w: its key is %s, %s is demanded", ErrUnverified, level, least)
	case level == LevelServerVouched && v.Level == LevelNone:
		t.raise(level, "signalling", time.Time{})
	case level == LevelVerified && t.State().Level != LevelVerified:
		return t.verified(fingerprint.MethodFingerprint)
	case level != LevelServerVouched && level != LevelVerified:
		return fmt.Errorf("%w: Config.Verify returned level %s", ErrUnverified, level)
	}
	return nil
}

// callVerify calls Config.Verify, once at a time for a tunnel.
func (t *tunnel) callVerify(ctx context.Context, v *Verification) (Level, error) {
	t.mu.Lock()
	busy := t.verifying
	t.verifying = true
	t.mu.Unlock()
	if busy {
		return LevelNone, ErrBusy
	}
	defer func() {
		t.mu.Lock()
		t.verifying = false
		t.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeoutCause(ctx, verifyTime,
		fmt.Errorf("nobody answered within %v: %w", verifyTime, ErrUnverified))
	defer cancel()
	level, err := t.client.cfg.Verify(ctx, v)
	return level, unlessEnded(ctx, err)
}

// remember writes the outcome down, once the peer has confirmed as well. What was
// verified has been written down already, by whoever verified it.
func (t *tunnel) remember() error {
	s, trust := t.State(), t.client.cfg.Trust
	if err := t.require(); err != nil {
		return err
	}
	if _, err := trust.Check(s.Peer, s.Fingerprint); err == nil {
		return trust.Touch(s.Peer, s.Fingerprint, time.Now())
	}
	r := fingerprint.Record{
		Peer: s.Peer.Bare(), Key: s.Fingerprint,
		Level: fingerprint.LevelPinned, Method: fingerprint.MethodTOFU,
	}
	pin := trust.PinAnother
	if s.Level == LevelCA {
		r.Level, r.Method, pin = fingerprint.LevelCA, fingerprint.MethodCA, trust.Pin
	}
	_, err := pin(r, time.Now())
	var changed *fingerprint.ChangedError
	if errors.As(err, &changed) {
		return t.changed(changed) // another key was pinned while the user was asked
	}
	return err
}

// require writes down that the peer has spoken version 1.
func (t *tunnel) require() error {
	if !t.extended() {
		return nil
	}
	facts, err := t.client.cfg.Trust.Peer(t.state.Peer)
	if err != nil || facts.Required {
		return err
	}
	return t.count(func(p *fingerprint.Peer) error {
		p.Required = true
		return nil
	})
}

// checkDraft refuses the plain draft where the peer is known to speak version 1,
// whatever Config.AllowDraft says: a server has left the binding out.
func (t *tunnel) checkDraft() error {
	if t.extended() {
		return nil
	}
	facts, err := t.client.cfg.Trust.Peer(t.state.Peer)
	if err == nil && facts.Required {
		err = fmt.Errorf("%w: the plain draft, from a peer that has spoken version 1 before", ErrTampered)
	}
	return err
}

// raise raises the level; it is never lowered.
func (t *tunnel) raise(level Level, method string, verified time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if level > t.state.Level {
		t.state.Level, t.state.Method, t.state.Verified = level, method, verified
	}
}

// State is a copy of the state, whose level may rise while the tunnel lives.
func (t *tunnel) State() State {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state
}

// verification is what Config.Verify is given.
func (t *tunnel) verification() *Verification {
	s := t.State()
	return &Verification{
		Peer: s.Peer, Fingerprint: s.Fingerprint, App: s.App, Initiator: s.Initiator,
		Level: s.Level, Live: t.judged.Load(), Asked: t.askedFor(), t: t,
	}
}

// Verify verifies the peer now, on the tunnel that is in use: it calls
// Config.Verify, here and at the peer, whose users choose a method. Data goes on
// meanwhile. It returns the level that the tunnel has then. After a mismatch or a
// wrong password the tunnel is ended. The error is [ErrBusy] if this end's user is
// asked already, because the peer was first.
func (c *Conn) Verify(ctx context.Context) (Level, error) {
	t := c.t
	if t.client.cfg.Verify == nil {
		return LevelNone, opError("verify", t.state.Peer, errors.New("Config.Verify is not set"))
	}
	err := t.verifyLive(ctx)
	return t.State().Level, opError("verify", t.state.Peer, err)
}

// verifyLive runs Config.Verify on an established tunnel.
func (t *tunnel) verifyLive(ctx context.Context) error {
	facts, err := t.client.cfg.Trust.Peer(t.state.Peer)
	if err != nil {
		return err
	}
	v := t.verification()
	v.Facts = facts
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.ctx, func() { cancel(context.Cause(t.ctx)) })()
	level, err := t.callVerify(ctx, v)
	err = translateEnd(err) // which receive is about to find out
	if isAlarm(err) {
		t.hangUp(err)
		t.terminate(jingle.ReasonSecurityError)
	}
	if err == nil && level == LevelVerified && t.State().Level != LevelVerified {
		err = t.verified(fingerprint.MethodFingerprint)
	}
	return err
}

// accept notes that this end has accepted the peer's key. If the peer still wants
// to verify, by a frame that nobody has joined, that is taken up now.
func (t *tunnel) accept() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.judged.Store(true)
	if len(t.verifyFrames) > 0 && begins(t.verifyFrames[0].typ) {
		t.answerVerifyLocked()
	}
}

// answerVerifyLocked runs Config.Verify because the peer has begun a verification
// and this end, which has accepted the peer's key already, has not. If it does not
// join the run, the peer is told; so it is if this end's user has just decided not
// to verify.
func (t *tunnel) answerVerifyLocked() {
	if !t.judged.Load() || t.verifying || t.ctx.Err() != nil {
		return
	}
	t.tasks.Go(func() {
		if t.client.cfg.Verify != nil && !t.decided.Load() {
			err := t.verifyLive(t.ctx)
			if errors.Is(err, ErrBusy) {
				return // somebody here has begun meanwhile, and joins it
			}
			if err != nil {
				t.client.log.Infof("verification that %s asked for: %v", t.state.Peer, err)
			}
		}
		t.refuseRun()
	})
}
