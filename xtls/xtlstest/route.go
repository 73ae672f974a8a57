// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest

import (
	"encoding/xml"
	"time"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
	"mellium.im/xmpp/stream"
)

// route handles one first-level element from a bound client. An error ends the
// stream.
func (s *Server) route(c *client, e *element) error {
	if e.Name.Space == nsStream && e.Name.Local == "error" {
		return stream.UndefinedCondition // the client gives up: RFC 6120 §4.9.1.1
	}
	if e.Name.Space != nsClient || !isStanzaKind(e.Name.Local) {
		return stream.UnsupportedStanzaType
	}
	st, badTo, err := c.stamp(e)
	if err != nil {
		return err
	}
	switch {
	case badTo:
		s.bounce(c, st, stanza.Modify, stanza.JIDMalformed)
	case st.Kind == "iq" && !wellFormedIQ(st, e):
		s.bounce(c, st, stanza.Modify, stanza.BadRequest)
	case st.Kind == "iq":
		s.routeIQ(c, st, e.Child)
	case st.Kind == "message":
		s.routeMessage(c, st)
	default:
		s.routePresence(c, st)
	}
	return nil
}

// wellFormedIQ checks RFC 6120 §8.2.3.
func wellFormedIQ(st *Stanza, e *element) bool {
	if st.ID == "" || e.Text {
		return false
	}
	switch st.Type {
	case "get", "set":
		return e.Children == 1
	case "result":
		return e.Children <= 1
	default:
		return st.Type == "error"
	}
}

// stamp makes a Stanza of e that says who sent it: a client may name itself, bare
// or full, and nobody else (RFC 6120 §8.1.2.1). badTo says that its receiver is
// no address.
func (c *client) stamp(e *element) (st *Stanza, badTo bool, err error) {
	st = &Stanza{Kind: e.Name.Local, From: c.jid}
	attrs := make([]xml.Attr, 0, len(e.Attrs)+2)
	lang := c.lang == ""
	for _, a := range e.Attrs {
		switch a.Name {
		case xml.Name{Local: "from"}:
			if a.Value != c.addr {
				from, err := jid.Parse(a.Value)
				if err != nil || !from.Equal(c.jid) && !from.Equal(c.jid.Bare()) {
					return nil, false, stream.InvalidFrom
				}
			}
			continue
		case xml.Name{Local: "to"}:
			st.To, badTo = c.parseTo(a.Value)
			if badTo {
				continue
			}
			a.Value = st.To.String()
		case xml.Name{Local: "type"}:
			st.Type = a.Value
		case xml.Name{Local: "id"}:
			st.ID = a.Value
		case xml.Name{Space: nsXML, Local: "lang"}:
			lang = true
		}
		attrs = append(attrs, a)
	}
	attrs = append(attrs, xml.Attr{Name: xml.Name{Local: "from"}, Value: c.addr})
	if !lang { // RFC 6120 §8.1.5
		attrs = append(attrs, xml.Attr{Name: xml.Name{Space: nsXML, Local: "lang"}, Value: c.lang})
	}
	e.Attrs = attrs
	st.XML = e.render()
	return st, badTo, nil
}

// parseTo parses a receiver. Clients mostly write to the same one again and again,
// and preparing an address takes longer than all the rest.
func (c *client) parseTo(s string) (_ jid.JID, bad bool) {
	if s == c.toText {
		return c.toJID, false
	}
	to, err := parseJID(s)
	if err != nil {
		return jid.JID{}, true
	}
	c.toText, c.toJID = s, to
	return to, false
}

// A place is where an address leads.
type place int

const (
	placeServer   place = iota // the server itself
	placeOwn                   // the sender's account
	placeBare                  // another account
	placeFull                  // a client
	placeElse                  // another domain
	placeResource              // a resource of the server: there are none
)

func (s *Server) place(c *client, to jid.JID) place {
	switch {
	case to.Domainpart() == "" || to.Equal(c.jid.Bare()):
		return placeOwn
	case !to.Domain().Equal(s.domain):
		return placeElse
	case to.Localpart() == "" && to.Resourcepart() != "":
		return placeResource
	case to.Localpart() == "":
		return placeServer
	case to.Resourcepart() == "":
		return placeBare
	default:
		return placeFull
	}
}

