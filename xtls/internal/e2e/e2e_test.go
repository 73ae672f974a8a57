// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package e2e_test

import (
	"bufio"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/logging"
	"go.uber.org/goleak"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stream"

	"example.org/xtls/xtls/internal/e2e"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	alice = jid.MustParse("alice@isle.example/desk")
	bob   = jid.MustParse("bob@moor.example/phone")
)

const header = `<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>`

func config() e2e.Config {
	return e2e.Config{
		Local: bob, Peer: alice, Hangup: func() {}, Cut: io.ErrUnexpectedEOF,
		Log: (&logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}).NewLogger("test"),
	}
}

// far is the other end of a tunnel. What arrives there is read all the time.
type far struct {
	net.Conn
	lines chan string // what arrived, cut after each '>'
}

// pair returns an Endpoint and the other end of its tunnel, which is net.Pipe: it
// takes nothing that nobody reads.
func pair(t *testing.T, cfg e2e.Config) (*e2e.Endpoint, *far) {
	t.Helper()
	near, conn := net.Pipe()
	f := &far{conn, make(chan string, 1000)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(f.lines)
		r := bufio.NewReader(conn)
		for {
			text, err := r.ReadString('>')
			if err != nil {
				return
			}
			f.lines <- text
		}
	}()
	e := e2e.New(near, cfg)
	t.Cleanup(func() {
		e.Abort()
		_ = near.Close()
		e.Join()
		<-read
	})
	return e, f
}

// says returns what arrives up to an octet sequence.
func (f *far) says(t *testing.T, end string) string {
	t.Helper()
	var got strings.Builder
	for !strings.HasSuffix(got.String(), end) {
		text, ok := <-f.lines
		if !ok {
			t.Fatalf("the stream ended after %q", got.String())
		}
		got.WriteString(text)
	}
	return got.String()
}

func open(t *testing.T, e *e2e.Endpoint) *e2e.Stream {
	t.Helper()
	s, err := e.Stream()
	if err == nil {
		err = s.Open()
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, s io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(s, text); err != nil {
		t.Fatalf("Write(%q): %v", text, err)
	}
}

// TestBetween: what this package says itself does not fall into a stanza of the
// session.
func TestBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, f := pair(t, config())
		s := open(t, e)
		f.says(t, "<stream:features/>")
		write(t, s, "<message><body>half")
		go io.WriteString(f, header+`<iq type='set' id='r"1'><query xmlns='jabber:iq:roster'/></iq><presence/>`)
		if _, err := s.Read(make([]byte, 4096)); err != nil { // the header
			t.Fatal(err)
		}
		n, err := s.Read(make([]byte, 4096)) // presence: the request has been refused
		if n == 0 || err != nil {
			t.Fatal(n, err)
		}
		write(t, s, " of it</body></message><presence/>")
		const want = `<message><body>half of it</body></message>` +
			`<iq type="error" id="r&#34;1"><error type="cancel"><service-unavailable xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error></iq><presence/>`
		if got := f.says(t, "<presence/>"); got != want {
			t.Errorf("sent %q, want %q", got, want)
		}
	})
}

// TestLastWords: the peer is told why even if a stanza is under way, and nothing
// comes after; a stanza that does not end is not waited for.
func TestLastWords(t *testing.T) {
	for _, ends := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			hung := make(chan struct{})
			cfg := config()
			cfg.Hangup = func() { close(hung) }
			e, f := pair(t, cfg)
			s := open(t, e)
			f.says(t, "<stream:features/>")
			write(t, s, "<message>")
			go io.WriteString(f, header+`<message from='mallory@moor.example'/>`)
			read := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, s)
				read <- err
			}()
			synctest.Wait()
			if ends {
				if _, err := io.WriteString(s, "</message>"); err == nil {
					t.Error("the session is not told that this was the end")
				}
				want := `<message></message><stream:error><invalid-from xmlns="urn:ietf:params:xml:ns:xmpp-streams"/></stream:error></stream:stream>`
				if got := f.says(t, "</stream:stream>"); got != want {
					t.Errorf("sent %q, want %q", got, want)
				}
			}
			<-hung
			if err := <-read; !errors.Is(err, stream.InvalidFrom) {
				t.Errorf("Read: %v", err)
			}
			if _, err := io.WriteString(s, "<presence/>"); !errors.Is(err, stream.InvalidFrom) {
				t.Errorf("Write after the end: %v", err)
			}
			if _, err := io.WriteString(s, "</stream:stream>"); err != nil {
				t.Errorf("the session closes: %v", err)
			}
		})
	}
}

