// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/transport"
	"example.org/xtls/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what a correct implementation does at once.
const patience = 30 * time.Second

var (
	alba  = jid.MustParse("alba@isle.example/desk")
	bruno = jid.MustParse("bruno@moor.example/phone")
)

// A session is what a Transport sees of the XMPP session: services answer for their JIDs.
type session struct {
	addr jid.JID

	mu       sync.Mutex
	services map[string]func(ctx context.Context, from jid.JID, typ stanza.IQType, payload string) (string, error)
	asked    []string // "get proxy.isle.example", in order
}

func newSession(addr jid.JID) *session {
	return &session{addr: addr, services: make(map[string]func(context.Context, jid.JID, stanza.IQType, string) (string, error))}
}

func (s *session) LocalAddr() jid.JID { return s.addr }

func (s *session) Request(ctx context.Context, typ stanza.IQType, to jid.JID, payload []byte) (xml.TokenReader, error) {
	s.mu.Lock()
	answer := s.services[to.String()]
	s.asked = append(s.asked, string(typ)+" "+to.String())
	s.mu.Unlock()
	if answer == nil {
		return nil, stanza.Error{Type: stanza.Cancel, Condition: stanza.ServiceUnavailable}
	}
	text, err := answer(ctx, s.addr, typ, string(payload))
	if err != nil {
		return nil, err
	}
	return xml.NewDecoder(strings.NewReader(text)), nil
}

func (s *session) Go(stanza.IQType, jid.JID, []byte, func(xml.TokenReader, error)) {
	panic("not used by this package")
}

// count returns how many requests went to a JID.
func (s *session) count(to string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, a := range s.asked {
		if strings.HasSuffix(a, " "+to) {
			n++
		}
	}
	return n
}

// newTransport returns a Transport of a machine that has only loopback.
func newTransport(t testing.TB, s *session) *Transport {
	t.Helper()
	tr, err := New(Config{Stanzas: s})
	if err != nil {
		t.Fatal(err)
	}
	setAddresses(tr, "127.0.0.1", "::1")
	t.Cleanup(func() { tr.Close(nil) })
	return tr
}

// setAddresses makes tr believe that these are the machine's addresses.
func setAddresses(tr *Transport, ips ...string) {
	tr.interfaceAddrs = func() ([]net.Addr, error) { return addrs(ips...), nil }
}

func addrs(ips ...string) []net.Addr {
	var all []net.Addr
	for _, ip := range ips {
		a := netip.MustParseAddr(ip)
		all = append(all, &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())})
	}
	return all
}

// A rig is two XMPP clients with a Transport each.
type rig struct {
	a, b          *session
	ta, tb        *Transport
	direct, relay bool
	rewrite       func(string) string // of what is signalled, nil: nothing
}

func newRig(t testing.TB, direct, relay bool) *rig {
	t.Helper()
	r := &rig{a: newSession(alba), b: newSession(bruno), direct: direct, relay: relay}
	r.ta, r.tb = newTransport(t, r.a), newTransport(t, r.b)
	return r
}

// ends is the rig for package transporttest.
func (r *rig) ends() transporttest.Ends {
	gone := errors.New("gone")
	return transporttest.Ends{
		Dial: method{r.ta, r}, Accept: method{r.tb, r},
		DialJID: alba, AcceptJID: bruno,
		Vanish: func() { r.tb.Close(gone) },
		Close:  func() { r.ta.Close(nil); r.tb.Close(nil) },
	}
}

// connect returns one carrier from alba to bruno. Both ends get a deadline, so that nothing hangs.
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

// A method is a Transport whose negotiations are allowed what the rig says.
type method struct {
	*Transport
	r *rig
}

func (m method) Connect(ctx context.Context, n *transport.Negotiation) (transport.Conn, error) {
	n2 := *n
	n2.Direct, n2.Relay, n2.PeerRelay = m.r.direct, m.r.relay, m.r.relay
	if m.r.rewrite != nil {
		n2.Signal = rewriter{n.Signal, m.r.rewrite}
	}
	return m.Transport.Connect(ctx, &n2)
}

// A rewriter alters what is sent.
type rewriter struct {
	transport.Signal
	f func(string) string
}

func (r rewriter) Send(ctx context.Context, payload []byte) error {
	return r.Signal.Send(ctx, []byte(r.f(string(payload))))
}

