// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/jingle/jingletest"
	"example.org/xtls/transport"
	"example.org/xtls/transport/ibb"
)

// A recordedSession is an XMPP session whose other end never answers.
type recordedSession struct {
	mu   sync.Mutex
	sent []string
}

func (*recordedSession) LocalAddr() jid.JID { return jid.MustParse(jingletest.AddrB) }

func (*recordedSession) Request(context.Context, stanza.IQType, jid.JID, []byte) (xml.TokenReader, error) {
	return nil, errors.New("nobody answers")
}

func (s *recordedSession) Go(_ stanza.IQType, _ jid.JID, payload []byte, done func(xml.TokenReader, error)) {
	s.mu.Lock()
	s.sent = append(s.sent, string(payload))
	s.mu.Unlock()
	// The stream's own <close/> is answered, so that it ends.
	if strings.HasPrefix(string(payload), "<close") {
		done(nil, nil)
	}
}

const fuzzSID = "ib7q"

// fuzzStream returns a handler with one stream of alba's, block-size 256, that has received one
// block ("first").
func fuzzStream(t *testing.T, s *recordedSession) (*mux.ServeMux, *ibb.Transport, *ibb.Conn) {
	tr, err := ibb.New(ibb.Config{Stanzas: s, BlockSize: 256, ReceiveBuffer: 512})
	if err != nil {
		t.Fatal(err)
	}
	m := mux.New(stanza.NSClient, ibb.Handle(tr))
	sig := fixed(func(string) string {
		return "<transport xmlns='" + ibb.NSJingle + "' xmlns:x='" + ibb.NSCredit + "' block-size='256' sid='" + fuzzSID + "' x:credit='512'/>"
	})
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		<-sig.sent // the answer left, so the stream is registered
		deliver(t, m, iq(jid.MustParse(jingletest.AddrA), s.LocalAddr(), "o", "<open xmlns='"+nsIBB+"' block-size='256' sid='"+fuzzSID+"'/>"))
	}()
	c, err := tr.Connect(t.Context(), &transport.Negotiation{Peer: jid.MustParse(jingletest.AddrA), Signal: sig})
	<-opened
	if err != nil {
		t.Fatal(err)
	}
	deliver(t, m, iq(jid.MustParse(jingletest.AddrA), s.LocalAddr(), "d", data(fuzzSID, "0", "Zmlyc3Q=")))
	return m, tr, c.(*ibb.Conn)
}

// deliver hands one stanza to m as a session does and returns what was answered. ok is false if
// it is no stanza that a session would hand on.
func deliver(t *testing.T, m *mux.ServeMux, text string) (answer string, ok bool) {
	var out bytes.Buffer
	enc := xml.NewEncoder(&out)
	d := xml.NewDecoder(strings.NewReader(text))
	tok, err := d.Token()
	start, isStart := tok.(xml.StartElement)
	if err != nil || !isStart {
		return "", false
	}
	h, ok := m.Handler(start.Name)
	if !ok {
		return "", false
	}
	err = h.HandleXMPP(struct {
		xml.TokenReader
		*xml.Encoder
	}{d, enc}, &start)
	enc.Flush()
	if err != nil {
		// Only what mellium itself cannot parse may be an error, and the session's guard keeps
		// that away: our handlers return none.
		if out.Len() > 0 {
			t.Errorf("handler answered %s and returned %v", out.String(), err)
		}
		return "", false
	}
	return out.String(), true
}