// TestTooManyRefusals: what waits for a gap is bounded.
func TestTooManyRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, f := pair(t, config())
		s := open(t, e)
		write(t, s, "<message>")
		go func() {
			write(t, f, header)
			for {
				if _, err := io.WriteString(f, `<iq type='get' id='x'><query xmlns='jabber:iq:roster'/></iq>`); err != nil {
					return
				}
			}
		}()
		if _, err := io.Copy(io.Discard, s); !errors.Is(err, stream.PolicyViolation) {
			t.Errorf("Read: %v", err)
		}
		_ = f.Close()
	})
}

// TestGoodbye closes a stream that nobody serves, with a peer that answers, with one
// that does not, and with one that talks on.
func TestGoodbye(t *testing.T) {
	for name, tt := range map[string]struct {
		sent string
		took time.Duration
	}{
		"answers": {header + "<presence/></stream:stream>", 500 * time.Millisecond},
		"silent":  {header + "<presence/>", 11 * time.Second},
		"nothing": {"", 11 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, f := pair(t, config())
				open(t, e)
				go io.WriteString(f, tt.sent)
				start := time.Now()
				e.Goodbye()
				if d := time.Since(start); d > tt.took {
					t.Errorf("Goodbye took %v", d)
				}
				f.says(t, "</stream:stream>")
			})
		})
	}
}

// TestEndIsKept: the end of the stream is left to a session that was not reading when
// Goodbye came.
func TestEndIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, f := pair(t, config())
		s := open(t, e)
		go io.WriteString(f, header+"<presence/></stream:stream>")
		e.Goodbye()
		d := xml.NewDecoder(s)
		var names []string
		for {
			tok, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			switch tok := tok.(type) {
			case xml.StartElement:
				names = append(names, tok.Name.Local)
			case xml.EndElement:
				names = append(names, "/"+tok.Name.Local)
			}
		}
		if got := strings.Join(names, " "); got != "stream /stream" {
			t.Errorf("the session read %q", got)
		}
	})
}

// TestPeerDoesNotRead: a peer that does not read slows writing down, and in the end
// fails it; it does not block for ever.
func TestPeerDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, conn := net.Pipe() // nobody reads conn
		e := e2e.New(near, config())
		s := open(t, e)
		stanza := "<message><body>" + strings.Repeat("x", 64<<10) + "</body></message>"
		start := time.Now()
		total := 0
		var err error
		for err == nil && total < 64<<20 {
			_, err = io.WriteString(s, stanza)
			total += len(stanza)
		}
		if err == nil || total < 8<<20 || total > 9<<20 {
			t.Errorf("%d octets were taken, then %v", total, err)
		}
		if d := time.Since(start); d < time.Minute {
			t.Errorf("they were taken in %v", d)
		}
		_, _ = near.Close(), conn.Close()
		e.Join()
	})
}

func TestSecondStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, f := pair(t, config())
		for range 3 {
			s := open(t, e)
			if _, err := e.Stream(); !errors.Is(err, e2e.ErrOpen) {
				t.Errorf("Stream while one is open: %v", err)
			}
			go io.WriteString(f, "<?xml version='1.0'?>\n"+header+"<presence/></stream:stream>")
			got, err := io.ReadAll(s)
			if err != nil || !strings.HasSuffix(string(got), "</presence></stream:stream>") {
				t.Errorf("read %q, %v", got, err)
			}
			write(t, s, "</stream:stream>")
		}
	})
}

