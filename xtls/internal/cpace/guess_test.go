// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package cpace

import (
	"crypto/hmac"
	"slices"
	"testing"
)

// secrets are passwords that a person might choose, all known to Mallory.
func secrets(t *testing.T) []Password {
	t.Helper()
	var all []Password
	for _, w := range []string{"heather", "isthmus", "kestrel", "lichen", "marram", "plover", "skerry", "thrift"} {
		pw, err := ParsePassword(w)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, pw)
	}
	return all
}

// search returns the secrets that explain a tag which Mallory got, given her scalar,
// what she sent, and what came. She knows everything else. A secret explains the tag if
// the point she sent is her scalar times its generator, and the tag then is right; with
// any other secret she does not know the scalar that belongs to the point she sent.
func search(t *testing.T, all []Password, c Context, scalar [32]byte, sent, came, tr, mac, ad []byte) (found []string) {
	t.Helper()
	for _, pw := range all {
		g := generator([]byte(pw.PRS()), c.channelID(), c.SID[:])
		own, err := multiply(key(t, scalar[:]), g[:])
		if err != nil {
			t.Fatal(err)
		}
		k, err := multiply(key(t, scalar[:]), came)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Equal(own, sent) && hmac.Equal(mac, tag(c.SID[:], sessionKey(c.SID[:], k, tr), came, ad)) {
			found = append(found, pw.PRS())
		}
	}
	return found
}

// TestOneGuessPerRun: Mallory ends a tunnel herself. What she gets in a run says
// whether her one guess was right, and nothing about any other.
func TestOneGuessPerRun(t *testing.T) {
	all := secrets(t)
	const guess = 2
	for victim, pw := range all {
		c, scalar := testContext(), newScalar()
		var want []string
		if victim == guess {
			want = []string{pw.PRS()}
		}

		// As I she gets Tb, with which to search at leisure.
		m, a, err := InitiateWith(scalar, all[guess], 1, Slot{}, c)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Respond(pw, 1, Slot{}, c)
		if err != nil {
			t.Fatal(err)
		}
		b := step(t, r, a)
		yb, tb := b.body()[:pointBytes], b.body()[pointBytes:]
		ada, adb := m.associated('I'), m.associated('R')
		tr := transcript(m.point, ada, yb, adb)
		if found := search(t, all, c, scalar, m.point, yb, tr, tb, adb); !slices.Equal(found, want) {
			t.Errorf("%s, guessing %s as I: found %v, want %v", pw.PRS(), all[guess].PRS(), found, want)
		}
		if reply, _ := m.Step(b); (reply.Type() == TypeC) != (victim == guess) {
			t.Errorf("%s: Mallory's own exchange says %v", pw.PRS(), reply)
		}
		// There is no second guess in the run, whatever she sends next.
		if victim != guess {
			for n := range 2 {
				reply, err := r.Step(frame(TypeC, 1, make([]byte, tagBytes)))
				if err == nil || (reply == nil) != (n == 1) || r.Done() {
					t.Errorf("attempt %d to prove it: %v, %v", n+1, reply, err)
				}
			}
		}

		// As R she gets Ta only if her guess was right.
		i, a, err := Initiate(pw, 2, Slot{}, c)
		if err != nil {
			t.Fatal(err)
		}
		m, err = RespondWith(scalar, all[guess], 2, Slot{}, c)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := i.Step(step(t, m, a))
		if right := victim == guess; (err == nil) != right || (reply.Type() == TypeC) != right {
			t.Errorf("%s, guessing %s as R: got %v, %v", pw.PRS(), all[guess].PRS(), reply, err)
		}
		if victim != guess && len(reply) != kinds[TypeAbort].octets {
			t.Errorf("a wrong guess was answered with %x", []byte(reply))
		}
	}
}

// TestWrongGuessesLookAlike: two runs against different secrets, both guessed wrong,
// differ in nothing but random points and tags.
func TestWrongGuessesLookAlike(t *testing.T) {
	all := secrets(t)
	var seen []string
	for _, victim := range []Password{all[0], all[1]} {
		c := testContext()
		i, a, err := Initiate(victim, 1, Slot{}, c)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Respond(all[5], 1, Slot{}, c)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := i.Step(step(t, m, a))
		seen = append(seen, string(reply)+err.Error())
	}
	if seen[0] != seen[1] {
		t.Errorf("got %q and %q", seen[0], seen[1])
	}
}