// FuzzIBB hands any payload from the peer or from somebody else to the handlers. Whatever it is,
// it is answered once, nothing is delivered that is not base64 of the block it came in, bounds
// hold, and a third party changes nothing.
func FuzzIBB(f *testing.F) {
	for _, p := range []string{
		data(fuzzSID, "1", "c2Vjb25k"), data(fuzzSID, "1", ""), data(fuzzSID, "0", "QQ=="), data(fuzzSID, "2", "QQ=="),
		data(fuzzSID, "65536", "QQ=="), data(fuzzSID, "1", "=AAA"), data(fuzzSID, "1", "BBBB=CCC"), data(fuzzSID, "1", "QR=="),
		data(fuzzSID, "1", b64(256)), data(fuzzSID, "1", b64(257)), data(fuzzSID, "1", "Q Q\n=="), data(fuzzSID, "1", "<x/>"),
		data("other", "1", "QQ=="), data(fuzzSID, "1", "<![CDATA[QQ==]]>"), data(fuzzSID, "1", "<!-- -->QQ=="),
		"<open xmlns='" + nsIBB + "' block-size='256' sid='" + fuzzSID + "'/>", "<open xmlns='" + nsIBB + "' sid='x' stanza='message'/>",
		"<close xmlns='" + nsIBB + "' sid='" + fuzzSID + "'/>", "<close xmlns='" + nsIBB + "'/>",
		"<credit xmlns='" + ibb.NSCredit + "' sid='" + fuzzSID + "' limit='512'/>", "<credit xmlns='" + ibb.NSCredit + "' sid='" + fuzzSID + "' limit='99999'/>",
	} {
		f.Add(p, true)
		f.Add(p, false)
	}
	f.Fuzz(func(t *testing.T, payload string, fromPeer bool) {
		s := &recordedSession{}
		m, tr, c := fuzzStream(t, s)
		defer tr.Close(nil)
		from := jid.MustParse("mallory@evil.example/x")
		if fromPeer {
			from = jid.MustParse(jingletest.AddrA)
		}
		answer, ok := deliver(t, m, iq(from, s.LocalAddr(), "fuzz", payload))
		if n := strings.Count(answer, "<iq "); ok && n != 1 {
			t.Errorf("%d answers: %s", n, answer)
		}
		c.SetReadDeadline(time.Unix(1, 0))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("Read = %v", err)
		}
		c.SetReadDeadline(time.Time{})
		deliver(t, m, iq(jid.MustParse(jingletest.AddrA), s.LocalAddr(), "end", "<close xmlns='"+nsIBB+"' sid='"+fuzzSID+"'/>"))
		got, err := readAll(c)
		if !strings.HasPrefix(got, "first") || len(got) > 5+256 || err == nil || errors.Is(err, io.EOF) {
			t.Errorf("Read = %q, %v", got, err)
		}
		if !fromPeer && (got != "first" || err != transport.ErrClosedByPeer) {
			t.Errorf("a third party changed the stream: Read = %q, %v", got, err)
		}
		if got != "first" && !strings.Contains(answer, "result") {
			t.Errorf("%q was delivered, but answered with %s", got[5:], answer)
		}
	})
}

// FuzzTransport hands any <transport/> offer to a responder. What it answers to is never larger
// than what was offered or configured, and its answer is an offer that it takes itself.
func FuzzTransport(f *testing.F) {
	for _, p := range []string{
		"<transport xmlns='" + ibb.NSJingle + "' block-size='4096' sid='ib7q'/>",
		"<transport xmlns='" + ibb.NSJingle + "' xmlns:x='" + ibb.NSCredit + "' block-size='4096' sid='ib7q' x:credit='262144'/>",
		"<transport xmlns='" + ibb.NSJingle + "' block-size='255' sid='a'/>", "<transport xmlns='" + ibb.NSJingle + "' block-size='65535' sid='a.b-c_d:e'/>",
		"<transport xmlns='" + ibb.NSJingle + "' block-size='4096' sid='&apos;'/>", "<x/>", "", "<!-- --><transport",
	} {
		f.Add(p)
	}
	answerTo := func(t *testing.T, offer string) string {
		tr, err := ibb.New(ibb.Config{Stanzas: &recordedSession{}, BlockSize: 512})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close(nil)
		ctx, cancel := context.WithCancel(t.Context())
		answer := ""
		sig := rewriter{fixed(func(string) string { return offer }), func(s string) string {
			answer = s
			cancel() // nobody will send <open/>
			return s
		}}
		c, err := tr.Connect(ctx, &transport.Negotiation{Peer: jid.MustParse(jingletest.AddrA), Signal: sig})
		if err == nil || c != nil || errors.Is(err, io.EOF) {
			t.Errorf("Connect = %v, %v", c, err)
		}
		cancel()
		return answer
	}
	f.Fuzz(func(t *testing.T, offer string) {
		answer := answerTo(t, offer)
		if answer == "" {
			return
		}
		if again := answerTo(t, answer); again != answer {
			t.Errorf("answered %s, and %s to that", answer, again)
		}
	})
}
