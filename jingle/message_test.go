// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package jingle_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"example.org/xtls/jingle"
)

// examples returns the stanzas in testdata by file name without extension.
func examples(t testing.TB) map[string]string {
	t.Helper()
	names, err := filepath.Glob("testdata/*.xml")
	if err != nil || len(names) < 50 {
		t.Fatalf("testdata has %d examples, %v", len(names), err)
	}
	all := make(map[string]string)
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(name), ".xml")] = string(b)
	}
	return all
}

// payload returns the <jingle/> element of a stanza, or "".
func payload(t testing.TB, stanza string) string {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(stanza))
	for depth := 0; ; {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return ""
		}
		if err != nil {
			t.Fatalf("%v in %q", err, stanza)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if depth++; depth < 2 || tok.Name.Local != "jingle" {
				continue
			}
			e, err := jingle.ReadElement(&afterStart{tok, d, false})
			if err != nil {
				t.Fatalf("%v in %q", err, stanza)
			}
			return string(e)
		case xml.EndElement:
			depth--
		}
	}
}

// afterStart puts a start element back before a reader.
type afterStart struct {
	start xml.StartElement
	r     xml.TokenReader
	done  bool
}

func (a *afterStart) Token() (xml.Token, error) {
	if !a.done {
		a.done = true
		return a.start, nil
	}
	return a.r.Token()
}

func parse(s string) (*jingle.Message, error) {
	return jingle.Parse(xml.NewDecoder(strings.NewReader(s)))
}

func mustParse(t testing.TB, s string) *jingle.Message {
	t.Helper()
	m, err := parse(s)
	if err != nil {
		t.Fatalf("Parse(%q): %v", s, err)
	}
	return m
}

// Every <jingle/> of the XEPs is understood and comes out with the same
// meaning: the same elements and attributes, whatever their order.
func TestExamplesRoundTrip(t *testing.T) {
	found := 0
	for name, stanza := range examples(t) {
		in := payload(t, stanza)
		if in == "" {
			continue
		}
		found++
		t.Run(name, func(t *testing.T) {
			m := mustParse(t, in)
			out, err := m.XML()
			if err != nil {
				t.Fatalf("XML: %v", err)
			}
			if again := mustParse(t, string(out)); !reflect.DeepEqual(again, m) {
				t.Errorf("parsed again: %+v, want %+v", again, m)
			}
			if got, want := shape(t, string(out)), shape(t, in); !reflect.DeepEqual(got, want) {
				t.Errorf("written as %s\nhas %v\nwant %v", out, got, want)
			}
		})
	}
	if found < 35 {
		t.Errorf("only %d examples have a <jingle/>", found)
	}
}

// shape counts the elements with their attributes and text in XML.
func shape(t *testing.T, s string) map[string]int {
	t.Helper()
	count := make(map[string]int)
	d := xml.NewDecoder(strings.NewReader(s))
	var path []string
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return count
		}
		if err != nil {
			t.Fatal(err)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			path = append(path, tok.Name.Space+" "+tok.Name.Local)
			at := strings.Join(path, "/")
			count[at]++
			for _, a := range tok.Attr {
				if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
					count[at+" @"+a.Name.Space+" "+a.Name.Local+"="+a.Value]++
				}
			}
		case xml.EndElement:
			path = path[:len(path)-1]
		case xml.CharData:
			if text := strings.TrimSpace(string(tok)); text != "" {
				count[strings.Join(path, "/")+" text "+text]++
			}
		}
	}
}

func TestExampleValues(t *testing.T) {
	all := examples(t)
	get := func(name string) *jingle.Message { t.Helper(); return mustParse(t, payload(t, all[name])) }

	m := get("xep0166-35-initiator-sends-session-initiate-with-security-precondition-stub")
	c := m.Contents[0]
	if m.Action != jingle.ActionSessionInitiate || m.SID != "a73sjjvkla37jfea" || m.Initiator.String() != "romeo@montague.lit/orchard" ||
		c.Creator != jingle.CreatorInitiator || c.Name != "this-is-a-stub" ||
		c.Description.Name().Space != "urn:xmpp:jingle:apps:stub:0" || c.Transport.Name().Space != "urn:xmpp:jingle:transports:stub:0" ||
		c.Security.Name().Space != "urn:xmpp:jingle:security:stub:0" {
		t.Errorf("session-initiate: %+v", m)
	}
	if m := get("xep0166-22-terminating-the-session-existing-session"); m.Reason != jingle.ReasonAlternativeSession || m.Alternative != "b84tkkwlmb48kgfb" {
		t.Errorf("alternative-session: %+v", m)
	}
	if m := get("xep0166-30-responder-sends-ringing-message"); m.Info.Name().Local != "ringing" {
		t.Errorf("ringing: %+v", m)
	}
	if m := get("xep0166-32-responder-sends-session-ping"); m.Action != jingle.ActionSessionInfo || m.Info != nil {
		t.Errorf("ping: %+v", m)
	}
	if m := get("xtls-04-terminate-with-text-and-detail"); m.Reason != jingle.ReasonSecurityError || m.Text != "no agreement" || m.Detail.Name().Local != "why" {
		t.Errorf("reason with text and detail: %+v", m)
	}
	c = get("xtls-01-gajim-security-first").Contents[0]
	if c.Senders != "initiator" || c.Security == nil || c.Description == nil || c.Transport == nil {
		t.Errorf("security first: %+v", c)
	}
	c = get("xtls-03-prefixes").Contents[0]
	if want := "<security xmlns='urn:xmpp:jingle:security:xtls:0'><fingerprint algo='sha-256'>4fb6305df9cf65d3184aaa3556d3353a34e3de2403cb0df3d104bd384ebd73e4" +
		"</fingerprint><method name='x509'/><binding xmlns='urn:xmpp:xtls:1' version='1' nonce='AAAA'/></security>"; string(c.Security) != want {
		t.Errorf("prefixes: security is %s, want %s", c.Security, want)
	}
}

