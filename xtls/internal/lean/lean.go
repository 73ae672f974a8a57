// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

// Package lean takes the stanzas of which there are many past the XML parser: the
// blocks of in-band bytestreams, and the answers to our own.
//
// A general parser reads octet by octet, and its work for a block is more than all
// the rest. An [Interceptor] stands in the guard below the session. What it does not
// know to the last octet, and every block or answer that is not simply the next good
// one, it leaves alone: then nothing has happened yet, and the stanza takes the usual way.
// So it decides nothing by itself, and only the usual way knows what is wrong and
// what to answer.
package lean

import (
	"encoding/xml"
	"io"
	"runtime/debug"

	"github.com/pion/logging"
	"mellium.im/xmpp/jid"

	"example.org/xtls/transport/ibb"
	"example.org/xtls/xtls/internal/exchange"
)

// maxKnown bounds the addresses and stream ids remembered. They come from the server,
// so they are all forgotten when there are more.
const maxKnown = 1 << 10

// An Interceptor is used by the goroutine that reads the session.
type Interceptor struct {
	x      *exchange.Exchange
	blocks *ibb.Transport
	log    logging.LeveledLogger
	own    string // the full JID of the session

	peers  map[string]peer   // by their address as it stands in stanzas
	sids   map[string]string // themselves
	answer []byte
	reply  creditReply
}

type peer struct {
	addr    jid.JID
	name    string // canonical
	escaped string // the same, for an attribute
}

// New returns the Interceptor of a session.
func New(x *exchange.Exchange, blocks *ibb.Transport, log logging.LeveledLogger) *Interceptor {
	return &Interceptor{
		x: x, blocks: blocks, log: log, own: x.LocalAddr().String(),
		peers: make(map[string]peer), sids: make(map[string]string),
	}
}

// Intercept takes one stanza from the start of p: see the guard.
func (l *Interceptor) Intercept(p []byte) (taken int, more bool) {
	iq, n, more := matchIQ(p)
	if n == 0 {
		return 0, more
	}
	if l.take(iq) {
		return n, false
	}
	return 0, false
}

// take handles iq, or returns false and has changed nothing. Like any handler's, its
// panic does not end the session.
func (l *Interceptor) take(iq plainIQ) (taken bool) {
	defer func() {
		if r := recover(); r != nil {
			l.log.Warnf("taking a block panicked: %v\n%s", r, debug.Stack())
			taken = true
		}
	}()
	if iq.to != nil && string(iq.to) != l.own {
		return false
	}
	from, ok := l.peer(iq.from)
	if !ok {
		return false
	}
	if !iq.request {
		return l.x.Answered(iq.id, from.addr, l.reply.of(l.sid(iq.sid), iq.limit))
	}
	l.answer = append(l.answer[:0], `<iq xmlns="jabber:client" type="result" id="`...)
	l.answer = append(l.answer, iq.id...)
	l.answer = append(l.answer, `" to="`...)
	l.answer = append(l.answer, from.escaped...)
	l.answer = append(l.answer, `">`...)
	l.answer, ok = l.blocks.TakeData(l.answer, from.name, iq.sid, iq.seq, iq.text)
	if !ok {
		return false
	}
	l.answer = append(l.answer, `</iq>`...)
	if err := l.x.Send(l.answer); err != nil {
		l.log.Debugf("answering a block: %v", err) // the session is over, which others notice
	}
	return true
}

// peer returns whose address stands in a stanza. Making sense of one takes longer than
// all the rest, so it is done once.
func (l *Interceptor) peer(from []byte) (peer, bool) {
	if p, ok := l.peers[string(from)]; ok {
		return p, true
	}
	addr, err := jid.Parse(string(from))
	if err != nil {
		return peer{}, false
	}
	if len(l.peers) >= maxKnown {
		clear(l.peers)
	}
	p := peer{addr: addr, name: addr.String()}
	p.escaped = string(exchange.AppendEscaped(nil, p.name))
	l.peers[string(from)] = p
	return p, true
}

// sid returns a stream id as a string that is made once.
func (l *Interceptor) sid(b []byte) string {
	if s, ok := l.sids[string(b)]; ok {
		return s
	}
	if len(l.sids) >= maxKnown {
		clear(l.sids)
	}
	s := string(b)
	l.sids[s] = s
	return s
}

// A creditReply is the payload of an answer, nothing or a <credit/>. It is read before
// the next one is made.
type creditReply struct {
	attrs [2]xml.Attr
	next  int // token
	empty bool
}

var creditName = xml.Name{Space: ibb.NSCredit, Local: "credit"}

// of makes r what an answer holds; limit is nil if it is empty.
func (r *creditReply) of(sid string, limit []byte) *creditReply {
	*r = creditReply{empty: limit == nil}
	if !r.empty {
		r.attrs = [2]xml.Attr{
			{Name: xml.Name{Local: "sid"}, Value: sid},
			{Name: xml.Name{Local: "limit"}, Value: string(limit)},
		}
	}
	return r
}

// Token returns the start, the end, and io.EOF.
func (r *creditReply) Token() (xml.Token, error) {
	if r.empty || r.next == 2 {
		return nil, io.EOF
	}
	r.next++
	if r.next == 1 {
		return xml.StartElement{Name: creditName, Attr: r.attrs[:]}, nil
	}
	return xml.EndElement{Name: creditName}, nil
}
