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

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

type verifyFunc = func(context.Context, *xtls.Verification) (xtls.Level, error)

// showing shows a code.
func showing(code *xtls.Code) verifyFunc {
	return func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) { return v.ShowCode(ctx, code) }
}

// typing types what is heard when it is asked.
func typing(heard func() string) verifyFunc {
	return func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
		return v.TypeCode(ctx, func(context.Context) (xtls.Secret, error) { return xtls.ParseCode(heard()) })
	}
}

// tried is how often the only code that cfg remembers of the peer was tried.
func tried(t *testing.T, cfg *xtls.Config, peer string) int {
	t.Helper()
	f := facts(t, cfg, peer)
	if len(f.Codes) != 1 {
		t.Fatalf("%d codes are remembered of %s", len(f.Codes), peer)
	}
	return f.Codes[0].Tried
}

// wrong is another code than the one shown.
func wrong(shown string) string {
	if strings.HasPrefix(shown, "y") {
		return "bbb-bbb"
	}
	return "yyy-yyy"
}

func TestOneTimeCode(t *testing.T) {
	for _, shows := range []string{"alice", "bob"} {
		t.Run(shows+" shows", func(t *testing.T) {
			code := xtls.NewCode()
			display := code.Display()
			if printed := fmt.Sprintf("%v %+v %#v %s", code, code, code, code); strings.Contains(printed, display) {
				t.Error("the code is printed")
			}
			var aCfg, bCfg *xtls.Config
			alice, bob := people(t, func(_ *xtlstest.Server, a, b *xtls.Config) {
				aCfg, bCfg = a, b
				a.Verify, b.Verify = showing(code), typing(func() string { return strings.ToUpper(display) })
				if shows == "bob" {
					a.Verify, b.Verify = b.Verify, a.Verify
				}
			})
			if r := try(t, alice, bob); r.dial != nil || r.accept != nil || len(r.gotAToB) != len(aliceSays) {
				t.Fatalf("Dial: %v, Accept: %v", r.dial, r.accept)
			}
			for _, end := range []struct {
				cfg  *xtls.Config
				peer string
				key  fingerprint.Fingerprint
			}{{aCfg, "bob@localhost", keyOf(bCfg)}, {bCfg, "alice@localhost", keyOf(aCfg)}} {
				rec, err := end.cfg.Trust.Check(jid.MustParse(end.peer), end.key)
				if err != nil || rec.Level != fingerprint.LevelVerified || rec.Method != fingerprint.MethodCode {
					t.Errorf("%s stored as %+v, %v", end.peer, rec, err)
				}
				if n := tried(t, end.cfg, end.peer); n != 3 {
					t.Errorf("the code of %s is not used up: tried %d times", end.peer, n)
				}
			}
			if code.Display() != "" {
				t.Error("the code is not destroyed")
			}
		})
	}
}

// TestCodeThrice types a wrong code three times: then the right one is no use.
func TestCodeThrice(t *testing.T) {
	code := xtls.NewCode()
	display := code.Display()
	heard := wrong(display)
	var aCfg, bCfg *xtls.Config
	alice, bob := people(t, func(_ *xtlstest.Server, a, b *xtls.Config) {
		aCfg, bCfg = a, b
		a.Verify, b.Verify = showing(code), typing(func() string { return heard })
	})
	for i := range 3 {
		if r := try(t, alice, bob); !errors.Is(r.dial, xtls.ErrPassword) || !errors.Is(r.accept, xtls.ErrPassword) && !errors.Is(r.accept, xtls.ErrPeerAlarm) {
			t.Fatalf("attempt %d: %v, %v", i+1, r.dial, r.accept)
		}
		if a, b := tried(t, aCfg, "bob@localhost"), tried(t, bCfg, "alice@localhost"); a != i+1 || b != i+1 {
			t.Errorf("after attempt %d: counted %d and %d", i+1, a, b)
		}
	}
	heard = display
	if r := try(t, alice, bob); !errors.Is(r.dial, xtls.ErrCodeSpent) || r.accept == nil {
		t.Errorf("fourth attempt: %v, %v", r.dial, r.accept)
	}
	if code.Display() != "" {
		t.Error("the code is not destroyed")
	}
	if r := try(t, alice, bob); !errors.Is(r.dial, xtls.ErrCodeSpent) {
		t.Errorf("after that: %v", r.dial)
	}
}

