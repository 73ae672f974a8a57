// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package cpace

import (
	"crypto/rand"
	"errors"
	"fmt"
)

// A FrameType is the first octet of a frame (PROTOCOL.md section 7.2).
type FrameType byte

const (
	TypeRequest FrameType = 0x20 // PW_REQUEST: R asks I to begin, or either for a code that the other shows
	TypeA       FrameType = 0x21 // PW_A: I's point
	TypeB       FrameType = 0x22 // PW_B: R's point and proof
	TypeC       FrameType = 0x23 // PW_C: I's proof
	TypeOK      FrameType = 0x24 // PW_OK: R has checked I's proof
	TypeAbort   FrameType = 0x2f // PW_ABORT: the run has failed
)

// String returns the name of t, like "PW_A".
func (t FrameType) String() string {
	if k, ok := kinds[t]; ok {
		return k.name
	}
	return fmt.Sprintf("frame type 0x%02x", byte(t))
}

// MaxFrame is the most octets a frame has.
const MaxFrame = headBytes + pointBytes + tagBytes

const (
	headBytes = 2 // type and run
	slotBytes = 8
	suite     = 1 // CPACE-X25519-SHA512
)

// kinds holds the name and the exact length of every type.
var kinds = map[FrameType]struct {
	name   string
	octets int
}{
	TypeRequest: {"PW_REQUEST", headBytes + slotBytes},
	TypeA:       {"PW_A", headBytes + 1 + slotBytes + pointBytes},
	TypeB:       {"PW_B", headBytes + pointBytes + tagBytes},
	TypeC:       {"PW_C", headBytes + tagBytes},
	TypeOK:      {"PW_OK", headBytes},
	TypeAbort:   {"PW_ABORT", headBytes + 1},
}

// A Slot names the invitation a secret belongs to, so that both know which secret is
// meant: zero for the password of the two, else a one-time code. It is public.
type Slot [slotBytes]byte

// NewSlot names a new one-time code at random.
func NewSlot() (s Slot) {
	for s.IsPassword() || s == AnyCode() {
		_, _ = rand.Read(s[:]) // never fails
	}
	return s
}

// AnyCode is the slot of a [Request] by a side that will type the one-time code that
// the other shows, whatever its slot.
func AnyCode() (s Slot) {
	for i := range s {
		s[i] = 0xff
	}
	return s
}

// IsPassword reports whether the slot, zero, is that of a password both agreed on.
func (s Slot) IsPassword() bool { return s == Slot{} }

// A Frame is one message of the exchange, as it is sent: type, run, body. Its methods
// need a frame that came from this package ([ParseFrame], or an output); [Frame.Counts]
// and [Frame.String] work for nil as well. It holds nothing to search for a secret with.
type Frame []byte

// ErrFrame is the error of [ParseFrame].
var ErrFrame = errors.New("cpace: malformed frame")

// ParseFrame checks type, length and run number of b and returns it, not copied. It is
// for what arrives outside a run (PW_REQUEST, PW_A, PW_ABORT); frames of a run go to
// [Exchange.Step] as they are. PW_REQUEST has run 0, PW_ABORT any, all others 1 to 255.
// The error is ErrFrame.
func ParseFrame(b []byte) (Frame, error) {
	if len(b) < headBytes {
		return nil, ErrFrame
	}
	f := Frame(b)
	kind, ok := kinds[f.Type()]
	switch {
	case !ok || len(f) != kind.octets:
		return nil, ErrFrame
	case f.Type() == TypeRequest && f.Run() != 0:
		return nil, ErrFrame
	case f.Type() != TypeRequest && f.Type() != TypeAbort && f.Run() == 0:
		return nil, ErrFrame
	case f.Type() == TypeA && f.body()[0] != suite:
		return nil, ErrFrame
	}
	return f, nil
}

// Request is the frame by which R asks I to begin a run with the secret of slot or,
// with [AnyCode], either side for the code that the other shows.
func Request(slot Slot) Frame { return frame(TypeRequest, 0, slot[:]) }

// Refuse is the PW_ABORT that answers a PW_REQUEST (run 0) or a PW_A (its run) for
// which there is no [Exchange]: busy, over the limit, no such slot ([ReasonBad]).
func Refuse(run byte, r Reason) Frame { return frame(TypeAbort, run, []byte{byte(r)}) }

func frame(t FrameType, run byte, body ...[]byte) Frame {
	f := Frame{byte(t), run}
	for _, b := range body {
		f = append(f, b...)
	}
	return f
}

// Type is the type of f.
func (f Frame) Type() FrameType { return FrameType(f[0]) }

// Run is the number of the run f belongs to, 0 for PW_REQUEST.
func (f Frame) Run() byte { return f[1] }

// Slot is the slot that a PW_REQUEST or PW_A names; zero for other types.
func (f Frame) Slot() Slot {
	switch f.Type() {
	case TypeRequest:
		return Slot(f.body())
	case TypeA:
		return Slot(f.body()[1 : 1+slotBytes])
	default:
		return Slot{}
	}
}

// Reason is why a PW_ABORT was sent, as the sender says; zero for other types.
func (f Frame) Reason() Reason {
	if f.Type() != TypeAbort {
		return 0
	}
	return Reason(f.body()[0])
}

// Counts reports whether f exposes its sender to a guess of the peer: PW_A and PW_B.
// It must not be sent before the attempt is on disk (PROTOCOL.md section 7.2).
func (f Frame) Counts() bool {
	return len(f) > 0 && (f.Type() == TypeA || f.Type() == TypeB)
}

// String names type and run of f, nothing else.
func (f Frame) String() string {
	if len(f) < headBytes {
		return "no frame"
	}
	return fmt.Sprintf("%v of run %d", f.Type(), f.Run())
}

func (f Frame) body() []byte { return f[headBytes:] }
