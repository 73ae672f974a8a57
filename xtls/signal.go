// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"context"
	"encoding/xml"
	"sync"
	"sync/atomic"

	"example.org/xtls/jingle"
	"example.org/xtls/transport"
)

// maxSignals bounds the transport payloads of the peer that wait to be read.
const maxSignals = 32

// A signal joins a Jingle session to a transport: the first payload a transport
// sends goes into session-initiate or session-accept, or where it comes second
// into transport-replace or transport-accept; later ones go into transport-info.
type signal struct {
	ns    string              // of the transport
	first chan jingle.Element // our first payload
	in    chan jingle.Element // payloads of the peer

	sent  atomic.Bool
	ready chan struct{} // closed once js is set
	js    *jingle.Session

	mu      sync.Mutex
	begun   bool             // the peer's first payload has been passed on
	ended   bool             // nobody takes any more
	waiting []jingle.Element // what came before it
}

var _ transport.Signal = (*signal)(nil)

// newSignal returns the signal of a transport in js, or in a session that does not exist yet.
func newSignal(js *jingle.Session, ns string) *signal {
	s := &signal{
		ns:    ns,
		first: make(chan jingle.Element, 1),
		in:    make(chan jingle.Element, maxSignals),
		ready: make(chan struct{}),
	}
	if js != nil {
		s.attach(js)
	}
	return s
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

// begin passes on the peer's first payload: that of its session-initiate or -accept, or
// of its transport-replace or -accept. False means that too many wait.
func (s *signal) begin(e jingle.Element) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = true
	for _, e := range append([]jingle.Element{e}, s.waiting...) {
		if !s.deliverLocked(e) {
			return false
		}
	}
	s.waiting = nil
	return true
}

// deliver passes on a later payload of the peer; false means that too many wait. The
// first one may still be on its way through somebody's hands. One for another
// transport, or for one that is done, is late, and dropped.
func (s *signal) deliver(e jingle.Element) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended || e.Name().Space != s.ns:
		return true
	case s.begun:
		return s.deliverLocked(e)
	case len(s.waiting) == maxSignals:
		return false
	default:
		s.waiting = append(s.waiting, e)
		return true
	}
}

// end says that nobody takes payloads any more.
func (s *signal) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

func (s *signal) deliverLocked(e jingle.Element) bool {
	select {
	case s.in <- e:
		return true
	default:
		return false
	}
}
