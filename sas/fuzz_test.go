// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package sas_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"example.org/xtls/sas"
)

// FuzzExchange lets a peer send anything in any order, between calls of the own
// caller. Each operation is one octet and what it needs from the octets behind it.
// The code is checked against one that is computed here from what went over the
// wire; without COMMIT, NONCE and REVEAL that fit there must be none.
func FuzzExchange(f *testing.F) {
	const start, request, commit, nonce, reveal, result, decide, abort = "\x00", "\x01", "\x02", "\x03", "\x04", "\x05\x01", "\x06\x01", "\x07\x03"
	f.Add(false, []byte(start+nonce+decide+result))
	f.Add(false, []byte(request+nonce+result+decide+start+abort))
	f.Add(false, []byte(start+request+nonce+nonce))
	f.Add(false, []byte(start+abort+nonce+start+nonce+"\x05\x02"))
	f.Add(true, []byte(start+commit+reveal+result+decide))
	f.Add(true, []byte(commit+reveal+decide+"\x05\x02"+commit))
	f.Add(true, []byte(commit+commit))
	f.Add(true, []byte("\x08\x11\x01\x20aaaaaaaabbbbbbbbccccccccdddddddd\x08\x13\x01\x20aaaaaaaabbbbbbbbccccccccdddddddd"))
	f.Add(true, []byte("\x08\x10\x00\x00\x08\x1f\x01\x01\x06\x08\xff\x01\x00"))
	f.Fuzz(func(t *testing.T, responder bool, ops []byte) {
		newFuzzer(t, responder).run(ops)
	})
}

type fuzzer struct {
	t         *testing.T
	responder bool
	keys      sas.Keys
	series    *sas.Series
	drawn     byte // number of own nonces drawn so far

	x        *sas.Exchange
	own      []byte // nonce of this run, once drawn
	commit   []byte // what the peer committed to in this run
	peers    []byte // the peer's nonce, once it was taken
	hasSaid  sas.Result
	wasMatch bool
	aborted  bool
}

func newFuzzer(t *testing.T, responder bool) *fuzzer {
	z := &fuzzer{t: t, responder: responder, keys: someKeys(t, "one tunnel")}
	role := sas.Initiator
	if responder {
		role = sas.Responder
	}
	z.series = newSeries(t, role, z.keys)
	var nonces [][]byte
	for n := range 255 {
		nonces = append(nonces, bytes.Repeat([]byte{byte(n)}, 32))
	}
	fixNonces(z.series, nonces...)
	return z
}

// peerNonce is the nonce of an honest peer in this run.
func (z *fuzzer) peerNonce() []byte { return append([]byte{z.x.Run()}, make([]byte, 31)...) }

func (z *fuzzer) run(ops []byte) {
	next := func(n int) []byte {
		n = min(n, len(ops))
		b := ops[:n]
		ops = ops[n:]
		return b
	}
	octet := func() byte {
		if b := next(1); len(b) == 1 {
			return b[0]
		}
		return 0
	}
	for len(ops) > 0 {
		if z.x == nil || z.x.Over() {
			x, err := z.series.Exchange()
			if errors.Is(err, sas.ErrExhausted) {
				return
			} else if err != nil {
				z.t.Fatal(err)
			}
			z.x, z.own, z.commit, z.peers, z.hasSaid, z.wasMatch, z.aborted = x, nil, nil, nil, 0, false, false
		}
		k := z.x.Run()
		switch op := octet(); op {
		case 0:
			z.sent(z.x.Start())
		case 1:
			z.take(sas.Frame{Type: sas.FrameRequest})
		case 2:
			z.take(sas.Frame{Type: sas.FrameCommit, Run: k, Body: hmacSum(z.keys.Commit, []byte{k}, z.peerNonce())})
		case 3:
			z.take(sas.Frame{Type: sas.FrameNonce, Run: k, Body: z.peerNonce()})
		case 4:
			z.take(sas.Frame{Type: sas.FrameReveal, Run: k, Body: z.peerNonce()})
		case 5:
			z.take(z.result(octet()))
		case 6:
			r := sas.Result(octet())
			if _, err := z.x.Decide(r); err == nil {
				z.wasMatch = r == sas.Match
			}
		case 7:
			_, err := z.x.Abort(sas.AbortReason(octet()))
			z.aborted = err == nil
		default:
			typ, run := sas.FrameType(octet()), octet()
			z.take(sas.Frame{Type: typ, Run: run, Body: next(int(octet()))})
		}
		z.check()
	}
}

