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
	"time"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/jingle/jingletest"
	"example.org/xtls/transport/ibb"
)

// TestOverrun: a peer that does not keep to its credit is told to wait, and what it sends is
// neither kept nor counted.
func TestOverrun(t *testing.T) {
	r := newRig(t, ibb.Config{BlockSize: 256, ReceiveBuffer: 512})
	_, b := r.connect(t, false)
	send := func(id string, seq, octets int, want string) {
		t.Helper()
		r.b.Inject(iq(r.a.LocalAddr(), r.b.LocalAddr(), id, data(sidOf(b), fmt.Sprint(seq), b64(octets))))
		if got := condition(answerTo(r.b, id)); got != want {
			t.Errorf("answer to %s is %q, want %q", id, got, want)
		}
	}
	send("d0", 0, 256, "result")
	send("d1", 1, 255, "result")
	send("d2", 2, 2, "wait resource-constraint") // one octet over
	send("d2again", 2, 256, "wait resource-constraint")
	send("d2fits", 2, 1, "result")
	readString(t, b, 256)
	send("d3", 3, 256, "result")
	readString(t, b, 512)
}

// TestCredit injects <credit/> at the sender.
func TestCredit(t *testing.T) {
	peer := jid.MustParse(jingletest.AddrB)
	for _, tt := range []struct {
		name      string
		from      jid.JID
		attrs     string
		condition string
		broken    string // empty if the stream goes on
	}{
		{"same limit", peer, "limit='262144' sid='%s'", "result", ""},
		{"backwards is ignored", peer, "limit='0' sid='%s'", "result", ""},
		{"backwards to what was sent is ignored", peer, "limit='4' sid='%s'", "result", ""},
		{"as far as can be true", peer, "limit='16777220' sid='%s'", "result", ""},
		{"beyond what was promised", peer, "limit='16777221' sid='%s'", "cancel bad-request", "limit 16777221, but only 4 octets were sent and a window has at most 16777216"},
		{"largest", peer, "limit='9223372036854775807' sid='%s'", "cancel bad-request", "limit 9223372036854775807"},
		{"overflow", peer, "limit='9223372036854775808' sid='%s'", "cancel bad-request", `limit "9223372036854775808"`},
		{"negative", peer, "limit='-1' sid='%s'", "cancel bad-request", `limit "-1"`},
		{"no limit", peer, "sid='%s'", "cancel bad-request", `limit ""`},
		{"third party", jid.MustParse("mallory@evil.example/x"), "limit='262144' sid='%s'", "cancel item-not-found", ""},
		{"unknown sid", peer, "limit='262144' sid='x%s'", "cancel item-not-found", ""},
		{"no sid", peer, "limit='262144' x='%s'", "cancel bad-request", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, ibb.Config{})
			a, b := r.connect(t, false)
			mustWrite(t, a, "four")
			readString(t, b, 4)
			r.a.Inject(iq(tt.from, r.a.LocalAddr(), "cr", fmt.Sprintf("<credit xmlns='urn:xmpp:xtls:1' "+tt.attrs+"/>", sidOf(a))))
			if got := condition(answerTo(r.a, "cr")); got != tt.condition {
				t.Errorf("answer is %q, want %q", got, tt.condition)
			}
			if tt.broken == "" {
				mustWrite(t, a, "more")
				if got := readString(t, b, 4); got != "more" {
					t.Errorf("Read = %q", got)
				}
				return
			}
			_, err := a.Read(make([]byte, 1))
			if v, ok := errors.AsType[*ibb.ProtocolError](err); !ok || !strings.Contains(v.Text, tt.broken) {
				t.Errorf("Read = %v, want a ProtocolError with %q", err, tt.broken)
			}
		})
	}
}

// TestCreditInResult alters the <credit/> in the result of a block.
func TestCreditInResult(t *testing.T) {
	replace := func(pairs ...string) *strings.Replacer { return strings.NewReplacer(pairs...) }
	for _, tt := range []struct {
		name   string
		alter  *strings.Replacer
		broken string
	}{
		{"another element acknowledges all the same", replace("<credit ", "<other ", "</credit>", "</other>"), ""},
		{"beyond", replace(`limit="262144"`, `limit="16777221"`), "limit 16777221"},
		{"no number", replace(`limit="262144"`, `limit="x"`), `limit "x"`},
		{"of another stream", replace(`sid="`, `sid="x`), "credit for sid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, ibb.Config{})
			a, b := r.connect(t, false)
			r.b.Tap(func(s jingletest.Stanza) []jingletest.Stanza {
				s.XML = tt.alter.Replace(s.XML)
				return []jingletest.Stanza{s}
			})
			mustWrite(t, a, "four")
			readString(t, b, 4)
			if tt.broken == "" {
				mustWrite(t, a, "more")
				readString(t, b, 4)
				return
			}
			_, err := a.Read(make([]byte, 1))
			if v, ok := errors.AsType[*ibb.ProtocolError](err); !ok || !strings.Contains(v.Text, tt.broken) {
				t.Errorf("Read = %v, want a ProtocolError with %q", err, tt.broken)
			}
		})
	}
}

// TestCreditNotInUse: a stranger that was promised nothing cannot send <credit/>.
func TestCreditNotInUse(t *testing.T) {
	r := newRig(t, ibb.Config{})
	r.stranger = true
	a, b := r.connect(t, false)
	r.a.Inject(iq(r.b.LocalAddr(), r.a.LocalAddr(), "cr", "<credit xmlns='urn:xmpp:xtls:1' limit='5' sid='"+sidOf(a)+"'/>"))
	if got := condition(answerTo(r.a, "cr")); got != "cancel unexpected-request" {
		t.Errorf("answer is %q", got)
	}
	mustWrite(t, a, "more")
	readString(t, b, 4)
}

// TestCreditUpdateIsRepeated: the only stanza that lets the sender go on must not get lost.
func TestCreditUpdateIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, ibb.Config{BlockSize: 256, ReceiveBuffer: 1024})
		a, b := r.connect(t, false) // b writes, a is the slow reader
		r.undeliverable("credit", stanza.Wait, stanza.RemoteServerTimeout, func(n int) bool { return n < 5 })
		want := pattern(4096)
		wait := write(t, b, want)
		synctest.Wait()
		defer wait()
		if got := readString(t, a, len(want)); got != want {
			t.Error("what was read differs from what was written")
		}
	})
}

// TestCreditUpdateRefused: and if it cannot be delivered at all the stream breaks.
func TestCreditUpdateRefused(t *testing.T) {
	for _, typ := range []stanza.ErrorType{stanza.Wait, stanza.Cancel} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, ibb.Config{BlockSize: 256, ReceiveBuffer: 1024})
			a, b := r.connect(t, false)
			a.SetDeadline(time.Time{})
			b.SetDeadline(time.Time{})
			r.undeliverable("credit", typ, stanza.RecipientUnavailable, func(int) bool { return true })
			mustWrite(t, b, pattern(1024+256)) // the window and a block
			synctest.Wait()
			got, err := readAll(a)
			if refused, ok := errors.AsType[*ibb.RefusedError](err); !ok || refused.Op != "credit" || got != pattern(1024) {
				t.Errorf("Read = %d octets, %v, want 1024 and a RefusedError", len(got), err)
			}
		})
	}
}
