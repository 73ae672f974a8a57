// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package e2e

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
	"mellium.im/xmpp/stream"
)

// A filter reads one stream of the peer and writes it anew. Between two stanzas
// `out` holds what the session may read; within one it is held back until the whole
// stanza has been judged.
//
//	header -> { stanza, features, stream error } -> footer
type filter struct {
	cfg    *Config
	in     *source
	d      *xml.Decoder
	answer func(b []byte) error // sends a stanza of our own

	out     []byte
	ready   int               // octets of out that the session may read
	open    []string          // names of the open elements as they were written
	header  map[string]string // namespaces declared in the header, by prefix
	decl    bool              // something came before the header
	started bool              // the header is complete
	ended   bool              // the stream was closed
	current element           // the open child of the stream
}

// An element is a child of the stream.
type element struct {
	kind    string // "message", "presence", "iq", or "" for one of the stream's own
	id, typ string
	scope   map[string]string
	drop    bool // the session does not see it
	refuse  bool // as drop, and the peer is told if it is a request
}

func newFilter(cfg *Config, in *source, answer func([]byte) error) *filter {
	f := &filter{cfg: cfg, in: in, d: xml.NewDecoder(in), answer: answer}
	f.d.CharsetReader = func(string, io.Reader) (io.Reader, error) { return nil, errEncoding }
	in.scan.MaxStanza, in.scan.MaxHeader, in.scan.MaxDepth = cfg.MaxStanza, MaxHeader, MaxDepth
	return f
}

var errEncoding = errors.New("not UTF-8")

// next takes one token of the peer. io.EOF is the end of the stream, or of a
// tunnel in which none began.
func (f *filter) next() error {
	if f.ended {
		return io.EOF
	}
	tok, err := f.d.RawToken()
	if err != nil {
		return f.readError(err)
	}
	switch tok := tok.(type) {
	case xml.StartElement:
		return f.start(tok)
	case xml.EndElement:
		return f.end(rawName(tok.Name))
	case xml.CharData:
		return f.text(tok)
	case xml.ProcInst:
		if !f.started && !f.decl && tok.Target == "xml" {
			f.decl = true
			return nil
		}
	}
	return &Violation{stream.RestrictedXML, fmt.Sprintf("%T", tok)}
}

// readError tells apart the end of the tunnel, a broken bound and broken XML.
func (f *filter) readError(err error) error {
	switch {
	case errors.Is(f.in.err, io.EOF) && f.started:
		return f.cfg.Cut // the peer closed the tunnel, but not the stream
	case f.in.err != nil:
		return violation(f.in.err)
	case errors.Is(err, errEncoding):
		return &Violation{stream.UnsupportedEncoding, "an encoding that is not UTF-8"}
	default:
		return &Violation{stream.NotWellFormed, clip(err.Error())}
	}
}

func (f *filter) start(t xml.StartElement) error {
	if err := unique(t.Attr); err != nil {
		return err
	}
	var err error
	attrs := t.Attr
	switch len(f.open) {
	case 0:
		attrs, err = f.head(t)
	case 1:
		attrs, err = f.child(t)
	case 2:
		f.payload(t)
	}
	if err != nil {
		return err
	}
	f.open = append(f.open, rawName(t.Name))
	f.out = append(append(f.out, '<'), rawName(t.Name)...)
	for _, a := range attrs {
		f.out = appendAttr(f.out, rawName(a.Name), a.Value)
	}
	f.out = append(f.out, '>')
	if len(f.open) == 1 {
		f.started, f.ready = true, len(f.out)
	}
	return nil
}

// unique refuses an element that has an attribute twice, which the parser lets
// through.
func unique(attrs []xml.Attr) error {
	if len(attrs) < 2 {
		return nil
	}
	seen := make(map[xml.Name]struct{}, len(attrs))
	for _, a := range attrs {
		if _, twice := seen[a.Name]; twice {
			return &Violation{stream.NotWellFormed, "attribute " + clip(rawName(a.Name)) + " twice in an element"}
		}
		seen[a.Name] = struct{}{}
	}
	return nil
}

