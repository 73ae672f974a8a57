// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package dtls

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	pion "github.com/pion/dtls/v2"
	messages "github.com/pion/dtls/v2/pkg/protocol/handshake"
	"github.com/pion/logging"
)

const (
	// MinDatagram is the least that a carrier must take in one message, in octets.
	MinDatagram = 256

	// defaultFlightInterval is how long a flight may go unanswered before it is sent again.
	// The carrier loses nothing, but it may be slow, and what is sent twice makes it slower.
	defaultFlightInterval = 12 * time.Second

	// handshakeOverhead is what pion's MTU does not count: the headers of record and
	// fragment, and the tag.
	handshakeOverhead = headerSize + fragmentHeader + tagSize
)

// ErrProtocol means that the peer did not offer, or not confirm, the one application
// protocol that was agreed on (RFC 7301).
var ErrProtocol = errors.New("dtls: the peer has another application protocol")

// A Config says how to run a handshake. It serves one connection.
type Config struct {
	// Certificate is the own certificate, one leaf with an ECDSA or Ed25519 key. Required.
	Certificate tls.Certificate

	// Verify judges the peer's one certificate, whose key the handshake has proven or is
	// about to prove. Its error ends the handshake and is returned as it is. Required.
	Verify func(leaf *x509.Certificate) error

	// Protocol is the one application protocol. Required: both ends check it.
	Protocol string

	// ExporterLabel is that of the octets that [Conn.Exported] returns. Required.
	ExporterLabel string

	// Datagram is the most octets the carrier takes in one message, from MinDatagram on; of
	// more than 8192 no use is made. 0 means 8192.
	Datagram int

	// Cookie makes a server ask for a cookie first (RFC 6347 §4.2.1), for carriers on which
	// anybody can claim to be anybody. It costs a round trip.
	Cookie bool

	// FlightInterval is how long a flight may go unanswered before it is sent again. 0
	// means 12 seconds.
	FlightInterval time.Duration

	// LoggerFactory makes the logger of scope dtls. It never gets keys or payload. Nil is
	// silent.
	LoggerFactory logging.LoggerFactory
}

// check returns cfg with its defaults filled in.
func (cfg Config) check() (Config, error) {
	if cfg.Datagram == 0 || cfg.Datagram > maxDatagram {
		cfg.Datagram = maxDatagram
	}
	if cfg.FlightInterval == 0 {
		cfg.FlightInterval = defaultFlightInterval
	}
	if cfg.LoggerFactory == nil {
		cfg.LoggerFactory = &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}
	}
	switch {
	case len(cfg.Certificate.Certificate) != 1:
		return cfg, fmt.Errorf("dtls: Config.Certificate holds %d certificates, want one", len(cfg.Certificate.Certificate))
	case cfg.Verify == nil || cfg.Protocol == "" || cfg.ExporterLabel == "":
		return cfg, errors.New("dtls: Config.Verify, Protocol and ExporterLabel are required")
	case cfg.Datagram < MinDatagram:
		return cfg, fmt.Errorf("dtls: messages of %d octets, the least is %d", cfg.Datagram, MinDatagram)
	}
	return cfg, CheckKey(cfg.Certificate)
}

// CheckKey reports whether the certificate's key can be used: the one cipher suite signs
// with ECDSA or Ed25519.
func CheckKey(cert tls.Certificate) error {
	switch cert.PrivateKey.(type) {
	case *ecdsa.PrivateKey, ed25519.PrivateKey:
		return nil
	default:
		return fmt.Errorf("dtls: key of type %T, want ECDSA or Ed25519", cert.PrivateKey)
	}
}

// Client runs the handshake of a client over carrier. When ctx ends, or anything else goes
// wrong, it returns with nothing left running and carrier open. On success the Conn owns
// carrier. The error is ctx's cause, that of Config.Verify, [ErrProtocol], one of the carrier,
// or a [*net.OpError]: "local error" if what arrived was no valid handshake, "remote error" if
// the peer said so.
//
// Read of carrier must not return io.EOF for a line that was cut.
func Client(ctx context.Context, carrier net.Conn, cfg Config) (*Conn, error) {
	return establish(ctx, carrier, cfg, false)
}

// Server is the other side of [Client].
func Server(ctx context.Context, carrier net.Conn, cfg Config) (*Conn, error) {
	return establish(ctx, carrier, cfg, true)
}

// A handshake is what is found out on the way to a Conn.
type handshake struct {
	cfg    Config
	server bool
	suite  *suite
	gate   *gate

	mu      sync.Mutex
	leaf    *x509.Certificate
	group   tls.CurveID
	refused error // why we refused; pion hides it behind an alert
}

