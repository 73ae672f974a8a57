// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"mellium.im/xmpp/jid"
)

// Namespaces of the elements this package reads and writes.
const (
	// NSJingle is that of <transport/> (XEP-0260 §8).
	NSJingle = "urn:xmpp:jingle:transports:s5b:1"

	// NS is that of a proxy's <query/> (XEP-0065 §13).
	NS = "http://jabber.org/protocol/bytestreams"

	// NSPad is that of the pad attribute, see the package comment.
	NSPad = "urn:xmpp:xtls:1"
)

const (
	// maxCandidates bounds the candidates of one end, in all its elements. One more breaks the
	// negotiation.
	maxCandidates = 16

	// maxID and maxHost bound a peer's sid, cid and host, in octets.
	maxID   = 128
	maxHost = 255

	// maxDepth bounds how deep the elements in a <transport/> may nest.
	maxDepth = 16

	// defaultPort is that of a candidate without one (XEP-0065 §6.3).
	defaultPort = 1080
)

// A candidateType is how a candidate is reached (XEP-0260 §2.2).
type candidateType string

const (
	typeDirect   candidateType = "direct"
	typeAssisted candidateType = "assisted"
	typeTunnel   candidateType = "tunnel"
	typeProxy    candidateType = "proxy"
)

// preference is the type preference of XEP-0260 §2.2.
func (t candidateType) preference() uint32 {
	switch t {
	case typeDirect:
		return 126
	case typeAssisted:
		return 120
	case typeTunnel:
		return 110
	default:
		return 10
	}
}

// priorityOf is the formula of XEP-0260 §2.2.
func priorityOf(t candidateType, local uint16) uint32 { return t.preference()<<16 + uint32(local) }

// A candidate is a place where the end that offers it can be met.
type candidate struct {
	cid      string
	host     string // an IP address, or for a proxy a name
	port     uint16
	jid      jid.JID // of the proxy, or of the end that offers it
	priority uint32
	typ      candidateType
}

func (c candidate) addr() string { return net.JoinHostPort(c.host, strconv.Itoa(int(c.port))) }

// String is for errors and logs.
func (c candidate) String() string { return string(c.typ) + " " + c.addr() }

// An action is what a <transport/> says besides candidates.
type action string

const (
	actionNone           action = ""
	actionCandidateUsed  action = "candidate-used"
	actionCandidateError action = "candidate-error"
	actionActivated      action = "activated"
	actionProxyError     action = "proxy-error"
)

// A message is one <transport/> element.
type message struct {
	sid        string
	dstaddr    string // "" if absent
	pad        bool   // its sender knows the padding of relays
	candidates []candidate
	action     action
	cid        string // of candidate-used and activated
}

// render writes m. Everything in it that may be foreign is escaped.
func (m message) render() []byte {
	var b strings.Builder
	b.WriteString(`<transport xmlns='` + NSJingle + `'`)
	if m.pad {
		b.WriteString(` xmlns:x='` + NSPad + `' x:pad='1'`)
	}
	writeAttr(&b, "sid", m.sid)
	if m.dstaddr != "" {
		writeAttr(&b, "dstaddr", m.dstaddr)
	}
	b.WriteByte('>')
	for _, c := range m.candidates {
		b.WriteString(`<candidate`)
		writeAttr(&b, "cid", c.cid)
		writeAttr(&b, "host", c.host)
		writeAttr(&b, "port", strconv.Itoa(int(c.port)))
		writeAttr(&b, "jid", c.jid.String())
		writeAttr(&b, "priority", strconv.FormatUint(uint64(c.priority), 10))
		writeAttr(&b, "type", string(c.typ))
		b.WriteString(`/>`)
	}
	switch m.action {
	case actionCandidateUsed, actionActivated:
		b.WriteString(`<` + string(m.action))
		writeAttr(&b, "cid", m.cid)
		b.WriteString(`/>`)
	case actionCandidateError, actionProxyError:
		b.WriteString(`<` + string(m.action) + `/>`)
	case actionNone:
	}
	b.WriteString(`</transport>`)
	return []byte(b.String())
}

func writeAttr(b *strings.Builder, name, value string) {
	b.WriteString(" " + name + "='" + escape(value) + "'")
}

// escape makes s fit for an attribute or for text.
func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder does not fail
	return b.String()
}

// parseTransport reads a <transport/> element. Children that this package does not know are
// skipped: others may put theirs there.
func parseTransport(r xml.TokenReader) (message, error) {
	var m message
	depth := 0
	for {
		tok, err := r.Token()
		switch tok := tok.(type) {
		case xml.StartElement:
			depth++
			var bad error
			switch {
			case depth == 1:
				bad = m.parseRoot(tok)
			case depth == 2 && tok.Name.Space == NSJingle:
				bad = m.parseChild(tok)
			case depth > maxDepth:
				bad = violation("XEP-0260 §2.2", "elements nest deeper than %d", maxDepth)
			}
			if bad != nil {
				return message{}, bad
			}
		case xml.EndElement:
			if depth--; depth == 0 {
				return m, nil
			}
		}
		if errors.Is(err, io.EOF) && tok == nil {
			return message{}, violation("XEP-0260 §2.2", "no complete element")
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return message{}, fmt.Errorf("s5b: reading an element: %w", err)
		}
	}
}

