// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

// Package jingletest joins two XMPP clients in memory, so that Jingle and the
// transports under it can be tested without a server and without sockets.
//
// [Pair] returns the two ends, alba@isle.example/desk and
// bruno@moor.example/phone. An [End] is what the packages under test ask of an
// XMPP session: it implements the Stanzas interfaces of packages jingle and
// transport. [End.Serve] installs their handlers:
//
//	a, b := jingletest.Pair(t)
//	a.Serve(jingle.Handle(ha))
//	b.Serve(jingle.Handle(hb))
//
// Between the ends sits a server that the test controls. It stamps the from
// attribute, answers service-unavailable for addresses that nobody has, and
// carries real XML: every stanza is rendered, logged, parsed again and handed to
// a mellium mux on the receiving end's only reader goroutine, as a mellium
// session does. The test may look at stanzas and drop, alter or repeat them
// ([End.Tap]), hold them back ([End.Hold], [End.Release]), invent them
// ([End.Inject]) and end a session ([End.Fail]). It waits for events, never for
// time: [Await] for a stanza, [Settle] for everything to be handled.
//
// All of it works inside a testing/synctest bubble. If the test failed, the log
// of all stanzas is printed at its end.
//
// It also enforces what is not visible from the outside of a handler: one that
// returns an error (which ends a mellium session), answers an IQ twice, or
// blocks, fails the test.
package jingletest

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/stanza"
)

const (
	// AddrA and AddrB are the full JIDs of the two ends.
	AddrA = "alba@isle.example/desk"
	AddrB = "bruno@moor.example/phone"

	// AnswerLimit is how long Request and Go wait for an answer, as the real
	// session does.
	AnswerLimit = 30 * time.Second

	// joinLimit bounds the wait for goroutines at the end of a test. It is only
	// reached by a handler or done function that blocks, which is a failure.
	joinLimit = 10 * time.Second
)

// link is what the two ends share: the server between them.
type link struct {
	report func(format string, args ...any) // tells the test that it failed
	start  time.Time

	mu      sync.Mutex // protects all below and all fields of both ends
	changed *sync.Cond // any of it changed
	ends    [2]*End
	log     []Stanza
	number  int // of the last stanza in the log
	busy    int // stanzas that are queued or being handled
	closed  bool
	waiting int // Request calls under way
}

// An End is one of two connected XMPP clients. Its methods may be called from
// any goroutine.
type End struct {
	l    *link
	addr jid.JID
	done chan struct{} // closed when the reader goroutine is gone

	// sendMu keeps the stanzas of this side in order on their way through the
	// tap. It is held while the tap runs.
	sendMu sync.Mutex

	// Protected by l.mu.
	queue   []string // stanzas that arrived here
	pending map[string]*call
	lastID  int
	mux     *mux.ServeMux
	tap     func(Stanza) []Stanza
	hold    func(Stanza) bool
	held    []heldStanza
	err     error // why the session is gone
}

// Pair returns two connected ends, alba@isle.example/desk and
// bruno@moor.example/phone. At the end of the test both are closed, their
// goroutines are joined, a Request that still hangs then is reported, and if the
// test failed the log is printed.
func Pair(t testing.TB) (a, b *End) {
	t.Helper()
	a, b = newPair(t.Errorf)
	t.Cleanup(func() {
		a.close()
		if t.Failed() {
			t.Logf("stanzas:\n%s", Dump(a))
		}
	})
	return a, b
}

// Open is [Pair] for use without a test, such as in an Example. What would fail
// a test panics. The caller must call done, which closes both ends and joins
// their goroutines.
func Open() (a, b *End, done func()) {
	a, b = newPair(func(format string, args ...any) { panic(fmt.Sprintf(format, args...)) })
	return a, b, a.close
}

func newPair(report func(format string, args ...any)) (a, b *End) {
	l := &link{report: report, start: time.Now()}
	l.changed = sync.NewCond(&l.mu)
	for i, addr := range []string{AddrA, AddrB} {
		l.ends[i] = &End{
			l:       l,
			addr:    jid.MustParse(addr),
			done:    make(chan struct{}),
			pending: make(map[string]*call),
			mux:     mux.New(stanza.NSClient),
		}
	}
	for _, e := range l.ends {
		go e.read()
	}
	return l.ends[0], l.ends[1]
}

