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

// FuzzStep drives an honest pair through a network that the input controls: each
// pair of octets is an operation on the frame under way, and raw frames come from the
// rest. Whatever happens, an end succeeds only if it got the honest frames in order, an
// end that failed stays failed, and what is sent is well-formed.
func FuzzStep(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0}, []byte{})
	f.Add([]byte{0, 0, 1, 40, 0, 0, 0, 0}, []byte{})
	f.Add([]byte{0, 0, 0, 0, 1, 1, 0, 0}, []byte{})
	f.Add([]byte{0, 0, 2, 98, 0, 0}, append([]byte{0x22, 1}, make([]byte, 96)...))
	f.Add([]byte{2, 10, 0, 0, 0, 0}, []byte(cpace.Request(slot)))
	f.Add([]byte{0, 0, 3, 0, 0, 0, 3, 0}, []byte{})
	f.Add([]byte{2, 3, 2, 3}, []byte{0x2f, 1, 1, 0x2f, 1, 6})
	f.Fuzz(func(t *testing.T, ops, raw []byte) {
		i, a, err := cpace.InitiateWith([32]byte{1}, password(t, "secret"), 1, slot, context())
		if err != nil {
			t.Fatal(err)
		}
		r, err := cpace.RespondWith([32]byte{2}, password(t, "secret"), 1, slot, context())
		if err != nil {
			t.Fatal(err)
		}
		ends := map[bool]*fuzzEnd{true: {e: r}, false: {e: i}}
		way, toR := a, true
		for ; len(ops) >= 2 && way != nil; ops = ops[2:] {
			end, in, honest := ends[toR], bytes.Clone(way), true
			switch ops[0] % 4 {
			case 1: // flip a bit
				in[int(ops[1]>>3)%len(in)] ^= 1 << (ops[1] & 7)
				honest = false
			case 2: // a raw frame first, from nowhere
				n := min(int(ops[1]), len(raw))
				end.step(t, raw[:n], false)
				raw = raw[n:]
				continue
			case 3: // twice
				end.step(t, in, true)
				end.step(t, in, false)
				return
			}
			way, toR = end.step(t, in, honest), !toR
		}
	})
}

// fuzzEnd is one end of FuzzStep.
type fuzzEnd struct {
	e               *cpace.Exchange
	spoiled, failed bool // got something that was not honest; failed
}

func (f *fuzzEnd) step(t *testing.T, in []byte, honest bool) cpace.Frame {
	t.Helper()
	// The one dishonest frame that is harmless: a request that crossed PW_A.
	f.spoiled = f.spoiled || !honest && !bytes.Equal(in, cpace.Request(slot)) && !f.e.Done()
	was := f.e.Done()
	reply, err := f.e.Step(in)
	var abort *cpace.AbortError
	switch {
	case was || f.failed:
		if reply != nil || !errors.Is(err, cpace.ErrEnded) || f.e.Done() != was {
			t.Fatalf("after the end: %v, %v, done %v", reply, err, f.e.Done())
		}
		return nil
	case err == nil && reply != nil:
		if _, err := cpace.ParseFrame(reply); err != nil || reply.Type() == cpace.TypeAbort {
			t.Fatalf("sends %x", []byte(reply))
		}
	case err != nil:
		f.failed = true
		if !errors.As(err, &abort) || (reply == nil) != abort.Remote {
			t.Fatalf("fails with %v, %v", reply, err)
		}
		if reply != nil && !bytes.Equal(reply, []byte{0x2f, 1, 1}) {
			t.Fatalf("aborts with %x", []byte(reply))
		}
	}
	if f.e.Done() && f.spoiled {
		t.Fatal("succeeded with frames that are not the peer's")
	}
	return reply
}