var version = regexp.MustCompile(`^[0-9]{1,3}\.[0-9]{1,3}$`)

// head judges the stream header and returns the attributes to hand on. A header
// need not name its ends; those it names must be those of the tunnel.
func (f *filter) head(t xml.StartElement) ([]xml.Attr, error) {
	f.header = scope(t.Attr)
	switch {
	case f.namespace(t.Name.Space, f.header) != stream.NS:
		return nil, &Violation{stream.InvalidNamespace, "the stream header is in another namespace"}
	case t.Name.Local != "stream":
		return nil, &Violation{stream.BadFormat, "no stream header but " + clip(t.Name.Local)}
	case f.header[""] != stanza.NSClient:
		return nil, &Violation{stream.InvalidNamespace, "the content namespace is not " + stanza.NSClient}
	}
	id := ""
	for _, a := range t.Attr {
		switch a.Name {
		case xml.Name{Local: "id"}:
			id = a.Value
		case xml.Name{Local: "version"}:
			if !version.MatchString(a.Value) {
				return nil, &Violation{stream.UnsupportedVersion, "version " + clip(a.Value)}
			}
		}
	}
	if err := f.addresses(t.Attr); err != nil {
		return nil, err
	}
	attrs := f.addressed(declarations(t.Attr))
	if id != "" {
		attrs = append(attrs, xml.Attr{Name: xml.Name{Local: "id"}, Value: id})
	}
	return append(attrs, xml.Attr{Name: xml.Name{Local: "version"}, Value: "1.0"}), nil
}

// child judges a child of the stream: a stanza, or something of the stream's own.
func (f *filter) child(t xml.StartElement) ([]xml.Attr, error) {
	f.current = element{scope: scope(t.Attr)}
	space := f.namespace(t.Name.Space, f.current.scope)
	switch {
	case space == stream.NS && t.Name.Local == "features":
		// Nothing is left to negotiate: whatever is on offer is not needed.
		f.current.drop = true
		return nil, nil
	case space == stream.NS && t.Name.Local == "error":
		return t.Attr, nil
	case space != stanza.NSClient, t.Name.Local != "message" && t.Name.Local != "presence" && t.Name.Local != "iq":
		return nil, &Violation{stream.UnsupportedStanzaType, clip(t.Name.Local) + " in namespace " + clip(space)}
	}
	if err := f.addresses(t.Attr); err != nil {
		return nil, err
	}
	f.current.kind = t.Name.Local
	attrs := declarations(t.Attr)
	for _, a := range t.Attr {
		switch a.Name.Local {
		case "id", "type":
			if a.Name.Space != "" {
				continue // the session looks at the local name alone
			}
			if a.Name.Local == "id" {
				f.current.id = a.Value
			} else {
				f.current.typ = a.Value
			}
		case "from", "to":
			continue
		}
		if !isDeclaration(a.Name) {
			attrs = append(attrs, a)
		}
	}
	f.current.judge()
	return f.addressed(attrs), nil
}

// addresses enforces who may be named: nobody else than the two ends.
func (f *filter) addresses(attrs []xml.Attr) error {
	for _, a := range attrs {
		switch {
		case a.Name == xml.Name{Local: "from"} && !names(a.Value, f.cfg.Peer):
			return &Violation{stream.InvalidFrom, "from " + clip(a.Value)}
		case a.Name == xml.Name{Local: "to"} && !names(a.Value, f.cfg.Local):
			return &Violation{stream.ImproperAddressing, "to " + clip(a.Value)}
		}
	}
	return nil
}

// names reports whether text is j, a full JID, or its bare form.
func names(text string, j jid.JID) bool {
	if len(text) > maxJID {
		return false
	}
	parsed, err := jid.Parse(text)
	return err == nil && (parsed.Equal(j) || parsed.Equal(j.Bare()))
}

// maxJID is the length of the longest JID (RFC 7622 §3.1).
const maxJID = 3071