// A script is a peer that does what the test says. The Transport under test is alba.
type script struct {
	t      *testing.T
	signal transport.Signal
	tr     *Transport
	sess   *session
	sid    string
	done   chan result // the end of Connect
}

type result struct {
	conn transport.Conn
	err  error
}

// play starts Connect of a Transport towards a scripted bruno.
func play(t *testing.T, ctx context.Context, n transport.Negotiation) *script {
	t.Helper()
	s := &script{t: t, sess: newSession(alba), done: make(chan result, 1)}
	s.tr = newTransport(t, s.sess)
	s.start(ctx, n)
	return s
}

func (s *script) start(ctx context.Context, n transport.Negotiation) {
	n.Peer = bruno
	n.Signal, s.signal = transporttest.Pipe()
	go func() {
		c, err := s.tr.Connect(ctx, &n)
		s.done <- result{c, err}
	}()
}

// recv returns what alba signals next.
func (s *script) recv() message {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	r, err := s.signal.Recv(ctx)
	if err != nil {
		s.t.Fatalf("alba signals nothing: %v", err)
	}
	m, err := parseTransport(r)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.sid == "" {
		s.sid = m.sid
	}
	return m
}

// send signals m, with the right sid if it has none.
func (s *script) send(m message) {
	if m.sid == "" {
		m.sid = s.sid
	}
	s.raw(string(m.render()))
}

func (s *script) raw(text string) {
	s.t.Helper()
	if err := s.signal.Send(s.t.Context(), []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

// end waits for Connect.
func (s *script) end() (transport.Conn, error) {
	s.t.Helper()
	select {
	case r := <-s.done:
		if r.conn != nil {
			s.t.Cleanup(func() { transporttest.Abort(r.conn) })
			_ = r.conn.SetDeadline(time.Now().Add(patience))
		}
		return r.conn, r.err
	case <-time.After(patience):
		s.t.Fatal("Connect does not end")
		return nil, nil
	}
}

// fails waits for the error of Connect, which must wrap want (if not nil) and hold all texts.
func (s *script) fails(want error, texts ...string) {
	s.t.Helper()
	c, err := s.end()
	if c != nil || err == nil {
		s.t.Fatalf("Connect = %v, %v, want an error", c, err)
	}
	if want != nil && !errors.Is(err, want) {
		s.t.Errorf("Connect: %v, want %v", err, want)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			s.t.Errorf("Connect: %v, want %q in it", err, text)
		}
	}
}

// breaks waits for a ProtocolError that names the rule.
func (s *script) breaks(rule string) {
	s.t.Helper()
	c, err := s.end()
	v, ok := errors.AsType[*ProtocolError](err)
	if c != nil || !ok || v.Rule != rule {
		s.t.Errorf("Connect = %v, %v, want a violation of %s", c, err, rule)
	}
}

// dial connects to a candidate of alba as bruno would.
func (s *script) dial(c candidate) (*net.TCPConn, error) {
	conn, err := net.Dial("tcp", c.addr())
	if err != nil {
		return nil, err
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn), socksDial(conn, newDigest(s.sid, alba, bruno))
}

// A host is a port of bruno's.
type host struct {
	*net.TCPListener
	cand candidate
}

// listen opens a port and returns it as a candidate.
func newHost(t testing.TB, cid string, priority uint32) *host {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	port := uint16(ln.Addr().(*net.TCPAddr).Port)
	return &host{ln.(*net.TCPListener), candidate{
		cid: cid, host: "127.0.0.1", port: port, jid: bruno, priority: priority, typ: typeDirect,
	}}
}

// accept lets one connection in by the digest of the script.
func (h *host) accept(s *script) *net.TCPConn {
	s.t.Helper()
	_ = h.SetDeadline(time.Now().Add(patience))
	c, err := h.AcceptTCP()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	d := newDigest(s.sid, bruno, alba)
	if _, err := socksAccept(c, [2]digest{d, d}); err != nil {
		s.t.Fatal(err)
	}
	if _, err := c.Write(answer(d)); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// joined checks that what is written at one end arrives at the other one, both ways.
func joined(t testing.TB, a, b net.Conn) {
	t.Helper()
	for _, dir := range []struct {
		from, to net.Conn
	}{{a, b}, {b, a}} {
		if _, err := dir.from.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		var buf [4]byte
		if _, err := io.ReadFull(dir.to, buf[:]); err != nil || string(buf[:]) != "ping" {
			t.Fatalf("Read = %q, %v", buf, err)
		}
	}
}
