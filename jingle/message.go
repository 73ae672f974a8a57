// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package jingle

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"

	"mellium.im/xmpp/jid"
)

// A Content says what a session carries, how, and how it is secured: a
// <content/> element (XEP-0166 §7.3). Children with other names are not kept.
type Content struct {
	Creator     string  // CreatorInitiator or CreatorResponder; empty means initiator
	Name        string  // unique among the contents of one creator
	Senders     string  // both, initiator, none or responder; empty means both
	Disposition string  // empty means session
	Description Element // the application; nil if absent
	Transport   Element // the transport method; nil if absent
	Security    Element // the security precondition; nil if absent
}

// A Message is a parsed <jingle/> element (XEP-0166 §7.1).
type Message struct {
	Action   Action
	SID      string
	Contents []Content
	Info     Element // the first child that is neither content nor reason: what a session-info tells; nil if absent

	Reason      Reason  // empty if absent
	Text        string  // of the reason, for people; what a peer sent is cut to 512 octets and must be quoted when shown
	Alternative string  // session id that goes with ReasonAlternativeSession
	Detail      Element // of the reason, in another namespace; nil if absent

	// Initiator and Responder are the attributes of these names; zero if absent or
	// malformed. Nothing in this package acts on them.
	Initiator, Responder jid.JID
}

// Parse reads a <jingle/> element from r and checks everything that can be said
// about it without knowing the session: names and values of attributes, number
// of children, and what each action must contain (XEP-0166 §7). Bounds are
// [MaxElement] and [MaxDepth]. The order of children does not matter.
func Parse(r xml.TokenReader) (*Message, error) {
	m, _, err := parse(r)
	if err != nil {
		return nil, fmt.Errorf("jingle: %w", err)
	}
	return m, nil
}

// parse is Parse without prefix on errors. It also returns the size of the
// rendered element in octets.
func parse(r xml.TokenReader) (*Message, int, error) {
	// Rendering first bounds everything that follows.
	w := &renderer{}
	if err := w.element(r); err != nil {
		return nil, 0, err
	}
	m := &Message{}
	if err := m.read(xml.NewDecoder(bytes.NewReader(w.buf.Bytes()))); err != nil {
		return nil, 0, err
	}
	return m, w.buf.Len(), m.check()
}

func (m *Message) read(d *xml.Decoder) error {
	start, err := nextStart(d)
	if err != nil {
		return err
	}
	if start.Name != (xml.Name{Space: NS, Local: "jingle"}) {
		return fmt.Errorf("<jingle/> expected, not %q of %q", cut(start.Name.Local, maxQuoted), cut(start.Name.Space, maxQuoted))
	}
	m.Action, m.SID = Action(attr(start, "action")), attr(start, "sid")
	m.Initiator, m.Responder = parseJID(attr(start, "initiator")), parseJID(attr(start, "responder"))

	reasons := 0
	return children(d, func(start xml.StartElement) error {
		switch {
		case start.Name == xml.Name{Space: NS, Local: "content"}:
			c, err := readContent(d, start)
			m.Contents = append(m.Contents, c)
			return err
		case start.Name == xml.Name{Space: NS, Local: "reason"}:
			if reasons++; reasons > 1 {
				return errors.New("more than one <reason/>")
			}
			return m.readReason(d)
		case start.Name.Space != NS && m.Info == nil:
			return readInto(&m.Info, d, start)
		}
		return d.Skip()
	})
}

func readContent(d *xml.Decoder, start xml.StartElement) (Content, error) {
	c := Content{
		Creator:     attr(start, "creator"),
		Name:        attr(start, "name"),
		Senders:     attr(start, "senders"),
		Disposition: attr(start, "disposition"),
	}
	return c, children(d, func(start xml.StartElement) error {
		var slot *Element
		switch start.Name.Local {
		case "description":
			slot = &c.Description
		case "transport":
			slot = &c.Transport
		case "security":
			slot = &c.Security
		default:
			return d.Skip()
		}
		if *slot != nil {
			return fmt.Errorf("more than one <%s/> in a content", start.Name.Local)
		}
		return readInto(slot, d, start)
	})
}

