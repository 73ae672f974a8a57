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

// victim is set in the process that TestKilledBetweenCommitAndResult kills: the
// directory with what it needs.
const victim = "XTLS_TEST_VICTIM"

// runVictim is alice, up to the moment when her user sees the code. Then she says
// so and waits to be killed.
func runVictim(dir string) error {
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
		Verify: func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
			return v.SAS(ctx, func(context.Context, sas.Code) (sas.Result, error) {
				fmt.Println("the code is shown")
				select {}
			})
		},
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
		t.Fatal(runVictim(dir))
	}
	s := xtlstest.NewServer(t, xtlstest.Config{Accounts: map[string]string{"alice": "pw"}})
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), s.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	bCfg := xtlstest.ClientConfig(t, s, "bob")
	bCfg.Verify = func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
		return v.SAS(ctx, func(ctx context.Context, _ sas.Code) (sas.Result, error) {
			<-ctx.Done()
			return sas.GaveUp, context.Cause(ctx)
		})
	}
	bob := xtlstest.NewClient(t, s, "bob", bCfg)
	l, err := bob.Listen()
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan error, 1)
	go func() {
		o, err := l.Next(t.Context())
		if err == nil {
			_, err = o.Accept(t.Context())
		}
		accepted <- err
	}()

	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestKilledBetweenCommitAndResult$")
	cmd.Env = append(os.Environ(), victim+"="+dir, "XTLS_TEST_SERVER="+s.Addr(), "XTLS_TEST_PEER="+bob.LocalAddr().String())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "the code is shown\n" {
		t.Errorf("the process said %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed

	store, err := fingerprint.Open(filepath.Join(dir, "known_peers"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := store.Peer(jid.MustParse("bob@localhost"))
	if err != nil || p.SASFailures != 1 || p.Interrupted != 1 {
		t.Errorf("after the kill: %+v, %v; want one failure and one interruption", p, err)
	}
	if rec, err := store.Records(); err != nil || len(rec) != 0 {
		t.Errorf("a key was pinned: %v, %v", rec, err)
	}
	// The other end notices that the process is gone.
	if err := <-accepted; err == nil {
		t.Error("bob has a tunnel to a process that is gone")
	}
	if p := facts(t, bCfg, "alice@localhost"); p.SASFailures != 1 || p.Interrupted != 1 {
		t.Errorf("bob remembers %+v", p)
	}
}
