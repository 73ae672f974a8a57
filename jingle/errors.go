// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package jingle

import (
	"encoding/xml"
	"errors"
	"fmt"

	"mellium.im/xmlstream"
	"mellium.im/xmpp/stanza"
)

var (
	// ErrTieBreak is returned if both sides did the same at the same time and the
	// peer's action counts: after Initiate the peer's offer is with
	// [Handler.Next], after a transport-replace the peer's is with
	// [Session.Recv] (XEP-0166 §7.2.16).
	ErrTieBreak = errors.New("jingle: the peer's simultaneous action takes precedence")

	// ErrOutOfOrder is returned, and nothing was sent, if an action makes no sense
	// in the state of the session, such as accepting one's own offer.
	ErrOutOfOrder = errors.New("jingle: action does not fit the state of the session")
)

// A RefusedError says that the peer, or a server in its place, answered an
// action with an error. Errors.As finds the [stanza.Error] in it.
type RefusedError struct {
	Action Action
	Err    stanza.Error // its text is foreign
}

// Error implements error. The peer's text is quoted and cut.
func (e *RefusedError) Error() string {
	msg := fmt.Sprintf("jingle: %s refused: %s", e.Action, cut(string(e.Err.Condition), maxQuoted))
	// The text without language tag, or any.
	text := e.Err.Text[""]
	for _, t := range e.Err.Text {
		if text == "" {
			text = t
		}
	}
	if text != "" {
		msg += fmt.Sprintf(" (%q)", cut(text, maxText))
	}
	return msg
}

// Unwrap returns the stanza error.
func (e *RefusedError) Unwrap() error { return e.Err }

// An EndError says how a session ended. It is what the methods of an ended
// [Session] return.
type EndError struct {
	Reason      Reason // of session-terminate; empty if none was given or sent
	Text        string // from the peer if Remote, at most 512 octets; to be quoted when shown
	Alternative string // session id that the peer prefers, with ReasonAlternativeSession
	Remote      bool   // the peer ended it, or does not know it any more
	Err         error  // what went wrong, if not a session-terminate ended the session; may be nil
}

// Error implements error. The peer's words are quoted.
func (e *EndError) Error() string {
	who := "jingle: session ended"
	if e.Remote {
		who += " by the peer"
	}
	if e.Reason != "" {
		who += fmt.Sprintf(": %q", cut(string(e.Reason), maxQuoted))
	}
	if e.Text != "" {
		who += fmt.Sprintf(" (%q)", cut(e.Text, maxText))
	}
	if e.Err != nil {
		who += ": " + e.Err.Error()
	}
	return who
}

// Unwrap returns e.Err.
func (e *EndError) Unwrap() error { return e.Err }

// A refusal is an error answer to a stanza of the peer (XEP-0166 §6.3.2, §10).
type refusal struct {
	typ       stanza.ErrorType
	condition stanza.Condition
	app       string // condition in NSErrors, or ""
	text      string // the rule, for the peer's log
}

func badRequest(text string) *refusal {
	return &refusal{stanza.Cancel, stanza.BadRequest, "", text}
}

func outOfOrder(text string) *refusal {
	return &refusal{stanza.Wait, stanza.UnexpectedRequest, "out-of-order", text}
}

func unknownSession() *refusal {
	return &refusal{stanza.Cancel, stanza.ItemNotFound, "unknown-session", ""}
}

func tieBreak() *refusal {
	return &refusal{stanza.Cancel, stanza.Conflict, "tie-break", ""}
}

func unsupportedInfo() *refusal {
	return &refusal{stanza.Modify, stanza.FeatureNotImplemented, "unsupported-info", ""}
}

func notImplemented(text string) *refusal {
	return &refusal{stanza.Cancel, stanza.FeatureNotImplemented, "", text}
}

func unavailable() *refusal {
	return &refusal{stanza.Cancel, stanza.ServiceUnavailable, "", ""}
}

func resourceConstraint(text string) *refusal {
	return &refusal{stanza.Wait, stanza.ResourceConstraint, "", text}
}

// String is for the log.
func (r *refusal) String() string {
	return fmt.Sprintf("%s %s %s", r.condition, r.app, r.text)
}

// reader returns the <error/> element.
func (r *refusal) reader() xml.TokenReader {
	e := stanza.Error{Type: r.typ, Condition: r.condition}
	if r.text != "" {
		e.Text = map[string]string{"": r.text}
	}
	if r.app == "" {
		return e.TokenReader()
	}
	return e.Wrap(xmlstream.Wrap(nil, xml.StartElement{Name: xml.Name{Space: NSErrors, Local: r.app}}))
}
