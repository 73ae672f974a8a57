// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls/internal/foreign"
)

// foreignProtocol stands for our token: GnuTLS takes no names over 32 octets.
const foreignProtocol = "xtls1-foreign"

// gnutlsPriority has GnuTLS speak TLS 1.3 only.
const gnutlsPriority = "NORMAL:-VERS-ALL:+VERS-TLS1.3"

// foreignStacks are the programs that speak TLS over TCP. echoes says whether the server sends
// everything back.
var foreignStacks = []struct {
	name           string
	client, server func(t *testing.T, port, cert, key, alpn string) *foreign.Program
	ready          string
	echoes         bool
}{
	{
		name: "OpenSSL",
		client: func(t *testing.T, port, cert, key, alpn string) *foreign.Program {
			return foreign.Start(t, "openssl", "s_client", "-tls1_3", "-connect", "127.0.0.1:"+port, "-cert", cert, "-key", key, "-noservername",
				"-alpn", alpn, "-keymatexport", exporterLabel, "-keymatexportlen", "32")
		},
		server: func(t *testing.T, port, cert, key, alpn string) *foreign.Program {
			return foreign.Start(t, "openssl", "s_server", "-tls1_3", "-accept", "127.0.0.1:"+port, "-cert", cert, "-key", key, "-Verify", "1",
				"-alpn", alpn, "-keymatexport", exporterLabel, "-keymatexportlen", "32")
		},
		ready: "ACCEPT",
	},
	{
		name: "GnuTLS",
		client: func(t *testing.T, port, cert, key, alpn string) *foreign.Program {
			return foreign.Start(t, "gnutls-cli", "--port", port, "--x509certfile", cert, "--x509keyfile", key, "--insecure", "--disable-sni",
				"--priority", gnutlsPriority, "--alpn", alpn, "--keymatexport", exporterLabel, "--keymatexportsize", "32", "127.0.0.1")
		},
		server: func(t *testing.T, port, cert, key, alpn string) *foreign.Program {
			return foreign.Start(t, "gnutls-serv", "--port", port, "--x509certfile", cert, "--x509keyfile", key, "--require-client-cert", "--echo", "--nodb",
				"--priority", gnutlsPriority, "--alpn", alpn, "--keymatexport", exporterLabel, "--keymatexportsize", "32")
		},
		ready:  `Echo Server listening on IPv4 \S+ port \d+\.\.\.done`,
		echoes: true,
	},
}

func foreignIdentity(t *testing.T, name string) tls.Certificate {
	t.Helper()
	cert, err := fingerprint.NewIdentity(jid.MustParse(name))
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// expect judges a certificate as a tunnel does that knows its digest.
func expect(peer tls.Certificate) func(*x509.Certificate) error {
	return func(leaf *x509.Certificate) error {
		return fingerprint.CheckDigests([]fingerprint.Digest{fingerprint.Of(peer.Certificate[0]).Digest()}, leaf.Raw)
	}
}

// TestForeignTLS runs our TLS profile against OpenSSL and GnuTLS over TCP, in both roles: data
// both ways, the same exported octets, and a refusal for another protocol and another key.
func TestForeignTLS(t *testing.T) {
	for _, s := range foreignStacks {
		for _, tt := range []struct {
			name        string
			weAreServer bool
			alpn        string
			wrongKey    bool
			want        error
		}{
			{"as client", false, foreignProtocol, false, nil},
			{"as server", true, foreignProtocol, false, nil},
			{"as server, another protocol", true, "xtls1-other", false, ErrTampered},
			{"as client, another key", false, foreignProtocol, true, errAny},
			{"as server, another key", true, foreignProtocol, true, errAny},
		} {
			t.Run(s.name+"/"+tt.name, func(t *testing.T) {
				own, theirs := foreignIdentity(t, "own@example.org"), foreignIdentity(t, "theirs@example.org")
				known := theirs
				if tt.wrongKey {
					known = foreignIdentity(t, "theirs@example.org")
				}
				certFile, keyFile := foreign.Files(t, theirs)
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
				var refused error
				cfg := tlsConfig(own, foreignProtocol, &refused, expect(known))
				var peer *foreign.Program
				var conn *tls.Conn
				if tt.weAreServer {
					peer = s.client(t, port, certFile, keyFile, tt.alpn)
					raw, err := l.Accept()
					if err != nil {
						t.Fatal(err)
					}
					conn = tls.Server(raw, cfg)
				} else {
					l.Close() // the port is free, and most likely stays so
					peer = s.server(t, port, certFile, keyFile, tt.alpn)
					peer.Await(s.ready)
					raw, err := net.Dial("tcp", "127.0.0.1:"+port)
					if err != nil {
						t.Fatal(err)
					}
					conn = tls.Client(raw, cfg)
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(handshakeTime))
				err = conn.HandshakeContext(t.Context())
				if tt.want != nil {
					if err == nil || refused == nil || tt.want != errAny && !errors.Is(refused, tt.want) {
						t.Errorf("handshake: %v, refused: %v, want %v", err, refused, tt.want)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				talkForeign(t, conn, peer, s.echoes && !tt.weAreServer)
			})
		}
	}
}

var errAny = errors.New("any error")

func talkForeign(t *testing.T, conn *tls.Conn, peer *foreign.Program, echoes bool) {
	t.Helper()
	cs := conn.ConnectionState()
	exported, err := cs.ExportKeyingMaterial(exporterLabel, nil, 32)
	if err != nil {
		t.Fatal(err)
	}
	if got := peer.KeyingMaterial(); !bytes.Equal(got, exported) {
		t.Errorf("it exports %x, we %x", got, exported)
	}
	const there, back = "to the foreign end\n", "from the foreign end\n"
	want := there
	if !echoes {
		want = back
		peer.Send([]byte(back))
	}
	if _, err := io.WriteString(conn, there); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Errorf("read %q, %v", got, err)
	}
	if !echoes {
		peer.Await(there)
	}
}
