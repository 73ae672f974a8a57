// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// startEcho starts a TCP service that returns what it gets, and returns its address.
func startEcho(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			})
		}
	})
	return l.Addr().String()
}

// TestServices: TCP services behind serve, each by its name, several at once.
func TestServices(t *testing.T) {
	t.Parallel()
	_, alice, bob := prosodyCouple(t, prosodyOptions{})
	page := randomBytes(200_000)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("X-Asked", r.Method+" "+r.URL.Path)
		_, _ = w.Write(page)
	}))
	t.Cleanup(web.Close)
	serve := bob.serve("--service", "web="+strings.TrimPrefix(web.URL, "http://"), "--service", "echo="+startEcho(t),
		"--service", "dead="+local(freePorts(t, 1)[0]))

	t.Run("HTTP", func(t *testing.T) {
		nc := alice.in(t).start("nc", bob.jid, "web")
		nc.feed([]byte("GET /page HTTP/1.1\r\nHost: bob\r\nConnection: close\r\n\r\n"))
		nc.exit(exitDone)
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(nc.stdout.bytes())), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || !bytes.Equal(body, page) || resp.Header.Get("X-Asked") != "GET /page" {
			t.Errorf("%v: %d octets, %v", resp.Header, len(body), err)
		}
	})
	t.Run("several at once", func(t *testing.T) {
		var all []*program
		sent := make(map[*program][]byte)
		for i := range 4 {
			nc := alice.in(t).start("nc", bob.jid, "echo")
			sent[nc] = randomBytes(100_000 + i)
			nc.feed(sent[nc])
			all = append(all, nc)
		}
		for _, nc := range all {
			nc.exit(exitDone)
			nc.received(sent[nc])
		}
	})
	t.Run("nobody behind it", func(t *testing.T) {
		nc := alice.in(t).start("nc", bob.jid, "dead")
		nc.hangUp()
		nc.exit(exitLost) // it must not look like a service that said nothing
		nc.received(nil)
	})
	if e := serve.happened("exit"); e != nil {
		t.Errorf("serve ended: %v", e)
	}
	serve.terminate()
	serve.exit(exitInterrupted)
}

// TestPing: round trips inside a tunnel, with what is known of it.
func TestPing(t *testing.T) {
	t.Parallel()
	_, alice, bob := prosodyCouple(t, prosodyOptions{})
	bob.serve()
	const count = 3
	ping := alice.start("ping", bob.jid, "-c", fmt.Sprint(count), "-i", "1ms")
	ping.exit(exitDone)
	if n := bytes.Count(ping.stdout.bytes(), []byte(`{"ev":"ping"`)); n != count {
		t.Errorf("%d pings, want %d", n, count)
	}
	e := ping.happened("summary")
	if least, _ := e["min_ms"].(float64); e.number("count") != count || least <= 0 {
		t.Errorf("%v", e)
	}
	if e := ping.happened("tunnel"); e.text("level") != "verified" || e.text("service") != "ping" || e.text("path") != "inband" {
		t.Errorf("%v", e)
	}
}

// TestLogin: login tells what the server has.
func TestLogin(t *testing.T) {
	t.Parallel()
	p := startProsody(t, prosodyOptions{proxy65: true})
	u := newUser(t, "alice")
	in := u.start("--server", p.starttls, "--server-ca", p.ca, "--password-file", u.password(passwordOf("alice")), "login", u.jid)
	in.exit(exitDone)
	e := in.happened("account")
	if e.text("jid") != u.jid || e.text("tls") != "TLS 1.3" || e["resume"] != true || fmt.Sprint(e["proxy65"]) != "[proxy."+domain+"]" {
		t.Errorf("%v", e)
	}
	if u.fingerprint() != e.text("fingerprint") {
		t.Error("login and id show different keys")
	}
}
