// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestHello is the session of the README: two directories, two terminals, each
// prints exactly what the other one sent, over both kinds of TLS. What the server
// saw of it holds nothing of that.
func TestHello(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		server func(*server) string
	}{
		{"STARTTLS", func(p *server) string { return p.starttls }},
		{"direct TLS", func(p *server) string { return "xmpps://" + p.direct }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := startProsody(t, prosodyOptions{stanzas: true})
			alice, bob := login(t, "alice", tc.server(p), p.ca), login(t, "bob", tc.server(p), p.ca)
			greet(t, alice, bob, []byte("hello"), []byte("hello to you, too"))
			secrets := [][]byte{randomText(), randomText()}
			greet(t, alice, bob, secrets[0], secrets[1])
			checkServerLog(t, p, append(secrets, []byte("hello"), []byte("hello to you, too")))
		})
	}
}

// greet is one session as people type it, without --json.
func greet(t *testing.T, alice, bob *user, hers, his []byte) {
	t.Helper()
	run := func(u *user, args ...string) *child {
		return startChild(t, u.jid, exec.Command(build(t), append([]string{"--config", u.dir, "--accept-new"}, args...)...))
	}
	serve := run(bob, "serve", "--stdio", "--once")
	serve.await(t, "ready", serve.stderr, patience, func(text []byte, _ bool) bool {
		return bytes.Contains(text, []byte("ready bob@localhost/"))
	})
	nc := run(alice, "nc", "bob@localhost")
	for c, data := range map[*child][]byte{serve: his, nc: hers} {
		if _, err := c.stdin.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := c.stdin.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for c, want := range map[*child][]byte{serve: hers, nc: his} {
		if !c.ended(patience) {
			t.Fatalf("%s did not end", c.name)
		}
		if got := c.stdout.bytes(); !bytes.Equal(got, want) {
			t.Errorf("%s printed %q, want %q", c.name, got, want)
		}
		if code := c.cmd.ProcessState.ExitCode(); code != exitDone {
			t.Errorf("%s ended with code %d", c.name, code)
		}
	}
}

// randomText is text that occurs nowhere by chance.
func randomText() []byte {
	var b [96]byte
	rand.Read(b[:])
	return []byte(hex.EncodeToString(b[:]))
}

// checkServerLog checks that Prosody has logged the stanzas of the tunnels, and
// nothing of what was in them.
func checkServerLog(t *testing.T, p *server, secrets [][]byte) {
	t.Helper()
	log, err := os.ReadFile(p.debugLog())
	if err != nil {
		t.Fatal(err)
	}
	for _, must := range []string{"action='session-initiate'", "<security xmlns='urn:xmpp:jingle:security:xtls:0'", "http://jabber.org/protocol/ibb"} {
		if !bytes.Contains(log, []byte(must)) && !bytes.Contains(log, []byte(strings.ReplaceAll(must, "'", `"`))) {
			t.Fatalf("the log of the server does not show %s, so it proves nothing", must)
		}
	}
	for _, secret := range secrets {
		if found := findSecret(log, secret); found != "" {
			t.Errorf("the server saw %q, as %s", secret, found)
		}
	}
}

// findSecret looks for secret in log, as it is and in base64, in which it may begin
// at any of three places within a group of four digits. It returns how it was
// found, or nothing.
func findSecret(log, secret []byte) string {
	if bytes.Contains(log, secret) {
		return "plain text"
	}
	if bytes.Contains(log, []byte(hex.EncodeToString(secret))) {
		return "hexadecimal digits"
	}
	for before := range 3 {
		padded := append(make([]byte, before), secret...)
		digits := base64.RawStdEncoding.EncodeToString(padded)
		// The first and last digits also depend on what is around the secret.
		first := (before*8 + 5) / 6
		last := len(padded) * 8 / 6
		if bytes.Contains(log, []byte(digits[first:last])) {
			return fmt.Sprintf("base64, %d octets into a group", before)
		}
	}
	return ""
}

// TestFindSecret: the search above finds what is there, wherever it begins.
func TestFindSecret(t *testing.T) {
	for _, secret := range []string{"hello", "hello to you, too", string(randomText())} {
		for before := range 7 {
			for after := range 4 {
				line := strings.Repeat("\xFF", before) + secret + strings.Repeat("\xFF", after)
				log := "<data>" + base64.StdEncoding.EncodeToString([]byte(line)) + "</data>"
				if found := findSecret([]byte(log), []byte(secret)); !strings.HasPrefix(found, fmt.Sprintf("base64, %d", before%3)) {
					t.Errorf("%q with %d octets before and %d after it, in base64: %q", secret, before, after, found)
				}
				if found := findSecret([]byte(line), []byte(secret)); found != "plain text" {
					t.Errorf("%q with %d octets before and %d after it: %q", secret, before, after, found)
				}
			}
		}
		if other := randomText(); findSecret(other, []byte(secret)) != "" || !utf8.Valid(other) {
			t.Errorf("%q found in %q", secret, other)
		}
	}
}
