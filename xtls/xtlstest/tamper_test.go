// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"example.org/xtls/xtls/xtlstest"
	"mellium.im/xmpp/jid"
)

// jingle renders a session-initiate or the like as alba sends it to bruno.
func jingle(action, inner string) string {
	return "<iq type='set' id='j' to='bruno@localhost/phone'><jingle xmlns='urn:xmpp:jingle:1' action='" + action + "' sid='session'>" +
		inner + "</jingle></iq>"
}

const (
	description = "<description xmlns='urn:xmpp:xtls:tunnel:1' service='ssh'/>"
	ibbContent  = "<transport xmlns='urn:xmpp:jingle:transports:ibb:1' block-size='4096' sid='stream'/>"
	security    = "<security xmlns='urn:xmpp:jingle:security:xtls:0'><fingerprint algo='sha-256'>aabb</fingerprint>" +
		"<method name='x509'/><method name='sas'/><binding xmlns='urn:xmpp:xtls:1' version='1' nonce='bm9uY2U='/></security>"
	offer = "<content creator='initiator' name='xtls'>" + description + ibbContent + security + "</content>"
)

// TestTamperJingle: what each tamper makes of an offer.
func TestTamperJingle(t *testing.T) {
	without := func(parts ...string) string {
		s := offer
		for _, p := range parts {
			before := s
			if s = strings.Replace(s, p, "", 1); s == before {
				t.Fatalf("no %s", p)
			}
		}
		return s
	}
	for _, tc := range []struct {
		name    string
		tamper  xtlstest.Tamper
		actions string // those it concerns
		want    string
	}{
		{"strip security", xtlstest.StripSecurity(), "session-initiate session-accept transport-info", without(security)},
		{"swap fingerprint", xtlstest.SwapFingerprint("0011"), "session-initiate session-accept", strings.Replace(offer, "aabb", "0011", 1)},
		{
			"strip binding", xtlstest.StripBinding(), "session-initiate session-accept transport-info",
			without("<binding xmlns='urn:xmpp:xtls:1' version='1' nonce='bm9uY2U='/>"),
		},
		{"drop method", xtlstest.DropMethod("sas"), "session-initiate session-accept transport-info", without("<method name='sas'/>")},
		{"redirect", xtlstest.RedirectService("smtp"), "session-initiate", strings.Replace(offer, "ssh", "smtp", 1)},
		{
			"chain", xtlstest.Chain(xtlstest.RedirectService("smtp"), xtlstest.DropMethod("sas")), "session-initiate",
			strings.Replace(without("<method name='sas'/>"), "ssh", "smtp", 1),
		},
		{"nobody", func(st *xtlstest.Stanza) []*xtlstest.Stanza { return []*xtlstest.Stanza{st} }, "", offer},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := startServer(t, xtlstest.Config{Tamper: tc.tamper})
			a, b := two(t, s)
			for _, action := range []string{"session-initiate", "session-accept", "transport-info"} {
				want := offer
				if strings.Contains(tc.actions, action) {
					want = tc.want
				} else if tc.name == "chain" {
					want = without("<method name='sas'/>")
				}
				a.send("%s", jingle(action, offer))
				got := b.want("jingle", `from="alba@localhost/desk"`, `id="j"`).Inner
				if _, rest, _ := strings.Cut(got, ">"); strings.TrimSuffix(rest, "</jingle>") != want {
					t.Errorf("%s:\ngot  %s\nwant %s", action, rest, want)
				}
			}
			// Nothing else is touched.
			a.send("<message to='bruno@localhost/phone'>" + offer + "</message>")
			if got := b.want("message").Inner; got != offer {
				t.Errorf("message: %s", got)
			}
			s.SetTamper(nil)
			a.send("%s", jingle("session-initiate", offer))
			if got := b.next().Inner; !strings.Contains(got, offer) {
				t.Errorf("honest again: %s", got)
			}
		})
	}
}

