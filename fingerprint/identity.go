// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"slices"
	"time"

	"mellium.im/xmpp/jid"
)

const (
	// commonName is the subject of every identity. It is a constant so that a certificate says nothing about program, host or person
	// beyond the address (PROTOCOL.md section 4).
	commonName = "xtls"

	// identityYears is how long an identity is nominally valid. Dates of pinned certificates are not judged (PROTOCOL.md section 4).
	identityYears = 10

	// maxIdentityFile bounds the octets read from an identity file: a key and a chain of certificates take a few thousand.
	maxIdentityFile = 64 << 10

	// minRSABits is the shortest RSA key accepted, maxRSABits the longest one for which crypto/tls is willing to compute.
	minRSABits, maxRSABits = 2048, 8192
)

// NewIdentity makes a new key and a self-signed certificate for the account owner, whose resource is ignored: ECDSA P-256, X.509 v3, a
// random positive serial number, valid for ten years from this midnight (UTC), a constant common name, and the bare address as
// the only alternative name (PROTOCOL.md section 4). Leaf is set. Nothing is saved; see [OpenIdentity].
func NewIdentity(owner jid.JID) (tls.Certificate, error) {
	addr, err := bare(owner)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("fingerprint: new identity: %w", err)
	}
	cert, err := newIdentity(addr, time.Now())
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("fingerprint: new identity for %s: %w", quote(addr.String()), err)
	}
	return cert, nil
}

func newIdentity(owner jid.JID, now time.Time) (tls.Certificate, error) {
	san, err := marshalXMPPAddr(owner)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, err
	}
	// Midnight: the certificate need not tell when the program was first run, and clocks differ.
	from := now.UTC().Truncate(24 * time.Hour)
	template := &x509.Certificate{
		SerialNumber:    serial.Add(serial, big.NewInt(1)), // positive, RFC 5280 §4.1.2.2
		Subject:         pkix.Name{CommonName: commonName},
		NotBefore:       from,
		NotAfter:        from.AddDate(identityYears, 0, 0),
		ExtraExtensions: []pkix.Extension{{Id: oidSubjectAltName, Value: san}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// OpenIdentity returns the identity of the account owner that is kept in the file called name; if there is no such file, it makes a new
// identity and saves it first. The file is PEM: the certificate, end entity first if there is a chain, and its private key (PKCS #8
// when written here). It is created with mode 0600 in a directory created with mode 0700, completely or not at all; two processes
// that open it for the first time at once get the same identity.
//
// A file that others than its owner can read or write, that belongs to another account (see [XMPPAddrs]), or whose key is refused by
// [CheckKey] is an error and is left alone. Leaf of the result is set.
func OpenIdentity(name string, owner jid.JID) (tls.Certificate, error) {
	addr, err := bare(owner)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("fingerprint: identity: %w", err)
	}
	cert, err := loadIdentity(name, addr)
	if !errors.Is(err, fs.ErrNotExist) {
		return cert, err
	}
	lock, err := lockFile(name)
	if err != nil {
		return tls.Certificate{}, err
	}
	defer lock.unlock()
	// Another process may have made one while we waited for the lock.
	cert, err = loadIdentity(name, addr)
	if !errors.Is(err, fs.ErrNotExist) {
		return cert, err
	}
	cert, err = NewIdentity(addr)
	if err != nil {
		return tls.Certificate{}, err
	}
	text, err := encodeIdentity(cert)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("fingerprint: identity: %w", err)
	}
	if err := lock.replace(text); err != nil {
		return tls.Certificate{}, err
	}
	return cert, nil
}

// loadIdentity reads an identity file. The error wraps [fs.ErrNotExist] if there is none.
func loadIdentity(name string, owner jid.JID) (tls.Certificate, error) {
	text, err := readPrivate(name, maxIdentityFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	cert, err := tls.X509KeyPair(text, text)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("fingerprint: %s holds no usable identity: %w", name, err)
	}
	if err := CheckKey(cert.Leaf); err != nil {
		return tls.Certificate{}, fmt.Errorf("fingerprint: %s: %w", name, err)
	}
	addrs, err := XMPPAddrs(cert.Leaf)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("fingerprint: %s: %w", name, err)
	}
	if len(addrs) == 0 {
		return tls.Certificate{}, fmt.Errorf("fingerprint: the certificate in %s names no XMPP address, so not %s", name, quote(owner.String()))
	}
	if !slices.ContainsFunc(addrs, owner.Equal) {
		return tls.Certificate{}, fmt.Errorf("fingerprint: %s is the identity of %s, not of %s; use another directory for this account, or move the file away",
			name, quote(fmt.Sprint(addrs)), quote(owner.String()))
	}
	return cert, nil
}

func encodeIdentity(cert tls.Certificate) ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for _, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: cert.Leaf.Raw}, {Type: "PRIVATE KEY", Bytes: key}} {
		if err := pem.Encode(&b, block); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// CheckKey returns an error unless the public key of cert is strong enough for a peer or for ourselves (PROTOCOL.md section 4): ECDSA on
// P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits.
func CheckKey(cert *x509.Certificate) error {
	if cert == nil {
		return errors.New("fingerprint: no certificate given")
	}
	switch key := cert.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() || key.Curve == elliptic.P384() {
			return nil
		}
		return fmt.Errorf("fingerprint: the certificate's key is ECDSA on %s; P-256 and P-384 are accepted", key.Curve.Params().Name)
	case ed25519.PublicKey:
		return nil
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Errorf("fingerprint: the certificate's key is RSA of %d bits; %d to %d are accepted", bits, minRSABits, maxRSABits)
		}
		return nil
	}
	return fmt.Errorf("fingerprint: the certificate's key is of a kind not accepted (%s)", cert.PublicKeyAlgorithm)
}