func TestCodeExpires(t *testing.T) {
	for name, age := range map[string]bool{"old": true, "made in the future": false} {
		t.Run(name, func(t *testing.T) {
			code := xtls.NewCode()
			if code.Age(xtls.CodeLife); !age {
				code.Age(-2 * xtls.CodeLife)
			}
			alice, bob := people(t, func(_ *xtlstest.Server, a, b *xtls.Config) {
				a.Verify, b.Verify = showing(code), typing(func() string { return "yyy-yyy" })
			})
			if r := try(t, alice, bob); !errors.Is(r.dial, xtls.ErrCodeSpent) || code.Display() != "" {
				t.Errorf("Dial: %v, and the code is %q", r.dial, code.Display())
			}
		})
	}
}

// TestManyCodes is about a peer that names ever new codes, to have the attempts at
// what the user types counted apart.
func TestManyCodes(t *testing.T) {
	var aCfg *xtls.Config
	alice, bob := people(t, func(_ *xtlstest.Server, a, b *xtls.Config) {
		aCfg = a
		a.Verify = typing(func() string { return "yyy-yyy" })
		b.Verify = func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
			return v.ShowCode(ctx, xtls.NewCode())
		}
	})
	for i := range fingerprint.MaxCodes {
		if r := try(t, alice, bob); !errors.Is(r.dial, xtls.ErrPassword) {
			t.Fatalf("code %d: %v", i+1, r.dial)
		}
	}
	if r := try(t, alice, bob); !errors.Is(r.dial, xtls.ErrTooOften) {
		t.Errorf("one code over: %v", r.dial)
	}
	if n := len(facts(t, aCfg, "bob@localhost").Codes); n != fingerprint.MaxCodes {
		t.Errorf("%d codes are remembered", n)
	}
}

// TestMethodsThatDiffer has both ends choose what does not fit together. Nobody
// takes that for an attack, nothing is delivered, and both are told.
func TestMethodsThatDiffer(t *testing.T) {
	show := func() verifyFunc { return showing(xtls.NewCode()) }
	typed := func() verifyFunc { return typing(func() string { return "yyy-yyy" }) }
	password := func() verifyFunc { return byPassword(t, "Tr0ub4dor") }
	compare := func() verifyFunc { return newTelephone().bySAS("alice", "bob") }
	for name, pair := range map[string][2]func() verifyFunc{
		"both show": {show, show}, "both type": {typed, typed},
		"code, password": {show, password}, "password, code": {password, show},
		"type, password": {typed, password}, "password, type": {password, typed},
		"code, compare": {show, compare}, "compare, code": {compare, show},
		"type, compare": {typed, compare}, "compare, type": {compare, typed},
	} {
		t.Run(name, func(t *testing.T) {
			alice, bob := people(t, func(_ *xtlstest.Server, a, b *xtls.Config) { a.Verify, b.Verify = pair[0](), pair[1]() })
			r := try(t, alice, bob)
			for end, err := range map[string]error{"Dial": r.dial, "Accept": r.accept} {
				if err == nil || errors.Is(err, xtls.ErrPassword) || errors.Is(err, xtls.ErrPeerAlarm) || errors.Is(err, xtls.ErrControl) {
					t.Errorf("%s: %v", end, err)
				}
			}
			if !errors.Is(r.dial, xtls.ErrOtherMethod) && !errors.Is(r.accept, xtls.ErrOtherMethod) {
				t.Errorf("nobody is told: %v, %v", r.dial, r.accept)
			}
		})
	}
}

