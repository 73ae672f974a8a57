// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

// Package exchange turns a mellium session into what the packages below xtls
// need of one: requests whose answers are matched by id and sender, and handlers
// that cannot end the session.
//
// mellium matches an answer by its id alone, ends the whole stream when a handler
// returns an error or an IQ holds stray text, and lets a request wait for ever
// when the connection is lost. This package closes those holes.
package exchange

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/pion/logging"
	"mellium.im/xmlstream"
	"mellium.im/xmpp"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/stanza"
)

const (
	// AnswerTime is how long a request waits for its answer. An entity must answer
	// (RFC 6120 §8.2.3), so silence means that one of the servers lost the stanza.
	AnswerTime = 30 * time.Second
	// MaxPending bounds the requests that wait for answers; ejabberd ends a session
	// at about five times as many unanswered stanzas.
	MaxPending = 1000
)

// ErrNoAnswer means that AnswerTime passed without an answer.
var ErrNoAnswer = fmt.Errorf("no answer within %v: %w", AnswerTime, context.DeadlineExceeded)

// ErrBusy is the error of a request that was not sent, because too many wait for
// answers or for being written already. It is the one that a server would answer:
// who sends much knows how to wait and try again.
var ErrBusy = stanza.Error{Type: stanza.Wait, Condition: stanza.ResourceConstraint}

// An Exchange sends requests over one session. All methods may be called
// concurrently.
type Exchange struct {
	s   *xmpp.Session
	log logging.LeveledLogger
	out Output // nil on a session of the caller's

	mu      sync.Mutex // protects the fields below
	pending map[requestID]*request
	oldest  *request // of pending, whose time ends first
	newest  *request
	timer   *time.Timer // runs expire; nil before the first request
	armed   bool        // it will
	to      addressee   // of the last request
	err     error       // set once: the session is gone
}

// A request waits for its answer. Its memory is used again, so it is read under the lock only.
type request struct {
	id           requestID
	to           jid.JID
	done         func(xml.TokenReader, error)
	due          time.Time
	older, newer *request
}

// A requestID is what nobody can guess; the zero value is none. In stanzas it is in hexadecimal digits.
type requestID [10]byte

// idLength is how many characters that are.
const idLength = 2 * len(requestID{})

// requests holds memory for requests.
var requests = sync.Pool{New: func() any { return new(request) }}

// An addressee is a JID and its form in an attribute, which takes longer to make than all the rest of a
// stanza.
type addressee struct {
	jid     jid.JID
	escaped []byte // not changed any more
}

// An Output is the guard below a session.
type Output interface {
	// Full says that no more should be written now.
	Full() bool
	// WriteBulk writes a whole stanza that lets everything else go first.
	WriteBulk(stanza []byte) error
}

// New returns an Exchange over s. Its handlers ([Exchange.Handle]) must be
// installed where s is served, and Close be called when s has ended. Below s is out,
// which may be nil.
func New(s *xmpp.Session, log logging.LeveledLogger, out Output) *Exchange {
	return &Exchange{s: s, log: log, out: out, pending: make(map[requestID]*request)}
}

// LocalAddr is the full JID of the session.
func (x *Exchange) LocalAddr() jid.JID { return x.s.LocalAddr() }

// Request sends an IQ and waits for its answer, for ctx or for AnswerTime. An
// error answer is returned as a stanza.Error.
func (x *Exchange) Request(ctx context.Context, typ stanza.IQType, to jid.JID, payload []byte) (xml.TokenReader, error) {
	type answer struct {
		tokens []xml.Token
		err    error
	}
	got := make(chan answer, 1)
	id := x.start(typ, to, payload, func(reply xml.TokenReader, err error) {
		var a answer
		if a.err = err; err == nil {
			a.tokens, a.err = copyTokens(reply)
		}
		got <- a
	})
	defer context.AfterFunc(ctx, func() { x.resolve(id, nil, context.Cause(ctx)) })()
	a := <-got // the first of both
	return tokenReader(a.tokens), a.err
}

// Go sends an IQ and returns; done is called once with the payload of the
// result, valid during the call, or an error. On a session without a guard under
// it, Go blocks while the TCP connection takes no more.
func (x *Exchange) Go(typ stanza.IQType, to jid.JID, payload []byte, done func(xml.TokenReader, error)) {
	x.start(typ, to, payload, done)
}

// start is Go; it returns the id of the request, the zero one if it was not sent.
func (x *Exchange) start(typ stanza.IQType, to jid.JID, payload []byte, done func(xml.TokenReader, error)) (id requestID) {
	r := requests.Get().(*request)
	_, _ = rand.Read(r.id[:]) // does not fail
	x.mu.Lock()
	err := x.err
	if err == nil && (len(x.pending) >= MaxPending || x.out != nil && x.out.Full()) {
		err = ErrBusy
	}
	var escaped []byte
	if err == nil {
		id = r.id
		x.addLocked(r, to, done)
		escaped = x.escapeLocked(to)
	}
	x.mu.Unlock()
	if err != nil {
		requests.Put(r)
		done(nil, err)
		return requestID{}
	}
	if err := x.request(typ, escaped, id, payload); err != nil {
		x.resolve(id, nil, fmt.Errorf("the XMPP session cannot be written: %w", err))
	}
	return id
}