func establish(ctx context.Context, carrier net.Conn, cfg Config, server bool) (*Conn, error) {
	cfg, err := cfg.check()
	if err != nil {
		return nil, err
	}
	h := &handshake{cfg: cfg, server: server}
	h.gate = newGate(carrier, server, h.inspect, h.setGroup)
	h.suite = &suite{label: cfg.ExporterLabel, onForged: h.gate.fail}
	run := pion.ClientWithContext
	if server {
		run = pion.ServerWithContext
	}
	p, err := run(ctx, h.gate, h.pionConfig())
	_ = h.gate.Close() // shut: what pion still says is not heard
	in, out, exported := h.suite.take()
	if p != nil {
		_ = p.Close() // joins its goroutines
	}
	if err != nil {
		return nil, h.cause(ctx, err)
	}
	if err := h.gate.failure(); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.leaf == nil {
		return nil, localError(errors.New("no certificate"))
	}
	return &Conn{
		carrier: carrier, leaf: h.leaf, group: h.group, exported: exported,
		in: in, buf: h.gate.buf, rest: h.gate.rest,
		out: out, outBuf: make([]byte, 0, cfg.Datagram),
	}, nil
}

func (h *handshake) pionConfig() *pion.Config {
	return &pion.Config{
		Certificates:            []tls.Certificate{h.cfg.Certificate},
		CipherSuites:            []pion.CipherSuiteID{}, // none of pion's own
		CustomCipherSuites:      func() []pion.CipherSuite { return []pion.CipherSuite{h.suite} },
		SignatureSchemes:        []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.Ed25519},
		ExtendedMasterSecret:    pion.RequireExtendedMasterSecret,
		ClientAuth:              pion.RequireAnyClientCert,
		InsecureSkipVerify:      true, // no authority vouches for self-signed certificates: verify does
		VerifyPeerCertificate:   h.verify,
		SupportedProtocols:      []string{h.cfg.Protocol},
		FlightInterval:          h.cfg.FlightInterval,
		MTU:                     h.cfg.Datagram - handshakeOverhead,
		InsecureSkipVerifyHello: !h.cfg.Cookie,
		LoggerFactory:           h.cfg.LoggerFactory,
	}
}

// verify judges the peer's certificate.
func (h *handshake) verify(raw [][]byte, _ [][]*x509.Certificate) error {
	leaf, err := parseLeaf(raw)
	if err == nil {
		err = h.cfg.Verify(leaf)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.refused = err
		return err
	}
	h.leaf = leaf
	return nil
}

func parseLeaf(raw [][]byte) (*x509.Certificate, error) {
	if len(raw) != 1 {
		return nil, localError(fmt.Errorf("%d certificates where one is sent", len(raw)))
	}
	leaf, err := x509.ParseCertificate(raw[0])
	if err != nil {
		return nil, localError(err)
	}
	return leaf, nil
}

// inspect looks at the peer's messages for what pion does not tell: the application
// protocol, and the curve.
func (h *handshake) inspect(typ byte, body []byte) error {
	if err := h.dryRun(typ, body); err != nil {
		return err
	}
	switch typ {
	case clientHello:
		offered, err := clientProtocols(body)
		if err != nil || slices.Equal(offered, []string{h.cfg.Protocol}) {
			return err
		}
		h.refuse(ErrProtocol)
		if len(offered) == 0 || slices.Contains(offered, h.cfg.Protocol) {
			return ErrProtocol // pion would let it pass
		}
		return nil // pion refuses it with the right alert
	case serverHello:
		chosen, err := serverProtocols(body)
		if err == nil && !slices.Equal(chosen, []string{h.cfg.Protocol}) {
			h.refuse(ErrProtocol)
			err = ErrProtocol
		}
		return err
	case serverKeyExchange:
		h.gate.group(body)
	}
	return nil
}

// dryRun has pion parse a message. What pion cannot parse it would wait for, for ever; and
// should it panic over one, that had better be here than in a goroutine of its own.
func (h *handshake) dryRun(typ byte, body []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("handshake message of type %d: %v", typ, r)
		}
	}()
	size := []byte{byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}
	whole := slices.Concat([]byte{typ}, size, make([]byte, 2+3), size, body)
	m := messages.Handshake{KeyExchangeAlgorithm: h.suite.KeyExchangeAlgorithm()}
	return m.Unmarshal(whole)
}

func (h *handshake) refuse(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused = err
}

func (h *handshake) setGroup(c tls.CurveID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.group = c
}

// cause finds out what is behind the error that pion returned.
func (h *handshake) cause(ctx context.Context, err error) error {
	h.mu.Lock()
	refused := h.refused
	h.mu.Unlock()
	var alert interface{ IsFatalOrCloseNotify() bool } // pion's error for one of the peer's
	switch failed := h.gate.failure(); {
	case refused != nil:
		return refused
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case failed != nil:
		return failed
	case errors.As(err, &alert):
		return remoteError(err)
	default:
		return localError(err)
	}
}
