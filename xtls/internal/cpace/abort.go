// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package cpace

import (
	"errors"
	"fmt"
)

// A Reason is the octet in a PW_ABORT. The numbers are those of SAS_ABORT where both
// have the reason (PROTOCOL.md sections 7.1 and 7.2).
type Reason byte

const (
	// ReasonBad is every failure of the exchange itself: wrong secret, other context,
	// point of low order, wrong length, order or run.
	ReasonBad     Reason = 1
	ReasonTimeout Reason = 3 // the peer was silent for too long
	ReasonBusy    Reason = 4 // another verification with this peer is going on
	ReasonLimit   Reason = 5 // too many attempts ([PasswordAttempts], [CodeAttempts])
	ReasonUser    Reason = 6 // the user gave up
)

// String describes r.
func (r Reason) String() string {
	switch r {
	case ReasonBad:
		return "the secrets differ, or somebody is in the middle"
	case ReasonTimeout:
		return "no answer in time"
	case ReasonBusy:
		return "another verification is going on"
	case ReasonLimit:
		return "too many attempts"
	case ReasonUser:
		return "given up by the user"
	default:
		return fmt.Sprintf("reason %d", byte(r))
	}
}

// An AbortError is how a run fails. That of a failed check is always the same,
// &AbortError{Reason: ReasonBad}: it does not tell what was wrong.
type AbortError struct {
	Reason Reason
	Remote bool // the peer sent PW_ABORT; Reason is what it says
}

// Error implements error. It holds no secret.
func (e *AbortError) Error() string {
	if e.Remote {
		return "cpace: the peer ended the verification: " + e.Reason.String()
	}
	return "cpace: " + e.Reason.String()
}

// ErrEnded is returned by [Exchange.Step] for a frame after the end of the run. It does
// not undo a success.
var ErrEnded = errors.New("cpace: frame after the end of the run")
