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

// TestDifferentViews: whatever the two ends see differently, I finds out by Tb and does
// not send Ta, and the failure looks the same.
func TestDifferentViews(t *testing.T) {
	for _, tt := range []struct {
		name   string
		secret string
		change func(*cpace.Context)
	}{
		{"password", "Secret", nil},
		{"sid", "", func(c *cpace.Context) { c.SID[31] ^= 1 }},
		{"initiator", "", func(c *cpace.Context) { c.InitiatorJID = "alma@isle.example" }},
		{"responder", "", func(c *cpace.Context) { c.ResponderJID = "bruna@moor.example" }},
		{"fpI", "", func(c *cpace.Context) { c.FPI[31] ^= 1 }},
		{"fpR", "", func(c *cpace.Context) { c.FPR[31] ^= 1 }},
		{"NH", "", func(c *cpace.Context) { c.NH[31] ^= 1 }},
		{"swapped names", "", func(c *cpace.Context) { c.InitiatorJID, c.ResponderJID = c.ResponderJID, c.InitiatorJID }},
		{"swapped certificates", "", func(c *cpace.Context) { c.FPI, c.FPR = c.FPR, c.FPI }},
		{"moved border", "", func(c *cpace.Context) { c.InitiatorJID, c.ResponderJID = "alba@isle.exampleb", "runo@moor.example" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, secret := context(), "secret"
			if tt.change != nil {
				tt.change(&c)
			} else {
				secret = tt.secret
			}
			i, a := initiate(t, "secret", 1, context())
			r := respond(t, secret, 1, c)
			abort := refused(t, i, step(t, r, a, cpace.TypeB))
			reply, err := r.Step(abort)
			var got *cpace.AbortError
			if reply != nil || !errors.As(err, &got) || *got != (cpace.AbortError{Reason: cpace.ReasonBad, Remote: true}) {
				t.Errorf("R takes PW_ABORT with %v, %v", reply, err)
			}
			ended(t, r, false)
		})
	}
}

// TestManInTheMiddle: both ends know the secret, but each has its own tunnel to
// Mallory, who hands all frames on.
func TestManInTheMiddle(t *testing.T) {
	left, right := context(), context()
	left.FPR, right.FPI = [32]byte{66}, [32]byte{66} // Mallory's certificate
	left.SID, right.SID = [32]byte{77}, [32]byte{78} // two exporters
	i, a := initiate(t, "secret", 1, left)
	r := respond(t, "secret", 1, right)
	b := step(t, r, a, cpace.TypeB)
	refused(t, i, b)
	refused(t, r, append(cpace.Frame{byte(cpace.TypeC), 1}, b[34:]...)) // all the tags she has
}

// TestReflection: what an end has sent proves nothing when it comes back, in the same
// frame or dressed up as another.
func TestReflection(t *testing.T) {
	i, a := initiate(t, "secret", 1, context())
	refused(t, i, a)

	i, a = initiate(t, "secret", 1, context())
	refused(t, i, append(append(cpace.Frame{byte(cpace.TypeB), 1}, a[11:]...), make([]byte, 64)...))

	_, a = initiate(t, "secret", 1, context())
	r := respond(t, "secret", 1, context())
	refused(t, r, step(t, r, a, cpace.TypeB))

	r = respond(t, "secret", 1, context())
	b := step(t, r, a, cpace.TypeB)
	refused(t, r, append(cpace.Frame{byte(cpace.TypeC), 1}, b[34:]...)) // Tb as Ta

	// Own point back to R: both points are then the same.
	r, err := cpace.RespondWith([32]byte{8}, password(t, "secret"), 1, slot, context())
	if err != nil {
		t.Fatal(err)
	}
	_, a, err = cpace.InitiateWith([32]byte{8}, password(t, "secret"), 1, slot, context())
	if err != nil {
		t.Fatal(err)
	}
	b = step(t, r, a, cpace.TypeB)
	if !bytes.Equal(a[11:], b[2:34]) {
		t.Fatal("the points differ")
	}
	refused(t, r, append(cpace.Frame{byte(cpace.TypeC), 1}, b[34:]...))
}

// TestSwappedRoles: two ends that both think they are R, or have swapped places.
func TestSwappedRoles(t *testing.T) {
	r1, r2 := respond(t, "secret", 1, context()), respond(t, "secret", 1, context())
	_, a := initiate(t, "secret", 1, context())
	refused(t, r2, step(t, r1, a, cpace.TypeB))

	i1, a1 := initiate(t, "secret", 1, context())
	_, a2 := initiate(t, "secret", 1, context())
	if a1.Type() != a2.Type() {
		t.Fatal("two initiators send different things")
	}
	refused(t, i1, a2)
}

// TestReplay: frames of an earlier run open nothing in a later one, not even with the
// same run number and context, which a caller must never use twice.
func TestReplay(t *testing.T) {
	i, a := initiate(t, "secret", 1, context())
	r := respond(t, "secret", 1, context())
	b := step(t, r, a, cpace.TypeB)
	c := step(t, i, b, cpace.TypeC)
	ok := step(t, r, c, cpace.TypeOK)
	step(t, i, ok, 0)

	for _, run := range []byte{1, 2} {
		ctx := context()
		i, _ = initiate(t, "secret", run, ctx)
		refused(t, i, b)

		r = respond(t, "secret", run, ctx)
		if run == 1 {
			step(t, r, a, cpace.TypeB)
			refused(t, r, c)
		} else {
			refused(t, r, a)
		}
	}

	// A frame delivered twice.
	i, a = initiate(t, "secret", 1, context())
	r = respond(t, "secret", 1, context())
	b = step(t, r, a, cpace.TypeB)
	refused(t, r, a)
	step(t, i, b, cpace.TypeC)
	refused(t, i, b)
}

// TestEveryBit flips each bit of each frame: the run fails, on the side that gets it or
// on the other.
func TestEveryBit(t *testing.T) {
	pass := func(flip, bit int) (succeeded, sawFlip bool) {
		i, f := initiate(t, "secret", 1, context())
		to, other := respond(t, "secret", 1, context()), i
		for n := 0; f != nil; n++ {
			if n == flip {
				if sawFlip = bit < 8*len(f); sawFlip {
					f[bit/8] ^= 1 << (bit % 8)
				}
			}
			f, _ = to.Step(f)
			to, other = other, to
		}
		return i.Done(), sawFlip
	}
	if ok, _ := pass(-1, 0); !ok {
		t.Fatal("it fails without a flip")
	}
	for n, octets := range []int{43, 98, 66, 2} {
		for bit := range 8*octets + 1 {
			if n < 3 && bit > 8*16 && bit%7 != 0 && bit < 8*octets-8 {
				continue // every seventh in the middle
			}
			if ok, saw := pass(n, bit); ok == saw || saw != (bit < 8*octets) {
				t.Errorf("frame %d, bit %d: succeeded %v, flipped %v", n, bit, ok, saw)
			}
		}
	}
}