// A run sends five blocks from alba to bruno through a tamper and notes what
// happens: d and the text for a block, c for a close, t for a session-terminate,
// as bruno gets them, and r and the id for each answer that alba gets.
func run(t *testing.T, tamper xtlstest.Tamper) (bruno, alba string) {
	t.Helper()
	s := startServer(t, xtlstest.Config{Tamper: tamper})
	a, b := two(t, s)
	var got, answers []string
	// Bruno reads up to the mark, so that all of alba's stanzas have been handled,
	// and only then answers.
	handle := func() {
		var all []el
		for e := b.next(); e.XMLName.Local != "message"; e = b.next() {
			all = append(all, e)
		}
		for _, e := range all {
			switch {
			case strings.HasPrefix(e.Inner, "<data"):
				_, text, _ := strings.Cut(e.Inner, ">")
				p, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(text, "</data>"))
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, "d"+string(p))
			case strings.HasPrefix(e.Inner, "<close xmlns='http://jabber.org/protocol/ibb' sid='stream'"):
				got = append(got, "c")
			case strings.Contains(e.Inner, "action='session-terminate' sid='session'><reason><success/>"):
				got = append(got, "t")
			}
			if e.attr("from") != a.jid || e.attr("id") == "" {
				t.Errorf("got %s", e)
			}
			b.send("<iq type='result' id='%s' to='%s'/>", e.attr("id"), e.attr("from"))
		}
	}
	a.send("%s", jingle("session-initiate", offer))
	for i := 1; i <= 5; i++ {
		data := base64.StdEncoding.EncodeToString([]byte(repeat(fmt.Sprint(i), 4)))
		a.send("<iq type='set' id='%d' to='%s'><data xmlns='http://jabber.org/protocol/ibb' seq='%d' sid='stream'>%s</data></iq>",
			i, b.jid, i-1, data)
	}
	a.send("<message to='%s'/>", b.jid)
	handle()
	b.send("<message to='%s'/>", a.jid)
	for e := a.next(); e.XMLName.Local != "message"; e = a.next() {
		if e.attr("from") != b.jid || e.attr("type") != "result" {
			t.Errorf("alba got %s", e)
		}
		if id := e.attr("id"); id != "j" {
			answers = append(answers, "r"+id)
		}
	}
	return strings.Join(got, " "), strings.Join(answers, " ")
}

// TestTamperData: what bruno gets of alba's five blocks, and which answers alba
// gets: each tamper must leave her content where it says so.
func TestTamperData(t *testing.T) {
	for _, tc := range []struct {
		name        string
		tamper      xtlstest.Tamper
		bruno, alba string
	}{
		{"honest", nil, "d1111 d2222 d3333 d4444 d5555", "r1 r2 r3 r4 r5"},
		{"replay", xtlstest.Replay(2), "d1111 d2222 d2222 d3333 d4444 d5555", "r1 r2 r3 r4 r5"},
		{"drop", xtlstest.Drop(2), "d1111 d3333 d4444 d5555", "r2 r1 r3 r4 r5"},
		{"flip", xtlstest.FlipBit(3), "d1111 d2222 d33#3 d4444 d5555", "r1 r2 r3 r4 r5"},
		{"reorder", xtlstest.Reorder(2), "d1111 d3333 d2222 d4444 d5555", "r2 r1 r3 r4 r5"},
		{"truncate in a block", xtlstest.Truncate(10), "d1111 d2222 d33 c t", "r4 r5 r1 r2 r3"},
		{"truncate after a block", xtlstest.Truncate(8), "d1111 d2222 c t", "r3 r4 r5 r1 r2"},
		{"truncate all", xtlstest.Truncate(0), "c t", "r1 r2 r3 r4 r5"},
		{
			"beyond", xtlstest.Chain(xtlstest.Replay(6), xtlstest.Drop(6), xtlstest.FlipBit(6), xtlstest.Reorder(6), xtlstest.Truncate(21)),
			"d1111 d2222 d3333 d4444 d5555", "r1 r2 r3 r4 r5",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bruno, alba := run(t, tc.tamper)
			if bruno != tc.bruno {
				t.Errorf("bruno got %s, want %s", bruno, tc.bruno)
			}
			if alba != tc.alba {
				t.Errorf("alba got %s, want %s", alba, tc.alba)
			}
		})
	}
}

// TestTamperMessages: blocks in messages (XEP-0047 §2.3) are tampered with as well,
// and nobody is answered who did not ask.
func TestTamperMessages(t *testing.T) {
	s := startServer(t, xtlstest.Config{Tamper: xtlstest.Drop(1)})
	a, b := two(t, s)
	for i := range 2 {
		a.send("<message to='%s' id='%d'><data xmlns='http://jabber.org/protocol/ibb' seq='0' sid='x'>eHg=</data></message>", b.jid, i)
	}
	b.want(`id="1"`)
	a.sync()
}

