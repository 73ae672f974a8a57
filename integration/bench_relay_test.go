// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"crypto/sha1" // of XEP-0065, not for secrecy
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"example.org/xtls/xtls"
)

// BenchmarkRelay is the rate of payload one way through the SOCKS5 relay of each
// server.
func BenchmarkRelay(b *testing.B) {
	benchServers(b, func(b *testing.B, s *server) {
		raw := relayContender(b, s, "alice", "bob")
		tunnel := tunnelContender(b, connectBy(b, s, "alice", xtls.PathRelay), connectBy(b, s, "bob", xtls.PathRelay))
		for b.Loop() {
			r := compete(b, benchRounds, directTrial(), tunnel, raw)
			r.report(b)
			b.ReportMetric(r.ratio("xtls", "raw"), "xtls/raw")
		}
	})
}

// relayContender is a plain copy through proxy65: SOCKS5 at both ends, activated over
// XMPP (XEP-0065 §6).
func relayContender(b testing.TB, s *server, from, to string) contender {
	b.Helper()
	requester, target := rawLogin(b, s, from, false), rawLogin(b, s, to, false)
	const sid = "bench"
	digest := sha1.Sum([]byte(sid + requester.addr.String() + target.addr.String()))
	host := hex.EncodeToString(digest[:])
	in, out := socks5(b, s.relay, host), socks5(b, s.relay, host) // the target is first
	request := fmt.Sprintf(`<iq type="set" id="activate" to="proxy.%s"><query xmlns="http://jabber.org/protocol/bytestreams" sid="%s"><activate>%s</activate></query></iq>`,
		domain, sid, target.addr)
	if err := requester.ask(request); err != nil {
		b.Fatalf("activating the relay: %v", err)
	}
	return connContender(b, "raw", out, in, relayHeld)
}

// relayHeld is how much of what was written last the relay of Prosody may keep until one
// more octet or the end comes.
const relayHeld = 8192

// ask sends an IQ and waits for its result.
func (c *rawClient) ask(iq string) error {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(c.conn, iq); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	n, err := c.conn.Read(buf)
	if err != nil {
		return err
	}
	if answer := string(buf[:n]); strings.Contains(answer, `type='error'`) || !strings.Contains(answer, `type='result'`) {
		return fmt.Errorf("the answer is %q", answer)
	}
	return c.conn.SetDeadline(time.Time{})
}

// socks5 connects to port 0 of a host behind a SOCKS5 server that asks for nothing
// (RFC 1928).
func socks5(b testing.TB, server, host string) net.Conn {
	b.Helper()
	conn, err := net.Dial("tcp", server)
	if err != nil {
		b.Fatal(err)
	}
	const version, noAuthentication, connect, domainName = 5, 0, 1, 3
	request := append([]byte{version, connect, 0, domainName, byte(len(host))}, host...)
	reply := make([]byte, len(request)+2)
	err = errors.Join(conn.SetDeadline(time.Now().Add(patience)),
		converse(conn, []byte{version, 1, noAuthentication}, reply[:2]),
		converse(conn, append(request, 0, 0), reply),
		conn.SetDeadline(time.Time{}))
	if err != nil || reply[0] != version || reply[1] != 0 {
		b.Fatalf("SOCKS5: %v, reply %x", err, reply)
	}
	return conn
}

// converse writes a request and reads a reply of a known length.
func converse(conn net.Conn, request, reply []byte) error {
	if _, err := conn.Write(request); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, reply)
	return err
}
