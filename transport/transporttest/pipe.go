// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

// Package transporttest helps to test Jingle transport methods: [Pipe] is the signalling
// between two of them without Jingle, [Conformance] is what every method must pass.
package transporttest

import (
	"bytes"
	"context"
	"encoding/xml"
	"slices"

	"example.org/xtls/transport"
)

// pipeDepth is how many payloads one direction of a Pipe holds before Send blocks. A negotiation
// takes a few.
const pipeDepth = 32

// signal is one end of a Pipe.
type signal struct {
	in  <-chan []byte
	out chan<- []byte
}

// Pipe returns the two ends of the signalling between an initiator and a responder: what is sent
// at one end is received at the other, in order, parsed from the very octets. The ends need not
// be closed.
func Pipe() (a, b transport.Signal) {
	x, y := make(chan []byte, pipeDepth), make(chan []byte, pipeDepth)
	return signal{x, y}, signal{y, x}
}

// Send queues a copy of payload for the other end.
func (s signal) Send(ctx context.Context, payload []byte) error {
	select {
	case s.out <- slices.Clone(payload):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Recv returns what the other end sent.
func (s signal) Recv(ctx context.Context) (xml.TokenReader, error) {
	select {
	case p := <-s.in:
		return xml.NewDecoder(bytes.NewReader(p)), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