// routeIQ: RFC 6121 §8.5.1 to §8.5.3. An answer to somebody who is not there is
// dropped.
func (s *Server) routeIQ(c *client, st *Stanza, payload xml.Name) {
	switch s.place(c, st.To) {
	case placeServer, placeOwn, placeBare:
		s.serveIQ(c, st, payload)
	case placeFull:
		s.relay(c, st)
	case placeElse:
		if s.proxy.is(st.To) {
			s.proxy.serveIQ(c, st, payload)
			return
		}
		s.bounce(c, st, stanza.Cancel, stanza.RemoteServerNotFound)
	default:
		s.bounce(c, st, stanza.Cancel, stanza.ServiceUnavailable)
	}
}

// routeMessage: RFC 6121 §8.5.2 and §8.5.3.
func (s *Server) routeMessage(c *client, st *Stanza) {
	switch s.place(c, st.To) {
	case placeOwn:
		st.To = c.jid.Bare()
		s.relay(c, st)
	case placeBare, placeFull:
		s.relay(c, st)
	case placeElse:
		s.bounce(c, st, stanza.Cancel, stanza.RemoteServerNotFound)
	default:
		s.bounce(c, st, stanza.Cancel, stanza.ServiceUnavailable)
	}
}

// relay shows a stanza between two clients to the observer and the tamper, and
// delivers what is left of it.
func (s *Server) relay(c *client, st *Stanza) {
	if c.shadow != nil && !st.To.Equal(c.shadow.toward) {
		s.bounce(c, st, stanza.Cancel, stanza.ServiceUnavailable)
		return
	}
	if see := s.cfg.OnStanza; see != nil {
		see(st.From, st.To, st.XML)
	}
	tamper := s.tamper.Load()
	if tamper == nil {
		s.deliver(c, st)
		return
	}
	for _, out := range (*tamper)(st) {
		s.deliver(c, out)
	}
}

// deliver brings st, which c caused, to whom it is addressed.
func (s *Server) deliver(c *client, st *Stanza) {
	full := st.To.Resourcepart() != ""
	if full {
		to := s.receiver(st.From.String(), c.shadow != nil && st.From.Equal(c.jid), st.To)
		if to != nil && to.send(st.XML) {
			return
		}
	}
	// Nobody there. Only a chat message goes on to the account (RFC 6121 §8.5.3.2.1).
	if st.Kind == "message" && (!full || st.Type == "chat") && s.deliverBare(st) {
		return
	}
	if st.Kind == "presence" {
		if !full {
			s.deliverBare(st)
		}
		return
	}
	if st.From.Equal(c.jid) && st.Type != "headline" {
		s.bounce(c, st, stanza.Cancel, stanza.ServiceUnavailable)
	}
}

// deliverBare brings st to every available client of an account, for messages of
// those that want any, and says whether there was one. Group chat and errors are
// for no account.
func (s *Server) deliverBare(st *Stanza) bool {
	if st.Type == "groupchat" || st.Type == "error" {
		return false
	}
	sent := false
	for _, to := range s.find(st.To.Bare()) {
		s.mu.RLock()
		wanted := to.available && (st.Kind == "presence" || to.priority >= 0)
		s.mu.RUnlock()
		if wanted && to.send(st.XML) {
			sent = true
		}
	}
	return sent
}

// bounce answers st with an error, unless it is an answer itself: RFC 6120 §8.3.1.
func (s *Server) bounce(c *client, st *Stanza, typ stanza.ErrorType, cond stanza.Condition) {
	if st.Type == "error" || st.Kind == "iq" && st.Type == "result" {
		return
	}
	c.send(st.refuse(typ, cond).XML)
}

// send queues a stanza for c and says whether it may still arrive. A client that
// lets too much pile up is shown out.
func (c *client) send(b []byte) bool {
	var due time.Time
	if d := c.s.cfg.Latency; d > 0 {
		due = time.Now().Add(d)
	}
	open, room := c.out.put(b, due)
	if !room {
		c.s.log.Warnf("%q does not read: %d octets wait for it", cut(c.addr), c.s.cfg.QueueLimit)
		c.stop(stream.PolicyViolation)
	}
	return open && room
}
