// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package jingle_test

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"

	"mellium.im/xmlstream"

	"example.org/xtls/jingle"
)

func read(s string) (jingle.Element, error) {
	return jingle.ReadElement(xml.NewDecoder(strings.NewReader(s)))
}

func TestReadElement(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"empty", "<a xmlns='u'/>", "<a xmlns='u'/>"},
		{"long form", `<a xmlns="u"></a>`, "<a xmlns='u'/>"},
		{"no namespace is declared too", "<a/>", "<a xmlns=''/>"},
		{"prefix", "<p:a xmlns:p='u'><p:b/></p:a>", "<a xmlns='u'><b/></a>"},
		{"namespace changes and is undone", "<a xmlns='u'><b xmlns='v'/><c/><d xmlns=''/></a>", "<a xmlns='u'><b xmlns='v'/><c/><d xmlns=''/></a>"},
		{"declaration far above", "<a xmlns='u' xmlns:p='v'><b><p:c/></b></a>", "<a xmlns='u'><b><c xmlns='v'/></b></a>"},
		{"attribute with prefix", "<a xmlns='u' xmlns:p='v' x='1' p:y='2'/>", "<a xmlns='u' x='1' xmlns:n1='v' n1:y='2'/>"},
		{"xml:lang", "<a xmlns='u' xml:lang='en'/>", "<a xmlns='u' xml:lang='en'/>"},
		{"escapes", "<a xmlns='u' x='&quot;&lt;&apos;'>&amp;&lt;<![CDATA[<&]]></a>", "<a xmlns='u' x='&#34;&lt;&#39;'>&amp;&lt;&lt;&amp;</a>"},
		{"white space before", " \n<a xmlns='u'> </a>", "<a xmlns='u'> </a>"},
		{"stops at its end", "<a xmlns='u'/><b/>", "<a xmlns='u'/>"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := read(test.in)
			if string(got) != test.want || err != nil {
				t.Fatalf("ReadElement(%q) = %q, %v, want %q", test.in, got, err, test.want)
			}
			again, err := jingle.ReadElement(got.TokenReader())
			if !bytes.Equal(again, got) || err != nil {
				t.Errorf("again: %q, %v, want the same", again, err)
			}
		})
	}
}

func TestReadElementRefuses(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"nothing", "", "unexpected EOF"},
		{"text", "text", "an element was expected"},
		{"cut off", "<a xmlns='u'><b>", "unexpected EOF"},
		{"comment", "<a xmlns='u'><!-- c --></a>", "not allowed"},
		{"processing instruction", "<a xmlns='u'><?p i?></a>", "not allowed"},
		{"document type", "<a xmlns='u'><!DOCTYPE x></a>", "not allowed"},
		{"attribute twice", "<a xmlns='u' x='1' x='2'/>", "twice"},
		{"attribute twice by prefix", "<a xmlns:p='u' xmlns:q='u' p:x='1' q:x='2'/>", "twice"},
		{"element in xml namespace", "<xml:a/>", "reserved"},
		{"attribute in xmlns namespace", "<a xmlns:p='http://www.w3.org/2000/xmlns/' p:x='1'/>", "reserved"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, err := read(test.in); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("ReadElement(%q) = %q, %v, want an error with %q", test.in, got, err, test.want)
			}
		})
	}
}

func nest(depth int) string {
	return strings.Repeat("<a xmlns='u'>", depth-1) + "<a xmlns='u'/>" + strings.Repeat("</a>", depth-1)
}

func TestElementBounds(t *testing.T) {
	if _, err := read(nest(jingle.MaxDepth)); err != nil {
		t.Errorf("%d levels: %v", jingle.MaxDepth, err)
	}
	if _, err := read(nest(jingle.MaxDepth + 1)); err == nil || !strings.Contains(err.Error(), "deeper") {
		t.Errorf("%d levels: %v, want an error", jingle.MaxDepth+1, err)
	}
	frame := len("<a xmlns='u'></a>")
	for _, test := range []struct {
		name string
		in   func(size int) string
	}{
		{"text", func(n int) string { return "<a xmlns='u'>" + strings.Repeat("x", n-frame) + "</a>" }},
		{"attribute", func(n int) string {
			return "<a xmlns='u' x='" + strings.Repeat("x", n-len("<a xmlns='u' x=''/>")) + "'/>"
		}},
	} {
		if e, err := read(test.in(jingle.MaxElement)); err != nil || len(e) != jingle.MaxElement {
			t.Errorf("%s: %d octets: got %d, %v", test.name, jingle.MaxElement, len(e), err)
		}
		if _, err := read(test.in(jingle.MaxElement + 1)); err == nil || !strings.Contains(err.Error(), "larger") {
			t.Errorf("%s: %d octets: %v, want an error", test.name, jingle.MaxElement+1, err)
		}
	}
	// A namespace declared once and used often must not multiply.
	var b strings.Builder
	fmt.Fprintf(&b, "<a xmlns='u' xmlns:p='%s'>", strings.Repeat("n", 1000))
	b.WriteString(strings.Repeat("<p:b/>", 10000) + "</a>")
	if _, err := read(b.String()); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("expanding namespaces: %v, want an error", err)
	}
}

// A TokenReader may return its last token together with io.EOF, and a broken one
// nothing at all.
func TestReadElementOddReaders(t *testing.T) {
	start := xml.StartElement{Name: xml.Name{Space: "u", Local: "a"}}
	if e, err := jingle.ReadElement(xmlstream.Wrap(nil, start)); string(e) != "<a xmlns='u'/>" || err != nil {
		t.Errorf("token with EOF: %q, %v", e, err)
	}
	if _, err := jingle.ReadElement(xmlstream.Token(start)); err == nil {
		t.Error("EOF with the start element: no error")
	}
	for _, name := range []string{"", "a:b", "a b", "a><b"} {
		odd := xml.StartElement{Name: xml.Name{Space: "u", Local: name}}
		if e, err := jingle.ReadElement(xmlstream.Wrap(nil, odd)); err == nil {
			t.Errorf("element %q: got %q, want an error", name, e)
		}
		odd = xml.StartElement{Name: start.Name, Attr: []xml.Attr{{Name: xml.Name{Local: name}}}}
		if e, err := jingle.ReadElement(xmlstream.Wrap(nil, odd)); err == nil {
			t.Errorf("attribute %q: got %q, want an error", name, e)
		}
	}
	if _, err := jingle.ReadElement(xmlstream.ReaderFunc(func() (xml.Token, error) { return nil, nil })); err == nil {
		t.Error("a reader without tokens: no error")
	}
}

func TestElementNameAndDecode(t *testing.T) {
	e := jingle.Element("<p:a xmlns:p='u' x='1'/>")
	if got := e.Name(); got != (xml.Name{Space: "u", Local: "a"}) {
		t.Errorf("Name = %v", got)
	}
	var v struct {
		X string `xml:"x,attr"`
	}
	if err := e.Decode(&v); err != nil || v.X != "1" {
		t.Errorf("Decode = %+v, %v", v, err)
	}
	for _, bad := range []jingle.Element{nil, jingle.Element("<a"), jingle.Element("text")} {
		if got := bad.Name(); got != (xml.Name{}) {
			t.Errorf("Name of %q = %v, want none", bad, got)
		}
		if err := bad.Decode(&v); err == nil {
			t.Errorf("Decode of %q: no error", bad)
		}
	}
}
