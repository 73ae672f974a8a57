// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
)

// certify FILE ACCOUNT... makes an authority, whose certificate goes into FILE, and
// for each account an identity that it has issued.
func certify(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: certify FILE ACCOUNT...")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	ts.Check(err)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), authority, 0o600))
	for _, account := range args[1:] {
		own, err := fingerprint.NewIdentity(jid.MustParse(account + "@localhost"))
		ts.Check(err)
		tmpl := &x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: own.Leaf.Subject, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
			ExtraExtensions: own.Leaf.Extensions,
		}
		leaf, err := x509.CreateCertificate(rand.Reader, tmpl, ca, own.Leaf.PublicKey, key)
		ts.Check(err)
		pkcs8, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
		ts.Check(err)
		// The chain is in the file, as authorities hand it out.
		text := slices.Concat(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf}), authority,
			pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
		ts.Check(os.WriteFile(filepath.Join(ts.MkAbs(account[:1]), "identity.pem"), text, 0o600))
	}
}
