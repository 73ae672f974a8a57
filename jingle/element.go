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
	"strconv"
	"strings"
)

const (
	// MaxElement is the size limit of a <jingle/> element in octets, in the form
	// in which this package writes it: with every namespace declared where it is
	// used. It holds for what is sent as well.
	MaxElement = 64 << 10

	// MaxDepth is how deep elements may nest; the outermost counts as 1.
	MaxDepth = 64
)

const (
	nsXML   = "http://www.w3.org/XML/1998/namespace"
	nsXMLNS = "http://www.w3.org/2000/xmlns/"
)

var (
	errTooBig  = fmt.Errorf("element is larger than %d octets", MaxElement)
	errTooDeep = fmt.Errorf("elements nest deeper than %d", MaxDepth)
)

// An Element is one rendered XML element with all its namespaces declared. It
// holds what this package carries without looking inside: descriptions,
// transports and security preconditions. Empty or nil means absent.
//
// Elements that come from a peer are always in the form that [ReadElement]
// gives, however the servers between may have rewritten prefixes and quotes.
type Element []byte

// ReadElement reads one element from r, up to and including its end, and renders
// it. White space before it is skipped. What is not allowed in XMPP (comments,
// processing instructions), more than [MaxElement] octets or more than
// [MaxDepth] levels is an error.
func ReadElement(r xml.TokenReader) (Element, error) {
	w := &renderer{}
	if err := w.element(r); err != nil {
		return nil, fmt.Errorf("jingle: %w", err)
	}
	return w.buf.Bytes(), nil
}

// Name returns the name of the element, or the zero Name if e is absent or not
// XML.
func (e Element) Name() xml.Name {
	d := xml.NewDecoder(bytes.NewReader(e))
	for {
		tok, err := d.Token()
		if err != nil {
			return xml.Name{}
		}
		if start, ok := tok.(xml.StartElement); ok {
			return start.Name
		}
	}
}

// Decode unmarshals e into v as [xml.Unmarshal] does. An absent element is an
// error.
func (e Element) Decode(v any) error {
	if len(e) == 0 {
		return errors.New("jingle: the element is absent")
	}
	if err := xml.Unmarshal(e, v); err != nil {
		return fmt.Errorf("jingle: %w", err)
	}
	return nil
}

// TokenReader returns a reader of the tokens of e. It is independent of other
// readers of e.
func (e Element) TokenReader() xml.TokenReader {
	return xml.NewDecoder(bytes.NewReader(e))
}

// A renderer writes XML from tokens in one fixed form: no prefixes on elements,
// the default namespace declared wherever it changes, prefixes n0, n1, … for
// attributes that have a namespace. encoding/xml's Encoder cannot be fed what
// its Decoder yields: it repeats xmlns attributes.
type renderer struct {
	buf  bytes.Buffer
	open []xml.Name // elements that are not closed yet
	bare bool       // the last start tag still lacks its ">"
}

// element copies one element from r.
func (w *renderer) element(r xml.TokenReader) error {
	outer := len(w.open)
	for {
		tok, err := r.Token()
		if tok == nil {
			return noToken(err)
		}
		if _, ok := tok.(xml.StartElement); !ok && len(w.open) == outer {
			if text, ok := tok.(xml.CharData); ok && len(bytes.TrimSpace(text)) == 0 && err == nil {
				continue
			}
			return errors.New("an element was expected")
		}
		if err := w.token(tok); err != nil {
			return err
		}
		if len(w.open) == outer {
			return nil
		}
		if err != nil {
			return noToken(err)
		}
	}
}

// noToken says why there is no token before the end of an element.
func noToken(err error) error {
	switch {
	case err == nil:
		return io.ErrNoProgress
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return err
}

// token writes one token. It is an error if the limits are passed.
func (w *renderer) token(tok xml.Token) error {
	var err error
	switch tok := tok.(type) {
	case xml.StartElement:
		err = w.start(tok)
	case xml.EndElement:
		w.end()
	case xml.CharData:
		w.closeTag()
		// A bytes.Buffer does not fail.
		_ = xml.EscapeText(&w.buf, tok)
	default:
		err = fmt.Errorf("%T is not allowed in a stanza", tok)
	}
	if err == nil && w.buf.Len() > MaxElement {
		err = errTooBig
	}
	return err
}

func (w *renderer) start(start xml.StartElement) error {
	if err := checkName(start.Name); err != nil {
		return err
	}
	if len(w.open) >= MaxDepth {
		return errTooDeep
	}
	w.closeTag()
	w.buf.WriteString("<" + start.Name.Local)
	// The outermost element declares its namespace even if it has none: it may be
	// put into another one.
	if n := len(w.open); n == 0 || w.open[n-1].Space != start.Name.Space {
		w.attr("xmlns", start.Name.Space)
	}
	if err := w.attrs(start.Attr); err != nil {
		return err
	}
	w.open = append(w.open, start.Name)
	w.bare = true
	return nil
}

// attrs writes attributes without the namespace declarations among them, which
// start and attrs make themselves.
func (w *renderer) attrs(attrs []xml.Attr) error {
	seen := make(map[xml.Name]bool, len(attrs))
	for _, a := range attrs {
		if a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns" {
			continue
		}
		if err := checkName(xml.Name{Local: a.Name.Local}); err != nil {
			return err
		}
		if seen[a.Name] {
			return fmt.Errorf("attribute %q is there twice", a.Name.Local)
		}
		seen[a.Name] = true
		name := a.Name.Local
		switch a.Name.Space {
		case "":
		case nsXML:
			name = "xml:" + name
		case nsXMLNS:
			return errors.New("an attribute has a reserved namespace")
		default:
			prefix := "n" + strconv.Itoa(len(seen)-1)
			w.attr("xmlns:"+prefix, a.Name.Space)
			name = prefix + ":" + name
		}
		w.attr(name, a.Value)
		if w.buf.Len() > MaxElement {
			return errTooBig
		}
	}
	return nil
}

func (w *renderer) attr(name, value string) {
	w.buf.WriteString(" " + name + "='")
	_ = xml.EscapeText(&w.buf, []byte(value))
	w.buf.WriteString("'")
}

func (w *renderer) end() {
	last := len(w.open) - 1
	name := w.open[last].Local
	w.open = w.open[:last]
	if w.bare {
		w.buf.WriteString("/>")
		w.bare = false
		return
	}
	w.buf.WriteString("</" + name + ">")
}

// closeTag ends a start tag, now that the element is known to have content.
func (w *renderer) closeTag() {
	if w.bare {
		w.buf.WriteString(">")
		w.bare = false
	}
}

// checkName refuses names that would not come back the same when read again.
func checkName(name xml.Name) error {
	if name.Local == "" || strings.ContainsAny(name.Local, ":<>&'\"/= \t\r\n") {
		return fmt.Errorf("name %q is not allowed", cut(name.Local, maxQuoted))
	}
	if name.Space == nsXML || name.Space == nsXMLNS || name.Space == "xmlns" {
		return fmt.Errorf("element %q has a reserved namespace", cut(name.Local, maxQuoted))
	}
	return nil
}
