// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package dtls

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.org/xtls/xtls/internal/sizes"
)

func TestHandshake(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c, s := newCertificate(t, nil), newCertificate(t, ed25519Key(t))
	for name, tt := range map[string]struct {
		client, server tls.Certificate
		datagram       int
		cookie         bool
		messages       int // that the client sends in the handshake
	}{
		"plain":           {c, newCertificate(t, nil), 4096, false, 2},
		"P-384, Ed25519":  {newCertificate(t, p384), s, 0, false, 2},
		"Ed25519, P-256":  {s, c, 8192, false, 2},
		"cookie":          {c, s, 4096, true, 3},
		"least message":   {c, s, MinDatagram, false, 4},
		"least and P-384": {c, newCertificate(t, p384), MinDatagram, true, 5},
	} {
		t.Run(name, func(t *testing.T) {
			cc, cs := newConfig(tt.client, tt.server), newConfig(tt.server, tt.client)
			cc.Datagram, cs.Datagram, cs.Cookie = tt.datagram, tt.datagram, tt.cookie
			a, b := carriers()
			for _, l := range []*lane{a.in, a.out} {
				l.tap = func(_ int, m []byte) [][]byte {
					if limit := tt.datagram; limit > 0 && len(m) > limit {
						t.Errorf("message of %d octets, at most %d", len(m), limit)
					}
					return [][]byte{m}
				}
			}
			client, server := connect(t, a, b, cc, cs)
			if got := a.out.sent; got != tt.messages {
				t.Errorf("the client sent %d messages, want %d", got, tt.messages)
			}
			if !bytes.Equal(client.Exported(), server.Exported()) || len(client.Exported()) != 32 {
				t.Errorf("exported %x and %x", client.Exported(), server.Exported())
			}
			if client.Group() != tls.X25519 || server.Group() != tls.X25519 {
				t.Errorf("groups %v and %v", client.Group(), server.Group())
			}
			if !bytes.Equal(client.PeerCertificate().Raw, tt.server.Certificate[0]) || !bytes.Equal(server.PeerCertificate().Raw, tt.client.Certificate[0]) {
				t.Error("the certificates are not those of the peers")
			}
			exchange(t, client, server, "hello")
			exchange(t, server, client, strings.Repeat("long ", 10_000))
		})
	}
}

// exchange sends text one way.
func exchange(t *testing.T, from, to net.Conn, text string) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		if n, err := from.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
	})
	got := make([]byte, len(text))
	if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
		t.Errorf("read %d octets, %v", len(got), err)
		from.Close() // or Write may wait for ever
	}
	wg.Wait()
}

func TestConfig(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"no certificate":   func(c *Config) { c.Certificate = tls.Certificate{} },
		"two certificates": func(c *Config) { c.Certificate.Certificate = append(c.Certificate.Certificate, nil) },
		"RSA":              func(c *Config) { c.Certificate = newCertificate(t, rsaKey) },
		"no Verify":        func(c *Config) { c.Verify = nil },
		"no Protocol":      func(c *Config) { c.Protocol = "" },
		"no label":         func(c *Config) { c.ExporterLabel = "" },
		"small messages":   func(c *Config) { c.Datagram = MinDatagram - 1 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg, _ := configs(t)
			change(&cfg)
			if _, err := Client(t.Context(), nil, cfg); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// TestRefusal: whoever refuses gets the reason, the other end learns of it, both at once.
func TestRefusal(t *testing.T) {
	no := errors.New("no")
	refuse := func(*x509.Certificate) error { return no }
	for name, tt := range map[string]struct {
		change         func(c, s *Config)
		client, server error // nil: any
	}{
		"client refuses certificate": {func(c, _ *Config) { c.Verify = refuse }, no, nil},
		"server refuses certificate": {func(_, s *Config) { s.Verify = refuse }, nil, no},
		"another protocol":           {func(c, _ *Config) { c.Protocol = "other" }, nil, ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cc, cs := configs(t)
				tt.change(&cc, &cs)
				a, b := carriers()
				rc, rs := shake(t.Context(), a, b, cc, cs)
				for side, r := range map[string]struct {
					result
					want error
				}{"client": {rc, tt.client}, "server": {rs, tt.server}} {
					if r.err == nil || r.want != nil && !errors.Is(r.err, r.want) {
						t.Errorf("%s: %v, want %v", side, r.err, r.want)
					}
					if r.want == nil && opOf(r.err) != "remote error" {
						t.Errorf("%s: %v, want the peer's alert", side, r.err)
					}
					if r.took > time.Second {
						t.Errorf("%s took %v", side, r.took)
					}
				}
			})
		})
	}
}

// opOf returns the Op of an error in crypto/tls' form.
func opOf(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op
	}
	return ""
}

