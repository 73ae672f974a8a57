// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package lean_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/logging"
	"go.uber.org/goleak"
	"mellium.im/xmpp"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/stanza"
	"mellium.im/xmpp/stream"

	"example.org/xtls/transport"
	"example.org/xtls/transport/ibb"
	"example.org/xtls/xtls/internal/exchange"
	"example.org/xtls/xtls/internal/guard"
	"example.org/xtls/xtls/internal/lean"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	self   = jid.MustParse("alba@isle.example/desk")
	other  = jid.MustParse("bruno@moor.example/phone")
	silent = (&logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}).NewLogger("test")
)

const (
	header = `<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`
	opened = `<iq type='set' id='open' from='bruno@moor.example/phone' to='alba@isle.example/desk'>` +
		`<open xmlns='http://jabber.org/protocol/ibb' sid='S' block-size='256'/></iq>`
)

// What the seeds are made of. IDn stands for the id of the n-th block sent.
func data(seq int, text string) string {
	return fmt.Sprintf(`<iq type='set' id='d%d' from='bruno@moor.example/phone' to='alba@isle.example/desk'>`+
		`<data xmlns='http://jabber.org/protocol/ibb' seq='%d' sid='S'>%s</data></iq>`, seq, seq, text)
}

func result(n int, payload string) string {
	return fmt.Sprintf(`<iq type='result' id='ID%d' from='bruno@moor.example/phone' to='alba@isle.example/desk'>%s</iq>`, n, payload)
}

func credit(sid, limit string) string {
	return `<credit xmlns='urn:xmpp:xtls:1' sid='` + sid + `' limit='` + limit + `'/>`
}

var full = strings.Repeat("QUJD", 85)

func seeds() []string {
	good := data(0, "QUJD") + data(1, full) + result(0, credit("S", "4500")) + data(2, "QQ==") + result(1, "")
	return []string{
		"", good, good + good,
		strings.ReplaceAll(good, "'", `"`),
		data(0, "QUJD") + "<message/>" + data(1, "QUJD") + " " + data(2, "QUJD") + data(3, "QUJD"),
		data(0, "QUJD") + data(2, "QUJD"),                // a gap
		data(0, "QUJD") + data(0, "QUJD"),                // a repetition
		data(0, full+"QUJDQUJD"),                         // too large
		data(0, strings.Repeat("QUJD", 1000)),            // larger still
		data(0, "QUJ") + data(1, "QUJD"),                 // no padding
		data(0, "QUJDQR=="),                              // hidden bits
		data(0, "QUJD\n QUJD") + data(1, "QUJD\r\nQUJD"), // white space
		data(0, "!!!!"), data(0, "&#81;UJD"), data(0, "<![CDATA[QUJD]]>"), data(0, "]]>"), data(0, "<x/>"),
		data(0, "") + data(1, "QUJD"),
		data(65536, "QUJD"), data(-1, "QUJD"),
		strings.Replace(data(0, "QUJD"), "sid='S'", "sid='T'", 1),
		strings.Replace(data(0, "QUJD"), "bruno@", "mallory@", 1),
		strings.Replace(data(0, "QUJD"), "bruno@moor", "BRUNO@Moor", 1),
		strings.Replace(data(0, "QUJD"), "from='bruno@moor.example/phone' ", "", 1),
		strings.Replace(data(0, "QUJD"), "from='bruno@moor.example/phone'", "from='@'", 1),
		strings.Replace(data(0, "QUJD"), "to='alba", "to='carla", 1),
		strings.Replace(data(0, "QUJD"), "<data ", "<i:data xmlns:i='http://jabber.org/protocol/ibb' ", 1),
		strings.Replace(data(0, "QUJD"), "<data ", "<data xmlns:i='urn:x' ", 1),
		strings.Replace(data(0, "QUJD"), "'set'", "'get'", 1),
		strings.Repeat(data(0, full), 3),
		data(0, full) + data(1, full) + data(2, full) + data(2, "QUJD") + data(3, full), // no room
		strings.Replace(data(0, "QUJD"), "to='alba@isle.example/desk'", "to='@'", 1),
		result(0, "") + result(0, "") + result(3, ""),
		result(1, credit("S", "4500")) + result(0, credit("S", "300")),
		result(0, credit("S", "4500")), result(0, credit("S", "4609")), result(0, credit("T", "5000")), result(0, credit("S", "-1")),
		result(0, credit("S", "5000")+credit("S", "6000")), result(0, "text"), result(0, "<x/>"),
		strings.Replace(result(0, ""), "bruno@", "mallory@", 1),
		strings.Replace(result(0, "<error type='cancel'><bad-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"), "result", "error", 1),
		data(0, "QUJD") + "</iq>", data(0, "QUJD") + "<!-- -->", data(0, "QUJD") + "</stream:stream>" + data(1, "QUJD"),
		data(0, "QUJD")[:150], data(0, "QUJD") + data(1, full)[:300],
		`<iq type='set' id='c' from='bruno@moor.example/phone'><close xmlns='http://jabber.org/protocol/ibb' sid='S'/></iq>` + data(0, "QUJD"),
	}
}

