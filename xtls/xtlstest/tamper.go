// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
)

// A Tamper is what a dishonest server does: it sees each stanza that a client sends
// to another one, and returns what is delivered in its place, in this order, each
// to its own To: the stanza itself (honest), none (swallowed), another one
// (altered), several (added). What it returns is not seen again, and may be
// addressed to anybody, the sender included; its XML is delivered as it is, well
// formed or not. It must not change the stanza it was given: see [ParseStanza].
//
// It runs on the goroutine that reads from the sender, at the same time for
// different senders, and must not block. The tampers of this package are safe for
// that; each value is for one server, and its counts go on for the server's life.
type Tamper func(st *Stanza) []*Stanza

// Chain returns a tamper that applies ts one after the other, each to everything
// the one before it returned.
func Chain(ts ...Tamper) Tamper {
	return func(st *Stanza) []*Stanza {
		out := []*Stanza{st}
		for _, t := range ts {
			var next []*Stanza
			for _, st := range out {
				next = append(next, t(st)...)
			}
			out = next
		}
		return out
	}
}

const (
	nsJingle  = "urn:xmpp:jingle:1"
	nsXTLS    = "urn:xmpp:jingle:security:xtls:0"
	nsXTLSExt = "urn:xmpp:xtls:1"
)

// editContents returns a tamper that lets edit change each <content/> of a Jingle
// request with one of the given actions, all if there are none. edit says whether
// it changed anything.
func editContents(edit func(content *node) bool, actions ...string) Tamper {
	return func(st *Stanza) []*Stanza {
		honest := []*Stanza{st}
		if st.Kind != "iq" || st.Type != "set" || !bytes.Contains(st.XML, []byte(nsJingle)) {
			return honest
		}
		n, err := parseNode(st.XML)
		if err != nil {
			return honest
		}
		jingle := n.child(nsJingle, "jingle")
		if jingle == nil || len(actions) > 0 && !slices.Contains(actions, jingle.attr("action")) {
			return honest
		}
		changed := false
		for _, content := range jingle.children(nsJingle, "content") {
			if edit(content) {
				changed = true
			}
		}
		if !changed {
			return honest
		}
		return []*Stanza{st.with(n.render())}
	}
}

// editSecurity is editContents for the <security/> in it.
func editSecurity(edit func(security *node) bool, actions ...string) Tamper {
	return editContents(func(content *node) bool {
		changed := false
		for _, security := range content.children(nsXTLS, "security") {
			if edit(security) {
				changed = true
			}
		}
		return changed
	}, actions...)
}

// StripSecurity takes <security/> out of every Jingle content, so that there seems
// to be no XTLS.
func StripSecurity() Tamper {
	return editContents(func(content *node) bool {
		return content.remove(func(n *node) bool { return n.name.Space == nsXTLS && n.name.Local == "security" })
	})
}

// SwapFingerprint puts fp, hexadecimal digits, into every <fingerprint/> of
// session-initiate and session-accept, as a server does that wants a certificate
// of its own to be accepted.
func SwapFingerprint(fp string) Tamper {
	return editSecurity(func(security *node) bool {
		found := security.children(nsXTLS, "fingerprint")
		for _, f := range found {
			f.kids = []any{fp}
		}
		return len(found) > 0
	}, "session-initiate", "session-accept")
}

// StripBinding takes our extension (<binding/> of urn:xmpp:xtls:1) out of
// <security/>, so that both ends seem to speak the plain draft only.
func StripBinding() Tamper {
	return editSecurity(func(security *node) bool {
		return security.remove(func(n *node) bool { return n.name.Space == nsXTLSExt && n.name.Local == "binding" })
	})
}

// DropMethod takes the method of this name out of <security/>, "sas" for one.
func DropMethod(name string) Tamper {
	return editSecurity(func(security *node) bool {
		return security.remove(func(n *node) bool {
			return n.name.Space == nsXTLS && n.name.Local == "method" && n.attr("name") == name
		})
	})
}

// RedirectService asks for another service: it sets the attribute service of every
// <description/> in session-initiate.
func RedirectService(name string) Tamper {
	return editContents(func(content *node) bool {
		changed := false
		for _, k := range content.kids {
			if d, ok := k.(*node); ok && d.name.Local == "description" {
				d.setAttr("service", name)
				changed = true
			}
		}
		return changed
	}, "session-initiate")
}

// maxTracked is how many directions, streams or answers a tamper remembers. What
// comes beyond is left alone.
const maxTracked = 1024

// answers are the ids of requests that a tamper forged, and of those it answered
// itself: what the receiver answers to them must not reach the other side. The
// zero value is ready. Safe for concurrent use.
type answers struct {
	mu  sync.Mutex
	ids map[string]struct{}
}

// expect makes swallow swallow the answer that to sends to from with this id.
func (a *answers) expect(from, to fmt.Stringer, id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ids == nil {
		a.ids = make(map[string]struct{})
	}
	if len(a.ids) < maxTracked {
		a.ids[answerKey(to, from, id)] = struct{}{}
	}
}

// swallow says whether st is such an answer; each is one once.
func (a *answers) swallow(st *Stanza) bool {
	if st.Kind != "iq" || st.isRequest() {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	key := answerKey(st.From, st.To, st.ID)
	_, ok := a.ids[key]
	delete(a.ids, key)
	return ok
}

func answerKey(from, to fmt.Stringer, id string) string {
	return from.String() + "\x00" + to.String() + "\x00" + id
}
