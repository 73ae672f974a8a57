// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package sas_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"example.org/xtls/sas"
)

// Here a code that is nothing but a hash of the TLS exporter is forged between
// two unmodified crypto/tls ends, and the same attacker fails against this
// package.
//
// Mallory finishes the handshake with Bob first and knows the code she needs. Of
// Alice she has the ClientHello. On her own machine she answers it again and again
// (crypto/tls as server, fed from memory), each time with a fresh ServerHello, and
// each time crypto/tls computes the exporter of the handshake that would follow
// before anything is sent. When the code fits, she sends that answer, and Alice
// sees one handshake, like any other. No certificate helps: Alice does not know
// Mallory's from Bob's yet, which is why she compares codes.

const exporterLabel = "EXPERIMENTAL-xtls-v1"

// naiveCode is the code of a protocol without commitment: 8 bits, which are searched
// in a moment (20 bits take seconds).
func naiveCode(t testing.TB, exporter []byte) byte {
	t.Helper()
	h, err := hkdf.Key(sha256.New, exporter, nil, "a code", 1)
	if err != nil {
		t.Fatal(err)
	}
	return h[0]
}

func TestNaiveCodeIsForged(t *testing.T) {
	id := newIdentity(t)
	for range 3 {
		bob := mutual(t, id)
		target := naiveCode(t, bob)
		tries := 0
		alice, mallory := grind(t, id, func(exporter []byte) bool {
			tries++
			return naiveCode(t, exporter) == target
		})
		if !bytes.Equal(alice, mallory) || bytes.Equal(alice, bob) {
			t.Fatal("this is no man in the middle: the exporters must be equal on a leg and differ between the legs")
		}
		if a, b := naiveCode(t, alice), naiveCode(t, bob); a != b {
			t.Fatalf("codes %d and %d: the attack does not work as the package comment says", a, b)
		}
		t.Logf("forged with %d answers to one ClientHello", tries)
	}
}

// TestGrindingDoesNotHelp is the same attacker with the same means against an
// Exchange, at the same number of bits: she knows Bob's code, and searches for the
// handshake which would give it for the nonces she expects. She wins by chance
// only: more than 3 of 8 at 2^-8 happens less than once in ten million times.
func TestGrindingDoesNotHelp(t *testing.T) {
	const runs, tries, most = 8, 512, 3
	id := newIdentity(t)
	wins := 0
	for range runs {
		nI, expected, answer := random(), random(), random()
		keysB := scheduleKeys(t, mutual(t, id), []byte("a context"))
		m := meet(t, someKeys(t, "not known yet"), keysB)
		m.toBob(t, nI)
		m.revealToBob(t, nI)
		target := lead8(code(t, m.bob))

		left := tries
		exporter, _ := grind(t, id, func(exporter []byte) bool {
			left--
			keys := scheduleKeys(t, exporter, []byte("a context"))
			return left == 0 || value8(t, keys, expected, answer) == target
		})
		alice := exchange(t, newSeries(t, sas.Initiator, scheduleKeys(t, exporter, []byte("a context"))))
		start(t, alice)
		step(t, alice, sas.Frame{Type: sas.FrameNonce, Run: 1, Body: answer})
		if lead8(code(t, alice)) == target {
			wins++
		}
	}
	if wins > most {
		t.Errorf("the attacker won %d of %d runs", wins, runs)
	}
}

// newIdentity is one certificate for everybody: who it names does not matter here.
func newIdentity(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func clientConfig(id tls.Certificate) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, Certificates: []tls.Certificate{id}, CurvePreferences: []tls.CurveID{tls.X25519}}
}

func serverConfig(id tls.Certificate) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{id}, SessionTicketsDisabled: true}
}

func export(t testing.TB, c *tls.Conn) []byte {
	t.Helper()
	state := c.ConnectionState()
	e, err := state.ExportKeyingMaterial(exporterLabel, nil, 32)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// pipe is a connection in memory on which nothing waits for ever.
func pipe(t testing.TB) (c, s net.Conn) {
	t.Helper()
	c, s = net.Pipe()
	for _, end := range []net.Conn{c, s} {
		if err := end.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { end.Close() })
	}
	return c, s
}

// mutual is Mallory's leg with Bob: an ordinary mutual handshake. It returns
// the exporter, after checking that both have the same.
func mutual(t testing.TB, id tls.Certificate) []byte {
	t.Helper()
	c, s := pipe(t)
	cfg := serverConfig(id)
	cfg.ClientAuth = tls.RequireAnyClientCert
	bob, mallory := tls.Server(s, cfg), tls.Client(c, clientConfig(id))
	done := make(chan error, 1)
	go func() { done <- bob.Handshake() }()
	if err := errors.Join(mallory.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	e := export(t, bob)
	if !bytes.Equal(e, export(t, mallory)) {
		t.Fatal("the ends of one handshake have different exporters")
	}
	return e
}

// grind is Mallory's leg with Alice: she answers Alice's one ClientHello until fits
// likes the exporter that comes of it, and goes on with that answer. It returns
// the exporters that Alice and Mallory then have.
func grind(t testing.TB, id tls.Certificate, fits func(exporter []byte) bool) (atAlice, atMallory []byte) {
	t.Helper()
	c, s := pipe(t)
	alice := tls.Client(c, clientConfig(id))
	done := make(chan error, 1)
	go func() { done <- alice.Handshake() }()
	hello := readRecord(t, s)

	for {
		held := &heldConn{Conn: s, in: bytes.NewReader(hello)}
		cfg := serverConfig(id)
		cfg.VerifyConnection = func(state tls.ConnectionState) error { // the exporter is there, nothing is sent yet
			e, err := state.ExportKeyingMaterial(exporterLabel, nil, 32)
			if err != nil {
				return err
			}
			if !fits(e) {
				return errUnfit
			}
			return held.release()
		}
		server := tls.Server(held, cfg)
		err := server.Handshake()
		if errors.Is(err, errUnfit) {
			continue
		}
		if err == nil {
			err = <-done
		}
		if err != nil {
			t.Fatal(err)
		}
		return export(t, alice), export(t, server)
	}
}

var errUnfit = errors.New("the code does not fit")

// A heldConn gives its reader a recorded ClientHello and keeps what is written to
// itself, until it is released.
type heldConn struct {
	net.Conn
	in   io.Reader
	out  bytes.Buffer
	open bool
}

func (h *heldConn) Read(p []byte) (int, error) {
	n, err := h.in.Read(p)
	if err == io.EOF && h.open {
		return h.Conn.Read(p)
	}
	return n, err
}

func (h *heldConn) Write(p []byte) (int, error) {
	if h.open {
		return h.Conn.Write(p)
	}
	return h.out.Write(p)
}

func (h *heldConn) release() error {
	h.open = true
	_, err := h.Conn.Write(h.out.Bytes())
	return err
}

// readRecord reads one TLS record, which a ClientHello fits into.
func readRecord(t testing.TB, r io.Reader) []byte {
	t.Helper()
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	record := append(head, make([]byte, binary.BigEndian.Uint16(head[3:]))...)
	if _, err := io.ReadFull(r, record[5:]); err != nil {
		t.Fatal(err)
	}
	return record
}
