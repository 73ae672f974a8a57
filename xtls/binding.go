// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"bytes"
	"cmp"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
)

// Key schedule of PROTOCOL.md section 5: what was negotiated over the servers is
// hashed into one value, which the TLS or DTLS handshake itself confirms (as its ALPN
// token) and from which, with the TLS exporter, all later keys are derived. A
// server that changes, strips or splices anything in the negotiation makes the
// two hashes differ, and no handshake completes.

// exporterLabel is private to this protocol, so that nothing else on the tunnel
// can come by the same octets (RFC 5705 §4).
const exporterLabel = "EXPERIMENTAL-xtls-v1"

// An offer is one side's half of the negotiation as it was parsed, never its XML.
type offer struct {
	app      App
	versions []string
	digests  []fingerprint.Digest
	setup    string // XEP-0320 setup, DTLS only
	methods  []string
	nonce    []byte
}

// lv appends x with its length in front.
func lv(b, x []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(x))), x...)
}

// canonical encodes the offer for hashing. Counts are single octets and lengths
// double ones: the bounds of the parser keep them from overflowing.
func (o *offer) canonical() []byte {
	b := lv(nil, []byte(o.app.canonical()))
	b = append(b, byte(len(o.versions)))
	for _, v := range o.versions {
		b = lv(b, []byte(v))
	}
	b = append(b, byte(len(o.digests)))
	sorted := slices.SortedFunc(slices.Values(o.digests), func(a, b fingerprint.Digest) int {
		return cmp.Or(cmp.Compare(a.Algo, b.Algo), bytes.Compare(a.Sum, b.Sum))
	})
	for _, d := range sorted {
		b = lv(lv(b, []byte(d.Algo)), d.Sum)
	}
	b = lv(b, []byte(o.setup))
	b = lv(b, nil) // reveal: the identity phase is not part of version 1
	b = append(b, byte(len(o.methods)))
	for _, m := range o.methods {
		b = lv(b, []byte(m))
	}
	return lv(b, o.nonce)
}

// A negotiation is everything both ends agreed on over the servers.
type negotiation struct {
	sid                  string
	initiator, responder jid.JID // full
	creator, content     string
	offerI, offerR       *offer
}

// hash is NH of PROTOCOL.md.
func (n *negotiation) hash() [32]byte {
	b := []byte("XTLS-negotiation-v1\x00")
	b = lv(b, []byte(n.sid))
	b = lv(b, []byte(n.initiator.String()))
	b = lv(b, []byte(n.responder.String()))
	b = lv(b, []byte(n.creator))
	b = lv(b, []byte(n.content))
	b = lv(b, n.offerI.canonical())
	b = lv(b, n.offerR.canonical())
	return sha256.Sum256(b)
}

// alpnToken is the one application protocol offered and accepted in the TLS
// handshake of the negotiation that hashes to nh.
func alpnToken(nh [32]byte) string {
	return "xtls1-" + base64.RawURLEncoding.EncodeToString(nh[:])
}

// keys derives what one handshake's secret, negotiation and certificates allow.
type keys struct {
	prk       []byte
	ctx0, ctx [32]byte
}

// newKeys takes the exporter's 32 octets and the fingerprints of the two
// certificates as they were seen in the handshake. The TLS 1.3 exporter does not
// cover the client's certificate (RFC 8446 App. E.1), hence they go in by name.
func newKeys(exporter []byte, nh [32]byte, fpI, fpR fingerprint.Fingerprint) (*keys, error) {
	prk, err := hkdf.Extract(sha256.New, exporter, []byte("XTLS-v1"))
	if err != nil {
		return nil, err
	}
	k := &keys{prk: prk}
	b := append([]byte("XTLS-context-v1\x00"), nh[:]...)
	b = append(b, 0) // r: the initiator is the TLS client
	b = append(append(b, fpI[:]...), fpR[:]...)
	k.ctx0 = sha256.Sum256(b)
	b = append([]byte("XTLS-context-id-v1\x00"), k.ctx0[:]...)
	b = lv(lv(b, nil), nil) // idI and idR: the certificate is the identity
	k.ctx = sha256.Sum256(b)
	return k, nil
}

// derive is K(purpose, ctx, n) of PROTOCOL.md; ctx is CTX0 or CTX, or begins with it.
func (k *keys) derive(purpose string, ctx []byte, n int) ([]byte, error) {
	return hkdf.Expand(sha256.New, k.prk, "XTLS-v1 "+purpose+"\x00"+string(ctx), n)
}
