// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package sas_test

import (
	"bytes"
	"fmt"
	"testing"

	"example.org/xtls/sas"
)

func TestVectors(t *testing.T) {
	for _, v := range readVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			i, r := v.replay(t)
			k := v.In.Run
			commit := start(t, i)
			wantFrame(t, commit, sas.FrameCommit, k, v.Out.Commit)
			nonce := step(t, r, commit)
			wantFrame(t, nonce, sas.FrameNonce, k, v.In.NonceResponder)
			reveal := step(t, i, nonce)
			wantFrame(t, reveal, sas.FrameReveal, k, v.In.NonceInitiator)
			if out := step(t, r, reveal); out.Type != 0 {
				t.Errorf("REVEAL was answered by %v", out.Type)
			}
			v.checkCode(t, code(t, i))
			v.checkCode(t, code(t, r))

			result := decide(t, i, sas.Match)
			wantFrame(t, result, sas.FrameResult, k, append([]byte{1}, v.Out.ResultInitiator...))
			step(t, r, result)
			result = decide(t, r, sas.Match)
			wantFrame(t, result, sas.FrameResult, k, append([]byte{1}, v.Out.ResultResponder...))
			step(t, i, result)
			for _, x := range []*sas.Exchange{i, r} {
				if peer, ok := x.PeerResult(); peer != sas.Match || !ok || x.Outcome() != sas.OutcomeMatch || !x.Over() {
					t.Errorf("peer's result %v, outcome %v, over %v", peer, x.Outcome(), x.Over())
				}
			}
		})
	}
}

// TestVectorS ties the vectors' S, which never leaves an Exchange, to the code and
// to the formula in the package comment.
func TestVectorS(t *testing.T) {
	for _, v := range readVectors(t) {
		keys := scheduleKeys(t, v.In.Exporter, v.Out.CTX)
		s := hmacSum(keys.Value, []byte{v.In.Run}, v.In.NonceInitiator, v.In.NonceResponder)
		if !bytes.Equal(s, v.Out.S) {
			t.Errorf("%s: S = %x, want %x", v.Name, s, v.Out.S)
		}
		if got := hmacSum(keys.ResultResponder, []byte{v.In.Run, 1}, s); !bytes.Equal(got, v.Out.ResultResponder) {
			t.Errorf("%s: MAC of the result %x, want %x", v.Name, got, v.Out.ResultResponder)
		}
	}
}

func (v *vector) checkCode(t *testing.T, c sas.Code) {
	t.Helper()
	if got := c.B32(); got != v.Out.B32 {
		t.Errorf("B32 = %q, want %q", got, v.Out.B32)
	}
	if got, want := c.B32Grouped(), v.Out.B32[:3]+"-"+v.Out.B32[3:]; got != want {
		t.Errorf("B32Grouped = %q, want %q", got, want)
	}
	if got := c.Decimal(); got != v.Out.Decimal {
		t.Errorf("Decimal = %q, want %q", got, v.Out.Decimal)
	}
	var numbers []int
	for _, e := range c.Emoji() {
		numbers = append(numbers, e.Number)
	}
	if got := fmt.Sprint(numbers); got != v.Out.Emoji {
		t.Errorf("Emoji = %s, want %s", got, v.Out.Emoji)
	}
}

func wantFrame(t *testing.T, f sas.Frame, typ sas.FrameType, run byte, body []byte) {
	t.Helper()
	if f.Type != typ || f.Run != run || !bytes.Equal(f.Body, body) {
		t.Errorf("frame %v of run %d with %x, want %v of run %d with %x", f.Type, f.Run, f.Body, typ, run, body)
	}
}
