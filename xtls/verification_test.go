// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/jingle"
	"example.org/xtls/sas"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// A telephone lets two users read their codes to each other.
type telephone struct {
	codes map[string]chan sas.Code // by who reads
}

func newTelephone() *telephone {
	return &telephone{codes: map[string]chan sas.Code{"alice": make(chan sas.Code, 1), "bob": make(chan sas.Code, 1)}}
}

// user compares as a user does who listens to the other and types what is heard.
func (p *telephone) user(me, other string) func(context.Context, sas.Code) (sas.Result, error) {
	return func(ctx context.Context, code sas.Code) (sas.Result, error) {
		p.codes[me] <- code
		select {
		case heard := <-p.codes[other]:
			if code.Matches(sas.FormB32, heard.B32()) {
				return sas.Match, nil
			}
			return sas.Mismatch, nil
		case <-ctx.Done():
			return sas.GaveUp, context.Cause(ctx)
		}
	}
}

// bySAS verifies with codes.
func (p *telephone) bySAS(me, other string) func(context.Context, *xtls.Verification) (xtls.Level, error) {
	return func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
		return v.SAS(ctx, p.user(me, other))
	}
}

func byPassword(t *testing.T, password string) func(context.Context, *xtls.Verification) (xtls.Level, error) {
	t.Helper()
	secret, err := xtls.ParsePassword(password)
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) { return v.Password(ctx, secret) }
}

func vouch(context.Context, *xtls.Verification) (xtls.Level, error) {
	return xtls.LevelServerVouched, nil
}

func facts(t *testing.T, cfg *xtls.Config, peer string) fingerprint.Peer {
	t.Helper()
	p, err := cfg.Trust.Peer(jid.MustParse(peer))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestVerifyOnFirstContact(t *testing.T) {
	phone := newTelephone()
	other := strings.Repeat("ab", 32)
	tests := []struct {
		name         string
		alice, bob   func(context.Context, *xtls.Verification) (xtls.Level, error)
		dial, accept error
		method       fingerprint.Method
	}{
		{"codes", phone.bySAS("alice", "bob"), phone.bySAS("bob", "alice"), nil, nil, fingerprint.MethodSAS},
		{"password", byPassword(t, "Tr0ub4dor"), byPassword(t, "Tr0ub4dor"), nil, nil, fingerprint.MethodPassword},
		{"other password", byPassword(t, "Tr0ub4dor"), byPassword(t, "tr0ub4dor"), xtls.ErrPassword, xtls.ErrPassword, ""},
		{"fingerprint of another", func(_ context.Context, v *xtls.Verification) (xtls.Level, error) { return v.Compare(other) }, vouch, xtls.ErrMismatch, xtls.ErrPeerAlarm, ""},
		{"peer goes on without comparing", newTelephone().bySAS("alice", "bob"), vouch, xtls.ErrNotCompared, xtls.ErrDeclined, ""},
		{"methods that differ", newTelephone().bySAS("alice", "bob"), byPassword(t, "x"), nil, nil, ""},
		{"user says that they differ", func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
			return v.SAS(ctx, func(context.Context, sas.Code) (sas.Result, error) { return sas.Mismatch, nil })
		}, func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
			return v.SAS(ctx, func(ctx context.Context, _ sas.Code) (sas.Result, error) {
				<-ctx.Done() // until the peer's word ends the question
				return sas.GaveUp, context.Cause(ctx)
			})
		}, xtls.ErrMismatch, xtls.ErrMismatch, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var aCfg, bCfg *xtls.Config
			alice, bob := people(t, func(_ *xtlstest.Server, a, b *xtls.Config) {
				aCfg, bCfg = a, b
				a.Verify, b.Verify = tt.alice, tt.bob
			})
			r := try(t, alice, bob)
			failed := tt.method == ""
			if failed && (r.dial == nil || tt.dial != nil && !errors.Is(r.dial, tt.dial)) || !failed && r.dial != nil {
				t.Errorf("Dial: %v, want %v", r.dial, tt.dial)
			}
			if tt.accept != nil && !errors.Is(r.accept, tt.accept) && !errors.Is(r.accept, context.Canceled) {
				t.Errorf("Accept: %v, want %v", r.accept, tt.accept)
			}
			if failed {
				if len(r.gotAToB)+len(r.gotBToA) > 0 {
					t.Error("something was delivered")
				}
				return
			}
			if !bytes.Equal(r.gotAToB, aliceSays) || !bytes.Equal(r.gotBToA, bobSays) {
				t.Errorf("the tunnel does not work: %v, %v", r.aToB, r.bToA)
			}
			rec, err := aCfg.Trust.Check(jid.MustParse("bob@localhost"), keyOf(bCfg))
			if err != nil || rec.Level != fingerprint.LevelVerified || rec.Method != tt.method {
				t.Errorf("stored %+v, %v", rec, err)
			}
			if f := facts(t, aCfg, "bob@localhost"); f.Interrupted != 0 || f.SASFailures != 0 || f.PasswordFailures != 0 {
				t.Errorf("a success left behind %+v", f)
			}
			// Later contacts are verified, without a question.
			a, b := xtlstest.Tunnel(t, alice, bob)
			for _, c := range []*xtls.Conn{a, b} {
				if s := c.State(); s.Level != xtls.LevelVerified || s.Method != string(tt.method) {
					t.Errorf("second contact: %+v", s)
				}
			}
		})
	}
}

