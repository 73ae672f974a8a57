// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/transport"
	"example.org/xtls/transport/transporttest"
)

// TestViolations: what bruno must not say, and the rule that Connect names.
func TestViolations(t *testing.T) {
	h := newHost(t, "x", 1)
	answer := message{candidates: []candidate{h.cand}}
	for _, tt := range []struct {
		name string
		say  func(s *script, offer message)
		rule string
	}{
		{"another sid", func(s *script, _ message) { s.send(message{sid: "other"}) }, "XEP-0260 §2.2"},
		{"an outcome first", func(s *script, _ message) { s.send(message{action: actionCandidateError}) }, "XEP-0260 §2.2"},
		{"a foreign dstaddr", func(s *script, _ message) { s.send(message{dstaddr: strings.Repeat("a", digestLen)}) }, "XEP-0260 §2.2"},
		{"two candidates with one cid", func(s *script, _ message) {
			s.send(message{candidates: []candidate{h.cand, h.cand}})
		}, "XEP-0260 §2.2"},
		{"a duplicate transport-info", func(s *script, _ message) { s.send(answer); s.send(answer) }, "XEP-0260 §2.2"},
		{"ten thousand candidates", func(s *script, _ message) {
			s.raw(strings.Replace(open, "'s'", "'"+s.sid+"'", 1) + strings.Repeat(valid, 10_000) + shut)
		}, "XEP-0260 §2.2"},
		{"too many by and by", func(s *script, _ message) {
			s.send(answer)
			for i := range maxCandidates {
				c := h.cand
				c.cid = fmt.Sprint(i)
				s.send(message{candidates: []candidate{c}})
			}
		}, "XEP-0260 §2.2"},
		{"candidate-used of nothing", func(s *script, _ message) {
			s.send(answer)
			s.send(message{action: actionCandidateUsed, cid: "nothing"})
		}, "XEP-0260 §2.3"},
		{"two outcomes", func(s *script, offer message) {
			s.send(answer)
			s.send(message{action: actionCandidateError})
			s.send(message{action: actionCandidateUsed, cid: offer.candidates[0].cid})
		}, "XEP-0260 §2.3"},
		{"activated too early", func(s *script, _ message) {
			s.send(answer)
			s.send(message{action: actionActivated, cid: "x"})
		}, "XEP-0260 §2.4"},
		{"proxy-error too early", func(s *script, _ message) {
			s.send(answer)
			s.send(message{action: actionProxyError})
		}, "XEP-0260 §2.4"},
		{"another sid later", func(s *script, _ message) {
			s.send(answer)
			s.send(message{sid: "other", action: actionCandidateError})
		}, "XEP-0260 §2.2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := play(t, t.Context(), directOnly)
			tt.say(s, s.recv()) // h takes connections and says nothing, so alba is busy
			s.breaks(tt.rule)
		})
	}
}

// TestSilence: every state has its own end.
func TestSilence(t *testing.T) {
	t.Run("no outcome", func(t *testing.T) {
		t.Parallel()
		s := play(t, t.Context(), directOnly)
		s.recv()
		s.send(message{})
		s.fails(ErrNoCandidate, "did not say within 10s")
	})
	t.Run("nothing connects", func(t *testing.T) {
		t.Parallel()
		h := newHost(t, "x", 1)
		s := play(t, t.Context(), directOnly)
		s.recv()
		s.send(message{candidates: []candidate{h.cand}})
		s.send(message{action: actionCandidateError})
		start := time.Now()
		m := s.recv()
		if took := time.Since(start); m.action != actionCandidateError || took < directTime*9/10 || took > connectTime*9/10 {
			t.Errorf("alba says %+v after %v", m, took)
		}
		s.fails(ErrNoCandidate, h.cand.String()+" timed out")
	})
	t.Run("no arrival", func(t *testing.T) {
		t.Parallel()
		s := play(t, t.Context(), directOnly)
		offer := s.recv()
		s.send(message{})
		s.send(message{action: actionCandidateUsed, cid: offer.candidates[0].cid})
		s.fails(ErrNoCandidate, "no connection came to "+offer.candidates[0].addr())
	})
	t.Run("no activation", func(t *testing.T) {
		t.Parallel()
		s, r := relayed(t)
		s.fails(ErrNoCandidate, "did not activate "+r.candidate("", 1).String())
	})
}

