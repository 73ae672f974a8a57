// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest

import (
	"encoding/xml"
	"strconv"
	"unicode/utf8"
)

// Namespaces of the stream itself.
const (
	nsClient  = "jabber:client"
	nsStream  = "http://etherx.jabber.org/streams"
	nsStreams = "urn:ietf:params:xml:ns:xmpp-streams" // conditions of stream errors
	nsStanzas = "urn:ietf:params:xml:ns:xmpp-stanzas" // conditions of stanza errors
	nsXML     = "http://www.w3.org/XML/1998/namespace"
	nsXMLNS   = "http://www.w3.org/2000/xmlns/"
)

// appendStart writes a start tag without its final ">", inside an element of
// namespace parent. Names are resolved ones (Space is a namespace); declarations
// among the attributes are left out and written anew as needed.
func appendStart(b []byte, name xml.Name, attrs []xml.Attr, parent string) []byte {
	b = append(b, '<')
	b = append(b, name.Local...)
	if name.Space != parent {
		b = appendAttr(b, "xmlns", name.Space)
	}
	prefixes := 0
	for _, a := range attrs {
		switch {
		case isDeclaration(a.Name):
		case a.Name.Space == "":
			b = appendAttr(b, a.Name.Local, a.Value)
		case a.Name.Space == nsXML:
			b = appendAttr(b, "xml:"+a.Name.Local, a.Value)
		default:
			prefix := "a" + strconv.Itoa(prefixes)
			prefixes++
			b = appendAttr(b, "xmlns:"+prefix, a.Name.Space)
			b = appendAttr(b, prefix+":"+a.Name.Local, a.Value)
		}
	}
	return b
}

// isDeclaration says whether an attribute declares a namespace, as encoding/xml
// names it.
func isDeclaration(name xml.Name) bool {
	return name.Space == "xmlns" || name.Space == "" && name.Local == "xmlns"
}

func appendEnd(b []byte, local string) []byte {
	b = append(b, '<', '/')
	b = append(b, local...)
	return append(b, '>')
}

// appendAttr writes one attribute with its blank in front.
func appendAttr(b []byte, name, value string) []byte {
	b = append(b, ' ')
	b = append(b, name...)
	b = append(b, '=', '\'')
	b = appendEscaped(b, value, true)
	return append(b, '\'')
}

// appendEscaped writes s as character data or as an attribute's value, so that a
// parser reads s again, line ends and all.
func appendEscaped[T string | []byte](b []byte, s T, attr bool) []byte {
	start := 0
	for i := range len(s) {
		var esc string
		switch s[i] {
		case '&':
			esc = "&amp;"
		case '<':
			esc = "&lt;"
		case '>':
			esc = "&gt;"
		case '\r':
			esc = "&#xD;"
		case '\'':
			esc = "&apos;"
		case '\n':
			esc = "&#xA;"
		case '\t':
			esc = "&#x9;"
		default:
			continue
		}
		if !attr && (s[i] == '\'' || s[i] == '\n' || s[i] == '\t') {
			continue
		}
		b = append(b, s[start:i]...)
		b = append(b, esc...)
		start = i + 1
	}
	return append(b, s[start:]...)
}

// cut shortens foreign text for a log line.
func cut(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	n := most
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
