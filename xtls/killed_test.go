// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/sas"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// victim is set in the process that a test kills: the directory with what it needs.
const victim = "XTLS_TEST_VICTIM"

// runVictim is alice in the process that is killed.
func runVictim(dir string, verify func(context.Context, *xtls.Verification) (xtls.Level, error)) error {
	addr := jid.MustParse("alice@localhost")
	id, err := fingerprint.OpenIdentity(filepath.Join(dir, "identity.pem"), addr)
	if err != nil {
		return err
	}
	store, err := fingerprint.Open(filepath.Join(dir, "known_peers"))
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	ctx := context.Background()
	alice, err := xtls.Connect(ctx, addr, "pw", &xtls.Config{
		Certificate: id, Trust: store,
		Server: os.Getenv("XTLS_TEST_SERVER"), ServerTLS: &tls.Config{RootCAs: roots},
		Verify: verify,
	})
	if err != nil {
		return err
	}
	_, err = alice.Dial(ctx, jid.MustParse(os.Getenv("XTLS_TEST_PEER")), xtls.Tunnel(""))
	return err
}

// TestKilledBetweenCommitAndResult kills a process while its user compares: the
// attempt stays counted, as the peer could have been the one who saw that the
// codes differ.
func TestKilledBetweenCommitAndResult(t *testing.T) {
	if dir := os.Getenv(victim); dir != "" {
		t.Fatal(runVictim(dir, func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
			return v.SAS(ctx, func(context.Context, sas.Code) (sas.Result, error) {
				fmt.Println("the code is shown")
				select {}
			})
		}))
	}
	s, dir := deathScene(t)
	bCfg := xtlstest.ClientConfig(t, s, "bob")
	bCfg.Verify = func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
		return v.SAS(ctx, func(ctx context.Context, _ sas.Code) (sas.Result, error) {
			<-ctx.Done()
			return sas.GaveUp, context.Cause(ctx)
		})
	}
	accepted := killVictim(t, s, dir, bCfg, func(out *bufio.Reader) {
		if line, err := out.ReadString('\n'); line != "the code is shown\n" {
			t.Errorf("the process said %q, %v", line, err)
		}
	})

	p := leftBehind(t, dir)
	if p.SASFailures != 1 || p.Interrupted != 1 {
		t.Errorf("after the kill: %+v; want one failure and one interruption", p)
	}
	// The other end notices that the process is gone.
	if err := <-accepted; err == nil {
		t.Error("bob has a tunnel to a process that is gone")
	}
	if p := facts(t, bCfg, "alice@localhost"); p.SASFailures != 1 || p.Interrupted != 1 {
		t.Errorf("bob remembers %+v", p)
	}
}

// TestKilledAfterCode kills the process that shows a one-time code when its PW_A has
// arrived, before it has an answer: that the peer may have guessed stays counted.
func TestKilledAfterCode(t *testing.T) {
	if dir := os.Getenv(victim); dir != "" {
		t.Fatal(runVictim(dir, func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
			return v.ShowCode(ctx, xtls.NewCode())
		}))
	}
	s, dir := deathScene(t)
	bCfg := xtlstest.ClientConfig(t, s, "bob")
	asked := make(chan struct{})
	bCfg.Verify = func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
		return v.TypeCode(ctx, func(ctx context.Context) (xtls.Secret, error) {
			close(asked)
			<-ctx.Done()
			return xtls.Secret{}, context.Cause(ctx)
		})
	}
	accepted := killVictim(t, s, dir, bCfg, func(*bufio.Reader) { <-asked })

	if p := leftBehind(t, dir); len(p.Codes) != 1 || p.Codes[0].Tried != 1 {
		t.Errorf("after the kill: %+v; want one attempt at one code", p)
	}
	if err := <-accepted; err == nil {
		t.Error("bob has a tunnel to a process that is gone")
	}
	if p := facts(t, bCfg, "alice@localhost"); len(p.Codes) != 0 {
		t.Errorf("bob, who gave no guess away, remembers %+v", p)
	}
}

// deathScene is a server on which alice has an account, and her directory.
func deathScene(t *testing.T) (s *xtlstest.Server, dir string) {
	t.Helper()
	s = xtlstest.NewServer(t, xtlstest.Config{Accounts: map[string]string{"alice": "pw"}})
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), s.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return s, dir
}

// killVictim runs the test that calls it in another process, where it is alice who
// dials bob, and kills that when ready returns. What became of the offer comes from
// accepted.
func killVictim(t *testing.T, s *xtlstest.Server, dir string, bCfg *xtls.Config, ready func(out *bufio.Reader)) (accepted <-chan error) {
	t.Helper()
	bob := xtlstest.NewClient(t, s, "bob", bCfg)
	l, err := bob.Listen()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		o, err := l.Next(t.Context())
		if err == nil {
			_, err = o.Accept(t.Context())
		}
		done <- err
	}()

	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), victim+"="+dir, "XTLS_TEST_SERVER="+s.Addr(), "XTLS_TEST_PEER="+bob.LocalAddr().String())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready(bufio.NewReader(out))
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	return done
}

// leftBehind is what alice's store says of bob. Nothing may be pinned in it.
func leftBehind(t *testing.T, dir string) fingerprint.Peer {
	t.Helper()
	store, err := fingerprint.Open(filepath.Join(dir, "known_peers"))
	if err != nil {
		t.Fatal(err)
	}
	if rec, err := store.Records(); err != nil || len(rec) != 0 {
		t.Errorf("a key was pinned: %v, %v", rec, err)
	}
	p, err := store.Peer(jid.MustParse("bob@localhost"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
