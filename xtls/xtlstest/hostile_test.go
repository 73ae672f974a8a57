// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"example.org/xtls/xtls/xtlstest"
)

// nested returns n elements within each other.
func nested(n int) string { return repeat("<a>", n) + repeat("</a>", n) }

// attributes returns n different attributes.
func attributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " a%d=''", i)
	}
	return b.String()
}

// TestHostileXML: each of these ends the stream of who sent it, with this error,
// and disturbs nobody else.
func TestHostileXML(t *testing.T) {
	s := startServer(t, xtlstest.Config{StanzaLimit: 20000})
	alba, bruno := two(t, s)
	message := func(inner string) string {
		return "<message to='bruno@localhost/phone'>" + inner + "</message>"
	}
	for _, tc := range []struct{ name, send, want string }{
		{"comment", message("<!-- x -->"), "restricted-xml"},
		{"comment outside", "<!-- x -->", "restricted-xml"},
		{"processing instruction", message("<?php ?>"), "restricted-xml"},
		{"XML declaration", "<?xml version='1.0'?>", "restricted-xml"},
		{"DTD", "<!DOCTYPE x [<!ENTITY y 'z'>]>", "restricted-xml"},
		{"endless comment", "<!-- " + repeat("x", 20100), "policy-violation"},
		{"entity", message("&y;"), "not-well-formed"},
		{"garbage", "<\x00\xff\xfe>", "not-well-formed"},
		{"not UTF-8", message("\xff"), "not-well-formed"},
		{"control character", message("\x01"), "not-well-formed"},
		{"wrong end tag", "<message></iq>", "not-well-formed"},
		{"end of the wrong stream", "</other>", "not-well-formed"},
		{"undeclared prefix", message("<x:y/>"), "not-well-formed"},
		{"undeclared attribute prefix", message("<y x:a=''/>"), "not-well-formed"},
		{"prefix out of scope", message("<y xmlns:x='z'/><x:y/>"), "not-well-formed"},
		{"repeated attribute", message("<y a='1' a='2'/>"), "not-well-formed"},
		{"repeated attribute, two prefixes", message("<y xmlns:p='u' xmlns:q='u' p:a='1' q:a='2'/>"), "not-well-formed"},
		{"repeated declaration", message("<y xmlns='u' xmlns='v'/>"), "not-well-formed"},
		{"prefix to nothing", message("<y xmlns:p=''/>"), "not-well-formed"},
		{"reserved namespace", message("<y xmlns='http://www.w3.org/XML/1998/namespace'/>"), "not-well-formed"},
		{"prefix to a reserved namespace", message("<y xmlns:p='http://www.w3.org/XML/1998/namespace'/>"), "not-well-formed"},
		{"default to a reserved namespace", message("<y xmlns='http://www.w3.org/2000/xmlns/'/>"), "not-well-formed"},
		{"reserved prefix", message("<y xmlns:xmlns='u'/>"), "not-well-formed"},
		{"xml prefix elsewhere", message("<y xmlns:xml='u'/>"), "not-well-formed"},
		{"xml element", message("<xml:y/>"), "not-well-formed"},
		{"name with a digit", message("<p:1y xmlns:p='u'/>"), "not-well-formed"},
		{"name with a mark", message("<p:\u0e46 xmlns:p='u'/>"), "not-well-formed"},
		{"name of a colon", message("<:/>"), "not-well-formed"},
		{"unquoted attribute", message("<y a=1/>"), "not-well-formed"},
		{"less-than in attribute", message("<y a='<'/>"), "not-well-formed"},
		{"end of CDATA", message("]]>"), "not-well-formed"},
		{"deep", message(nested(64)), "policy-violation"},
		{"very deep", repeat("<a>", 6000), "policy-violation"},
		{"attributes", message("<y" + attributes(65) + "/>"), "policy-violation"},
		{"text between stanzas", "hello<message/>", "bad-format"},
		{"unknown stanza", "<stanza/>", "unsupported-stanza-type"},
		{"other namespace", "<message xmlns='jabber:server'/>", "unsupported-stanza-type"},
		{"second login", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>", "unsupported-stanza-type"},
		{"second stream", streamHeader, "restricted-xml"},
		{"stream error", "<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>", "undefined-condition"},
		{"endless stanza", message(repeat("x", 1<<20)), "policy-violation"},
		{"endless tag", "<message " + repeat("x", 20100), "policy-violation"},
		{"endless blanks", repeat(" ", 20100), "policy-violation"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			mallory := login(t, s, "mallory", accounts["mallory"], "x")
			wrote := make(chan struct{})
			go func() { // the server need not read it all
				defer close(wrote)
				_, _ = io.WriteString(mallory.conn, tc.send)
			}()
			mallory.wantStreamError(tc.want)
			_ = mallory.conn.Close()
			<-wrote
			alba.t, bruno.t = t, t
			alba.send("<iq type='get' id='1' to='bruno@localhost/phone'><ping xmlns='urn:xmpp:ping'/></iq>")
			bruno.want(`id="1"`) // and nothing of mallory's before
			bruno.send("<iq type='result' id='1' to='alba@localhost/desk'/>")
			alba.want(`id="1"`)
		})
	}
	bruno.t = t
	mallory := login(t, s, "mallory", accounts["mallory"], "x")
	mallory.send("%s", message(nested(63)+"<y"+attributes(64)+"/><p:é xmlns:p='u'/>"))
	bruno.want(repeat("<a>", 62)+"<a/>", " a63=''/><é xmlns='u'/>")
}

