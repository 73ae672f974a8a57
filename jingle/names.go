// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package jingle

import (
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// NS is the namespace of Jingle, to be advertised by service discovery
	// (XEP-0166 §11).
	NS = "urn:xmpp:jingle:1"

	// NSErrors is the namespace of Jingle's error conditions (XEP-0166 §10).
	NSErrors = "urn:xmpp:jingle:errors:1"
)

// An Action says what a <jingle/> element is for (XEP-0166 §7.2).
type Action string

// The actions of XEP-0166 §7.2. There are no others.
const (
	ActionContentAccept    Action = "content-accept"
	ActionContentAdd       Action = "content-add"
	ActionContentModify    Action = "content-modify"
	ActionContentReject    Action = "content-reject"
	ActionContentRemove    Action = "content-remove"
	ActionDescriptionInfo  Action = "description-info"
	ActionSecurityInfo     Action = "security-info"
	ActionSessionAccept    Action = "session-accept"
	ActionSessionInfo      Action = "session-info"
	ActionSessionInitiate  Action = "session-initiate"
	ActionSessionTerminate Action = "session-terminate"
	ActionTransportAccept  Action = "transport-accept"
	ActionTransportInfo    Action = "transport-info"
	ActionTransportReject  Action = "transport-reject"
	ActionTransportReplace Action = "transport-replace"
)

// A Reason says why a session ended (XEP-0166 §7.4). Empty means that no reason
// was given. A peer may send reasons that are not listed here.
type Reason string

// The reasons of XEP-0166 §7.4.
const (
	ReasonAlternativeSession      Reason = "alternative-session"      // an existing session is preferred
	ReasonBusy                    Reason = "busy"                     // cannot take part now
	ReasonCancel                  Reason = "cancel"                   // the initiator withdraws its offer
	ReasonConnectivityError       Reason = "connectivity-error"       // no connection came about or it broke
	ReasonDecline                 Reason = "decline"                  // the responder does not want to
	ReasonExpired                 Reason = "expired"                  // a limit on the length of sessions
	ReasonFailedApplication       Reason = "failed-application"       // the application could not be set up
	ReasonFailedTransport         Reason = "failed-transport"         // the transport could not be set up
	ReasonGeneralError            Reason = "general-error"            // an error that has no name
	ReasonGone                    Reason = "gone"                     // the party goes offline
	ReasonIncompatibleParameters  Reason = "incompatible-parameters"  // application known, parameters not
	ReasonMediaError              Reason = "media-error"              // trouble with the content
	ReasonSecurityError           Reason = "security-error"           // against the local security policy
	ReasonSuccess                 Reason = "success"                  // an end without error
	ReasonTimeout                 Reason = "timeout"                  // no answer came in time
	ReasonUnsupportedApplications Reason = "unsupported-applications" // none of those offered
	ReasonUnsupportedTransports   Reason = "unsupported-transports"   // none of those offered
)

// Values of the attribute creator of <content/> (XEP-0166 §7.3).
const (
	CreatorInitiator = "initiator"
	CreatorResponder = "responder"
)

// dispositionSession is the default of the attribute disposition.
const dispositionSession = "session"

var (
	creators = []string{"", CreatorInitiator, CreatorResponder}
	senders  = []string{"", "both", "initiator", "none", "responder"}
)

// known reports whether a is one of the actions of the XEP.
func (a Action) known() bool {
	return slices.Contains([]Action{
		ActionContentAccept, ActionContentAdd, ActionContentModify, ActionContentReject, ActionContentRemove,
		ActionDescriptionInfo, ActionSecurityInfo, ActionSessionAccept, ActionSessionInfo, ActionSessionInitiate,
		ActionSessionTerminate, ActionTransportAccept, ActionTransportInfo, ActionTransportReject, ActionTransportReplace,
	}, a)
}

const (
	// maxSID is the longest session id in octets that is taken from a peer. XEP-0166
	// has no limit; ids are kept and compared, so there must be one.
	maxSID = 256

	// maxText is how much of a peer's <text/> is kept, in octets.
	maxText = 512

	// maxQuoted is how much of other foreign text is put into an error.
	maxQuoted = 64
)

// cut shortens foreign text to at most n octets, not in the middle of a
// character.
func cut(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
