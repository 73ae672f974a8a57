// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.org/xtls/jingle/jingletest"
	"example.org/xtls/transport"
	"example.org/xtls/transport/ibb"
)

// TestRandomSizes writes and reads random amounts, both ways at once, over random configurations.
func TestRandomSizes(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(seed, 47))
				block := 256 + rnd.IntN(2000)
				r := newRig(t, ibb.Config{
					BlockSize: block, InFlight: 1 + rnd.IntN(8),
					ReceiveBuffer: 2*block + rnd.IntN(20_000), SendBuffer: block + rnd.IntN(20_000),
				})
				r.stranger = seed%3 == 0
				messages := seed%2 == 0
				a, b := r.connect(t, messages)
				var wg sync.WaitGroup
				for i, c := range []*ibb.Conn{a, b} {
					wg.Go(func() { writeRandom(t, c, rand.NewPCG(seed, uint64(i)), messages) })
					wg.Go(func() { readRandom(t, c, rand.NewPCG(seed, uint64(1-i)), messages) })
				}
				wg.Wait()
			})
		})
	}
}

const randomTotal = 100 << 10

// chunks returns pieces of random lengths of one stream of random octets, both drawn from src.
func chunks(src *rand.PCG, max int) [][]byte {
	rnd := rand.New(src)
	var all [][]byte
	for n := 0; n < randomTotal; {
		b := make([]byte, rnd.IntN(max)+1)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		all = append(all, b)
		n += len(b)
	}
	return all
}

func writeRandom(t *testing.T, c *ibb.Conn, src *rand.PCG, messages bool) {
	max := 10_000
	if messages {
		max = c.BlockSize()
	}
	for _, b := range chunks(src, max) {
		if n, err := c.Write(b); n != len(b) || err != nil {
			t.Errorf("Write of %d = %d, %v", len(b), n, err)
			return
		}
	}
}

func readRandom(t *testing.T, c *ibb.Conn, src *rand.PCG, messages bool) {
	if messages {
		buf := make([]byte, c.BlockSize())
		for i, want := range chunks(src, c.BlockSize()) {
			n, err := c.Read(buf)
			if err != nil || string(buf[:n]) != string(want) {
				t.Errorf("message %d: Read = %d octets, %v, want %d", i, n, err, len(want))
				return
			}
		}
		return
	}
	var want []byte
	for _, b := range chunks(src, 10_000) {
		want = append(want, b...)
	}
	sizes := rand.New(rand.NewPCG(1, 2))
	for len(want) > 0 {
		buf := make([]byte, sizes.IntN(9_000)+1)
		n, err := c.Read(buf)
		if err != nil || n > len(want) || string(buf[:n]) != string(want[:n]) {
			t.Errorf("Read = %d octets, %v, with %d to come", n, err, len(want))
			return
		}
		want = want[n:]
	}
}

// A meddler is a server that drops, repeats, swaps, cuts or alters one data stanza in so many.
type meddler struct {
	rnd  *rand.Rand
	held *jingletest.Stanza
	alter,
	done bool
}

func (m *meddler) tap(s jingletest.Stanza) []jingletest.Stanza {
	if s.Payload.Local != "data" || s.Type != "set" {
		return []jingletest.Stanza{s}
	}
	if m.held != nil {
		first := *m.held
		m.held = nil
		return []jingletest.Stanza{s, first}
	}
	if m.done || m.rnd.IntN(20) > 0 {
		return []jingletest.Stanza{s}
	}
	m.done = true
	end := strings.Index(s.XML, "</data>")
	ops := 5
	if m.alter {
		ops = 7
	}
	switch m.rnd.IntN(ops) {
	case 0:
		return nil
	case 1:
		return []jingletest.Stanza{s, s}
	case 2:
		m.held = &s
		return nil
	case 3: // in the middle of a quantum: no base64 any more
		s.XML = s.XML[:end-1] + s.XML[end:]
	case 4:
		s.XML = strings.Replace(s.XML, " seq='", " seq='9", 1)
	case 5: // a shorter block that is still base64: only what is above can tell
		start := strings.Index(s.XML, "<data")
		start += strings.Index(s.XML[start:], ">") + 1
		s.XML = s.XML[:start] + s.XML[start:start+(end-start)/8*4] + s.XML[end:]
	case 6: // another octet
		at := end - 40
		c := byte('A')
		if s.XML[at] == c {
			c = 'B'
		}
		s.XML = s.XML[:at] + string(c) + s.XML[at+1:]
	}
	return []jingletest.Stanza{s}
}