// TestStanzaLimit: the limit itself passes, white space before it not counted, one
// over does not.
func TestStanzaLimit(t *testing.T) {
	const limit = 10000
	s := startServer(t, xtlstest.Config{StanzaLimit: limit})
	stanza := func(size int) string {
		const start, end = "<message to='bruno@localhost/phone'>", "</message>"
		return start + repeat("x", size-len(start)-len(end)) + end
	}
	a, b := two(t, s)
	a.send("%s  \n%s", stanza(limit), stanza(limit))
	b.want("xxx")
	b.want("xxx")
	a.send("%s", stanza(limit+1))
	a.wantStreamError("policy-violation")
	b.sync()
}

// TestHalfStanza: a client that goes away in the middle of a stanza leaves nothing
// of it behind, and its end is no stream error.
func TestHalfStanza(t *testing.T) {
	s := startServer(t, xtlstest.Config{})
	a, b := two(t, s)
	a.send("<presence to='bruno@localhost/phone'/><message to='bruno@localhost/phone'><body>half")
	b.want("presence")
	_ = a.conn.Close()
	b.want("presence", `type="unavailable"`)
	b.sync()
}

// TestSlowReader: who does not read is shown out, its senders learn that it is
// gone, and nobody waits.
func TestSlowReader(t *testing.T) {
	s := startServer(t, xtlstest.Config{QueueLimit: 1 << 20})
	a, b := two(t, s)
	c := login(t, s, "mallory", accounts["mallory"], "x")
	// Bruno reads nothing. The kernel takes some megabytes for him, the queue one.
	gone := false
	for i := range 4096 {
		a.send("<iq type='set' id='%d' to='bruno@localhost/phone'><x xmlns='y'>%s</x></iq>", i, repeat("x", 16<<10))
		if i%64 == 63 { // a.sync, but an error for a block may come first
			a.send("<iq type='get' id='p%d'><ping xmlns='urn:xmpp:ping'/></iq>", i)
			for e := a.next(); e.attr("id") != fmt.Sprintf("p%d", i); e = a.next() {
				if !strings.Contains(e.Inner, "service-unavailable") {
					t.Fatalf("got %s", e)
				}
				gone = true
			}
			if gone {
				break
			}
		}
	}
	if !gone {
		t.Fatal("64 MiB were queued for a client that does not read")
	}
	c.sync()
	if _, err := io.Copy(io.Discard, b.conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("bruno is still connected")
	}
}
