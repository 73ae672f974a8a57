// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package sas_test

import (
	"fmt"
	"testing"
)

// The best that a man in the middle can do, computed exactly by playing all games.
//
// The model. Nonces, codes and tunnel secrets are numbers modulo m. Mallory has two
// legs, one with Alice and one with Bob; on each the honest end has one of the two
// roles and Mallory the other. A leg is a fixed sequence of events:
//
//	handshake  Mallory chooses the secret e of the leg (she moves last in a TLS
//	           handshake and can search, so in effect she chooses)
//	commit     the initiator's nonce nI is fixed, nobody else learns it
//	nonce      the responder's nonce nR is fixed and known
//	reveal     nI is known (and fixed, if it was not)
//
// The code of a leg is e + nI + nR mod m: whoever knows two of the three can solve
// for the third, as the ProVerif models allow too, so the code is as short, and as
// weak, as can be. Mallory decides which leg has its next event. An honest nonce is
// uniform and drawn when it becomes known (before, no move can depend on it: that is
// what a hiding commitment means). Her own nonce is chosen when it is fixed, and
// cannot change later: that is what a binding commitment means. She wins if both legs
// show the same code.
//
// The value of the game is the number of wins among the equally likely draws of
// the honest nonces, under the best move at every point.

type event byte

const (
	handshake event = iota
	commit
	nonce
	reveal
)

// unset is a value that is not fixed yet.
const unset = -1

// A leg is how far one leg has come. Nonces are in it from when Mallory knows them.
type leg struct{ done, e, nI, nR int8 }

type position [2]leg

type game struct {
	m      int8
	order  []event // of both legs
	honest [2]bool // whether the honest end of the leg is the initiator
	memo   map[position]int
}

// wins returns in how many of the remaining equally likely draws Mallory wins from
// p on. Every way from p to the end has the same number of draws, so that numbers
// of wins can be compared.
func (g *game) wins(p position) int {
	if n, ok := g.memo[p]; ok {
		return n
	}
	best, ended := 0, true
	for l := range p {
		if int(p[l].done) < len(g.order) {
			ended = false
			best = max(best, g.advance(p, l))
		}
	}
	if ended && g.code(p[0]) == g.code(p[1]) {
		best = 1
	}
	g.memo[p] = best
	return best
}

func (g *game) code(l leg) int8 {
	sum := l.e
	for _, n := range []int8{l.nI, l.nR} {
		if n != unset {
			sum += n
		}
	}
	return sum % g.m
}

// advance lets the next event of leg l happen.
func (g *game) advance(p position, l int) int {
	leg := &p[l]
	honest := g.honest[l]
	leg.done++
	switch g.order[leg.done-1] {
	case handshake:
		return g.choose(&p, &leg.e)
	case commit:
		if honest || leg.nI != unset {
			return g.wins(p)
		}
		return g.choose(&p, &leg.nI)
	case nonce:
		if honest {
			return g.choose(&p, &leg.nR)
		}
		return g.draw(&p, &leg.nR)
	default:
		if leg.nI != unset {
			return g.wins(p)
		}
		if honest {
			return g.draw(&p, &leg.nI)
		}
		return g.choose(&p, &leg.nI)
	}
}

// choose is a move of Mallory's: the best value for v, which is a part of p.
func (g *game) choose(p *position, v *int8) int {
	best := 0
	for *v = range g.m {
		best = max(best, g.wins(*p))
	}
	return best
}

// draw is a move of chance: the sum over all values for v, which is a part of p.
func (g *game) draw(p *position, v *int8) int {
	sum := 0
	for *v = range g.m {
		sum += g.wins(*p)
	}
	return sum
}

func TestOptimumOfTheAttacker(t *testing.T) {
	h := handshake
	orders := []struct {
		name  string
		order []event
		safe  bool
	}{
		{"commit, nonce, reveal", []event{h, commit, nonce, reveal}, true}, // ours
		{"commit, reveal, nonce", []event{h, commit, reveal, nonce}, false},
		{"nonce, commit, reveal", []event{h, nonce, commit, reveal}, false},
		{"nonce, reveal, commit", []event{h, nonce, reveal, commit}, false},
		{"reveal, commit, nonce", []event{h, reveal, commit, nonce}, false},
		{"reveal, nonce, commit", []event{h, reveal, nonce, commit}, false},
		{"no commitment", []event{h, reveal, nonce}, false},
		{"the secret alone", []event{h}, false},
		{"handshake last", []event{commit, nonce, reveal, h}, false},
	}
	for _, o := range orders {
		// Alice has called Bob or Bob Alice, so one of them is the initiator. A server
		// can also call both, or have both call: our order must stand that too.
		roles := [][2]bool{{true, false}, {false, true}}
		if o.safe {
			roles = append(roles, [2]bool{true, true}, [2]bool{false, false})
		}
		for _, honest := range roles {
			for _, m := range []int8{2, 3, 4} {
				t.Run(fmt.Sprintf("%s/%v/%d", o.name, honest, m), func(t *testing.T) {
					g := &game{m: m, order: o.order, honest: honest, memo: make(map[position]int)}
					fresh := leg{nI: unset, nR: unset}
					got := g.wins(position{fresh, fresh})
					draws := int(m) * int(m) // one honest nonce on each leg
					if len(o.order) == 1 {
						draws = 1
					}
					want := draws // always
					if o.safe {
						want = draws / int(m) // one in m
					}
					if got != want {
						t.Errorf("the attacker wins %d of %d, want %d", got, draws, want)
					}
				})
			}
		}
	}
}
