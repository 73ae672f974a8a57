// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest_test

import (
	"strings"
	"sync"
	"testing"

	"example.org/xtls/xtls/xtlstest"
	"mellium.im/xmpp/jid"
)

// TestIQ: what alba sends, and what comes back to her or to bruno.
func TestIQ(t *testing.T) {
	s := startServer(t, xtlstest.Config{})
	a, b := two(t, s)
	const ping = "<ping xmlns='urn:xmpp:ping'/>"
	const info = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
	for _, tc := range []struct {
		name, send string
		to         *peer
		want       []string
	}{
		{
			"to a client", "<iq type='get' id='1' to='bruno@localhost/phone'>" + ping + "</iq>", b,
			[]string{`type="get"`, `from="alba@localhost/desk"`, `to="bruno@localhost/phone"`, `id="1"`, `<ping xmlns='urn:xmpp:ping'/>`},
		},
		{
			"own bare from", "<iq from='alba@localhost' type='get' id='1' to='bruno@localhost/phone'>" + ping + "</iq>", b,
			[]string{`from="alba@localhost/desk"`},
		},
		{
			"own full from", "<iq from='ALBA@localhost/desk' type='get' id='1' to='bruno@localhost/phone'>" + ping + "</iq>", b,
			[]string{`from="alba@localhost/desk"`},
		},
		{"canonical address", "<iq type='get' id='1' to='BRUNO@localhost/phone'>" + ping + "</iq>", b, []string{`to="bruno@localhost/phone"`}},
		{"result to a client", "<iq type='result' id='1' to='bruno@localhost/phone'/>", b, []string{`type="result"`}},
		{"error to a client", "<iq type='error' id='1' to='bruno@localhost/phone'>" + ping + "<error/></iq>", b, []string{`type="error"`}},
		{
			"offline", "<iq type='get' id='2' to='bruno@localhost/none'>" + ping + "</iq>", a,
			[]string{`type="error"`, `from="bruno@localhost/none"`, `to="alba@localhost/desk"`, `id="2"`, "type='cancel'", "service-unavailable"},
		},
		{"unknown account", "<iq type='set' id='2' to='nobody@localhost/x'>" + ping + "</iq>", a, []string{"service-unavailable"}},
		{"other domain", "<iq type='get' id='2' to='bruno@evil.example/x'>" + ping + "</iq>", a, []string{"remote-server-not-found"}},
		{"resource of the server", "<iq type='get' id='2' to='localhost/x'>" + ping + "</iq>", a, []string{"service-unavailable"}},
		{"bad address", "<iq type='get' id='2' to='@/'>" + ping + "</iq>", a, []string{"type='modify'", "jid-malformed"}},
		{"bare of another", "<iq type='get' id='2' to='bruno@localhost'>" + ping + "</iq>", a, []string{"service-unavailable"}},
		{"info on bare", "<iq type='get' id='2' to='bruno@localhost'>" + info + "</iq>", a, []string{`type="result"`, "category='account'"}},
		{"info on nobody", "<iq type='get' id='2' to='nobody@localhost'>" + info + "</iq>", a, []string{"service-unavailable"}},
		{"info on server", "<iq type='get' id='2' to='localhost'>" + info + "</iq>", a, []string{`type="result"`, `from="localhost"`, "category='server' type='im'", "urn:xmpp:ping"}},
		{"info on self", "<iq type='get' id='2'>" + info + "</iq>", a, []string{`type="result"`, "category='account'"}},
		{"info on node", "<iq type='get' id='2' to='localhost'>" + strings.Replace(info, "/>", " node='x'/>", 1) + "</iq>", a, []string{"item-not-found"}},
		{"items", "<iq type='get' id='2' to='localhost'>" + strings.Replace(info, "info", "items", 1) + "</iq>", a, []string{`type="result"`, "disco#items"}},
		{"ping", "<iq type='get' id='&lt;&quot;' to='localhost'>" + ping + "</iq>", a, []string{`type="result"`, `id="<\""`}},
		{"ping on own account", "<iq type='get' id='2' to='alba@localhost'>" + ping + "</iq>", a, []string{`type="result"`, `from="alba@localhost"`}},
		{"roster", "<iq type='get' id='2'><query xmlns='jabber:iq:roster'/></iq>", a, []string{`type="result"`, "<query xmlns='jabber:iq:roster'/>"}},
		{"session", "<iq type='set' id='2'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>", a, []string{`type="result"`}},
		{"set for get", "<iq type='set' id='2'>" + ping + "</iq>", a, []string{"service-unavailable"}},
		{"unknown payload", "<iq type='get' id='2' to='localhost'><x xmlns='y'/></iq>", a, []string{"service-unavailable"}},
		{"no payload", "<iq type='get' id='2' to='bruno@localhost/phone'/>", a, []string{"bad-request"}},
		{"two payloads", "<iq type='get' id='2' to='bruno@localhost/phone'>" + ping + ping + "</iq>", a, []string{"bad-request"}},
		{"text", "<iq type='get' id='2' to='bruno@localhost/phone'>" + ping + "zzz</iq>", a, []string{"bad-request"}},
		{"no id", "<iq type='get' to='bruno@localhost/phone'>" + ping + "</iq>", a, []string{"bad-request"}},
		{"bad type", "<iq type='put' id='2' to='bruno@localhost/phone'>" + ping + "</iq>", a, []string{"bad-request"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a.t, b.t = t, t
			a.send("%s", tc.send)
			tc.to.want(tc.want...)
		})
	}

	// None of these gets an answer, and none goes through: the ping is the next that
	// either of them sees.
	for _, silent := range []string{
		"<iq type='result' id='3' to='bruno@localhost/none'/>",
		"<iq type='error' id='3' to='bruno@localhost/none'><error/></iq>",
		"<iq type='result' id='3' to='bruno@localhost/phone'>zzz</iq>", // kills mellium sessions
		"<iq type='result' id='3' to='bruno@localhost/phone'><a xmlns='x'/><a xmlns='x'/></iq>",
		"<iq type='result' id='3' to='localhost'/>",
		"<iq type='result' id='3'/>",
		"<message type='error' to='nobody@localhost'/>",
		"<message type='headline' to='nobody@localhost'/>",
		"<presence to='nobody@localhost'/>",
		"<presence to='nobody@evil.example'/>",
		"<presence to='localhost'/>",
		"<presence type='probe' to='bruno@localhost'/>",
		" \n\t ",
	} {
		a.send("%s", silent)
	}
	a.sync()
	b.sync()
}

