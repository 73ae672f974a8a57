// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import (
	"errors"
	"time"

	"mellium.im/xmpp/stanza"
)

const (
	// DeliveryPatience is how long a stanza that a server could not deliver
	// (recipient-unavailable, remote-server-timeout) is repeated without success before the
	// stream breaks.
	DeliveryPatience = time.Minute

	// BufferPatience is the same for a peer that has no room (resource-constraint). Without
	// credit that is how a slow reader looks, so it is longer.
	BufferPatience = 10 * time.Minute
)

const (
	firstPause = 50 * time.Millisecond // before the first repetition; it doubles each time
	maxPause   = 2 * time.Second
)

// isWait tells whether err is an answer after which the same stanza is to be sent again later.
// The first two conditions are those of XEP-0047 §2.2; resource-constraint is a full buffer
// (RFC 6120 §8.3.3.18).
func isWait(err error) bool {
	se, ok := errors.AsType[stanza.Error](err)
	if !ok || se.Type != stanza.Wait {
		return false
	}
	switch se.Condition {
	case stanza.RecipientUnavailable, stanza.RemoteServerTimeout, stanza.ResourceConstraint:
		return true
	}
	return false
}

// isTooBig tells whether err is an answer that says that a stanza was too large or against a
// policy, and a smaller one may pass: those of RFC 6120 §8.3.3.12 (policy-violation), §8.3.3.18
// (resource-constraint) and §8.3.3.9 (not-acceptable), the latter two if the stanza is to be
// modified. The limits of servers and the answers to what exceeds them are XEP-0478's subject.
func isTooBig(err error) bool {
	se, ok := errors.AsType[stanza.Error](err)
	if !ok {
		return false
	}
	switch se.Condition {
	case stanza.PolicyViolation:
		return true
	case stanza.ResourceConstraint, stanza.NotAcceptable:
		return se.Type == stanza.Modify
	}
	return false
}

// A patience is the pauses between repetitions of one stanza. The zero value has all of it.
type patience struct {
	since time.Time // of the first refusal in a row
	pause time.Duration
	timer *time.Timer
}

// again calls resume, on its own goroutine, after a pause, or returns false if it went on for too long.
func (p *patience) again(err error, resume func()) bool {
	now := time.Now()
	if p.since.IsZero() {
		p.since, p.pause = now, firstPause
	}
	limit := DeliveryPatience
	if errors.Is(err, stanza.Error{Condition: stanza.ResourceConstraint}) {
		limit = BufferPatience
	}
	if now.Sub(p.since) > limit {
		return false
	}
	p.timer = time.AfterFunc(p.pause, resume)
	p.pause = min(2*p.pause, maxPause)
	return true
}

// reset is called after a success.
func (p *patience) reset() { p.since = time.Time{} }

// stop ends a pause that is under way, without resuming.
func (p *patience) stop() {
	if p.timer != nil {
		p.timer.Stop()
	}
}