// TestSilentSignalling: so have those in which the peer owes a word, or its ear.
func TestSilentSignalling(t *testing.T) {
	t.Run("no answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			s := play(t, t.Context(), relayOnly)
			s.recv()
			if r := <-s.done; r.err == nil || !strings.Contains(r.err.Error(), "no <transport/> within 2m0s") || time.Since(start) != offerTime {
				t.Errorf("Connect: %v after %v", r.err, time.Since(start))
			}
		})
	})
	t.Run("does not listen", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := transporttest.Pipe()
			if err := theirs.Send(t.Context(), message{sid: "s"}.render()); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			n := transport.Negotiation{Peer: bruno, Relay: true, Signal: &deaf{ours, 1}}
			_, err := newTransport(t, newSession(alba)).Connect(t.Context(), &n)
			if err == nil || !strings.Contains(err.Error(), "did not take candidate-error within 5s") || time.Since(start) != tellTime {
				t.Errorf("Connect: %v after %v", err, time.Since(start))
			}
		})
	})
}

// A deaf signal hands over so many elements and no more.
type deaf struct {
	transport.Signal
	left int
}

func (d *deaf) Send(ctx context.Context, payload []byte) error {
	if d.left--; d.left >= 0 {
		return d.Signal.Send(ctx, payload)
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// relayed is a script in which alba uses bruno's proxy and waits for bruno to activate it.
func relayed(t *testing.T) (*script, *relay) {
	t.Helper()
	s := &script{t: t, sess: newSession(alba), done: make(chan result, 1)}
	s.tr = newTransport(t, s.sess)
	r := newRelay(t, "relay.moor.example")
	r.known(s.sess)
	s.start(t.Context(), relayOnly)
	s.recv()
	s.send(message{candidates: []candidate{r.candidate("x", 1)}})
	s.send(message{action: actionCandidateError})
	if m := s.recv(); m.action != actionCandidateUsed || m.cid != "x" {
		t.Fatalf("alba says %+v", m)
	}
	return s, r
}

// TestActivation: what can come of a proxy that bruno offers.
func TestActivation(t *testing.T) {
	t.Run("activated, twice", func(t *testing.T) {
		s, r := relayed(t)
		conn, err := net.Dial("tcp", r.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		d := newDigest(s.sid, bruno, alba)
		if err := socksDial(conn, d); err != nil {
			t.Fatal(err)
		}
		if err := r.activate(d.String()); err != nil {
			t.Fatal(err)
		}
		s.send(message{action: actionActivated, cid: "of the wrong party"})
		s.send(message{action: actionActivated, cid: "x"})
		alba, err := s.end()
		if err != nil || alba.Path() != transport.Relay {
			t.Fatal(alba, err)
		}
		joined(t, alba, conn) // bruno does not know the padding
	})
	t.Run("proxy-error", func(t *testing.T) {
		s, _ := relayed(t)
		s.send(message{action: actionProxyError})
		s.fails(ErrNoCandidate, "could not use the proxy")
	})
	t.Run("candidate-used", func(t *testing.T) {
		s, _ := relayed(t)
		s.send(message{action: actionCandidateUsed, cid: "x"})
		s.breaks("XEP-0260 §2.4")
	})
}

// TestOwnProxyFails: alba has offered a proxy that does not work for her, and says so.
func TestOwnProxyFails(t *testing.T) {
	for _, tt := range []struct {
		name   string
		break_ func(r *relay)
		want   string
	}{
		{"refuses the activation", func(r *relay) { r.refuse = true }, `refused by the proxy: "not-allowed"`},
		{"is gone", func(r *relay) { _ = r.ln.Close() }, "refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &script{t: t, sess: newSession(alba), done: make(chan result, 1)}
			s.tr = newTransport(t, s.sess)
			r := newRelay(t, proxyJID, s.sess)
			s.start(t.Context(), relayOnly)
			offer := s.recv()
			if len(offer.candidates) != 1 || offer.candidates[0].typ != typeProxy || offer.dstaddr != newDigest(s.sid, alba, bruno).String() {
				t.Fatalf("offer %+v", offer)
			}
			tt.break_(r)
			s.send(message{})
			if m := s.recv(); m.action != actionCandidateError {
				t.Errorf("alba says %+v", m)
			}
			s.send(message{action: actionCandidateUsed, cid: offer.candidates[0].cid})
			if m := s.recv(); m.action != actionProxyError {
				t.Errorf("alba says %+v", m)
			}
			s.fails(ErrNoCandidate, "the own proxy", tt.want)
		})
	}
}

// TestLyingProxies: with Relay alone a candidate counts only if its service says so.
func TestLyingProxies(t *testing.T) {
	for _, tt := range []struct {
		name string
		lie  func(r *relay, c *candidate)
		n    transport.Negotiation
		why  string // "": it is used
	}{
		{"honest", func(*relay, *candidate) {}, relayOnly, ""},
		{"another port", func(r *relay, _ *candidate) { r.wrongAddr = true }, relayOnly, errUnconfirmed.Error()},
		{"a client", func(_ *relay, c *candidate) { c.jid = bruno }, relayOnly, errUnconfirmed.Error()},
		{"nobody", func(_ *relay, c *candidate) { c.jid = jid.MustParse("nobody.example") }, relayOnly, errUnconfirmed.Error()},
		{"a service of somebody else", func(r *relay, c *candidate) { c.jid = jid.MustParse("other.example") }, relayOnly, errUnconfirmed.Error()},
		{"honest, of somebody who may run it", func(*relay, *candidate) {}, ownRelay, errForeign.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &script{t: t, sess: newSession(alba), done: make(chan result, 1)}
			s.tr = newTransport(t, s.sess)
			r := newRelay(t, "relay.moor.example")
			r.known(s.sess)
			other := newRelay(t, "other.example")
			other.known(s.sess)
			c := r.candidate("x", 1)
			tt.lie(r, &c)
			s.start(t.Context(), tt.n)
			s.recv()
			s.send(message{candidates: []candidate{c}})
			m := s.recv()
			if (m.action == actionCandidateUsed) != (tt.why == "") {
				t.Fatalf("alba says %+v", m)
			}
			r.mu.Lock()
			conns := len(r.conns)
			r.mu.Unlock()
			if tt.why != "" && conns > 0 {
				t.Error("alba connected to a proxy that nobody vouches for")
			}
			if tt.why != "" {
				s.fails(ErrNoCandidate, tt.why)
				return
			}
			s.send(message{action: actionProxyError}) // a violation: it ends Connect
			s.breaks("XEP-0260 §2.4")
		})
	}
}

// TestDiscovery: one search for all, bounded, kept, and tolerant of services that are odd.
func TestDiscovery(t *testing.T) {
	s := newSession(alba)
	tr := newTransport(t, s)
	var items strings.Builder
	for i := range 100 {
		name := fmt.Sprintf("s%d.isle.example", i)
		fmt.Fprintf(&items, "<item jid='%s'/><item jid='%s'/><item jid='@'/><item jid='user@isle.example'/>", name, name)
		s.services[name] = func(_ context.Context, _ jid.JID, _ stanza.IQType, payload string) (string, error) {
			if strings.Contains(payload, nsDiscoInfo) {
				return "<query xmlns='" + nsDiscoInfo + "'><identity category='proxy' type='bytestreams'/></query>", nil
			}
			return "<query xmlns='" + NS + "'><streamhost jid='elsewhere.example' host='192.0.2.1' port='1'/>" +
				"<streamhost jid='" + name + "' host='192.0.2.1' port='0'/><streamhost jid='" + name + "' host='a b' port='1'/>" +
				strings.Repeat("<streamhost jid='"+name+"' host='192.0.2.1' port='7777'/>", 10) + "</query>", nil
		}
	}
	s.services[serverJID] = func(context.Context, jid.JID, stanza.IQType, string) (string, error) {
		return "<query xmlns='" + nsDiscoItems + "'>" + items.String() + "</query>", nil
	}
	for range 3 {
		found, err := tr.Proxies(t.Context())
		if err != nil || len(found) != maxProxies {
			t.Fatalf("Proxies = %v, %v", found, err)
		}
		for _, p := range found {
			if p.Addr() != "192.0.2.1:7777" || p.JID.String() != "s0.isle.example" {
				t.Errorf("proxy %v", p)
			}
		}
	}
	if n := s.count(serverJID); n != 1 {
		t.Errorf("the server was asked %d times", n)
	}
	if a, b := s.count(fmt.Sprintf("s%d.isle.example", maxItems-1)), s.count(fmt.Sprintf("s%d.isle.example", maxItems)); a != 2 || b != 0 {
		t.Errorf("the last item was asked %d times, one over the bound %d times", a, b)
	}

	// A server that cannot be asked is not asked again at once.
	s = newSession(alba)
	tr = newTransport(t, s)
	for range 2 {
		if found, err := tr.Proxies(t.Context()); err == nil || !errors.Is(err, stanza.Error{Condition: stanza.ServiceUnavailable}) {
			t.Errorf("Proxies = %v, %v", found, err)
		}
	}
	if n := s.count(serverJID); n != 1 {
		t.Errorf("the server was asked %d times", n)
	}
}

// TestDiscoveryWithSilence: a service that does not answer hides no proxy, and is not taken for none.
func TestDiscoveryWithSilence(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		proxy bool
	}{{"beside a proxy", true}, {"alone", false}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &script{t: t, sess: newSession(alba), done: make(chan result, 1)}
			s.tr = newTransport(t, s.sess)
			items := "<item jid='dead.isle.example'/>"
			if tt.proxy {
				newRelay(t, proxyJID, s.sess)
				items += "<item jid='" + proxyJID + "'/>"
			}
			s.sess.services[serverJID] = func(context.Context, jid.JID, stanza.IQType, string) (string, error) {
				return "<query xmlns='" + nsDiscoItems + "'>" + items + "</query>", nil
			}
			s.sess.services["dead.isle.example"] = func(ctx context.Context, _ jid.JID, _ stanza.IQType, _ string) (string, error) {
				<-ctx.Done()
				return "", context.Cause(ctx)
			}
			s.start(t.Context(), both)
			offered := slices.ContainsFunc(s.recv().candidates, func(c candidate) bool { return c.typ == typeProxy })
			if offered != tt.proxy {
				t.Errorf("a proxy is offered: %t", offered)
			}
			if found, err := s.tr.Proxies(t.Context()); (err == nil) != tt.proxy || len(found) > 0 != tt.proxy {
				t.Errorf("Proxies = %v, %v", found, err)
			}
			s.tr.Close(nil)
			s.fails(ErrSessionEnded)
		})
	}
}

