// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package cpace_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"example.org/xtls/xtls/internal/cpace"
)

var slot = cpace.Slot{1, 2, 3, 4, 5, 6, 7, 8}

func context() cpace.Context {
	return cpace.Context{
		SID: [32]byte{1}, InitiatorJID: "alba@isle.example", ResponderJID: "bruno@moor.example",
		FPI: [32]byte{2}, FPR: [32]byte{3}, NH: [32]byte{4},
	}
}

func password(t testing.TB, typed string) cpace.Password {
	t.Helper()
	pw, err := cpace.ParsePassword(typed)
	if err != nil {
		t.Fatal(err)
	}
	return pw
}

func initiate(t testing.TB, pw string, run byte, c cpace.Context) (*cpace.Exchange, cpace.Frame) {
	t.Helper()
	e, a, err := cpace.Initiate(password(t, pw), run, slot, c)
	if err != nil {
		t.Fatal(err)
	}
	return e, a
}

func respond(t testing.TB, pw string, run byte, c cpace.Context) *cpace.Exchange {
	t.Helper()
	e, err := cpace.Respond(password(t, pw), run, slot, c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// step is a Step that must succeed and be answered with a frame of this type; 0 for
// none.
func step(t testing.TB, e *cpace.Exchange, in cpace.Frame, want cpace.FrameType) cpace.Frame {
	t.Helper()
	reply, err := e.Step(in)
	if err != nil {
		t.Fatalf("Step(%v): %v", in, err)
	}
	if want == 0 && reply != nil || want != 0 && (reply == nil || reply.Type() != want) {
		t.Fatalf("Step(%v) = %v, want %v", in, reply, want)
	}
	return reply
}

// refused is a Step that must fail as every failure does, and end the run.
func refused(t testing.TB, e *cpace.Exchange, in cpace.Frame) cpace.Frame {
	t.Helper()
	reply, err := e.Step(in)
	var abort *cpace.AbortError
	if !errors.As(err, &abort) || *abort != (cpace.AbortError{Reason: cpace.ReasonBad}) {
		t.Errorf("Step(%v): error %v, want a plain AbortError", in, err)
	}
	if want := cpace.Refuse(runOf(e), cpace.ReasonBad); !bytes.Equal(reply, want) {
		t.Errorf("Step(%v) = %x, want %x", in, []byte(reply), []byte(want))
	}
	ended(t, e, false)
	return reply
}

// runOf reads the run number of e off what it prints.
func runOf(e *cpace.Exchange) (run byte) {
	_, _ = fmt.Sscanf(fmt.Sprint(e), "cpace.Exchange(run %d)", &run)
	return run
}

// ended checks that nothing happens any more.
func ended(t testing.TB, e *cpace.Exchange, success bool) {
	t.Helper()
	key := e.ISK()
	if e.Done() != success || (key != nil) != success {
		t.Errorf("Done = %v, key: %v, want %v", e.Done(), key != nil, success)
	}
	for _, f := range everyFrame(runOf(e)) {
		if reply, err := e.Step(f); reply != nil || !errors.Is(err, cpace.ErrEnded) {
			t.Errorf("after the end, Step(%v) = %v, %v", f, reply, err)
		}
	}
	if f := e.Abort(cpace.ReasonUser); f != nil {
		t.Errorf("after the end, Abort = %v", f)
	}
	if e.Done() != success || !bytes.Equal(e.ISK(), key) {
		t.Error("the outcome changed after the end")
	}
}

// everyFrame is a well-formed frame of each type.
func everyFrame(run byte) []cpace.Frame {
	a := append(append(cpace.Frame{byte(cpace.TypeA), run, 1}, slot[:]...), bytes.Repeat([]byte{9}, 32)...)
	return []cpace.Frame{
		cpace.Request(slot), a,
		append(cpace.Frame{byte(cpace.TypeB), run}, bytes.Repeat([]byte{9}, 96)...),
		append(cpace.Frame{byte(cpace.TypeC), run}, bytes.Repeat([]byte{9}, 64)...),
		{byte(cpace.TypeOK), run},
		cpace.Refuse(run, cpace.ReasonUser),
	}
}

func TestBothRoles(t *testing.T) {
	for _, secret := range []string{"x", "correct horse battery staple", strings.Repeat("long ", 200)} {
		i, a := initiate(t, secret, 7, context())
		r := respond(t, secret, 7, context())
		if !a.Counts() || a.Run() != 7 || a.Slot() != slot {
			t.Errorf("PW_A: counts %v, %v, slot %x", a.Counts(), a, a.Slot())
		}
		b := step(t, r, a, cpace.TypeB)
		c := step(t, i, b, cpace.TypeC)
		if i.Done() || r.Done() || i.ISK() != nil || r.ISK() != nil {
			t.Error("done before the end")
		}
		ok := step(t, r, c, cpace.TypeOK)
		if !r.Done() || i.Done() {
			t.Errorf("after PW_C: R done %v, I done %v", r.Done(), i.Done())
		}
		step(t, i, ok, 0)
		if !bytes.Equal(i.ISK(), r.ISK()) || len(i.ISK()) != 64 {
			t.Errorf("keys %x and %x", i.ISK(), r.ISK())
		}
		if !b.Counts() || c.Counts() || ok.Counts() || cpace.Frame(nil).Counts() {
			t.Error("only PW_A and PW_B count")
		}
		i.ISK()[0] ^= 1
		if !bytes.Equal(i.ISK(), r.ISK()) {
			t.Error("ISK is not a copy")
		}
		ended(t, i, true)
		ended(t, r, true)
	}
}

// TestFreshScalars: nothing repeats when a run is repeated.
func TestFreshScalars(t *testing.T) {
	_, a1 := initiate(t, "x", 1, context())
	_, a2 := initiate(t, "x", 1, context())
	b1 := step(t, respond(t, "x", 1, context()), a1, cpace.TypeB)
	b2 := step(t, respond(t, "x", 1, context()), a1, cpace.TypeB)
	if bytes.Equal(a1, a2) || bytes.Equal(b1, b2) {
		t.Error("two runs sent the same point")
	}
}

// A place is one state of an exchange: how to get there, and the frame that is due.
type place struct {
	name string
	due  cpace.FrameType
	make func() (e *cpace.Exchange, good cpace.Frame)
}

func places(t *testing.T) []place {
	return []place{
		{"R at the beginning", cpace.TypeA, func() (*cpace.Exchange, cpace.Frame) {
			_, a := initiate(t, "secret", 1, context())
			return respond(t, "secret", 1, context()), a
		}},
		{"I after PW_A", cpace.TypeB, func() (*cpace.Exchange, cpace.Frame) {
			i, a := initiate(t, "secret", 1, context())
			return i, step(t, respond(t, "secret", 1, context()), a, cpace.TypeB)
		}},
		{"R after PW_B", cpace.TypeC, func() (*cpace.Exchange, cpace.Frame) {
			i, a := initiate(t, "secret", 1, context())
			r := respond(t, "secret", 1, context())
			return r, step(t, i, step(t, r, a, cpace.TypeB), cpace.TypeC)
		}},
		{"I after PW_C", cpace.TypeOK, func() (*cpace.Exchange, cpace.Frame) {
			i, a := initiate(t, "secret", 1, context())
			r := respond(t, "secret", 1, context())
			c := step(t, i, step(t, r, a, cpace.TypeB), cpace.TypeC)
			return i, step(t, r, c, cpace.TypeOK)
		}},
	}
}

// TestOrder sends every frame in every state. Only the one that is due goes on.
func TestOrder(t *testing.T) {
	for _, p := range places(t) {
		t.Run(p.name, func(t *testing.T) {
			for _, f := range everyFrame(1) {
				e, good := p.make()
				switch {
				case f.Type() == p.due:
					if _, err := e.Step(good); err != nil {
						t.Errorf("%v, which is due: %v", good, err)
					}
					other := bytes.Clone(good)
					other[1] = 2 // another run
					e, _ = p.make()
					refused(t, e, other)
				case f.Type() == cpace.TypeAbort:
					reply, err := e.Step(f)
					var abort *cpace.AbortError
					if reply != nil || !errors.As(err, &abort) || *abort != (cpace.AbortError{Reason: cpace.ReasonUser, Remote: true}) {
						t.Errorf("PW_ABORT: %v, %v", reply, err)
					}
					ended(t, e, false)
					e, _ = p.make()
					refused(t, e, cpace.Refuse(2, cpace.ReasonUser))
				case f.Type() == cpace.TypeRequest && p.due == cpace.TypeB:
					step(t, e, f, 0) // it crossed PW_A
					refused(t, e, f) // but only once
					e, good = p.make()
					step(t, e, f, 0)
					step(t, e, good, cpace.TypeC)
					e, _ = p.make()
					refused(t, e, cpace.Request(cpace.Slot{})) // of another slot
				default:
					refused(t, e, f)
				}
				for _, bad := range []cpace.Frame{nil, {}, {byte(p.due)}, {0x20, 1}, {0x25, 1}, {0x10, 1}, {0xff, 1}} {
					e, _ := p.make()
					refused(t, e, bad)
				}
			}
		})
	}
}

func TestWrongSlot(t *testing.T) {
	_, a := initiate(t, "secret", 1, context())
	r, err := cpace.Respond(password(t, "secret"), 1, cpace.Slot{}, context())
	if err != nil {
		t.Fatal(err)
	}
	refused(t, r, a)
}

func TestAbort(t *testing.T) {
	i, _ := initiate(t, "secret", 3, context())
	f := i.Abort(cpace.ReasonTimeout)
	if !bytes.Equal(f, []byte{0x2f, 3, 3}) || f.Counts() {
		t.Errorf("got %x", []byte(f))
	}
	ended(t, i, false)
	texts := make(map[string]bool)
	for r := range cpace.Reason(8) {
		texts[(&cpace.AbortError{Reason: r}).Error()] = true
		texts[(&cpace.AbortError{Reason: r, Remote: true}).Error()] = true
	}
	if len(texts) != 16 {
		t.Errorf("%d texts for 8 reasons of two sides", len(texts))
	}
	err := error(&cpace.AbortError{Reason: 77, Remote: true})
	if got := err.Error(); got != "cpace: the peer ended the verification: reason 77" {
		t.Error(got)
	}
}

func TestArguments(t *testing.T) {
	for _, tt := range []struct {
		name   string
		run    byte
		none   bool
		change func(*cpace.Context)
	}{
		{"no password", 1, true, nil},
		{"run 0", 0, false, nil},
		{"no SID", 1, false, func(c *cpace.Context) { c.SID = [32]byte{} }},
		{"no FPI", 1, false, func(c *cpace.Context) { c.FPI = [32]byte{} }},
		{"no FPR", 1, false, func(c *cpace.Context) { c.FPR = [32]byte{} }},
		{"no NH", 1, false, func(c *cpace.Context) { c.NH = [32]byte{} }},
		{"no initiator", 1, false, func(c *cpace.Context) { c.InitiatorJID = "" }},
		{"full JID", 1, false, func(c *cpace.Context) { c.ResponderJID += "/phone" }},
		{"long JID", 1, false, func(c *cpace.Context) { c.ResponderJID = strings.Repeat("x", 2048) }},
		{"not UTF-8", 1, false, func(c *cpace.Context) { c.ResponderJID = "\xff" }},
	} {
		pw, c := password(t, "secret"), context()
		if tt.none {
			pw = cpace.Password{}
		}
		if tt.change != nil {
			tt.change(&c)
		}
		if e, f, err := cpace.Initiate(pw, tt.run, slot, c); e != nil || f != nil || err == nil {
			t.Errorf("%s: Initiate = %v, %v, %v", tt.name, e, f, err)
		}
		if e, err := cpace.Respond(pw, tt.run, slot, c); e != nil || err == nil {
			t.Errorf("%s: Respond = %v, %v", tt.name, e, err)
		}
	}
	long := context()
	long.ResponderJID = strings.Repeat("x", 2047)
	if _, err := cpace.Respond(password(t, "secret"), 255, slot, long); err != nil {
		t.Errorf("longest JID: %v", err)
	}
}
