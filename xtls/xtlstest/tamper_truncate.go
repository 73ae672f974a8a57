// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"sync"
)

// A truncation is the state of Truncate.
type truncation struct {
	after  int64
	seen   blocks
	forged answers

	mu       sync.Mutex        // protects the fields below
	sessions map[string]string // IBB stream id to the Jingle session that asked for it
	passed   map[direction]int64
	over     map[direction]bool
}

// Truncate cuts a stream short and makes it look intended. In each direction it lets
// the given number of payload octets of IBB blocks pass, cutting the block in which
// that is reached; then the receiver gets an IBB <close/> and, if the stream belongs
// to a Jingle session, a session-terminate for success, both forged in the sender's
// name. Further blocks are swallowed and answered in the receiver's name.
func Truncate(octets int64) Tamper {
	t := &truncation{
		after:    octets,
		sessions: make(map[string]string),
		passed:   make(map[direction]int64),
		over:     make(map[direction]bool),
	}
	return t.tamper
}

func (t *truncation) tamper(st *Stanza) []*Stanza {
	if t.forged.swallow(st) {
		return nil
	}
	t.learn(st)
	b := t.seen.next(st)
	if b == nil {
		return []*Stanza{st}
	}
	d := direction{st.From.String(), st.To.String()}
	p := b.payload()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over[d] {
		return b.forgedResult()
	}
	left := t.after - t.passed[d]
	t.passed[d] += int64(len(p))
	if int64(len(p)) < left {
		return []*Stanza{st}
	}
	t.over[d] = true
	out := []*Stanza{st}
	switch {
	case left == 0:
		out = b.forgedResult()
	case int64(len(p)) > left:
		b.data.kids = []any{base64.StdEncoding.EncodeToString(p[:left])}
		out[0] = st.with(b.n.render())
	}
	return append(out, t.endLocked(st, b.data.attr("sid"))...)
}

// learn notes which Jingle session an IBB stream belongs to: XEP-0261 §2.
func (t *truncation) learn(st *Stanza) {
	if st.Kind != "iq" || st.Type != "set" || !bytes.Contains(st.XML, []byte(nsIBBTransport)) {
		return
	}
	n, err := parseNode(st.XML)
	if err != nil {
		return
	}
	jingle := n.child(nsJingle, "jingle")
	if jingle == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, content := range jingle.children(nsJingle, "content") {
		for _, tr := range content.children(nsIBBTransport, "transport") {
			if len(t.sessions) < maxTracked {
				t.sessions[tr.attr("sid")] = jingle.attr("sid")
			}
		}
	}
}

// endLocked forges the end of the IBB stream sid and of its session; t.mu is held.
func (t *truncation) endLocked(st *Stanza, sid string) []*Stanza {
	out := []*Stanza{t.forge(st, &node{name: xml.Name{Space: nsIBB, Local: "close"}, attrs: attrs("sid", sid)})}
	if session := t.sessions[sid]; session != "" {
		out = append(out, t.forge(st, &node{
			name:  xml.Name{Space: nsJingle, Local: "jingle"},
			attrs: attrs("action", "session-terminate", "sid", session),
			kids: []any{&node{
				name: xml.Name{Space: nsJingle, Local: "reason"},
				kids: []any{&node{name: xml.Name{Space: nsJingle, Local: "success"}}},
			}},
		}))
	}
	return out
}

// forge makes a request with this payload from st's sender to its receiver.
func (t *truncation) forge(st *Stanza, payload *node) *Stanza {
	id := randomID()
	n := &node{
		name:  xml.Name{Space: nsClient, Local: "iq"},
		attrs: attrs("type", "set", "id", id, "from", st.From.String(), "to", st.To.String()),
		kids:  []any{payload},
	}
	t.forged.expect(st.From, st.To, id)
	return &Stanza{Kind: "iq", Type: "set", ID: id, From: st.From, To: st.To, XML: n.render()}
}

// attrs makes attributes of name, value, name, value …
func attrs(pairs ...string) []xml.Attr {
	var list []xml.Attr
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, xml.Attr{Name: xml.Name{Local: pairs[i]}, Value: pairs[i+1]})
	}
	return list
}
