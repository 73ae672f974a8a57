// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"example.org/xtls/jingle/jingletest"
	"example.org/xtls/transport"
	"example.org/xtls/transport/ibb"
	"example.org/xtls/transport/transporttest"
)

// Two clients, here on sessions in memory, negotiate a stream and use it. In the product a Jingle
// session takes the part of transporttest.Pipe.
func Example() {
	alba, bruno, done := jingletest.Open()
	defer done()
	ta, err := ibb.New(ibb.Config{Stanzas: alba})
	if err != nil {
		log.Fatal(err)
	}
	defer ta.Close(nil)
	tb, err := ibb.New(ibb.Config{Stanzas: bruno, BlockSize: 2048})
	if err != nil {
		log.Fatal(err)
	}
	defer tb.Close(nil)
	alba.Serve(ibb.Handle(ta))
	bruno.Serve(ibb.Handle(tb))

	ctx := context.Background()
	initiator, responder := transporttest.Pipe()
	greeted := make(chan struct{})
	go func() {
		defer close(greeted)
		c, err := tb.Connect(ctx, &transport.Negotiation{Peer: alba.LocalAddr(), Signal: responder})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprintf(c, "hello %v", c.RemoteAddr().(ibb.Addr).JID)
		c.Close() // returns when alba has it
	}()

	c, err := ta.Connect(ctx, &transport.Negotiation{Peer: bruno.LocalAddr(), Initiator: true, Signal: initiator})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 100)
	for err == nil {
		var n int
		n, err = c.Read(buf)
		fmt.Printf("%s", buf[:n])
	}
	<-greeted
	fmt.Println("\nclosed by peer:", errors.Is(err, transport.ErrClosedByPeer))
	fmt.Println("block-size:", c.(*ibb.Conn).BlockSize())
	// Output:
	// hello alba@isle.example/desk
	// closed by peer: true
	// block-size: 2048
}