// TestHostileServer: whatever a server does to the order of stanzas, what is read is a beginning
// of what was written, and then an error that is no end of file.
func TestHostileServer(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, ibb.Config{BlockSize: 300})
				r.stranger = seed%2 == 0
				a, b := r.connect(t, false)
				a.SetDeadline(time.Time{})
				b.SetDeadline(time.Now().Add(time.Hour))
				m := &meddler{rnd: rand.New(rand.NewPCG(seed, 7))}
				r.a.Tap(m.tap)
				want := pattern(60_000)
				go func() {
					a.Write([]byte(want))
					a.Close()
				}()
				got, err := readAll(b)
				if !strings.HasPrefix(want, got) {
					t.Errorf("%d octets were read that were not sent", len(got))
				}
				if err == nil || errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("Read = %v", err)
				}
				if got != want && err == nil {
					t.Error("octets are missing and nobody says so")
				}
				time.Sleep(time.Minute) // Close
			})
		})
	}
}

// tlsConfig is a TLS 1.3 configuration with a certificate of its own.
func tlsConfig(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(crand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{
		Certificates:       []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		InsecureSkipVerify: true, // who it is does not matter here
		MinVersion:         tls.VersionTLS13,
	}
}

// TestTLS runs 1 MiB both ways at once through crypto/tls, as the product does.
func TestTLS(t *testing.T) {
	for _, stranger := range []bool{false, true} {
		t.Run(fmt.Sprintf("stranger=%v", stranger), func(t *testing.T) {
			r := newRig(t, ibb.Config{})
			r.stranger = stranger
			a, b := r.connect(t, false)
			cfg := tlsConfig(t)
			x, y := tls.Client(a, cfg), tls.Server(b, cfg)
			var wg sync.WaitGroup
			var sent, got [2][sha256.Size]byte
			for i, c := range []net.Conn{x, y} {
				big := make([]byte, 1<<20)
				rand.NewChaCha8([32]byte{byte(i)}).Read(big)
				sent[i] = sha256.Sum256(big)
				wg.Go(func() {
					if _, err := c.Write(big); err != nil {
						t.Errorf("Write: %v", err)
					}
				})
				wg.Go(func() {
					h := sha256.New()
					if _, err := io.CopyN(h, c, 1<<20); err != nil {
						t.Errorf("Read: %v", err)
					}
					h.Sum(got[1-i][:0])
				})
			}
			wg.Wait()
			if sent != got {
				t.Error("what was read differs from what was written")
			}
			if err := x.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if _, err := y.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("Read = %v, want the authenticated io.EOF", err)
			}
		})
	}
}

// TestTLSHostileServer: with TLS inside not even a server that alters octets gets anything by, and
// a cut is never an end.
func TestTLSHostileServer(t *testing.T) {
	cfg := tlsConfig(t)
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			// With several blocks in flight a lost one shows at once.
			r := newRig(t, ibb.Config{BlockSize: 1024, InFlight: 4})
			a, b := r.connect(t, false)
			x, y := tls.Client(a, cfg), tls.Server(b, cfg)
			m := &meddler{rnd: rand.New(rand.NewPCG(seed, 8)), alter: true}
			want := pattern(200_000)
			go func() {
				if x.Handshake() == nil {
					r.a.Tap(m.tap)
					x.Write([]byte(want))
				}
				a.Close() // a cut: no close_notify
			}()
			got, err := readAll(y)
			if !strings.HasPrefix(want, got) {
				t.Errorf("%d octets were read that were not sent", len(got))
			}
			if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Read = %v, want an error that is no end", err)
			}
		})
	}
}

// TestNeverEOF: TLS must not take the close of the carrier for a close_notify.
func TestNeverEOF(t *testing.T) {
	r := newRig(t, ibb.Config{})
	a, b := r.connect(t, false)
	cfg := tlsConfig(t)
	x, y := tls.Client(a, cfg), tls.Server(b, cfg)
	go func() {
		x.Write([]byte("all there is"))
		a.Close()
	}()
	got, err := readAll(y)
	if got != "all there is" || !errors.Is(err, transport.ErrClosedByPeer) {
		t.Errorf("Read = %q, %v, want ErrClosedByPeer", got, err)
	}
}