// TestCancel: a context ends a handshake with a silent peer at once, with its cause, and
// leaves the carrier usable.
func TestCancel(t *testing.T) {
	for name, run := range map[string]func(context.Context, net.Conn, Config) (*Conn, error){"client": Client, "server": Server} {
		for _, full := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cfg, _ := configs(t)
					a, b := carriers()
					if full { // the carrier takes nothing
						a.out.limit = 1
						a.out.queue = [][]byte{{1}}
					}
					why := errors.New("why")
					ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, why)
					defer cancel()
					begin := time.Now()
					if _, err := run(ctx, a, cfg); !errors.Is(err, why) {
						t.Errorf("err = %v, want the cause of the context", err)
					}
					if took := time.Since(begin); took > 3*time.Second {
						t.Errorf("returned after %v", took)
					}
					a.out.limit = 0
					if _, err := a.Write([]byte("x")); err != nil {
						t.Errorf("the carrier is broken: %v", err)
					}
					b.Write([]byte("y"))
					if _, err := a.Read(make([]byte, 10)); err != nil {
						t.Errorf("the carrier is broken: %v", err)
					}
				})
			})
		}
	}
}

// TestCarrierEnds: the carrier's error comes through, from the handshake and from Read; it is no end.
func TestCarrierEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cc, cs := configs(t)
		dead, _ := carriers()
		dead.in.cut(errCut)
		if _, err := Client(t.Context(), dead, cc); !errors.Is(err, errCut) {
			t.Errorf("handshake: %v, want the carrier's error", err)
		}
		a, b := carriers()
		client, server := connect(t, a, b, cc, cs)
		exchange(t, server, client, "before")
		a.in.cut(errCut)
		for range 2 {
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, errCut) {
				t.Errorf("Read: %v, want the carrier's error", err)
			}
		}
		a.out.cut(errCut)
		for range 2 {
			if _, err := client.Write(make([]byte, 1)); !errors.Is(err, errCut) {
				t.Errorf("Write: %v, want the carrier's error", err)
			}
		}
	})
}

// TestSlowPath: with 1.5 s each way nothing is sent twice.
func TestSlowPath(t *testing.T) {
	for name, tt := range map[string]struct {
		cookie bool
		sent   int // by each side
		took   time.Duration
	}{"plain": {false, 2, 6 * time.Second}, "cookie": {true, 3, 9 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cc, cs := configs(t)
				cs.Cookie = tt.cookie
				a, b := carriers()
				a.out.delay, b.out.delay = 1500*time.Millisecond, 1500*time.Millisecond
				rc, rs := shake(t.Context(), a, b, cc, cs)
				if rc.err != nil || rs.err != nil {
					t.Fatal(rc.err, rs.err)
				}
				t.Logf("%d and %d messages of %d and %d octets in all, %v", a.out.sent, b.out.sent, a.out.octets, b.out.octets, rc.took)
				if a.out.sent != tt.sent || b.out.sent != tt.sent || rc.took != tt.took {
					t.Errorf("%d and %d messages in %v, want %d each in %v", a.out.sent, b.out.sent, rc.took, tt.sent, tt.took)
				}
				rc.conn.Close()
				rs.conn.Close()
			})
		})
	}
}

// TestSlowerThanPatient: where the path is slower than the flight interval, flights go out
// twice; the second ones are ignored and data arrives all the same.
func TestSlowerThanPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cc, cs := configs(t)
		cc.FlightInterval, cs.FlightInterval = 2*time.Second, 2*time.Second
		a, b := carriers()
		a.out.delay, b.out.delay = 3100*time.Millisecond, 3100*time.Millisecond
		client, server := connect(t, a, b, cc, cs)
		if a.out.sent <= 2 || b.out.sent <= 2 {
			t.Errorf("%d and %d messages: nothing was sent twice", a.out.sent, b.out.sent)
		}
		exchange(t, client, server, "hello")
		exchange(t, server, client, "hello")
	})
}

func TestHalfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cc, cs := configs(t)
		a, b := carriers()
		client, server := connect(t, a, b, cc, cs)
		exchange(t, client, server, "question")
		for range 2 {
			if err := client.CloseWrite(); err != nil {
				t.Errorf("CloseWrite: %v", err)
			}
		}
		if _, err := client.Write([]byte("more")); err == nil {
			t.Error("Write after CloseWrite succeeded")
		}
		for range 2 {
			if _, err := server.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("Read: %v, want io.EOF", err)
			}
		}
		exchange(t, server, client, "answer") // the other direction goes on
		if err := server.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if _, err := client.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("Read after close_notify: %v, want io.EOF", err)
		}
		if err := server.Close(); err != net.ErrClosed {
			t.Errorf("second Close: %v, want net.ErrClosed", err)
		}
		if _, err := server.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read after Close: %v", err)
		}
		if _, err := server.Write(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write after Close: %v", err)
		}
	})
}

