// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"mellium.im/xmlstream"
	"mellium.im/xmpp/disco"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/receipts"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// chatEnv is the environment of a run in this process.
func chatEnv(t *testing.T, s *xtlstest.Server, dir, password string) func(string) string {
	t.Helper()
	set := map[string]string{
		"XTLS_PASSWORD": password, "XTLS_SERVER": s.Addr(), "XTLS_ACCEPT_NEW": "1",
		"XTLS_SERVER_CA": writeFile(t, t.TempDir(), "ca.pem", s.CAPEM()), "XTLS_CONFIG": dir,
	}
	return func(name string) string { return set[name] }
}

// TestChatInProcess sends much, in lines short and long, to one who waits; the leak
// check of TestMain sees what both leave behind.
func TestChatInProcess(t *testing.T) {
	s := xtlstest.NewServer(t, xtlstest.Config{Accounts: scriptAccounts})
	var text, want strings.Builder
	for i := range 300 { // more than may be on their way
		fmt.Fprintf(&text, "line %d\n", i)
		fmt.Fprintf(&want, "alice@localhost: line %d\n", i)
	}
	long := strings.Repeat("é", 3500)
	text.WriteString(long + "\r\n\n\xff\nno end of line")
	want.WriteString("alice@localhost: " + long + "\nalice@localhost: \nalice@localhost: \\ufffd\nalice@localhost: no end of line\n")

	var served, got, aliceErr bytes.Buffer
	stderr := newWatched()
	code := make(chan int, 1)
	go func() {
		code <- run(t.Context(), []string{"chat", "--jid=bob@localhost"},
			streams{strings.NewReader("hello\n"), &served, stderr}, chatEnv(t, s, t.TempDir(), scriptAccounts["bob"]))
		stderr.end()
	}()
	if !stderr.await("ready bob@localhost/") {
		t.Fatal(stderr)
	}
	alice := run(t.Context(), []string{"chat", "bob@localhost", "--jid=alice@localhost", "-vv"},
		streams{strings.NewReader(text.String()), &got, &aliceErr}, chatEnv(t, s, t.TempDir(), scriptAccounts["alice"]))
	if bob := <-code; alice != 0 || bob != 0 {
		t.Fatalf("exit codes %d and %d\n%s\n%s", alice, bob, &aliceErr, stderr)
	}
	if served.String() != want.String() || got.String() != "bob@localhost: hello\n" {
		t.Errorf("bob read %q\nwant %q\nalice read %q", served.String(), want.String(), got.String())
	}
	if n := strings.Count(aliceErr.String(), "✓ "); n != 304 {
		t.Errorf("%d of 304 lines are marked", n)
	}
}

// TestReceiptIsForWhatIsShown: a line that could not be written where the user reads is not marked.
func TestReceiptIsForWhatIsShown(t *testing.T) {
	s := xtlstest.NewServer(t, xtlstest.Config{Accounts: scriptAccounts})
	stderr := newWatched()
	code := make(chan int, 1)
	go func() {
		code <- run(t.Context(), []string{"chat", "--jid=bob@localhost"},
			streams{strings.NewReader(""), &failing{2, syscall.ENOSPC}, stderr}, chatEnv(t, s, t.TempDir(), scriptAccounts["bob"]))
		stderr.end()
	}()
	if !stderr.await("ready bob@localhost/") {
		t.Fatal(stderr)
	}
	var aliceErr bytes.Buffer
	alice := run(t.Context(), []string{"chat", "bob@localhost", "--jid=alice@localhost"},
		streams{strings.NewReader("1\n2\n3\n4\n"), io.Discard, &aliceErr}, chatEnv(t, s, t.TempDir(), scriptAccounts["alice"]))
	if bob := <-code; bob != exitFailure || alice == exitOK {
		t.Errorf("exit codes %d and %d\n%s\n%s", alice, bob, &aliceErr, stderr)
	}
	if n := strings.Count(aliceErr.String(), "✓ "); n > 2 || strings.Contains(aliceErr.String(), "✓ 3") {
		t.Errorf("marked what was not shown:\n%s", &aliceErr)
	}
}

// TestWhole: a line that is too long is cut, but no character.
func TestWhole(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "abc": "abc", "ab\xc3": "ab", "ab\xe2\x82": "ab", "ab\xe2\x82\xac": "ab\xe2\x82\xac",
		"ab\xff": "ab\xff", "\xf0\x9f\x98": "", "\x80\x80\x80\x80": "\x80\x80\x80\x80",
	} {
		got, rest := whole([]byte(in))
		if string(got) != want || string(got)+string(rest) != in {
			t.Errorf("whole(%q) = %q, %q", in, got, rest)
		}
	}
}

