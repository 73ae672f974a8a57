// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

func testHost(t *testing.T, f serveFlags) (*host, *watched) {
	t.Helper()
	said := newWatched()
	a := &app{streams: streams{strings.NewReader(""), io.Discard, said}, ui: newUI(io.Discard, said)}
	h, err := a.newHost(f)
	if err != nil {
		t.Fatal(err)
	}
	return h, said
}

func offer(peer, service string) *xtls.Offer {
	return &xtls.Offer{Peer: jid.MustParse(peer), App: xtls.Tunnel(service)}
}

func TestAdmit(t *testing.T) {
	const alice, carol = "alice@localhost/x", "carol@localhost/x"
	web := []string{"web=localhost:80"}
	for _, tt := range []struct {
		name    string
		flags   serveFlags
		tunnels int
		busy    bool
		offer   *xtls.Offer
		want    string // "" means admitted
	}{
		{"ping, always", serveFlags{}, 0, true, offer(alice, "ping"), ""},
		{"bench, always", serveFlags{}, 0, true, offer(alice, "bench"), ""},
		{"nothing else by default", serveFlags{}, 0, false, offer(alice, ""), "no such service"},
		{"service", serveFlags{services: web}, 0, false, offer(alice, "web"), ""},
		{"service beside standard input and output", serveFlags{services: web, stdio: true}, 1, true, offer(alice, "web"), ""},
		{"unknown service", serveFlags{services: web, stdio: true}, 0, false, offer(alice, "ssh"), "no such service"},
		{"standard input and output", serveFlags{stdio: true}, 0, false, offer(alice, ""), ""},
		{"twice", serveFlags{stdio: true}, 1, true, offer(alice, ""), "busy"},
		{"second of --once", serveFlags{services: web, once: true}, 1, true, offer(alice, "web"), "busy"},
		{"allowed", serveFlags{allow: []string{"carol@localhost", "alice@localhost/y"}}, 0, false, offer(alice, "ping"), ""},
		{"not allowed to measure", serveFlags{allow: []string{"alice@localhost"}}, 0, false, offer(carol, "bench"), "not among --allow"},
		{"not allowed", serveFlags{allow: []string{"alice@localhost"}}, 0, false, offer(carol, "ping"), "not among --allow"},
		{"the last place", serveFlags{services: web}, maxTunnels - 1, false, offer(alice, "web"), ""},
		{"one over", serveFlags{services: web}, maxTunnels, false, offer(alice, "web"), "256 tunnels at once"},
		{"one over, ping", serveFlags{}, maxTunnels, false, offer(alice, "ping"), "256 tunnels at once"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, _ := testHost(t, tt.flags)
			h.tunnels, h.busy = tt.tunnels, tt.busy
			join, err := h.admit(tt.offer)
			switch {
			case tt.want == "" && (err != nil || join == nil || h.tunnels != tt.tunnels+1):
				t.Errorf("got %v with %d tunnels", err, h.tunnels)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || h.tunnels != tt.tunnels):
				t.Errorf("got %v with %d tunnels, want %q", err, h.tunnels, tt.want)
			}
		})
	}
}

// One tunnel of an account over the bound is declined; others have places, and so has it when one has ended.
func TestMaxAccountTunnels(t *testing.T) {
	h, _ := testHost(t, serveFlags{})
	for i := range maxAccountTunnels {
		if _, err := h.admit(offer(fmt.Sprintf("mallory@localhost/%d", i), "ping")); err != nil {
			t.Fatal(err)
		}
	}
	over := offer("mallory@localhost/x", "verify")
	if _, err := h.admit(over); err == nil || !strings.Contains(err.Error(), "64 tunnels of one account") {
		t.Errorf("one over: %v", err)
	}
	if _, err := h.admit(offer("alice@localhost/x", "ping")); err != nil {
		t.Errorf("another account: %v", err)
	}
	h.leave(over)
	if _, err := h.admit(over); err != nil {
		t.Errorf("after one has ended: %v", err)
	}
}

