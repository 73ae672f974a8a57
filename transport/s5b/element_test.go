// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"encoding/xml"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"mellium.im/xmpp/jid"
)

func parse(s string) (message, error) {
	return parseTransport(xml.NewDecoder(strings.NewReader(s)))
}

// The <transport/> of XEP-0260's session-initiate, with addresses that exist.
const xepInitiate = `<transport xmlns='urn:xmpp:jingle:transports:s5b:1' dstaddr='972b7bf47291ca609517f67f86b5081086052dad' mode='tcp' sid='vj3hs98y'>
  <candidate cid='hft54dqy' host='192.168.4.1' jid='romeo@montague.lit/orchard' port='5086' priority='8257636' type='direct'/>
  <candidate cid='hutr46fe' host='24.24.24.1' jid='romeo@montague.lit/orchard' port='5087' priority='8258636' type='direct'/>
  <candidate cid='xmdh4b7i' host='streamer.shakespeare.lit' jid='streamer.shakespeare.lit' port='7625' priority='7878787' type='proxy'/>
</transport>`

func TestParse(t *testing.T) {
	m, err := parse(xepInitiate)
	if err != nil {
		t.Fatal(err)
	}
	romeo := jid.MustParse("romeo@montague.lit/orchard")
	want := message{
		sid: "vj3hs98y", dstaddr: "972b7bf47291ca609517f67f86b5081086052dad",
		candidates: []candidate{
			{"hft54dqy", "192.168.4.1", 5086, romeo, 8257636, typeDirect},
			{"hutr46fe", "24.24.24.1", 5087, romeo, 8258636, typeDirect},
			{"xmdh4b7i", "streamer.shakespeare.lit", 7625, jid.MustParse("streamer.shakespeare.lit"), 7878787, typeProxy},
		},
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("got %+v, want %+v", m, want)
	}
	if priorityOf(typeDirect, 100) != 8257636 || priorityOf(typeProxy, 0) != 655360 {
		t.Error("priorities differ from XEP-0260's formula")
	}
}

const (
	open  = "<transport xmlns='urn:xmpp:jingle:transports:s5b:1' sid='s'>"
	shut  = "</transport>"
	cand  = "<candidate cid='%s' host='%s' jid='a@b/c' port='%s' priority='%s' type='%s'/>"
	valid = "<candidate cid='c' host='192.0.2.9' jid='a@b/c' port='1' priority='1'/>"
)

// TestParseForms: each kind of element, and what others may put there.
func TestParseForms(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     message
	}{
		{"empty", open + shut, message{sid: "s"}},
		{"used", open + "<candidate-used cid='x'/>" + shut, message{sid: "s", action: actionCandidateUsed, cid: "x"}},
		{"error", open + "<candidate-error/>" + shut, message{sid: "s", action: actionCandidateError}},
		{"activated", open + "<activated cid='x'/>" + shut, message{sid: "s", action: actionActivated, cid: "x"}},
		{"proxy-error", open + "<proxy-error/>" + shut, message{sid: "s", action: actionProxyError}},
		{"foreign child", open + "<x xmlns='y'><candidate-error/></x><fingerprint/>" + shut, message{sid: "s"}},
		{"text", open + "text" + shut, message{sid: "s"}},
		{"pad", "<transport xmlns='urn:xmpp:jingle:transports:s5b:1' xmlns:x='urn:xmpp:xtls:1' x:pad='1' sid='s'/>", message{sid: "s", pad: true}},
		{"pad of another version", "<transport xmlns='urn:xmpp:jingle:transports:s5b:1' xmlns:x='urn:xmpp:xtls:1' x:pad='2' sid='s'/>", message{sid: "s"}},
		{"pad of nobody", "<transport xmlns='urn:xmpp:jingle:transports:s5b:1' pad='1' sid='s'/>", message{sid: "s"}},
	} {
		if got, err := parse(tt.in); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
	// Defaults of XEP-0065 §6.3 and XEP-0260 §8, and the forms that hosts are compared in.
	m, err := parse(open + "<candidate cid='1' host='::FFFF:192.0.2.9' jid='a@b/c' priority='0'/><candidate cid='2' host='Proxy.EXAMPLE' jid='b' priority='4294967295' type='proxy'/>" + shut)
	if err != nil || m.candidates[0].addr() != "192.0.2.9:1080" || m.candidates[0].typ != typeDirect ||
		m.candidates[1].host != "proxy.example" || m.candidates[1].priority != 1<<32-1 {
		t.Errorf("defaults: %+v, %v", m, err)
	}
}