// TestManInTheMiddleOfFirstContact puts a full man in the middle, with two tunnels
// of his own and certificates in the right names, between two people who have
// never met. The codes differ; passwords do not help him.
func TestManInTheMiddleOfFirstContact(t *testing.T) {
	phone := newTelephone()
	for _, tt := range []struct {
		name             string
		alice, bob, evil func(context.Context, *xtls.Verification) (xtls.Level, error)
		want             error
	}{
		{"codes", phone.bySAS("alice", "bob"), phone.bySAS("bob", "alice"), func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
			return v.SAS(ctx, func(context.Context, sas.Code) (sas.Result, error) { return sas.Match, nil })
		}, xtls.ErrMismatch},
		{"password", byPassword(t, "known to two"), byPassword(t, "known to two"), byPassword(t, "a guess"), xtls.ErrPassword},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := xtlstest.NewServer(t, xtlstest.Config{Security: securityOf(t)})
			aCfg, bCfg := xtlstest.ClientConfig(t, s, "alice"), xtlstest.ClientConfig(t, s, "bob")
			aCfg.Verify, bCfg.Verify = tt.alice, tt.bob
			alice, bob := xtlstest.NewClient(t, s, "alice", aCfg), xtlstest.NewClient(t, s, "bob", bCfg)
			asBob := shadow(t, s, "m1", "bob", bob.LocalAddr(), alice.LocalAddr(), tt.evil)
			asAlice := shadow(t, s, "m2", "alice", alice.LocalAddr(), bob.LocalAddr(), tt.evil)

			ctx, cancel := context.WithTimeout(t.Context(), testTime)
			defer cancel()
			l, err := asBob.Listen()
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() { // one leg of the man in the middle
				if o, err := l.Next(ctx); err == nil {
					if c, err := o.Accept(ctx); err == nil {
						t.Error("the man in the middle has a tunnel to alice")
						c.Close()
					}
				}
			})
			wg.Go(func() { // the other
				if c, err := asAlice.Dial(ctx, bob.LocalAddr(), xtls.Tunnel("")); err == nil {
					t.Error("the man in the middle has a tunnel to bob")
					c.Close()
				}
			})
			bl, err := bob.Listen()
			if err != nil {
				t.Fatal(err)
			}
			var acceptErr error
			wg.Go(func() {
				o, err := bl.Next(ctx)
				if err == nil {
					_, err = o.Accept(ctx)
				}
				acceptErr = err
			})
			_, dialErr := alice.Dial(ctx, bob.LocalAddr(), xtls.Tunnel(""))
			wg.Wait()
			if !errors.Is(dialErr, tt.want) || !errors.Is(acceptErr, tt.want) {
				t.Errorf("alice: %v\nbob: %v\nwant %v for both", dialErr, acceptErr, tt.want)
			}
			f := facts(t, aCfg, "bob@localhost")
			if tt.name == "codes" && f.Disputed.IsZero() || tt.name == "password" && f.PasswordFailures != 1 {
				t.Errorf("alice remembers %+v", f)
			}
			if rec, err := aCfg.Trust.Records(); err != nil || len(rec) != 0 {
				t.Errorf("a key was pinned: %v, %v", rec, err)
			}
		})
	}
}

