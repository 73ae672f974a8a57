// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package cpace_test

import (
	"errors"
	"fmt"
	"time"

	"example.org/xtls/xtls/internal/cpace"
)

// Two people verify each other with a one-time code that one reads to the other.
func Example() {
	// Both ends see the same tunnel, so both fill in the same context.
	ctx := cpace.Context{
		SID:          [32]byte{1}, // K("cpace sid", ...), from the exporter
		InitiatorJID: "alba@isle.example", ResponderJID: "bruno@moor.example",
		FPI: [32]byte{2}, FPR: [32]byte{3}, // SHA-256 of the certificates
		NH: [32]byte{4},
	}
	var slot cpace.Slot // one invitation only
	const run = 1

	bruno, display := cpace.NewCode() // Bruno reads it out
	alba, err := cpace.ParseCode(display)
	if err != nil {
		fmt.Println(err)
		return
	}

	onDisk := cpace.CodeAttempts{Made: time.Now()} // Alba's; Bruno has his own
	next, err := onDisk.Begin(time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}

	i, frame, err := cpace.Initiate(alba, run, slot, ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := cpace.Respond(bruno, run, slot, ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	onDisk = next // before PW_A leaves

	for to, other := r, i; frame != nil; to, other = other, to {
		fmt.Println(frame, "- count first:", frame.Counts())
		reply, err := to.Step(frame)
		if err != nil {
			fmt.Println(err)
		}
		frame = reply
	}
	fmt.Println("Alba:", i.Done(), "Bruno:", r.Done())

	onDisk = onDisk.Succeed() // and erase the code
	_, err = onDisk.Begin(time.Now())
	fmt.Println("again:", errors.Is(err, cpace.ErrCodeUsed))
	// Output:
	// PW_A of run 1 - count first: true
	// PW_B of run 1 - count first: true
	// PW_C of run 1 - count first: false
	// PW_OK of run 1 - count first: false
	// Alba: true Bruno: true
	// again: true
}
