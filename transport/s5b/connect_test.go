// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/transport"
)

var (
	directOnly = transport.Negotiation{Initiator: true, Direct: true}
	relayOnly  = transport.Negotiation{Initiator: true, Relay: true, PeerRelay: true}
	ownRelay   = transport.Negotiation{Initiator: true, Relay: true}
	both       = transport.Negotiation{Initiator: true, Direct: true, Relay: true}
	nothing    = transport.Negotiation{Initiator: true}
)

// TestDirect: two clients without a proxy.
func TestDirect(t *testing.T) {
	r := newRig(t, true, true)
	a, b := r.connect(t)
	joined(t, a, b)
	for _, c := range []transport.Conn{a, b} {
		if _, ok := c.(*carrier); !ok || c.Path() != transport.Direct {
			t.Errorf("%T, path %s", c, c.Path())
		}
	}
}

// TestRelay: two clients that hide from each other, with one proxy, with two, and with the
// responder's only.
func TestRelay(t *testing.T) {
	for _, tt := range []struct {
		name         string
		a, b, padded bool
	}{
		{"the initiator's", true, false, true},
		{"the responder's", false, true, true},
		{"one of either", true, true, true},
		{"with a stranger to padding", true, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, false, true)
			// A proxy on loopback is only used by who knows it from its own server: so both do, or
			// loopback is allowed.
			r.ta.cfg.Loopback, r.tb.cfg.Loopback = true, true
			ra, rb := newRelay(t, "relay.isle.example"), newRelay(t, "relay.moor.example")
			ra.known(r.b)
			rb.known(r.a)
			if tt.a {
				ra.serves(r.a)
			}
			if tt.b {
				rb.serves(r.b)
			}
			if !tt.padded {
				r.rewrite = stripPad
			}
			a, b := r.connect(t)
			joined(t, a, b)
			for _, c := range []transport.Conn{a, b} {
				if _, padded := c.(*padded); padded != tt.padded || c.Path() != transport.Relay {
					t.Errorf("%T, path %s", c, c.Path())
				}
			}
		})
	}
}

// TestNothingAllowed: no candidates, candidate-error, and the end, at once.
func TestNothingAllowed(t *testing.T) {
	s := play(t, t.Context(), nothing)
	if m := s.recv(); len(m.candidates) != 0 || m.dstaddr != "" || !m.pad {
		t.Errorf("offer %+v", m)
	}
	h := newHost(t, "r0", 1)
	s.send(message{candidates: []candidate{h.cand, {cid: "r1", host: "192.0.2.9", port: 1, jid: bruno, typ: typeProxy}}})
	if m := s.recv(); m.action != actionCandidateError {
		t.Errorf("alba says %+v", m)
	}
	s.fails(ErrNoCandidate, h.cand.addr()+" is not allowed", "192.0.2.9:1 is not allowed")

	// The responder likewise.
	s = play(t, t.Context(), transport.Negotiation{})
	s.sid = "s"
	s.send(message{candidates: []candidate{h.cand}})
	if m := s.recv(); len(m.candidates) != 0 || m.sid != "s" {
		t.Errorf("answer %+v", m)
	}
	if m := s.recv(); m.action != actionCandidateError {
		t.Errorf("alba says %+v", m)
	}
	s.fails(ErrNoCandidate)
	if n := s.sess.count(serverJID); n != 0 {
		t.Errorf("the server was asked %d times for proxies that may not be used", n)
	}
}

// TestNoRelay: where only a relay may be used, the error says that there is none, and nothing of the
// peer's addresses.
func TestNoRelay(t *testing.T) {
	s := play(t, t.Context(), relayOnly)
	s.recv()
	h := newHost(t, "r0", 1)
	s.send(message{candidates: []candidate{h.cand}})
	if m := s.recv(); m.action != actionCandidateError {
		t.Errorf("alba says %+v", m)
	}
	s.send(message{action: actionCandidateError})
	c, err := s.end()
	if c != nil || !errors.Is(err, ErrNoCandidate) || !strings.Contains(err.Error(), "neither end's server has a SOCKS5 proxy") || strings.Contains(err.Error(), h.cand.addr()) {
		t.Errorf("Connect = %v, %v", c, err)
	}
}

// TestMessages: DTLS needs something else.
func TestMessages(t *testing.T) {
	s := play(t, t.Context(), transport.Negotiation{Initiator: true, Direct: true, Messages: true})
	s.fails(ErrMessages)
}

