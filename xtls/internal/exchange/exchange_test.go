// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package exchange_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/logging"
	"go.uber.org/goleak"
	"mellium.im/xmlstream"
	"mellium.im/xmpp"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/ping"
	"mellium.im/xmpp/stanza"
	"mellium.im/xmpp/stream"

	"example.org/xtls/xtls/internal/exchange"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	self = jid.MustParse("alba@isle.example/desk")
	peer = jid.MustParse("bruno@moor.example/phone")
)

var silent = (&logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}).NewLogger("test")

// A wire is the server's end of a session, under the test's control.
type wire struct {
	t      *testing.T
	conn   net.Conn
	r      *bufio.Reader
	served chan error
}

// session returns an Exchange over a session whose server is the test.
func session(t *testing.T, opts ...mux.Option) (*exchange.Exchange, *wire) {
	t.Helper()
	return sessionOver(t, nil, opts...)
}

// sessionOver is session with an Output.
func sessionOver(t *testing.T, out exchange.Output, opts ...mux.Option) (*exchange.Exchange, *wire) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s := readySession(t, near)
	x := exchange.New(s, silent, out)
	w := &wire{t: t, conn: far, r: bufio.NewReader(far), served: make(chan error, 1)}
	m := mux.New(stanza.NSClient, append(opts, x.Handle())...)
	go func() { w.served <- s.Serve(exchange.Guard(m, silent)) }()
	t.Cleanup(func() {
		far.Close()
		<-w.served
		near.Close()
		x.Close(net.ErrClosed)
	})
	return x, w
}

// send delivers text to the session.
func (w *wire) send(format string, args ...any) {
	w.t.Helper()
	if _, err := fmt.Fprintf(w.conn, format, args...); err != nil {
		w.t.Fatal(err)
	}
}

// next returns the next IQ that the session sends.
func (w *wire) next() (iq stanza.IQ, raw string) {
	w.t.Helper()
	_ = w.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	var b strings.Builder
	for !strings.HasSuffix(b.String(), "</iq>") {
		c, err := w.r.ReadByte()
		if err != nil {
			w.t.Fatalf("after %q: %v", b.String(), err)
		}
		b.WriteByte(c)
	}
	if err := xml.Unmarshal([]byte(b.String()), &iq); err != nil {
		w.t.Fatalf("%q: %v", b.String(), err)
	}
	return iq, b.String()
}

type outcome struct {
	reply string
	err   error
}

// request starts a request and returns its id and where its outcome will be.
func request(t *testing.T, x *exchange.Exchange, w *wire, to jid.JID) (id string, done <-chan outcome) {
	t.Helper()
	c := make(chan outcome, 2)
	x.Go(stanza.GetIQ, to, []byte(`<query xmlns="urn:q"/>`), func(r xml.TokenReader, err error) {
		var o outcome
		if o.err = err; err == nil {
			if tok, _ := r.Token(); tok != nil {
				if start, ok := tok.(xml.StartElement); ok {
					o.reply = start.Name.Local
				}
			}
		}
		c <- o
	})
	iq, raw := w.next()
	if iq.Type != stanza.GetIQ || !iq.To.Equal(to) || !strings.Contains(raw, `<query xmlns="urn:q"/>`) {
		t.Fatalf("sent %s", raw)
	}
	return iq.ID, c
}

func TestAnswers(t *testing.T) {
	x, w := session(t)
	tests := []struct {
		name   string
		to     jid.JID
		answer string // %s is the id
		reply  string
		cond   stanza.Condition
	}{
		{"empty result", peer, `<iq xmlns='jabber:client' type='result' id='%s' from='bruno@moor.example/phone'/>`, "", ""},
		{"result", peer, `<iq xmlns='jabber:client' type='result' id='%s' from='bruno@moor.example/phone'> <a xmlns='x'/> </iq>`, "a", ""},
		{"error", peer, `<iq xmlns='jabber:client' type='error' id='%s' from='bruno@moor.example/phone'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`, "", stanza.ItemNotFound},
		{"error after the request", peer, `<iq xmlns='jabber:client' type='error' id='%s' from='bruno@moor.example/phone'><query xmlns='urn:q'><error/></query><error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>`, "", stanza.ResourceConstraint},
		{"error without any", peer, `<iq xmlns='jabber:client' type='error' id='%s' from='bruno@moor.example/phone'><a/></iq>`, "", stanza.UndefinedCondition},
		{"own server, unnamed", self.Domain(), `<iq xmlns='jabber:client' type='result' id='%s'/>`, "", ""},
		{"own account, by its name", jid.JID{}, `<iq xmlns='jabber:client' type='result' id='%s' from='alba@isle.example'/>`, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, done := request(t, x, w, tt.to)
			w.send(tt.answer, id)
			o := <-done
			var refused stanza.Error
			if tt.cond != "" && (!errors.As(o.err, &refused) || refused.Condition != tt.cond) || tt.cond == "" && o.err != nil || o.reply != tt.reply {
				t.Errorf("outcome %+v", o)
			}
		})
	}
}

