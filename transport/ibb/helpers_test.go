// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb_test

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"mellium.im/xmpp/jid"

	"example.org/xtls/jingle/jingletest"
	"example.org/xtls/transport"
	"example.org/xtls/transport/ibb"
	"example.org/xtls/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what a correct implementation does at once.
const patience = 30 * time.Second

// A rig is two XMPP clients with an IBB transport each.
type rig struct {
	a, b   *jingletest.End
	ta, tb *ibb.Transport
	// stranger takes the credit out of the negotiation, as if one end did not know it.
	stranger bool
}

// newRig returns a rig whose ends are both configured as cfg says; Stanzas is filled in.
func newRig(t testing.TB, cfg ibb.Config) *rig {
	t.Helper()
	a, b := jingletest.Pair(t)
	r := &rig{a: a, b: b, ta: newTransport(t, cfg, a), tb: newTransport(t, cfg, b)}
	t.Cleanup(r.close)
	return r
}

func newTransport(t testing.TB, cfg ibb.Config, e *jingletest.End) *ibb.Transport {
	t.Helper()
	cfg.Stanzas = e
	tr, err := ibb.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	e.Serve(ibb.Handle(tr))
	return tr
}

func (r *rig) close() {
	r.ta.Close(nil)
	r.tb.Close(nil)
}

// ends is the rig for package transporttest.
func (r *rig) ends() transporttest.Ends {
	gone := errors.New("gone")
	return transporttest.Ends{
		Dial: method{r.ta, r.stranger}, Accept: method{r.tb, r.stranger},
		DialJID: r.a.LocalAddr(), AcceptJID: r.b.LocalAddr(),
		Vanish: func() { r.b.Fail(gone); r.tb.Close(gone) },
		Close:  r.close,
	}
}

// connect returns one stream from a to b. Both ends get a deadline, so that nothing hangs.
func (r *rig) connect(t testing.TB, messages bool) (a, b *ibb.Conn) {
	t.Helper()
	x, y, err := transporttest.Connect(t.Context(), r.ends(), messages)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { transporttest.Abort(x); transporttest.Abort(y) })
	for _, c := range []net.Conn{x, y} {
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
	}
	return x.(*ibb.Conn), y.(*ibb.Conn)
}

// A method is a Transport that can be made a stranger to credit.
type method struct {
	*ibb.Transport
	stranger bool
}

func (m method) Connect(ctx context.Context, n *transport.Negotiation) (transport.Conn, error) {
	if m.stranger {
		n2 := *n
		n2.Signal = rewriter{n.Signal, stripCredit}
		n = &n2
	}
	return m.Transport.Connect(ctx, n)
}

// A rewriter alters what is sent.
type rewriter struct {
	transport.Signal
	f func(string) string
}

func (r rewriter) Send(ctx context.Context, payload []byte) error {
	return r.Signal.Send(ctx, []byte(r.f(string(payload))))
}

var creditAttr = regexp.MustCompile(` (xmlns:x|x:credit)='[^']*'`)

func stripCredit(s string) string { return creditAttr.ReplaceAllString(s, "") }

// A fixedSignal answers with one payload and keeps what is sent.
type fixedSignal struct {
	answer func(sent string) string
	sent   chan string
}

func fixed(answer func(sent string) string) *fixedSignal {
	return &fixedSignal{answer, make(chan string, 4)}
}

func (f *fixedSignal) Send(_ context.Context, payload []byte) error {
	f.sent <- string(payload)
	return nil
}

func (f *fixedSignal) Recv(context.Context) (xml.TokenReader, error) {
	sent := ""
	if len(f.sent) > 0 {
		sent = <-f.sent
	}
	return xml.NewDecoder(strings.NewReader(f.answer(sent))), nil
}

// iq renders an IQ set as its server would deliver it.
func iq(from, to jid.JID, id, payload string) string {
	return "<iq xmlns='jabber:client' type='set' id='" + id + "' from='" + from.String() + "' to='" + to.String() + "'>" + payload + "</iq>"
}

// answerTo returns the answer to the stanza id of from, waiting for it.
func answerTo(e *jingletest.End, id string) jingletest.Stanza {
	return jingletest.Await(e, func(s jingletest.Stanza) bool {
		return s.ID == id && (s.Type == "result" || s.Type == "error")
	})
}

// sentBlocks counts the <data/> elements that from sent.
func sentBlocks(e *jingletest.End) int {
	n := 0
	for _, s := range jingletest.Log(e) {
		if s.Payload.Local == "data" && s.From.Equal(e.LocalAddr()) && !s.Injected {
			n++
		}
	}
	return n
}

func isElement(name string) func(jingletest.Stanza) bool {
	return func(s jingletest.Stanza) bool { return s.Type == "set" && s.Payload.Local == name }
}

// sidOf returns the stream's id.
func sidOf(c *ibb.Conn) string { return c.LocalAddr().(ibb.Addr).SID }

// readAll reads until an error, whichever it is.
func readAll(c net.Conn) (string, error) {
	var all strings.Builder
	_, err := io.Copy(&all, c)
	return all.String(), err
}

// readString reads n octets.
func readString(t *testing.T, c net.Conn, n int) string {
	t.Helper()
	buf := make([]byte, n)
	if k, err := io.ReadFull(c, buf); err != nil {
		t.Fatalf("Read = %q, %v, want %d octets", buf[:k], err, n)
	}
	return string(buf)
}

func mustWrite(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("Write of %d octets = %d, %v", len(s), n, err)
	}
}

// write writes s in the background, since a connection takes little more than its path and its
// peer do. The function it returns waits until all was taken.
func write(t *testing.T, c net.Conn, s string) (wait func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := io.WriteString(c, s)
		done <- err
	}()
	return func() {
		t.Helper()
		if err := <-done; err != nil {
			t.Errorf("Write of %d octets: %v", len(s), err)
		}
	}
}