// TestOutcomes: which candidate is used in each case of XEP-0260 §2.4. alba's own candidate has the
// priority 126<<16 + 65535.
func TestOutcomes(t *testing.T) {
	const top = 126<<16 + 65535
	for _, tt := range []struct {
		name      string
		initiator bool
		priority  uint32 // of bruno's candidate
		brunoUses bool   // alba's
		wantMine  bool   // alba's candidate is nominated
	}{
		{"both, alba's is better", true, top - 1, true, true},
		{"both, bruno's is better", true, top + 1, true, false},
		{"equal, alba initiates and used bruno's", true, top, true, false},
		{"equal, bruno initiates and used alba's", false, top, true, true},
		{"bruno reached none", true, 1, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t, "x", tt.priority)
			s := play(t, t.Context(), transport.Negotiation{Initiator: tt.initiator, Direct: true})
			var offer message
			if tt.initiator {
				offer = s.recv()
				s.send(message{candidates: []candidate{h.cand}})
			} else {
				s.sid = "s"
				s.send(message{candidates: []candidate{h.cand}})
				offer = s.recv()
			}
			toAlba := h.accept(s) // alba's connection to bruno
			if m := s.recv(); m.action != actionCandidateUsed || m.cid != "x" {
				t.Fatalf("alba says %+v", m)
			}
			other := net.Conn(toAlba)
			var loser net.Conn
			if tt.brunoUses {
				c, err := s.dial(offer.candidates[0])
				if err != nil {
					t.Fatal(err)
				}
				loser = c
				if tt.wantMine {
					other, loser = loser, other
				}
				s.send(message{action: actionCandidateUsed, cid: offer.candidates[0].cid})
			} else {
				s.send(message{action: actionCandidateError})
			}
			conn, err := s.end()
			if err != nil {
				t.Fatal(err)
			}
			joined(t, conn, other)
			// The port and the socket that lost are closed.
			if c, err := s.dial(offer.candidates[0]); err == nil {
				t.Errorf("the port is still open: %v", c.RemoteAddr())
			}
			if loser != nil {
				checkClosed(t, loser)
			}
		})
	}
}

// checkClosed checks that the other end of c has closed it.
func checkClosed(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("still open: %d, %v", n, err)
	}
}

// TestOnlyBruno: alba reaches nothing and bruno does. What alba tried does not matter then.
func TestOnlyBruno(t *testing.T) {
	h := newHost(t, "x", 1)
	_ = h.Close() // refuses
	s := play(t, t.Context(), directOnly)
	offer := s.recv()
	s.send(message{candidates: []candidate{h.cand}})
	if m := s.recv(); m.action != actionCandidateError {
		t.Fatalf("alba says %+v", m)
	}
	c, err := s.dial(offer.candidates[len(offer.candidates)-1]) // ::1, if there is one
	if err != nil {
		t.Fatal(err)
	}
	s.send(message{action: actionCandidateUsed, cid: offer.candidates[len(offer.candidates)-1].cid})
	conn, err := s.end()
	if err != nil {
		t.Fatal(err)
	}
	joined(t, conn, c)
}

// TestSentence: the error says what was tried and why it failed.
func TestSentence(t *testing.T) {
	closed, dumb := newHost(t, "x", 9), newHost(t, "y", 8)
	_ = closed.Close()
	s := play(t, t.Context(), directOnly)
	offer := s.recv()
	s.send(message{candidates: []candidate{closed.cand, dumb.cand, {cid: "z", host: "relay.moor.example", port: 7, jid: bruno, typ: typeProxy}}})
	c, err := dumb.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close() // without a word
	if m := s.recv(); m.action != actionCandidateError {
		t.Fatalf("alba says %+v", m)
	}
	s.send(message{action: actionCandidateError})
	s.fails(ErrNoCandidate, "direct "+closed.cand.addr()+" refused", "direct "+dumb.cand.addr()+" failed",
		"proxy relay.moor.example:7 is not allowed", "the peer reached none of direct 127.0.0.1:"+strings.Split(offer.candidates[0].addr(), ":")[1])
}

