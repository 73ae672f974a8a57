// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package dtls

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A tap is what the carrier makes of the i-th message of one direction.
type tap func(i int, b []byte) [][]byte

// at applies change to one message and lets the others pass.
func at(n int, change func(b []byte) [][]byte) tap {
	return func(i int, b []byte) [][]byte {
		if i == n {
			return change(b)
		}
		return [][]byte{b}
	}
}

// before puts forged messages before one.
func before(n int, forged ...[]byte) tap {
	return at(n, func(b []byte) [][]byte { return append(slices.Clone(forged), b) })
}

// instead puts one message in the place of one.
func instead(n int, change func(b []byte) []byte) tap {
	return at(n, func(b []byte) [][]byte { return [][]byte{change(b)} })
}

// forged returns a record that anybody can make.
func forged(typ byte, epoch uint16, seq uint64, body ...byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{typ}, version12)
	b = binary.BigEndian.AppendUint64(b, uint64(epoch)<<48|seq)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(body))), body...)
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

// TestAttacksOnData lets the carrier do what it likes with an established connection, on
// which the client sends "one", "two", "three" and the end.
func TestAttacksOnData(t *testing.T) {
	const all = "onetwothree"
	var first []byte
	late := make([][]byte, maxLate+1)
	for i := range late {
		late[i] = forged(typeHandshake, 0, uint64(50+i), 1)
	}
	swapped := func() tap {
		var kept []byte
		return func(i int, b []byte) [][]byte {
			switch i {
			case 1:
				kept = b
				return nil
			case 2:
				return [][]byte{b, kept}
			}
			return [][]byte{b}
		}
	}
	for name, tt := range map[string]struct {
		tap  tap
		want string // what the server reads
		ok   bool   // and then io.EOF; else an error that says that somebody tampers
	}{
		"nothing": {func(_ int, b []byte) [][]byte { return [][]byte{b} }, all, true},
		"two in one message": {func() tap {
			var k []byte
			return func(i int, b []byte) [][]byte {
				if i == 0 {
					k = b
					return nil
				}
				if i == 1 {
					return [][]byte{append(k, b...)}
				}
				return [][]byte{b}
			}
		}(), all, true},
		"empty message":           {before(1, []byte{}), all, true},
		"plain close_notify":      {before(1, forged(typeAlert, 0, 9, alertWarning, alertCloseNotify)), all, true},
		"plain fatal alert":       {before(1, forged(typeAlert, 0, 9, alertFatal, 40)), all, true},
		"plain handshake, twice":  {before(1, forged(typeHandshake, 0, 9, make([]byte, 12)...), forged(typeHandshake, 0, 10, make([]byte, 12)...)), all, true},
		"plain data":              {before(1, forged(typeData, 0, 9, []byte("forged")...)), all, true},
		"plain ChangeCipherSpec":  {before(1, forged(typeChangeCipherSpec, 0, 9, 1)), all, true},
		"many plain records":      {before(1, late[1:]...), all, true},
		"too many plain records":  {before(1, late...), "one", false},
		"close_notify of epoch 1": {before(1, forged(typeAlert, 1, 2, alertWarning, alertCloseNotify)), "one", false},
		"fatal alert of epoch 1":  {before(1, forged(typeAlert, 1, 2, alertFatal, 40)), "one", false},
		"CCS of epoch 1":          {before(1, forged(typeChangeCipherSpec, 1, 2, 1)), "one", false},
		"handshake of epoch 1":    {before(1, forged(typeHandshake, 1, 2, make([]byte, 40)...)), "one", false},
		"data of epoch 1":         {before(1, forged(typeData, 1, 2, make([]byte, 40)...)), "one", false},
		"data of epoch 2":         {before(1, forged(typeData, 2, 0, make([]byte, 40)...)), "one", false},
		"data after plain alert":  {before(1, append(forged(typeAlert, 0, 9, 2, 40), forged(typeData, 1, 2, make([]byte, 40)...)...)), "one", false},
		"garbage":                 {before(1, []byte("garbage")), "one", false},
		"a long row of zeros":     {before(1, make([]byte, 1000)), "one", false},
		"message of 8193 octets":  {before(1, make([]byte, maxDatagram+1)), "one", false},
		"8193 octets of records":  {before(1, append(forged(typeHandshake, 0, 9, make([]byte, maxDatagram-2*headerSize)...), forged(typeAlert, 0, 10, 1)...)), "one", false},
		"dropped":                 {at(1, func([]byte) [][]byte { return nil }), "one", false},
		"repeated":                {at(1, func(b []byte) [][]byte { return [][]byte{b, b} }), "onetwo", false},
		"repeated in one message": {instead(1, func(b []byte) []byte { return append(b, b...) }), "onetwo", false},
		"an old one repeated": {func(i int, b []byte) [][]byte {
			if i == 0 {
				first = bytes.Clone(b)
			}
			if i == 2 {
				return [][]byte{first, b}
			}
			return [][]byte{b}
		}, "onetwo", false},
		"reordered":   {swapped(), "one", false},
		"end dropped": {at(3, func([]byte) [][]byte { return nil }), all, false},
		"end before its time": {func() tap {
			return func(i int, b []byte) [][]byte {
				if i == 1 {
					return nil
				}
				if i == 2 {
					return nil
				}
				return [][]byte{b}
			}
		}(), "one", false},
		"last octet cut off":         {instead(1, func(b []byte) []byte { return b[:len(b)-1] }), "one", false},
		"body cut off":               {instead(1, func(b []byte) []byte { return b[:headerSize] }), "one", false},
		"cut, with the length fixed": {instead(1, func(b []byte) []byte { b = bytes.Clone(b[:len(b)-1]); b[12]--; return b }), "one", false},
		"an octet more":              {instead(1, func(b []byte) []byte { return append(b, 0) }), "onetwo", false},
		"type changed":               {instead(1, func(b []byte) []byte { return flip(b, 0) }), "one", false},
		"version changed":            {instead(1, func(b []byte) []byte { return flip(b, 2) }), "one", false},
		"number changed":             {instead(1, func(b []byte) []byte { return flip(b, 10) }), "one", false},
		"length changed":             {instead(1, func(b []byte) []byte { return flip(b, 12) }), "one", false},
		"data changed":               {instead(1, func(b []byte) []byte { return flip(b, headerSize+offsetSize) }), "one", false},
		"offset changed":             {instead(1, func(b []byte) []byte { return flip(b, headerSize+offsetSize-1) }), "one", false},
		"tag changed":                {instead(1, func(b []byte) []byte { return flip(b, len(b)-1) }), "one", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cc, cs := configs(t)
				a, b := carriers()
				client, server := connect(t, a, b, cc, cs)
				skip := a.out.sent
				a.out.tap = func(i int, b []byte) [][]byte { return tt.tap(i-skip, b) }
				begin := time.Now()
				for _, s := range []string{"one", "two", "three"} {
					if _, err := client.Write([]byte(s)); err != nil {
						t.Fatal(err)
					}
				}
				client.CloseWrite()
				a.out.cut(errCut)
				got, err := io.ReadAll(server)
				if string(got) != tt.want || (err == nil) != tt.ok {
					t.Errorf("read %q, %v; want %q, ok %t", got, err, tt.want, tt.ok)
				}
				if err != nil && opOf(err) != "local error" && !errors.Is(err, errCut) {
					t.Errorf("error %v: want what the server found, or the carrier's", err)
				}
				if took := time.Since(begin); took > 0 {
					t.Errorf("it took %v", took)
				}
				if opOf(err) != "local error" {
					return
				}
				if _, again := server.Read(make([]byte, 1)); again != err { //nolint:errorlint // the same
					t.Errorf("second Read: %v", again)
				}
				if _, err := server.Write([]byte("x")); opOf(err) != "local error" {
					t.Errorf("Write after that: %v", err)
				}
				server.Close() // tells the peer
				if _, err := client.Read(make([]byte, 1)); opOf(err) != "remote error" {
					t.Errorf("the client reads %v, want the server's alert", err)
				}
			})
		})
	}
}

