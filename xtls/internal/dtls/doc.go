// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

// Package dtls runs DTLS 1.2 over a carrier that keeps messages apart and delivers them
// in order or not at all: one Write of the carrier is one Read at the other end, as in
// the message mode of in-band bytestreams.
//
// DTLS was made for carriers that lose and reorder. Its usual implementations forgive
// both, silently. Here whoever carries the messages is the attacker: a message that is
// missing, repeated, out of order or altered was tampered with, and ends the connection
// with an error. What a [Conn] delivers is what the peer wrote, as with TLS.
//
// # Division of labour
//
//	             Conn: Read, Write, CloseWrite             frame.go, conn.go
//	               |           stream offsets
//	             record layer: AEAD, strict order          suite.go, record.go
//	               |
//	pion/dtls --- gate: order of the handshake, ALPN       gate.go, order.go, hello.go
//	 handshake     |
//	            carrier
//
// github.com/pion/dtls/v2 performs the handshake: the messages, the certificates, the
// key exchange, the Finished. It sees the carrier through the gate, which lets only the next
// expected message pass. When the handshake is done pion is closed and its goroutines are
// joined; the records that follow, which pion would hand around between three goroutines,
// are sealed and opened right here with the keys that it agreed on. So what is known against
// its record layer (datagrams over 8192 octets vanish, a forged alert of epoch 0 ends the
// connection, losses are not noticed, two forged handshake records stall it) has nothing
// left to act on, and an idle Conn costs no goroutine.
//
// One cipher suite is offered and taken: TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
// (RFC 7905), of our own making. Its nonce is the sequence number. pion's own AES suites
// draw nonces at random (GO-2026-4479), its CBC suites can be crashed by a peer; with
// CipherSuites empty and not nil, neither can be negotiated. Keys are ECDSA or Ed25519.
// The extended master secret (RFC 7627) and a certificate of both ends are required, there
// is no resumption and no renegotiation. pion/dtls/v3 would change one file.
//
// # What passes
//
// During the handshake: records of epoch 0 in sequence, handshake messages in the only
// order that this profile has, plaintext alerts (nothing authenticates those: whoever can
// forge them can cut the line as well), one ChangeCipherSpec, one record of epoch 1.
// Everything else ends the handshake at once. After the handshake: records of epoch 1 in
// sequence that open, with data or an alert. Late records of epoch 0, which a slow path may
// still deliver, are ignored, a few of them. Everything else ends the connection.
//
// # The stream
//
// The plaintext of each record of application data is the offset of its first octet in the
// stream, as 8 octets big-endian, and then at least one octet. A record with the offset only
// is the end of that direction: the peer reads io.EOF, the other direction goes on. A
// close_notify alert ends both.
package dtls