// One measurement over the bound is declined; pings are not.
func TestMaxBenches(t *testing.T) {
	h, _ := testHost(t, serveFlags{})
	for range maxBenches {
		if _, err := h.admit(offer("alice@localhost/x", "bench")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.admit(offer("alice@localhost/x", "bench")); err == nil || !strings.Contains(err.Error(), "4 measurements") {
		t.Errorf("one over: %v", err)
	}
	if _, err := h.admit(offer("alice@localhost/x", "ping")); err != nil {
		t.Errorf("a ping beside: %v", err)
	}
}

// One offer over the bound of those being declined is not answered: it would be
// one more goroutine that waits for somebody hostile.
func TestMaxDeclining(t *testing.T) {
	h, said := testHost(t, serveFlags{})
	for range maxDeclining {
		h.declining <- struct{}{}
	}
	h.decline(t.Context(), offer("mallory@localhost/x", "ssh"), errors.New("no such service")) // answering it would panic
	if !strings.Contains(said.String(), "mallory@localhost/x ssh: declined: no such service") {
		t.Errorf("said %q", said)
	}
}

func TestGate(t *testing.T) {
	v := &xtls.Verification{Peer: jid.MustParse("bob@example.net/x"), Fingerprint: testKey, App: xtls.Tunnel("")}
	for _, tt := range []struct {
		name    string
		gate    *gate
		waiting int
		taken   bool
		want    string // in the refusal; "" means pinned
	}{
		{"--accept-new", &gate{acceptNew: true}, 0, false, ""},
		{"nobody there", &gate{}, 0, false, "nobody to ask"},
		{"terminal in use", &gate{attended: true}, 0, true, "nobody to ask"},
		{"--min-level goes before --accept-new", &gate{acceptNew: true, minLevel: xtls.LevelPinned}, 0, false, "--min-level pinned"},
		{"one question too many", &gate{attended: true}, maxQuestions, false, "too many"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := tt.gate
			g.ui, g.waiting, g.turn = newUI(io.Discard, io.Discard), make(chan struct{}, maxQuestions), make(chan struct{}, 1)
			g.taken.Store(tt.taken)
			for range tt.waiting {
				g.waiting <- struct{}{}
			}
			level, err := g.verify(t.Context(), v)
			var unknown *unknownError
			switch {
			case tt.want == "" && (err != nil || level != xtls.LevelServerVouched):
				t.Errorf("got %v, %v", level, err)
			case tt.want != "" && (!errors.As(err, &unknown) || !strings.Contains(err.Error(), tt.want) || level != xtls.LevelNone):
				t.Errorf("got %v, %v; want %q", level, err, tt.want)
			}
		})
	}
}

// --accept-new is about new peers: not about new keys of known ones, nor about
// peers that a verification failed with, nor about who wants to verify.
func TestAcceptNewIsForNewPeers(t *testing.T) {
	for name, v := range map[string]*xtls.Verification{
		"changed":  {Changed: changed.Want[:1]},
		"disputed": {Facts: fingerprint.Peer{Disputed: time.Unix(1, 0)}},
		"live":     {Live: true, Level: xtls.LevelPinned},
	} {
		g := &gate{ui: newUI(io.Discard, io.Discard), acceptNew: true}
		v.Peer = testBob
		if level, err := g.verify(t.Context(), v); level != xtls.LevelNone || !errors.Is(err, errNobody) {
			t.Errorf("%s: %s, %v", name, level, err)
		}
	}
}

// The echo of ping ends one octet over its bound, as a failure and not as an end.
func TestBounded(t *testing.T) {
	b := &bounded{strings.NewReader(strings.Repeat("x", maxEcho+1)), maxEcho}
	got, err := io.ReadAll(b)
	if len(got) != maxEcho || err == nil || errors.Is(err, io.EOF) {
		t.Errorf("got %d octets, %v", len(got), err)
	}
	b = &bounded{strings.NewReader("x"), maxEcho}
	if got, err := io.ReadAll(b); string(got) != "x" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestReadLine(t *testing.T) {
	for _, tt := range []struct{ in, want, rest string }{
		{"pin\nnext\n", "pin", "next\n"},
		{"pin\r\n", "pin", ""},
		{"pin", "pin", ""},
		{strings.Repeat("x", maxLine+1), strings.Repeat("x", maxLine), "x"},
	} {
		r := strings.NewReader(tt.in)
		got, err := readLine(r)
		rest, _ := io.ReadAll(r)
		if got != tt.want || string(rest) != tt.rest || err != nil {
			t.Errorf("readLine(%.20q) = %.20q, %v, rest %.20q", tt.in, got, err, rest)
		}
	}
	if _, err := readLine(strings.NewReader("")); !errors.Is(err, io.EOF) {
		t.Errorf("of nothing: %v", err)
	}
}

// What was asked for and cannot be written ends the run.
func TestOutputFails(t *testing.T) {
	s := xtlstest.NewServer(t, xtlstest.Config{Accounts: scriptAccounts})
	dir := t.TempDir()
	ca := writeFile(t, dir, "ca.pem", s.CAPEM())
	env := func(name string) func(string) string {
		set := map[string]string{
			"XTLS_PASSWORD": scriptAccounts[name], "XTLS_SERVER": s.Addr(), "XTLS_SERVER_CA": ca, "XTLS_ACCEPT_NEW": "1",
			"XTLS_JID": name + "@localhost", "XTLS_CONFIG": filepath.Join(dir, name),
		}
		return func(name string) string { return set[name] }
	}
	serving, stop := context.WithCancel(t.Context())
	served := newWatched()
	code := make(chan int, 1)
	go func() {
		code <- run(serving, []string{"serve"}, streams{strings.NewReader(""), served, io.Discard}, env("bob"))
		served.end()
	}()
	if !served.await("ready bob@localhost/") {
		t.Fatal(served)
	}
	for _, tt := range []struct {
		args  []string
		lines int // that can be written
		err   error
		says  string
	}{
		{[]string{"id"}, 0, syscall.ENOSPC, "xtls-demo: error: writing standard output: no space left on device\n"},
		{[]string{"version", "--json"}, 0, syscall.ENOSPC, "xtls-demo: error: writing standard output: no space left on device\n"},
		{[]string{"id"}, 0, syscall.EPIPE, ""},
		{[]string{"ping", "bob@localhost", "-c", "0", "-i", "1h", "-q"}, 1, syscall.EPIPE, ""},
		{[]string{"bench", "bob@localhost", "--duration", "1m", "-q"}, 1, syscall.EPIPE, ""},
	} {
		var stderr bytes.Buffer
		if got := run(t.Context(), tt.args, streams{strings.NewReader(""), &failing{tt.lines, tt.err}, &stderr}, env("alice")); got != exitFailure || stderr.String() != tt.says {
			t.Errorf("%v: exit code %d, %q, want %q", tt.args, got, &stderr, tt.says)
		}
	}
	stop()
	if got := <-code; got != exitInterrupted {
		t.Errorf("serve: exit code %d", got)
	}
}

// A failing writer takes some lines.
type failing struct {
	lines int
	err   error
}

func (f *failing) Write(p []byte) (int, error) {
	if f.lines == 0 {
		return 0, f.err
	}
	f.lines--
	return len(p), nil
}

// Both ends of a tunnel in this process, so that the leak check of TestMain sees
// what they leave behind.
func TestNoGoroutineStays(t *testing.T) {
	s := xtlstest.NewServer(t, xtlstest.Config{Accounts: scriptAccounts})
	dir := t.TempDir()
	ca := writeFile(t, dir, "ca.pem", s.CAPEM())
	env := func(password string) func(string) string {
		set := map[string]string{"XTLS_PASSWORD": password, "XTLS_SERVER": s.Addr(), "XTLS_SERVER_CA": ca, "XTLS_ACCEPT_NEW": "1"}
		return func(name string) string { return set[name] }
	}
	question, answer := strings.Repeat("question ", 20000), strings.Repeat("answer ", 30000)
	var served, got bytes.Buffer
	stderr := newWatched()
	code := make(chan int, 1)
	go func() {
		args := []string{"serve", "--stdio", "--once", "--jid=bob@localhost", "--config=" + dir + "/b"}
		code <- run(t.Context(), args, streams{strings.NewReader(answer), &served, stderr}, env(scriptAccounts["bob"]))
		stderr.end()
	}()
	if !stderr.await("ready bob@localhost/") {
		t.Fatal(stderr)
	}
	var ncErr bytes.Buffer
	args := []string{"nc", "bob@localhost", "--jid=alice@localhost", "--config=" + dir + "/a", "-vv"}
	nc := run(t.Context(), args, streams{strings.NewReader(question), &got, &ncErr}, env(scriptAccounts["alice"]))
	if a := <-code; nc != 0 || a != 0 {
		t.Fatalf("exit codes %d and %d\n%s\n%s", nc, a, &ncErr, stderr)
	}
	if served.String() != question || got.String() != answer {
		t.Errorf("got %d and %d octets, want %d and %d", served.Len(), got.Len(), len(question), len(answer))
	}
	// The log of the library was asked for: it has no secrets.
	if log := ncErr.String(); !strings.Contains(log, "debug: ") || strings.Contains(log, "question") || strings.Contains(log, scriptAccounts["alice"]) {
		t.Errorf("log\n%s", log)
	}
}
