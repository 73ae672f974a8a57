// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// certificateLife is how long a server's certificate is valid: longer than anybody
// tries things out, shorter than a forgotten CA file is dangerous.
const certificateLife = 30 * 24 * time.Hour

// credentials are the throw-away certificates of one server. The key of the
// authority is forgotten once it has signed the server's certificate, so trusting
// the authority never means trusting anything else.
type credentials struct {
	server tls.Certificate
	ca     *x509.Certificate
}

// newCredentials makes an authority and a certificate for domain, localhost, the
// loopback addresses and host.
func newCredentials(domain, host string) (*credentials, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("xtlstest: certificate: %w", err)
	}
	ca := template("xtlstest throw-away authority")
	ca.IsCA = true
	ca.BasicConstraintsValid = true
	ca.MaxPathLenZero = true
	ca.KeyUsage = x509.KeyUsageCertSign
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return nil, fmt.Errorf("xtlstest: certificate: %w", err)
	}
	if ca, err = x509.ParseCertificate(caDER); err != nil {
		return nil, fmt.Errorf("xtlstest: certificate: %w", err)
	}

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("xtlstest: certificate: %w", err)
	}
	leaf := template(domain)
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	leaf.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	leaf.DNSNames = []string{"localhost"}
	for _, name := range []string{domain, host} {
		if ip := net.ParseIP(name); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else if name != "" && name != "localhost" {
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return nil, fmt.Errorf("xtlstest: certificate: %w", err)
	}
	return &credentials{
		server: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		ca:     ca,
	}, nil
}

// template holds what both certificates share.
func template(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(randomBytes(16)),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(certificateLife),
	}
}

// randomBytes returns n random octets. crypto/rand never fails.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// config returns the server's side of TLS. ALPN is only spoken where TLS comes
// first (XEP-0368 §4); a client that offers none is served as well.
func (c *credentials) config(direct bool) *tls.Config {
	cfg := &tls.Config{
		Certificates:                []tls.Certificate{c.server},
		MinVersion:                  tls.VersionTLS12,
		DynamicRecordSizingDisabled: true, // for stanzas, not for web pages
	}
	if direct {
		cfg.NextProtos = []string{"xmpp-client"}
	}
	return cfg
}

// CA returns a new pool that holds only the authority of the server's
// certificate.
func (s *Server) CA() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.creds.ca)
	return pool
}

// CAPEM returns the certificate of that authority in PEM form, for clients that
// want a file.
func (s *Server) CAPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.creds.ca.Raw})
}

// ClientTLS returns a new configuration with which a client verifies the
// server: only its authority is trusted, and only for its domain.
func (s *Server) ClientTLS() *tls.Config {
	return &tls.Config{
		RootCAs:    s.CA(),
		ServerName: s.domain.String(),
		MinVersion: tls.VersionTLS12,
	}
}
