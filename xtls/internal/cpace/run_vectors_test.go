// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package cpace

import (
	"crypto/sha512"
	"testing"
)

// runVector is one set of testdata/frames.json: whole runs with the session ids, hashes
// and fingerprints of the project's SAS vectors, computed by a program of its own in
// another language, from the draft and PROTOCOL.md.
type runVector struct {
	Name string
	In   struct {
		Initiator, Responder string
		FPI                  hexBytes `json:"fp_initiator"`
		FPR                  hexBytes `json:"fp_responder"`
		NH, SID, Slot        hexBytes
		Run                  byte
		Kind, Typed          string
		ScalarA              hexBytes `json:"ya"`
		ScalarB              hexBytes `json:"yb"`
	}
	Out struct {
		PRS, CI, Generator, Transcript, K, ISK hexBytes
		GeneratorString                        hexBytes `json:"generator_string"`
		MACKey                                 hexBytes `json:"mac_key"`
		A                                      hexBytes `json:"pw_a"`
		B                                      hexBytes `json:"pw_b"`
		C                                      hexBytes `json:"pw_c"`
		OK                                     hexBytes `json:"pw_ok"`
	}
}

func (v *runVector) context() Context {
	return Context{
		SID: [32]byte(v.In.SID), InitiatorJID: v.In.Initiator, ResponderJID: v.In.Responder,
		FPI: [32]byte(v.In.FPI), FPR: [32]byte(v.In.FPR), NH: [32]byte(v.In.NH),
	}
}

func (v *runVector) password(t *testing.T) Password {
	t.Helper()
	parse := ParsePassword
	if v.In.Kind == "code" {
		parse = ParseCode
	}
	pw, err := parse(v.In.Typed)
	if err != nil {
		t.Fatal(err)
	}
	return pw
}

// TestRunVectors compares every octet of whole runs.
func TestRunVectors(t *testing.T) {
	vectors := load[[]runVector](t, "frames.json")
	if len(vectors) != 3 {
		t.Fatalf("%d sets, want 3", len(vectors))
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			c, pw := v.context(), v.password(t)
			equal(t, "PRS", []byte(pw.PRS()), v.Out.PRS)
			equal(t, "CI", c.channelID(), v.Out.CI)
			equal(t, "generator_string", generatorString(v.Out.PRS, v.Out.CI, v.In.SID), v.Out.GeneratorString)
			g := generator(v.Out.PRS, v.Out.CI, v.In.SID)
			equal(t, "generator", g[:], v.Out.Generator)

			i, a, err := InitiateWith([32]byte(v.In.ScalarA), pw, v.In.Run, Slot(v.In.Slot), c)
			if err != nil {
				t.Fatal(err)
			}
			r, err := RespondWith([32]byte(v.In.ScalarB), pw, v.In.Run, Slot(v.In.Slot), c)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "transcript", transcript(i.point, i.associated('I'), r.point, r.associated('R')), v.Out.Transcript)
			k, err := multiply(i.keys().scalar, r.point)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "K", k, v.Out.K)
			mac := sha512.Sum512(append(append([]byte("CPaceMac"), v.In.SID...), v.Out.ISK...))
			equal(t, "mac_key", mac[:], v.Out.MACKey)

			equal(t, "PW_A", a, v.Out.A)
			equal(t, "PW_B", step(t, r, a), v.Out.B)
			equal(t, "PW_C", step(t, i, Frame(v.Out.B)), v.Out.C)
			equal(t, "PW_OK", step(t, r, Frame(v.Out.C)), v.Out.OK)
			if reply := step(t, i, Frame(v.Out.OK)); reply != nil {
				t.Errorf("PW_OK was answered with %v", reply)
			}
			equal(t, "ISK of I", i.ISK(), v.Out.ISK)
			equal(t, "ISK of R", r.ISK(), v.Out.ISK)
		})
	}
}

func step(t *testing.T, e *Exchange, in Frame) Frame {
	t.Helper()
	reply, err := e.Step(in)
	if err != nil {
		t.Fatalf("Step(%v): %v", in, err)
	}
	return reply
}