// shadow logs in somebody in the middle.
func shadow(t *testing.T, s *xtlstest.Server, account, name string, as, toward jid.JID, verify func(context.Context, *xtls.Verification) (xtls.Level, error)) *xtls.Client {
	t.Helper()
	if err := s.AddShadow(account, "pw", as, toward); err != nil {
		t.Fatal(err)
	}
	cfg := xtlstest.ClientConfig(t, s, name)
	cfg.Verify = verify
	c, err := xtls.Connect(t.Context(), jid.MustParse(account+"@localhost"), "pw", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestVerifyEnds: a run that could not send any more because the peer has ended the session for
// security is an alarm, also before anybody else has noticed.
func TestVerifyEnds(t *testing.T) {
	alice, bob := people(t, func(_ *xtlstest.Server, a, _ *xtls.Config) {
		a.Verify = func(_ context.Context, v *xtls.Verification) (xtls.Level, error) {
			if v.Live {
				return xtls.LevelNone, fmt.Errorf("sending: %w", &jingle.EndError{Reason: jingle.ReasonSecurityError, Remote: true})
			}
			return xtls.LevelServerVouched, nil
		}
	})
	a, _ := xtlstest.Tunnel(t, alice, bob)
	if _, err := a.Verify(t.Context()); !errors.Is(err, xtls.ErrPeerAlarm) {
		t.Errorf("Verify: %v, want ErrPeerAlarm", err)
	}
}

// TestVerifyLive verifies on a tunnel that carries data.
func TestVerifyLive(t *testing.T) {
	for _, who := range []string{"alice", "bob", "both"} {
		t.Run(who, func(t *testing.T) {
			phone := newTelephone()
			alice, bob := people(t, func(_ *xtlstest.Server, a, b *xtls.Config) {
				live := func(verify func(context.Context, *xtls.Verification) (xtls.Level, error)) func(context.Context, *xtls.Verification) (xtls.Level, error) {
					return func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
						if !v.Live {
							return xtls.LevelServerVouched, nil
						}
						return verify(ctx, v)
					}
				}
				a.Verify, b.Verify = live(phone.bySAS("alice", "bob")), live(phone.bySAS("bob", "alice"))
			})
			a, b := xtlstest.Tunnel(t, alice, bob)
			if a.State().Level != xtls.LevelServerVouched {
				t.Fatalf("state %+v", a.State())
			}
			var wg sync.WaitGroup
			for name, c := range map[string]*xtls.Conn{"alice": a, "bob": b} {
				if who == name || who == "both" {
					wg.Go(func() {
						level, err := c.Verify(t.Context())
						if who == "both" && errors.Is(err, xtls.ErrBusy) {
							return // the other was faster, so this one's user is asked already
						}
						if err != nil || level != xtls.LevelVerified {
							t.Errorf("%s: %s, %v", name, level, err)
						}
					})
				}
			}
			wg.Go(func() {
				if got, err := exchangeData(a, aliceSays); err != nil || !bytes.Equal(got, bobSays) {
					t.Errorf("alice got %d octets, %v", len(got), err)
				}
			})
			if got, err := exchangeData(b, bobSays); err != nil || !bytes.Equal(got, aliceSays) {
				t.Errorf("bob got %d octets, %v", len(got), err)
			}
			wg.Wait()
			// The end that was only asked finishes by itself; Close waits for it.
			a.Close()
			b.Close()
			if s := b.State(); s.Level != xtls.LevelVerified || s.Method != "sas" {
				t.Errorf("bob's state %+v", s)
			}
		})
	}
}

// TestMismatchLive ends a tunnel that was in use.
func TestMismatchLive(t *testing.T) {
	verify := func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
		if !v.Live {
			return xtls.LevelServerVouched, nil
		}
		return v.SAS(ctx, func(context.Context, sas.Code) (sas.Result, error) { return sas.Mismatch, nil })
	}
	var aCfg *xtls.Config
	asked := 0
	alice, bob := people(t, func(_ *xtlstest.Server, a, b *xtls.Config) {
		aCfg = a
		a.Verify, b.Verify = func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
			asked++
			if asked == 3 && v.Facts.Disputed.IsZero() {
				t.Error("the user is not told of the dispute")
			}
			return verify(ctx, v)
		}, verify
	})
	a, b := xtlstest.Tunnel(t, alice, bob)
	if _, err := a.Verify(t.Context()); !errors.Is(err, xtls.ErrMismatch) {
		t.Errorf("Verify: %v, want ErrMismatch", err)
	}
	for _, c := range []*xtls.Conn{a, b} {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("the tunnel lives on after a mismatch")
		}
	}
	if facts(t, aCfg, "bob@localhost").Disputed.IsZero() {
		t.Error("the peer is not disputed")
	}
	// The key is pinned, but that is not enough now, at either end: either may be first.
	if r := try(t, alice, bob); !errors.Is(r.dial, xtls.ErrUnverified) && !errors.Is(r.dial, xtls.ErrDeclined) {
		t.Errorf("Dial after a mismatch: %v, want ErrUnverified or ErrDeclined", r.dial)
	}
}

