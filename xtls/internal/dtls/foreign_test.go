// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package dtls

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"example.org/xtls/xtls/internal/foreign"
)

// gnutlsPriority has GnuTLS take the one suite.
const gnutlsPriority = "NONE:+VERS-DTLS1.2:+ECDHE-ECDSA:+CHACHA20-POLY1305:+AEAD:+SIGN-ALL:+GROUP-ALL:+COMP-NULL:+CTYPE-ALL"

// An unconnected is the socket of a UDP server with one client: whoever sends first.
type unconnected struct {
	*net.UDPConn
	mu   sync.Mutex
	peer net.Addr
}

func (u *unconnected) Read(b []byte) (int, error) {
	n, from, err := u.ReadFrom(b)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.peer == nil {
		u.peer = from
	}
	return n, err
}

func (u *unconnected) Write(b []byte) (int, error) {
	u.mu.Lock()
	to := u.peer
	u.mu.Unlock()
	return u.WriteTo(b, to)
}

func (u *unconnected) RemoteAddr() net.Addr {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.peer
}

func listenUDP(t *testing.T) (c *net.UDPConn, port string) {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, strconv.Itoa(c.LocalAddr().(*net.UDPAddr).Port)
}

// A stack is a foreign one; its programs are started by these, with the port of the server.
type stack struct {
	name           string
	client, server func(t *testing.T, port, cert, key string) *foreign.Program
	ready          string // what its server prints when it listens
	echoes         bool   // its server sends everything back
}

var stacks = []stack{
	{
		name: "OpenSSL",
		client: func(t *testing.T, port, cert, key string) *foreign.Program {
			return foreign.Start(t, "openssl", "s_client", "-dtls1_2", "-connect", "127.0.0.1:"+port, "-cert", cert, "-key", key,
				"-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305", "-alpn", "test", "-keymatexport", "EXPERIMENTAL-test", "-keymatexportlen", "32")
		},
		server: func(t *testing.T, port, cert, key string) *foreign.Program {
			return foreign.Start(t, "openssl", "s_server", "-dtls1_2", "-accept", "127.0.0.1:"+port, "-cert", cert, "-key", key, "-Verify", "1",
				"-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305", "-alpn", "test", "-keymatexport", "EXPERIMENTAL-test", "-keymatexportlen", "32")
		},
		ready: "ACCEPT",
	},
	{
		name: "GnuTLS",
		client: func(t *testing.T, port, cert, key string) *foreign.Program {
			return foreign.Start(t, "gnutls-cli", "--udp", "--port", port, "--x509certfile", cert, "--x509keyfile", key, "--insecure",
				"--priority", gnutlsPriority, "--alpn", "test", "--keymatexport", "EXPERIMENTAL-test", "--keymatexportsize", "32", "127.0.0.1")
		},
		server: func(t *testing.T, port, cert, key string) *foreign.Program {
			return foreign.Start(t, "gnutls-serv", "--udp", "--port", port, "--x509certfile", cert, "--x509keyfile", key, "--require-client-cert", "--echo", "--nodb",
				"--priority", gnutlsPriority, "--alpn", "test", "--keymatexport", "EXPERIMENTAL-test", "--keymatexportsize", "32")
		},
		ready:  `Echo Server listening on IPv4 \S+ port \d+\.\.\.done`,
		echoes: true,
	},
}

// TestForeignClients: OpenSSL and GnuTLS as clients, with and without a cookie.
func TestForeignClients(t *testing.T) {
	for _, s := range stacks {
		for _, cookie := range []bool{false, true} {
			for name, key := range map[string]tls.Certificate{"ECDSA": newCertificate(t, nil), "Ed25519": newCertificate(t, ed25519Key(t))} {
				t.Run(s.name+"/"+name+"/cookie="+strconv.FormatBool(cookie), func(t *testing.T) {
					own := newCertificate(t, nil)
					cfg := newConfig(own, key)
					cfg.Cookie = cookie
					socket, port := listenUDP(t)
					certFile, keyFile := foreign.Files(t, key)
					peer := s.client(t, port, certFile, keyFile)
					ctx, cancel := context.WithTimeout(t.Context(), handshakeTime)
					defer cancel()
					conn, err := Server(ctx, &unconnected{UDPConn: socket}, cfg)
					if err != nil {
						t.Fatal(err)
					}
					talk(t, conn, peer, false, true)
				})
			}
		}
	}
}

// TestForeignServers: OpenSSL and GnuTLS as servers.
func TestForeignServers(t *testing.T) {
	for _, s := range stacks {
		for name, key := range map[string]tls.Certificate{"ECDSA": newCertificate(t, nil), "Ed25519": newCertificate(t, ed25519Key(t))} {
			if s.name == "OpenSSL" && name == "Ed25519" {
				continue // it has no Ed25519 for a server of DTLS 1.2
			}
			t.Run(s.name+"/"+name, func(t *testing.T) {
				socket, port := listenUDP(t)
				socket.Close() // the port is free, and most likely stays so
				certFile, keyFile := foreign.Files(t, key)
				peer := s.server(t, port, certFile, keyFile)
				peer.Await(s.ready)
				carrier, err := net.Dial("udp", "127.0.0.1:"+port)
				if err != nil {
					t.Fatal(err)
				}
				defer carrier.Close()
				ctx, cancel := context.WithTimeout(t.Context(), handshakeTime)
				defer cancel()
				conn, err := Client(ctx, carrier, newConfig(newCertificate(t, nil), key))
				if err != nil {
					t.Fatal(err)
				}
				talk(t, conn, peer, s.echoes, false)
			})
		}
	}
}

// talk checks that both ends export the same and sends data both ways. The foreign end does
// not know of offsets: the test writes and reads them for it. goodbye says that it sends a
// close_notify when its input ends.
func talk(t *testing.T, conn *Conn, peer *foreign.Program, echoes, goodbye bool) {
	t.Helper()
	defer conn.Close()
	if !echoes { // gnutls-serv does not print what it exports over UDP
		if got := peer.KeyingMaterial(); !bytes.Equal(got, conn.Exported()) {
			t.Errorf("it exports %x, we %x", got, conn.Exported())
		}
	}
	if _, err := conn.Write([]byte("to the foreign end\n")); err != nil {
		t.Fatal(err)
	}
	want := "to the foreign end\n"
	if !echoes {
		peer.Await(`\x00{8}to the foreign end\n`)
		want = "from the foreign end\n"
		peer.Send(appendFrame(nil, 0, []byte(want)))
	}
	conn.SetReadDeadline(time.Now().Add(handshakeTime))
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Errorf("read %q, %v", got, err)
	}
	if !goodbye {
		return
	}
	peer.EndInput()
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after its close_notify: %v, want io.EOF", err)
	}
}
