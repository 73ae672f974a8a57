// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest

import (
	"encoding/xml"
	"strconv"
	"strings"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

// maxDirected is how many addresses a client may have shown its presence to.
const maxDirected = 256

// routePresence: RFC 6121 §4. There are no subscriptions: who asks for one is told
// so, the other stanzas about them are ignored, and so is presence for other
// domains and for nobody.
func (s *Server) routePresence(c *client, st *Stanza) {
	switch st.Type {
	case "", "unavailable":
	case "subscribe":
		s.bounce(c, st, stanza.Cancel, stanza.FeatureNotImplemented)
		return
	default:
		return
	}
	if st.To.Equal(jid.JID{}) {
		s.broadcast(c, st)
		return
	}
	switch s.place(c, st.To) {
	case placeOwn, placeBare, placeFull:
	default:
		return
	}
	to := st.To.String()
	if st.Type == "unavailable" {
		delete(c.directed, to)
	} else {
		if _, known := c.directed[to]; !known && len(c.directed) == maxDirected {
			s.bounce(c, st, stanza.Wait, stanza.ResourceConstraint)
			return
		}
		c.directed[to] = st.To
	}
	s.relay(c, st)
}

// broadcast notes presence that is for everybody. Without subscriptions that is
// the account's own clients, the sender included (RFC 6121 §4.2.2); a new one also
// learns of those that were there before. To a client going away, those follow who
// got its directed presence.
func (s *Server) broadcast(c *client, st *Stanza) {
	if c.shadow != nil {
		return
	}
	priority, ok := presencePriority(st.XML)
	if !ok {
		s.bounce(c, st, stanza.Modify, stanza.BadRequest)
		return
	}
	if st.Type == "unavailable" {
		s.unavailable(c)
		return
	}
	s.mu.Lock()
	first := !c.available
	c.available, c.priority, c.presence = true, priority, st.XML
	var own []*client
	var before [][]byte
	for _, other := range s.users[c.account] {
		if !other.available {
			continue
		}
		own = append(own, other)
		if first && other != c {
			before = append(before, other.presence)
		}
	}
	s.mu.Unlock()
	for _, other := range own {
		other.send(st.XML)
	}
	for _, presence := range before {
		c.send(presence)
	}
}

// unavailable tells that c is gone: the account's other clients if it was
// available, and whoever got directed presence.
func (s *Server) unavailable(c *client) {
	st := &Stanza{Kind: "presence", Type: "unavailable", From: c.jid}
	s.mu.Lock()
	was := c.available
	c.available, c.presence = false, nil
	s.mu.Unlock()
	if was {
		st.To = c.jid.Bare()
		st.XML = unavailableXML(c.addr, st.To)
		s.deliverBare(st)
	}
	for _, to := range c.directed {
		gone := &Stanza{Kind: "presence", Type: "unavailable", From: c.jid, To: to, XML: unavailableXML(c.addr, to)}
		s.relay(c, gone)
	}
	clear(c.directed)
}

func unavailableXML(from string, to jid.JID) []byte {
	b := appendAttr([]byte("<presence type='unavailable'"), "from", from)
	b = appendAttr(b, "to", to.String())
	return append(b, '/', '>')
}

// presencePriority returns the priority of a rendered presence stanza: RFC 6121
// §4.7.2.3.
func presencePriority(b []byte) (int8, bool) {
	var p struct {
		Priority string `xml:"priority"`
	}
	if err := xml.Unmarshal(b, &p); err != nil {
		return 0, false
	}
	text := strings.TrimSpace(p.Priority)
	if text == "" {
		return 0, true
	}
	n, err := strconv.ParseInt(text, 10, 8)
	return int8(n), err == nil
}