// TestForgedAnswers has others answer first: an id proves nothing.
func TestForgedAnswers(t *testing.T) {
	x, w := session(t)
	for _, from := range []string{"mallory@evil.example/x", "bruno@moor.example", "bruno@moor.example/other", "moor.example", "", "alba@isle.example"} {
		id, done := request(t, x, w, peer)
		w.send(`<iq xmlns='jabber:client' type='result' id='%s' from='%s'><forged xmlns='x'/></iq>`, id, from)
		w.send(`<iq xmlns='jabber:client' type='result' id='%s' from='bruno@moor.example/phone'><true xmlns='x'/></iq>`, id)
		if o := <-done; o.err != nil || o.reply != "true" {
			t.Errorf("forged from %q: outcome %+v", from, o)
		}
	}
}

// TestMalformedStanzas sends what would end a bare mellium session, and then
// checks that the session lives.
func TestMalformedStanzas(t *testing.T) {
	panics := mux.IQFunc(stanza.SetIQ, xml.Name{Local: "panic"}, func(stanza.IQ, xmlstream.TokenReadEncoder, *xml.StartElement) error { panic("handler") })
	fails := mux.IQFunc(stanza.SetIQ, xml.Name{Local: "fail"}, func(stanza.IQ, xmlstream.TokenReadEncoder, *xml.StartElement) error { return errors.New("handler") })
	tests := []struct {
		name, in string
		refused  stanza.Condition // of the answer; "" if there is none
	}{
		{"stray text in a result", `<iq xmlns='jabber:client' type='result' id='1' from='m@x/y'>zzz</iq>`, ""},
		{"stray text in an error", `<iq xmlns='jabber:client' type='error' id='1' from='m@x/y'>zzz</iq>`, ""},
		{"empty error", `<iq xmlns='jabber:client' type='error' id='1' from='m@x/y'/>`, ""},
		{"two results in one", `<iq xmlns='jabber:client' type='result' id='1' from='m@x/y'><a/><b/></iq>`, ""},
		{"empty get", `<iq xmlns='jabber:client' type='get' id='1' from='m@x/y'/>`, stanza.BadRequest},
		{"text for a payload", `<iq xmlns='jabber:client' type='set' id='1' from='m@x/y'>zzz</iq>`, stanza.BadRequest},
		{"two payloads", `<iq xmlns='jabber:client' type='set' id='1' from='m@x/y'><a/><b/></iq>`, stanza.BadRequest},
		{"unknown payload", `<iq xmlns='jabber:client' type='set' id='1' from='m@x/y'><a/></iq>`, stanza.ServiceUnavailable},
		{"panic", `<iq xmlns='jabber:client' type='set' id='1' from='m@x/y'><panic/></iq>`, stanza.ServiceUnavailable},
		{"error of a handler", `<iq xmlns='jabber:client' type='set' id='1' from='m@x/y'><fail/></iq>`, stanza.ServiceUnavailable},
		{"no type", `<iq xmlns='jabber:client' id='1' from='m@x/y'><a/></iq>`, ""},
		{"message of text", `<message xmlns='jabber:client' from='m@x/y'>zzz</message>`, ""},
		{"presence of text", `<presence xmlns='jabber:client' from='m@x/y'>zzz</presence>`, ""},
		{"unknown element", `<r xmlns='urn:xmpp:sm:3'/>`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, w := session(t, ping.Handle(), panics, fails)
			w.send("%s", tt.in)
			if tt.refused != "" {
				iq, raw := w.next()
				if iq.Type != stanza.ErrorIQ || iq.ID != "1" || iq.To.String() != "m@x/y" || !strings.Contains(raw, string(tt.refused)) {
					t.Errorf("answer %s, want %s", raw, tt.refused)
				}
			}
			w.send(`<iq xmlns='jabber:client' type='get' id='alive' from='isle.example'><ping xmlns='urn:xmpp:ping'/></iq>`)
			if iq, raw := w.next(); iq.ID != "alive" || iq.Type != stanza.ResultIQ {
				t.Errorf("the session does not answer any more: %s", raw)
			}
		})
	}
}

