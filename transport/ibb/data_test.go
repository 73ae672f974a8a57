// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"mellium.im/xmpp/jid"

	"example.org/xtls/jingle/jingletest"
	"example.org/xtls/transport/ibb"
)

const nsIBB = "http://jabber.org/protocol/ibb"

// data renders a <data/> element.
func data(sid, seq, text string) string {
	return fmt.Sprintf("<data xmlns='%s' sid='%s' seq='%s'>%s</data>", nsIBB, sid, seq, text)
}

func b64(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }

// TestDataRefused injects one <data/> after a good block. Each case names the rule it breaks.
func TestDataRefused(t *testing.T) {
	const size = 256
	peer := jid.MustParse(jingletest.AddrA)
	for _, tt := range []struct {
		name      string
		from      jid.JID
		payload   func(sid string) string
		condition string // of the answer
		broken    string // what the reader is told; empty if the stream goes on
	}{
		{"third party", jid.MustParse("mallory@evil.example/x"), seq("1", "QQ=="), "cancel item-not-found", ""},
		{"other resource of the peer", jid.MustParse("alba@isle.example/other"), seq("1", "QQ=="), "cancel item-not-found", ""},
		{"bare JID of the peer", peer.Bare(), seq("1", "QQ=="), "cancel item-not-found", ""},
		{"unknown sid, XEP-0047 §2.2", peer, func(string) string { return data("other", "1", "QQ==") }, "cancel item-not-found", ""},
		{"no sid", peer, func(string) string { return "<data xmlns='" + nsIBB + "' seq='1'>QQ==</data>" }, "cancel bad-request", ""},
		{"sid no NMTOKEN", peer, func(string) string { return data("a b", "1", "QQ==") }, "cancel bad-request", ""},
		{"sid too long", peer, func(string) string { return data(strings.Repeat("s", 129), "1", "QQ==") }, "cancel bad-request", ""},

		{"gap", peer, seq("2", "QQ=="), "cancel unexpected-request", "seq 2, but 1 was next"},
		{"seq used before", peer, seq("0", "QQ=="), "cancel unexpected-request", "seq 0 again, 1 was next"},
		{"far ahead", peer, seq("32768", "QQ=="), "cancel unexpected-request", "seq 32768, but 1 was next"},
		{"far behind", peer, seq("32769", "QQ=="), "cancel unexpected-request", "seq 32769 again"},
		{"seq above 65535", peer, seq("65536", "QQ=="), "cancel bad-request", `seq "65536"`},
		{"seq 70000", peer, seq("70000", "QQ=="), "cancel bad-request", `seq "70000"`},
		{"seq negative", peer, seq("-1", "QQ=="), "cancel bad-request", `seq "-1"`},
		{"seq no number", peer, seq("one", "QQ=="), "cancel bad-request", `seq "one"`},
		{"seq empty", peer, seq("", "QQ=="), "cancel bad-request", `seq ""`},

		{"foreign character, XEP-0047 §6", peer, seq("1", "QU*="), "cancel bad-request", "not base64"},
		{"padding first, XEP-0047 §6", peer, seq("1", "=AAA"), "cancel bad-request", "not base64"},
		{"padding inside, XEP-0047 §6", peer, seq("1", "BBBB=CCC"), "cancel bad-request", "not base64"},
		{"two blocks in one", peer, seq("1", "QQ==QQ=="), "cancel bad-request", "not base64"},
		{"padding missing", peer, seq("1", "QQ"), "cancel bad-request", "not base64"},
		{"too much padding", peer, seq("1", "QUI=="), "cancel bad-request", "not base64"},
		{"bits hidden in the padding", peer, seq("1", "QR=="), "cancel bad-request", "not base64"},
		{"alphabet of RFC 4648 §5", peer, seq("1", "-_-_"), "cancel bad-request", "not base64"},
		{"no-break space", peer, seq("1", "QQ==&#160;"), "cancel bad-request", "not base64"},
		{"element inside", peer, seq("1", "QQ<x/>=="), "cancel bad-request", "more than text"},

		{"block one octet too large", peer, seq("1", b64(size+1)), "cancel bad-request", "block of 257 octets, block-size is 256"},
		{"too much white space", peer, seq("1", strings.Repeat(" ", 2*344)+"QQ=="), "cancel bad-request", "more than 688 octets of text"},
		{"far too much text", peer, seq("1", b64(1<<16)), "cancel bad-request", "more than 688 octets of text"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, ibb.Config{BlockSize: size})
			a, b := r.connect(t, false)
			mustWrite(t, a, "good")
			jingletest.Await(r.a, isElement("data"))
			jingletest.Settle(r.a)
			r.b.Inject(iq(tt.from, r.b.LocalAddr(), "evil", tt.payload(sidOf(b))))
			if got := condition(answerTo(r.b, "evil")); got != tt.condition {
				t.Errorf("answer is %q, want %q", got, tt.condition)
			}
			if got := readString(t, b, 4); got != "good" {
				t.Errorf("Read = %q, want what came before", got)
			}
			if tt.broken != "" {
				checkBroken(t, r, b, tt.broken)
				return
			}
			mustWrite(t, a, "more")
			if got := readString(t, b, 4); got != "more" {
				t.Errorf("Read = %q", got)
			}
		})
	}
}