// addressed adds the addresses that the tunnel has proven.
func (f *filter) addressed(attrs []xml.Attr) []xml.Attr {
	return append(attrs,
		xml.Attr{Name: xml.Name{Local: "from"}, Value: f.cfg.Peer.String()},
		xml.Attr{Name: xml.Name{Local: "to"}, Value: f.cfg.Local.String()})
}

// payload judges a child of a stanza.
func (f *filter) payload(t xml.StartElement) {
	own := scope(t.Attr)
	space, ok := own[t.Name.Space]
	if !ok {
		space = f.namespace(t.Name.Space, f.current.scope)
	}
	f.current.judgePayload(space)
}

// namespace resolves a prefix at a child of the stream, or at the header itself.
func (f *filter) namespace(prefix string, own map[string]string) string {
	if uri, ok := own[prefix]; ok {
		return uri
	}
	return f.header[prefix]
}

func (f *filter) end(name string) error {
	n := len(f.open)
	if n == 0 || f.open[n-1] != name {
		return &Violation{stream.NotWellFormed, "end of " + clip(name) + ", which is not open"}
	}
	f.open = f.open[:n-1]
	f.out = append(append(append(f.out, "</"...), name...), '>')
	switch n {
	case 1:
		f.ended = true
	case 2:
		return f.release()
	default:
		return nil
	}
	f.ready = len(f.out)
	return nil
}

// release hands on a stanza, or drops it.
func (f *filter) release() error {
	e := f.current
	if !e.drop && !e.refuse {
		f.ready = len(f.out)
		return nil
	}
	f.out = f.out[:f.ready]
	if e.kind != "" {
		f.cfg.Log.Warnf("dropped a %s of %q that only a server may send", e.kind, f.cfg.Peer.String())
	}
	if !e.refuse || e.id == "" {
		return nil
	}
	b := appendAttr([]byte("<iq"), "type", "error")
	b = append(appendAttr(b, "id", e.id), '>')
	return f.answer(append(b, `<error type="cancel"><service-unavailable xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error></iq>`...))
}

func (f *filter) text(t xml.CharData) error {
	if len(f.open) > 1 {
		f.out = appendText(f.out, t)
		return nil
	}
	if len(bytes.Trim(t, " \t\r\n")) > 0 {
		return &Violation{stream.BadFormat, "text outside of stanzas"}
	}
	return nil // white space keeps a connection alive
}

// scope returns the namespaces that an element declares, by prefix.
func scope(attrs []xml.Attr) map[string]string {
	var m map[string]string
	for _, a := range attrs {
		if !isDeclaration(a.Name) {
			continue
		}
		if m == nil {
			m = make(map[string]string)
		}
		if a.Name.Space == "" {
			m[""] = a.Value
		} else {
			m[a.Name.Local] = a.Value
		}
	}
	return m
}

func isDeclaration(n xml.Name) bool {
	return n.Space == "xmlns" || n == xml.Name{Local: "xmlns"}
}

func declarations(attrs []xml.Attr) []xml.Attr {
	var d []xml.Attr
	for _, a := range attrs {
		if isDeclaration(a.Name) {
			d = append(d, a)
		}
	}
	return d
}

// rawName is a name as it was written, with its prefix.
func rawName(n xml.Name) string {
	if n.Space == "" {
		return n.Local
	}
	return n.Space + ":" + n.Local
}

var (
	attrEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "\t", "&#x9;", "\n", "&#xA;", "\r", "&#xD;")
	textEscapes = map[byte]string{'&': "&amp;", '<': "&lt;", '>': "&gt;", '\r': "&#xD;"}
)

func appendAttr(b []byte, name, value string) []byte {
	b = append(append(append(b, ' '), name...), `="`...)
	return append(append(b, attrEscaper.Replace(value)...), '"')
}

func appendText(b, text []byte) []byte {
	for len(text) > 0 {
		i := bytes.IndexAny(text, "&<>\r")
		if i < 0 {
			return append(b, text...)
		}
		b = append(append(b, text[:i]...), textEscapes[text[i]]...)
		text = text[i+1:]
	}
	return b
}
