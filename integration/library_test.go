// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls"
)

// libraryConfig is what a program that uses the library says about itself.
func libraryConfig(t testing.TB, p *server, account jid.JID) *xtls.Config {
	t.Helper()
	id, err := fingerprint.NewIdentity(account)
	if err != nil {
		t.Fatal(err)
	}
	return &xtls.Config{
		Certificate: id,
		Trust:       fingerprint.NewMemory(),
		Verify: func(context.Context, *xtls.Verification) (xtls.Level, error) {
			return xtls.LevelServerVouched, nil
		},
		Server:    "xmpps://" + p.direct,
		ServerTLS: &tls.Config{RootCAs: authority(t, p.ca)},
	}
}

// authority reads a certificate.
func authority(t testing.TB, file string) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatalf("%s holds no certificate", file)
	}
	return pool
}

// connect logs a client of the library in, for tunnels in-band. It is closed at the end
// of the test.
func connect(t testing.TB, s *server, name string) *xtls.Client {
	t.Helper()
	return connectWith(t, s, name, func(*xtls.Config) {})
}

// connectSized is connect with a BlockSize.
func connectSized(t testing.TB, s *server, name string, block int) *xtls.Client {
	t.Helper()
	return connectWith(t, s, name, func(cfg *xtls.Config) { cfg.BlockSize = block })
}

// connectBy is connect for tunnels on a path.
func connectBy(t testing.TB, s *server, name string, path xtls.Path) *xtls.Client {
	t.Helper()
	return connectWith(t, s, name, func(cfg *xtls.Config) { cfg.Path = path })
}

// connectOver is connect for tunnels that are protected by a Security.
func connectOver(t testing.TB, s *server, name string, security xtls.Security) *xtls.Client {
	t.Helper()
	return connectWith(t, s, name, func(cfg *xtls.Config) { cfg.Security = security })
}

// connectWith is connect with a changed configuration.
func connectWith(t testing.TB, s *server, name string, change func(cfg *xtls.Config)) *xtls.Client {
	t.Helper()
	account, err := jid.New(name, domain, "")
	if err != nil {
		t.Fatal(err)
	}
	cfg := libraryConfig(t, s, account)
	cfg.Path = xtls.PathInBand
	change(cfg)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := xtls.Connect(ctx, account, passwordOf(name), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// tunnels opens n tunnels from one client to another one that listens, some at a
// time, and returns the ends of both, of which those with the same index belong
// together. They are closed with their clients.
func tunnels(ctx context.Context, from, to *xtls.Client, n int) (dialled, accepted []*xtls.Conn, err error) {
	l, err := to.Listen()
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Dials end in any order, so the ends find each other by the service.
	dialled, accepted = make([]*xtls.Conn, n), make([]*xtls.Conn, n)
	var work sync.WaitGroup
	work.Go(func() {
		for range n {
			o, err := l.Next(ctx)
			if err != nil {
				cancel(err)
				return
			}
			work.Go(func() {
				var i int
				_, err := fmt.Sscanf(o.App.Service, "n%d", &i)
				if err == nil {
					accepted[i], err = o.Accept(ctx)
				}
				if err != nil {
					cancel(err)
				}
			})
		}
	})
	next := make(chan int)
	for range dialsAtOnce {
		work.Go(func() {
			for i := range next {
				var err error
				if dialled[i], err = from.Dial(ctx, to.LocalAddr(), xtls.Tunnel(fmt.Sprintf("n%d", i))); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	work.Wait()
	return dialled, accepted, context.Cause(ctx)
}

// dialsAtOnce is how many offers one peer may have pending (jingle.MaxOffersPerPeer).
const dialsAtOnce = 4

// TestLibrary: what a Go developer uses, without the command line.
func TestLibrary(t *testing.T) {
	t.Parallel()
	p := startProsody(t, prosodyOptions{})
	alice, bob := connect(t, p, "alice"), connect(t, p, "bob")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l, err := bob.Listen()
	if err != nil {
		t.Fatal(err)
	}
	var echo sync.WaitGroup
	defer echo.Wait()
	defer l.Close()
	echo.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			t.Errorf("Accept: %v", err)
			return
		}
		defer conn.Close()
		if _, err := io.Copy(conn, conn); err != nil {
			t.Errorf("echo: %v", err)
		}
	})
	found, err := alice.Find(ctx, bob.LocalAddr().Bare(), xtls.Tunnel("echo"))
	if err != nil || len(found) != 1 || !found[0].Equal(bob.LocalAddr()) {
		t.Fatalf("Find = %v, %v", found, err)
	}
	conn, err := alice.Dial(ctx, found[0], xtls.Tunnel("echo"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if s := conn.State(); s.Fingerprint != bob.Fingerprint() || s.Level != xtls.LevelServerVouched || s.TLSVersion != tls.VersionTLS13 || s.Draft {
		t.Errorf("State = %+v", s)
	}
	sent := randomBytes(300_000)
	var writer sync.WaitGroup
	defer writer.Wait()
	writer.Go(func() {
		if _, err := conn.Write(sent); err != nil {
			t.Errorf("Write: %v", err)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Errorf("CloseWrite: %v", err)
		}
	})
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != string(sent) {
		t.Errorf("%d octets came back, %v", len(got), err)
	}
}

// TestLibraryServerGone: the loss of the server is an error of its own everywhere.
func TestLibraryServerGone(t *testing.T) {
	t.Parallel()
	p := startProsody(t, prosodyOptions{})
	alice, bob := connect(t, p, "alice"), connect(t, p, "bob")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dialled, accepted, err := tunnels(ctx, alice, bob, 1)
	if err != nil {
		t.Fatal(err)
	}
	p.kill()
	for _, conn := range []*xtls.Conn{dialled[0], accepted[0]} {
		if err := conn.SetReadDeadline(time.Now().Add(lossTime)); err != nil {
			t.Error(err)
		}
		_, err := conn.Read(make([]byte, 1))
		if !errors.Is(err, xtls.ErrLost) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Read: %v", err)
		}
	}
	for _, c := range []*xtls.Client{alice, bob} {
		select {
		case <-c.Done():
			if !errors.Is(c.Err(), xtls.ErrLost) {
				t.Errorf("Err: %v", c.Err())
			}
		case <-ctx.Done():
			t.Error("the client did not notice")
		}
	}
}

// TestThousandTunnels: one pair of sessions carries a thousand tunnels, and each of
// them a byte both ways.
func TestThousandTunnels(t *testing.T) {
	p := startProsody(t, prosodyOptions{})
	alice, bob := connect(t, p, "alice"), connect(t, p, "bob")
	const n = 1000
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	dialled, accepted, err := tunnels(ctx, alice, bob, n)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	var work sync.WaitGroup
	failed := make(chan error, 2*n)
	pass := func(from, to *xtls.Conn, b byte) {
		var got [1]byte
		err := errors.Join(from.SetDeadline(deadline), to.SetDeadline(deadline))
		if err == nil {
			_, err = from.Write([]byte{b})
		}
		if err == nil {
			_, err = io.ReadFull(to, got[:])
		}
		if err == nil && got[0] != b {
			err = fmt.Errorf("sent %d, got %d", b, got[0])
		}
		if err != nil {
			failed <- err
		}
	}
	for i := range n { // all at the same time
		work.Go(func() {
			pass(dialled[i], accepted[i], byte(i))
			pass(accepted[i], dialled[i], byte(i>>8))
		})
	}
	work.Wait()
	if len(failed) > 0 {
		t.Errorf("%d errors in %d tunnels, the first: %v", len(failed), n, <-failed)
	}
}
