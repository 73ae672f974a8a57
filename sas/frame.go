// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package sas

import (
	"errors"
	"fmt"
)

// A FrameType says what a control frame is (PROTOCOL.md section 7.1). Others than these
// are none of this package; [Exchange.Step] takes them for a violation.
type FrameType byte

// The frames of a run, in the order in which they travel.
const (
	FrameRequest FrameType = 0x10 // responder: please start; run 0, no body
	FrameCommit  FrameType = 0x11 // initiator: 32 octets, HMAC over its nonce
	FrameNonce   FrameType = 0x12 // responder: its nonce, 32 octets
	FrameReveal  FrameType = 0x13 // initiator: its nonce, 32 octets
	FrameResult  FrameType = 0x14 // both: the Result, 1 octet, and 32 octets of HMAC
	FrameAbort   FrameType = 0x1f // both: the AbortReason, 1 octet
)

// String returns the name of t in PROTOCOL.md without its prefix.
func (t FrameType) String() string {
	switch t {
	case FrameRequest:
		return "REQUEST"
	case FrameCommit:
		return "COMMIT"
	case FrameNonce:
		return "NONCE"
	case FrameReveal:
		return "REVEAL"
	case FrameResult:
		return "RESULT"
	case FrameAbort:
		return "ABORT"
	}
	return fmt.Sprintf("frame 0x%02x", byte(t))
}

// A Frame is one message of a run: on the wire type ‖ run ‖ body. It must reach
// the peer unchanged, once and in order; everything else ends the run.
type Frame struct {
	Type FrameType
	Run  byte   // 1 to 255; 0 in a REQUEST
	Body []byte // not kept by who takes it, not reused by who made it
}

// A Result is what the user of one end said about the two codes.
type Result byte

// The results, as they travel in RESULT.
const (
	Match    Result = 1 // the codes are equal
	Mismatch Result = 2 // they differ: somebody is in the middle
	GaveUp   Result = 3 // the user did not compare
)

func (r Result) valid() bool { return r >= Match && r <= GaveUp }

// String returns the result in English.
func (r Result) String() string {
	switch r {
	case Match:
		return "match"
	case Mismatch:
		return "mismatch"
	case GaveUp:
		return "gave up"
	}
	return fmt.Sprintf("result %d", byte(r))
}

// An AbortReason says why an end ended a run, as it travels in ABORT. A peer may
// send numbers that have no name here; they end the run just as well.
type AbortReason byte

// The reasons of PROTOCOL.md section 7.1.
const (
	ReasonOrder   AbortReason = 1 // a frame out of order, of a wrong run, length or value
	ReasonCommit  AbortReason = 2 // REVEAL does not open COMMIT: an attack or a broken peer
	ReasonTimeout AbortReason = 3 // FrameTimeout or UserTimeout passed
	ReasonBusy    AbortReason = 4 // another run with the same peer is under way
	ReasonLimit   AbortReason = 5 // too many failures, or a mismatch before
	ReasonUser    AbortReason = 6 // the user stopped it
)

// String returns the reason's name in PROTOCOL.md.
func (r AbortReason) String() string {
	switch r {
	case ReasonOrder:
		return "order"
	case ReasonCommit:
		return "commit"
	case ReasonTimeout:
		return "timeout"
	case ReasonBusy:
		return "busy"
	case ReasonLimit:
		return "limit"
	case ReasonUser:
		return "user"
	}
	return fmt.Sprintf("reason %d", byte(r))
}

// An AbortError says that a run was ended before it was done. It holds no nonce,
// key or code.
type AbortError struct {
	Reason AbortReason
	Remote bool   // the peer ended it
	Frame  *Frame // the ABORT to send; nil if there is nothing to send
	Rule   string // what was violated, for the log; fixed text of this package, never the peer's
}

func (e *AbortError) Error() string {
	by := "aborted"
	if e.Remote {
		by = "the peer aborted"
	}
	if e.Rule == "" {
		return fmt.Sprintf("sas: %s (%s)", by, e.Reason)
	}
	return fmt.Sprintf("sas: %s (%s): %s", by, e.Reason, e.Rule)
}

var (
	// ErrOver means that the run was over already, and that the call had no effect.
	// After an own abort this is normal: the peer's frames were on their way.
	ErrOver = errors.New("sas: the run is over")

	// ErrNotNow means that the caller asked for something that the run is not ready
	// for, such as a decision before there is a code. The run goes on.
	ErrNotNow = errors.New("sas: the run is not at that point")

	// ErrExhausted means that all 255 run numbers of the tunnel are used up.
	ErrExhausted = errors.New("sas: no run numbers left in this tunnel")
)
