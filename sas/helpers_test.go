// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package sas_test

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"example.org/xtls/sas"
)

// scheduleKeys is the key schedule of PROTOCOL.md section 5 from the exporter on.
func scheduleKeys(t testing.TB, exporter, ctx []byte) sas.Keys {
	t.Helper()
	prk, err := hkdf.Extract(sha256.New, exporter, []byte("XTLS-v1"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := sas.DeriveKeys(func(purpose string, n int) ([]byte, error) {
		return hkdf.Expand(sha256.New, prk, "XTLS-v1 "+purpose+"\x00"+string(ctx), n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// someKeys are the keys of a tunnel that is named by seed.
func someKeys(t testing.TB, seed string) sas.Keys {
	t.Helper()
	return scheduleKeys(t, []byte(seed), []byte("a context"))
}

func newSeries(t testing.TB, role sas.Role, keys sas.Keys) *sas.Series {
	t.Helper()
	s, err := sas.New(role, keys)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fixNonces makes s draw these nonces, one for each run, and panic for more.
func fixNonces(s *sas.Series, nonces ...[]byte) {
	s.OnDraw(func(b []byte) {
		copy(b, nonces[0])
		nonces = nonces[1:]
	})
}

func exchange(t testing.TB, s *sas.Series) *sas.Exchange {
	t.Helper()
	x, err := s.Exchange()
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// pair returns the two ends of one tunnel.
func pair(t testing.TB) (i, r *sas.Series) {
	t.Helper()
	keys := someKeys(t, "one tunnel")
	return newSeries(t, sas.Initiator, keys), newSeries(t, sas.Responder, keys)
}

func start(t testing.TB, x *sas.Exchange) sas.Frame {
	t.Helper()
	f, err := x.Start()
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	return *f
}

// step hands f to x, which must take it, and returns the answer or a zero Frame.
func step(t testing.TB, x *sas.Exchange, f sas.Frame) sas.Frame {
	t.Helper()
	out, err := x.Step(f)
	if err != nil {
		t.Fatalf("Step(%v of run %d): %v", f.Type, f.Run, err)
	}
	if out == nil {
		return sas.Frame{}
	}
	return *out
}

func decide(t testing.TB, x *sas.Exchange, r sas.Result) sas.Frame {
	t.Helper()
	f, err := x.Decide(r)
	if err != nil {
		t.Fatalf("Decide(%v): %v", r, err)
	}
	return *f
}

func abort(t testing.TB, x *sas.Exchange, r sas.AbortReason) sas.Frame {
	t.Helper()
	f, err := x.Abort(r)
	if err != nil {
		t.Fatalf("Abort(%v): %v", r, err)
	}
	return *f
}

func code(t testing.TB, x *sas.Exchange) sas.Code {
	t.Helper()
	c, ok := x.Code()
	if !ok {
		t.Fatal("there is no code")
	}
	return c
}

// show runs the three messages between two ends of one tunnel.
func show(t testing.TB, i, r *sas.Exchange) {
	t.Helper()
	step(t, r, step(t, i, step(t, r, start(t, i))))
}

// finish runs a whole run with these results and checks that it is over.
func finish(t testing.TB, i, r *sas.Exchange, mine, theirs sas.Result) {
	t.Helper()
	show(t, i, r)
	step(t, r, decide(t, i, mine))
	step(t, i, decide(t, r, theirs))
	if !i.Over() || !r.Over() {
		t.Fatal("the run is not over after both results")
	}
}

// wantAbort checks that err ends the run for this reason, on this side, and that
// the frame which says so is right.
func wantAbort(t testing.TB, x *sas.Exchange, err error, reason sas.AbortReason) {
	t.Helper()
	e, ok := errors.AsType[*sas.AbortError](err)
	if !ok || e.Reason != reason || e.Remote {
		t.Fatalf("error %v, want an own abort (%v)", err, reason)
	}
	if e.Rule == "" {
		t.Errorf("%v names no rule", e)
	}
	want := sas.Frame{Type: sas.FrameAbort, Run: x.Run(), Body: []byte{byte(reason)}}
	if e.Frame == nil || e.Frame.Type != want.Type || e.Frame.Run != want.Run || !bytes.Equal(e.Frame.Body, want.Body) {
		t.Errorf("frame to send %v, want %v", e.Frame, want)
	}
	wantEnded(t, x)
}

// wantEnded checks that nothing is left to show, to take or to decide.
func wantEnded(t testing.TB, x *sas.Exchange) {
	t.Helper()
	if !x.Over() {
		t.Error("the run goes on after an abort")
	}
	if c, ok := x.Code(); ok || c.B32() != "" {
		t.Error("there is a code after an abort")
	}
	_, err1 := x.Step(sas.Frame{Type: sas.FrameAbort, Run: x.Run(), Body: []byte{1}})
	_, err2 := x.Decide(sas.Match)
	_, err3 := x.Abort(sas.ReasonUser)
	_, err4 := x.Start()
	for _, err := range []error{err1, err2, err3, err4} {
		if !errors.Is(err, sas.ErrOver) {
			t.Errorf("after the end: %v, want ErrOver", err)
		}
	}
}

func hmacSum(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(bytes.Join(parts, nil))
	return h.Sum(nil)
}

// lead8 is the first 8 bits of a code: what an 8-bit rendering would show.
func lead8(c sas.Code) int {
	e := c.Emoji()
	return e[0].Number<<2 | e[1].Number>>4
}

// A vector is one known answer of testdata/vectors.json.
type vector struct {
	Name string
	In   struct {
		Exporter       unhex
		Run            byte
		NonceInitiator unhex `json:"sas_nonce_initiator"`
		NonceResponder unhex `json:"sas_nonce_responder"`
	}
	Out struct {
		CTX             unhex
		Commit, S       unhex
		ResultInitiator unhex  `json:"result_match_initiator"`
		ResultResponder unhex  `json:"result_match_responder"`
		B32             string `json:"b32_6"`
		Decimal         string `json:"dec_3"`
		Emoji           string `json:"emoji_7"`
	}
}

type unhex []byte

func (u *unhex) UnmarshalText(b []byte) (err error) {
	*u, err = hex.DecodeString(string(b))
	return err
}

func readVectors(t testing.TB) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 3 {
		t.Fatalf("%d vectors, want 3", len(all))
	}
	return all
}

// replay sets up both ends of v, with the runs before v's done.
func (v *vector) replay(t testing.TB) (i, r *sas.Exchange) {
	t.Helper()
	keys := scheduleKeys(t, v.In.Exporter, v.Out.CTX)
	si, sr := newSeries(t, sas.Initiator, keys), newSeries(t, sas.Responder, keys)
	for run := byte(1); ; run++ {
		i, r = exchange(t, si), exchange(t, sr)
		if run == v.In.Run {
			fixNonces(si, v.In.NonceInitiator)
			fixNonces(sr, v.In.NonceResponder)
			return i, r
		}
		finish(t, i, r, sas.Match, sas.Match)
	}
}
