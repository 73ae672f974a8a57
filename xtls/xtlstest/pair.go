// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest

import (
	"context"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls"
)

// pairTime bounds what the helpers of a test wait for.
const pairTime = 30 * time.Second

// A Pair is two clients, alice and bob, on a server of their own. Each trusts
// the other's key on first contact and remembers it.
type Pair struct {
	Server     *Server
	Alice, Bob *xtls.Client
}

// NewPair starts a server and logs two clients in. Everything ends with the test.
// cfg is the server's: its zero value is a friendly one.
func NewPair(t TB, cfg Config) *Pair {
	t.Helper()
	s := NewServer(t, cfg)
	return &Pair{
		Server: s,
		Alice:  NewClient(t, s, "alice", ClientConfig(t, s, "alice")),
		Bob:    NewClient(t, s, "bob", ClientConfig(t, s, "bob")),
	}
}

// ClientConfig returns a Config for the account name on s: with a new identity, an
// empty trust store in memory, and a Verify that takes what the server vouches
// for. A test changes it before it passes it to [NewClient].
func ClientConfig(t TB, s *Server, name string) *xtls.Config {
	t.Helper()
	account, err := jid.New(name, s.Domain().String(), "")
	if err != nil {
		t.Fatalf("%v", err)
	}
	id, err := fingerprint.NewIdentity(account)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return &xtls.Config{
		Certificate: id,
		Trust:       fingerprint.NewMemory(),
		Verify: func(context.Context, *xtls.Verification) (xtls.Level, error) {
			return xtls.LevelServerVouched, nil
		},
		Security:  s.cfg.Security,
		Server:    s.Addr(),
		ServerTLS: s.ClientTLS(),
	}
}

// NewClient makes the account name on s, unless it exists, and logs it in. The
// client is closed at the end of the test.
func NewClient(t TB, s *Server, name string, cfg *xtls.Config) *xtls.Client {
	t.Helper()
	const password = "correct horse"
	if err := s.AddAccount(name, password); err != nil {
		t.Fatalf("%v", err)
	}
	account, err := jid.New(name, s.Domain().String(), "")
	if err != nil {
		t.Fatalf("%v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), pairTime)
	defer cancel()
	c, err := xtls.Connect(ctx, account, password, cfg)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Tunnel opens a tunnel from one client to another and returns its two ends, in
// this order. They are closed at the end of the test.
func Tunnel(t TB, from, to *xtls.Client) (dialled, accepted *xtls.Conn) {
	t.Helper()
	return TunnelFor(t, from, to, xtls.Tunnel(""))
}

// TunnelFor is Tunnel for another application than opaque octets.
func TunnelFor(t TB, from, to *xtls.Client, app xtls.App) (dialled, accepted *xtls.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), pairTime)
	defer cancel()
	l, err := to.Listen()
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer l.Close()
	type end struct {
		conn *xtls.Conn
		err  error
	}
	accept := make(chan end, 1)
	go func() {
		o, err := l.Next(ctx)
		if err != nil {
			accept <- end{nil, err}
			return
		}
		conn, err := o.Accept(ctx)
		accept <- end{conn, err}
	}()
	dialled, err = from.Dial(ctx, to.LocalAddr(), app)
	if err != nil {
		cancel()
		<-accept
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() { _ = dialled.Close() })
	other := <-accept
	if other.err != nil {
		t.Fatalf("%v", other.err)
	}
	t.Cleanup(func() { _ = other.conn.Close() })
	return dialled, other.conn
}