func TestRequestEnds(t *testing.T) {
	x, w := session(t)
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error, 1)
	go func() {
		_, err := x.Request(ctx, stanza.GetIQ, peer, []byte("<q/>"))
		got <- err
	}()
	w.next()
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	_, pending := request(t, x, w, peer)
	gone := errors.New("gone")
	x.Close(gone)
	if o := <-pending; !errors.Is(o.err, gone) {
		t.Errorf("pending when the session ended: %v", o.err)
	}
	if _, err := x.Request(t.Context(), stanza.GetIQ, peer, []byte("<q/>")); !errors.Is(err, gone) {
		t.Errorf("after the end: %v", err)
	}
}

func TestPendingBound(t *testing.T) {
	x, w := session(t)
	go func() { _, _ = io.Copy(io.Discard, w.conn) }()
	errs := make(chan error, exchange.MaxPending+1)
	for range exchange.MaxPending + 1 {
		x.Go(stanza.GetIQ, peer, []byte("<q/>"), func(_ xml.TokenReader, err error) { errs <- err })
	}
	if err := <-errs; !errors.Is(err, exchange.ErrBusy) {
		t.Errorf("one over the bound: %v", err)
	}
	select {
	case err := <-errs:
		t.Errorf("another failed: %v", err)
	default:
	}
}

// readySession is a session over conn as it is after the login.
func readySession(t *testing.T, conn io.ReadWriter) *xmpp.Session {
	t.Helper()
	s, err := xmpp.NewSession(t.Context(), self.Domain(), self, conn, xmpp.Secure|xmpp.Authn,
		func(_ context.Context, in, _ *stream.Info, _ *xmpp.Session, _ any) (xmpp.SessionState, io.ReadWriter, any, error) {
			in.XMLNS = stanza.NSClient
			return xmpp.Ready, nil, nil, nil
		})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestNoAnswer lets the time for an answer pass.
func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, far) }()
		defer far.Close()
		s := readySession(t, near)
		x := exchange.New(s, silent, nil)
		start := time.Now()
		_, err := x.Request(t.Context(), stanza.GetIQ, peer, []byte("<q/>"))
		if !errors.Is(err, exchange.ErrNoAnswer) || time.Since(start) != exchange.AnswerTime {
			t.Errorf("after %v: %v, want ErrNoAnswer after %v", time.Since(start), err, exchange.AnswerTime)
		}
	})
}

// TestNoAnswers: each request has its own time, whatever becomes of the others.
func TestNoAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &idOutput{}
		x := exchange.New(readySession(t, discard{}), silent, out)
		start := time.Now()
		type end struct {
			n   int
			at  time.Duration
			err error
		}
		ends := make(chan end, 10)
		n := 0
		ask := func() {
			n := n
			x.Go(stanza.SetIQ, peer, []byte("<data "), func(_ xml.TokenReader, err error) { ends <- end{n, time.Since(start), err} })
		}
		var ids [][]byte
		for n = range 4 {
			ask()
			ids = append(ids, append([]byte(nil), out.id...))
			time.Sleep(10 * time.Second)
		}
		time.Sleep(5 * time.Second)
		// It is 45 s; the first two are over. The third is answered, the fourth ends with the others gone.
		x.Answered(ids[2], peer, xml.NewDecoder(strings.NewReader("")))
		time.Sleep(time.Minute)
		n = 4
		ask()
		time.Sleep(time.Minute)
		n = 5
		ask()
		x.Close(net.ErrClosed)
		n = 6
		ask()
		for _, want := range []end{
			{0, 30 * time.Second, exchange.ErrNoAnswer},
			{1, 40 * time.Second, exchange.ErrNoAnswer},
			{2, 45 * time.Second, nil},
			{3, 60 * time.Second, exchange.ErrNoAnswer},
			{4, 135 * time.Second, exchange.ErrNoAnswer},
			{5, 165 * time.Second, net.ErrClosed},
			{6, 165 * time.Second, net.ErrClosed},
		} {
			if got := <-ends; got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
	})
}