// result is the RESULT of an honest peer who has the same nonces.
func (z *fuzzer) result(v byte) sas.Frame {
	k, key := []byte{z.x.Run()}, z.keys.ResultResponder
	if z.responder {
		key = z.keys.ResultInitiator
	}
	mac := hmacSum(key, k, []byte{v}, z.value())
	return sas.Frame{Type: sas.FrameResult, Run: k[0], Body: append([]byte{v}, mac...)}
}

// value is S of what has gone over the wire.
func (z *fuzzer) value() []byte {
	nI, nR := z.own, z.peers
	if z.responder {
		nI, nR = nR, nI
	}
	return hmacSum(z.keys.Value, []byte{z.x.Run()}, nI, nR)
}

func (z *fuzzer) take(f sas.Frame) {
	body := bytes.Clone(f.Body)
	out, err := z.x.Step(f)
	z.sent(out, err)
	if err != nil {
		z.aborted = true
		return
	}
	// Not a late frame of an earlier run, and not a mere repetition of one: it was
	// accepted in this run.
	if f.Run == z.x.Run() {
		switch f.Type {
		case sas.FrameCommit:
			z.commit = body
		case sas.FrameNonce, sas.FrameReveal:
			z.peers = body
		case sas.FrameResult:
			z.hasSaid = sas.Result(body[0])
		}
	}
}

// sent follows the own nonces.
func (z *fuzzer) sent(f *sas.Frame, err error) {
	if f == nil || err != nil {
		return
	}
	if f.Type == sas.FrameCommit || f.Type == sas.FrameNonce {
		z.own = bytes.Repeat([]byte{z.drawn}, 32)
		z.drawn++
	}
}

// check holds what must be true of a run at any time.
func (z *fuzzer) check() {
	t, x := z.t, z.x
	t.Helper()
	if got := x.Committed(); got != (z.own != nil) {
		t.Fatalf("Committed = %v, own nonce drawn %v", got, z.own != nil)
	}
	c, ok := x.Code()
	if z.aborted && (ok || !x.Over()) {
		t.Fatalf("after an abort: code %v, over %v", ok, x.Over())
	}
	if ok {
		if z.own == nil || z.peers == nil {
			t.Fatal("a code without both nonces")
		}
		if z.responder && !bytes.Equal(hmacSum(z.keys.Commit, []byte{x.Run()}, z.peers), z.commit) {
			t.Fatal("a code for a commitment that does not open")
		}
		if got, want := lead8(c), int(z.value()[0]); got != want {
			t.Fatalf("the code begins with %08b, want %08b", got, want)
		}
	}
	if said, _ := x.PeerResult(); said != z.hasSaid {
		t.Fatalf("PeerResult = %v, want %v", said, z.hasSaid)
	}
	if match := x.Outcome() == sas.OutcomeMatch; match != (z.wasMatch && z.hasSaid != sas.Mismatch) {
		t.Fatalf("outcome %v; our user said match: %v, the peer said %v", x.Outcome(), z.wasMatch, z.hasSaid)
	}
}

// FuzzCompare types anything. What matches must be the code once case,
// separators and the four mistaken characters are taken away, and nothing else.
func FuzzCompare(f *testing.F) {
	for _, s := range []string{
		"x9a4up", " X9A-4UP\n", "x9a4vp", "5094-2702-7958", "5094 2702 7958", "31 63 6 41 45 37 51",
		"robot pin elephant light bulb scissors umbrella train", "🤖📌🐘💡✂️☂️🚂", "", "\xff\xfe", "31robot", strings.Repeat("-", 600),
	} {
		f.Add(s)
	}
	c := vectorCode(f, 0)
	f.Fuzz(func(t *testing.T, typed string) {
		letters := strings.Map(func(r rune) rune {
			switch {
			case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
				return r
			case r >= 'A' && r <= 'Z':
				return r + 'a' - 'A'
			}
			return -1
		}, typed)
		if c.Matches(sas.FormB32, typed) && strings.NewReplacer("v", "u").Replace(letters) != "x9a4up" {
			t.Errorf("%q matches x9a4up", typed)
		}
		if c.Matches(sas.FormDecimal, typed) && letters != "509427027958" {
			t.Errorf("%q matches 5094-2702-7958", typed)
		}
		if c.Matches(sas.FormEmoji, typed) {
			rest := letters // of names and numbers, each entry in its place
			for _, forms := range [][]string{{"robot", "31"}, {"pin", "63"}, {"elephant", "06", "6"}, {"lightbulb", "41"}, {"scissors", "45"}, {"umbrella", "37"}, {"train", "51"}} {
				for _, form := range forms {
					if cut, ok := strings.CutPrefix(rest, form); ok {
						rest = cut
						break
					}
				}
			}
			if rest != "" {
				t.Errorf("%q matches, with %q left over", typed, rest)
			}
		}
	})
}
