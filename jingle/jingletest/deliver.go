// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package jingletest

import (
	"encoding/xml"
	"errors"
	"strings"

	"mellium.im/xmlstream"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

// A heldStanza waits for Release.
type heldStanza struct {
	Stanza
	number int // in the log
}

// sendLocked sends a rendered stanza through the tap. e.sendMu is held.
func (e *End) sendLocked(text string) {
	sent, err := parse(text)
	if err != nil {
		e.l.report("jingletest: %s sent malformed XML: %v in %q", e.addr, err, text)
		return
	}
	e.l.mu.Lock()
	tap := e.tap
	e.l.mu.Unlock()
	out := []Stanza{sent}
	if tap != nil {
		out = tap(sent)
	}

	e.l.mu.Lock()
	defer e.l.mu.Unlock()
	passed := false
	for _, s := range out {
		passed = passed || s.XML == sent.XML
	}
	if !passed {
		e.l.logLocked(sent) // as dropped, before what replaces it
	}
	original := passed // the first unchanged one is the original, others are repeats
	for _, o := range out {
		s, err := parse(o.XML)
		if err != nil {
			e.l.report("jingletest: the tap returned malformed XML: %v in %q", err, o.XML)
			continue
		}
		s.Injected = !original || s.XML != sent.XML
		if !s.Injected {
			original = false
		}
		if e.hold != nil && e.hold(s) {
			e.held = append(e.held, heldStanza{s, e.l.logLocked(s)})
			continue
		}
		number := e.l.logLocked(s)
		if e.deliverLocked(s) {
			e.l.markLocked(number)
		}
	}
}

// deliverLocked routes s as the servers would: to the end that has the address,
// or back with an error. e.l.mu is held.
func (e *End) deliverLocked(s Stanza) bool {
	for _, end := range e.l.ends {
		if s.To.Equal(end.addr) && end.enqueueLocked(s.XML) {
			return true
		}
	}
	if s.Type != string(stanza.GetIQ) && s.Type != string(stanza.SetIQ) {
		return false
	}
	bounce := stanza.Error{Type: stanza.Cancel, Condition: stanza.ServiceUnavailable}
	var b strings.Builder
	enc := xml.NewEncoder(&b)
	_, err := bounce.WriteXML(enc)
	if err = errors.Join(err, enc.Flush()); err != nil {
		e.l.report("jingletest: rendering an error: %v", err)
		return false
	}
	text := render(stanza.IQ{ID: s.ID, Type: stanza.ErrorIQ, From: s.To, To: e.addr}, []byte(b.String()))
	answer, err := parse(text)
	if err != nil {
		e.l.report("jingletest: %v in %q", err, text)
		return false
	}
	answer.Delivered = e.enqueueLocked(text)
	e.l.logLocked(answer)
	return false
}

// enqueueLocked puts a stanza into e's queue unless its session is gone. The
// queue has no bound, so that senders never block. e.l.mu is held.
func (e *End) enqueueLocked(text string) bool {
	if e.err != nil {
		return false
	}
	e.queue = append(e.queue, text)
	e.l.busy++
	e.l.changed.Broadcast()
	return true
}

// read handles what arrives at e, one stanza at a time, until the pair closes.
func (e *End) read() {
	defer close(e.done)
	l := e.l
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for len(e.queue) == 0 && !l.closed {
			l.changed.Wait()
		}
		if l.closed {
			return
		}
		text := e.queue[0]
		e.queue = e.queue[1:]
		l.mu.Unlock()
		e.receive(text)
		l.mu.Lock()
		l.busy--
		l.changed.Broadcast()
	}
}

// receive handles one stanza. It keeps from the mux what the dispatcher over a
// real session keeps from it: stanzas that would make it end the session.
func (e *End) receive(text string) {
	d := xml.NewDecoder(strings.NewReader(text))
	d.DefaultSpace = stanza.NSClient
	tok, err := d.Token()
	if err != nil {
		return // parse found it well-formed
	}
	start, ok := tok.(xml.StartElement)
	if !ok {
		return
	}
	start = start.Copy()
	iq, err := stanza.NewIQ(start)
	if err != nil {
		return // a malformed address: servers do not forward that
	}
	w := &answerWriter{e: e, iq: iq}
	w.enc = xml.NewEncoder(&w.buf)
	t := struct {
		xml.TokenReader
		*answerWriter
	}{xmlstream.InnerElement(d), w}

	isIQ := start.Name.Local == "iq"
	switch {
	case isIQ && (iq.Type == stanza.ResultIQ || iq.Type == stanza.ErrorIQ):
		e.complete(iq, xmlstream.Inner(d))
		return
	case isIQ && !onePayload(text):
		w.refuse(stanza.Error{Type: stanza.Modify, Condition: stanza.BadRequest})
		return
	}
	e.l.mu.Lock()
	m := e.mux
	e.l.mu.Unlock()
	if err := m.HandleXMPP(t, &start); err != nil {
		e.l.report("jingletest: handler of %s returned an error, which ends a mellium session: %v", e.addr, err)
		return
	}
	if isIQ && w.answers == 0 {
		w.refuse(stanza.Error{Type: stanza.Cancel, Condition: stanza.ServiceUnavailable})
	}
}