// TestNewKey presents a new key of a peer whose old one was seen, or verified.
func TestNewKey(t *testing.T) {
	old := fingerprint.Fingerprint{1}
	another := func(_ context.Context, v *xtls.Verification) (xtls.Level, error) {
		if len(v.Changed) != 1 || v.Changed[0].Key != old {
			t.Errorf("asked about %+v", v)
		}
		v.AnotherDevice()
		return xtls.LevelServerVouched, nil
	}
	phone := newTelephone()
	tests := []struct {
		name   string
		level  fingerprint.Level
		verify func(context.Context, *xtls.Verification) (xtls.Level, error)
		ok     bool
	}{
		{"seen, taken without a look", fingerprint.LevelPinned, vouch, false},
		{"seen, nobody to ask", fingerprint.LevelPinned, nil, false},
		{"seen, another device", fingerprint.LevelPinned, another, true},
		{"seen, verified", fingerprint.LevelPinned, phone.bySAS("alice", "bob"), true},
		{"verified", fingerprint.LevelVerified, another, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			alice, bob := people(t, func(_ *xtlstest.Server, a, b *xtls.Config) {
				pin(t, a.Trust, "bob@localhost", old, tt.level)
				a.Verify = tt.verify
				if tt.name == "seen, verified" {
					b.Verify = phone.bySAS("bob", "alice")
				}
			})
			r := try(t, alice, bob)
			_, changed := errors.AsType[*xtls.KeyChangedError](r.dial)
			if changed == tt.ok || tt.ok && r.dial != nil {
				t.Errorf("Dial: %v", r.dial)
			}
		})
	}
}

// TestOneAtATime checks that verifications with one peer do not run side by side:
// each would be another guess.
func TestOneAtATime(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	alice, bob := people(t, func(_ *xtlstest.Server, a, b *xtls.Config) {
		verify := func(wait bool) func(context.Context, *xtls.Verification) (xtls.Level, error) {
			return func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
				if !v.Live {
					return xtls.LevelServerVouched, nil
				}
				return v.SAS(ctx, func(context.Context, sas.Code) (sas.Result, error) {
					if wait {
						close(begun)
						<-release
					}
					return sas.Match, nil
				})
			}
		}
		a.Verify, b.Verify = verify(true), verify(false)
	})
	first, _ := xtlstest.Tunnel(t, alice, bob)
	second, _ := xtlstest.Tunnel(t, alice, bob)
	done := make(chan error, 1)
	go func() {
		_, err := first.Verify(t.Context())
		done <- err
	}()
	<-begun
	if _, err := second.Verify(t.Context()); !errors.Is(err, xtls.ErrBusy) {
		t.Errorf("second verification: %v, want ErrBusy", err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Errorf("first verification: %v", err)
	}
}

// TestOneSideKnows has alice compare on first contact, as after a new installation,
// with a bob who knows her key already: he is asked because she is.
func TestOneSideKnows(t *testing.T) {
	phone := newTelephone()
	bySAS := phone.bySAS("bob", "alice")
	for _, tt := range []struct {
		name string
		bob  func(context.Context, *xtls.Verification) (xtls.Level, error)
		want error
	}{
		{"who compares", func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
			if !v.Live || v.Level != xtls.LevelPinned || v.Asked != "sas" {
				t.Errorf("asked about %+v", v)
			}
			return bySAS(ctx, v)
		}, nil},
		{"who does not want to", refuse, xtls.ErrNotCompared},
		{"nobody to ask", nil, xtls.ErrNotCompared},
	} {
		t.Run(tt.name, func(t *testing.T) {
			alice, bob := people(t, func(_ *xtlstest.Server, a, b *xtls.Config) {
				pin(t, b.Trust, "alice@localhost", keyOf(a), fingerprint.LevelPinned)
				a.Verify, b.Verify = phone.bySAS("alice", "bob"), tt.bob
			})
			r := try(t, alice, bob)
			if !errors.Is(r.dial, tt.want) {
				t.Errorf("Dial: %v, want %v", r.dial, tt.want)
			}
			if tt.want != nil {
				return
			}
			if r.aToB != nil || r.bToA != nil || !bytes.Equal(r.gotAToB, aliceSays) {
				t.Errorf("the tunnel does not work: %v, %v", r.aToB, r.bToA)
			}
			a, b := xtlstest.Tunnel(t, alice, bob)
			if a.State().Level != xtls.LevelVerified || b.State().Level != xtls.LevelVerified {
				t.Errorf("later: %s and %s", a.State().Level, b.State().Level)
			}
		})
	}
}
