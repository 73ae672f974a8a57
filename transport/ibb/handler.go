// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import (
	"encoding/xml"

	"mellium.im/xmlstream"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/stanza"
)

// Handle installs t's handlers for <open/>, <data/>, <close/> and <credit/>. They never block
// and answer every stanza themselves.
func Handle(t *Transport) mux.Option {
	return func(m *mux.ServeMux) {
		for name, h := range map[xml.Name]mux.IQHandlerFunc{
			{Space: NS, Local: "open"}:         t.handleOpen,
			{Space: NS, Local: "data"}:         t.handleData,
			{Space: NS, Local: "close"}:        t.handleClose,
			{Space: NSCredit, Local: "credit"}: t.handleCredit,
		} {
			mux.IQFunc(stanza.SetIQ, name, h)(m)
		}
	}
}

// The error answers of XEP-0047 §2, and the two it leaves open: a gap in seq is answered like a
// repetition, a block that is too large like one that is malformed.
var (
	errItemNotFound    = &stanza.Error{Type: stanza.Cancel, Condition: stanza.ItemNotFound}
	errBadOpen         = &stanza.Error{Type: stanza.Modify, Condition: stanza.BadRequest}
	errNotAcceptable   = &stanza.Error{Type: stanza.Cancel, Condition: stanza.NotAcceptable}
	errWrongBlockSize  = &stanza.Error{Type: stanza.Modify, Condition: stanza.ResourceConstraint}
	errBadData         = &stanza.Error{Type: stanza.Cancel, Condition: stanza.BadRequest}
	errOutOfSequence   = &stanza.Error{Type: stanza.Cancel, Condition: stanza.UnexpectedRequest}
	errFull            = &stanza.Error{Type: stanza.Wait, Condition: stanza.ResourceConstraint}
	errCreditNotInUse  = &stanza.Error{Type: stanza.Cancel, Condition: stanza.UnexpectedRequest}
	errCreditMalformed = &stanza.Error{Type: stanza.Cancel, Condition: stanza.BadRequest}
)

// answer writes the answer to iq: the error, or a result with payload (nil for none). What
// cannot be written is only logged: it means that the session is over, which others notice, and
// an error from a handler would end it.
func (t *Transport) answer(w xmlstream.Encoder, iq stanza.IQ, payload xml.TokenReader, se *stanza.Error) error {
	reply := iq.Result(payload)
	if se != nil {
		reply = iq.Error(*se)
	}
	if _, err := xmlstream.Copy(w, reply); err != nil {
		t.logf("answering %s: %v", quote(iq.From.String()), err)
	}
	return nil
}

func (t *Transport) handleOpen(iq stanza.IQ, rw xmlstream.TokenReadEncoder, start *xml.StartElement) error {
	o, err := parseOpen(start.Attr)
	if err != nil {
		t.logf("<open/> from %s: %v", quote(iq.From.String()), err)
		return t.answer(rw, iq, nil, errBadOpen)
	}
	c := t.lookup(iq.From, o.sid)
	if c == nil {
		return t.answer(rw, iq, nil, errItemNotFound)
	}
	return t.answer(rw, iq, nil, c.openByPeer(o))
}

// openByPeer opens a stream that was agreed on and waits for it (XEP-0261 §2.2).
func (c *Conn) openByPeer(o open) *stanza.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return errItemNotFound
	case c.initiator || c.opened || o.message:
		return errNotAcceptable
	case o.blockSize != c.blockSize:
		return errWrongBlockSize
	}
	c.opened = true
	close(c.ready)
	return nil
}

func (t *Transport) handleData(iq stanza.IQ, rw xmlstream.TokenReadEncoder, start *xml.StartElement) error {
	sid, err := parseSID(start.Attr)
	if err != nil {
		return t.answer(rw, iq, nil, errBadData)
	}
	c := t.lookup(iq.From, sid)
	if c == nil {
		return t.answer(rw, iq, nil, errItemNotFound)
	}
	granted, se := c.receive(rw, start.Attr)
	return t.answer(rw, iq, granted, se)
}

// receive takes one <data/> of the peer whose start tag was read, and returns the payload of the
// result or the error that answers it (XEP-0047 §2.2).
func (c *Conn) receive(r xml.TokenReader, attrs []xml.Attr) (xml.TokenReader, *stanza.Error) {
	size, ok := c.takesData()
	if !ok {
		return nil, errItemNotFound
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	seq, payload, err := decodeBlock(buf, r, attrs, size)

	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return nil, errItemNotFound
	case err != nil:
		c.failLocked(err, true)
		return nil, errBadData
	}
	if v := c.in.check(seq, payload); v != nil {
		c.failLocked(v, true)
		if seq != c.in.seq {
			return nil, errOutOfSequence
		}
		return nil, errBadData
	}
	if !c.in.fits(len(payload)) {
		// Not processed: the same seq comes again. A peer that does not keep to its credit
		// meets this too.
		return nil, errFull
	}
	granted, ok := c.takeLocked(payload)
	if !ok {
		return nil, nil
	}
	return granted.TokenReader(), nil
}

