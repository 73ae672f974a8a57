// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package exchange

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"runtime/debug"

	"github.com/pion/logging"
	"mellium.im/xmlstream"
	"mellium.im/xmpp"
	"mellium.im/xmpp/stanza"
)

// Guard returns a handler that passes stanzas on to h, each one read completely
// first, and never fails: neither a stanza that h chokes on nor an error or panic
// of h can end the session. Only a connection that cannot be read does.
func Guard(h xmpp.Handler, log logging.LeveledLogger) xmpp.Handler {
	return guarded{next: h, log: log}
}

type guarded struct {
	next xmpp.Handler
	log  logging.LeveledLogger
}

// HandleXMPP reads one stanza and dispatches it.
func (g guarded) HandleXMPP(t xmlstream.TokenReadEncoder, start *xml.StartElement) error {
	all, err := copyTokens(t)
	if err != nil {
		return err // the stream itself is broken
	}
	if start.Name.Local == "iq" {
		bad := false
		if all, bad = iqPayload(start, all); bad {
			g.log.Warnf("refused an IQ without exactly one payload (RFC 6120 §8.2.3)")
			return refuse(t, start)
		}
	}
	if err := g.dispatch(t, start, all); err != nil {
		g.log.Warnf("handling <%s/>: %v", clip(start.Name.Local), err)
	}
	return nil
}

func (g guarded) dispatch(t xmlstream.TokenReadEncoder, start *xml.StartElement, all []xml.Token) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("handler panicked: %v\n%s", r, debug.Stack())
		}
	}()
	return g.next.HandleXMPP(struct {
		xml.TokenReader
		xmlstream.Encoder
	}{tokenReader(all), t}, start)
}

// iqPayload drops text around the payload of an IQ, on which mellium would end
// the stream, and reports whether a request has not exactly one payload.
func iqPayload(start *xml.StartElement, all []xml.Token) (clean []xml.Token, bad bool) {
	depth, children := 0, 0
	stray := false
	for _, tok := range all {
		switch tok := tok.(type) {
		case xml.StartElement:
			if depth == 0 {
				children++
			}
			depth++
		case xml.EndElement:
			depth--
		case xml.CharData:
			if depth == 0 {
				stray = stray || len(bytes.TrimSpace(tok)) > 0
				continue
			}
		}
		clean = append(clean, tok)
	}
	switch attr(start, "type") {
	case string(stanza.GetIQ), string(stanza.SetIQ):
		return clean, stray || children != 1 || attr(start, "id") == ""
	case string(stanza.ResultIQ), string(stanza.ErrorIQ):
		return clean, false
	default:
		return clean, true
	}
}

// refuse answers a malformed request; a malformed answer is only dropped.
func refuse(t xmlstream.TokenReadEncoder, start *xml.StartElement) error {
	iq, err := stanza.NewIQ(*start)
	if err != nil || iq.ID == "" || (iq.Type != stanza.GetIQ && iq.Type != stanza.SetIQ) {
		return nil
	}
	_, err = xmlstream.Copy(t, iq.Error(stanza.Error{Type: stanza.Modify, Condition: stanza.BadRequest}))
	return err
}

func attr(start *xml.StartElement, local string) string {
	for _, a := range start.Attr {
		if a.Name.Space == "" && a.Name.Local == local {
			return a.Value
		}
	}
	return ""
}
