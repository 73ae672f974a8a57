// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package mux

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"testing"

	"github.com/xtaci/smux"
)

// tunnels are what the benchmarks run over: memory, and TLS over loopback TCP.
var tunnels = map[string]func(testing.TB) (net.Conn, net.Conn){
	"pipe": func(testing.TB) (net.Conn, net.Conn) { return net.Pipe() },
	"tls":  tlsPair,
}

func tlsPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)},
		&x509.Certificate{SerialNumber: big.NewInt(1)}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, DynamicRecordSizingDisabled: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = c.(*tls.Conn).Handshake()
		}
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	// The certificate is made above; nobody else listens there.
	client, err = tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, DynamicRecordSizingDisabled: true})
	if err != nil {
		t.Fatal(err)
	}
	return client, <-accepted
}

// BenchmarkOneStream is the rate of one stream, beside that of the bare tunnel and of
// smux.
func BenchmarkOneStream(b *testing.B) {
	for name, tunnel := range tunnels {
		b.Run(name+"/bare", func(b *testing.B) {
			from, to := tunnel(b)
			defer to.Close()
			defer from.Close()
			transfer(b, from, to)
		})
		b.Run(name+"/mux", func(b *testing.B) {
			x, y := tunnel(b)
			from, to := streams2(b, x, y)
			transfer(b, from, to)
		})
		b.Run(name+"/smux", func(b *testing.B) {
			x, y := tunnel(b)
			client, err := smux.Client(x, smuxConfig())
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close()
			server, err := smux.Server(y, smuxConfig())
			if err != nil {
				b.Fatal(err)
			}
			defer server.Close()
			from, err := client.OpenStream()
			if err != nil {
				b.Fatal(err)
			}
			to, err := server.AcceptStream()
			if err != nil {
				b.Fatal(err)
			}
			transfer(b, from, to)
		})
	}
}

func streams2(b *testing.B, x, y net.Conn) (from, to *Stream) {
	client, server := sessions(b, x, y)
	return streams(b, client, server)
}

// transfer moves 32 KiB in each round.
func transfer(b *testing.B, from io.Writer, to io.Reader) {
	piece, buf := make([]byte, 32<<10), make([]byte, 32<<10)
	b.SetBytes(int64(len(piece)))
	b.ReportAllocs()
	done := make(chan error, 1)
	b.ResetTimer()
	go func() {
		for range b.N {
			if _, err := from.Write(piece); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for left := b.N * len(piece); left > 0; {
		n, err := to.Read(buf)
		if err != nil {
			b.Fatal(err)
		}
		left -= n
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRoundTrip is the way of 16 octets there and back.
func BenchmarkRoundTrip(b *testing.B) {
	for name, tunnel := range tunnels {
		b.Run(name, func(b *testing.B) {
			x, y := tunnel(b)
			from, to := streams2(b, x, y)
			go func() { _, _ = io.Copy(to, to) }()
			p := make([]byte, 16)
			b.ReportAllocs()
			for b.Loop() {
				mustWrite(b, from, p)
				if _, err := io.ReadFull(from, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpen is a stream, a word each way, and its end.
func BenchmarkOpen(b *testing.B) {
	client, server := pair(b)
	go func() {
		for {
			st, err := server.Accept(b.Context())
			if err != nil {
				return
			}
			_, _ = io.Copy(st, st)
			_ = st.Close()
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		st, err := client.Open(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		mustWrite(b, st, []byte("word"))
		_ = st.CloseWrite()
		if _, err := io.ReadAll(st); err != nil {
			b.Fatal(err)
		}
		_ = st.Close()
	}
}
