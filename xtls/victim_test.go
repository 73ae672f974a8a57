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
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/sas"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// A user verifies by a method: "sas", "password" or "code typed by" I or R. The
// initiator waits until the responder has asked for it.
type user struct {
	method string
	decide <-chan struct{}                       // the codes are equal; nil: never
	shows  *xtls.Code                            // to the peer's user
	heard  func(context.Context) (string, error) // what the peer's user reads out
}

// verify is [xtls.Config.Verify].
func (u user) verify(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
	if v.Initiator {
		if _, err := v.Wanted(ctx); err != nil {
			return xtls.LevelNone, err
		}
	}
	switch {
	case u.method == "sas":
		return v.SAS(ctx, u.compare)
	case u.method == "password":
		secret, err := xtls.ParsePassword("known to two")
		if err != nil {
			return xtls.LevelNone, err
		}
		return v.Password(ctx, secret)
	case v.Initiator == strings.HasSuffix(u.method, "by I"):
		return v.TypeCode(ctx, func(ctx context.Context) (xtls.Secret, error) {
			heard, err := u.heard(ctx)
			if err != nil {
				return xtls.Secret{}, err
			}
			return xtls.ParseCode(heard)
		})
	default:
		return v.ShowCode(ctx, u.shows)
	}
}

func (u user) compare(ctx context.Context, _ sas.Code) (sas.Result, error) {
	select {
	case <-u.decide:
		return sas.Match, nil
	case <-ctx.Done():
		return sas.GaveUp, context.Cause(ctx)
	}
}

// Names of what the process that is killed gets in its environment.
const (
	victimDir    = "XTLS_TEST_VICTIM" // where its files are; only set in that process
	victimMethod = "XTLS_TEST_METHOD"
	victimCode   = "XTLS_TEST_CODE" // the one-time code that its user hears
	victimServer = "XTLS_TEST_SERVER"
	victimPeer   = "XTLS_TEST_PEER" // whom it dials; "" if it is dialled
)

// runVictim is alice in the process that is killed, and does not return there. She
// prints her address, and the one-time code if it is for her to show it; a line that
// she reads is the word to decide.
func runVictim(t *testing.T) {
	t.Helper()
	if dir := os.Getenv(victimDir); dir != "" {
		t.Fatalf("alice lives: %v", beVictim(t.Context(), dir))
	}
}

func beVictim(ctx context.Context, dir string) error {
	decide := make(chan struct{})
	go func() {
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err == nil {
			close(decide)
		}
	}()
	u := user{
		method: os.Getenv(victimMethod), decide: decide, shows: xtls.NewCode(),
		heard: func(context.Context) (string, error) { return os.Getenv(victimCode), nil },
	}
	alice, err := connectVictim(ctx, dir, u)
	if err != nil {
		return err
	}
	l, err := alice.Listen()
	if err != nil {
		return err
	}
	fmt.Printf("%s\n%s\n", alice.LocalAddr(), u.shows.Display())
	if peer := os.Getenv(victimPeer); peer != "" {
		_, err = alice.Dial(ctx, jid.MustParse(peer), xtls.Tunnel(""))
		return err
	}
	o, err := l.Next(ctx)
	if err != nil {
		return err
	}
	_, err = o.Accept(ctx)
	return err
}

func connectVictim(ctx context.Context, dir string, u user) (*xtls.Client, error) {
	addr := jid.MustParse("alice@localhost")
	id, err := fingerprint.OpenIdentity(filepath.Join(dir, "identity.pem"), addr)
	if err != nil {
		return nil, err
	}
	store, err := fingerprint.Open(filepath.Join(dir, "known_peers"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return xtls.Connect(ctx, addr, "pw", &xtls.Config{
		Certificate: id, Trust: store, Verify: u.verify, Path: xtls.PathInBand,
		Server: os.Getenv(victimServer), ServerTLS: &tls.Config{RootCAs: roots},
	})
}

// An execution is alice in a process of her own, which a server of her own kills, and
// bob in this one.
type execution struct {
	dir  string        // alice's
	dead chan struct{} // closed when she is
	bob  *xtls.Config

	death   death
	client  *xtls.Client   // bob's
	offers  *xtls.Listener // bob's, open before alice dials
	address jid.JID        // alice's
	code    string         // the one-time code that alice shows
}

// newExecution starts the process. There is no tunnel before bob takes part.
func newExecution(t *testing.T, d death) *execution {
	t.Helper()
	decide := make(chan struct{})
	w := &watch{death: d, seen: make(map[bool]int), named: make(map[string]string)}
	s := xtlstest.NewServer(t, xtlstest.Config{Accounts: map[string]string{"alice": "pw"}, Tamper: w.tamper})
	e := &execution{death: d, dir: t.TempDir(), dead: make(chan struct{}), bob: xtlstest.ClientConfig(t, s, "bob")}
	if err := os.WriteFile(filepath.Join(e.dir, "ca.pem"), s.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	u := user{method: d.method, decide: decide, shows: xtls.NewCode(), heard: e.hear}
	e.bob.Verify, e.bob.Path = u.verify, xtls.PathInBand
	e.client = xtlstest.NewClient(t, s, "bob", e.bob)
	var err error
	if e.offers, err = e.client.Listen(); err != nil {
		t.Fatal(err)
	}

	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), victimDir+"="+e.dir, victimMethod+"="+d.method, victimCode+"="+u.shows.Display(), victimServer+"="+s.Addr())
	if d.dialler() {
		cmd.Env = append(cmd.Env, victimPeer+"="+e.client.LocalAddr().String())
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	w.kill = sync.OnceFunc(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Errorf("kill: %v", err)
		}
		_ = cmd.Wait() // it was killed
		close(e.dead)
	})
	w.cue = func(initiator bool) {
		if initiator == d.dialler() {
			_, _ = io.WriteString(in, "decide\n") // she may have died
			return
		}
		close(decide)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.kill)
	e.read(t, bufio.NewReader(out))
	return e
}

// read reads what the process has to say.
func (e *execution) read(t *testing.T, out *bufio.Reader) {
	t.Helper()
	address, _ := out.ReadString('\n')
	code, err := out.ReadString('\n')
	if err != nil {
		t.Fatalf("alice said %q, %q, %v", address, code, err)
	}
	e.code = strings.TrimSpace(code)
	if e.address, err = jid.Parse(strings.TrimSpace(address)); err != nil {
		t.Fatal(err)
	}
}

// hear is for bob to type what alice shows. As the responder he takes his time.
func (e *execution) hear(ctx context.Context) (string, error) {
	if e.death.dialler() {
		<-ctx.Done()
		return "", context.Cause(ctx)
	}
	return e.code, nil
}

// survive is bob's end of the tunnel, which does not come about.
func (e *execution) survive(ctx context.Context) error {
	if !e.death.dialler() {
		_, err := e.client.Dial(ctx, e.address, xtls.Tunnel(""))
		return err
	}
	o, err := e.offers.Next(ctx)
	if err == nil {
		_, err = o.Accept(ctx)
	}
	return err
}
