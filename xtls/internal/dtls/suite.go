// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package dtls

import (
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"sync"

	pion "github.com/pion/dtls/v2"
	"github.com/pion/dtls/v2/pkg/crypto/clientcertificate"
	"github.com/pion/dtls/v2/pkg/crypto/prf"
	"github.com/pion/dtls/v2/pkg/protocol/recordlayer"
	"golang.org/x/crypto/chacha20poly1305"
)

// suiteID is TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 (RFC 7905 §3).
const suiteID = 0xcca9

// exportedSize is how many octets are exported.
const exportedSize = 32

const tagSize = chacha20poly1305.Overhead

var (
	errForged = errors.New("record that the peer did not send")
	errWorn   = errors.New("the connection has used up its sequence numbers")
)

// A half protects the records of one direction in epoch 1 (RFC 7905 §2): the nonce is the
// IV with epoch and sequence number xored in, so none occurs twice.
type half struct {
	aead cipher.AEAD
	iv   []byte
	seq  uint64 // of the next record
}

func newHalf(key, iv []byte) (half, error) {
	aead, err := chacha20poly1305.New(key)
	return half{aead: aead, iv: iv}, err
}

// seal appends a record with plain in it to dst.
func (h *half) seal(dst []byte, typ byte, plain []byte) ([]byte, error) {
	if h.seq > maxSeq {
		return nil, errWorn
	}
	start := len(dst)
	dst = binary.BigEndian.AppendUint16(append(dst, typ), version12)
	dst = binary.BigEndian.AppendUint64(dst, 1<<48|h.seq)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(plain)+tagSize))
	var nonce [chacha20poly1305.NonceSize]byte
	var aad [headerSize]byte
	h.parameters(&nonce, &aad, dst[start:], len(plain))
	h.seq++
	return h.aead.Seal(dst, nonce[:], plain, aad[:]), nil
}

// open returns the plaintext of the next record, in the place of its body. A record that
// is not the next one, or not authentic, is an error.
func (h *half) open(r record) ([]byte, error) {
	switch {
	case r.epoch != 1 || len(r.body()) < tagSize:
		return nil, errForged
	case r.seq != h.seq:
		return nil, outOfOrder(r.seq, h.seq)
	}
	var nonce [chacha20poly1305.NonceSize]byte
	var aad [headerSize]byte
	h.parameters(&nonce, &aad, r.raw, len(r.body())-tagSize)
	plain, err := h.aead.Open(r.body()[:0], nonce[:], r.body(), aad[:])
	if err != nil {
		return nil, errForged
	}
	h.seq++
	return plain, nil
}

// parameters fills in the nonce and the additional data (RFC 5246 §6.2.3.3) of the record
// with this header and n octets of plaintext.
func (h *half) parameters(nonce *[chacha20poly1305.NonceSize]byte, aad *[headerSize]byte, header []byte, n int) {
	copy(nonce[4:], header[3:11])
	for i, b := range h.iv {
		nonce[i] ^= b
	}
	copy(aad[:8], header[3:11])
	copy(aad[8:11], header[:3])
	binary.BigEndian.PutUint16(aad[11:], uint16(n))
}

// A suite is the one cipher suite, as pion wants it. pion protects with it what it sends
// and receives in epoch 1: one Finished each way, perhaps an alert. Then a [Conn] takes
// the halves over. An instance serves one connection.
type suite struct {
	label    string      // of the exporter
	onForged func(error) // told when a record does not open; pion would go on without it

	mu       sync.Mutex
	ready    bool // there are keys
	taken    bool // a Conn has taken them over
	in, out  half
	exported []byte
}

var _ pion.CipherSuite = (*suite)(nil)

func (s *suite) String() string { return "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" }

// ID returns the registered number.
func (s *suite) ID() pion.CipherSuiteID { return suiteID }

// CertificateType says that the server signs with ECDSA or Ed25519.
func (s *suite) CertificateType() clientcertificate.Type { return clientcertificate.ECDSASign }

// HashFunc is that of the PRF and of Finished.
func (s *suite) HashFunc() func() hash.Hash { return sha256.New }

// AuthenticationType is by certificate.
func (s *suite) AuthenticationType() pion.CipherSuiteAuthenticationType {
	return pion.CipherSuiteAuthenticationTypeCertificate
}

// KeyExchangeAlgorithm is ephemeral Diffie-Hellman on elliptic curves.
func (s *suite) KeyExchangeAlgorithm() pion.CipherSuiteKeyExchangeAlgorithm {
	return pion.CipherSuiteKeyExchangeAlgorithmEcdhe
}

// ECC says that the extensions of RFC 8422 are needed.
func (s *suite) ECC() bool { return true }

// Init derives the keys, and exports (RFC 5705 §4, without a context) what the caller
// wants: pion's own exporter does not work with a suite that is not its own.
func (s *suite) Init(masterSecret, clientRandom, serverRandom []byte, isClient bool) error {
	k, err := prf.GenerateEncryptionKeys(masterSecret, clientRandom, serverRandom,
		0, chacha20poly1305.KeySize, chacha20poly1305.NonceSize, sha256.New)
	if err != nil {
		return err
	}
	seed := append(append([]byte(s.label), clientRandom...), serverRandom...)
	exported, err := prf.PHash(masterSecret, seed, exportedSize, sha256.New)
	if err != nil {
		return err
	}
	client, err := newHalf(k.ClientWriteKey, k.ClientWriteIV)
	if err != nil {
		return err
	}
	server, err := newHalf(k.ServerWriteKey, k.ServerWriteIV)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready {
		return errors.New("keys agreed on twice")
	}
	s.ready, s.exported = true, exported
	if s.in, s.out = client, server; isClient {
		s.in, s.out = server, client
	}
	return nil
}

// IsInitialized reports whether there are keys.
func (s *suite) IsInitialized() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready
}

// take hands the keys over: pion, whose goodbye nobody hears, must not use up their numbers.
func (s *suite) take() (in, out half, exported []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = true
	return s.in, s.out, s.exported
}

// Encrypt protects a record that pion has numbered.
func (s *suite) Encrypt(pkt *recordlayer.RecordLayer, raw []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := pkt.Header; !s.ready || s.taken || h.Epoch != 1 || h.SequenceNumber != s.out.seq || len(raw) < headerSize {
		return nil, fmt.Errorf("record %d of epoch %d to be sent out of order", h.SequenceNumber, h.Epoch)
	}
	return s.out.seal(nil, raw[0], raw[headerSize:])
}

// Decrypt opens one record and returns it with its header, as pion wants it. It takes
// nothing unprotected, ChangeCipherSpec included.
func (s *suite) Decrypt(in []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, rest, err := nextRecord(in)
	var plain []byte
	switch {
	case err != nil || !s.ready || s.taken || len(rest) > 0:
		err = errForged
	default:
		plain, err = s.in.open(r)
	}
	if err != nil {
		s.onForged(localError(err))
		return nil, err
	}
	return in[:headerSize+len(plain)], nil
}
