// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/sas"
)

// handshakeTime bounds the TLS or DTLS handshake (nobody types during it).
const handshakeTime = 20 * time.Second

var errHandshakeTime = fmt.Errorf("no handshake within %v: %w", handshakeTime, context.DeadlineExceeded)

// A secured is what TLS and DTLS connections have in common.
type secured interface {
	net.Conn
	CloseWrite() error
}

// peerKeys is what a handshake yields besides a connection.
type peerKeys struct {
	leaf     *x509.Certificate // of the peer, proven
	exported []byte            // under exporterLabel; nil in draft mode
}

// secure runs TLS or DTLS over the carrier, checks that the certificates are the ones that
// were signalled and, in extended mode, that both ends negotiated the same thing, and
// derives the keys.
func (t *tunnel) secure(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, handshakeTime, errHandshakeTime)
	defer cancel()
	var alpn string
	var nh [32]byte
	if t.extended() {
		nh = t.negotiation().hash()
		alpn = alpnToken(nh)
	}
	run := t.secureTLS
	if t.ours.wants() == DTLS {
		run = t.secureDTLS
	}
	got, err := run(ctx, alpn)
	if err != nil {
		return err
	}
	t.leaf, t.state.Fingerprint = got.leaf, fingerprint.Of(got.leaf.Raw)
	if !t.extended() {
		return nil
	}
	return t.deriveKeys(got.exported, nh)
}

// secureTLS runs the TLS handshake over the carrier, which is a stream.
func (t *tunnel) secureTLS(ctx context.Context, alpn string) (*peerKeys, error) {
	var refused error // why we refused; crypto/tls hides it behind an alert
	cfg := tlsConfig(t.client.cfg.Certificate, alpn, &refused, t.checkCertificate)
	run := tls.Server
	if t.initiator() {
		run = tls.Client
	}
	conn := run(t.carrier, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, t.handshakeError(ctx, err, refused)
	}
	t.tls = conn
	cs := conn.ConnectionState()
	t.state.TLSVersion, t.state.Group = cs.Version, cs.CurveID
	got := &peerKeys{leaf: cs.PeerCertificates[0]}
	if !t.extended() {
		return got, nil
	}
	var err error
	got.exported, err = cs.ExportKeyingMaterial(exporterLabel, nil, 32)
	return got, err
}

func (t *tunnel) deriveKeys(exporter []byte, nh [32]byte) error {
	fpI, fpR := t.client.fingerprint, t.state.Fingerprint
	if !t.initiator() {
		fpI, fpR = fpR, fpI
	}
	k, err := newKeys(exporter, nh, fpI, fpR)
	if err != nil {
		return err
	}
	t.keys = k
	role := sas.Responder
	if t.initiator() {
		role = sas.Initiator
	}
	sasKeys, err := sas.DeriveKeys(func(purpose string, n int) ([]byte, error) { return k.derive(purpose, k.ctx[:], n) })
	if err != nil {
		return err
	}
	if t.series, err = sas.New(role, sasKeys); err != nil {
		return err
	}
	s, err := newSealer(k, t.js.ID(), t.initiator())
	if err != nil {
		return err
	}
	return t.setSealer(s)
}

// handshakeError finds the cause behind what the handshake reports.
func (t *tunnel) handshakeError(ctx context.Context, err, refused error) error {
	var alert *net.OpError
	switch {
	case refused != nil:
		return verdict{refused}
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &alert) && alert.Op == "remote error" && (t.extended() || t.initiator()):
		// Between two ends that agreed over honest servers no alert is left: the
		// peer saw another negotiation, or another certificate.
		return fmt.Errorf("%w: the peer refused the handshake (%v)", ErrTampered, alert.Err)
	case errors.As(err, &alert) && alert.Op == "local error":
		return fmt.Errorf("%w: invalid handshake (%v)", ErrTampered, alert.Err)
	case t.extended() && !t.carrier.broken.Load():
		// The same, where crypto/tls does not say by its type that an alert was sent.
		return fmt.Errorf("%w: invalid handshake (%w)", ErrTampered, err)
	default:
		return fmt.Errorf("handshake: %w", err)
	}
}

