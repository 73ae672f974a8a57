// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"encoding/xml"
	"fmt"
	"strings"
	"testing"

	"mellium.im/xmlstream"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

// TestMostFound: no more clients are found than an account can have; a server may make them up.
func TestMostFound(t *testing.T) {
	f := &finding{answers: make(chan jid.JID, 3*maxFound)}
	for i := range 3 * maxFound {
		f.answers <- jid.MustParse(fmt.Sprintf("bruno@moor.example/%d", i/2)) // each twice
	}
	if found, err := f.collect(t.Context(), t.Context()); len(found) != maxFound || err != nil {
		t.Errorf("found %d, %v, want %d", len(found), err, maxFound)
	}
}

// FuzzJMI takes messages of anybody. Only a proceed that names the question, of a client of whom was
// asked, is an answer.
func FuzzJMI(f *testing.F) {
	for _, seed := range []string{
		"", "<message>", "<message/>",
		"<message><propose xmlns='urn:xmpp:jingle-message:0' id='q'><description xmlns='urn:xmpp:xtls:tunnel:1' service='web'/></propose></message>",
		"<message><proceed xmlns='urn:xmpp:jingle-message:0' id='q'/></message>",
		"<message><proceed xmlns='urn:xmpp:jingle-message:0' id='other'/></message>",
		"<message><proceed xmlns='urn:x' id='q'/></message>",
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	asked, other := jid.MustParse("bruno@moor.example/phone"), jid.MustParse("mallory@moor.example/phone")
	f.Fuzz(func(t *testing.T, text string, right bool) {
		from := other
		if right {
			from = asked
		}
		q := &finding{peer: asked.Bare(), answers: make(chan jid.JID, 1)}
		c := &Client{findings: map[string]*finding{"q": q}}
		_ = c.handleMessage(stanza.Message{From: from}, struct {
			xml.TokenReader
			xmlstream.Encoder
		}{xml.NewDecoder(strings.NewReader(text)), nil})
		if len(q.answers) > 0 && (!right || !strings.Contains(text, "proceed") || !strings.Contains(text, nsJMI)) {
			t.Errorf("%q of %s is an answer", text, from)
		}
	})
}
