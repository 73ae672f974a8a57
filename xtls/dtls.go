// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"

	"example.org/xtls/fingerprint"
	"example.org/xtls/jingle"
	"example.org/xtls/xtls/internal/dtls"
)

// nsDTLS is that of the <fingerprint/> which asks for DTLS (XEP-0320), a child of <transport/>.
const nsDTLS = "urn:xmpp:jingle:apps:dtls:0"

// VersionDTLS12 is DTLS 1.2 in [State].TLSVersion, as it is on the wire.
const VersionDTLS12 = 0xfefd

// A Security says what protects a tunnel. Both run from end to end and prove the same; the
// one who dials chooses, the other follows.
type Security int

const (
	// TLS is TLS 1.3, with a key exchange that resists quantum computers. The zero value.
	TLS Security = iota
	// DTLS is DTLS 1.2, for peers and carriers that have only that. Its key exchange does
	// not resist quantum computers, and the certificates are not encrypted.
	DTLS
)

// String returns "tls" or "dtls".
func (s Security) String() string {
	switch s {
	case TLS:
		return "tls"
	case DTLS:
		return "dtls"
	default:
		return fmt.Sprintf("Security(%d)", int(s))
	}
}

// ParseSecurity is the inverse of [Security.String].
func ParseSecurity(s string) (Security, error) {
	for _, v := range []Security{TLS, DTLS} {
		if s == v.String() {
			return v, nil
		}
	}
	return TLS, fmt.Errorf("xtls: unknown security %q: want tls or dtls", s)
}

// The roles of XEP-0320 (RFC 4145 §4). The initiator is the DTLS client, always.
const (
	setupActive  = "active"
	setupPassive = "passive"
	setupActpass = "actpass"
)

var (
	errSetup     = errors.New("the peer wants another role in the DTLS handshake than the initiator's or responder's")
	errTwoWays   = fmt.Errorf("%w: the certificate announced for DTLS is not the one announced with the security", ErrTampered)
	errNoDTLS    = fmt.Errorf("%w: it did not take the offer of DTLS", ErrNotSupported)
	errAskedDTLS = fmt.Errorf("%w: the peer answers an offer of DTLS, which was not made", ErrTampered)
	errDraftDTLS = fmt.Errorf("%w: DTLS without the binding", ErrNotSupported)
)

// withSetup adds to our <transport/> the fingerprint of XEP-0320 that asks for DTLS.
func (s *security) withSetup(transport jingle.Element) jingle.Element {
	if s.setup == "" {
		return transport
	}
	var fps []byte
	for _, d := range s.digests {
		fps = fmt.Appendf(fps, `<fingerprint xmlns="%s" hash="%s" setup="%s">%s</fingerprint>`, nsDTLS, d.Algo, s.setup, d.Colons())
	}
	if tag, empty := bytes.CutSuffix(transport, []byte("/>")); empty && bytes.Count(transport, []byte("<")) == 1 {
		name, _, _ := bytes.Cut(tag[1:], []byte(" "))
		return slices.Concat(tag, []byte(">"), fps, []byte("</"), name, []byte(">"))
	}
	end := bytes.LastIndex(transport, []byte("</"))
	return slices.Concat(transport[:end], fps, transport[end:])
}

// readSetup reads from the peer's <transport/> whether it asks for DTLS, and in which role.
// The certificate is announced twice then, and must be the same.
func (s *security) readSetup(transport jingle.Element) error {
	var x struct {
		XMLName      xml.Name
		Fingerprints []struct {
			Hash  string `xml:"hash,attr"`
			Setup string `xml:"setup,attr"`
			Text  string `xml:",chardata"`
		} `xml:"urn:xmpp:jingle:apps:dtls:0 fingerprint"`
	}
	if err := transport.Decode(&x); err != nil {
		return err
	}
	if len(x.Fingerprints) == 0 {
		return nil
	}
	if len(x.Fingerprints) > maxListed {
		return fmt.Errorf("transport with over %d fingerprints", maxListed)
	}
	known := false
	for _, f := range x.Fingerprints {
		if f.Setup != x.Fingerprints[0].Setup {
			return errSetup
		}
		d, err := fingerprint.ParseDigest(f.Hash, f.Text)
		switch {
		case errors.Is(err, fingerprint.ErrUnsupportedDigest):
			continue
		case err != nil:
			return err
		case !slices.ContainsFunc(s.digests, func(o fingerprint.Digest) bool { return o.Algo == d.Algo && bytes.Equal(o.Sum, d.Sum) }):
			return errTwoWays
		}
		known = true
	}
	if !known {
		return errTwoWays
	}
	if s.setup = x.Fingerprints[0].Setup; s.setup == "" {
		return errSetup
	}
	return nil
}

// checkOfferedSetup judges what the initiator offers; where it cannot be taken it returns the
// reason to give.
func (c *Client) checkOfferedSetup(s *security) (jingle.Reason, error) {
	switch {
	case s.setup == "":
		return "", nil
	case s.binding == nil:
		return jingle.ReasonSecurityError, errDraftDTLS
	case s.setup != setupActive && s.setup != setupActpass:
		return jingle.ReasonUnsupportedTransports, errSetup
	}
	if err := dtls.CheckKey(c.cfg.Certificate); err != nil {
		return jingle.ReasonUnsupportedTransports, err
	}
	return "", nil
}

// checkAnsweredSetup judges the responder's answer to ours. There is no way back from DTLS to
// TLS: a server could force it.
func checkAnsweredSetup(ours, theirs *security) error {
	switch {
	case ours.setup == "" && theirs.setup == "":
		return nil
	case ours.setup == "":
		return errAskedDTLS
	case theirs.setup == "":
		return errNoDTLS
	case theirs.setup != setupPassive:
		return fmt.Errorf("%w: %w", ErrTampered, errSetup)
	case theirs.binding == nil:
		return errDraftDTLS
	}
	return nil
}

// wants is the security that a side's half of the negotiation asks for.
func (s *security) wants() Security {
	if s.setup != "" {
		return DTLS
	}
	return TLS
}

// secureDTLS runs the DTLS handshake over the carrier, which keeps messages apart.
func (t *tunnel) secureDTLS(ctx context.Context, alpn string) (*peerKeys, error) {
	var refused error // by us
	cfg := dtls.Config{
		Certificate: t.client.cfg.Certificate,
		Verify: func(leaf *x509.Certificate) error {
			refused = t.checkCertificate(leaf)
			return refused
		},
		Protocol:      alpn,
		ExporterLabel: exporterLabel,
		LoggerFactory: t.client.cfg.LoggerFactory,
	}
	if sized, ok := t.carrier.Conn.(interface{ BlockSize() int }); ok {
		cfg.Datagram = sized.BlockSize()
	}
	run := dtls.Server
	if t.initiator() {
		run = dtls.Client
	}
	conn, err := run(ctx, t.carrier, cfg)
	if errors.Is(err, dtls.ErrProtocol) {
		refused = fmt.Errorf("%w: the two ends negotiated different things", ErrTampered)
	}
	if err != nil {
		return nil, t.handshakeError(ctx, err, refused)
	}
	t.tls = conn
	t.state.TLSVersion, t.state.Group = VersionDTLS12, conn.Group()
	return &peerKeys{leaf: conn.PeerCertificate(), exported: conn.Exported()}, nil
}