// TestSlowDiscovery: an offer waits a second for proxies and no longer.
func TestSlowDiscovery(t *testing.T) {
	t.Parallel()
	s := &script{t: t, sess: newSession(alba), done: make(chan result, 1)}
	s.tr = newTransport(t, s.sess)
	s.sess.services[serverJID] = func(ctx context.Context, _ jid.JID, _ stanza.IQType, _ string) (string, error) {
		<-ctx.Done()
		return "", context.Cause(ctx)
	}
	start := time.Now()
	s.start(t.Context(), both)
	if m := s.recv(); len(m.candidates) == 0 || time.Since(start) < gatherTime || time.Since(start) > queryTime {
		t.Errorf("offer %+v after %v", m, time.Since(start))
	}
	s.tr.Close(nil)
	s.fails(ErrSessionEnded)
}

// TestLateProxy: where nothing but a proxy may be used, an offer waits for a slow server.
func TestLateProxy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		n       transport.Negotiation
		offered bool
	}{
		{"beside addresses", both, false},
		{"alone", transport.Negotiation{Initiator: true, Relay: true}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &script{t: t, sess: newSession(alba), done: make(chan result, 1)}
			s.tr = newTransport(t, s.sess)
			newRelay(t, proxyJID, s.sess)
			items := s.sess.services[serverJID]
			s.sess.services[serverJID] = func(ctx context.Context, from jid.JID, typ stanza.IQType, payload string) (string, error) {
				select {
				case <-time.After(2 * gatherTime):
					return items(ctx, from, typ, payload)
				case <-ctx.Done():
					return "", context.Cause(ctx)
				}
			}
			s.start(t.Context(), tt.n)
			offered := slices.ContainsFunc(s.recv().candidates, func(c candidate) bool { return c.typ == typeProxy })
			if offered != tt.offered {
				t.Errorf("a proxy is offered: %t", offered)
			}
			s.tr.Close(nil)
			s.fails(ErrSessionEnded)
		})
	}
}

