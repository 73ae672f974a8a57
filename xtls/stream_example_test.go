// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls_test

import (
	"context"
	"fmt"
	"io"
	"log"

	"mellium.im/xmpp/disco"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/ping"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/xtls"
)

// What packages of mellium.im/xmpp do over a server, here service discovery, they do
// over a tunnel with the peer itself.
func ExampleStream() {
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
	ctx := context.Background()
	go func() {
		offer, err := listener.Next(ctx)
		if err != nil || !offer.App.IsXMLStream() {
			return
		}
		conn, err := offer.Accept(ctx)
		if err != nil {
			return
		}
		defer conn.Close()
		session, err := xtls.Stream(ctx, conn)
		if err != nil {
			return
		}
		handlers := mux.New(stanza.NSClient, disco.Handle(), ping.Handle(), xtls.HandleCertificate(conn))
		_ = session.Serve(xtls.Protect(handlers, nil))
	}()

	conn, err := alice.Dial(ctx, bob.LocalAddr(), xtls.XMLStream())
	if err != nil {
		log.Fatal(err)
	}
	session, err := xtls.Stream(ctx, conn)
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- session.Serve(xtls.Protect(mux.New(stanza.NSClient), nil)) }()

	info, err := disco.GetInfo(ctx, "", session.RemoteAddr(), session)
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range info.Features {
		if f.Var == ping.NS {
			fmt.Println("bob answers pings")
		}
	}
	cert, err := xtls.PeerCertificate(ctx, session, conn)
	fmt.Println("the certificate of the handshake:", err == nil && cert != nil)

	_ = session.Close()           // our end of the stream
	fmt.Println("bob:", <-served) // has closed his
	_ = conn.Close()
	// Output:
	// bob answers pings
	// the certificate of the handshake: true
	// bob: <nil>
}