// TestSameAsParser and FuzzSameAsParser: whatever a server sends has the same effects
// with the interceptor and without.
func TestSameAsParser(t *testing.T) {
	taken := 0
	for _, in := range seeds() {
		taken += compare(t, in)
	}
	if taken < 20 {
		t.Errorf("only %d stanzas were intercepted", taken)
	}
}

func FuzzSameAsParser(f *testing.F) {
	for _, in := range seeds() {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in string) { compare(t, in) })
}

// compare returns how many stanzas were intercepted.
func compare(t *testing.T, in string) (taken int) {
	t.Helper()
	var usual, intercepted outcome
	synctest.Test(t, func(t *testing.T) { usual = run(t, in, nil) })
	synctest.Test(t, func(t *testing.T) { intercepted = run(t, in, &taken) })
	if w, g := fmt.Sprintf("%+v", usual), fmt.Sprintf("%+v", intercepted); w != g {
		cut := regexp.MustCompile(`(?:QUJD){3,}|A{9,}`)
		t.Errorf("input %q\nwithout: %s\nwith %d taken: %s", cut.ReplaceAllString(in, "…"),
			cut.ReplaceAllString(w, "…"), taken, cut.ReplaceAllString(g, "…"))
	}
	return taken
}

// An outcome is all that an input has led to.
type outcome struct {
	read    string   // by the application
	readErr string   // after it
	closed  string   // what Close said about the blocks sent
	served  string   // why the session ended
	written []string // stanzas, sorted
}

// run serves a session on which one stream is open and some blocks are not answered.
func run(t *testing.T, in string, taken *int) (o outcome) {
	wire := &wire{rest: strings.NewReader(header + opened), more: make(chan string)}
	g := guard.New(wire)
	defer g.Close()
	g.StartStream()
	if _, err := g.Write([]byte(header)); err != nil {
		t.Fatal(err)
	}
	s, err := xmpp.NewSession(t.Context(), self.Domain(), self, g, xmpp.Secure|xmpp.Authn,
		func(_ context.Context, in, _ *stream.Info, s *xmpp.Session, _ any) (xmpp.SessionState, io.ReadWriter, any, error) {
			in.XMLNS = stanza.NSClient
			r := s.TokenReader()
			defer r.Close()
			_, err := r.Token() // the header
			return xmpp.Ready, nil, nil, err
		})
	if err != nil {
		t.Fatal(err)
	}
	x := exchange.New(s, silent, g)
	blocks, err := ibb.New(ibb.Config{Stanzas: x, BlockSize: 256, InFlight: 2, ReceiveBuffer: 600})
	if err != nil {
		t.Fatal(err)
	}
	if taken != nil {
		g.Intercept(&counter{lean.New(x, blocks, silent), taken})
	}
	served := make(chan error, 1)
	var conn transport.Conn
	var connecting sync.WaitGroup
	connecting.Go(func() {
		conn, err = blocks.Connect(t.Context(), &transport.Negotiation{Peer: other, Signal: &signal{served: func() {
			go func() {
				served <- s.Serve(exchange.Guard(mux.New(stanza.NSClient, x.Handle(), ibb.Handle(blocks)), silent))
			}()
		}}})
	})
	connecting.Wait()
	if err != nil {
		t.Fatal(err)
	}
	// Two blocks: a third one would be a race between their answers and what is wrong later.
	if _, err := conn.Write(make([]byte, 2*256)); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	var ids []string
	for _, m := range ownID.FindAllStringSubmatch(wire.written(), -1) {
		ids = append(ids, m[1])
	}
	for i, id := range ids {
		for _, quote := range []string{"'", `"`} { // nowhere else, as it may be good XML or not
			in = strings.ReplaceAll(in, fmt.Sprintf("%[1]sID%[2]d%[1]s", quote, i), quote+id+quote)
		}
	}
	wire.more <- in
	synctest.Wait() // all that follows from it has happened, or waits for a timer
	_ = conn.SetReadDeadline(time.Now())
	// The rest of the time is for answers that were refused for now.
	close(wire.more)
	err = <-served
	o.served, _, _ = strings.Cut(fmt.Sprint(err), " on line") // which syntax error may depend on the random ids
	x.Close(errors.New("over"))
	blocks.Close(errors.New("over"))
	_ = conn.SetReadDeadline(time.Time{})
	read, err := io.ReadAll(conn)
	o.read, o.readErr = string(read), fmt.Sprint(err)
	o.closed = fmt.Sprint(conn.Close())
	synctest.Wait()
	if strings.HasPrefix(o.served, "guard: ") {
		return o // the connection was closed at once, whatever was still to be written
	}
	written := wire.written()
	for i, id := range ids {
		for _, s := range []*string{&written, &o.served, &o.readErr} {
			*s = strings.ReplaceAll(*s, id, fmt.Sprintf("ID%d", i))
		}
	}
	o.written = slices.DeleteFunc(stanzas(ownID.ReplaceAllString(written, `id="later"`)), func(s string) bool {
		return strings.Contains(s, "id=later to=") // whether a <close/> is sent depends on what ends first
	})
	slices.Sort(o.written)
	return o
}

