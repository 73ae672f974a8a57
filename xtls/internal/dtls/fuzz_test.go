// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package dtls

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"testing"

	"github.com/pion/dtls/v2/pkg/protocol"
	"github.com/pion/dtls/v2/pkg/protocol/recordlayer"
)

// newSuite returns a suite with keys, as one end has it.
func newSuite(t testing.TB, client bool) *suite {
	t.Helper()
	s := &suite{label: "EXPERIMENTAL-test", onForged: func(error) {}}
	if err := s.Init(make([]byte, 48), make([]byte, 32), bytes.Repeat([]byte{1}, 32), client); err != nil {
		t.Fatal(err)
	}
	return s
}

// pionRecord is a record as pion has it before it is protected.
func pionRecord(seq uint64, body []byte) (*recordlayer.RecordLayer, []byte) {
	r := &recordlayer.RecordLayer{Header: recordlayer.Header{Version: protocol.Version1_2, Epoch: 1, SequenceNumber: seq}}
	return r, forged(typeHandshake, 1, seq, body...)
}

func TestSuite(t *testing.T) {
	client, server := newSuite(t, true), newSuite(t, false)
	pkt, raw := pionRecord(0, []byte("finished"))
	sealed, err := client.Encrypt(pkt, raw)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := server.Decrypt(bytes.Clone(sealed))
	if err != nil || string(plain[headerSize:]) != "finished" {
		t.Fatalf("Decrypt = %q, %v", plain, err)
	}
	if _, err := server.Decrypt(bytes.Clone(sealed)); err == nil {
		t.Error("the same record was opened twice")
	}
	if _, err := client.Encrypt(pkt, raw); err == nil {
		t.Error("a sequence number was used twice")
	}
	if err := client.Init(make([]byte, 48), make([]byte, 32), make([]byte, 32), true); err == nil {
		t.Error("keys were made twice")
	}
	client.take()
	if pkt, raw = pionRecord(1, nil); client.out.seq != 1 {
		t.Errorf("next number %d", client.out.seq)
	}
	if _, err := client.Encrypt(pkt, raw); err == nil {
		t.Error("pion still seals after its keys were taken over")
	}
	last := half{aead: client.out.aead, iv: client.out.iv, seq: maxSeq}
	if _, err := last.seal(nil, typeData, nil); err != nil {
		t.Error(err)
	}
	if _, err := last.seal(nil, typeData, nil); err == nil {
		t.Error("the sequence numbers went round")
	}
}

// FuzzDecrypt: nothing that the peer did not seal is opened, and what it did still opens.
func FuzzDecrypt(f *testing.F) {
	pkt, raw := pionRecord(0, []byte("finished"))
	sealed, err := newSuite(f, true).Encrypt(pkt, raw)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(sealed[:len(sealed)-1])
	f.Add(forged(typeChangeCipherSpec, 1, 0, 1))
	f.Add(forged(typeData, 1, 0))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newSuite(t, false)
		same := bytes.Equal(b, sealed)
		if _, err := s.Decrypt(bytes.Clone(b)); (err == nil) != same {
			t.Fatalf("Decrypt: %v", err)
		}
		if _, err := s.Decrypt(bytes.Clone(sealed)); (err == nil) == same {
			t.Fatalf("the genuine record: %v", err)
		}
	})
}

// FuzzFrame: whatever comes as frames, what is taken is a prefix of a stream without gaps.
func FuzzFrame(f *testing.F) {
	f.Add(appendFrame(appendFrame(nil, 0, []byte("abc")), 3, []byte("def")), byte(11))
	f.Add(appendFrame(nil, 0, nil), byte(8))
	f.Add(appendFrame(nil, 1<<63, []byte("x")), byte(9))
	f.Fuzz(func(t *testing.T, b []byte, size byte) {
		var s inbound
		var taken uint64
		for len(b) > 0 {
			n := min(len(b), int(size)+1)
			data, err := s.take(b[:n])
			switch {
			case err == nil && (len(data) == 0 || binary.BigEndian.Uint64(b) != taken):
				t.Fatalf("took %d octets at %d", len(data), taken)
			case err == io.EOF && (!s.ended || n != offsetSize):
				t.Fatal("an end that was none")
			}
			taken += uint64(len(data))
			if s.offset != taken {
				t.Fatalf("offset %d after %d octets", s.offset, taken)
			}
			b = b[n:]
		}
	})
}

