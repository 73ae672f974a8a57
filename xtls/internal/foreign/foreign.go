// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

// Package foreign runs the TLS stacks of others for tests: the programs of OpenSSL and
// GnuTLS, as child processes that end with the test, with the certificates of the test.
//
// Where a program is missing the test is skipped and says what to install. With
// XTLS_INTEGRATION=required, as integration/check sets it, that is a failure.
package foreign

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"
)

// patience bounds each wait for a program.
const patience = 30 * time.Second

// A Program is a child process.
type Program struct {
	t     testing.TB
	name  string
	stdin io.WriteCloser

	mu      sync.Mutex // guards what follows
	text    []byte     // all that it printed
	changed chan struct{}
	ended   bool
}

// Start starts a program. It is killed at the end of the test, and what it printed is shown if
// the test has failed.
func Start(t testing.TB, name string, args ...string) *Program {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		missing := name + " is not installed: these tests need OpenSSL and GnuTLS (Debian and Ubuntu: apt-get install openssl gnutls-bin)"
		if os.Getenv("XTLS_INTEGRATION") == "required" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	p := &Program{t: t, name: name, changed: make(chan struct{})}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = p, p
	cmd.WaitDelay = patience
	var err error
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // it was killed, or what it printed says why
		p.add(nil, true)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = p.stdin.Close()
		<-done
		if t.Failed() {
			t.Logf("%s printed:\n%s", name, bytes.ToValidUTF8(p.text, []byte("\uFFFD")))
		}
	})
	return p
}

// Write takes what the program prints.
func (p *Program) Write(b []byte) (int, error) {
	p.add(b, false)
	return len(b), nil
}

func (p *Program) add(b []byte, ended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = append(p.text, b...)
	p.ended = p.ended || ended
	close(p.changed)
	p.changed = make(chan struct{})
}

// Send writes to the program's standard input.
func (p *Program) Send(b []byte) {
	p.t.Helper()
	if _, err := p.stdin.Write(b); err != nil {
		p.t.Fatalf("%s takes no input: %v", p.name, err)
	}
}

// EndInput closes the program's standard input.
func (p *Program) EndInput() { _ = p.stdin.Close() }

// Await waits until the program has printed what pattern matches and returns its last group.
func (p *Program) Await(pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		p.mu.Lock()
		match, changed, ended := re.FindSubmatch(p.text), p.changed, p.ended
		p.mu.Unlock()
		if match != nil {
			return string(match[len(match)-1])
		}
		if ended {
			p.t.Fatalf("%s ended and did not print %s", p.name, pattern)
		}
		select {
		case <-changed:
		case <-timeout.C:
			p.t.Fatalf("%s did not print %s within %v", p.name, pattern, patience)
		}
	}
}

// KeyingMaterial waits for what the program exported (-keymatexport, --keymatexport).
func (p *Program) KeyingMaterial() []byte {
	p.t.Helper()
	b, err := hex.DecodeString(p.Await(`(?i)(?:keying material|key material): ([0-9a-f]{64})`))
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// Files writes a certificate and its key as PEM files.
func Files(t testing.TB, cert tls.Certificate) (certFile, keyFile string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert.Certificate[0]},
		keyFile:  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}