// LocalAddr returns the full JID of this end.
func (e *End) LocalAddr() jid.JID { return e.addr }

// Serve installs the handlers for what arrives at e. It must be called once,
// before there is traffic. A get or set that no handler answers is answered with
// service-unavailable.
func (e *End) Serve(opts ...mux.Option) {
	e.l.mu.Lock()
	defer e.l.mu.Unlock()
	e.mux = mux.New(stanza.NSClient, opts...)
}

// Tap makes f see every stanza that e's side sends, results and errors included,
// before delivery. What f returns is delivered instead: nothing drops the
// stanza, two or more repeat it, a changed XML field alters it (the other fields
// of a returned Stanza are not looked at). It is routed by its "to". Nil removes
// the tap.
//
// f runs on the sending goroutine, one call at a time, and must not make e send.
func (e *End) Tap(f func(Stanza) []Stanza) {
	e.l.mu.Lock()
	defer e.l.mu.Unlock()
	e.tap = f
}

// Hold keeps back every stanza that e's side sends from now on and that match
// selects (nil selects all), until Release. It applies after the tap.
func (e *End) Hold(match func(Stanza) bool) {
	if match == nil {
		match = func(Stanza) bool { return true }
	}
	e.l.mu.Lock()
	defer e.l.mu.Unlock()
	e.hold = match
}

// Release delivers what was held back, in order, and ends the holding.
func (e *End) Release() {
	e.l.mu.Lock()
	defer e.l.mu.Unlock()
	held := e.held
	e.hold, e.held = nil, nil
	for _, h := range held {
		e.l.markLocked(h.number)
		e.deliverLocked(h.Stanza)
	}
}

// Inject delivers xml, one stanza, to e as if its server had sent it. Nothing in
// it is changed or checked, so it may come from anybody. What e answers to an
// address that neither end has is logged and goes nowhere.
func (e *End) Inject(xml string) {
	s, err := parse(xml)
	if err != nil {
		e.l.report("jingletest: Inject: %v in %q", err, xml)
		return
	}
	s.Injected = true
	e.l.mu.Lock()
	defer e.l.mu.Unlock()
	s.Delivered = e.enqueueLocked(s.XML)
	e.l.logLocked(s)
}

// Fail ends e's XMPP session: requests that wait for an answer and all later
// ones fail with err, nothing is delivered to e any more, and the server answers
// in its place with service-unavailable. Err must not be nil. Only the first
// call has an effect.
func (e *End) Fail(err error) {
	e.l.mu.Lock()
	if e.err != nil {
		e.l.mu.Unlock()
		return
	}
	e.err = err
	e.l.busy -= len(e.queue)
	e.queue = nil
	calls := e.pending
	e.pending = make(map[string]*call)
	e.l.changed.Broadcast()
	e.l.mu.Unlock()
	for _, c := range calls {
		c.finish(nil, err)
	}
}

// close ends both sessions and waits for all goroutines.
func (e *End) close() {
	l := e.l
	for _, end := range l.ends {
		end.Fail(net.ErrClosed)
	}
	l.mu.Lock()
	l.closed = true
	l.changed.Broadcast()
	l.mu.Unlock()

	limit := time.NewTimer(joinLimit)
	defer limit.Stop()
	for _, end := range l.ends {
		select {
		case <-end.done:
		case <-limit.C:
			l.report("jingletest: the reader of %s is stuck in a handler or done function, which must not block", end.addr)
			return
		}
	}
	overdue := time.AfterFunc(joinLimit, l.changed.Broadcast)
	defer overdue.Stop()
	deadline := time.Now().Add(joinLimit)
	l.mu.Lock()
	for l.waiting > 0 && time.Now().Before(deadline) {
		l.changed.Wait()
	}
	waiting := l.waiting
	l.mu.Unlock()
	if waiting > 0 {
		l.report("jingletest: %d calls of Request did not return", waiting)
	}
}