// FuzzGate: what passes is made of whole records of epoch 0, in sequence, and at most one
// of epoch 1 at the end.
func FuzzGate(f *testing.F) {
	hello := append([]byte{clientHello, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2}, 1, 2)
	f.Add(forged(typeHandshake, 0, 0, hello...), true)
	f.Add(append(forged(typeAlert, 0, 0, 1, 0), forged(typeAlert, 0, 1, 2, 40)...), false)
	f.Add(forged(typeHandshake, 1, 0, 1), false)
	f.Add([]byte("garbage"), true)
	f.Fuzz(func(t *testing.T, b []byte, server bool) {
		g := newGate(nil, server, func(byte, []byte) error { return nil }, nil)
		out, err := g.filter(nil, b)
		if err != nil {
			if opOf(err) != "local error" {
				t.Fatalf("error %v", err)
			}
			return
		}
		for seq := uint64(0); len(out) > 0; seq++ {
			r, rest, err := nextRecord(out)
			if err != nil || r.epoch == 0 && r.typ == typeData || r.epoch > 0 && (len(rest) > 0 || !g.passed) {
				t.Fatalf("record %+v passed, %v", r, err)
			}
			out = rest
		}
	})
}

// FuzzHello: the parsers of hellos agree with what they were given.
func FuzzHello(f *testing.F) {
	body := append(make([]byte, 34), 0, 0, 0, 2, 0xcc, 0xa9, 1, 0, 0, 11, 0, extensionALPN, 0, 7, 0, 5, 4, 't', 'e', 's', 't')
	f.Add(body)
	f.Add(body[:len(body)-1])
	f.Add(append(make([]byte, 34), 0, 0xcc, 0xa9, 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) ([]string, error){clientProtocols, serverProtocols} {
			names, err := parse(b)
			if err != nil && names != nil {
				t.Fatal("names and an error")
			}
			for _, n := range names {
				if n == "" || !bytes.Contains(b, []byte(n)) {
					t.Fatalf("name %q from nowhere", n)
				}
			}
		}
	})
}

// FuzzPeer lets a hostile peer say whatever it likes in a handshake with pion behind its
// gate. Its messages are a recorded handshake's, changed: at an offset of the n-th message
// of one side stands something else. No panic (it would be in a goroutine of pion's), and
// nobody is let in with other keys.
func FuzzPeer(f *testing.F) {
	cc, cs := configs(f)
	for n := range 4 {
		f.Add(byte(n), uint16(13), []byte{1})
		f.Add(byte(n), uint16(60), []byte{0xff, 0xff})
		f.Add(byte(n), uint16(100), bytes.Repeat([]byte{0}, 20))
	}
	f.Fuzz(func(t *testing.T, n byte, offset uint16, other []byte) {
		change := instead(int(n/2%2), func(b []byte) []byte {
			b = bytes.Clone(b)
			if int(offset) < len(b) {
				copy(b[offset:], other)
			}
			return b
		})
		taps := []tap{nil, nil}
		taps[n%2] = change
		a, b := carriers()
		a.out.tap, b.out.tap = taps[0], taps[1]
		ctx, cancel := context.WithTimeout(t.Context(), handshakeTime/100)
		defer cancel()
		rc, rs := shake(ctx, a, b, cc, cs)
		if rc.conn != nil && rs.conn != nil && !bytes.Equal(rc.conn.Exported(), rs.conn.Exported()) {
			t.Error("the two ends have different keys")
		}
		for _, r := range []result{rc, rs} {
			if r.conn != nil {
				r.conn.Close()
			}
		}
	})
}

func TestHello(t *testing.T) {
	alpn := []byte{0, extensionALPN, 0, 7, 0, 5, 4, 't', 'e', 's', 't'}
	other := []byte{0, 23, 0, 0}
	body := func(extensions ...[]byte) []byte {
		all := bytes.Join(extensions, nil)
		b := append(make([]byte, 34), 0, 0, 0, 2, 0xcc, 0xa9, 1, 0) // no session, no cookie, one suite, no compression
		return append(append(b, byte(len(all)>>8), byte(len(all))), all...)
	}
	for name, tt := range map[string]struct {
		body  []byte
		names int // -1: an error
	}{
		"one":             {body(other, alpn), 1},
		"none":            {body(other), 0},
		"no extensions":   {body()[:42], 0},
		"two extensions":  {body(alpn, alpn), -1},
		"cut":             {body(alpn)[:50], -1},
		"too long":        {append(body(alpn), 0), -1},
		"empty list":      {body([]byte{0, extensionALPN, 0, 2, 0, 0}), -1},
		"empty name":      {body([]byte{0, extensionALPN, 0, 3, 0, 1, 0}), -1},
		"octets after it": {body([]byte{0, extensionALPN, 0, 6, 0, 3, 2, 'a', 'b', 0}), -1},
	} {
		names, err := clientProtocols(tt.body)
		if (err != nil) != (tt.names < 0) || err == nil && len(names) != tt.names {
			t.Errorf("%s: %q, %v", name, names, err)
		}
	}
}
