// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest

import (
	"encoding/xml"

	"mellium.im/xmpp/stanza"
)

const (
	nsPing       = "urn:xmpp:ping"
	nsRoster     = "jabber:iq:roster"
	nsDiscoInfo  = "http://jabber.org/protocol/disco#info"
	nsDiscoItems = "http://jabber.org/protocol/disco#items"
)

// A service answers requests that the server does not pass on.
type service struct {
	typ     string    // get or set
	payload xml.Name  // child of the IQ
	where   [3]bool   // for which of placeServer, placeOwn, placeBare
	answer  [3]string // rendered payload of the result, for each of them
}

var services = []service{
	{
		typ: "get", payload: xml.Name{Space: nsPing, Local: "ping"},
		where: [3]bool{true, true, false},
	},
	{
		typ: "get", payload: xml.Name{Space: nsDiscoInfo, Local: "query"},
		where:  [3]bool{true, true, true},
		answer: [3]string{serverInfo, accountInfo, accountInfo},
	},
	{
		typ: "get", payload: xml.Name{Space: nsDiscoItems, Local: "query"},
		where:  [3]bool{true, true, false}, // those of the server are Server.proxy.items
		answer: [3]string{"", "<query xmlns='" + nsDiscoItems + "'/>"},
	},
	{ // RFC 6121 §2.2; always empty
		typ: "get", payload: xml.Name{Space: nsRoster, Local: "query"},
		where:  [3]bool{false, true, false},
		answer: [3]string{"", "<query xmlns='" + nsRoster + "'/>"},
	},
	{ // RFC 3921 §3, a formality
		typ: "set", payload: xml.Name{Space: nsSession, Local: "session"},
		where: [3]bool{true, true, false},
	},
}

const (
	serverInfo = "<query xmlns='" + nsDiscoInfo + "'><identity category='server' type='im' name='xtlstest'/>" +
		"<feature var='" + nsDiscoInfo + "'/><feature var='" + nsDiscoItems + "'/><feature var='" + nsPing + "'/></query>"
	accountInfo = "<query xmlns='" + nsDiscoInfo + "'><identity category='account' type='registered'/>" +
		"<feature var='" + nsDiscoInfo + "'/></query>"
)

// serveIQ answers a request to the server or to an account: RFC 6121 §8.5.1.
func (s *Server) serveIQ(c *client, st *Stanza, payload xml.Name) {
	if !st.isRequest() {
		return
	}
	at := s.place(c, st.To)
	if at == placeBare && !s.exists(st.To.Localpart()) {
		s.bounce(c, st, stanza.Cancel, stanza.ServiceUnavailable)
		return
	}
	for _, sv := range services {
		if sv.typ != st.Type || sv.payload != payload || !sv.where[at] {
			continue
		}
		if hasNode(st.XML) { // XEP-0030 §3.2; there are none
			s.bounce(c, st, stanza.Cancel, stanza.ItemNotFound)
			return
		}
		answer := sv.answer[at]
		if at == placeServer && payload.Space == nsDiscoItems {
			answer = s.proxy.items()
		}
		c.send(st.answer("result", answer).XML)
		return
	}
	s.bounce(c, st, stanza.Cancel, stanza.ServiceUnavailable)
}

// hasNode says whether the payload of an IQ asks for a node.
func hasNode(b []byte) bool {
	n, err := parseNode(b)
	if err != nil {
		return false
	}
	for _, k := range n.kids {
		if q, ok := k.(*node); ok && q.attr("node") != "" {
			return true
		}
	}
	return false
}

func (s *Server) exists(account string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.accounts[account] != nil
}
