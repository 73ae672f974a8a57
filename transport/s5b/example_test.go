// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"

	"example.org/xtls/jingle/jingletest"
	"example.org/xtls/transport"
	"example.org/xtls/transport/s5b"
	"example.org/xtls/transport/transporttest"
)

// Two clients on one machine negotiate a connection from one to the other and use it. Their
// sessions are in memory; in the product a Jingle session takes the part of transporttest.Pipe.
func Example() {
	alba, bruno, done := jingletest.Open()
	defer done()
	ta, err := s5b.New(s5b.Config{Stanzas: alba})
	if err != nil {
		log.Fatal(err)
	}
	defer ta.Close(nil)
	tb, err := s5b.New(s5b.Config{Stanzas: bruno})
	if err != nil {
		log.Fatal(err)
	}
	defer tb.Close(nil)

	ctx := context.Background()
	initiator, responder := transporttest.Pipe()
	greeted := make(chan struct{})
	go func() {
		defer close(greeted)
		c, err := tb.Connect(ctx, &transport.Negotiation{Peer: alba.LocalAddr(), Direct: true, Signal: responder})
		if err != nil {
			log.Fatal(err) // with errors.Is(err, s5b.ErrNoCandidate): use transport/ibb
		}
		fmt.Fprint(c, "hello")
		c.Close()
	}()

	c, err := ta.Connect(ctx, &transport.Negotiation{
		Peer: bruno.LocalAddr(), Initiator: true, Direct: true, Signal: initiator,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	text, err := io.ReadAll(c)
	<-greeted
	fmt.Printf("%s, path %s\n", text, c.Path())
	fmt.Println("closed by peer:", errors.Is(err, transport.ErrClosedByPeer))
	// Output:
	// hello, path direct
	// closed by peer: true
}
