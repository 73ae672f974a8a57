// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"context"
	"encoding/xml"
	"sync/atomic"

	"example.org/xtls/jingle"
	"example.org/xtls/transport"
)

// maxSignals bounds the transport payloads of the peer that wait to be read.
const maxSignals = 32

// A signal joins a Jingle session to a transport: the first payload a transport
// sends goes into session-initiate or session-accept, later ones into
// transport-info. Only this file knows both packages.
type signal struct {
	first chan jingle.Element // the payload of our session-initiate or -accept
	in    chan jingle.Element // payloads of the peer

	sent  atomic.Bool
	ready chan struct{} // closed once js is set
	js    *jingle.Session
}

var _ transport.Signal = (*signal)(nil)

func newSignal() *signal {
	return &signal{
		first: make(chan jingle.Element, 1),
		in:    make(chan jingle.Element, maxSignals),
		ready: make(chan struct{}),
	}
}

// attach names the session once it exists.
func (s *signal) attach(js *jingle.Session) {
	s.js = js
	close(s.ready)
}

// Send sends one transport payload.
func (s *signal) Send(ctx context.Context, payload []byte) error {
	if !s.sent.Swap(true) {
		s.first <- jingle.Element(payload)
		return nil
	}
	select {
	case <-s.ready:
		return s.js.Send(ctx, jingle.ActionTransportInfo, jingle.Content{Transport: payload})
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Recv returns the next transport payload of the peer.
func (s *signal) Recv(ctx context.Context) (xml.TokenReader, error) {
	select {
	case e := <-s.in:
		return e.TokenReader(), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// deliver passes on a payload of the peer; false means that too many wait.
func (s *signal) deliver(e jingle.Element) bool {
	select {
	case s.in <- e:
		return true
	default:
		return false
	}
}