// tlsConfig is the one TLS profile: version 1.3, certificates from both ends, no
// tickets (they link sessions and skip certificates), no server name (it would
// show a JID), records of full size from the start (one block carries more).
func tlsConfig(cert tls.Certificate, alpn string, refused *error, check func(*x509.Certificate) error) *tls.Config {
	cfg := &tls.Config{
		Certificates:                []tls.Certificate{cert},
		MinVersion:                  tls.VersionTLS13,
		ClientAuth:                  tls.RequireAnyClientCert,
		InsecureSkipVerify:          true, // no authority vouches for self-signed certificates: VerifyConnection does
		SessionTicketsDisabled:      true,
		Renegotiation:               tls.RenegotiateNever,
		DynamicRecordSizingDisabled: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			*refused = checkChain(cs, check)
			if cs.NegotiatedProtocol != alpn {
				// crypto/tls lets a server that says nothing about ALPN pass.
				*refused = fmt.Errorf("%w: the peer did not confirm what was negotiated", ErrTampered)
			}
			return *refused
		},
	}
	if alpn != "" {
		cfg.NextProtos = []string{alpn}
	} else {
		cfg.NextProtos = []string{draftToken}
	}
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		return nil, checkHello(hello.SupportedProtos, alpn, refused)
	}
	return cfg
}

// draftToken is the application protocol that a client of version 1 offers when it
// was made to believe that the peer speaks the plain draft. A peer that really
// does knows nothing of it. One of version 1 refuses it: then a server has
// stripped the binding from the negotiation.
const draftToken = "xtls1-draft"

// checkHello judges what the client offers, at the server.
func checkHello(offered []string, alpn string, refused *error) error {
	switch {
	case alpn != "" && len(offered) == 1 && offered[0] == alpn:
		return nil
	case alpn == "" && !slices.Contains(offered, draftToken):
		return nil
	case alpn == "":
		*refused = fmt.Errorf("%w: both ends speak version 1 and were told otherwise", ErrTampered)
		return *refused
	}
	*refused = fmt.Errorf("%w: the two ends negotiated different things", ErrTampered)
	if len(offered) == 0 {
		return *refused // crypto/tls would let a silent client pass
	}
	return nil // crypto/tls refuses it with the right alert
}

func checkChain(cs tls.ConnectionState, check func(*x509.Certificate) error) error {
	if len(cs.PeerCertificates) != 1 {
		return fmt.Errorf("%w: %d certificates where one is sent", ErrTampered, len(cs.PeerCertificates))
	}
	return check(cs.PeerCertificates[0])
}

// checkCertificate compares the certificate of the handshake with what the peer
// announced over the servers and with the peer's name.
func (t *tunnel) checkCertificate(leaf *x509.Certificate) error {
	if err := fingerprint.CheckKey(leaf); err != nil {
		return err
	}
	if len(t.theirs.digests) > 0 || t.extended() { // in draft mode the pin may have to do
		if err := fingerprint.CheckDigests(t.theirs.digests, leaf.Raw); err != nil {
			return fmt.Errorf("%w: the certificate is not the one that was announced (%v)", ErrTampered, err)
		}
	}
	return checkOwner(leaf, t.state.Peer)
}

// checkOwner refuses a certificate that names somebody else. One that names the
// peer proves nothing by that: anybody can write a name into a certificate.
func checkOwner(leaf *x509.Certificate, peer jid.JID) error {
	addrs, err := fingerprint.XMPPAddrs(leaf)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if a.Equal(peer.Bare()) {
			return nil
		}
	}
	if len(addrs) > 0 {
		return fmt.Errorf("%w: the certificate of %s names %s", ErrTampered, peer.Bare(), addrs[0])
	}
	return nil
}
