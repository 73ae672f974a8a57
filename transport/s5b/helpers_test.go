// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"mellium.im/xmpp/jid"

	"example.org/xtls/jingle/jingletest"
	"example.org/xtls/transport"
	"example.org/xtls/transport/s5b"
	"example.org/xtls/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what a correct implementation does at once.
const patience = 30 * time.Second

// A rig is two XMPP clients with an S5B transport each, on a machine that has only loopback.
type rig struct {
	a, b   *jingletest.End
	ta, tb *s5b.Transport
	allow  func(n *transport.Negotiation)
}

func newRig(t testing.TB) *rig {
	t.Helper()
	a, b := jingletest.Pair(t)
	r := &rig{a: a, b: b, ta: newTransport(t, a), tb: newTransport(t, b), allow: allowDirect}
	t.Cleanup(r.close)
	return r
}

func newTransport(t testing.TB, stanzas transport.Stanzas) *s5b.Transport {
	t.Helper()
	tr, err := s5b.New(s5b.Config{Stanzas: stanzas})
	if err != nil {
		t.Fatal(err)
	}
	s5b.SetAddresses(tr, "127.0.0.1", "::1")
	return tr
}

func allowDirect(n *transport.Negotiation) { n.Direct = true }
func allowRelay(n *transport.Negotiation)  { n.Relay = true }
func allowAll(n *transport.Negotiation)    { n.Direct, n.Relay = true, true }
func allowNone(*transport.Negotiation)     {}

func (r *rig) close() {
	r.ta.Close(nil)
	r.tb.Close(nil)
}

// ends is the rig for package transporttest.
func (r *rig) ends() transporttest.Ends {
	gone := errors.New("gone")
	return transporttest.Ends{
		Dial: method{r.ta, r.allow}, Accept: method{r.tb, r.allow},
		DialJID: r.a.LocalAddr(), AcceptJID: r.b.LocalAddr(),
		Vanish: func() { r.tb.Close(gone) },
		Close:  r.close,
	}
}

// connect returns one carrier from a to b. Both ends get a deadline, so that nothing hangs.
func (r *rig) connect(t testing.TB) (a, b transport.Conn) {
	t.Helper()
	x, y, err := transporttest.Connect(t.Context(), r.ends(), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { transporttest.Abort(x); transporttest.Abort(y) })
	for _, c := range []net.Conn{x, y} {
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
	}
	return x, y
}

// A method is a Transport whose negotiations are allowed something.
type method struct {
	*s5b.Transport
	allow func(n *transport.Negotiation)
}

func (m method) Connect(ctx context.Context, n *transport.Negotiation) (transport.Conn, error) {
	n2 := *n
	m.allow(&n2)
	return m.Transport.Connect(ctx, &n2)
}

var (
	albaJID  = jid.MustParse(jingletest.AddrA)
	brunoJID = jid.MustParse(jingletest.AddrB)
)