// addLocked notes a request, which has its id.
func (x *Exchange) addLocked(r *request, to jid.JID, done func(xml.TokenReader, error)) {
	*r = request{id: r.id, to: to, done: done, due: time.Now().Add(AnswerTime), older: x.newest}
	if x.newest != nil {
		x.newest.newer = r
	} else {
		x.oldest = r
	}
	x.newest = r
	x.pending[r.id] = r
	switch {
	case x.timer == nil:
		x.timer = time.AfterFunc(AnswerTime, x.expire)
	case !x.armed:
		x.timer.Reset(AnswerTime)
	}
	x.armed = true
}

// removeLocked forgets a request and returns whom to tell.
func (x *Exchange) removeLocked(r *request) (done func(xml.TokenReader, error)) {
	delete(x.pending, r.id)
	if r.older != nil {
		r.older.newer = r.newer
	} else {
		x.oldest = r.newer
	}
	if r.newer != nil {
		r.newer.older = r.older
	} else {
		x.newest = r.older
	}
	done = r.done
	*r = request{}
	requests.Put(r)
	return done
}

// expire ends the requests whose time is over.
func (x *Exchange) expire() {
	var late []func(xml.TokenReader, error)
	x.mu.Lock()
	now := time.Now()
	for x.oldest != nil && !x.oldest.due.After(now) {
		late = append(late, x.removeLocked(x.oldest))
	}
	x.armed = x.oldest != nil
	if x.armed {
		x.timer.Reset(x.oldest.due.Sub(now))
	}
	x.mu.Unlock()
	for _, done := range late {
		done(nil, ErrNoAnswer)
	}
}

// escapeLocked returns to as the value of an attribute, nil for none.
func (x *Exchange) escapeLocked(to jid.JID) []byte {
	if !to.Equal(x.to.jid) {
		x.to = addressee{to, AppendEscaped(nil, to.String())}
	}
	return x.to.escaped
}

// bulk is how the payload of a request begins that may wait behind everything else: a
// block of an in-band bytestream (XEP-0047 §2.2).
var bulk = []byte("<data ")

// request writes one request.
func (x *Exchange) request(typ stanza.IQType, to []byte, id requestID, payload []byte) error {
	buf := stanzas.Get().(*[]byte)
	defer stanzas.Put(buf)
	*buf = appendIQ((*buf)[:0], typ, to, id, payload)
	if x.out != nil && bytes.HasPrefix(payload, bulk) {
		return x.out.WriteBulk(*buf)
	}
	return x.write(*buf)
}

// stanzas holds memory for rendering: both ways of writing copy.
var stanzas = sync.Pool{New: func() any { return new([]byte) }}

// Send writes one rendered stanza that needs no answer.
func (x *Exchange) Send(stanza []byte) error { return x.write(stanza) }

// appendIQ appends a request.
func appendIQ(b []byte, typ stanza.IQType, to []byte, id requestID, payload []byte) []byte {
	b = append(b, `<iq xmlns="jabber:client" type="`...)
	b = append(b, typ...)
	b = append(b, `" id="`...)
	b = hex.AppendEncode(b, id[:])
	if len(to) > 0 {
		b = append(b, `" to="`...)
		b = append(b, to...)
	}
	b = append(b, `">`...)
	b = append(b, payload...)
	return append(b, `</iq>`...)
}

// AppendEscaped appends s to b as the value of an attribute or as text.
func AppendEscaped(b []byte, s string) []byte {
	if !strings.ContainsAny(s, `&<>"'`+"\t\r\n") {
		return append(b, s...)
	}
	var sb strings.Builder
	_ = xml.EscapeText(&sb, []byte(s)) // a strings.Builder does not fail
	return append(b, sb.String()...)
}

// write puts a stanza on the stream as it is: taking the writer's lock and
// writing below the encoder is the fast path that the public API permits.
func (x *Exchange) write(stanza []byte) error {
	w := x.s.TokenWriter()
	err := w.Flush()
	if err == nil {
		_, err = x.s.Conn().Write(stanza)
	}
	return errors.Join(err, w.Close())
}

// parseID returns the id of one of our requests; the zero one if it cannot be one.
func parseID[ID string | []byte](text ID) (id requestID) {
	if len(text) != idLength {
		return requestID{}
	}
	var digits [idLength]byte
	copy(digits[:], text)
	if _, err := hex.Decode(id[:], digits[:]); err != nil {
		return requestID{}
	}
	return id
}