// TestCancel: ctx ends Connect in every state, and nothing is left.
func TestCancel(t *testing.T) {
	enough := errors.New("enough")
	asked := make(chan struct{}, 1)
	stuck := func(ctx context.Context, _ jid.JID, _ stanza.IQType, _ string) (string, error) {
		asked <- struct{}{}
		<-ctx.Done()
		return "", context.Cause(ctx)
	}
	for _, tt := range []struct {
		name string
		n    transport.Negotiation
		to   func(s *script) // brings alba into the state
	}{
		{"gathering", both, func(*script) { <-asked }},
		{"offered", directOnly, func(s *script) { s.recv() }},
		{"waiting for an offer", transport.Negotiation{Direct: true}, func(*script) {}},
		{"connecting", directOnly, func(s *script) {
			h := newHost(s.t, "x", 1)
			s.recv()
			s.send(message{candidates: []candidate{h.cand}})
			c, err := h.AcceptTCP()
			if err != nil {
				s.t.Fatal(err)
			}
			s.t.Cleanup(func() { _ = c.Close() })
		}},
		{"waiting for the outcome", directOnly, func(s *script) { s.recv(); s.send(message{}); s.recv() }},
		{"waiting for an arrival", directOnly, func(s *script) {
			offer := s.recv()
			s.send(message{})
			s.send(message{action: actionCandidateUsed, cid: offer.candidates[0].cid})
			s.recv()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			s := &script{t: t, sess: newSession(alba), done: make(chan result, 1)}
			s.sess.services[serverJID] = stuck
			s.tr = newTransport(t, s.sess)
			s.start(ctx, tt.n)
			tt.to(s)
			cancel(enough)
			s.fails(enough)
		})
	}
	// The same by the end of the session.
	s := play(t, t.Context(), directOnly)
	s.recv()
	s.tr.Close(enough)
	s.fails(ErrSessionEnded, "enough")
	s.start(t.Context(), directOnly)
	s.fails(ErrSessionEnded)
}