// An idOutput keeps the id of the last block.
type idOutput struct{ id []byte }

func (o *idOutput) Full() bool { return false }

func (o *idOutput) WriteBulk(stanza []byte) error {
	_, rest, _ := bytes.Cut(stanza, []byte(`id="`))
	id, _, _ := bytes.Cut(rest, []byte(`"`))
	o.id = append(o.id[:0], id...)
	return nil
}

// discard is a connection on which nothing comes.
type discard struct{ net.Conn }

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }
func (discard) SetDeadline(time.Time) error { return nil }

// A hookedConn calls a function once something has been written.
type hookedConn struct {
	net.Conn
	written func()
}

func (c *hookedConn) Write(p []byte) (int, error) {
	c.written()
	return len(p), nil
}

// TestFirstOutcome: what became of a request before its context ended is what it returns, also
// if both have happened before the request begins to wait.
func TestFirstOutcome(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	conn := &hookedConn{near, func() {}}
	s := readySession(t, conn)
	first := errors.New("the first")
	for range 100 { // a choice of select's would go wrong in one of them
		x := exchange.New(s, silent, nil)
		ctx, cancel := context.WithCancel(t.Context())
		conn.written = func() {
			x.Close(first)
			cancel()
		}
		if _, err := x.Request(ctx, stanza.GetIQ, peer, []byte("<q/>")); !errors.Is(err, first) {
			t.Fatalf("got %v, want %v", err, first)
		}
	}
}

// An output is the guard below a session.
type output struct {
	full bool
	bulk []string
}

func (o *output) Full() bool { return o.full }

func (o *output) WriteBulk(stanza []byte) error {
	o.bulk = append(o.bulk, string(stanza))
	return nil
}

// TestBulk: blocks, and nothing else, let everything else go first; and while too much
// waits no request is sent.
func TestBulk(t *testing.T) {
	out := &output{}
	x, w := sessionOver(t, out)
	answered := make(chan error, 3)
	send := func(payload string) {
		x.Go(stanza.SetIQ, peer, []byte(payload), func(_ xml.TokenReader, err error) { answered <- err })
	}
	const data = `<data xmlns='http://jabber.org/protocol/ibb' seq='0' sid='S'>QUJD</data>`
	send(data)
	send(`<database/>`)
	if iq, raw := w.next(); !strings.Contains(raw, "<database/>") {
		t.Errorf("%s was sent as usual (%s)", raw, iq.ID)
	}
	if len(out.bulk) != 1 || !strings.Contains(out.bulk[0], data) {
		t.Fatalf("bulk: %q", out.bulk)
	}
	var iq stanza.IQ
	if err := xml.Unmarshal([]byte(out.bulk[0]), &iq); err != nil || !iq.To.Equal(peer) || iq.Type != stanza.SetIQ {
		t.Fatalf("%+v, %v", iq, err)
	}
	w.send(`<iq xmlns='jabber:client' type='result' id='%s' from='%s'/>`, iq.ID, peer)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	out.full = true
	send(data)
	if err := <-answered; !errors.Is(err, exchange.ErrBusy) || len(out.bulk) != 1 {
		t.Errorf("with a full queue: %v, %d sent", err, len(out.bulk))
	}
}

// TestAnswered: an answer that was read by other means is taken under the same
// conditions.
func TestAnswered(t *testing.T) {
	x, w := session(t)
	id, done := request(t, x, w, peer)
	none := xml.NewDecoder(strings.NewReader(""))
	if x.Answered([]byte(id), self, none) {
		t.Error("took an answer of somebody else")
	}
	for _, other := range []string{"x", "", id[1:], id + "0", id[:len(id)-1] + "g", strings.Repeat("0", len(id)), id[1:] + id[:1]} {
		if other != id && x.Answered([]byte(other), peer, none) {
			t.Errorf("took an answer to %q", other)
		}
	}
	if !x.Answered([]byte(id), peer, xml.NewDecoder(strings.NewReader("<pong/>"))) {
		t.Fatal("the answer was not taken")
	}
	if o := <-done; o.err != nil || o.reply != "pong" {
		t.Errorf("outcome %+v", o)
	}
	if x.Answered([]byte(id), peer, none) {
		t.Error("took a second answer")
	}
}
