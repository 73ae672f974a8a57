// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package jingle_test

import (
	"context"
	"fmt"
	"log"

	"example.org/xtls/jingle"
	"example.org/xtls/jingle/jingletest"
)

// One side offers a session, the other accepts it. The two ends in memory stand
// for two XMPP sessions.
func Example() {
	alba, bruno, done := jingletest.Open()
	defer done()
	ha, err := jingle.New(jingle.Config{Stanzas: alba})
	if err != nil {
		log.Fatal(err)
	}
	defer ha.Close(nil)
	hb, err := jingle.New(jingle.Config{Stanzas: bruno})
	if err != nil {
		log.Fatal(err)
	}
	defer hb.Close(nil)
	alba.Serve(jingle.Handle(ha))
	bruno.Serve(jingle.Handle(hb))

	ctx := context.Background()
	offer := jingle.Content{
		Name:        "example",
		Description: jingle.Element("<description xmlns='urn:example:app'/>"),
		Transport:   jingle.Element("<transport xmlns='urn:example:transport' port='7'/>"),
	}
	joined := make(chan struct{})
	go func() {
		defer close(joined)
		s, err := hb.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("offer of", s.Peer(), "over", s.Offer().Transport.Name().Space)
		if err := s.Accept(ctx, s.Offer()); err != nil {
			log.Fatal(err)
		}
	}()

	s, err := ha.Initiate(ctx, bruno.LocalAddr(), offer)
	if err != nil {
		log.Fatal(err)
	}
	m, err := s.Recv(ctx)
	if err != nil {
		log.Fatal(err)
	}
	<-joined
	fmt.Println(m.Action, string(m.Contents[0].Transport))
	if err := s.Terminate(ctx, jingle.ReasonSuccess, ""); err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Err())

	// Output:
	// offer of alba@isle.example/desk over urn:example:transport
	// session-accept <transport xmlns='urn:example:transport' port='7'/>
	// jingle: session ended: "success"
}
