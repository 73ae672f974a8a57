// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"mellium.im/xmpp/stanza"

	"example.org/xtls/jingle/jingletest"
	"example.org/xtls/transport/ibb"
)

// refuseOver makes a's server refuse blocks of more than most octets, and fails the test if it gets
// a refused stanza again. It returns how many were refused.
func (r *rig) refuseOver(t *testing.T, most int, typ stanza.ErrorType, cond stanza.Condition) *int {
	refused := make(map[string]bool)
	n := 0
	r.a.Tap(func(s jingletest.Stanza) []jingletest.Stanza {
		if !isElement("data")(s) {
			return []jingletest.Stanza{s}
		}
		payload := payloadOf(t, s)
		if len(payload) <= most {
			return []jingletest.Stanza{s}
		}
		n++
		if refused[string(payload)] {
			t.Errorf("%d octets that were refused came again", len(payload))
		}
		refused[string(payload)] = true
		go r.a.Inject(errorFor(s, typ, cond)) // the tap holds locks of a
		return nil
	})
	return &n
}

// TestTooBig: after a block was refused because of its size, its octets come in smaller ones, with
// the seq that was refused first. Nothing is lost, and larger ones are never tried again.
func TestTooBig(t *testing.T) {
	for _, tt := range []struct {
		typ  stanza.ErrorType
		cond stanza.Condition
	}{
		{stanza.Modify, stanza.PolicyViolation},
		{stanza.Wait, stanza.PolicyViolation},
		{stanza.Modify, stanza.ResourceConstraint},
		{stanza.Modify, stanza.NotAcceptable},
	} {
		for _, stranger := range []bool{false, true} {
			for _, most := range []int{300, 4000} {
				t.Run(fmt.Sprint(tt.typ, tt.cond, stranger, most), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						r := newRig(t, ibb.Config{BlockSize: 8192})
						r.stranger = stranger
						refused := r.refuseOver(t, most, tt.typ, tt.cond)
						a, b := r.connect(t, false)
						want := pattern(20_000)
						wait := write(t, a, want)
						if got := readString(t, b, len(want)); got != want {
							t.Error("what was read differs from what was written")
						}
						wait()
						if *refused < 1 || *refused > 4 {
							t.Errorf("%d stanzas were refused", *refused)
						}
					})
				})
			}
		}
	}
}

// TestTooBigForEver: below 256 octets nothing is tried, nor can a message be cut.
func TestTooBigForEver(t *testing.T) {
	for _, tt := range []struct {
		messages bool
		size     int
		tries    int
	}{{false, 4096, 5}, {false, 256, 1}, {false, 1, 1}, {true, 4096, 1}} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, ibb.Config{})
				refused := r.refuseOver(t, 0, stanza.Modify, stanza.PolicyViolation)
				a, _ := r.connect(t, tt.messages)
				mustWrite(t, a, strings.Repeat("x", tt.size))
				_, err := a.Read(make([]byte, 1))
				if v, ok := errors.AsType[*ibb.RefusedError](err); !ok || v.Err.Condition != stanza.PolicyViolation {
					t.Errorf("Read = %v, want a RefusedError", err)
				}
				if *refused != tt.tries {
					t.Errorf("%d tries, want %d", *refused, tt.tries)
				}
			})
		})
	}
}

// TestLargerBlockTravelsAlone: a size that nobody knows to pass has nothing behind it until it has
// passed. Otherwise its refusal would be a gap at the peer, which ends the stream.
func TestLargerBlockTravelsAlone(t *testing.T) {
	const total = 4 << 20
	r := newRig(t, ibb.Config{BlockSize: 65535})
	refused := r.refuseOver(t, 4096, stanza.Modify, stanza.PolicyViolation)
	a, b := r.connect(t, false)
	want := pattern(total)
	wait := write(t, a, want)
	if got := readString(t, b, total); got != want {
		t.Error("what was read differs from what was written")
	}
	wait()
	if *refused > 1 {
		t.Errorf("%d blocks of more than 4096 octets were refused, one is enough to know", *refused)
	}
	t.Logf("%d blocks refused", *refused)
}