// TestBetterOnly: after bruno's word alba goes on with better candidates only, and not for long with
// one that does not answer.
func TestBetterOnly(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		priority     uint32 // of bruno's candidate, which accepts and says nothing
		least, limit time.Duration
	}{
		{"a worse one", 1, 0, betterTime * 9 / 10},
		{"a better one", 1 << 30, betterTime * 9 / 10, directTime * 9 / 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			silent := newHost(t, "x", tt.priority)
			s := play(t, t.Context(), directOnly)
			offer := s.recv()
			s.send(message{candidates: []candidate{silent.cand}})
			got, err := silent.AcceptTCP()
			if err != nil {
				t.Fatal(err)
			}
			defer got.Close()
			c, err := s.dial(offer.candidates[0])
			if err != nil {
				t.Fatal(err)
			}
			s.send(message{action: actionCandidateUsed, cid: offer.candidates[0].cid})
			start := time.Now()
			m := s.recv()
			if took := time.Since(start); m.action != actionCandidateError || took < tt.least || took > tt.limit {
				t.Fatalf("alba says %+v after %v", m, took)
			}
			conn, err := s.end()
			if err != nil {
				t.Fatal(err)
			}
			joined(t, conn, c)
		})
	}
}

// TestResponderRepeatsNothing: what the initiator offers the responder does not (XEP-0260 §2.2).
func TestResponderRepeatsNothing(t *testing.T) {
	s := play(t, t.Context(), transport.Negotiation{Direct: true, Relay: true})
	r := newRelay(t, proxyJID, s.sess)
	s.sid = "s"
	s.send(message{candidates: []candidate{r.candidate("i0", 1)}})
	for _, c := range s.recv().candidates {
		if c.typ == typeProxy {
			t.Errorf("the responder offers %v again", c)
		}
	}
	s.tr.Close(nil)
	s.fails(ErrSessionEnded)
}

// TestOwnAddresses: what is offered of a machine's addresses.
func TestOwnAddresses(t *testing.T) {
	var many []string
	for i := range 40 {
		many = append(many, net.IPv4(10, 0, 0, byte(i+1)).String())
	}
	for _, tt := range []struct {
		name     string
		have     []string
		loopback bool
		want     string
	}{
		{"loopback hides", []string{"127.0.0.1", "192.0.2.9", "::1", "2001:db8::1"}, false, "192.0.2.9 2001:db8::1"},
		{"unless asked for", []string{"127.0.0.1", "192.0.2.9"}, true, "192.0.2.9 127.0.0.1"},
		{"or alone", []string{"127.0.0.1", "::1", "fe80::1"}, false, "127.0.0.1 ::1"},
		{"private", []string{"10.1.2.3", "fd00::2", "fe80::1", "169.254.1.1", "224.0.0.1", "0.0.0.0"}, false, "10.1.2.3 fd00::2"},
		{"too many", many, false, strings.Join(many[:maxAddresses], " ")},
		{"none", nil, false, ""},
	} {
		got, err := ownAddresses(func() ([]net.Addr, error) { return addrs(tt.have...), nil }, tt.loopback)
		var text []string
		for _, ip := range got {
			text = append(text, ip.String())
		}
		if err != nil || strings.Join(text, " ") != tt.want {
			t.Errorf("%s: %v, %v, want %s", tt.name, got, err, tt.want)
		}
	}
}

// TestForbiddenAddresses: a peer cannot send alba to her own machine, or to everybody.
func TestForbiddenAddresses(t *testing.T) {
	local := newHost(t, "x", 5)
	s := &script{t: t, sess: newSession(alba), done: make(chan result, 1)}
	s.tr = newTransport(t, s.sess)
	setAddresses(s.tr, "192.0.2.9", "127.0.0.1")
	s.start(t.Context(), both)
	s.recv()
	bad := []candidate{local.cand}
	for i, host := range []string{"0.0.0.0", "224.0.0.1", "169.254.0.1", "::", "255.255.255.255", "localhost"} {
		bad = append(bad, candidate{cid: string(rune('a' + i)), host: host, port: local.cand.port, jid: jid.MustParse("moor.example"), typ: typeProxy})
	}
	s.send(message{candidates: bad})
	if m := s.recv(); m.action != actionCandidateError {
		t.Errorf("alba says %+v", m)
	}
	s.send(message{action: actionCandidateError})
	s.fails(ErrNoCandidate, local.cand.String()+" "+errAddress.Error(), "255.255.255.255")
	_ = local.SetDeadline(time.Now())
	if c, err := local.Accept(); err == nil {
		t.Errorf("alba connected from %v", c.RemoteAddr())
	}
}
