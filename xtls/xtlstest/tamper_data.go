// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest

import (
	"bytes"
	"encoding/base64"
	"sync"
)

const (
	nsIBB          = "http://jabber.org/protocol/ibb"
	nsIBBTransport = "urn:xmpp:jingle:transports:ibb:1"
)

// A block is one IBB <data/> (XEP-0047 §2.2) in a stanza.
type block struct {
	st    *Stanza
	n     *node // the whole stanza, free to be changed
	data  *node
	count int // its number among those of its direction, from 1
}

// A direction is a pair of sender and receiver.
type direction struct{ from, to string }

// blocks counts IBB blocks by direction. Safe for concurrent use.
type blocks struct {
	mu     sync.Mutex
	counts map[direction]int
}

// next returns the block in st, nil if there is none.
func (b *blocks) next(st *Stanza) *block {
	if st.Kind == "presence" || !bytes.Contains(st.XML, []byte(nsIBB)) {
		return nil
	}
	n, err := parseNode(st.XML)
	if err != nil {
		return nil
	}
	data := n.child(nsIBB, "data")
	if data == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.counts == nil {
		b.counts = make(map[direction]int)
	}
	d := direction{st.From.String(), st.To.String()}
	if len(b.counts) >= maxTracked && b.counts[d] == 0 {
		return nil
	}
	b.counts[d]++
	return &block{st: st, n: n, data: data, count: b.counts[d]}
}

// payload returns the octets of the block.
func (b *block) payload() []byte {
	p, err := base64.StdEncoding.DecodeString(b.data.text())
	if err != nil {
		return nil
	}
	return p
}

// forgedResult is the receiver's consent that the receiver never gave; nil for
// messages, which nobody answers.
func (b *block) forgedResult() []*Stanza {
	if !b.st.isRequest() {
		return nil
	}
	return []*Stanza{b.st.answer("result", "")}
}

// onBlock returns a tamper that does act with the n-th IBB block of every
// direction, counted from 1, and nothing else.
func onBlock(n int, act func(*block) []*Stanza) Tamper {
	var seen blocks
	return func(st *Stanza) []*Stanza {
		if b := seen.next(st); b != nil && b.count == n {
			return act(b)
		}
		return []*Stanza{st}
	}
}

// Replay delivers the n-th IBB block of every direction, counted from 1, a second
// time with a new id. The receiver's answer to that is swallowed.
func Replay(n int) Tamper {
	var forged answers
	replay := onBlock(n, func(b *block) []*Stanza {
		id := randomID()
		b.n.setAttr("id", id)
		again := b.st.with(b.n.render())
		again.ID = id
		forged.expect(b.st.From, b.st.To, id)
		return []*Stanza{b.st, again}
	})
	return func(st *Stanza) []*Stanza {
		if forged.swallow(st) {
			return nil
		}
		return replay(st)
	}
}

// Drop swallows the n-th IBB block of every direction, counted from 1, and answers
// it in the receiver's name, so that the sender believes it arrived.
func Drop(n int) Tamper {
	return onBlock(n, (*block).forgedResult)
}

// FlipBit alters one octet of the payload in the n-th IBB block of every direction,
// counted from 1.
func FlipBit(n int) Tamper {
	return onBlock(n, func(b *block) []*Stanza {
		p := b.payload()
		if len(p) == 0 {
			return []*Stanza{b.st}
		}
		p[len(p)/2] ^= 0x10
		b.data.kids = []any{base64.StdEncoding.EncodeToString(p)}
		return []*Stanza{b.st.with(b.n.render())}
	})
}

// Reorder delivers the n-th IBB block of every direction, counted from 1, after the
// next one. The n-th is answered in the receiver's name, so that a sender that
// waits for answers sends on; the receiver's own answer is swallowed.
func Reorder(n int) Tamper {
	var seen blocks
	var forged answers
	var mu sync.Mutex // protects held
	held := make(map[direction]*Stanza)
	return func(st *Stanza) []*Stanza {
		if forged.swallow(st) {
			return nil
		}
		b := seen.next(st)
		if b == nil || b.count != n && b.count != n+1 {
			return []*Stanza{st}
		}
		d := direction{st.From.String(), st.To.String()}
		mu.Lock()
		defer mu.Unlock()
		if b.count == n {
			held[d] = st
			return b.forgedResult()
		}
		first := held[d]
		delete(held, d)
		if first.isRequest() {
			forged.expect(first.From, first.To, first.ID)
		}
		return []*Stanza{st, first}
	}
}