// TestParseRefuses: everything that has not the form is a violation.
func TestParseRefuses(t *testing.T) {
	candidateWith := func(cid, host, port, priority, typ string) string {
		return open + fmt.Sprintf(cand, cid, host, port, priority, typ) + shut
	}
	long := strings.Repeat("x", maxID+1)
	for name, in := range map[string]string{
		"nothing":            "",
		"unfinished":         open,
		"another element":    "<transport xmlns='urn:xmpp:jingle:transports:ibb:1' sid='s'/>",
		"no sid":             "<transport xmlns='urn:xmpp:jingle:transports:s5b:1'/>",
		"long sid":           strings.Replace(open, "'s'", "'"+long+"'", 1) + shut,
		"udp":                strings.Replace(open, "sid", "mode='udp' sid", 1) + shut,
		"two actions":        open + "<candidate-error/><candidate-used cid='x'/>" + shut,
		"used without cid":   open + "<candidate-used/>" + shut,
		"long cid":           candidateWith(long, "192.0.2.9", "1", "1", "direct"),
		"no cid":             candidateWith("", "192.0.2.9", "1", "1", "direct"),
		"port 0":             candidateWith("c", "192.0.2.9", "0", "1", "direct"),
		"port 65536":         candidateWith("c", "192.0.2.9", "65536", "1", "direct"),
		"port -1":            candidateWith("c", "192.0.2.9", "-1", "1", "direct"),
		"no port number":     candidateWith("c", "192.0.2.9", "http", "1", "direct"),
		"no host":            candidateWith("c", "", "1", "1", "direct"),
		"host with a space":  candidateWith("c", "a b", "1", "1", "proxy"),
		"host with escapes":  candidateWith("c", "a\u009b31m", "1", "1", "proxy"),
		"host with a zone":   candidateWith("c", "fe80::1%eth0", "1", "1", "direct"),
		"host with a port":   candidateWith("c", "a:80", "1", "1", "proxy"),
		"long host":          candidateWith("c", strings.Repeat("a", maxHost+1), "1", "1", "proxy"),
		"negative priority":  candidateWith("c", "192.0.2.9", "1", "-1", "direct"),
		"huge priority":      candidateWith("c", "192.0.2.9", "1", "4294967296", "direct"),
		"no priority":        candidateWith("c", "192.0.2.9", "1", "", "direct"),
		"unknown type":       candidateWith("c", "192.0.2.9", "1", "1", "carrier-pigeon"),
		"no jid":             open + "<candidate cid='c' host='192.0.2.9' port='1' priority='1'/>" + shut,
		"one too many":       open + strings.Repeat(valid, maxCandidates+1) + shut,
		"ten thousand":       open + strings.Repeat(valid, 10_000) + shut,
		"one level too deep": open + strings.Repeat("<x>", maxDepth) + strings.Repeat("</x>", maxDepth) + shut,
	} {
		m, err := parse(in)
		if _, ok := errors.AsType[*ProtocolError](err); !ok && name != "unfinished" || err == nil {
			t.Errorf("%s: got %+v, %v, want a ProtocolError", name, m, err)
		}
	}
	if _, err := parse(open + strings.Repeat(valid, maxCandidates) + shut); err != nil {
		t.Errorf("as many as may be: %v", err)
	}
	if _, err := parse(open + strings.Repeat("<x>", maxDepth-1) + strings.Repeat("</x>", maxDepth-1) + shut); err != nil {
		t.Errorf("as deep as may be: %v", err)
	}
}

func FuzzParseTransport(f *testing.F) {
	for _, seed := range []string{
		xepInitiate, open + valid + "<candidate-used cid='&lt;&apos;'/>" + shut, open + "<candidate-error/>" + shut,
		"<transport xmlns='urn:xmpp:jingle:transports:s5b:1' xmlns:x='urn:xmpp:xtls:1' x:pad='1' sid='&quot;s'/>",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := parse(s)
		if err != nil {
			return
		}
		again, err := parse(string(m.render()))
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Errorf("%q: %+v was rendered as %s, which is %+v, %v", s, m, m.render(), again, err)
		}
	})
}
