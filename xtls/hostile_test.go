// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// testTime bounds what a test waits for; nothing comes near it.
const testTime = 60 * time.Second

// An attempt is what became of a tunnel from alice to bob.
type attempt struct {
	dial, accept     error // of Dial and Accept
	aToB, bToA       error // of reading to the end at bob and at alice
	gotAToB, gotBToA []byte
}

// payload is what alice and bob each send.
func payload(seed uint64) []byte {
	b := make([]byte, 200_000)
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

var aliceSays, bobSays = payload(1), payload(2)

// try opens a tunnel and, if it comes about, sends both ways to the end.
func try(t *testing.T, alice, bob *xtls.Client) (r attempt) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTime)
	defer cancel()
	l, err := bob.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan struct{})
	offers, stop := context.WithCancel(ctx)
	go func() {
		defer close(accepted)
		o, err := l.Next(offers)
		if err != nil {
			r.accept = err
			return
		}
		b, err := o.Accept(ctx)
		if r.accept = err; err != nil {
			return
		}
		defer b.Close()
		r.gotAToB, r.aToB = exchangeData(b, bobSays)
	}()
	a, err := alice.Dial(ctx, bob.LocalAddr(), xtls.Tunnel(""))
	if r.dial = err; err == nil {
		r.gotBToA, r.bToA = exchangeData(a, aliceSays)
	} else {
		stop() // the offer may never arrive
	}
	if a != nil {
		a.Close()
	}
	<-accepted
	stop()
	return r
}

// exchangeData sends data and reads to the end, at the same time.
func exchangeData(c *xtls.Conn, data []byte) ([]byte, error) {
	var sender sync.WaitGroup
	defer sender.Wait()
	sender.Go(func() {
		if _, err := c.Write(data); err == nil {
			_ = c.CloseWrite()
		}
	})
	return io.ReadAll(c)
}

// invalidKeyShare alters the key of ML-KEM in the first flight of TLS so that it is none.
func invalidKeyShare() xtlstest.Tamper {
	block := regexp.MustCompile(`(<data[^>]*>)([^<]+)(</data>)`)
	var once atomic.Bool
	return func(st *xtlstest.Stanza) []*xtlstest.Stanza {
		m := block.FindSubmatch(st.XML)
		if m == nil || once.Swap(true) {
			return []*xtlstest.Stanza{st}
		}
		hello, err := base64.StdEncoding.DecodeString(string(m[2]))
		if err != nil {
			panic(err)
		}
		for i := range 6 { // coefficients of 12 bits, which must be less than 3329 (FIPS 203)
			hello[len(hello)/2+i] = 0xff
		}
		altered := *st
		altered.XML = block.ReplaceAll(st.XML, []byte("${1}"+base64.StdEncoding.EncodeToString(hello)+"${3}"))
		return []*xtlstest.Stanza{&altered}
	}
}

// TestInvalidKeyShare: for this crypto/tls has an error without a type. It is an alarm all the same.
func TestInvalidKeyShare(t *testing.T) {
	p := xtlstest.NewPair(t, xtlstest.Config{Tamper: invalidKeyShare()})
	r := try(t, p.Alice, p.Bob)
	if !errors.Is(r.accept, xtls.ErrTampered) || !errors.Is(r.dial, xtls.ErrTampered) && !errors.Is(r.dial, xtls.ErrPeerAlarm) {
		t.Errorf("errors: %v\n%v\nwant ErrTampered", r.dial, r.accept)
	}
}