// TestCloseBesideWrite: Close ends a Write that the carrier does not take, and a Read, at
// once; the peer reads no end that nobody declared.
func TestCloseBesideWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cc, cs := configs(t)
		a, b := carriers()
		client, server := connect(t, a, b, cc, cs)
		a.out.limit = 1
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := client.Write(make([]byte, 100_000)); err == nil {
				t.Error("Write succeeded")
			}
		})
		wg.Go(func() {
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Read: %v, want net.ErrClosed", err)
			}
		})
		synctest.Wait()
		begin := time.Now()
		if err := client.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		wg.Wait()
		if took := time.Since(begin); took > 0 {
			t.Errorf("Close took %v", took)
		}
		if _, err := io.ReadAll(server); !errors.Is(err, errCut) {
			t.Errorf("the peer read to %v, want the carrier's error", err)
		}
	})
}

// TestCloseOfFullCarrier: the goodbye waits for room, but not for ever.
func TestCloseOfFullCarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cc, cs := configs(t)
		a, b := carriers()
		client, _ := connect(t, a, b, cc, cs)
		a.out.limit = 1
		client.Write([]byte("x"))
		begin := time.Now()
		client.Close()
		if took := time.Since(begin); took != goodbyeTime {
			t.Errorf("Close took %v, want %v", took, goodbyeTime)
		}
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cc, cs := configs(t)
		a, b := carriers()
		client, server := connect(t, a, b, cc, cs)
		client.SetReadDeadline(time.Now().Add(time.Second))
		for range 2 {
			_, err := client.Read(make([]byte, 1))
			if !errors.Is(err, os.ErrDeadlineExceeded) || !isTimeout(err) {
				t.Errorf("Read: %v, want a timeout", err)
			}
		}
		client.SetReadDeadline(time.Time{})
		exchange(t, server, client, "still alive")
		a.out.limit = 1
		client.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := client.Write(make([]byte, 3*maxDatagram))
		if !isTimeout(err) || n == 0 {
			t.Errorf("Write = %d, %v, want part of it and a timeout", n, err)
		}
		client.SetWriteDeadline(time.Time{})
		a.out.limit = 0
		if _, err := client.Write([]byte("x")); err == nil {
			t.Error("Write after a missed deadline succeeded: nobody knows what has left")
		}
		got := make([]byte, n)
		if _, err := io.ReadFull(server, got); err != nil {
			t.Errorf("what Write reported does not arrive: %v", err)
		}
	})
}

// TestManyAtOnce uses all methods concurrently.
func TestManyAtOnce(t *testing.T) {
	cc, cs := configs(t)
	a, b := carriers()
	client, server := connect(t, a, b, cc, cs)
	const writers, each = 4, 1000
	var wg sync.WaitGroup
	for range writers {
		for _, c := range []*Conn{client, server} {
			wg.Go(func() {
				for range each {
					if _, err := c.Write([]byte("0123456789")); err != nil {
						t.Errorf("Write: %v", err)
						return
					}
					c.SetReadDeadline(time.Time{})
				}
			})
		}
	}
	for _, c := range []*Conn{client, server} {
		wg.Go(func() {
			got := make([]byte, writers*each*10)
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, bytes.Repeat([]byte("0123456789"), writers*each)) {
				t.Errorf("writes were mixed up, or %v", err)
			}
		})
	}
	wg.Wait()
}

// TestAnySize: streams of any length, cut anywhere, over the largest and the least messages.
func TestAnySize(t *testing.T) {
	for _, datagram := range []int{0, 4096} {
		sizes.Try(t, func(t *testing.T) (sizes.Conn, sizes.Conn) {
			cc, cs := configs(t)
			cc.Datagram, cs.Datagram = datagram, datagram
			a, b := carriers()
			client, server := connect(t, a, b, cc, cs)
			a.out.limit, b.out.limit = 16, 16
			return client, server
		})
	}
}

// BenchmarkInMemory is the rate of payload one way, by the size of a message on the carrier.
func BenchmarkInMemory(b *testing.B) {
	for _, datagram := range []int{1200, 4096, maxDatagram} {
		b.Run(strconv.Itoa(datagram), func(b *testing.B) {
			cc, cs := configs(b)
			cc.Datagram, cs.Datagram = datagram, datagram
			up, down := carriers()
			up.out.limit = 16
			client, server := connect(b, up, down, cc, cs)
			data := make([]byte, 64<<10)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			var sending sync.WaitGroup
			defer sending.Wait()
			b.ResetTimer()
			sending.Go(func() {
				for range b.N {
					if _, err := client.Write(data); err != nil {
						b.Errorf("Write: %v", err)
						return
					}
				}
			})
			if _, err := io.CopyN(io.Discard, server, int64(b.N)*int64(len(data))); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkHandshake is the time that both ends together need for a handshake.
func BenchmarkHandshake(b *testing.B) {
	cc, cs := configs(b)
	for b.Loop() {
		x, y := carriers()
		rc, rs := shake(b.Context(), x, y, cc, cs)
		if rc.err != nil || rs.err != nil {
			b.Fatal(rc.err, rs.err)
		}
		rc.conn.Close()
		rs.conn.Close()
	}
}
