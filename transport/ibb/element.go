// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"mellium.im/xmlstream"
)

// Namespaces of the elements this package reads and writes.
const (
	// NS is that of <open/>, <data/> and <close/> (XEP-0047 §8).
	NS = "http://jabber.org/protocol/ibb"

	// NSJingle is that of <transport/> (XEP-0261 §7).
	NSJingle = "urn:xmpp:jingle:transports:ibb:1"

	// NSCredit is that of the credit attribute and element, see the package comment.
	NSCredit = "urn:xmpp:xtls:1"
)

const (
	// minBlockSize is the smallest block-size agreed to, in octets: below it the envelope of
	// a block is a multiple of what is in it.
	minBlockSize = 256

	// maxBlockSize is the largest, in octets: XEP-0047 §2.1. (The schema of XEP-0261 says
	// xs:short, at most 32767, which contradicts it.)
	maxBlockSize = 65535

	// maxSID bounds the length of a peer's sid, in octets.
	maxSID = 128
)

// params is what a <transport/> element says (XEP-0261 §2.2).
type params struct {
	sid       string
	blockSize int
	credit    int // octets its sender can buffer, 0 = no credit
}

func (p params) render() []byte {
	s := fmt.Sprintf(`<transport xmlns='%s' block-size='%d' sid='%s'/>`, NSJingle, p.blockSize, p.sid)
	if p.credit > 0 {
		s = fmt.Sprintf(`<transport xmlns='%s' xmlns:x='%s' block-size='%d' sid='%s' x:credit='%d'/>`,
			NSJingle, NSCredit, p.blockSize, p.sid, p.credit)
	}
	return []byte(s)
}

// parseTransport reads a <transport/> element. Children are skipped: others may put theirs there.
func parseTransport(r xml.TokenReader) (params, error) {
	start, err := firstStart(r)
	if err != nil {
		return params{}, err
	}
	if start.Name != (xml.Name{Space: NSJingle, Local: "transport"}) {
		return params{}, violation("XEP-0261 §2.2", "%s instead of <transport/>", quote(start.Name.Local))
	}
	o, err := parseOpen(start.Attr)
	if err != nil {
		return params{}, err
	}
	if o.message {
		return params{}, violation("XEP-0261 §2.2", "message stanzas are not supported")
	}
	p := params{sid: o.sid, blockSize: o.blockSize}
	v, ok := attr(start.Attr, NSCredit, "credit")
	if !ok {
		return p, nil
	}
	n, err := strconv.ParseUint(v, 10, 31)
	// Less than a block could never carry a full one.
	if err != nil || n < uint64(p.blockSize) {
		return params{}, violation(NSCredit, "credit %s", quote(v))
	}
	p.credit = int(n)
	return p, nil
}

// open is what an <open/> element says (XEP-0047 §2.1). <transport/> has the same attributes.
type open struct {
	sid       string
	blockSize int
	message   bool // stanza='message'
}

func renderOpen(p params) []byte {
	return fmt.Appendf(nil, `<open xmlns='%s' block-size='%d' sid='%s' stanza='iq'/>`, NS, p.blockSize, p.sid)
}

func parseOpen(attrs []xml.Attr) (open, error) {
	const rule = "XEP-0047 §2.1"
	sid, err := parseSID(attrs)
	if err != nil {
		return open{}, err
	}
	v, _ := attr(attrs, "", "block-size")
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil || n == 0 {
		return open{}, violation(rule, "block-size %s", quote(v))
	}
	o := open{sid: sid, blockSize: int(n)}
	switch v, _ := attr(attrs, "", "stanza"); v {
	case "", "iq":
	case "message":
		o.message = true
	default:
		return open{}, violation(rule, "stanza %s", quote(v))
	}
	return o, nil
}

func renderClose(sid string) []byte {
	return fmt.Appendf(nil, `<close xmlns='%s' sid='%s'/>`, NS, sid)
}

// parseSID reads the sid, an NMTOKEN (XEP-0047 §2.1).
func parseSID(attrs []xml.Attr) (string, error) {
	sid, _ := attr(attrs, "", "sid")
	if sid == "" || len(sid) > maxSID {
		return "", violation("XEP-0047 §2.1", "sid of %d octets", len(sid))
	}
	for _, r := range sid {
		// The whole of NMTOKEN's repertoire that anybody uses; none of it needs escaping.
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '.' && r != '-' && r != '_' && r != ':' {
			return "", violation("XEP-0047 §2.1", "sid %s is no NMTOKEN", quote(sid))
		}
	}
	return sid, nil
}

// appendData appends a <data/> element. It is written by hand: encoding/xml is six times slower
// than base64.
func appendData(dst []byte, sid string, seq uint16, payload []byte) []byte {
	dst = append(dst, `<data xmlns='`+NS+`' seq='`...)
	dst = strconv.AppendUint(dst, uint64(seq), 10)
	dst = append(dst, `' sid='`...)
	dst = append(dst, sid...)
	dst = append(dst, `'>`...)
	dst = base64.StdEncoding.AppendEncode(dst, payload)
	return append(dst, `</data>`...)
}

