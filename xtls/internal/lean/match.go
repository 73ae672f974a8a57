// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package lean

import (
	"bytes"

	"mellium.im/xmpp/stanza"

	"example.org/xtls/transport/ibb"
)

// A plainIQ is an IQ stanza in the one form that servers and this package write, of one
// of two kinds: a request with a <data/> of IBB, or a result that is empty or has a
// <credit/>. Its parts are those octets of the stream; none of them needs unescaping.
type plainIQ struct {
	request      bool
	id, from, to []byte

	sid, seq, text []byte // of <data/>; text is what stands between its tags
	limit          []byte // of <credit/>, nil for none, with sid
}

// matchIQ reads a plainIQ from the start of p and returns its length. 0 means that p is
// something else, or not in that form: prefixes, entities, CDATA, other attributes,
// white space where none is needed, and all that is not ASCII are left to a parser. more
// means that p ends too soon to tell.
func matchIQ(p []byte) (iq plainIQ, n int, more bool) {
	c := cursor{p: p}
	iq.read(&c)
	switch {
	case c.failed && c.short:
		return plainIQ{}, 0, true
	case c.failed:
		return plainIQ{}, 0, false
	}
	return iq, c.at, false
}

func (iq *plainIQ) read(c *cursor) {
	c.literal("<iq")
	var typ, space []byte
	closed := c.tag(attributes{
		{"type", &typ},
		{"id", &iq.id},
		{"from", &iq.from},
		{"to", &iq.to},
		{"xmlns", &space},
		{"xml:lang", new([]byte)},
	})
	if c.failed {
		return
	}
	if space != nil && string(space) != stanza.NSClient || len(iq.id) == 0 || len(iq.from) == 0 {
		c.failed = true
		return
	}
	switch iq.request = string(typ) == string(stanza.SetIQ); {
	case iq.request && !closed:
		iq.data(c)
	case string(typ) == string(stanza.ResultIQ):
		if !closed {
			iq.credit(c)
		}
		return
	default:
		c.failed = true
	}
}

// data reads a <data/> (XEP-0047 §2.2) and the end of the stanza.
func (iq *plainIQ) data(c *cursor) {
	c.literal("<data")
	var space []byte
	closed := c.tag(attributes{{"xmlns", &space}, {"seq", &iq.seq}, {"sid", &iq.sid}})
	if c.failed {
		return
	}
	if closed || string(space) != ibb.NS || iq.seq == nil || iq.sid == nil {
		c.failed = true
		return
	}
	iq.text = c.text()
	c.literal("</data></iq>")
}

// credit reads a <credit/>, if there is one, and the end of the stanza.
func (iq *plainIQ) credit(c *cursor) {
	if !c.failed && bytes.HasPrefix(c.p[c.at:], []byte("</")) {
		c.literal("</iq>")
		return
	}
	c.literal("<credit")
	var space []byte
	closed := c.tag(attributes{{"xmlns", &space}, {"sid", &iq.sid}, {"limit", &iq.limit}})
	if c.failed {
		return
	}
	if string(space) != ibb.NSCredit || iq.sid == nil || iq.limit == nil {
		c.failed = true
		return
	}
	if !closed {
		c.literal("</credit>")
	}
	c.literal("</iq>")
}

// A cursor goes through octets until they are not what they should be.
type cursor struct {
	p      []byte
	at     int
	failed bool // not in the expected form
	short  bool // if so, because p ends
}

// literal takes s.
func (c *cursor) literal(s string) {
	if c.failed || c.next(s) {
		return
	}
	rest := c.p[c.at:]
	c.failed = true
	c.short = len(rest) < len(s) && string(rest) == s[:len(rest)]
}

// next takes s if it stands here.
func (c *cursor) next(s string) bool {
	if c.failed || len(c.p)-c.at < len(s) || string(c.p[c.at:c.at+len(s)]) != s {
		return false
	}
	c.at += len(s)
	return true
}

// attributes are those that a tag may have, each at most once.
type attributes []struct {
	name  string
	value *[]byte
}

// maxAttr bounds one value, in octets: an address has at most 3071 (RFC 7622 §3.1).
const maxAttr = 4 << 10

// tag takes what follows a tag's name, its end included, and tells whether the element
// ends there as well.
func (c *cursor) tag(known attributes) (closed bool) {
	for !c.failed {
		switch {
		case c.next(">"):
			return false
		case c.next("/>"):
			return true
		case c.next(" "):
			c.attribute(known)
		default:
			rest := c.p[c.at:]
			c.failed, c.short = true, len(rest) == 0 || string(rest) == "/"
		}
	}
	return false
}

// attribute takes one attribute that is known and was not there yet.
func (c *cursor) attribute(known attributes) {
	for _, a := range known {
		if *a.value != nil || !c.next(a.name+"=") {
			continue
		}
		*a.value = c.quoted()
		return
	}
	c.failed = true
	// It may be the start of a name.
	c.short = len(c.p)-c.at < len("xml:lang=")
}

// quoted takes an attribute's value that needs no unescaping, in quotes.
func (c *cursor) quoted() []byte {
	if c.at == len(c.p) {
		c.failed, c.short = true, true
		return nil
	}
	quote := c.p[c.at]
	if quote != '\'' && quote != '"' {
		c.failed = true
		return nil
	}
	start := c.at + 1
	for i := start; i < len(c.p) && i-start <= maxAttr; i++ {
		switch b := c.p[i]; {
		case b == quote:
			c.at = i + 1
			return c.p[start:i:i]
		case b < ' ' || b > '~' || b == '&' || b == '<' || b == '>' || b == '\'' || b == '"':
			c.failed = true
			return nil
		}
	}
	c.failed, c.short = true, len(c.p)-start <= maxAttr
	return nil
}

// text takes what stands before the next '<'.
func (c *cursor) text() []byte {
	if c.failed {
		return nil
	}
	i := bytes.IndexByte(c.p[c.at:], '<')
	if i < 0 {
		c.failed, c.short = true, true
		return nil
	}
	t := c.p[c.at : c.at+i : c.at+i]
	c.at += i
	return t
}
