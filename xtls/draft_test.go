// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls_test

import (
	"bytes"
	"errors"
	"regexp"
	"testing"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// only applies a tamper to stanzas that contain a text.
func only(text string, tamper xtlstest.Tamper) xtlstest.Tamper {
	return func(st *xtlstest.Stanza) []*xtlstest.Stanza {
		if bytes.Contains(st.XML, []byte(text)) {
			return tamper(st)
		}
		return []*xtlstest.Stanza{st}
	}
}

// twice delivers a stanza again, as a new one.
func twice(st *xtlstest.Stanza) []*xtlstest.Stanza {
	again, err := xtlstest.ParseStanza(string(bytes.Replace(st.XML, []byte(st.ID), []byte(st.ID+"-again"), 1)))
	if err != nil {
		panic(err)
	}
	return []*xtlstest.Stanza{st, again}
}

// instead replaces what matches a pattern.
func instead(pattern, with string) xtlstest.Tamper {
	re := regexp.MustCompile(pattern)
	return func(st *xtlstest.Stanza) []*xtlstest.Stanza {
		if !re.Match(st.XML) {
			panic(pattern + " does not match " + string(st.XML))
		}
		changed, err := xtlstest.ParseStanza(re.ReplaceAllLiteralString(string(st.XML), with))
		if err != nil {
			panic(err)
		}
		return []*xtlstest.Stanza{changed}
	}
}

// TestDraftMode has a server strip our extension from both offers, so that each
// end takes the other for one that speaks the plain draft.
func TestDraftMode(t *testing.T) {
	allow := func(jid.JID) bool { return true }
	tests := []struct {
		name   string
		change func(a, b *xtls.Config)
		want   error
		level  xtls.Level
	}{
		{"unknown keys", func(_, _ *xtls.Config) {}, xtls.ErrNotSupported, 0},
		{"pinned keys", func(a, b *xtls.Config) {
			pin(t, a.Trust, "bob@localhost", keyOf(b), fingerprint.LevelPinned)
			pin(t, b.Trust, "alice@localhost", keyOf(a), fingerprint.LevelVerified)
		}, nil, xtls.LevelPinned},
		{"allowed by name", func(a, b *xtls.Config) { a.AllowDraft, b.AllowDraft = allow, allow }, nil, xtls.LevelServerVouched},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := xtlstest.NewServer(t, xtlstest.Config{Tamper: xtlstest.StripBinding()})
			aCfg, bCfg := xtlstest.ClientConfig(t, s, "alice"), xtlstest.ClientConfig(t, s, "bob")
			tt.change(aCfg, bCfg)
			alice, bob := xtlstest.NewClient(t, s, "alice", aCfg), xtlstest.NewClient(t, s, "bob", bCfg)
			if tt.want != nil {
				if r := try(t, alice, bob); !errors.Is(r.dial, tt.want) {
					t.Errorf("Dial: %v, want %v", r.dial, tt.want)
				}
				return
			}
			a, _ := xtlstest.Tunnel(t, alice, bob)
			if st := a.State(); !st.Draft || st.Level != tt.level {
				t.Errorf("state %+v, want draft mode at level %s", st, tt.level)
			}
			a.Close()
			if r := try(t, alice, bob); errors.Join(r.dial, r.accept, r.aToB, r.bToA) != nil || !bytes.Equal(r.gotAToB, aliceSays) {
				t.Errorf("the tunnel does not work: %v", errors.Join(r.dial, r.accept, r.aToB, r.bToA))
			}
		})
	}
}

// TestDishonestSignalling tampers with what only the two ends of the extended mode
// send each other.
func TestDishonestSignalling(t *testing.T) {
	for name, tamper := range map[string]xtlstest.Tamper{
		"binding stripped from the answer": only(`session-accept`, xtlstest.StripBinding()),
		"binding stripped from the offer":  only(`session-initiate`, xtlstest.StripBinding()),
		"nonce changed":                    only(`session-accept`, instead(`nonce='....`, `nonce='AAAA`)),
		"confirmation repeated":            only(`<control`, twice),
		"confirmation renumbered":          only(`<control`, instead(`seq='0'`, `seq='1'`)),
		"another method":                   only(`<control`, instead(`<control.*</control>`, `<method name="srp"/>`)),
		"another description":              only(`session-accept`, instead(`<description`, `<description service='x'`)),
		"another version":                  only(`session-accept`, instead(`version='1' `, `version='2' `)),
	} {
		t.Run(name, func(t *testing.T) {
			p := xtlstest.NewPair(t, xtlstest.Config{Tamper: tamper})
			r := try(t, p.Alice, p.Bob)
			// A confirmation that is repeated may come when the tunnel stands already.
			err := errors.Join(r.dial, r.accept, r.aToB, r.bToA)
			if !errors.Is(err, xtls.ErrTampered) && !errors.Is(err, xtls.ErrControl) && !errors.Is(err, xtls.ErrPeerAlarm) && !errors.Is(err, xtls.ErrNotSupported) {
				t.Errorf("errors: %v", err)
			}
			if !bytes.HasPrefix(aliceSays, r.gotAToB) || !bytes.HasPrefix(bobSays, r.gotBToA) {
				t.Error("something was delivered that was not sent")
			}
		})
	}
}
