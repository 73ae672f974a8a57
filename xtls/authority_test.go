// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// An authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// certify replaces the self-signed certificate of cfg by one of the authority with
// the same names, valid until the given time.
func (a *authority) certify(t *testing.T, cfg *xtls.Config, until time.Time) {
	t.Helper()
	own, err := x509.ParseCertificate(cfg.Certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: own.Subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		ExtraExtensions: own.Extensions,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, own.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Certificate = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: cfg.Certificate.PrivateKey}
}

func TestAuthorities(t *testing.T) {
	ours, others := newAuthority(t), newAuthority(t)
	later, past := time.Now().Add(time.Hour), time.Now().Add(-time.Minute)
	old := fingerprint.Fingerprint{1}
	tests := []struct {
		name   string
		change func(s *xtlstest.Server, a, b *xtls.Config)
		want   error
		level  xtls.Level
	}{
		{"certified", func(_ *xtlstest.Server, _, b *xtls.Config) { ours.certify(t, b, later) }, nil, xtls.LevelCA},
		{"by another authority", func(_ *xtlstest.Server, _, b *xtls.Config) { others.certify(t, b, later) }, xtls.ErrUnverified, 0},
		{"expired", func(_ *xtlstest.Server, _, b *xtls.Config) { ours.certify(t, b, past) }, xtls.ErrUnverified, 0},
		{"self-signed", func(*xtlstest.Server, *xtls.Config, *xtls.Config) {}, xtls.ErrUnverified, 0},
		{"for somebody else", func(s *xtlstest.Server, _, b *xtls.Config) {
			b.Certificate = xtlstest.ClientConfig(t, s, "carol").Certificate
			ours.certify(t, b, later)
		}, xtls.ErrTampered, 0},
		{"new key of a peer seen before", func(_ *xtlstest.Server, a, b *xtls.Config) {
			ours.certify(t, b, later)
			pin(t, a.Trust, "bob@localhost", old, fingerprint.LevelPinned)
		}, nil, xtls.LevelCA},
		{"new key of a verified peer", func(_ *xtlstest.Server, a, b *xtls.Config) {
			ours.certify(t, b, later)
			pin(t, a.Trust, "bob@localhost", old, fingerprint.LevelVerified)
		}, &xtls.KeyChangedError{}, 0},
		{"more is demanded", func(_ *xtlstest.Server, a, b *xtls.Config) {
			ours.certify(t, b, later)
			a.MinLevel = xtls.LevelVerified
		}, xtls.ErrUnverified, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			alice, bob := people(t, func(s *xtlstest.Server, a, b *xtls.Config) {
				a.Verify, a.Authorities = nil, ours.pool()
				tt.change(s, a, b)
			})
			if tt.want != nil {
				if r := try(t, alice, bob); !is(r.dial, tt.want) {
					t.Errorf("Dial: %v, want %v", r.dial, tt.want)
				}
				return
			}
			for range 2 { // the second contact is worth the same
				a, b := xtlstest.Tunnel(t, alice, bob)
				if s := a.State(); s.Level != tt.level || s.Method != "ca" {
					t.Errorf("state %+v", s)
				}
				a.Close()
				b.Close()
			}
		})
	}
}