// onePayload reports whether the stanza has exactly one child element and no text.
func onePayload(text string) bool {
	var content struct {
		Text     string `xml:",chardata"`
		Children []struct {
			XMLName xml.Name
		} `xml:",any"`
	}
	err := xml.Unmarshal([]byte(text), &content)
	return err == nil && len(content.Children) == 1 && strings.TrimSpace(content.Text) == ""
}

// An answerWriter takes what a handler writes and sends each stanza as soon as
// it is complete, with our address as from, as a server makes sure.
type answerWriter struct {
	e       *End
	iq      stanza.IQ // what is being answered
	answers int
	buf     strings.Builder
	enc     *xml.Encoder
	depth   int
}

// EncodeToken implements xmlstream.TokenWriter.
func (w *answerWriter) EncodeToken(t xml.Token) error {
	switch tok := t.(type) {
	case xml.StartElement:
		if w.depth == 0 && tok.Name.Local == "iq" {
			w.countAnswer(tok)
			t = stamp(tok, w.e.addr)
		}
		w.depth++
	case xml.EndElement:
		w.depth--
		if w.depth == 0 && tok.Name.Local == "iq" {
			tok.Name.Space = stanza.NSClient
			t = tok
		}
	}
	if err := w.enc.EncodeToken(t); err != nil {
		return err
	}
	if w.depth > 0 {
		return nil
	}
	return w.send()
}

// Encode implements xmlstream.Encoder. V must render as a whole stanza.
func (w *answerWriter) Encode(v any) error {
	return w.encoded(xml.Marshal(v))
}

// EncodeElement implements xmlstream.Encoder. V must render as a whole stanza.
func (w *answerWriter) EncodeElement(v any, start xml.StartElement) error {
	var b strings.Builder
	err := xml.NewEncoder(&b).EncodeElement(v, start)
	return w.encoded([]byte(b.String()), err)
}

// encoded passes rendered XML through EncodeToken.
func (w *answerWriter) encoded(b []byte, err error) error {
	if err != nil {
		return err
	}
	d := xml.NewDecoder(strings.NewReader(string(b)))
	_, err = xmlstream.Copy(w, xmlstream.RemoveAttr(func(_ xml.StartElement, a xml.Attr) bool {
		return a.Name.Space == "xmlns" || a.Name.Local == "xmlns"
	})(d))
	return err
}

// countAnswer notes that start begins the answer to w.iq.
func (w *answerWriter) countAnswer(start xml.StartElement) {
	typ := attr(start, "type")
	if attr(start, "id") != w.iq.ID || typ != string(stanza.ResultIQ) && typ != string(stanza.ErrorIQ) {
		return
	}
	w.answers++
	if w.answers > 1 {
		w.e.l.report("jingletest: %s answered IQ %q twice", w.e.addr, w.iq.ID)
	}
}

// send sends the complete stanza in the buffer.
func (w *answerWriter) send() error {
	if err := w.enc.Flush(); err != nil {
		return err
	}
	text := w.buf.String()
	w.buf.Reset()
	w.e.l.mu.Lock()
	gone := w.e.err
	w.e.l.mu.Unlock()
	if strings.TrimSpace(text) == "" || gone != nil {
		return nil // white space between stanzas, or nobody to send it to
	}
	w.e.sendMu.Lock()
	defer w.e.sendMu.Unlock()
	w.e.sendLocked(text)
	return nil
}

// refuse answers w.iq with an error. Nobody waits for the outcome: if the
// session is gone there is nothing to answer.
func (w *answerWriter) refuse(e stanza.Error) {
	_, _ = xmlstream.Copy(w, w.iq.Error(e))
}

// stamp puts the sender's address and the stanza namespace on a stanza. The
// attributes are copied, since the caller may use its slice again.
func stamp(start xml.StartElement, from jid.JID) xml.StartElement {
	start = start.Copy()
	start.Name.Space = stanza.NSClient
	for i := range start.Attr {
		if start.Attr[i].Name.Space == "" && start.Attr[i].Name.Local == "from" {
			start.Attr[i].Value = from.String()
			return start
		}
	}
	start.Attr = append(start.Attr, xml.Attr{Name: xml.Name{Local: "from"}, Value: from.String()})
	return start
}
