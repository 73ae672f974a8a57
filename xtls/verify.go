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
)

// verifyTime is how long Config.Verify may take: people telephone.
const verifyTime = 10 * time.Minute

// A Verification is what [Config.Verify] decides on: a peer whose key is not in
// the trust store. The handshake is done, so the peer does hold the key; whether
// the peer is who it should be is the question.
type Verification struct {
	Peer        jid.JID                 // full JID
	Fingerprint fingerprint.Fingerprint // of the key it holds
	App         App                     // what the tunnel is for
	Initiator   bool                    // this end dialled
}

// judge decides what the proven key of the peer is worth: by what the trust store
// remembers, else by asking Config.Verify.
func (t *tunnel) judge(ctx context.Context) error {
	cfg, s := t.client.cfg, &t.state
	rec, err := cfg.Trust.Check(s.Peer, s.Fingerprint)
	var changed *fingerprint.ChangedError
	switch {
	case err == nil:
		s.Level, s.Method, s.First, s.Verified = LevelPinned, string(rec.Method), rec.First, rec.Verified
		if rec.Level == fingerprint.LevelVerified {
			s.Level = LevelVerified
		}
	case errors.As(err, &changed):
		return &KeyChangedError{Peer: s.Peer.Bare(), Want: changed.Want, Got: s.Fingerprint}
	case !errors.Is(err, fingerprint.ErrUnknown):
		return err // the key belongs to another JID, or the store cannot be read
	case s.Draft && !cfg.draftAllowed(s.Peer):
		return fmt.Errorf("%w: it speaks the plain draft, which is used with pinned keys only", ErrNotSupported)
	default:
		if err := t.ask(ctx); err != nil {
			return err
		}
	}
	if s.Level < cfg.MinLevel {
		return fmt.Errorf("%w: its key is %s, %s is demanded", ErrUnverified, s.Level, cfg.MinLevel)
	}
	return nil
}

// ask has Config.Verify decide on an unknown key.
func (t *tunnel) ask(ctx context.Context) error {
	if t.client.cfg.Verify == nil {
		return ErrUnverified
	}
	ctx, cancel := context.WithTimeoutCause(ctx, verifyTime,
		fmt.Errorf("nobody answered within %v: %w", verifyTime, ErrUnverified))
	defer cancel()
	s := &t.state
	level, err := t.client.cfg.Verify(ctx, &Verification{
		Peer: s.Peer, Fingerprint: s.Fingerprint, App: s.App, Initiator: s.Initiator,
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	case level == LevelServerVouched:
		s.Level, s.Method = level, "signalling"
	case level == LevelVerified:
		s.Level, s.Method, s.Verified = level, string(fingerprint.MethodFingerprint), time.Now()
	default:
		return fmt.Errorf("%w: Config.Verify returned level %s", ErrUnverified, level)
	}
	return nil
}

// remember writes the outcome down, once the peer has confirmed as well.
func (t *tunnel) remember() error {
	s, trust := t.state, t.client.cfg.Trust
	if !s.First.IsZero() {
		return trust.Touch(s.Peer, s.Fingerprint, time.Now())
	}
	r := fingerprint.Record{
		Peer: s.Peer.Bare(), Key: s.Fingerprint,
		Level: fingerprint.LevelPinned, Method: fingerprint.MethodTOFU,
	}
	if s.Level == LevelVerified {
		r.Level, r.Method = fingerprint.LevelVerified, fingerprint.MethodFingerprint
	}
	_, err := trust.Pin(r, time.Now())
	return err
}