// parseRoot reads the start tag of <transport/>.
func (m *message) parseRoot(start xml.StartElement) error {
	const rule = "XEP-0260 §2.2"
	if start.Name != (xml.Name{Space: NSJingle, Local: "transport"}) {
		return violation(rule, "%s instead of <transport/>", quote(start.Name.Local))
	}
	var ok bool
	if m.sid, ok = parseID(start.Attr, "sid"); !ok {
		return violation(rule, "sid %s", quote(attr(start.Attr, "", "sid")))
	}
	switch mode := attr(start.Attr, "", "mode"); mode {
	case "", "tcp":
	default:
		return violation(rule, "mode %s is not supported", quote(mode))
	}
	m.dstaddr = attr(start.Attr, "", "dstaddr")
	m.pad = attr(start.Attr, NSPad, "pad") == "1"
	return nil
}

// parseChild reads the start tag of a child of <transport/>.
func (m *message) parseChild(start xml.StartElement) error {
	a := action(start.Name.Local)
	switch a {
	case "candidate":
		if len(m.candidates) == maxCandidates {
			return violation("XEP-0260 §2.2", "more than %d candidates", maxCandidates)
		}
		c, err := parseCandidate(start.Attr)
		if err != nil {
			return err
		}
		m.candidates = append(m.candidates, c)
		return nil
	case actionCandidateUsed, actionActivated:
		var ok bool
		if m.cid, ok = parseID(start.Attr, "cid"); !ok {
			return violation("XEP-0260 §2.3", "%s with cid %s", a, quote(attr(start.Attr, "", "cid")))
		}
	case actionCandidateError, actionProxyError:
	default:
		return nil
	}
	if m.action != actionNone {
		return violation("XEP-0260 §8", "%s and %s in one element", m.action, a)
	}
	m.action = a
	return nil
}

// parseCandidate reads a <candidate/>: only its form. Whether it may be connected to is another
// question.
func parseCandidate(attrs []xml.Attr) (candidate, error) {
	const rule = "XEP-0260 §2.2"
	var c candidate
	var ok bool
	if c.cid, ok = parseID(attrs, "cid"); !ok {
		return c, violation(rule, "candidate with cid %s", quote(attr(attrs, "", "cid")))
	}
	if c.host, ok = parseHost(attr(attrs, "", "host")); !ok {
		return c, violation(rule, "candidate with host %s", quote(attr(attrs, "", "host")))
	}
	c.port = defaultPort
	if v, ok := lookup(attrs, "", "port"); ok {
		n, err := strconv.ParseUint(v, 10, 16)
		if err != nil || n == 0 {
			return c, violation(rule, "candidate with port %s", quote(v))
		}
		c.port = uint16(n)
	}
	var err error
	if c.jid, err = jid.Parse(attr(attrs, "", "jid")); err != nil {
		return c, violation(rule, "candidate with jid %s", quote(attr(attrs, "", "jid")))
	}
	n, err := strconv.ParseUint(attr(attrs, "", "priority"), 10, 32)
	if err != nil {
		return c, violation(rule, "candidate with priority %s", quote(attr(attrs, "", "priority")))
	}
	c.priority = uint32(n)
	c.typ = typeDirect
	if v, ok := lookup(attrs, "", "type"); ok {
		switch c.typ = candidateType(v); c.typ {
		case typeDirect, typeAssisted, typeTunnel, typeProxy:
		default:
			return c, violation(rule, "candidate of type %s", quote(v))
		}
	}
	return c, nil
}

// parseHost returns an IP address or a name of the DNS in the form in which two can be compared. It
// lets nothing pass that would confuse whoever reads it in an error.
func parseHost(s string) (string, bool) {
	if s == "" || len(s) > maxHost {
		return "", false
	}
	if ip, err := netip.ParseAddr(s); err == nil {
		return ip.Unmap().String(), ip.Zone() == ""
	}
	s = strings.ToLower(s)
	for _, r := range s {
		if r != '.' && r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') {
			return "", false
		}
	}
	return s, true
}

// parseID returns the value of an attribute that names something.
func parseID(attrs []xml.Attr, name string) (string, bool) {
	v := attr(attrs, "", name)
	return v, v != "" && len(v) <= maxID
}

// attr returns the value of an attribute, "" if it is absent.
func attr(attrs []xml.Attr, space, local string) string {
	v, _ := lookup(attrs, space, local)
	return v
}

func lookup(attrs []xml.Attr, space, local string) (string, bool) {
	for _, a := range attrs {
		if a.Name.Space == space && a.Name.Local == local {
			return a.Value, true
		}
	}
	return "", false
}