// readReason reads a <reason/>. It is tolerant: nothing in it may keep a session
// from ending.
func (m *Message) readReason(d *xml.Decoder) error {
	return children(d, func(start xml.StartElement) error {
		switch {
		case start.Name == xml.Name{Space: NS, Local: "text"}:
			var text string
			if err := d.DecodeElement(&text, &start); err != nil {
				return err
			}
			m.Text = cut(text, maxText)
			return nil
		case start.Name.Space == NS && m.Reason == "":
			m.Reason = Reason(start.Name.Local)
			var condition struct {
				SID string `xml:"urn:xmpp:jingle:1 sid"`
			}
			if err := d.DecodeElement(&condition, &start); err != nil {
				return err
			}
			if m.Reason == ReasonAlternativeSession {
				m.Alternative = cut(condition.SID, maxSID)
			}
			return nil
		case start.Name.Space != NS && m.Detail == nil:
			return readInto(&m.Detail, d, start)
		}
		return d.Skip()
	})
}

// check applies the rules of XEP-0166 §7 that depend only on the message.
func (m *Message) check() error {
	switch {
	case !m.Action.known():
		return fmt.Errorf("unknown action %q (XEP-0166 §7.2)", cut(string(m.Action), maxQuoted))
	case m.SID == "" || len(m.SID) > maxSID:
		return fmt.Errorf("sid must have 1 to %d octets", maxSID)
	}
	for _, c := range m.Contents {
		if !slices.Contains(creators, c.Creator) || !slices.Contains(senders, c.Senders) {
			return errors.New("unknown creator or senders (XEP-0166 §7.3)")
		}
		if err := m.checkContent(c); err != nil {
			return err
		}
	}
	switch m.Action {
	case ActionSessionInfo, ActionSessionTerminate:
		return nil
	case ActionSessionInitiate:
		session := func(c Content) bool { return c.Disposition == "" || c.Disposition == dispositionSession }
		if len(m.Contents) > 0 && !slices.ContainsFunc(m.Contents, session) {
			return errors.New("disposition must be session (XEP-0166 §7.2.10)")
		}
	}
	if len(m.Contents) == 0 {
		return fmt.Errorf("%s without <content/>", m.Action)
	}
	return nil
}

// checkContent checks what a content must have, by action.
func (m *Message) checkContent(c Content) error {
	var missing bool
	switch m.Action {
	case ActionSessionInitiate:
		// Elsewhere a missing name is tolerated: some send a bare <content/>.
		missing = c.Description == nil || c.Transport == nil || c.Name == ""
	case ActionSessionAccept:
		missing = c.Description == nil || c.Transport == nil
	case ActionSecurityInfo:
		missing = c.Security == nil
	case ActionTransportInfo, ActionTransportReplace, ActionTransportAccept:
		missing = c.Transport == nil
	case ActionDescriptionInfo:
		missing = c.Description == nil
	case ActionContentModify:
		missing = c.Senders == ""
	}
	if missing {
		return fmt.Errorf("<content/> of %s is incomplete (XEP-0166 §7)", m.Action)
	}
	return nil
}

// XML renders m as a <jingle/> element with its namespaces declared. It is an
// error if m breaks a rule that [Parse] checks, or if an Element is not exactly
// one element.
func (m *Message) XML() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("jingle: %w", err)
	}
	w := &renderer{}
	err := w.write("jingle", []xml.Attr{
		{Name: xml.Name{Local: "action"}, Value: string(m.Action)},
		{Name: xml.Name{Local: "sid"}, Value: m.SID},
		{Name: xml.Name{Local: "initiator"}, Value: m.Initiator.String()},
		{Name: xml.Name{Local: "responder"}, Value: m.Responder.String()},
	}, func() error {
		for _, c := range m.Contents {
			if err := w.content(c); err != nil {
				return err
			}
		}
		return errors.Join(w.reason(m), w.opaque(m.Info))
	})
	if err != nil {
		return nil, fmt.Errorf("jingle: %w", err)
	}
	return w.buf.Bytes(), nil
}