func TestMessage(t *testing.T) {
	s := startServer(t, xtlstest.Config{})
	a, b := two(t, s)
	b2 := login(t, s, "bruno", accounts["bruno"], "tablet")
	b3 := login(t, s, "bruno", accounts["bruno"], "mute")
	refused := func(typ, to string) {
		t.Helper()
		a.send("<message type='%s' to='%s' id='m'><body>x</body></message>", typ, to)
		a.want("message", `type="error"`, `id="m"`, "service-unavailable")
	}
	// Nobody is available yet; a full address is reached all the same.
	a.send("<message to='bruno@localhost/phone' xml:lang='gd' id='m'><body>tapadh &lt;leat&gt;</body></message>")
	b.want("message", `lang="gd"`, `id="m"`, `from="alba@localhost/desk"`, "<body>tapadh &lt;leat&gt;</body>")
	refused("chat", "bruno@localhost")
	refused("normal", "bruno@localhost")
	refused("chat", "bruno@localhost/none")

	b.send("<presence/>")
	b.want("presence", `from="bruno@localhost/phone"`)
	b2.send("<presence><priority>5</priority></presence>")
	b2.want("presence", `from="bruno@localhost/tablet"`)
	b2.want("presence", `from="bruno@localhost/phone"`) // was there before
	b.want("presence", `from="bruno@localhost/tablet"`, "<priority>5</priority>")
	b3.send("<presence><priority>-1</priority></presence>")
	for range 3 {
		b3.want("presence")
	}
	b.want("presence", `from="bruno@localhost/mute"`)
	b2.want("presence", `from="bruno@localhost/mute"`)

	for _, tc := range []struct{ typ, to string }{
		{"chat", "bruno@localhost"},
		{"normal", "bruno@localhost"},
		{"headline", "bruno@localhost"},
		{"chat", "bruno@localhost/none"},
	} {
		a.send("<message type='%s' to='%s' id='%s'/>", tc.typ, tc.to, tc.typ)
		b.want("message", tc.typ)
		b2.want("message", tc.typ)
	}
	refused("groupchat", "bruno@localhost")
	refused("normal", "bruno@localhost/none")
	refused("groupchat", "bruno@localhost/none")
	refused("normal", "localhost")
	a.send("<message to='x@evil.example'/>")
	a.want("remote-server-not-found")
	for _, silent := range []string{"headline", "error"} {
		a.send("<message type='%s' to='bruno@localhost/none'/>", silent)
	}
	a.send("<message type='error' to='bruno@localhost'/>")
	a.send("<presence/>")
	a.want("presence")
	a.send("<message id='self'><body>note</body></message>")
	a.want("message", `id="self"`, "note")
	b3.sync() // the mute one got none of the messages
	b.sync()
}