// TestStrangers: who does not know the digest gets nothing and cannot keep bruno out.
func TestStrangers(t *testing.T) {
	s := play(t, t.Context(), directOnly)
	offer := s.recv()
	at := offer.candidates[0]
	var slow []net.Conn
	for range maxStrangers + 1 { // one over the bound
		c, err := net.Dial("tcp", at.addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(c, "\x05"); err != nil { // slowloris
			t.Fatal(err)
		}
		slow = append(slow, c)
	}
	start := time.Now()
	if n, err := slow[0].Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) > strangerTime/2 {
		t.Errorf("the oldest stranger got %d, %v after %v", n, err, time.Since(start))
	}

	wrong, err := net.Dial("tcp", at.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer wrong.Close()
	_ = wrong.SetDeadline(time.Now().Add(patience))
	if err := socksDial(wrong, newDigest(s.sid, bruno, bruno)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a wrong digest: %v", err)
	}

	c, err := s.dial(at)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := s.dial(at); err == nil { // at most one to each address
		t.Errorf("a second connection was let in: %v", second.LocalAddr())
	}
	s.send(message{})
	s.send(message{action: actionCandidateUsed, cid: at.cid})
	conn, err := s.end()
	if err != nil {
		t.Fatal(err)
	}
	joined(t, conn, c)
	for i, c := range slow { // they went with the port
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("stranger %d got %d, %v", i, n, err)
		}
	}
}

// TestStrangerTime: the slowest stranger is closed after strangerTime.
func TestStrangerTime(t *testing.T) {
	t.Parallel()
	l, err := listen([2]digest{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", l.port()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	start := time.Now()
	_ = c.SetDeadline(start.Add(patience))
	n, err := c.Read(make([]byte, 1))
	if took := time.Since(start); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) || took < strangerTime-time.Second {
		t.Errorf("Read = %d, %v after %v", n, err, took)
	}
}

// FuzzDiscovery answers each question of the search for proxies with the same text. Whatever it is, the
// search ends, and what it finds can be connected to.
func FuzzDiscovery(f *testing.F) {
	for _, seed := range []string{
		"", "<query/>",
		"<query xmlns='" + nsDiscoItems + "'><item jid='" + proxyJID + "'/></query>",
		"<query xmlns='" + nsDiscoInfo + "'><identity category='proxy' type='bytestreams'/></query>",
		"<query xmlns='" + NS + "'><streamhost jid='" + proxyJID + "' host='192.0.2.1' port='7777'/></query>",
		"<query xmlns='" + NS + "'><streamhost jid='" + proxyJID + "' host='::1' port='65536'/><streamhost host=''/></query>",
	} {
		f.Add(seed, 0)
		f.Add(seed, 1)
		f.Add(seed, 2)
	}
	good := [3]string{
		"<query xmlns='" + nsDiscoItems + "'><item jid='" + proxyJID + "'/></query>",
		"<query xmlns='" + nsDiscoInfo + "'><identity category='proxy' type='bytestreams'/></query>",
		"<query xmlns='" + NS + "'><streamhost jid='" + proxyJID + "' host='192.0.2.1' port='7777'/></query>",
	}
	f.Fuzz(func(t *testing.T, answer string, question int) {
		s := newSession(alba)
		all := good
		all[uint(question)%3] = answer
		s.services[serverJID] = func(context.Context, jid.JID, stanza.IQType, string) (string, error) { return all[0], nil }
		s.services[proxyJID] = func(_ context.Context, _ jid.JID, _ stanza.IQType, payload string) (string, error) {
			if strings.Contains(payload, nsDiscoInfo) {
				return all[1], nil
			}
			return all[2], nil
		}
		found, err := newTransport(t, s).Proxies(t.Context())
		if err != nil && len(found) > 0 || len(found) > maxProxies {
			t.Errorf("Proxies = %v, %v", found, err)
		}
		for _, p := range found {
			if host, ok := parseHost(p.Host); !ok || host != p.Host || p.Port == 0 || p.JID.Domain().String() != proxyJID {
				t.Errorf("proxy %+v", p)
			}
		}
	})
}