// TestReflected: what an end sent does not come back to it as the peer's.
func TestReflected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cc, cs := configs(t)
		a, b := carriers()
		client, _ := connect(t, a, b, cc, cs)
		a.out.tap = func(_ int, b []byte) [][]byte {
			a.in.push([][]byte{b})
			return nil
		}
		client.Write([]byte("hello"))
		if n, err := client.Read(make([]byte, 10)); n > 0 || opOf(err) != "local error" {
			t.Errorf("Read = %d, %v", n, err)
		}
	})
}

// TestBrokenFrames: a peer that is authentic but counts wrong delivers nothing.
func TestBrokenFrames(t *testing.T) {
	for name, frames := range map[string][][]byte{
		"no offset":     {[]byte("1234567")},
		"nothing":       {{}},
		"a gap":         {appendFrame(nil, 1, []byte("x"))},
		"a repeat":      {appendFrame(nil, 0, []byte("x")), appendFrame(nil, 0, []byte("x"))},
		"an overlap":    {appendFrame(nil, 0, []byte("xx")), appendFrame(nil, 1, []byte("x"))},
		"early end":     {appendFrame(nil, 5, nil)},
		"after the end": {appendFrame(nil, 0, nil), appendFrame(nil, 0, []byte("x"))},
	} {
		t.Run(name, func(t *testing.T) {
			var s inbound
			var err error
			for _, f := range frames[:len(frames)-1] {
				if _, err := s.take(f); err != nil && err != io.EOF {
					t.Fatal(err)
				}
			}
			last := frames[len(frames)-1]
			if _, err = s.take(last); err == nil || err == io.EOF {
				t.Errorf("take: %v, want an error", err)
			}
			if len(frames) > 1 {
				return
			}
			cc, cs := configs(t)
			a, b := carriers()
			client, server := connect(t, a, b, cc, cs)
			client.sendLocked(typeData, last)
			if _, err := server.Read(make([]byte, 1)); opOf(err) != "local error" {
				t.Errorf("Read: %v", err)
			}
		})
	}
}