func (w *renderer) content(c Content) error {
	return w.write("content", []xml.Attr{
		{Name: xml.Name{Local: "creator"}, Value: c.Creator},
		{Name: xml.Name{Local: "name"}, Value: c.Name},
		{Name: xml.Name{Local: "senders"}, Value: c.Senders},
		{Name: xml.Name{Local: "disposition"}, Value: c.Disposition},
	}, func() error {
		for _, e := range []Element{c.Description, c.Transport, c.Security} {
			if err := w.opaque(e); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *renderer) reason(m *Message) error {
	if m.Reason == "" && m.Text == "" && m.Detail == nil {
		return nil
	}
	return w.write("reason", nil, func() error {
		if m.Reason != "" {
			err := w.write(string(m.Reason), nil, func() error { return w.text("sid", m.Alternative) })
			if err != nil {
				return err
			}
		}
		return errors.Join(w.text("text", m.Text), w.opaque(m.Detail))
	})
}

// text writes an element that has only text, unless that is empty.
func (w *renderer) text(name, text string) error {
	if text == "" {
		return nil
	}
	return w.write(name, nil, func() error { return w.token(xml.CharData(text)) })
}

// write writes an element of Jingle's namespace with the attributes that are not
// empty.
func (w *renderer) write(name string, attrs []xml.Attr, content func() error) error {
	start := xml.StartElement{Name: xml.Name{Space: NS, Local: name}}
	for _, a := range attrs {
		if a.Value != "" {
			start.Attr = append(start.Attr, a)
		}
	}
	if err := w.token(start); err != nil {
		return err
	}
	if err := content(); err != nil {
		return err
	}
	return w.token(start.End())
}

// opaque writes e, which must be exactly one element, or nothing if absent. It is
// parsed on the way, since malformed XML would end the XMPP session.
func (w *renderer) opaque(e Element) error {
	if len(e) == 0 {
		return nil
	}
	r := e.TokenReader()
	if err := w.element(r); err != nil {
		return err
	}
	tok, err := r.Token()
	if text, ok := tok.(xml.CharData); ok && len(bytes.TrimSpace(text)) == 0 {
		_, err = r.Token()
	}
	if !errors.Is(err, io.EOF) {
		return errors.New("an Element must be exactly one element")
	}
	return nil
}

// children calls f for each child of the element whose start was just read, up
// to its end. f must consume the child.
func children(d *xml.Decoder, f func(xml.StartElement) error) error {
	for {
		tok, err := d.Token()
		if err != nil {
			return noToken(err)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if err := f(tok); err != nil {
				return err
			}
		case xml.EndElement:
			return nil
		}
	}
}

// readInto renders the element whose start was just read.
func readInto(e *Element, d *xml.Decoder, start xml.StartElement) error {
	w := &renderer{}
	if err := w.token(start); err != nil {
		return err
	}
	for len(w.open) > 0 {
		tok, err := d.Token()
		if err != nil {
			return noToken(err)
		}
		if err := w.token(tok); err != nil {
			return err
		}
	}
	*e = w.buf.Bytes()
	return nil
}

func nextStart(d *xml.Decoder) (xml.StartElement, error) {
	tok, err := d.Token()
	if err != nil {
		return xml.StartElement{}, noToken(err)
	}
	start, ok := tok.(xml.StartElement)
	if !ok {
		return xml.StartElement{}, errors.New("an element was expected")
	}
	return start, nil
}

// attr returns an attribute without namespace, or "".
func attr(start xml.StartElement, name string) string {
	for _, a := range start.Attr {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// parseJID returns the zero JID for what is not one, and for the few that do not
// come out the same when normalised twice.
func parseJID(s string) jid.JID {
	j, err := jid.Parse(s)
	if err != nil {
		return jid.JID{}
	}
	if again, err := jid.Parse(j.String()); err != nil || !again.Equal(j) {
		return jid.JID{}
	}
	return j
}