// chatPeer is bob with the library, who takes one chat and deals with it as play says.
func chatPeer(t *testing.T, s *xtlstest.Server, play func(conn *xtls.Conn)) (done <-chan struct{}) {
	t.Helper()
	bob := xtlstest.NewClient(t, s, "bob", xtlstest.ClientConfig(t, s, "bob"))
	l, err := bob.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		o, err := l.Next(t.Context())
		if err != nil {
			return
		}
		if conn, err := o.Accept(t.Context()); err == nil {
			defer conn.Close()
			play(conn)
		}
	}()
	return ended
}

// serveAs serves the stream in conn.
func serveAs(conn *xtls.Conn, opts ...mux.Option) {
	session, err := xtls.Stream(context.Background(), conn)
	if err == nil {
		_ = session.Serve(xtls.Protect(mux.New(stanza.NSClient, opts...), nil))
	}
}

// TestChatWithOthers: programs that do less than this one, or worse.
func TestChatWithOthers(t *testing.T) {
	listed := mux.Feature(receiptsFeature{})
	body := xml.Name{Space: stanza.NSClient, Local: "body"}
	tests := []struct {
		name string
		play func(conn *xtls.Conn)
		code int
		said string // on standard error
	}{
		{"no receipts", func(conn *xtls.Conn) { serveAs(conn, disco.Handle()) }, exitOK, ""},
		{"no disco", func(conn *xtls.Conn) { serveAs(conn) }, exitOK, ""},
		{"leaves without a receipt", func(conn *xtls.Conn) {
			session, err := xtls.Stream(context.Background(), conn)
			if err != nil {
				return
			}
			gone := mux.MessageFunc(stanza.ChatMessage, body, func(stanza.Message, xmlstream.TokenReadEncoder) error {
				return session.Close()
			})
			_ = session.Serve(xtls.Protect(mux.New(stanza.NSClient, disco.Handle(), listed, gone), nil))
		}, exitLost, "may not have arrived"},
		{"hangs up", func(conn *xtls.Conn) {
			hang := mux.MessageFunc(stanza.ChatMessage, body, func(stanza.Message, xmlstream.TokenReadEncoder) error {
				conn.Abort()
				return nil
			})
			serveAs(conn, disco.Handle(), listed, hang)
		}, exitLost, ""},
		{"receipts for nothing", func(conn *xtls.Conn) {
			more := mux.MessageFunc(stanza.ChatMessage, body, func(m stanza.Message, t xmlstream.TokenReadEncoder) error {
				for _, id := range []string{"x", m.ID, m.ID, ""} {
					received := xml.StartElement{Name: xml.Name{Space: receipts.NS, Local: "received"}, Attr: []xml.Attr{{Name: xml.Name{Local: "id"}, Value: id}}}
					if _, err := xmlstream.Copy(t, stanza.Message{Type: stanza.ChatMessage}.Wrap(xmlstream.Wrap(nil, received))); err != nil {
						return err
					}
				}
				return nil
			})
			serveAs(conn, disco.Handle(), listed, more)
		}, exitOK, "✓ a line"},
		{"pretends to be somebody else", func(conn *xtls.Conn) {
			_, _ = io.WriteString(conn, `<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>`+
				`<message from='carol@localhost'><body>x</body></message>`)
			_, _ = io.Copy(io.Discard, conn)
		}, exitFailure, "invalid-from"},
		{"is none", func(conn *xtls.Conn) { _, _ = io.WriteString(conn, "SSH-2.0-OpenSSH\r\n") }, exitFailure, "bad-format"},
		{"no header", func(conn *xtls.Conn) { _ = conn.CloseWrite(); _, _ = io.Copy(io.Discard, conn) }, exitFailure, "EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := xtlstest.NewServer(t, xtlstest.Config{Accounts: map[string]string{"alice": scriptAccounts["alice"]}})
			done := chatPeer(t, s, tt.play)
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), []string{"chat", "bob@localhost", "--jid=alice@localhost"},
				streams{strings.NewReader("a line\n"), &stdout, &stderr}, chatEnv(t, s, t.TempDir(), scriptAccounts["alice"]))
			<-done
			if code != tt.code || !strings.Contains(stderr.String(), tt.said) || stdout.Len() > 0 {
				t.Errorf("exit code %d, want %d\n%s%s", code, tt.code, &stdout, &stderr)
			}
		})
	}
}

// TestChatInputFails: an input that cannot be read is no end of input.
func TestChatInputFails(t *testing.T) {
	s := xtlstest.NewServer(t, xtlstest.Config{Accounts: map[string]string{"alice": scriptAccounts["alice"]}})
	done := chatPeer(t, s, func(conn *xtls.Conn) { serveAs(conn, disco.Handle()) })
	var stderr bytes.Buffer
	code := run(t.Context(), []string{"chat", "bob@localhost", "--jid=alice@localhost"},
		streams{iotest.ErrReader(io.ErrNoProgress), io.Discard, &stderr}, chatEnv(t, s, t.TempDir(), scriptAccounts["alice"]))
	<-done
	if code != exitFailure || !strings.Contains(stderr.String(), io.ErrNoProgress.Error()) {
		t.Errorf("exit code %d\n%s", code, &stderr)
	}
}
