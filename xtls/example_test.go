// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// tryOut is a server in this process with the accounts alice and bob. A program of
// yours has a server already, and none of this.
func tryOut() *xtlstest.Server {
	s, err := xtlstest.Start(xtlstest.Config{Accounts: map[string]string{"alice": "secret", "bob": "secret"}})
	if err != nil {
		log.Fatal(err)
	}
	return s
}

// login connects an account with a new key and an empty store of known peers. A
// program that is run more than once keeps both, with fingerprint.OpenIdentity
// and fingerprint.Open.
func login(s *xtlstest.Server, name string) *xtls.Client {
	addr := jid.MustParse(name + "@localhost")
	id, err := fingerprint.NewIdentity(addr)
	if err != nil {
		log.Fatal(err)
	}
	client, err := xtls.Connect(context.Background(), addr, "secret", &xtls.Config{
		Certificate: id,
		Trust:       fingerprint.NewMemory(),
		Verify:      trustOnFirstUse,
		Server:      s.Addr(), // leave out both to find the server by its domain
		ServerTLS:   s.ClientTLS(),
	})
	if err != nil {
		log.Fatal(err)
	}
	return client
}

// trustOnFirstUse takes a key that has never been seen with nothing but the word
// of the servers for it. A change of the key is refused without asking.
func trustOnFirstUse(_ context.Context, v *xtls.Verification) (xtls.Level, error) {
	log.Printf("first contact with %s, key %s", v.Peer, v.Fingerprint)
	return xtls.LevelServerVouched, nil
}

// Two accounts exchange a greeting.
func ExampleClient_Dial() {
	log.SetOutput(io.Discard)
	server := tryOut()
	defer server.Close()
	alice, bob := login(server, "alice"), login(server, "bob")
	defer alice.Close()
	defer bob.Close()

	listener, err := bob.Listen()
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.Copy(conn, conn)
	}()

	ctx := context.Background()
	found, err := alice.Find(ctx, jid.MustParse("bob@localhost"), xtls.Tunnel(""))
	if err != nil {
		log.Fatal(err)
	}
	conn, err := alice.Dial(ctx, found[0], xtls.Tunnel(""))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "hello, bob")
	_ = conn.CloseWrite()
	answer, err := io.ReadAll(conn)
	fmt.Printf("%s %v\n", answer, err)
	fmt.Println("level:", conn.State().Level, "post-quantum:", conn.State().PostQuantum())
	// Output:
	// hello, bob <nil>
	// level: vouched post-quantum: true
}

// Any server and any client that use net.Listener and net.Conn work over tunnels.
func ExampleClient_Listen() {
	log.SetOutput(io.Discard)
	server := tryOut()
	defer server.Close()
	alice, bob := login(server, "alice"), login(server, "bob")
	defer alice.Close()
	defer bob.Close()

	listener, err := bob.Listen()
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello, %s", jid.MustParse(r.RemoteAddr).Bare())
	}))

	web := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return alice.Dial(ctx, bob.LocalAddr(), xtls.Tunnel("web"))
		},
	}}
	resp, err := web.Get("http://bob/")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Printf("%s %v\n", body, err)
	// Output: hello, alice@localhost <nil>
}

// An application decides about each offer, and asks its user about keys that have
// never been seen.
func ExampleListener_Next() {
	log.SetOutput(io.Discard)
	server := tryOut()
	defer server.Close()
	alice, bob := login(server, "alice"), login(server, "bob")
	defer alice.Close()
	defer bob.Close()

	listener, err := bob.Listen()
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		ctx := context.Background()
		for {
			offer, err := listener.Next(ctx)
			if err != nil {
				return
			}
			if offer.App.Service != "time" {
				_ = offer.Reject(ctx)
				continue
			}
			go func() {
				if conn, err := offer.Accept(ctx); err == nil {
					_, _ = io.WriteString(conn, "half past nine")
					_ = conn.Close()
				}
			}()
		}
	}()

	ctx := context.Background()
	_, err = alice.Dial(ctx, bob.LocalAddr(), xtls.Tunnel("money"))
	fmt.Println(err != nil)
	conn, err := alice.Dial(ctx, bob.LocalAddr(), xtls.Tunnel("time"))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	answer, err := io.ReadAll(conn)
	fmt.Printf("%s %v\n", answer, err)
	// Output:
	// true
	// half past nine <nil>
}