// takeLocked takes the payload of the next block. If credit is used it returns what the answer
// grants.
func (c *Conn) takeLocked(payload []byte) (granted credit, ok bool) {
	c.in.take(payload, !c.closed)
	c.readable.Broadcast()
	if !c.credit {
		return credit{}, false
	}
	return credit{c.sid, c.in.grant()}, true
}

// TakeData takes a <data/> that was read by other means than the handlers of [Handle], if it is
// one that they would take: the next block of an open stream with peer, whole and in its bounds.
// The peer is a full JID in its canonical form; text is that of the element. If ok it has been
// taken, and dst has the payload of the result appended. If not nothing has changed: the
// stanza must go to the handler, which knows what is wrong and how to answer. It must be called
// in the order in which stanzas came, like the handlers, by one goroutine at a time.
func (t *Transport) TakeData(dst []byte, peer string, sid, seq, text []byte) (answer []byte, ok bool) {
	t.mu.Lock()
	c := t.streams[streamKey{peer, string(sid)}]
	t.mu.Unlock()
	if c == nil {
		return dst, false
	}
	num, isNumber := seqNumber(string(seq))
	size, opened := c.takesData()
	if !isNumber || !opened || len(text) > maxText(size) {
		return dst, false
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	payload, err := strictBase64.AppendDecode((*buf)[:0], text)
	*buf = payload
	// Of the same length: no line breaks, which the decoder skips.
	if err != nil || strictBase64.EncodedLen(len(payload)) != len(text) {
		return dst, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || c.in.check(num, payload) != nil || !c.in.fits(len(payload)) {
		return dst, false
	}
	if granted, ok := c.takeLocked(payload); ok {
		dst = granted.append(dst)
	}
	return dst, true
}

// takesData tells whether blocks are taken, and their greatest size.
func (c *Conn) takesData() (blockSize int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.blockSize, c.opened && c.err == nil
}

// decodeBlock reads a <data/> element into *buf. The payload is a part of it.
func decodeBlock(buf *[]byte, r xml.TokenReader, attrs []xml.Attr, blockSize int) (seq uint16, payload []byte, err error) {
	if seq, err = parseSeq(attrs); err != nil {
		return 0, nil, err
	}
	text, err := appendText((*buf)[:0], r, maxText(blockSize))
	*buf = text
	if err != nil {
		return 0, nil, err
	}
	all, err := strictBase64.AppendDecode(text, text)
	*buf = all
	if err != nil {
		return 0, nil, violation("XEP-0047 §2.2", "block %d is not base64", seq)
	}
	return seq, all[len(text):], nil
}

func (t *Transport) handleClose(iq stanza.IQ, rw xmlstream.TokenReadEncoder, start *xml.StartElement) error {
	sid, err := parseSID(start.Attr)
	if err != nil {
		return t.answer(rw, iq, nil, errBadData)
	}
	c := t.lookup(iq.From, sid)
	if c == nil || !c.closeByPeer() {
		return t.answer(rw, iq, nil, errItemNotFound)
	}
	return t.answer(rw, iq, nil, nil)
}

func (t *Transport) handleCredit(iq stanza.IQ, rw xmlstream.TokenReadEncoder, start *xml.StartElement) error {
	sid, err := parseSID(start.Attr)
	if err != nil {
		return t.answer(rw, iq, nil, errCreditMalformed)
	}
	c := t.lookup(iq.From, sid)
	if c == nil {
		return t.answer(rw, iq, nil, errItemNotFound)
	}
	granted, err := parseCredit(start.Attr)
	return t.answer(rw, iq, nil, c.creditByPeer(granted, err))
}

// creditByPeer takes a <credit/> of the peer, or the error in it.
func (c *Conn) creditByPeer(granted credit, err error) *stanza.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.opened || c.err != nil:
		return errItemNotFound
	case !c.credit:
		return errCreditNotInUse
	case err != nil:
		c.failLocked(err, true)
		return errCreditMalformed
	}
	c.creditLocked(granted)
	if c.err != nil {
		return errCreditMalformed
	}
	return nil
}