// checkBroken checks that b is over because of what is in text, and that its peer is told.
func checkBroken(t *testing.T, r *rig, b *ibb.Conn, text string) {
	t.Helper()
	rest, err := readAll(b)
	if v, ok := errors.AsType[*ibb.ProtocolError](err); !ok || !strings.Contains(v.Text, text) || v.Rule == "" {
		t.Errorf("Read = %v, want a ProtocolError with %q", err, text)
	}
	if rest != "" {
		t.Errorf("Read %q, which was never sent", rest)
	}
	if _, err := b.Write([]byte("x")); err == nil {
		t.Error("Write works after the stream broke")
	}
	// XEP-0047 §2.2: "the recipient MUST close the bytestream".
	jingletest.Await(r.b, func(s jingletest.Stanza) bool {
		return isElement("close")(s) && s.From.Equal(r.b.LocalAddr())
	})
}

func seq(seq, text string) func(string) string {
	return func(sid string) string { return data(sid, seq, text) }
}

// condition returns type and condition of an error answer, "result" for a result.
func condition(s jingletest.Stanza) string {
	if s.Type == "result" {
		return "result"
	}
	_, rest, _ := strings.Cut(s.XML, "<error type=\"")
	typ, rest, _ := strings.Cut(rest, "\"")
	_, rest, _ = strings.Cut(rest, "<")
	cond, _, _ := strings.Cut(rest, " ")
	return typ + " " + cond
}

// TestDataAccepted: what a strict reader must still take.
func TestDataAccepted(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"plain", "aGVsbG8=", "hello"},
		{"empty block carries nothing", "", ""},
		{"white space as in the XEP's example", "\n    aGVs\n    bG8=\n  ", "hello"},
		{"CDATA and references", "aG<![CDATA[Vs]]>bG8&#x3d;", "hello"},
		{"full block", b64(256), string(make([]byte, 256))},
		{"as much white space as text", strings.Repeat("\t", 344) + b64(256), string(make([]byte, 256))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, ibb.Config{BlockSize: 256})
			_, b := r.connect(t, false)
			inject := func(id, seq, text string) {
				t.Helper()
				r.b.Inject(iq(r.a.LocalAddr(), r.b.LocalAddr(), id, data(sidOf(b), seq, text)))
				if got := condition(answerTo(r.b, id)); got != "result" {
					t.Errorf("answer is %q", got)
				}
			}
			inject("d0", "0", tt.text)
			inject("d1", "1", "Lg==")
			if got := readString(t, b, len(tt.want)+1); got != tt.want+"." {
				t.Errorf("Read = %q, want %q", got, tt.want+".")
			}
		})
	}
}

// TestXEPExample is the block of XEP-0047 §2.2, example 6, in a stream of its own.
func TestXEPExample(t *testing.T) {
	const text = `
    qANQR1DBwU4DX7jmYZnncmUQB/9KuKBddzQH+tZ1ZywKK0yHKnq57kWq+RFtQdCJ
    WpdWpR0uQsuJe7+vh3NWn59/gTc5MDlX8dS9p0ovStmNcyLhxVgmqS8ZKhsblVeu
    IpQ0JgavABqibJolc3BKrVtVV1igKiX/N7Pi8RtY1K18toaMDhdEfhBRzO/XB0+P
    AQhYlRjNacGcslkhXqNjK5Va4tuOAPy2n1Q8UUrHbUd0g+xJ9Bm0G0LZXyvCWyKH
    kuNEHFQiLuCY6Iv0myq6iX6tjuHehZlFSh80b5BVV9tNLwNR5Eqz1klxMhoghJOA
  `
	want, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, ibb.Config{})
	_, b := r.connect(t, false)
	r.b.Inject(iq(r.a.LocalAddr(), r.b.LocalAddr(), "kr91n475", data(sidOf(b), "0", text)))
	if got := readString(t, b, len(want)); got != string(want) {
		t.Errorf("Read = %x, want %x", got, want)
	}
}

// TestBlocks: blocks are full where there is enough, and each is a base64 text of its own.
func TestBlocks(t *testing.T) {
	r := newRig(t, ibb.Config{BlockSize: 300})
	a, b := r.connect(t, false)
	mustWrite(t, a, strings.Repeat("x", 1000))
	if got := readString(t, b, 1000); got != strings.Repeat("x", 1000) {
		t.Errorf("Read = %q", got)
	}
	var sizes []int
	for _, s := range jingletest.Log(r.a) {
		if s.Payload.Local != "data" {
			continue
		}
		_, text, _ := strings.Cut(s.XML[strings.Index(s.XML, "<data"):], ">")
		text, _, _ = strings.Cut(text, "<")
		block, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil || strings.ContainsAny(text, " \n\t\r") {
			t.Errorf("block %q: %v", text, err)
		}
		sizes = append(sizes, len(block))
	}
	if fmt.Sprint(sizes) != "[300 300 300 100]" {
		t.Errorf("blocks of %v octets", sizes)
	}
}
