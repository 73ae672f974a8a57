// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"mellium.im/xmpp/stream"
)

const (
	// maxDepth is how deep elements may nest, the stanza itself counted.
	maxDepth = 64

	// maxAttrs is how many attributes, declarations included, an element may have:
	// the search for repeated ones is quadratic.
	maxAttrs = 64
)

// An element is one first-level child of a client's stream.
type element struct {
	Name  xml.Name
	Attrs []xml.Attr

	// Inner is the content, written anew for an element of namespace Name.Space.
	// It is valid until the next call of next.
	Inner []byte

	Child    xml.Name // the first child element, if any
	Children int      // how many child elements
	Text     bool     // there is text other than white space beside them
}

// attr returns the attribute of this name without namespace, or "".
func (e *element) attr(local string) string {
	for _, a := range e.Attrs {
		if a.Name.Space == "" && a.Name.Local == local {
			return a.Value
		}
	}
	return ""
}

// render writes the whole element as it stands in a stream of namespace
// jabber:client.
func (e *element) render() []byte {
	b := make([]byte, 0, len(e.Inner)+256)
	b = appendStart(b, e.Name, e.Attrs, nsClient)
	if len(e.Inner) == 0 {
		return append(b, '/', '>')
	}
	b = append(b, '>')
	b = append(b, e.Inner...)
	return appendEnd(b, e.Name.Local)
}

// A reader takes a client's stream apart. What encoding/xml lets pass and a
// stricter parser at another client would not, it refuses: undeclared prefixes,
// repeated attributes, names that are not names. Comments, processing
// instructions and DTDs are restricted-xml (RFC 6120 §11.1). Not for concurrent
// use.
type reader struct {
	src   *source
	limit int // octets of one first-level element
	dec   *xml.Decoder
	base  int64 // where in src dec began

	open  []openElement // the stream's root first
	binds []binding

	out     []byte // content of the element being read
	pending bool   // the last start tag in out still lacks its ">"
}

// An openElement is a start tag without its end tag yet.
type openElement struct {
	raw   xml.Name // as written, Space is the prefix
	space string   // namespace
	binds int      // how many bindings were in scope outside
}

type binding struct{ prefix, uri string }

func newReader(src *source, limit int) *reader {
	return &reader{src: src, limit: limit}
}

// restart begins a new stream on the same connection: RFC 6120 §4.3.3.
func (r *reader) restart() {
	r.dec = xml.NewDecoder(r.src)
	r.dec.CharsetReader = func(string, io.Reader) (io.Reader, error) {
		return nil, stream.UnsupportedEncoding
	}
	r.base, r.open, r.binds = r.src.pos, r.open[:0], r.binds[:0]
}

// header reads the start tag of the stream.
func (r *reader) header() (*element, error) {
	r.restart()
	r.allow()
	first := true
	for {
		tok, err := r.token()
		if err != nil {
			return nil, err
		}
		switch t := tok.(type) {
		case xml.ProcInst:
			if !first || t.Target != "xml" {
				return nil, stream.RestrictedXML
			}
		case xml.CharData:
			if !isSpace(t) {
				return nil, stream.NotWellFormed
			}
		case xml.StartElement:
			name, attrs, err := r.push(t)
			if err != nil {
				return nil, err
			}
			return &element{Name: name, Attrs: attrs}, nil
		case xml.EndElement:
			return nil, stream.NotWellFormed
		default:
			return nil, stream.RestrictedXML
		}
		first = false
	}
}

// defaultSpace returns the namespace of elements without a prefix.
func (r *reader) defaultSpace() string {
	space, _ := r.resolve(xml.Name{Local: "stream"}, true)
	return space
}

// next reads one first-level element. The end of the stream is io.EOF.
func (r *reader) next() (*element, error) {
	for {
		r.allow()
		tok, err := r.token()
		if err != nil {
			return nil, err
		}
		switch t := tok.(type) {
		case xml.CharData: // a keepalive: RFC 6120 §4.6.1
			if !isSpace(t) {
				return nil, stream.BadFormat
			}
		case xml.EndElement:
			if _, err := r.pop(t); err != nil {
				return nil, err
			}
			return nil, io.EOF
		case xml.StartElement:
			return r.element(t)
		default:
			return nil, stream.RestrictedXML
		}
	}
}

// element reads the rest of the element that begins with start.
func (r *reader) element(start xml.StartElement) (*element, error) {
	name, attrs, err := r.push(start)
	if err != nil {
		return nil, err
	}
	e := &element{Name: name, Attrs: attrs}
	r.out, r.pending = r.out[:0], false
	for len(r.open) > 1 {
		tok, err := r.token()
		if err != nil {
			return nil, err
		}
		if err := r.content(e, tok); err != nil {
			return nil, err
		}
	}
	e.Inner = r.out
	return e, nil
}