func TestPresence(t *testing.T) {
	s := startServer(t, xtlstest.Config{})
	a, b := two(t, s)
	a.send("<presence to='bruno@localhost'/>") // nobody available there
	a.sync()
	b.send("<presence/>")
	b.want("presence")
	a.send("<presence to='bruno@localhost'><show>away</show></presence>")
	b.want("presence", `from="alba@localhost/desk"`, `to="bruno@localhost"`, "away")
	a.send("<presence to='bruno@localhost/phone'/>")
	b.want("presence", `to="bruno@localhost/phone"`)
	a.send("<presence type='unavailable' to='bruno@localhost/phone'/>")
	b.want("presence", `type="unavailable"`, `to="bruno@localhost/phone"`)
	a.send("<presence type='subscribe' to='bruno@localhost' id='s'/>")
	a.want("presence", `type="error"`, `id="s"`, "feature-not-implemented")
	a.send("<presence><priority>128</priority></presence>")
	a.want("presence", `type="error"`, "bad-request")

	// An end without a word is told only to whom was shown presence and not yet
	// told otherwise: the bare address.
	if n := s.Kill(jid.MustParse("alba@localhost/desk")); n != 1 {
		t.Fatalf("killed %d clients", n)
	}
	b.want("presence", `type="unavailable"`, `from="alba@localhost/desk"`, `to="bruno@localhost"`)
	b.sync()

	// The same by saying so.
	a = login(t, s, "alba", accounts["alba"], "desk")
	a.send("<presence/><presence to='bruno@localhost/phone'/><presence type='unavailable'/>")
	b.want("presence", `to="bruno@localhost/phone"`)
	b.want("presence", `type="unavailable"`)
	a.want("presence")
	a.send("</stream:stream>")
	b.sync()
}

func TestDirectedPresenceBound(t *testing.T) {
	s := startServer(t, xtlstest.Config{})
	a := login(t, s, "alba", accounts["alba"], "desk")
	for i := range 256 {
		a.send("<presence to='bruno@localhost/%d'/>", i)
	}
	a.sync()
	a.send("<presence to='bruno@localhost/0'/>") // known already
	a.send("<presence to='bruno@localhost/256'/>")
	a.want("presence", `type="error"`, `from="bruno@localhost/256"`, "resource-constraint")
	a.sync()
}

func TestSpoofedFrom(t *testing.T) {
	s := startServer(t, xtlstest.Config{})
	b := login(t, s, "bruno", accounts["bruno"], "phone")
	for _, from := range []string{"bruno@localhost/phone", "bruno@localhost", "alba@localhost/other", "localhost", "@", ""} {
		a := login(t, s, "alba", accounts["alba"], "desk")
		a.send("<message from='%s' to='bruno@localhost/phone'/>", from)
		a.wantStreamError("invalid-from")
	}
	b.sync()
}

// TestNamespaces: a stanza means the same to its receiver as to its sender,
// whatever prefixes the sender's stream has.
func TestNamespaces(t *testing.T) {
	s := startServer(t, xtlstest.Config{})
	b := login(t, s, "bruno", accounts["bruno"], "phone")
	a := dialTLS(t, s)
	a.auth("alba", accounts["alba"])
	a.open(strings.Replace(streamHeader, "to=", "xmlns:o='urn:outer' xml:lang='gd' to=", 1))
	a.send("<c:iq xmlns:c='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></c:iq>")
	a.want("jid")
	a.send(`<c:message xmlns:c="jabber:client" to="bruno@localhost/phone" o:x="&#10;'">` +
		`<c:body/><o:p a="1" c:a="2"><q/><r xmlns=""/></o:p><c:body> ]]&gt; <![CDATA[<&>]]>&#13;</c:body></c:message>`)
	got := b.want(`lang="gd"`)
	const want = `<body/><p xmlns='urn:outer' a='1' xmlns:a0='jabber:client' a0:a='2'><q xmlns='jabber:client'/><r xmlns=''/></p>` +
		`<body> ]]&gt; &lt;&amp;&gt;&#xD;</body>`
	if got.Inner != want {
		t.Errorf("got  %s\nwant %s", got.Inner, want)
	}
	for _, attr := range got.Attrs {
		if attr.Name.Space == "urn:outer" && attr.Value != "\n'" {
			t.Errorf("attribute became %q", attr.Value)
		}
	}
}

func TestOnStanza(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	s := startServer(t, xtlstest.Config{OnStanza: func(from, to jid.JID, stanza []byte) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, from.String()+" "+to.String()+" "+string(stanza))
	}})
	a, b := two(t, s)
	a.send("<iq type='set' id='1' to='bruno@localhost/phone'><x xmlns='y'>z</x></iq>")
	b.want("z")
	a.sync() // the server's own traffic is not shown
	mu.Lock()
	defer mu.Unlock()
	const want = "alba@localhost/desk bruno@localhost/phone " +
		"<iq type='set' id='1' to='bruno@localhost/phone' from='alba@localhost/desk'><x xmlns='y'>z</x></iq>"
	if len(seen) != 1 || seen[0] != want {
		t.Errorf("seen %q, want %q", seen, want)
	}
}