// parseSeq reads the seq of a <data/> element, an unsigned 16-bit integer (XEP-0047 §2.2).
func parseSeq(attrs []xml.Attr) (uint16, error) {
	v, _ := attr(attrs, "", "seq")
	seq, ok := seqNumber(v)
	if !ok {
		return 0, violation("XEP-0047 §2.2", "seq %s", quote(v))
	}
	return seq, nil
}

func seqNumber(s string) (seq uint16, ok bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil
}

// maxText is how much text a <data/> element of a stream may have, in octets: the base64 of a
// full block and as much white space again.
func maxText(blockSize int) int {
	return 2 * base64.StdEncoding.EncodedLen(blockSize)
}

// appendText appends the text of the element whose start tag was read to dst, without white
// space. It reads no more than limit octets of it and takes nothing but text.
func appendText(dst []byte, r xml.TokenReader, limit int) ([]byte, error) {
	for seen := 0; ; {
		tok, err := r.Token()
		switch tok := tok.(type) {
		case xml.CharData:
			if seen += len(tok); seen > limit {
				return dst, violation("XEP-0047 §2.2", "more than %d octets of text in a block", limit)
			}
			dst = appendUnspaced(dst, tok)
		case xml.EndElement:
			return dst, nil
		case nil:
		default:
			return dst, violation("XEP-0047 §2.2", "a block holds more than text")
		}
		if errors.Is(err, io.EOF) {
			return dst, nil
		}
		if err != nil {
			return dst, wrapCause("ibb: reading a block", err)
		}
	}
}

// appendUnspaced appends text without XML's white space, of which there usually is none.
func appendUnspaced(dst, text []byte) []byte {
	const space = " \n\t\r"
	spaced := false
	for _, b := range []byte(space) {
		spaced = spaced || bytes.IndexByte(text, b) >= 0
	}
	if !spaced {
		return append(dst, text...)
	}
	for _, b := range text {
		if strings.IndexByte(space, b) < 0 {
			dst = append(dst, b)
		}
	}
	return dst
}

// strictBase64 refuses foreign characters, padding in the wrong place and bits hidden in it
// (XEP-0047 §6). It would skip line breaks, but those are gone by then.
var strictBase64 = base64.StdEncoding.Strict()

// credit is what a <credit/> element says: its sender takes octets up to limit.
type credit struct {
	sid   string
	limit uint64
}

func (c credit) render() []byte { return c.append(nil) }

// append renders c.
func (c credit) append(dst []byte) []byte {
	dst = append(dst, `<credit xmlns='`+NSCredit+`' sid='`...)
	dst = append(dst, c.sid...)
	dst = append(dst, `' limit='`...)
	dst = strconv.AppendUint(dst, c.limit, 10)
	return append(dst, `'/>`...)
}

// TokenReader renders c for an answer.
func (c credit) TokenReader() xml.TokenReader {
	return xmlstream.Wrap(nil, xml.StartElement{
		Name: xml.Name{Space: NSCredit, Local: "credit"},
		Attr: []xml.Attr{
			{Name: xml.Name{Local: "sid"}, Value: c.sid},
			{Name: xml.Name{Local: "limit"}, Value: strconv.FormatUint(c.limit, 10)},
		},
	})
}

func parseCredit(attrs []xml.Attr) (credit, error) {
	sid, err := parseSID(attrs)
	if err != nil {
		return credit{}, err
	}
	v, _ := attr(attrs, "", "limit")
	n, err := strconv.ParseUint(v, 10, 63)
	if err != nil {
		return credit{}, violation(NSCredit, "credit limit %s", quote(v))
	}
	return credit{sid: sid, limit: n}, nil
}

// replyCredit reads the <credit/> in the result of a block. ok is false if there is none.
func replyCredit(r xml.TokenReader) (c credit, ok bool, err error) {
	if r == nil {
		return credit{}, false, nil
	}
	start, err := firstStart(r)
	if err != nil || start.Name != (xml.Name{Space: NSCredit, Local: "credit"}) {
		// An empty result, or one with what we do not know, acknowledges all the same.
		return credit{}, false, nil
	}
	c, err = parseCredit(start.Attr)
	return c, err == nil, err
}

// attr returns the value of an attribute.
func attr(attrs []xml.Attr, space, local string) (string, bool) {
	for _, a := range attrs {
		if a.Name.Space == space && a.Name.Local == local {
			return a.Value, true
		}
	}
	return "", false
}

// firstStart reads up to the first start tag.
func firstStart(r xml.TokenReader) (xml.StartElement, error) {
	for {
		tok, err := r.Token()
		if start, ok := tok.(xml.StartElement); ok {
			return start, nil
		}
		if errors.Is(err, io.EOF) {
			return xml.StartElement{}, violation("XEP-0261 §2.2", "no element")
		}
		if err != nil {
			return xml.StartElement{}, wrapCause("ibb: reading an element", err)
		}
	}
}
