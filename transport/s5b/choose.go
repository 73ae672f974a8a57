// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// connect tries the peer's candidates, and hears what the peer makes of ours, until both outcomes
// are known (XEP-0260 §2.3).
func (g *negotiation) connect(ctx context.Context) error {
	attempts, cancel := context.WithTimeoutCause(ctx, connectTime, errTimeout)
	defer cancel()
	g.race.start(attempts, g)
	late := time.NewTimer(outcomeTime)
	defer late.Stop()
	for {
		if !g.ours.known && g.race.step() {
			if err := g.settle(ctx); err != nil {
				return err
			}
		}
		if !g.ours.known || !g.peers.known && !g.hopeless() {
			if err := g.wait(ctx, late.C); err != nil {
				return err
			}
			continue
		}
		return nil
	}
}

// hopeless reports whether nothing can come of this although the peer has not said so yet.
func (g *negotiation) hopeless() bool { return g.ours.used == nil && len(g.mine) == 0 }

// settle says what came of our attempts.
func (g *negotiation) settle(ctx context.Context) error {
	g.ours = outcome{known: true, used: g.race.used}
	if g.ours.used == nil {
		return g.tell(ctx, actionCandidateError, "")
	}
	return g.tell(ctx, actionCandidateUsed, g.ours.used.cid)
}

// wait waits for anything to happen while candidates are tried.
func (g *negotiation) wait(ctx context.Context, late <-chan time.Time) error {
	select {
	case a := <-g.race.done:
		g.race.ended(a)
		return nil
	case <-g.race.next.C:
		return nil
	case r := <-g.messages:
		return g.hear(r)
	case <-late:
		return g.failure(fmt.Sprintf("the peer did not say within %v what it could reach", outcomeTime))
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// hear takes an element of the peer while candidates are tried.
func (g *negotiation) hear(r received) error {
	if err := g.check(r); err != nil {
		return err
	}
	m := r.message
	if err := g.add(m.candidates); err != nil {
		return err
	}
	if !g.ours.known {
		g.race.add(m.candidates)
	}
	switch m.action {
	case actionNone:
		return nil
	case actionCandidateUsed, actionCandidateError:
	default:
		return violation("XEP-0260 §2.4", "%s before a candidate was chosen", m.action)
	}
	if g.peers.known {
		return violation("XEP-0260 §2.3", "%s after it had said what came of its attempts", m.action)
	}
	g.peers.known = true
	if m.action == actionCandidateError {
		return nil
	}
	i := slices.IndexFunc(g.mine, func(c candidate) bool { return c.cid == m.cid })
	if i < 0 {
		return violation("XEP-0260 §2.3", "candidate-used with cid %s, which was not offered", quote(m.cid))
	}
	g.peers.used = &g.mine[i]
	g.race.beat(g.mine[i].priority)
	return nil
}

// check refuses what cannot belong here in any state.
func (g *negotiation) check(r received) error {
	if r.err != nil {
		return r.err
	}
	if r.message.sid != g.sid {
		return violation("XEP-0260 §2.2", "sid %s", quote(r.message.sid))
	}
	return nil
}