const (
	content  = "<content creator='initiator' name='n'>" + parts + "</content>"
	parts    = "<description xmlns='d'/><transport xmlns='t'/>"
	initiate = "<jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' sid='s'>"
	end      = "</jingle>"
)

// action returns a <jingle/> of that action with sid s.
func action(a, inner string) string {
	return "<jingle xmlns='urn:xmpp:jingle:1' action='" + a + "' sid='s'>" + inner + "</jingle>"
}

func TestParseRefuses(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"other element", "<jingle xmlns='urn:xmpp:jingle:0' action='session-info' sid='s'/>", "expected"},
		{"no action", "<jingle xmlns='urn:xmpp:jingle:1' sid='s'/>", "unknown action"},
		{"unknown action", action("session-dance", ""), "unknown action"},
		{"no sid", "<jingle xmlns='urn:xmpp:jingle:1' action='session-info'/>", "sid"},
		{"sid too long", "<jingle xmlns='urn:xmpp:jingle:1' action='session-info' sid='" + strings.Repeat("s", 257) + "'/>", "sid"},
		{"no content", initiate + end, "without <content/>"},
		{"no description", initiate + "<content creator='initiator' name='n'><transport xmlns='t'/></content>" + end, "incomplete"},
		{"no transport", initiate + "<content creator='initiator' name='n'><description xmlns='d'/></content>" + end, "incomplete"},
		{"no name", initiate + "<content creator='initiator'>" + parts + "</content>" + end, "incomplete"},
		{"unknown creator", initiate + "<content creator='server' name='n'>" + parts + "</content>" + end, "creator"},
		{"unknown senders", initiate + "<content name='n' senders='all'>" + parts + "</content>" + end, "senders"},
		{"two security (H30)", initiate + "<content name='n'>" + parts + "<security xmlns='a'/><security xmlns='b'/></content>" + end, "more than one <security/>"},
		{"two transports", initiate + "<content name='n'>" + parts + "<transport xmlns='b'/></content>" + end, "more than one <transport/>"},
		{"two descriptions", initiate + "<content name='n'>" + parts + "<description xmlns='b'/></content>" + end, "more than one <description/>"},
		{"disposition", initiate + "<content name='n' disposition='early-session'>" + parts + "</content>" + end, "disposition"},
		{"two dispositions", initiate + strings.Repeat("<content name='n' disposition='early-session'>"+parts+"</content>", 2) + end, "disposition"},
		{"two reasons", action("session-terminate", "<reason><gone/></reason><reason><busy/></reason>"), "more than one <reason/>"},
		{"security-info without security", action("security-info", "<content/>"), "incomplete"},
		{"transport-info without transport", action("transport-info", "<content/>"), "incomplete"},
		{"description-info without description", action("description-info", "<content/>"), "incomplete"},
		{"content-modify without senders", action("content-modify", "<content/>"), "incomplete"},
		{"comment", action("session-info", "<!-- -->"), "not allowed"},
		{"cut off", initiate + content, "unexpected EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if m, err := parse(test.in); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Parse(%q) = %+v, %v, want an error with %q", test.in, m, err, test.want)
			}
		})
	}
}

