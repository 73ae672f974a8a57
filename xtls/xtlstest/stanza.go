// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

// A Stanza is one stanza between two clients as the server holds it.
type Stanza struct {
	Kind string  // "iq", "message" or "presence"
	Type string  // attribute type, "" if absent
	ID   string  // attribute id
	From jid.JID // true sender, a full address
	To   jid.JID // receiver; what it is delivered to, whatever XML says

	// XML is the stanza as it is delivered, for a stream of namespace jabber:client.
	// It may be shared: replace it, do not change its octets.
	XML []byte
}

// ParseStanza makes a Stanza of one rendered stanza of namespace jabber:client,
// declared or not. It is for forging one in a [Tamper].
func ParseStanza(s string) (*Stanza, error) {
	n, err := parseNode([]byte(s))
	if err != nil {
		return nil, err
	}
	st := &Stanza{Kind: n.name.Local, Type: n.attr("type"), ID: n.attr("id"), XML: n.render()}
	if n.name.Space != nsClient || !isStanzaKind(st.Kind) {
		return nil, fmt.Errorf("xtlstest: %q is no stanza", cut(st.Kind))
	}
	if from := n.attr("from"); from != "" {
		if st.From, err = jid.Parse(from); err != nil {
			return nil, fmt.Errorf("xtlstest: from: %w", err)
		}
	}
	if to := n.attr("to"); to != "" {
		if st.To, err = jid.Parse(to); err != nil {
			return nil, fmt.Errorf("xtlstest: to: %w", err)
		}
	}
	return st, nil
}

func isStanzaKind(s string) bool { return s == "iq" || s == "message" || s == "presence" }

// isRequest says whether st is an IQ that must be answered.
func (st *Stanza) isRequest() bool {
	return st.Kind == "iq" && (st.Type == "get" || st.Type == "set")
}

// with returns a copy of st with other XML.
func (st *Stanza) with(b []byte) *Stanza {
	other := *st
	other.XML = b
	return &other
}

// answer returns a stanza of the same kind in the other direction, with content
// already rendered.
func (st *Stanza) answer(typ, content string) *Stanza {
	b := append([]byte{'<'}, st.Kind...)
	b = appendAttr(b, "type", typ)
	if st.ID != "" {
		b = appendAttr(b, "id", st.ID)
	}
	if to := st.To.String(); to != "" {
		b = appendAttr(b, "from", to)
	}
	if from := st.From.String(); from != "" {
		b = appendAttr(b, "to", from)
	}
	if content == "" {
		b = append(b, '/', '>')
	} else {
		b = append(b, '>')
		b = append(b, content...)
		b = appendEnd(b, st.Kind)
	}
	return &Stanza{Kind: st.Kind, Type: typ, ID: st.ID, From: st.To, To: st.From, XML: b}
}

// refuse returns the error stanza that answers st: RFC 6120 §8.3.
func (st *Stanza) refuse(typ stanza.ErrorType, cond stanza.Condition) *Stanza {
	return st.answer("error", "<error type='"+string(typ)+"'><"+string(cond)+" xmlns='"+nsStanzas+"'/></error>")
}

// A node is an element of a parsed stanza, for tampers.
type node struct {
	name  xml.Name
	attrs []xml.Attr
	kids  []any // *node or string
}

// parseNode parses one element in a stream of namespace jabber:client.
func parseNode(b []byte) (*node, error) {
	d := xml.NewDecoder(strings.NewReader(string(b)))
	d.DefaultSpace = nsClient
	var root *node
	var open []*node
	for {
		tok, err := d.Token()
		switch {
		case err == io.EOF && root != nil:
			return root, nil
		case err == io.EOF:
			return nil, errors.New("xtlstest: no element")
		case err != nil:
			return nil, fmt.Errorf("xtlstest: %w", err)
		}
		switch t := tok.(type) {
		case xml.StartElement:
			n := &node{name: t.Name, attrs: t.Attr}
			switch {
			case len(open) > 0:
				parent := open[len(open)-1]
				parent.kids = append(parent.kids, n)
			case root != nil:
				return nil, errors.New("xtlstest: more than one element")
			default:
				root = n
			}
			open = append(open, n)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				n := open[len(open)-1]
				n.kids = append(n.kids, string(t))
			}
		}
	}
}

// render writes n as it stands in a stream of namespace jabber:client.
func (n *node) render() []byte { return n.append(nil, nsClient) }

func (n *node) append(b []byte, parent string) []byte {
	b = appendStart(b, n.name, n.attrs, parent)
	if len(n.kids) == 0 {
		return append(b, '/', '>')
	}
	b = append(b, '>')
	for _, k := range n.kids {
		switch k := k.(type) {
		case *node:
			b = k.append(b, n.name.Space)
		case string:
			b = appendEscaped(b, k, false)
		}
	}
	return appendEnd(b, n.name.Local)
}

// attr returns the attribute of this name without namespace, or "".
func (n *node) attr(local string) string {
	for _, a := range n.attrs {
		if a.Name.Space == "" && a.Name.Local == local {
			return a.Value
		}
	}
	return ""
}

// setAttr sets the attribute of this name without namespace.
func (n *node) setAttr(local, value string) {
	for i, a := range n.attrs {
		if a.Name.Space == "" && a.Name.Local == local {
			n.attrs[i].Value = value
			return
		}
	}
	n.attrs = append(n.attrs, xml.Attr{Name: xml.Name{Local: local}, Value: value})
}

// children returns the child elements of this name.
func (n *node) children(space, local string) []*node {
	var found []*node
	for _, k := range n.kids {
		if c, ok := k.(*node); ok && c.name.Space == space && c.name.Local == local {
			found = append(found, c)
		}
	}
	return found
}

// child returns the first child element of this name, or nil.
func (n *node) child(space, local string) *node {
	if found := n.children(space, local); len(found) > 0 {
		return found[0]
	}
	return nil
}

// remove takes child elements out and says whether there were any.
func (n *node) remove(which func(*node) bool) bool {
	before := len(n.kids)
	kept := n.kids[:0]
	for _, k := range n.kids {
		if c, ok := k.(*node); !ok || !which(c) {
			kept = append(kept, k)
		}
	}
	n.kids = kept
	return len(kept) < before
}

// text returns the character data directly in n.
func (n *node) text() string {
	var b strings.Builder
	for _, k := range n.kids {
		if s, ok := k.(string); ok {
			b.WriteString(s)
		}
	}
	return b.String()
}
