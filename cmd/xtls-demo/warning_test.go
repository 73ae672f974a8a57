// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls"
)

// What a person is told and asked depends on what is known of the peer.
func TestQuestion(t *testing.T) {
	disputed := fingerprint.Peer{Disputed: time.Date(2026, 5, 6, 0, 0, 0, 0, time.UTC), Interrupted: 3}
	for _, tt := range []struct {
		name       string
		v          xtls.Verification
		minLevel   xtls.Level
		want, deny []string
	}{
		{
			"first contact",
			xtls.Verification{Initiator: true},
			0,
			[]string{"You are calling bob@example.net", "key is NEW", "Enter              compare six", `"pin"`},
			[]string{"WARNING", "DISPUTED", "interrupted"},
		},
		{"called", xtls.Verification{}, 0, []string{"A tunnel is wanted by"}, nil},
		{
			"password asked for",
			xtls.Verification{Asked: methodPassword},
			0,
			[]string{"They have chosen the password", `"compare"`, "Enter              type a password"},
			nil,
		},
		{"codes asked for", xtls.Verification{Asked: methodSAS}, 0, []string{"They have chosen to compare", "Enter              compare six"}, nil},
		{"to verify", xtls.Verification{App: xtls.Tunnel(verifyService)}, 0, nil, []string{`"pin"`}},
		{
			"on a tunnel",
			xtls.Verification{Live: true, Asked: methodSAS, Level: xtls.LevelPinned},
			0,
			[]string{"A verification is wanted by", "PINNED"},
			[]string{`"pin"`, "NEW"},
		},
		{
			"new key",
			xtls.Verification{Changed: changed.Want[:1]},
			0,
			[]string{"WARNING", "since 2026-01-02, never checked", "an attack", `"another device"`},
			[]string{`"pin"`, "NEW"},
		},
		{"new key, more demanded", xtls.Verification{Changed: changed.Want[:1]}, xtls.LevelVerified, []string{"WARNING"}, []string{`"another device"`}},
		{"more demanded", xtls.Verification{}, xtls.LevelPinned, []string{"NEW"}, []string{`"pin"`}},
		{
			"disputed",
			xtls.Verification{Facts: disputed},
			0,
			[]string{"DISPUTED", "mismatch on 2026-05-06", "was interrupted 3 times"},
			[]string{`"pin"`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := &tt.v
			v.Peer, v.Fingerprint = jid.MustParse("bob@example.net/x"), testKey
			g := &gate{minLevel: tt.minLevel}
			text := introduction(v) + g.choices(v, false)
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("want %q in\n%s", want, text)
				}
			}
			for _, deny := range tt.deny {
				if strings.Contains(text, deny) {
					t.Errorf("%q in\n%s", deny, text)
				}
			}
			// What is not offered is not taken either.
			for answer, offer := range map[string]string{answerPin: `"pin"`, answerAnother: `"another device"`, "yes": "yes"} {
				level, err := g.unverified(v, answer, false)
				if offered := strings.Contains(text, offer); offered != (err == nil) || offered != (level == xtls.LevelServerVouched) {
					t.Errorf("%q: %s, %v\n%s", answer, level, err, text)
				}
			}
		})
	}
}

// The peer's method is the default, and a name overrides it.
func TestChosen(t *testing.T) {
	for _, tt := range []struct{ asked, answer, want string }{
		{"", "", methodSAS},
		{"", " compare ", methodSAS},
		{"", "password", methodPassword},
		{"", "pin", ""},
		{"", "y", ""},
		{methodPassword, "", methodPassword},
		{methodPassword, "compare", methodSAS},
		{methodSAS, "", methodSAS},
		{"", " code ", methodCode},
		{xtls.AskedTypeCode, "", methodCode},
		{xtls.AskedShowCode, "", methodCode},
		{xtls.AskedShowCode, "password", methodPassword},
	} {
		if got := chosen(&xtls.Verification{Asked: tt.asked}, tt.answer, false); got != tt.want {
			t.Errorf("asked %q, answer %q: %q, want %q", tt.asked, tt.answer, got, tt.want)
		}
	}
	if got := chosen(&xtls.Verification{}, "", true); got != "" {
		t.Errorf("the peer went on alone: %q", got)
	}
}

// A line that nobody waited for is not lost to the next question, and neither
// blocks the other.
func TestScriptNext(t *testing.T) {
	r, w := io.Pipe()
	s := &script{in: r}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
	go func() {
		_, _ = io.WriteString(w, "one\ntwo\n")
		_ = w.Close()
	}()
	for _, want := range []string{"one", "two"} {
		if got, err := s.next(t.Context()); got != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if _, err := s.next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}
