// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import (
	"errors"
	"fmt"
	"io"

	"mellium.im/xmpp/stanza"
)

var (
	// ErrSessionEnded is wrapped by what Read and Write return once the XMPP session that
	// carried the stream is gone.
	ErrSessionEnded = errors.New("ibb: the XMPP session ended")

	// ErrMessageTooLong is wrapped by what Write returns for a message larger than the
	// block-size ([Conn.BlockSize]). Nothing of it was sent.
	ErrMessageTooLong = errors.New("ibb: message longer than the block-size")

	// ErrBlockSize is wrapped by what Connect returns if the peer wants a block-size that is
	// too small, or larger than the one offered.
	ErrBlockSize = errors.New("ibb: block-size not acceptable")
)

// A ProtocolError says that the peer, or somebody on the way, broke a rule of the protocol.
// The stream is over.
type ProtocolError struct {
	// Rule names the rule, e.g. "XEP-0047 §2.2".
	Rule string

	// Text says what happened. It holds no foreign text that is not quoted and cut.
	Text string
}

// Error returns what happened and against which rule.
func (e *ProtocolError) Error() string { return "ibb: " + e.Text + " (" + e.Rule + ")" }

func violation(rule, format string, args ...any) *ProtocolError {
	return &ProtocolError{Rule: rule, Text: fmt.Sprintf(format, args...)}
}

// A RefusedError is an error answer of the peer, or of a server on the way, to a stanza of ours.
type RefusedError struct {
	// Op is the element that was refused: "open", "data" or "credit".
	Op string

	// Err is the answer. Its text is foreign: quote it before showing it.
	Err stanza.Error
}

// Error returns the operation and the condition, quoted and cut.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("ibb: %s refused: %s, type %s", e.Op, quote(string(e.Err.Condition)), quote(string(e.Err.Type)))
}

// Unwrap returns the answer.
func (e *RefusedError) Unwrap() error { return e.Err }

// answerError is the error for a stanza whose answer was err.
func answerError(op string, err error) error {
	if se, ok := errors.AsType[stanza.Error](err); ok {
		return &RefusedError{Op: op, Err: se}
	}
	return wrapCause("ibb: no answer to "+op, err)
}

// sessionError is what streams end with when the XMPP session ended because of err (may be nil).
func sessionError(err error) error {
	if err == nil {
		return ErrSessionEnded
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %v", ErrSessionEnded, err)
	}
	return fmt.Errorf("%w: %w", ErrSessionEnded, err)
}

// wrapCause wraps err, unless somebody could then take it for a clean end of the stream:
// an XMPP session often ends with io.EOF, a carrier never does (package transport).
func wrapCause(text string, err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %v", text, err)
	}
	return fmt.Errorf("%s: %w", text, err)
}

// quotedMax bounds foreign text in errors and logs, in octets.
const quotedMax = 64

// quote makes foreign text fit for errors and logs.
func quote(s string) string {
	if len(s) > quotedMax {
		s = s[:quotedMax] + "…"
	}
	return fmt.Sprintf("%q", s)
}