// TestCodeWanted has one side ask, on a live tunnel, for the other to show a code or
// to type one.
func TestCodeWanted(t *testing.T) {
	for _, who := range []string{"alice", "bob"} {
		for _, asked := range []string{xtls.AskedShowCode, xtls.AskedTypeCode} {
			t.Run(who+" wants "+asked, func(t *testing.T) {
				code := xtls.NewCode()
				display := code.Display()
				show, typed := showing(code), typing(func() string { return display })
				ask, answer := typed, show
				if asked == xtls.AskedTypeCode {
					ask, answer = show, typed
				}
				live := func(name string) verifyFunc {
					return func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
						switch {
						case !v.Live:
							return xtls.LevelServerVouched, nil
						case name == who:
							return ask(ctx, v)
						case v.Asked != asked:
							t.Errorf("asked for %q", v.Asked)
						}
						return answer(ctx, v)
					}
				}
				alice, bob := people(t, func(_ *xtlstest.Server, a, b *xtls.Config) { a.Verify, b.Verify = live("alice"), live("bob") })
				a, b := xtlstest.Tunnel(t, alice, bob)
				asks, other := a, b
				if who == "bob" {
					asks, other = b, a
				}
				if level, err := asks.Verify(t.Context()); err != nil || level != xtls.LevelVerified {
					t.Errorf("Verify: %s, %v", level, err)
				}
				asks.Close()
				other.Close()
				if s := other.State(); s.Level != xtls.LevelVerified || s.Method != "code" {
					t.Errorf("state at the other end: %+v", s)
				}
			})
		}
	}
}

// TestWanted has alice's user follow what bob's has chosen.
func TestWanted(t *testing.T) {
	secret := byPassword(t, "Tr0ub4dor")
	alice, bob := people(t, func(_ *xtlstest.Server, a, b *xtls.Config) {
		a.Verify = func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
			if wanted, err := v.Wanted(ctx); err != nil || wanted != xtls.AskedPassword {
				t.Errorf("Wanted: %q, %v", wanted, err)
			}
			return secret(ctx, v)
		}
		b.Verify = secret
	})
	if r := try(t, alice, bob); r.dial != nil || r.accept != nil {
		t.Errorf("Dial: %v, Accept: %v", r.dial, r.accept)
	}
}

// TestManInTheMiddleOfCode gives a full man in the middle his one guess on each leg:
// it fails, is counted, and he has no tunnel.
func TestManInTheMiddleOfCode(t *testing.T) {
	code := xtls.NewCode()
	display := code.Display()
	s := xtlstest.NewServer(t, xtlstest.Config{})
	aCfg, bCfg := xtlstest.ClientConfig(t, s, "alice"), xtlstest.ClientConfig(t, s, "bob")
	aCfg.Verify, bCfg.Verify = showing(code), typing(func() string { return display })
	alice, bob := xtlstest.NewClient(t, s, "alice", aCfg), xtlstest.NewClient(t, s, "bob", bCfg)
	asBob := shadow(t, s, "m1", "bob", bob.LocalAddr(), alice.LocalAddr(), typing(func() string { return wrong(display) }))
	asAlice := shadow(t, s, "m2", "alice", alice.LocalAddr(), bob.LocalAddr(),
		func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
			return v.ShowCode(ctx, xtls.NewCode())
		})
	ctx, cancel := context.WithTimeout(t.Context(), testTime)
	defer cancel()
	var wg sync.WaitGroup
	accept := func(c *xtls.Client, got *error) {
		l, err := c.Listen()
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			o, err := l.Next(ctx)
			if err == nil {
				_, err = o.Accept(ctx)
			}
			*got = err
		})
	}
	var evil, bobs error
	accept(asBob, &evil)
	accept(bob, &bobs)
	wg.Go(func() {
		if _, err := asAlice.Dial(ctx, bob.LocalAddr(), xtls.Tunnel("")); err == nil {
			t.Error("the man in the middle has a tunnel to bob")
		}
	})
	_, alices := alice.Dial(ctx, bob.LocalAddr(), xtls.Tunnel(""))
	wg.Wait()
	if evil == nil || !errors.Is(alices, xtls.ErrPassword) || !errors.Is(bobs, xtls.ErrPassword) {
		t.Errorf("alice: %v\nbob: %v\nin the middle: %v", alices, bobs, evil)
	}
	if a, b := tried(t, aCfg, "bob@localhost"), tried(t, bCfg, "alice@localhost"); a != 1 || b != 1 {
		t.Errorf("counted %d and %d", a, b)
	}
	if display != code.Display() {
		t.Error("the code is gone after one guess")
	}
}
