// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// The exit codes of xtls-demo. They are a contract, so they are written down here
// once more.
const (
	exitDone        = 0
	exitServer      = 3 // own server: DNS, TLS, login
	exitOffline     = 4 // peer offline or without XTLS
	exitUnknown     = 5 // peer unknown and nobody to ask
	exitAlarm       = 6 // key changed, or tampered with
	exitDeclined    = 7
	exitLost        = 9
	exitInterrupted = 130

	anyExit = -1 // whichever: it depends on who is faster
)

// A program is a running xtls-demo.
type program struct {
	*child
	t      testing.TB
	events *output // where its JSON events go
}

// An event is one line of JSON.
type event map[string]any

// text returns a field that is a string.
func (e event) text(name string) string {
	s, _ := e[name].(string)
	return s
}

// number returns a field that is a number, -1 if there is none.
func (e event) number(name string) int {
	n, ok := e[name].(float64)
	if !ok {
		return -1
	}
	return int(n)
}

// startProgram starts xtls-demo with --json and these arguments.
func startProgram(t testing.TB, name string, args ...string) *program {
	t.Helper()
	p := &program{child: startChild(t, name, exec.Command(build(t), append([]string{"--json"}, args...)...)), t: t}
	p.events = p.stdout
	if slices.Contains(args, "nc") || slices.Contains(args, "--stdio") {
		p.events = p.stderr // standard output carries the data
	}
	return p
}

// say writes to the standard input of the program.
func (p *program) say(data []byte) {
	p.t.Helper()
	if _, err := p.stdin.Write(data); err != nil {
		p.t.Fatalf("%s: standard input: %v", p.name, err)
	}
}

// hangUp ends the standard input of the program.
func (p *program) hangUp() {
	p.t.Helper()
	if err := p.stdin.Close(); err != nil {
		p.t.Fatalf("%s: standard input: %v", p.name, err)
	}
}

// feed writes data to standard input and ends it, in the background: a program that
// ends first does not read all of it. The returned channel is closed afterwards.
func (p *program) feed(data []byte) <-chan struct{} {
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		_, _ = p.stdin.Write(data)
		_ = p.stdin.Close()
	}()
	p.t.Cleanup(func() { // before the program is waited for
		p.kill()
		<-fed
	})
	return fed
}

// find returns the first event of this name so far, nil if there is none.
func find(text []byte, name string) event {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.text("ev") == name {
			return e
		}
	}
	return nil
}

// event waits for an event of this name.
func (p *program) event(name string) event {
	p.t.Helper()
	p.await(p.t, "event "+name, p.events, patience, func(text []byte, _ bool) bool { return find(text, name) != nil })
	return find(p.events.bytes(), name)
}

// happened returns the event of this name, nil if there was none so far.
func (p *program) happened(name string) event { return find(p.events.bytes(), name) }

// exit waits for the end of the program and checks its exit code, and that the last
// event says the same. It returns what that says as the reason.
func (p *program) exit(want int) string {
	p.t.Helper()
	return p.exitWithin(patience, want)
}

func (p *program) exitWithin(within time.Duration, want int) string {
	p.t.Helper()
	if !p.ended(within) {
		p.t.Fatalf("%s did not end within %v", p.name, within)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != want && want != anyExit {
		p.t.Errorf("%s ended with code %d, want %d", p.name, got, want)
	}
	lines := bytes.Split(bytes.TrimSpace(p.events.bytes()), []byte("\n"))
	var last event
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil || last.text("ev") != "exit" || last.number("code") != p.cmd.ProcessState.ExitCode() {
		p.t.Errorf("%s: the last event is %q", p.name, lines[len(lines)-1])
	}
	why := last.text("why")
	if why == "" || bytes.ContainsRune([]byte(why), '\n') {
		p.t.Errorf("%s: the reason is not one line: %q", p.name, why)
	}
	return why
}

// received checks what the program wrote to standard output.
func (p *program) received(want []byte) {
	p.t.Helper()
	if got := p.stdout.bytes(); !bytes.Equal(got, want) {
		p.t.Errorf("%s printed %d octets that are not the %d that were sent", p.name, len(got), len(want))
	}
}

// receivedStart checks that what the program wrote to standard output is what was
// sent, as far as it goes.
func (p *program) receivedStart(sent []byte) {
	p.t.Helper()
	if got := p.stdout.bytes(); !bytes.HasPrefix(sent, got) {
		p.t.Errorf("%s printed %d octets, not all of which were sent", p.name, len(got))
	}
}