// TestDishonestServer lets a server do what it can. Whatever it does, the tunnel
// is refused or ends with the right error, and nothing is delivered that was not
// sent.
func TestDishonestServer(t *testing.T) {
	fp := strings.Repeat("ab", 32)
	tests := []struct {
		name   string
		tamper xtlstest.Tamper
		// What one of the two ends must report; the other may only see the end of it.
		want  error
		setup bool // refused before there is a tunnel
	}{
		{"strip security", xtlstest.StripSecurity(), xtls.ErrPeerAlarm, true},
		{"strip binding", xtlstest.StripBinding(), xtls.ErrTampered, true},
		{"swap fingerprint", xtlstest.SwapFingerprint(fp), xtls.ErrTampered, true},
		{"drop method", xtlstest.DropMethod("x509"), xtls.ErrPeerAlarm, true},
		{"redirect service", xtlstest.RedirectService("admin"), xtls.ErrTampered, true},
		{"flip handshake bit", xtlstest.FlipBit(1), xtls.ErrTampered, true},
		{"flip data bit", xtlstest.FlipBit(20), xtls.ErrTampered, false},
		{"replay", xtlstest.Replay(20), xtls.ErrLost, false},
		{"reorder", xtlstest.Reorder(20), xtls.ErrLost, false},
		{"drop", xtlstest.Drop(20), xtls.ErrLost, false},
		{"truncate", xtlstest.Truncate(100_000), io.ErrUnexpectedEOF, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := xtlstest.NewPair(t, xtlstest.Config{Security: securityOf(t), Tamper: tt.tamper})
			r := try(t, p.Alice, p.Bob)
			if !bytes.HasPrefix(aliceSays, r.gotAToB) || !bytes.HasPrefix(bobSays, r.gotBToA) {
				t.Error("something was delivered that was not sent")
			}
			if tt.setup && r.dial == nil {
				t.Error("the tunnel was established")
			}
			if !tt.setup && r.aToB == nil && r.bToA == nil {
				t.Error("nobody noticed")
			}
			err := errors.Join(r.dial, r.accept, r.aToB, r.bToA)
			// Over DTLS what is wrong with the offer is seen before there is a handshake, and a
			// block that was cut in the middle was tampered with.
			other := securityOf(t) == xtls.DTLS && (tt.setup && errors.Is(err, xtls.ErrPeerAlarm) ||
				tt.name == "truncate" && errors.Is(err, xtls.ErrTampered))
			if !errors.Is(err, tt.want) && !other {
				t.Errorf("errors:\n%v\nwant among them: %v", err, tt.want)
			}
			if (r.aToB == nil) != (len(r.gotAToB) == len(aliceSays)) && r.accept == nil {
				t.Errorf("bob received %d of %d octets, and %v", len(r.gotAToB), len(aliceSays), r.aToB)
			}
			if (r.bToA == nil) != (len(r.gotBToA) == len(bobSays)) && r.dial == nil {
				t.Errorf("alice received %d of %d octets, and %v", len(r.gotBToA), len(bobSays), r.bToA)
			}
		})
	}
}

// TestTamperingIsPassedOn: whoever finds that data was changed lets the peer know, also where
// the alert is swallowed and the application gives up at once.
func TestTamperingIsPassedOn(t *testing.T) {
	for name, end := range map[string]func(*xtls.Conn){
		"Abort": (*xtls.Conn).Abort,
		"Close": func(c *xtls.Conn) { _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var dishonest atomic.Bool
			flip := xtlstest.FlipBit(1)
			p := xtlstest.NewPair(t, xtlstest.Config{Security: securityOf(t), Tamper: func(st *xtlstest.Stanza) []*xtlstest.Stanza {
				switch {
				case !dishonest.Load():
				case st.From.Localpart() == "bob":
					return flip(st)
				case bytes.Contains(st.XML, []byte("<data")):
					return nil
				}
				return []*xtlstest.Stanza{st}
			}})
			a, b := xtlstest.Tunnel(t, p.Alice, p.Bob)
			dishonest.Store(true)
			if _, err := b.Write(bobSays); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(a); !errors.Is(err, xtls.ErrTampered) {
				t.Errorf("alice reads %v, want ErrTampered", err)
			}
			end(a)
			if _, err := io.ReadAll(b); !errors.Is(err, xtls.ErrPeerAlarm) {
				t.Errorf("bob reads %v, want ErrPeerAlarm", err)
			}
		})
	}
}
