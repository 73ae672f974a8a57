// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package e2e

import (
	"slices"

	"mellium.im/xmpp/stanza"
)

// What only servers say has no place in a tunnel between two clients: its other end
// is neither the server of this account nor that of anybody, and must not be taken
// for one. Requests of that kind are answered as by somebody who has no such
// service; the rest is dropped.

// serverRequests are the namespaces of requests to, or pushes of, a server.
var serverRequests = []string{
	"jabber:iq:roster",
	"jabber:iq:auth",
	"jabber:iq:register",
	"jabber:iq:private",
	"urn:ietf:params:xml:ns:xmpp-bind",
	"urn:ietf:params:xml:ns:xmpp-session",
	"urn:xmpp:blocking",
	"urn:xmpp:carbons:2",
	"urn:xmpp:mam:1",
	"urn:xmpp:mam:2",
	"urn:xmpp:push:0",
	"urn:xmpp:delegation:1",
	"urn:xmpp:delegation:2",
	"urn:xmpp:privilege:1",
	"urn:xmpp:privilege:2",
}

// serverMessages are those of what a server or room puts into messages and
// presence: copies of other people's messages, archives, events, invitations.
var serverMessages = []string{
	"urn:xmpp:carbons:2",
	"urn:xmpp:mam:1",
	"urn:xmpp:mam:2",
	"urn:xmpp:delegation:1",
	"urn:xmpp:delegation:2",
	"urn:xmpp:privilege:1",
	"urn:xmpp:privilege:2",
	"http://jabber.org/protocol/muc",
	"http://jabber.org/protocol/muc#user",
	"http://jabber.org/protocol/pubsub#event",
}

// judge decides by what the start of a stanza says. Presence in a tunnel is
// directed: it subscribes to nothing (RFC 6121 §4.6).
func (e *element) judge() {
	switch e.kind {
	case "message":
		e.drop = e.typ == string(stanza.GroupChatMessage)
	case "presence":
		switch stanza.PresenceType(e.typ) {
		case stanza.SubscribePresence, stanza.SubscribedPresence, stanza.UnsubscribePresence,
			stanza.UnsubscribedPresence, stanza.ProbePresence:
			e.drop = true
		}
	}
}

// judgePayload decides by the namespace of a child.
func (e *element) judgePayload(space string) {
	switch e.kind {
	case "iq":
		request := e.typ == string(stanza.GetIQ) || e.typ == string(stanza.SetIQ)
		e.refuse = e.refuse || request && slices.Contains(serverRequests, space)
	case "message", "presence":
		e.drop = e.drop || slices.Contains(serverMessages, space)
	}
}
