// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package mux_test

import (
	"context"
	"fmt"
	"io"
	"net"

	"example.org/xtls/xtls/mux"
)

// Two streams in one tunnel. A net.Pipe stands for the tunnel; in a program it is
// what xtls.Client.Dial and xtls.Offer.Accept return.
func Example() {
	a, b := net.Pipe()
	client, server := mux.Client(a), mux.Server(b)
	defer client.Close()

	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			stream, err := server.Accept(context.Background())
			if err != nil {
				fmt.Println("the end:", err)
				_ = server.Close()
				return
			}
			question, err := io.ReadAll(stream) // up to the half-close
			if err == nil {
				_, _ = fmt.Fprintf(stream, "%s to you", question)
			}
			_ = stream.Close()
		}
	}()

	for _, word := range []string{"hello", "good morning"} {
		stream, err := client.Open(context.Background())
		if err != nil {
			fmt.Println(err)
			return
		}
		_, _ = io.WriteString(stream, word)
		_ = stream.CloseWrite()
		answer, err := io.ReadAll(stream)
		fmt.Printf("%s, %v\n", answer, err)
		_ = stream.Close()
	}
	_ = client.Close()
	<-done
	// Output:
	// hello to you, <nil>
	// good morning to you, <nil>
	// the end: EOF
}

// A reader knows a tunnel that was cut from a peer that has said everything.
func ExampleStream_Read() {
	a, b := net.Pipe()
	client, server := mux.Client(a), mux.Server(b)
	defer client.Close()
	defer server.Close()

	stream, _ := client.Open(context.Background())
	_, _ = io.WriteString(stream, "the first half")
	peer, _ := server.Accept(context.Background())
	var first [9]byte
	_, _ = io.ReadFull(peer, first[:])
	_ = a.Close() // the line is cut

	text, err := io.ReadAll(peer)
	fmt.Printf("%s,%s: %v\n", first, text, err)
	// Output:
	// the first, half: mux: stream cut: unexpected EOF (the peer ended the tunnel)
}
