// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package jingletest

import (
	"context"
	"encoding/xml"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

// A call is a request whose answer is awaited.
type call struct {
	to    jid.JID
	once  sync.Once
	timer *time.Timer
	done  func(reply xml.TokenReader, err error)
}

// finish hands over the answer. Only the first call has an effect.
func (c *call) finish(reply xml.TokenReader, err error) {
	c.once.Do(func() {
		c.timer.Stop()
		c.done(reply, err)
	})
}

// Request sends an IQ of type typ with the payload, one rendered element, and
// waits for the answer. The reader yields the payload of a result. An error
// answer is a [stanza.Error]; any other error means that no answer came: ctx
// ended, [AnswerLimit] passed ([os.ErrDeadlineExceeded]), or the session is gone.
func (e *End) Request(ctx context.Context, typ stanza.IQType, to jid.JID, payload []byte) (xml.TokenReader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e.countRequests(+1)
	defer e.countRequests(-1)

	type answer struct {
		reply xml.TokenReader
		err   error
	}
	got := make(chan answer, 1)
	id := e.start(typ, to, payload, func(reply xml.TokenReader, err error) { got <- answer{reply, err} })
	select {
	case a := <-got:
		return a.reply, a.err
	case <-ctx.Done():
		e.forget(id)
		return nil, ctx.Err()
	}
}

// Go is Request without waiting: it queues the stanza and returns. Done is
// called exactly once, from any goroutine, possibly before Go returns; it must
// not block.
func (e *End) Go(typ stanza.IQType, to jid.JID, payload []byte, done func(reply xml.TokenReader, err error)) {
	e.start(typ, to, payload, done)
}

// start registers a call and sends its stanza.
func (e *End) start(typ stanza.IQType, to jid.JID, payload []byte, done func(xml.TokenReader, error)) (id string) {
	// Sending and registering are one step, or two goroutines could send in
	// another order than that of their ids, which makes a log hard to read.
	e.sendMu.Lock()
	e.l.mu.Lock()
	if err := e.err; err != nil {
		e.l.mu.Unlock()
		e.sendMu.Unlock()
		done(nil, err)
		return ""
	}
	e.lastID++
	id = e.addr.Localpart() + strconv.Itoa(e.lastID)
	c := &call{to: to, done: done}
	c.timer = time.AfterFunc(AnswerLimit, func() {
		e.forget(id)
		c.finish(nil, fmt.Errorf("jingletest: no answer to %s in %v: %w", id, AnswerLimit, os.ErrDeadlineExceeded))
	})
	e.pending[id] = c
	e.l.mu.Unlock()

	e.sendLocked(render(stanza.IQ{ID: id, Type: typ, To: to, From: e.addr}, payload))
	e.sendMu.Unlock()
	return id
}

// forget gives up waiting for the answer to id.
func (e *End) forget(id string) {
	e.l.mu.Lock()
	defer e.l.mu.Unlock()
	if c := e.pending[id]; c != nil {
		c.timer.Stop()
		delete(e.pending, id)
	}
}

func (e *End) countRequests(n int) {
	e.l.mu.Lock()
	defer e.l.mu.Unlock()
	e.l.waiting += n
	e.l.changed.Broadcast()
}

// complete hands a result or error to the call that waits for it. As in the real
// session, it must come from the address that was asked; others are ignored.
func (e *End) complete(iq stanza.IQ, inner xml.TokenReader) {
	e.l.mu.Lock()
	c := e.pending[iq.ID]
	if c == nil || !c.to.Equal(iq.From) {
		e.l.mu.Unlock()
		return
	}
	delete(e.pending, iq.ID)
	e.l.mu.Unlock()

	if iq.Type == stanza.ResultIQ {
		c.finish(inner, nil)
		return
	}
	se, err := stanza.UnmarshalError(inner)
	if err != nil {
		se = stanza.Error{Type: stanza.Cancel, Condition: stanza.UndefinedCondition}
	}
	c.finish(nil, se)
}

// render writes an IQ around payload.
func render(iq stanza.IQ, payload []byte) string {
	var b strings.Builder
	b.WriteString("<iq xmlns='" + stanza.NSClient + "'")
	for _, attr := range iq.StartElement().Attr {
		b.WriteString(" " + attr.Name.Local + "='")
		// A strings.Builder does not fail.
		_ = xml.EscapeText(&b, []byte(attr.Value))
		b.WriteString("'")
	}
	b.WriteString(">")
	b.Write(payload)
	b.WriteString("</iq>")
	return b.String()
}
