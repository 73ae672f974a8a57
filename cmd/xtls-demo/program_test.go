// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"rsc.io/qr"

	"example.org/xtls/fingerprint"
)

// inProcess runs a command line in this process, so that goroutines left behind
// are found.
func inProcess(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	env := map[string]string{"HOME": t.TempDir()}
	code = run(t.Context(), args, streams{strings.NewReader(""), &out, &err}, func(name string) string { return env[name] })
	return code, out.String(), err.String()
}

func TestDemo(t *testing.T) {
	for security, up := range map[string]string{
		"tls":  "TLS 1.3, X25519MLKEM768, post-quantum yes",
		"dtls": "DTLS 1.2, X25519, post-quantum no",
	} {
		t.Run(security, func(t *testing.T) { testDemo(t, security, up) })
	}
}

func testDemo(t *testing.T, security, up string) {
	code, out, stderr := inProcess(t, "demo", "--security", security)
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d\n%s\n%s", code, out, stderr)
	}
	for _, want := range []string{
		"session-initiate (", "session-accept (", "security-info (", up,
		"alice> hello bob", "bob> hello alice", "alice sends 1048576 octets", "the file: not found", "the fingerprint of bob: found",
		"VERIFIED (sas, 20", "nobody is asked", "ended in a MISMATCH", "Now the server is dishonest.", "STOP. The key of bob@demo.local has CHANGED", "Next:",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q in\n%s", want, out)
		}
	}
	if n := strings.Count(out, "would be 6"); n != 4 {
		t.Errorf("%d alarms, want 4", n)
	}
	codes := regexp.MustCompile(`(?m)^    (alice|bob  ) sees  ([a-z0-9]{3}-[a-z0-9]{3})   `).FindAllStringSubmatch(out, -1)
	if len(codes) != 4 || codes[0][2] != codes[1][2] || codes[2][2] == codes[3][2] {
		t.Errorf("codes %q in\n%s", codes, out)
	}
}

func TestDemoJSON(t *testing.T) {
	code, out, stderr := inProcess(t, "demo", "--json")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d\n%s\n%s", code, out, stderr)
	}
	if err := checkEvents(out); err != nil {
		t.Fatal(err)
	}
	facts := make(map[string]int)
	for line := range strings.Lines(out) {
		var e struct {
			Fact string
			Code int
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		facts[e.Fact]++
		if (e.Fact == "swap" || e.Fact == "strip" || e.Fact == "middle" || e.Fact == "middle-first") && e.Code != exitAlarm {
			t.Errorf("%s", line)
		}
	}
	for _, fact := range []string{"server", "key", "stanza", "tunnel", "text", "file", "seen", "search", "control", "second", "codes", "swap", "strip", "middle", "middle-codes", "middle-first"} {
		if facts[fact] == 0 {
			t.Errorf("no fact %q", fact)
		}
	}
}

// The demonstration does not take its own word for it: what a server could read is
// found, in every form.
func TestFind(t *testing.T) {
	text := []byte(fromAlice)
	data := func(octets string) sighting {
		return sighting{from: "alice", name: "data", xml: []byte("<iq><data xmlns='http://jabber.org/protocol/ibb'>" + octets + "</data></iq>")}
	}
	forms := encodings(text)
	for i, form := range forms {
		if seen := []sighting{{xml: []byte("<x>" + string(form) + "</x>")}}; !find(seen, text) {
			t.Errorf("form %d is not found: %s", i, form)
		}
	}
	if seen := []sighting{data("eHh4aGVsbG8gYm9iLCB0aGUgc2VydmVy"), data("IGNhbm5vdCByZWFkIHRoaXM=")}; !find(seen, text) {
		t.Error("not found across blocks")
	}
	if seen := []sighting{data("eHh4aGVsbG8gYm9iLCB0aGUgc2VydmVy"), data("IGNhbiByZWFkIHRoaXM=")}; find(seen, text) {
		t.Error("found where it is not")
	}
}

