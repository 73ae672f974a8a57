// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"strconv"
	"strings"
	"testing"

	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// TestOverDTLS runs over DTLS what elsewhere runs over TLS.
func TestOverDTLS(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"Tunnel":               TestTunnel,
		"AnySize":              TestAnySize,
		"DishonestServer":      TestDishonestServer,
		"TamperingIsPassedOn":  TestTamperingIsPassedOn,
		"DishonestSignalling":  TestDishonestSignalling,
		"Trust":                TestTrust,
		"VerifyOnFirstContact": TestVerifyOnFirstContact,
		"ManInTheMiddle":       TestManInTheMiddleOfFirstContact,
		"VerifyLive":           TestVerifyLive,
		"MismatchLive":         TestMismatchLive,
		"AttemptsAreCounted":   TestAttemptsAreCounted,
	} {
		t.Run(name, test)
	}
}

// securityOf is what the tunnels of a test are to run over.
func securityOf(t *testing.T) xtls.Security {
	if strings.HasPrefix(t.Name(), "TestOverDTLS/") {
		return xtls.DTLS
	}
	return xtls.TLS
}

// TestDTLSState: the state says what the tunnel is, and the one who dials decides: the other
// end is configured for TLS.
func TestDTLSState(t *testing.T) {
	s := xtlstest.NewServer(t, xtlstest.Config{})
	for _, security := range []xtls.Security{xtls.TLS, xtls.DTLS} {
		t.Run(security.String(), func(t *testing.T) {
			cfg := xtlstest.ClientConfig(t, s, "alice")
			cfg.Security = security
			alice := xtlstest.NewClient(t, s, "alice", cfg)
			bob := xtlstest.NewClient(t, s, "bob", xtlstest.ClientConfig(t, s, "bob"))
			a, b := xtlstest.Tunnel(t, alice, bob)
			for _, st := range []xtls.State{a.State(), b.State()} {
				protocol, version, group := "TLS 1.3", uint16(tls.VersionTLS13), tls.X25519MLKEM768
				if security == xtls.DTLS {
					protocol, version, group = "DTLS 1.2", xtls.VersionDTLS12, tls.X25519
				}
				if st.Protocol() != protocol || st.TLSVersion != version || st.Group != group || st.PostQuantum() == (security == xtls.DTLS) {
					t.Errorf("%s %#x %v pq=%t", st.Protocol(), st.TLSVersion, st.Group, st.PostQuantum())
				}
			}
		})
	}
}

// TestDTLSNeedsKey: with an RSA key there is no DTLS, neither dialled nor taken.
func TestDTLSNeedsKey(t *testing.T) {
	s := xtlstest.NewServer(t, xtlstest.Config{Security: xtls.DTLS})
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cfg := xtlstest.ClientConfig(t, s, "bob")
	cfg.Certificate.PrivateKey = key
	if _, err := xtls.New(nil, cfg); err == nil {
		t.Error("a client for DTLS was made with an RSA key")
	}
	cfg.Security = xtls.TLS
	r := try(t, xtlstest.NewClient(t, s, "alice", xtlstest.ClientConfig(t, s, "alice")), xtlstest.NewClient(t, s, "bob", cfg))
	if !errors.Is(r.dial, xtls.ErrNotSupported) {
		t.Errorf("Dial: %v, want ErrNotSupported", r.dial)
	}
	cfg.Security = 7
	if _, err := xtls.New(nil, cfg); err == nil {
		t.Error("a client for an unknown security was made")
	}
}

// TestDishonestSetup tampers with what asks for DTLS. There is no way down to TLS.
func TestDishonestSetup(t *testing.T) {
	const fp = `<fingerprint xmlns='urn:xmpp:jingle:apps:dtls:0'.*</fingerprint></transport>`
	another := strings.Repeat("AB:", 31) + "AB" // nobody's
	tamper := func(action, what, with string) xtlstest.Tamper { return only(action, instead(what, with)) }
	for name, tt := range map[string]struct {
		tamper xtlstest.Tamper
		want   []error // any of them, at either end
	}{
		"offer stripped":        {tamper("session-initiate", fp, `</transport>`), []error{xtls.ErrNotSupported}},
		"answer stripped":       {tamper("session-accept", fp, `</transport>`), []error{xtls.ErrNotSupported}},
		"other role offered":    {tamper("session-initiate", `setup='active'`, `setup='actpass'`), []error{xtls.ErrTampered}},
		"server's role offered": {tamper("session-initiate", `setup='active'`, `setup='passive'`), []error{xtls.ErrNotSupported}},
		"no role offered":       {tamper("session-initiate", `setup='active'`, ``), []error{xtls.ErrPeerAlarm}},
		"other role answered":   {tamper("session-accept", `setup='passive'`, `setup='active'`), []error{xtls.ErrTampered}},
		"another fingerprint":   {tamper("session-initiate", `setup='active'>[^<]*`, `setup='active'>`+another), []error{xtls.ErrPeerAlarm}},
		"another in the answer": {tamper("session-accept", `setup='passive'>[^<]*`, `setup='passive'>`+another), []error{xtls.ErrTampered}},
		"malformed":             {tamper("session-initiate", `setup='active'>..`, `setup='active'>X`), []error{xtls.ErrPeerAlarm}},
		"binding stripped":      {only("session-initiate", xtlstest.StripBinding()), []error{xtls.ErrPeerAlarm}},
	} {
		t.Run(name, func(t *testing.T) {
			p := xtlstest.NewPair(t, xtlstest.Config{Security: xtls.DTLS, Tamper: tt.tamper})
			r := try(t, p.Alice, p.Bob)
			if r.dial == nil || len(r.gotAToB)+len(r.gotBToA) > 0 {
				t.Fatal("the tunnel was established")
			}
			for _, want := range tt.want {
				if errors.Is(errors.Join(r.dial, r.accept), want) {
					return
				}
			}
			t.Errorf("errors: %v\n%v\nwant among them: %v", r.dial, r.accept, tt.want)
		})
	}
}

// TestDTLSBlocks: records fit into the blocks that both ends agreed on, the least ones too.
func TestDTLSBlocks(t *testing.T) {
	for _, size := range []int{256, 1000, 65535} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			s := xtlstest.NewServer(t, xtlstest.Config{Security: xtls.DTLS})
			a, b := xtlstest.ClientConfig(t, s, "alice"), xtlstest.ClientConfig(t, s, "bob")
			a.BlockSize, b.BlockSize = size, 65535
			r := try(t, xtlstest.NewClient(t, s, "alice", a), xtlstest.NewClient(t, s, "bob", b))
			if err := errors.Join(r.dial, r.accept, r.aToB, r.bToA); err != nil || !bytes.Equal(r.gotAToB, aliceSays) || !bytes.Equal(r.gotBToA, bobSays) {
				t.Errorf("%d and %d octets, %v", len(r.gotAToB), len(r.gotBToA), err)
			}
		})
	}
}