// resolve ends a request, if it is still pending.
func (x *Exchange) resolve(id requestID, reply xml.TokenReader, err error) {
	var done func(xml.TokenReader, error)
	x.mu.Lock()
	if r := x.pending[id]; r != nil {
		done = x.removeLocked(r)
	}
	x.mu.Unlock()
	if done != nil {
		done(reply, err)
	}
}

// asked returns to whom a request went, if it is pending.
func (x *Exchange) asked(id requestID) (to jid.JID, pending bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if r := x.pending[id]; r != nil {
		return r.to, true
	}
	return jid.JID{}, false
}

// Close fails all pending and later requests with err. It does not touch the
// session.
func (x *Exchange) Close(err error) {
	var pending []func(xml.TokenReader, error)
	x.mu.Lock()
	if x.err == nil {
		x.err = err
	}
	for x.oldest != nil {
		pending = append(pending, x.removeLocked(x.oldest))
	}
	if x.timer != nil {
		x.timer.Stop()
	}
	x.mu.Unlock()
	for _, done := range pending {
		done(nil, err)
	}
}

// Handle registers the handlers for answers. They take every result and error
// that the session's own SendIQ did not ask for.
func (x *Exchange) Handle() mux.Option {
	return func(m *mux.ServeMux) {
		mux.IQ(stanza.ResultIQ, xml.Name{}, x)(m)
		mux.IQ(stanza.ErrorIQ, xml.Name{}, x)(m)
	}
}

// HandleIQ matches one answer. An answer that nobody waits for, or that comes
// from somebody else than was asked, is dropped: an id alone proves nothing.
func (x *Exchange) HandleIQ(iq stanza.IQ, t xmlstream.TokenReadEncoder, start *xml.StartElement) error {
	id := parseID(iq.ID)
	to, pending := x.asked(id)
	if !pending {
		return nil
	}
	if !x.sameSender(to, iq.From) {
		x.log.Warnf("dropped an answer from %q to a request to %q", clip(iq.From.String()), to.String())
		return nil
	}
	var reply xml.TokenReader = tokenReader(nil)
	if start != nil && start.Name.Local != "" {
		reply = xmlstream.MultiReader(xmlstream.Token(*start), t)
	}
	if iq.Type == stanza.ErrorIQ {
		x.resolve(id, nil, errorOf(reply))
		return nil
	}
	x.resolve(id, reply, nil)
	return nil
}

// Answered is HandleIQ for a result that was read by other means. It returns false,
// and has done nothing, if nobody waits for it.
func (x *Exchange) Answered(text []byte, from jid.JID, reply xml.TokenReader) bool {
	id := parseID(text)
	if to, pending := x.asked(id); !pending || !x.sameSender(to, from) {
		return false
	}
	x.resolve(id, reply, nil)
	return true
}

// sameSender reports whether an answer from `from` can be the answer of `to`. A
// server may leave out its own name and the bare JID of the account
// (RFC 6120 §8.1.2.1).
func (x *Exchange) sameSender(to, from jid.JID) bool {
	if from.Equal(to) {
		return true
	}
	own := x.s.LocalAddr()
	isOwnServer := func(j jid.JID) bool {
		return j.Equal(jid.JID{}) || j.Equal(own.Domain()) || j.Equal(own.Bare())
	}
	return isOwnServer(to) && isOwnServer(from)
}

// errorOf finds the stanza error in the payload of an error answer, which may
// repeat the request before it (RFC 6120 §8.3.1).
func errorOf(payload xml.TokenReader) error {
	d := xml.NewTokenDecoder(payload)
	for {
		tok, err := d.Token()
		if err != nil {
			return stanza.Error{Type: stanza.Cancel, Condition: stanza.UndefinedCondition}
		}
		start, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		if start.Name.Local != "error" {
			if err := d.Skip(); err != nil {
				return stanza.Error{Type: stanza.Cancel, Condition: stanza.UndefinedCondition}
			}
			continue
		}
		var e stanza.Error
		if err := d.DecodeElement(&e, &start); err != nil || e.Condition == "" {
			e.Condition = stanza.UndefinedCondition
		}
		return e
	}
}

// clip cuts foreign text for a log line.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// tokens is a reader over copied tokens.
type tokens struct{ rest []xml.Token }

func tokenReader(t []xml.Token) *tokens { return &tokens{rest: t} }

// Token returns the next token, then io.EOF.
func (t *tokens) Token() (xml.Token, error) {
	if len(t.rest) == 0 {
		return nil, io.EOF
	}
	tok := t.rest[0]
	t.rest = t.rest[1:]
	return tok, nil
}

// copyTokens reads r to its end. What r can hold has been bounded by the guard
// below the session.
func copyTokens(r xml.TokenReader) ([]xml.Token, error) {
	var all []xml.Token
	for {
		tok, err := r.Token()
		if tok != nil {
			all = append(all, xml.CopyToken(tok))
		}
		switch {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		}
	}
}