// readerConn is a tunnel in which all has been said.
type readerConn struct {
	net.Conn
	io.Reader
}

func (c *readerConn) Read(p []byte) (int, error)      { return c.Reader.Read(p) }
func (*readerConn) Write(p []byte) (int, error)       { return len(p), nil }
func (*readerConn) SetReadDeadline(_ time.Time) error { return nil }

// FuzzFilter holds what the session may read against a real parser: it is
// well-formed as far as it goes, has no restricted XML, and every stanza is from the
// peer and to this end.
func FuzzFilter(f *testing.F) {
	f.Add(header + `<message from='alice@isle.example' type='chat'><body>&lt;x</body></message></stream:stream>`)
	f.Add(header + `<x:iq xmlns:x='jabber:client' x:from='m@x' type='get' x:type='set'><query xmlns='jabber:iq:roster'/></x:iq><presence/>`)
	f.Add(`<?xml version='1.0' ><a b="?>` + header + `<presence/>`)
	f.Add(`<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns='jabber:client' xmlns:p='jabber:client'><p:presence to="bob@moor.example"/>`)
	f.Add(header + `<message xmlns='urn:x' xmlns:stream='jabber:client'><body><![CDATA[</message>]]></body></message>`)
	f.Add(header + `<message from='mallory@x'/>`)
	f.Add(header + `<stream:features><a/></stream:features><stream:error><x/></stream:error>`)
	f.Fuzz(func(t *testing.T, in string) {
		e := e2e.New(&readerConn{Reader: strings.NewReader(in)}, config())
		defer e.Join()
		s, err := e.Stream()
		if err != nil {
			t.Fatal(err)
		}
		out, err := io.ReadAll(s)
		if err == nil && len(out) > 0 && !strings.HasSuffix(string(out), ">") {
			t.Fatalf("it ended well, with %q", out)
		}
		d := xml.NewDecoder(strings.NewReader(string(out)))
		depth := 0
		for {
			tok, err := d.Token()
			var syntax *xml.SyntaxError
			if errors.As(err, &syntax) && strings.Contains(syntax.Msg, "unexpected EOF") || errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatalf("%v in %q of %q", err, out, in)
			}
			switch tok := tok.(type) {
			case xml.StartElement:
				checkElement(t, tok, depth, in)
				depth++
			case xml.EndElement:
				depth--
			case xml.CharData:
			default:
				t.Fatalf("%T passed in %q", tok, in)
			}
		}
	})
}

func checkElement(t *testing.T, el xml.StartElement, depth int, in string) {
	t.Helper()
	if depth > e2e.MaxDepth || depth == 0 && el.Name != (xml.Name{Space: stream.NS, Local: "stream"}) {
		t.Fatalf("%v at depth %d of %q", el.Name, depth, in)
	}
	if depth > 1 || el.Name == (xml.Name{Space: stream.NS, Local: "error"}) {
		return
	}
	if depth == 1 && el.Name.Space != "jabber:client" {
		t.Fatalf("%v passed in %q", el.Name, in)
	}
	var from, to, typ int
	for _, a := range el.Attr {
		switch a.Name.Local { // as the session reads them
		case "from":
			if from++; a.Value != alice.String() {
				t.Fatalf("from %q passed in %q", a.Value, in)
			}
		case "to":
			if to++; a.Value != bob.String() {
				t.Fatalf("to %q passed in %q", a.Value, in)
			}
		case "type":
			typ++
		}
	}
	if from != 1 || to != 1 || typ > 1 {
		t.Fatalf("%d from, %d to, %d type at depth %d in %q", from, to, typ, depth, in)
	}
}