// handshakeTime bounds the handshakes of these tests, as a caller's does.
const handshakeTime = 20 * time.Second

// attack runs a handshake with taps and checks what must hold whatever they do: no end that
// succeeds shares keys with anybody but the peer.
func attack(t *testing.T, cc, cs Config, up, down tap) (rc, rs result) {
	t.Helper()
	a, b := carriers()
	a.out.tap, b.out.tap = up, down
	ctx, cancel := context.WithTimeout(t.Context(), handshakeTime)
	defer cancel()
	rc, rs = shake(ctx, a, b, cc, cs)
	if rc.conn != nil && rs.conn != nil && !bytes.Equal(rc.conn.Exported(), rs.conn.Exported()) {
		t.Error("the two ends have different keys")
	}
	for _, r := range []result{rc, rs} {
		if r.conn != nil {
			r.conn.Close()
		}
	}
	return rc, rs
}

// TestAttacksOnHandshake tampers with each message of the handshake: two each way.
func TestAttacksOnHandshake(t *testing.T) {
	flood := make([][]byte, 0, 20)
	for i := range cap(flood) {
		flood = append(flood, forged(typeAlert, 0, uint64(i), make([]byte, 4000)...))
	}
	fragment := func(typ byte, size int, seq uint16, off int, data ...byte) []byte {
		b := []byte{typ, byte(size >> 16), byte(size >> 8), byte(size), byte(seq >> 8), byte(seq), 0, byte(off >> 8), byte(off), 0, 0, byte(len(data))}
		return append(b, data...)
	}
	for name, tt := range map[string]struct {
		change func(b []byte) [][]byte
		healed bool // by sending again
	}{
		"dropped":                {func([]byte) [][]byte { return nil }, true},
		"repeated":               {func(b []byte) [][]byte { return [][]byte{b, b} }, false},
		"last octet cut off":     {func(b []byte) [][]byte { return [][]byte{b[:len(b)-1]} }, false},
		"half cut off":           {func(b []byte) [][]byte { return [][]byte{b[:len(b)/2]} }, false},
		"message of 8193 octets": {func(b []byte) [][]byte { return [][]byte{make([]byte, maxDatagram+1), b} }, false},
		"garbage":                {func(b []byte) [][]byte { return [][]byte{[]byte("garbage"), b} }, false},
		"plain data":             {func(b []byte) [][]byte { return [][]byte{forged(typeData, 0, 0, 1, 2, 3), b} }, false},
		"early data":             {func(b []byte) [][]byte { return [][]byte{forged(typeData, 1, 0, make([]byte, 40)...), b} }, false},
		"fatal alert":            {func(b []byte) [][]byte { return [][]byte{forged(typeAlert, 0, seqOf(b), alertFatal, 40), b} }, false},
		"close_notify":           {func(b []byte) [][]byte { return [][]byte{forged(typeAlert, 0, seqOf(b), alertWarning, 0), b} }, false},
		"early ChangeCipherSpec": {func(b []byte) [][]byte { return [][]byte{forged(typeChangeCipherSpec, 0, seqOf(b), 1), b} }, false},
		"CCS of epoch 1":         {func(b []byte) [][]byte { return [][]byte{forged(typeChangeCipherSpec, 1, 0, 1), b} }, false},
		"forged Finished":        {func(b []byte) [][]byte { return [][]byte{forged(typeHandshake, 1, 0, make([]byte, 40)...), b} }, false},
		"message out of order": {func(b []byte) [][]byte {
			return [][]byte{forged(typeHandshake, 0, seqOf(b), fragment(20, 12, 9, 0, 1)...), b}
		}, false},
		"fragment with a gap": {func(b []byte) [][]byte {
			return [][]byte{forged(typeHandshake, 0, seqOf(b), fragment(1, 99, 0, 5, 1)...), b}
		}, false},
		"fragments without octets": {func(b []byte) [][]byte {
			return [][]byte{forged(typeHandshake, 0, seqOf(b), bytes.Repeat(fragment(2, 99, 0, 0), 600)...), b}
		}, false},
		"flood": {func(b []byte) [][]byte { return append(slices.Clone(flood), b) }, false},
	} {
		for n := range 4 {
			t.Run(fmt.Sprintf("%s/%d", name, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cc, cs := configs(t)
					taps := []tap{nil, nil}
					taps[n%2] = at(n/2, tt.change)
					rc, rs := attack(t, cc, cs, taps[0], taps[1])
					ended, limit := rc.err != nil || rs.err != nil, 2*time.Second
					if tt.healed {
						limit = handshakeTime // whoever waits sends again after 12 seconds
					}
					// What follows the last message of a side is for the Conn, which nobody reads here.
					if tolerated := n >= 2 && name == "repeated"; !ended && !tt.healed && !tolerated {
						t.Error("nobody noticed")
					}
					if max(rc.took, rs.took) > limit {
						t.Errorf("it took %v and %v (%v, %v)", rc.took, rs.took, rc.err, rs.err)
					}
				})
			})
		}
	}
}