// ownID is a random id of ours: of a request, or where the library needs one.
var ownID = regexp.MustCompile(`id="([0-9a-f]{20}|[0-9a-f]{16})"`)

// A counter counts what was intercepted.
type counter struct {
	guard.Interceptor
	taken *int
}

func (c *counter) Intercept(p []byte) (int, bool) {
	n, more := c.Interceptor.Intercept(p)
	if n > 0 {
		*c.taken++
	}
	return n, more
}

// A signal is a Jingle session in which the peer has offered a stream.
type signal struct{ served func() }

func (*signal) Recv(context.Context) (xml.TokenReader, error) {
	return xml.NewDecoder(strings.NewReader(`<transport xmlns='urn:xmpp:jingle:transports:ibb:1' ` +
		`xmlns:x='urn:xmpp:xtls:1' sid='S' block-size='256' x:credit='4096'/>`)), nil
}

func (s *signal) Send(context.Context, []byte) error {
	s.served()
	return nil
}

// A wire is the connection to a server that sends what the test says.
type wire struct {
	net.Conn
	rest *strings.Reader
	more chan string

	mu  sync.Mutex
	out bytes.Buffer
}

func (w *wire) Read(p []byte) (int, error) {
	if w.rest.Len() == 0 {
		in, ok := <-w.more
		if !ok {
			return 0, io.EOF
		}
		w.rest = strings.NewReader(in)
		return 0, nil
	}
	return w.rest.Read(p)
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(p)
}

func (w *wire) written() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.String()
}

func (*wire) Close() error                     { return nil }
func (*wire) SetWriteDeadline(time.Time) error { return nil }

// stanzas returns what a stream holds, each in one form whoever rendered it.
func stanzas(s string) []string {
	d := xml.NewDecoder(strings.NewReader(s))
	var all []string
	var b strings.Builder
	for depth := 0; ; {
		tok, err := d.Token()
		if err != nil {
			return append(all, b.String())
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if depth++; depth == 1 {
				continue // the stream
			}
			var attrs []string
			for _, a := range tok.Attr {
				// An own address is implied, and a name has its space already.
				if a.Name.Local != "xmlns" && !(depth == 2 && a.Name.Local == "from") {
					attrs = append(attrs, a.Name.Local+"="+a.Value)
				}
			}
			slices.Sort(attrs)
			fmt.Fprintf(&b, "<%s %s %v>", tok.Name.Space, tok.Name.Local, attrs)
		case xml.CharData:
			b.Write(tok)
		case xml.EndElement:
			b.WriteString("</>")
			if depth--; depth == 1 {
				all = append(all, b.String())
				b.Reset()
			}
		}
	}
}