func TestStanzaName(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"<iq type='set'><jingle xmlns='urn:xmpp:jingle:1' action='session-initiate'/></iq>", "session-initiate"},
		{"<iq type='set'><data xmlns='http://jabber.org/protocol/ibb' seq='0'>AA==</data></iq>", "data"},
		{"<iq type='result'><credit xmlns='urn:xmpp:xtls:1'/></iq>", acknowledgement},
		{"<message type='headline'><propose xmlns='urn:xmpp:jingle-message:0'/></message>", "propose"},
		{"<presence type='unavailable'/>", "presence unavailable"},
	} {
		if got := stanzaName([]byte(tt.in)); got != tt.want {
			t.Errorf("stanzaName(%s) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

// The manual page has everything, in valid roff.
func TestMan(t *testing.T) {
	code, out, _ := inProcess(t, "man")
	if code != 0 || !strings.HasPrefix(out, ".TH XTLS-DEMO 1\n") {
		t.Fatalf("exit code %d: %.60q", code, out)
	}
	a := &app{ui: newUI(io.Discard, io.Discard)}
	root := a.root()
	plain := strings.ReplaceAll(out, `\-`, "-")
	for _, c := range root.Commands() {
		if !c.Hidden && !strings.Contains(plain, ".SS "+strings.TrimPrefix(c.UseLine(), "xtls-demo ")) {
			t.Errorf("no command %s", c.Name())
		}
	}
	for _, want := range []string{
		"--jid JID", "--password-file FILE", "--server HOST:PORT", "--server-ca FILE", "--ca FILE", "--config DIR", "--security SECURITY", "--path WAY", "--block-size OCTETS", "--min-level LEVEL", "--accept-new", "--yes-code-from-stdin", "--timeout DURATION",
		"--json", "-q, --quiet", "-v, --verbose", "--service NAME=HOST:PORT", "--stdio", "--allow JID", "--once", "-c, --count NUMBER", "-i, --interval DURATION",
		"--listen HOST:PORT", "--listen-tls", "--user NAME:PASSWORD-FILE", "--domain", "--ca-out", "--qr", "peers pin JID FINGERPRINT", "peers forget JID", "peers revoke JID FINGERPRINT",
		"--method METHOD", ".SS verify JID", "sas         the code to compare", "verified    a peer was verified",
		"XTLS_PASSWORD", "config.toml", "known_peers", "130 interrupted", ".SH EVENTS",
	} {
		if !strings.Contains(plain, want) {
			t.Errorf("want %q", want)
		}
	}
	request := strings.Fields(".TH .SH .SS .TP .B .PP .br .nf .fi")
	for i, line := range strings.Split(out, "\n") {
		name, _, _ := strings.Cut(line, " ")
		known := false
		for _, r := range request {
			known = known || r == name
		}
		if strings.HasPrefix(line, ".") && !known || strings.HasPrefix(line, "'") {
			t.Errorf("line %d: %q", i+1, line)
		}
	}
}

func TestRoff(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"plain", "plain"}, {"--flag", `\-\-flag`}, {`a\b`, `a\eb`}, {".dot", `\&.dot`}, {"'quote", `\&'quote`},
	} {
		if got := roff(tt.in); got != tt.want {
			t.Errorf("roff(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

// Every global flag can be set by its variable.
func TestEveryFlagHasAVariable(t *testing.T) {
	values := map[string]string{
		"jid": "x@y", "password-file": "f", "server": "h:1", "server-ca": "c", "ca": "a", "config": t.TempDir(),
		"security": "dtls", "path": "relay", "block-size": "1024",
		"min-level": "verified", "accept-new": "true", "yes-code-from-stdin": "true", "timeout": "7s", "json": "true", "quiet": "true", "verbose": "2",
	}
	a := &app{streams: streams{strings.NewReader(""), io.Discard, io.Discard}, ui: newUI(io.Discard, io.Discard)}
	a.getenv = func(name string) string {
		return values[strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "XTLS_"), "_", "-"))]
	}
	root := a.root()
	root.SetArgs([]string{"version"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	seen := 0
	root.PersistentFlags().VisitAll(func(f *pflag.Flag) {
		seen++
		if want, ok := values[f.Name]; !ok || f.Value.String() != want {
			t.Errorf("--%s is %q, want %q", f.Name, f.Value, want)
		}
	})
	if seen != len(values) {
		t.Errorf("%d flags, %d tested", seen, len(values))
	}
}

func TestVersion(t *testing.T) {
	code, out, _ := inProcess(t, "version")
	if code != 0 || !strings.HasPrefix(out, "xtls-demo ") || !strings.Contains(out, "(go1.") {
		t.Errorf("exit code %d: %q", code, out)
	}
}

// What is drawn is what was encoded, with a margin.
func TestHalfBlocks(t *testing.T) {
	code, err := qr.Encode(cardURI(testBob, fingerprint.Fingerprint{1}), qr.M)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(halfBlocks(code), "\n")
	for y := -quietZone; y < code.Size+quietZone; y++ {
		line := []rune(lines[(y+quietZone)/2])
		for x := -quietZone; x < code.Size+quietZone; x++ {
			c := line[x+quietZone]
			light := c == '█' || c == '▀' && (y+quietZone)%2 == 0 || c == '▄' && (y+quietZone)%2 == 1
			if light == code.Black(x, y) {
				t.Fatalf("module %d,%d is wrong", x, y)
			}
		}
	}
	if got, want := cardURI(testBob, fingerprint.Fingerprint{1}), "xmpp:bob@example.net?xtls-fp=01"+strings.Repeat("0", 62); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A reader of standard output that goes away ends nc, quietly.
func TestOutputGone(t *testing.T) {
	dir, config := scene(t)
	path, err := exec.LookPath("xtls-demo")
	if err != nil {
		t.Fatal(err)
	}
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(path, args...)
		cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
		return cmd
	}
	stderr := newWatched()
	serve := command("serve", "--stdio", "--once", "--accept-new", config("bob"))
	serve.Stderr = stderr
	in, err := serve.StdinPipe()
	if err == nil {
		err = serve.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if !stderr.await("ready ") {
		t.Fatal(stderr)
	}
	nc := command("nc", "bob@localhost", "--accept-new", "-q", config("alice"))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ncErr := newWatched()
	nc.Stdout, nc.Stderr = w, ncErr
	held, err := nc.StdinPipe() // open: only the output ends it
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := errors.Join(nc.Start(), w.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "nobody reads this"); err != nil {
		t.Fatal(err)
	}
	if code := codeOf(nc.Wait()); code != 1 || ncErr.String() != "" {
		t.Errorf("exit code %d, %q", code, ncErr)
	}
	_ = in.Close() // it may have ended
	_ = serve.Wait()
}
