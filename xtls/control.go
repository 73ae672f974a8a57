// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

// Control frames (PROTOCOL.md section 6) travel sealed in Jingle security-info,
// so that the tunnel's own octets stay untouched and TLS and DTLS share one way.

type frameType byte

// frameConfirm says: I have judged your certificate and accept you. In TLS 1.3
// the client's handshake succeeds before the server has looked at the client's
// certificate, so nothing less tells it.
const frameConfirm frameType = 0x02

// firstIgnorable is the first frame type that a receiver who does not know it
// ignores; a lower unknown type ends the session.
const firstIgnorable frameType = 0x80

const (
	maxFrame  = 16 << 10 // octets of type, run and body
	maxFrames = 64       // frames of one direction not yet handled
)

// A frame is one control message; run numbers the verification it belongs to.
type frame struct {
	typ  frameType
	run  byte
	body []byte
}

// ErrControl means that a control frame was forged, repeated, lost or malformed:
// somebody between the two ends tampers with them.
var ErrControl = errors.New("xtls: a control frame was forged, repeated or lost on the way")

// A sealer protects the control frames of one session, both directions.
type sealer struct {
	aad []byte

	out     cipher.AEAD
	outSeq  uint64
	sendMu  sync.Mutex // keeps frames in the order of their numbers; protects outSeq
	in      cipher.AEAD
	nextSeq uint64 // owned by the one goroutine that opens frames
}

// newSealer returns the sealer of one end of the session sid.
func newSealer(k *keys, sid string, initiator bool) (*sealer, error) {
	i, err := controlAEAD(k, "ctl initiator")
	if err != nil {
		return nil, err
	}
	r, err := controlAEAD(k, "ctl responder")
	if err != nil {
		return nil, err
	}
	s := &sealer{aad: lv(nil, []byte(sid)), out: i, in: r}
	if !initiator {
		s.out, s.in = r, i
	}
	return s, nil
}

func controlAEAD(k *keys, purpose string) (cipher.AEAD, error) {
	key, err := k.derive(purpose, k.ctx0[:], 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func controlNonce(seq uint64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 4, 12), seq)
}

// seal numbers and encrypts f and hands it to send, one frame at a time, so that
// frames leave in order.
func (s *sealer) seal(f frame, send func(seq uint64, sealed []byte) error) error {
	plain := append([]byte{byte(f.typ), f.run}, f.body...)
	if len(plain) > maxFrame {
		return fmt.Errorf("xtls: control frame of %d octets, at most %d", len(plain), maxFrame)
	}
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	seq := s.outSeq
	s.outSeq++
	return send(seq, s.out.Seal(nil, controlNonce(seq), plain, s.aad))
}

// open decrypts the next frame of the peer. Any gap, repeat or forgery is
// ErrControl: the servers deliver in order or not at all.
func (s *sealer) open(seq uint64, sealed []byte) (frame, error) {
	if seq != s.nextSeq || len(sealed) > maxFrame+s.in.Overhead() {
		return frame{}, ErrControl
	}
	plain, err := s.in.Open(nil, controlNonce(seq), sealed, s.aad)
	if err != nil || len(plain) < 2 {
		return frame{}, ErrControl
	}
	s.nextSeq++
	return frame{frameType(plain[0]), plain[1], plain[2:]}, nil
}