// What others get wrong or add must not be in the way.
func TestParseTolerates(t *testing.T) {
	for _, test := range []struct {
		name, in string
		ok       func(m *jingle.Message) bool
	}{
		{
			"bare content", action("security-info", "<content><security xmlns='x'/></content>"),
			func(m *jingle.Message) bool { return m.Contents[0].Security != nil },
		},
		{
			"malformed initiator", "<jingle xmlns='urn:xmpp:jingle:1' action='session-info' sid='s' initiator='@'/>",
			func(m *jingle.Message) bool { return m.Initiator.String() == "" },
		},
		{"terminate without reason", action("session-terminate", ""), func(m *jingle.Message) bool { return m.Reason == "" }},
		{"unknown reason", action("session-terminate", "<reason><rain/></reason>"), func(m *jingle.Message) bool { return m.Reason == "rain" }},
		{"empty reason", action("session-terminate", "<reason/>"), func(m *jingle.Message) bool { return m.Reason == "" }},
		{
			"unknown children", initiate + "<new/>" + "<content name='n'><new/>" + parts + "</content>" + end,
			func(m *jingle.Message) bool { return len(m.Contents) == 1 && m.Info == nil },
		},
		{"foreign children", action("session-info", "<a xmlns='x'/><b xmlns='x'/>"), func(m *jingle.Message) bool { return m.Info.Name().Local == "a" }},
		{
			"two contents, one of the session", initiate + content + "<content name='o' disposition='early-session'>" + parts + "</content>" + end,
			func(m *jingle.Message) bool { return len(m.Contents) == 2 },
		},
		{
			"long text is cut between characters", action("session-terminate", "<reason><gone/><text>"+strings.Repeat("x", 511)+"é</text></reason>"),
			func(m *jingle.Message) bool { return m.Text == strings.Repeat("x", 511) },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if m := mustParse(t, test.in); !test.ok(m) {
				t.Errorf("Parse(%q) = %+v", test.in, m)
			}
		})
	}
}

func TestParseSize(t *testing.T) {
	fit := func(n int) string {
		frame := len("<jingle xmlns='urn:xmpp:jingle:1' action='session-info' sid='s'><a xmlns='x'></a></jingle>")
		return action("session-info", "<a xmlns='x'>"+strings.Repeat("y", n-frame)+"</a>")
	}
	mustParse(t, fit(jingle.MaxElement))
	if _, err := parse(fit(jingle.MaxElement + 1)); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("%d octets: %v, want an error", jingle.MaxElement+1, err)
	}
}

func TestXMLRefuses(t *testing.T) {
	ok := jingle.Content{Name: "n", Description: jingle.Element("<description xmlns='d'/>"), Transport: jingle.Element("<transport xmlns='t'/>")}
	for _, test := range []struct {
		name   string
		change func(m *jingle.Message)
	}{
		{"two elements in one", func(m *jingle.Message) { m.Contents[0].Security = jingle.Element("<security xmlns='s'/><a/>") }},
		{"text", func(m *jingle.Message) { m.Contents[0].Security = jingle.Element("text") }},
		{"not well-formed", func(m *jingle.Message) { m.Contents[0].Security = jingle.Element("<security xmlns='s'>") }},
		{"too large", func(m *jingle.Message) {
			m.Contents[0].Security = jingle.Element("<security xmlns='s'>" + strings.Repeat("x", jingle.MaxElement) + "</security>")
		}},
		{"reason that is no name", func(m *jingle.Message) { m.Reason = "a b" }},
		{"unknown action", func(m *jingle.Message) { m.Action = "dance" }},
		{"no sid", func(m *jingle.Message) { m.SID = "" }},
		{"no transport", func(m *jingle.Message) { m.Contents[0].Transport = nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := &jingle.Message{Action: jingle.ActionSessionInitiate, SID: "s", Contents: []jingle.Content{ok}}
			if _, err := m.XML(); err != nil {
				t.Fatalf("XML before the change: %v", err)
			}
			test.change(m)
			if b, err := m.XML(); err == nil {
				t.Errorf("XML = %s, want an error", b)
			}
		})
	}
}

func FuzzJingle(f *testing.F) {
	for _, stanza := range examples(f) {
		if in := payload(f, stanza); in != "" {
			f.Add([]byte(in))
		}
	}
	f.Add([]byte(nest(jingle.MaxDepth)))
	f.Add([]byte(action("session-terminate", "<reason><alternative-session><sid>x</sid></alternative-session><text>&#xD;</text></reason>")))
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := jingle.Parse(xml.NewDecoder(bytes.NewReader(in)))
		if err != nil {
			return
		}
		out, err := m.XML()
		if err != nil {
			t.Fatalf("parsed but not written: %v", err)
		}
		again, err := jingle.Parse(xml.NewDecoder(bytes.NewReader(out)))
		if err != nil {
			t.Fatalf("written but not parsed: %v in %q", err, out)
		}
		if !reflect.DeepEqual(again, m) {
			t.Errorf("not the same again: %+v, then %+v", m, again)
		}
		if b, err := again.XML(); !bytes.Equal(b, out) || err != nil {
			t.Errorf("written again: %q, %v, want %q", b, err, out)
		}
	})
}