// content adds one token inside e to what is written.
func (r *reader) content(e *element, tok xml.Token) error {
	top := len(r.open) == 2
	switch t := tok.(type) {
	case xml.StartElement:
		parent := r.open[len(r.open)-1].space
		name, attrs, err := r.push(t)
		if err != nil {
			return err
		}
		if top {
			e.Children++
			if e.Children == 1 {
				e.Child = name
			}
		}
		r.closeTag()
		r.out = appendStart(r.out, name, attrs, parent)
		r.pending = true
	case xml.EndElement:
		local, err := r.pop(t)
		switch {
		case err != nil:
			return err
		case top:
		case r.pending:
			r.out = append(r.out, '/', '>')
			r.pending = false
		default:
			r.out = appendEnd(r.out, local)
		}
	case xml.CharData:
		if len(t) == 0 {
			return nil
		}
		if top && !isSpace(t) {
			e.Text = true
		}
		r.closeTag()
		r.out = appendEscaped(r.out, []byte(t), false)
	default:
		return stream.RestrictedXML
	}
	return nil
}

func (r *reader) closeTag() {
	if r.pending {
		r.out = append(r.out, '>')
		r.pending = false
	}
}

// token reads one token and says in RFC 6120's words what is wrong with it.
func (r *reader) token() (xml.Token, error) {
	tok, err := r.dec.RawToken()
	if err == nil {
		return tok, nil
	}
	if r.src.err != nil { // whatever the decoder makes of it
		return nil, r.src.err
	}
	if se, ok := errors.AsType[stream.Error](err); ok {
		return nil, se
	}
	return nil, stream.NotWellFormed
}

// allow lets as many octets pass as one first-level element may have, from the
// end of the last token.
func (r *reader) allow() {
	r.src.limit = r.base + r.dec.InputOffset() + int64(r.limit)
}

// push enters an element and returns its name and attributes with namespaces in
// place of prefixes.
func (r *reader) push(t xml.StartElement) (xml.Name, []xml.Attr, error) {
	if len(r.open) > maxDepth || len(t.Attr) > maxAttrs {
		return xml.Name{}, nil, stream.PolicyViolation
	}
	outside := len(r.binds)
	for _, a := range t.Attr {
		if !isDeclaration(a.Name) {
			continue
		}
		prefix := a.Name.Local
		if a.Name.Space == "" {
			prefix = ""
		}
		if !r.bind(prefix, a.Value) {
			return xml.Name{}, nil, stream.NotWellFormed
		}
	}
	space, ok := r.resolve(t.Name, true)
	if !ok || space == nsXML {
		return xml.Name{}, nil, stream.NotWellFormed
	}
	for i := range t.Attr {
		if !r.resolveAttr(t.Attr, i) {
			return xml.Name{}, nil, stream.NotWellFormed
		}
	}
	r.open = append(r.open, openElement{raw: t.Name, space: space, binds: outside})
	return xml.Name{Space: space, Local: t.Name.Local}, t.Attr, nil
}

// bind declares a prefix; "" is the default namespace. It refuses what Namespaces
// in XML §3 reserves or forbids.
func (r *reader) bind(prefix, uri string) bool {
	if prefix == "xml" {
		return uri == nsXML
	}
	if prefix == "xmlns" || uri == nsXML || uri == nsXMLNS || prefix != "" && uri == "" {
		return false
	}
	r.binds = append(r.binds, binding{prefix, uri})
	return true
}

// resolve returns the namespace of a name as it was written.
func (r *reader) resolve(name xml.Name, element bool) (string, bool) {
	if !isLocalName(name) {
		return "", false
	}
	switch {
	case name.Space == "" && !element:
		return "", true
	case name.Space == "xml":
		return nsXML, true
	}
	for i := len(r.binds) - 1; i >= 0; i-- {
		if r.binds[i].prefix == name.Space {
			return r.binds[i].uri, true
		}
	}
	return "", name.Space == ""
}

// resolveAttr puts the namespace into the name of attribute i, unless it declares
// one, and says whether the name is known and its first.
func (r *reader) resolveAttr(attrs []xml.Attr, i int) bool {
	a := &attrs[i]
	if !isDeclaration(a.Name) {
		space, ok := r.resolve(a.Name, false)
		if !ok {
			return false
		}
		a.Name.Space = space
	}
	for _, b := range attrs[:i] {
		if b.Name == a.Name {
			return false
		}
	}
	return true
}

// isLocalName says whether the local part of a name would be a name by itself:
// encoding/xml checks only the whole, and written anew it has no prefix.
func isLocalName(name xml.Name) bool {
	if strings.Contains(name.Local, ":") {
		return false
	}
	if name.Space == "" {
		return true
	}
	c := name.Local[0]
	if c < utf8.RuneSelf {
		return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z'
	}
	_, err := xml.NewDecoder(strings.NewReader("<" + name.Local + "/>")).RawToken()
	return err == nil
}

// pop leaves the innermost element and returns its local name.
func (r *reader) pop(t xml.EndElement) (string, error) {
	last := len(r.open) - 1
	if last < 0 || r.open[last].raw != t.Name {
		return "", stream.NotWellFormed
	}
	r.binds = r.binds[:r.open[last].binds]
	r.open = r.open[:last]
	return t.Name.Local, nil
}

func isSpace(b []byte) bool { return len(bytes.Trim(b, " \t\r\n")) == 0 }
