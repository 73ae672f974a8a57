// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package lean

import (
	"fmt"
	"strings"
	"testing"
)

const (
	prosodyData = `<iq type='set' to='a@x/1' id='I1' from='b@x/2'><data xmlns='http://jabber.org/protocol/ibb' seq='7' sid='S1'>QUJD</data></iq>`
	ejabberd    = `<iq xml:lang='en' to="a@x/1" from="b@x/2" type="set" id="I1" xmlns="jabber:client"><data seq="7" sid="S1" xmlns="http://jabber.org/protocol/ibb">QUJD</data></iq>`
	creditIQ    = `<iq type='result' id='I1' from='b@x/2'><credit xmlns='urn:xmpp:xtls:1' sid='S1' limit='99'/></iq>`
)

func TestMatch(t *testing.T) {
	data := plainIQ{request: true, id: []byte("I1"), from: []byte("b@x/2"), to: []byte("a@x/1"), sid: []byte("S1"), seq: []byte("7"), text: []byte("QUJD")}
	result := plainIQ{id: []byte("I1"), from: []byte("b@x/2")}
	credit := plainIQ{id: []byte("I1"), from: []byte("b@x/2"), sid: []byte("S1"), limit: []byte("99")}
	for in, want := range map[string]plainIQ{
		prosodyData: data,
		ejabberd:    data,
		`<iq type='result' id='I1' from='b@x/2'/>`:     result,
		`<iq type='result' id='I1' from='b@x/2'></iq>`: result,
		creditIQ: credit,
		strings.Replace(creditIQ, "/>", "></credit>", 1): credit,
	} {
		for end := range len(in) {
			if _, n, more := matchIQ([]byte(in[:end])); n > 0 || !more {
				t.Errorf("%s: length %d, more %v", in[:end], n, more)
			}
		}
		got, n, more := matchIQ([]byte(in + "<next/>"))
		if n != len(in) || more {
			t.Errorf("%s: length %d, more %v", in, n, more)
			continue
		}
		if got.request != want.request {
			t.Errorf("%s: request %v", in, got.request)
		}
		for name, p := range map[string][2][]byte{
			"id": {got.id, want.id}, "from": {got.from, want.from}, "sid": {got.sid, want.sid},
			"seq": {got.seq, want.seq}, "text": {got.text, want.text}, "limit": {got.limit, want.limit},
		} {
			if string(p[0]) != string(p[1]) {
				t.Errorf("%s: %s is %q, want %q", in, name, p[0], p[1])
			}
		}
	}
}

// TestNoMatch: all of this is for the parser. It may be good XML, and a good block.
func TestNoMatch(t *testing.T) {
	change := func(s, from, to string) string {
		t.Helper()
		if !strings.Contains(s, from) {
			t.Fatalf("%s has no %s", s, from)
		}
		return strings.Replace(s, from, to, 1)
	}
	for name, in := range map[string]string{
		"prefix":                change(change(prosodyData, "<data xmlns", "<i:data xmlns:i"), "</data", "</i:data"),
		"prefix declared":       change(prosodyData, "<data ", "<data xmlns:i='urn:x' "),
		"on the iq":             change(prosodyData, "<iq ", "<iq xmlns:i='urn:x' "),
		"another namespace":     change(prosodyData, "protocol/ibb", "protocol/xyz"),
		"no namespace":          change(prosodyData, "xmlns='http://jabber.org/protocol/ibb' ", ""),
		"iq of another one":     change(prosodyData, "<iq ", "<iq xmlns='jabber:server' "),
		"entity in an address":  change(prosodyData, "b@x/2", "b@x/&#50;"),
		"not ASCII":             change(prosodyData, "b@x/2", "b@x/é"),
		"quote in a value":      change(prosodyData, "'b@x/2'", `"b@x/'"`),
		"line break in a value": change(prosodyData, "b@x/2", "b@x/\n"),
		"line break in a tag":   change(prosodyData, "<iq ", "<iq\n"),
		"CDATA":                 change(prosodyData, "QUJD", "<![CDATA[QUJD]]>"),
		"two attributes":        change(prosodyData, "seq='7'", "seq='7' seq='8'"),
		"unknown attribute":     change(prosodyData, "seq='7'", "seq='7' x='8'"),
		"no seq":                change(prosodyData, "seq='7' ", ""),
		"no sid":                change(prosodyData, " sid='S1'", ""),
		"no id":                 change(prosodyData, " id='I1'", ""),
		"empty id":              change(prosodyData, "'I1'", "''"),
		"no from":               change(prosodyData, " from='b@x/2'", ""),
		"no type":               change(prosodyData, "type='set' ", ""),
		"get":                   change(prosodyData, "'set'", "'get'"),
		"error":                 change(creditIQ, "'result'", "'error'"),
		"space before":          change(prosodyData, "<data", " <data"),
		"space in the end tag":  change(prosodyData, "</data>", "</data >"),
		"two payloads":          change(prosodyData, "</data>", "</data><x/>"),
		"no text":               change(prosodyData, ">QUJD</data>", "/>"),
		"request without":       `<iq type='set' id='I1' from='b@x/2'/>`,
		"another payload":       change(creditIQ, "credit", "query"),
		"another credit":        change(creditIQ, "urn:xmpp:xtls:1", "urn:xmpp:xtls:2"),
		"no limit":              change(creditIQ, " limit='99'", ""),
		"message":               "<message/>",
		"end of the stream":     "</stream:stream>",
		"endless value":         "<iq id='" + strings.Repeat("x", maxAttr+1),
		"white space":           " ",
	} {
		if _, n, more := matchIQ([]byte(in)); n > 0 || more {
			t.Errorf("%s: %s: length %d, more %v", name, in, n, more)
		}
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	for _, in := range []string{prosodyData, creditIQ} {
		p := []byte(in)
		if n := testing.AllocsPerRun(100, func() { _, _, _ = matchIQ(p) }); n > 0 {
			t.Errorf("%s: %v allocations", in, n)
		}
	}
}

// TestMemory: whatever addresses and stream ids the server makes up, no more than maxKnown are kept.
func TestMemory(t *testing.T) {
	l := &Interceptor{peers: make(map[string]peer), sids: make(map[string]string)}
	for i := range 3 * maxKnown {
		if _, ok := l.peer(fmt.Appendf(nil, "b%d@x/2", i)); !ok || l.sid(fmt.Appendf(nil, "S%d", i)) == "" {
			t.Fatal("not taken")
		}
		if len(l.peers) > maxKnown || len(l.sids) > maxKnown {
			t.Fatalf("%d addresses and %d ids are kept, more than %d", len(l.peers), len(l.sids), maxKnown)
		}
	}
}
