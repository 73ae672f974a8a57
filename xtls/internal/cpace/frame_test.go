// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package cpace_test

import (
	"bytes"
	"errors"
	"testing"

	"example.org/xtls/xtls/internal/cpace"
)

// lengths are those of PROTOCOL.md section 7.2.
var lengths = map[cpace.FrameType]int{
	cpace.TypeRequest: 10, cpace.TypeA: 43, cpace.TypeB: 98, cpace.TypeC: 66, cpace.TypeOK: 2, cpace.TypeAbort: 3,
}

func TestFrameLengths(t *testing.T) {
	for _, f := range everyFrame(1) {
		if len(f) != lengths[f.Type()] || len(f) > cpace.MaxFrame {
			t.Errorf("%v has %d octets, want %d", f, len(f), lengths[f.Type()])
		}
		for _, n := range []int{0, 1, 2, len(f) - 1, len(f), len(f) + 1, cpace.MaxFrame + 1, 1 << 14} {
			b := append(bytes.Clone(f), make([]byte, 1<<14)...)[:n]
			got, err := cpace.ParseFrame(b)
			if n == len(f) && (err != nil || !bytes.Equal(got, f)) || n != len(f) && !errors.Is(err, cpace.ErrFrame) {
				t.Errorf("%v with %d octets: %v, %v", f, n, got, err)
			}
			if n == len(f) || f.Type() == cpace.TypeAbort {
				continue
			}
			// In a run, in whichever state this frame is due.
			i, a := initiate(t, "secret", 1, context())
			r := respond(t, "secret", 1, context())
			switch f.Type() {
			case cpace.TypeA, cpace.TypeRequest:
				refused(t, r, b)
			case cpace.TypeB:
				refused(t, i, b)
			case cpace.TypeC:
				step(t, r, a, cpace.TypeB)
				refused(t, r, b)
			case cpace.TypeOK:
				step(t, i, step(t, r, a, cpace.TypeB), cpace.TypeC)
				refused(t, i, b)
			}
		}
	}
}

func TestParseFrame(t *testing.T) {
	a := everyFrame(1)[1]
	suite2, run0 := bytes.Clone(a), bytes.Clone(a)
	suite2[2], run0[1] = 2, 0
	request := bytes.Clone(cpace.Request(slot))
	request[1] = 1
	for _, tt := range []struct {
		name string
		in   []byte
		ok   bool
	}{
		{"PW_A", a, true},
		{"another suite", suite2, false},
		{"PW_A of run 0", run0, false},
		{"PW_OK of run 0", []byte{0x24, 0}, false},
		{"PW_ABORT of run 0", []byte{0x2f, 0, 4}, true},
		{"PW_REQUEST", cpace.Request(slot), true},
		{"PW_REQUEST of run 1", request, false},
		{"SAS_COMMIT", append([]byte{0x11, 1}, make([]byte, 32)...), false},
		{"0x25", []byte{0x25, 1}, false},
	} {
		if f, err := cpace.ParseFrame(tt.in); (err == nil) != tt.ok || (f != nil) != tt.ok {
			t.Errorf("%s: %v, %v", tt.name, f, err)
		}
	}
}

func TestFrameFields(t *testing.T) {
	names := []string{
		"PW_REQUEST of run 0", "PW_A of run 9", "PW_B of run 9", "PW_C of run 9", "PW_OK of run 9", "PW_ABORT of run 9",
	}
	for n, f := range everyFrame(9) {
		if f.String() != names[n] {
			t.Errorf("got %q, want %q", f, names[n])
		}
		named := f.Type() == cpace.TypeRequest || f.Type() == cpace.TypeA
		if (f.Slot() == slot) != named || !named && f.Slot() != (cpace.Slot{}) {
			t.Errorf("%v: slot %x", f, f.Slot())
		}
		if (f.Reason() == cpace.ReasonUser) != (f.Type() == cpace.TypeAbort) {
			t.Errorf("%v: reason %v", f, f.Reason())
		}
	}
	if got := cpace.Frame(nil).String() + ", " + cpace.FrameType(1).String(); got != "no frame, frame type 0x01" {
		t.Error(got)
	}
}
