// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package sas_test

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"

	"example.org/xtls/sas"
)

// Two ends of one tunnel verify each other. The frames, which are handed over
// here, travel sealed in a program.
func Example() {
	// Both ends have the same 32 octets from the exporter of their handshake.
	exporter := []byte("0123456789abcdef0123456789abcdef")
	keys, err := sas.DeriveKeys(func(purpose string, n int) ([]byte, error) {
		return hkdf.Expand(sha256.New, exporter, purpose, n)
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	alice, bob := end(sas.Initiator, keys), end(sas.Responder, keys)

	// Bob asks, so Alice, who opened the tunnel, begins. A frame is answered until
	// there is nothing left to say.
	counted := make(map[*sas.Exchange]bool)
	frame, err := bob.Start()
	for to, from := alice, bob; frame != nil && err == nil; to, from = from, to {
		fmt.Printf("%v, %d octets\n", frame.Type, 2+len(frame.Body))
		frame, err = to.Step(*frame)
		if to.Committed() && !counted[to] {
			counted[to] = true
			fmt.Printf("the counter goes to disk before %v leaves\n", frame.Type)
		}
	}
	if err != nil {
		fmt.Println(err)
		return
	}

	// Each user types what the other one reads out on the telephone.
	a, _ := alice.Code()
	b, _ := bob.Code()
	fmt.Println("Bob read Alice's code right:", a.Matches(sas.FormB32, b.B32Grouped()))
	verdict, err := alice.Decide(sas.Match)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := bob.Step(*verdict); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("Alice:", alice.Outcome())
	fmt.Println("Bob, whose user has not said anything:", bob.Outcome())
	// Output:
	// REQUEST, 2 octets
	// the counter goes to disk before COMMIT leaves
	// COMMIT, 34 octets
	// the counter goes to disk before NONCE leaves
	// NONCE, 34 octets
	// REVEAL, 34 octets
	// Bob read Alice's code right: true
	// Alice: match
	// Bob, whose user has not said anything: open
}

func end(role sas.Role, keys sas.Keys) *sas.Exchange {
	series, err := sas.New(role, keys)
	if err != nil {
		panic(err)
	}
	x, err := series.Exchange()
	if err != nil {
		panic(err)
	}
	return x
}
