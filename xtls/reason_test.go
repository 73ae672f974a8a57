// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/sas"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// TestAttemptsAreCounted checks that an attempt is on the record before the frame
// leaves that gives the peer its chance, and that too many are refused.
func TestAttemptsAreCounted(t *testing.T) {
	var aCfg *xtls.Config
	var mu sync.Mutex
	var seen []int // alice's failures when each of her frames passes the server
	s := xtlstest.NewServer(t, xtlstest.Config{Tamper: only("<control", func(st *xtlstest.Stanza) []*xtlstest.Stanza {
		mu.Lock()
		defer mu.Unlock()
		if st.From.Localpart() == "alice" {
			p, err := aCfg.Trust.Peer(jid.MustParse("bob@localhost"))
			if err != nil {
				t.Error(err)
			}
			seen = append(seen, p.SASFailures)
		}
		return []*xtlstest.Stanza{st}
	})})
	giveUp := func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
		return v.SAS(ctx, func(context.Context, sas.Code) (sas.Result, error) { return sas.GaveUp, nil })
	}
	aCfg = xtlstest.ClientConfig(t, s, "alice")
	bCfg := xtlstest.ClientConfig(t, s, "bob")
	aCfg.Verify, bCfg.Verify = giveUp, giveUp
	alice, bob := xtlstest.NewClient(t, s, "alice", aCfg), xtlstest.NewClient(t, s, "bob", bCfg)
	for i := range sas.MaxFailuresPerDay {
		if r := try(t, alice, bob); !errors.Is(r.dial, xtls.ErrInterrupted) && !errors.Is(r.dial, xtls.ErrDeclined) {
			t.Fatalf("run %d: %v", i+1, r.dial)
		}
		if f := facts(t, aCfg, "bob@localhost"); f.SASFailures != i+1 || f.Interrupted != i+1 {
			t.Errorf("after run %d: %+v", i+1, f)
		}
	}
	mu.Lock()
	if len(seen) == 0 || seen[0] != 1 {
		t.Errorf("failures on record when alice's frames passed: %v, want 1 with the first", seen)
	}
	mu.Unlock()
	if r := try(t, alice, bob); !errors.Is(r.dial, xtls.ErrTooOften) && !errors.Is(r.accept, xtls.ErrTooOften) {
		t.Errorf("one over the limit: %v, %v, want ErrTooOften", r.dial, r.accept)
	}
}

// TestOwnReasonWins has bob end the session before alice comes to a decision of her
// own: what she reports is that, and not that the session has ended.
func TestOwnReasonWins(t *testing.T) {
	errOwn := errors.New("no time today")
	tooOften := func(p *fingerprint.Peer) error {
		p.SASFailures, p.SASDay = sas.MaxFailuresPerDay, time.Now()
		return nil
	}
	tests := []struct {
		name  string
		alice func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) // called when bob has ended the session
		bob   error
		want  error
	}{
		{"too often", func(_ context.Context, v *xtls.Verification) (xtls.Level, error) {
			return v.SAS(context.Background(), func(context.Context, sas.Code) (sas.Result, error) { return sas.Match, nil })
		}, xtls.ErrUnverified, xtls.ErrTooOften},
		{"user says no", func(context.Context, *xtls.Verification) (xtls.Level, error) { return xtls.LevelNone, errOwn }, xtls.ErrUnverified, errOwn},
		{"other fingerprint", func(_ context.Context, v *xtls.Verification) (xtls.Level, error) {
			return v.Compare(strings.Repeat("ab", 32))
		}, xtls.ErrUnverified, xtls.ErrMismatch},
		{"nothing of her own", func(ctx context.Context, _ *xtls.Verification) (xtls.Level, error) {
			return xtls.LevelNone, fmt.Errorf("stopped: %w", context.Cause(ctx))
		}, xtls.ErrUnverified, xtls.ErrDeclined},
		{"only that she was stopped", func(ctx context.Context, _ *xtls.Verification) (xtls.Level, error) {
			return xtls.LevelNone, ctx.Err()
		}, xtls.ErrUnverified, xtls.ErrDeclined},
		{"an alarm of the peer goes before", func(context.Context, *xtls.Verification) (xtls.Level, error) { return xtls.LevelNone, errOwn }, xtls.ErrMismatch, xtls.ErrPeerAlarm},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var aCfg *xtls.Config
			asked := make(chan struct{})
			alice, bob := people(t, func(_ *xtlstest.Server, a, b *xtls.Config) {
				aCfg = a
				a.Verify = func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
					close(asked)
					<-ctx.Done()
					return tt.alice(ctx, v)
				}
				b.Verify = func(context.Context, *xtls.Verification) (xtls.Level, error) {
					<-asked
					return xtls.LevelNone, tt.bob
				}
			})
			if _, err := aCfg.Trust.ChangePeer(jid.MustParse("bob@localhost"), tooOften); err != nil {
				t.Fatal(err)
			}
			r := try(t, alice, bob)
			if !errors.Is(r.dial, tt.want) || tt.want != xtls.ErrDeclined && errors.Is(r.dial, xtls.ErrDeclined) {
				t.Errorf("Dial: %v, want %v", r.dial, tt.want)
			}
		})
	}
}

// TestEndBeforeAcknowledgement: the session-terminate of a peer may be handled before its
// answer to session-initiate; here the answer never comes. Dial says all the same why.
func TestEndBeforeAcknowledgement(t *testing.T) {
	unanswered := func(st *xtlstest.Stanza) []*xtlstest.Stanza {
		if st.From.Localpart() == "bob" && st.Kind == "iq" && st.Type == "result" {
			return nil
		}
		return []*xtlstest.Stanza{st}
	}
	for name, tt := range map[string]struct {
		setup string // in place of what alice offers
		want  error
	}{
		"alarm":                  {``, xtls.ErrPeerAlarm},
		"unsupported-transports": {`setup='passive'`, xtls.ErrNotSupported},
	} {
		t.Run(name, func(t *testing.T) {
			p := xtlstest.NewPair(t, xtlstest.Config{Security: xtls.DTLS, Tamper: xtlstest.Chain(
				only("session-initiate", instead(`setup='active'`, tt.setup)), unanswered)})
			if r := try(t, p.Alice, p.Bob); !errors.Is(r.dial, tt.want) {
				t.Errorf("Dial: %v, want %v", r.dial, tt.want)
			}
		})
	}
}