// TestForge: a tamper can put anything in front of anybody.
func TestForge(t *testing.T) {
	s := startServer(t, xtlstest.Config{Tamper: func(st *xtlstest.Stanza) []*xtlstest.Stanza {
		if st.Kind != "message" {
			return []*xtlstest.Stanza{st}
		}
		forged, err := xtlstest.ParseStanza("<iq type='get' id='f' from='mallory@evil.example/x' to='" + st.From.String() + "'><x xmlns='y'/></iq>")
		if err != nil {
			t.Error(err)
		}
		lost, err := xtlstest.ParseStanza("<iq type='get' id='l' from='mallory@evil.example/x' to='alba@evil.example/desk'><x xmlns='y'/></iq>")
		if err != nil {
			t.Error(err)
		}
		broken := &xtlstest.Stanza{To: st.To, XML: []byte("<iq></message>")}
		return []*xtlstest.Stanza{forged, lost, broken}
	}})
	a, b := two(t, s)
	a.send("<message to='%s'/>", b.jid)
	a.want("iq", `from="mallory@evil.example/x"`, `id="f"`)
	a.sync()
	if e, err := b.read(); err == nil || !strings.Contains(err.Error(), "syntax") {
		t.Errorf("bruno got %v, %v", e, err)
	}
}

// TestShadow: with two shadows mallory is bruno to alba and alba to bruno, and
// neither sees any of the other's stanzas.
func TestShadow(t *testing.T) {
	s := startServer(t, xtlstest.Config{})
	a, b := two(t, s)
	alba, bruno := jid.MustParse(a.jid), jid.MustParse(b.jid)
	for name, way := range map[string][2]jid.JID{"bruno2": {bruno, alba}, "alba2": {alba, bruno}} {
		if err := s.AddShadow(name, "x", way[0], way[1]); err != nil {
			t.Fatal(err)
		}
	}
	const ask = "<iq type='get' id='%s' to='%s'><ping xmlns='urn:xmpp:ping'/></iq>"
	shadowB := login(t, s, "bruno2", "x", "whatever")
	if shadowB.jid != b.jid {
		t.Errorf("bruno's shadow is %q", shadowB.jid)
	}
	// One shadow: what bruno sends still comes through, what he gets does not.
	b.send(ask, "1", a.jid)
	a.want(`id="1"`, `from="bruno@localhost/phone"`)
	a.send("<iq type='result' id='1' to='%s'/>", b.jid)
	shadowB.want(`type="result"`, `id="1"`, `from="alba@localhost/desk"`)

	shadowA := login(t, s, "alba2", "x", "whatever")
	for _, way := range [][4]*peer{{a, shadowB, shadowA, b}, {b, shadowA, shadowB, a}} {
		victim, in, out, other := way[0], way[1], way[2], way[3]
		victim.send(ask, "2", other.jid)
		in.want(`id="2"`, `from="`+victim.jid+`"`)
		out.send(ask, "3", other.jid)
		other.want(`id="3"`, `from="`+victim.jid+`"`)
		other.send("<iq type='result' id='3' to='%s'/>", victim.jid)
		out.want(`id="3"`, `type="result"`)
		in.send("<iq type='result' id='2' to='%s'/>", victim.jid)
		victim.want(`id="2"`, `type="result"`)
	}

	// Others are not concerned, and the shadow is nobody to them.
	m := login(t, s, "mallory", accounts["mallory"], "x")
	m.send(ask, "4", a.jid)
	a.want(`id="4"`)
	shadowA.send(ask, "5", m.jid)
	shadowA.want(`id="5"`, "service-unavailable")
	shadowA.send("<presence/>")
	shadowA.sync()
	m.sync()

	// One at a time, and when it goes everything is as before.
	again := dialTLS(t, s)
	again.auth("alba2", "x")
	again.open(streamHeader)
	again.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
	again.want(`type="error"`, "conflict")
	for _, sh := range []*peer{shadowA, shadowB} {
		sh.send("</stream:stream>")
		for _, err := sh.read(); err == nil; _, err = sh.read() {
		}
	}
	a.send("<message to='%s'/>", b.jid)
	b.want("message")
	for _, bad := range []string{"alba@localhost", "localhost/x", "alba@evil.example/desk"} {
		if err := s.AddShadow("x", "x", jid.MustParse(bad), bruno); err == nil {
			t.Errorf("a shadow of %s", bad)
		}
	}
}

// TestMelliumShadow: mellium takes the address it is given.
func TestMelliumShadow(t *testing.T) {
	s := startServer(t, xtlstest.Config{})
	a, b := two(t, s)
	if err := s.AddShadow("bruno2", "x", jid.MustParse(b.jid), jid.MustParse(a.jid)); err != nil {
		t.Fatal(err)
	}
	session, err := dialMellium(t, s, true, "bruno2", "x")
	if err != nil {
		t.Fatal(err)
	}
	if got := session.LocalAddr().String(); got != b.jid {
		t.Errorf("bound to %s", got)
	}
}
