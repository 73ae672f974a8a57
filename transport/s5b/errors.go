// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"errors"
	"fmt"
	"io"
)

var (
	// ErrNoCandidate is wrapped by what Connect returns when everything that both ends offered was
	// tried in vain. The text says what was tried and why it failed. The initiator may then
	// replace the transport by another one (XEP-0260 §3).
	ErrNoCandidate = errors.New("s5b: no candidate worked")

	// ErrSessionEnded is wrapped by every error of a negotiation or carrier after [Transport.Close].
	ErrSessionEnded = errors.New("s5b: the XMPP session ended")

	// ErrMessages is what Connect returns for Negotiation.Messages: TCP moves octets and keeps no
	// messages apart.
	ErrMessages = errors.New("s5b: a SOCKS5 bytestream preserves no messages, DTLS needs another transport")
)

// A ProtocolError says that the peer broke a rule of the protocol. The negotiation or carrier is
// over.
type ProtocolError struct {
	// Rule names the rule, e.g. "XEP-0260 §2.2".
	Rule string

	// Text says what happened. It holds no foreign text that is not quoted and cut.
	Text string
}

// Error returns what happened and against which rule.
func (e *ProtocolError) Error() string { return "s5b: " + e.Text + " (" + e.Rule + ")" }

func violation(rule, format string, args ...any) *ProtocolError {
	return &ProtocolError{Rule: rule, Text: fmt.Sprintf(format, args...)}
}

// sessionError is what everything ends with when the XMPP session ended because of err (may be nil).
func sessionError(err error) error {
	if err == nil {
		return ErrSessionEnded
	}
	return wrapCause(ErrSessionEnded, err)
}

// wrapCause wraps what and err, unless somebody could then take it for a clean end of the stream:
// a carrier never ends with io.EOF (package transport).
func wrapCause(what, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %v", what, err)
	}
	return fmt.Errorf("%w: %w", what, err)
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