// seqOf returns the sequence number of the first record of a message.
func seqOf(b []byte) uint64 { return binary.BigEndian.Uint64(b[3:]) & maxSeq }

// TestEveryOctet changes one bit in each octet of the handshake. Nothing of it may go
// unnoticed, or be noticed late.
func TestEveryOctet(t *testing.T) {
	cc, cs := configs(t)
	var mu sync.Mutex
	var sizes [4]int
	count := func(dir int) tap {
		return func(i int, b []byte) [][]byte {
			mu.Lock()
			defer mu.Unlock()
			if i < 2 { // then come the goodbyes
				sizes[2*i+dir] = len(b)
			}
			return [][]byte{b}
		}
	}
	attack(t, cc, cs, count(0), count(1))
	for n, size := range sizes {
		for pos := range size {
			synctest.Test(t, func(t *testing.T) {
				taps := []tap{nil, nil}
				taps[n%2] = instead(n/2, func(b []byte) []byte {
					b = bytes.Clone(b)
					b[pos%len(b)] ^= 1 << (pos % 8)
					return b
				})
				rc, rs := attack(t, cc, cs, taps[0], taps[1])
				if rc.err == nil && rs.err == nil {
					t.Errorf("message %d, octet %d: nobody noticed", n, pos)
				}
				limit := 2 * time.Second
				if n == 0 && pos >= 14 && pos <= 16 {
					limit = handshakeTime // a ClientHello that claims to be longer: the rest might still come
				}
				if took := max(rc.took, rs.took); took > limit {
					t.Errorf("message %d, octet %d: noticed after %v (%v; %v)", n, pos, took, rc.err, rs.err)
				}
			})
		}
	}
}

// TestFlood: so much of a handshake is taken, and not an octet more.
func TestFlood(t *testing.T) {
	g := newGate(nil, true, func(byte, []byte) error { return nil }, nil)
	for seq := range uint64(maxHandshake / 16) {
		if _, err := g.filter(nil, forged(typeAlert, 0, seq, 1, 90, 0)); err != nil { // 16 octets
			t.Fatal(err)
		}
	}
	if _, err := g.filter(nil, forged(typeAlert, 0, maxHandshake/16, 1, 90, 0)); !errors.Is(err, errFlood) {
		t.Errorf("one over: %v, want errFlood", err)
	}
}

// TestLongestMessage: a handshake message may be so long, and not an octet longer.
func TestLongestMessage(t *testing.T) {
	for size, ok := range map[int]bool{maxMessage: true, maxMessage + 1: false} {
		o := order{fromClient: true}
		_, err := o.take([]byte{clientHello, 0, byte(size >> 8), byte(size), 0, 0, 0, 0, 0, 0, 0, 1, 1})
		if (err == nil) != ok {
			t.Errorf("%d octets: %v", size, err)
		}
	}
}
