// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"mellium.im/xmpp/jid"
)

// TestDigest: the vectors of XEP-0260 §2.2 and one with this project's names.
func TestDigest(t *testing.T) {
	romeo, juliet := jid.MustParse("romeo@montague.lit/orchard"), jid.MustParse("juliet@capulet.lit/balcony")
	for _, tt := range []struct {
		sid            string
		offerer, other jid.JID
		want           string
	}{
		{"vj3hs98y", romeo, juliet, "972b7bf47291ca609517f67f86b5081086052dad"},
		{"vj3hs98y", juliet, romeo, "1a12fb7bc625e55f3ed5b29a53dbe0e4aa7d80ba"},
		{"by-41c7", alba, bruno, "e1a373db338ed605e4334d9d35081cd2b11ec95b"},
		{"by-41c7", bruno, alba, "51e54e24aaa3a902b0fd2576fa96c0eb7d28ef2c"},
	} {
		if got := newDigest(tt.sid, tt.offerer, tt.other).String(); got != tt.want {
			t.Errorf("newDigest(%s, %v, %v) = %s, want %s", tt.sid, tt.offerer, tt.other, got, tt.want)
		}
	}
}

// A half is one end of an exchange whose other end has spoken already.
type half struct {
	io.Reader
	io.Writer
}

// TestSocksWire: both sides write exactly what XEP-0065 §7 has, and read no octet more.
func TestSocksWire(t *testing.T) {
	d := newDigest("by-41c7", alba, bruno)
	request := "\x05\x01\x00" + "\x05\x01\x00\x03\x28e1a373db338ed605e4334d9d35081cd2b11ec95b\x00\x00"
	reply := "\x05\x00" + "\x05\x00\x00\x03\x28e1a373db338ed605e4334d9d35081cd2b11ec95b\x00\x00"

	in, out := strings.NewReader(reply+"TLS"), &bytes.Buffer{}
	if err := socksDial(half{in, out}, d); err != nil || out.String() != request || in.Len() != 3 {
		t.Errorf("socksDial = %v, wrote %q, left %d", err, out, in.Len())
	}
	in, out = strings.NewReader(request+"TLS"), &bytes.Buffer{}
	got, err := socksAccept(half{in, out}, [2]digest{{}, d})
	out.Write(answer(got))
	if err != nil || out.String() != reply || in.Len() != 3 {
		t.Errorf("socksAccept = %v, wrote %q, left %d", err, out, in.Len())
	}
}

// TestSocksAnswers: what a client takes and what not.
func TestSocksAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		ok           bool
	}{
		{"IPv4 address", "\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50", true},
		{"IPv6 address", "\x05\x00\x05\x00\x00\x04" + strings.Repeat("\x00", 18), true},
		{"empty name", "\x05\x00\x05\x00\x00\x03\x00\x00\x00", true},
		{"longest name", "\x05\x00\x05\x00\x00\x03\xff" + strings.Repeat("a", 255) + "\x00\x00", true},
		{"wants authentication", "\x05\x02", false},
		{"no method", "\x05\xff", false},
		{"SOCKS4", "\x04\x00", false},
		{"refused", "\x05\x00\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00", false},
		{"another version", "\x05\x00\x04\x00\x00\x01\x00\x00\x00\x00\x00\x00", false},
		{"unknown address type", "\x05\x00\x05\x00\x00\x02\x00\x00\x00\x00\x00\x00", false},
		{"cut", "\x05\x00\x05\x00\x00\x01\x00\x00", false},
		{"nothing", "", false},
	} {
		if err := socksDial(half{strings.NewReader(tt.answer), io.Discard}, digest{}); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestSocksStrangers: only a known digest gets an answer, and nobody more than two octets before.
func TestSocksStrangers(t *testing.T) {
	d, e := newDigest("by-41c7", alba, bruno), newDigest("by-41c7", bruno, alba)
	ok := "\x05\x01\x00" + connectHdr + d.String() + noPort
	for _, tt := range []struct {
		name, sent string
		ok         bool
	}{
		{"first digest", ok, true},
		{"second digest", "\x05\x01\x00" + connectHdr + e.String() + noPort, true},
		{"several methods", "\x05\x03\x02\x01\x00" + ok[3:], true},
		{"wrong digest", strings.Replace(ok, "e1a373", "e1a374", 1), false},
		{"upper case", strings.ToUpper(ok), false},
		{"another port", ok[:len(ok)-1] + "\x01", false},
		{"BIND", strings.Replace(ok, connectHdr, "\x05\x02\x00\x03\x28", 1), false},
		{"UDP ASSOCIATE", strings.Replace(ok, connectHdr, "\x05\x03\x00\x03\x28", 1), false},
		{"IPv4 address", "\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50", false},
		{"shorter name", strings.Replace(ok, connectHdr, "\x05\x01\x00\x03\x27", 1), false},
		{"reserved octet", strings.Replace(ok, connectHdr, "\x05\x01\x01\x03\x28", 1), false},
		{"only with password", "\x05\x01\x02" + ok[3:], false},
		{"no methods", "\x05\x00" + ok[3:], false},
		{"SOCKS4", "\x04" + ok[1:], false},
		{"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n" + strings.Repeat(" ", 400), false},
		{"cut", ok[:len(ok)-1], false},
	} {
		in, out := strings.NewReader(tt.sent), &bytes.Buffer{}
		_, err := socksAccept(half{in, out}, [2]digest{d, e})
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
		if out.Len() > 2 {
			t.Errorf("%s was answered %q", tt.name, out)
		}
		if read := len(tt.sent) - in.Len(); read > greetLen+requestLen {
			t.Errorf("%s: read %d octets", tt.name, read)
		}
	}
}

func FuzzSocksAccept(f *testing.F) {
	d := newDigest("by-41c7", alba, bruno)
	ok := "\x05\x01\x00" + connectHdr + d.String() + noPort
	for _, seed := range []string{ok, ok[:20], "\x05\x03\x02\x01\x00" + ok[3:], "\x04\x01", "", strings.Repeat("\x05", 400)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		in := bytes.NewReader(sent)
		got, err := socksAccept(half{in, io.Discard}, [2]digest{d, d})
		if err == nil && got != d {
			t.Errorf("%q let %s in", sent, got)
		}
		if read := len(sent) - in.Len(); read > greetLen+requestLen {
			t.Errorf("read %d octets", read)
		}
	})
}

func FuzzSocksDial(f *testing.F) {
	f.Add([]byte("\x05\x00" + successHdr + strings.Repeat("a", digestLen) + noPort))
	f.Add([]byte("\x05\x00\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		err := socksDial(half{bytes.NewReader(sent), io.Discard}, digest{})
		if err == nil && !bytes.HasPrefix(sent, []byte(greeted+"\x05\x00")) {
			t.Errorf("%q was taken for success", sent)
		}
		if errors.Is(wrapCause(ErrNoCandidate, err), io.EOF) {
			t.Error("an end that could be taken for a clean one")
		}
	})
}
