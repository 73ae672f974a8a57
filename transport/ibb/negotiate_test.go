// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pion/logging"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/jingle/jingletest"
	"example.org/xtls/transport"
	"example.org/xtls/transport/ibb"
	"example.org/xtls/transport/transporttest"
)

func TestConfig(t *testing.T) {
	a, _ := jingletest.Pair(t)
	for _, tt := range []struct {
		name string
		cfg  ibb.Config
		want string // in the error; empty for none
	}{
		{"defaults", ibb.Config{Stanzas: a}, ""},
		{"largest block", ibb.Config{Stanzas: a, BlockSize: 65535}, ""},
		{"least", ibb.Config{Stanzas: a, BlockSize: 256, SendBuffer: 256, ReceiveBuffer: 512, InFlight: 1}, ""},
		{"no session", ibb.Config{}, "Config.Stanzas is required"},
		{"small block", ibb.Config{Stanzas: a, BlockSize: 255}, "Config.BlockSize is 255"},
		{"large block", ibb.Config{Stanzas: a, BlockSize: 65536}, "Config.BlockSize is 65536"},
		{"receive buffer", ibb.Config{Stanzas: a, ReceiveBuffer: 8191}, "Config.ReceiveBuffer is 8191, want 8192"},
		{"send buffer", ibb.Config{Stanzas: a, SendBuffer: 4095}, "Config.SendBuffer is 4095, want 4096"},
		{"in flight", ibb.Config{Stanzas: a, InFlight: -1}, "Config.InFlight is -1"},
	} {
		tr, err := ibb.New(tt.cfg)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: New: %v, want %q", tt.name, err, tt.want)
		}
		if tr != nil && tr.Namespace() != "urn:xmpp:jingle:transports:ibb:1" {
			t.Errorf("Namespace() = %q", tr.Namespace())
		}
	}
}

// TestNegotiate: the smaller block-size holds for both directions (XEP-0261 §2.2).
func TestNegotiate(t *testing.T) {
	for _, tt := range []struct{ dial, accept, want int }{
		{4096, 4096, 4096},
		{4096, 2048, 2048},
		{1024, 65535, 1024},
	} {
		t.Run(fmt.Sprint(tt.dial, tt.accept), func(t *testing.T) {
			a, b := jingletest.Pair(t)
			r := &rig{
				a: a, b: b,
				ta: newTransport(t, ibb.Config{BlockSize: tt.dial, Logger: logging.NewDefaultLoggerFactory().NewLogger("ibb")}, a),
				tb: newTransport(t, ibb.Config{BlockSize: tt.accept}, b),
			}
			t.Cleanup(r.close)
			ca, cb := r.connect(t, false)
			if ca.BlockSize() != tt.want || cb.BlockSize() != tt.want {
				t.Errorf("block-size %d and %d, want %d", ca.BlockSize(), cb.BlockSize(), tt.want)
			}
			open := jingletest.Await(a, isElement("open"))
			if !strings.Contains(open.XML, fmt.Sprintf("block-size='%d' sid='%s' stanza='iq'", tt.want, sidOf(ca))) {
				t.Errorf("sent %s", open.XML)
			}
			if got, want := ca.RemoteAddr(), (ibb.Addr{JID: b.LocalAddr(), SID: sidOf(cb)}); got.String() != want.String() || got.Network() != "xmpp-ibb" {
				t.Errorf("RemoteAddr() = %v, want %v", got, want)
			}
		})
	}
}

// attrs replaces one attribute of a <transport/> element.
func attrs(old, new string) func(string) string {
	return func(s string) string { return strings.Replace(s, old, new, 1) }
}

// TestOfferPayload is the element on the wire, with and without credit.
func TestOfferPayload(t *testing.T) {
	r := newRig(t, ibb.Config{})
	var offer, answer string
	record := func(to *string) func(string) string { return func(s string) string { *to = s; return s } }
	connectRewriting(t, r, record(&offer), record(&answer))
	for _, s := range []string{offer, answer} {
		_, sid, _ := strings.Cut(offer, " sid='")
		sid, _, _ = strings.Cut(sid, "'")
		if len(sid) < 26 {
			t.Errorf("sid %q has less than 128 bits", sid)
		}
		want := "<transport xmlns='urn:xmpp:jingle:transports:ibb:1' xmlns:x='urn:xmpp:xtls:1' block-size='4096' sid='" + sid + "' x:credit='262144'/>"
		if s != want {
			t.Errorf("sent %s, want %s", s, want)
		}
	}
	// A stranger that does not offer credit is not answered any.
	connectRewriting(t, r, stripCredit, record(&answer))
	if strings.Contains(answer, "credit") {
		t.Errorf("answered %s", answer)
	}
}

// connectRewriting negotiates with altered elements and returns what the ends said.
func connectRewriting(t *testing.T, r *rig, offer, answer func(string) string) (dialErr, acceptErr error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ds, as := transporttest.Pipe()
	accepted := make(chan error, 1)
	go func() {
		c, err := r.tb.Connect(ctx, &transport.Negotiation{Peer: r.a.LocalAddr(), Signal: rewriter{as, answer}})
		if err == nil {
			transporttest.Abort(c)
		} else {
			cancel()
		}
		accepted <- err
	}()
	c, err := r.ta.Connect(ctx, &transport.Negotiation{Peer: r.b.LocalAddr(), Initiator: true, Signal: rewriter{ds, offer}})
	if err == nil {
		transporttest.Abort(c)
	} else {
		cancel()
	}
	return err, <-accepted
}

// TestBadNegotiation: what either end says and the other must not take.
func TestBadNegotiation(t *testing.T) {
	same := func(s string) string { return s }
	for _, tt := range []struct {
		name          string
		offer, answer func(string) string
		want          string // in the error of the end that got it
	}{
		{"block-size below 256", attrs("block-size='4096'", "block-size='255'"), nil, "255 octets, the least is 256"},
		{"block-size 0", attrs("block-size='4096'", "block-size='0'"), nil, `block-size "0"`},
		{"block-size above 65535", attrs("block-size='4096'", "block-size='65536'"), nil, `block-size "65536"`},
		{"no block-size", attrs("block-size='4096'", ""), nil, `block-size ""`},
		{"no sid", attrs(" sid='", " x='"), nil, "sid of 0 octets"},
		{"sid no NMTOKEN", attrs(" sid='", " sid='a,"), nil, "is no NMTOKEN"},
		{"sid too long", attrs(" sid='", " sid='"+strings.Repeat("s", 128)), nil, "sid of 154 octets"},
		{"message stanzas", attrs(" sid='", " stanza='message' sid='"), nil, "message stanzas are not supported"},
		{"unknown stanzas", attrs(" sid='", " stanza='presence' sid='"), nil, `stanza "presence"`},
		{"other element", attrs("<transport", "<tronsport"), nil, `"tronsport" instead of <transport/>`},
		{"other namespace", attrs("transports:ibb:1", "transports:ibb:7"), nil, `instead of <transport/>`},
		{"no element", func(string) string { return "" }, nil, "no element"},
		{"no XML", func(string) string { return "<<" }, nil, "reading an element"},
		{"credit no number", attrs("credit='262144'", "credit='lots'"), nil, `credit "lots"`},
		{"credit negative", attrs("credit='262144'", "credit='-1'"), nil, `credit "-1"`},
		{"credit below a block", attrs("credit='262144'", "credit='4095'"), nil, `credit "4095"`},
		{"credit too large", attrs("credit='262144'", "credit='2147483648'"), nil, `credit "2147483648"`},
		{"answer grows the block-size", same, attrs("block-size='4096'", "block-size='4097'"), "4097 answered, 4096 offered"},
		{"answer below 256", same, attrs("block-size='4096'", "block-size='128'"), "the least is 256"},
		{"answer for another sid", same, attrs(" sid='", " sid='x"), "answer for sid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, ibb.Config{})
			answer := tt.answer
			if answer == nil {
				answer = same
			}
			dialErr, acceptErr := connectRewriting(t, r, tt.offer, answer)
			err := acceptErr
			if tt.answer != nil {
				err = dialErr
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Connect: %v, want %q", err, tt.want)
			}
			if dialErr == nil || acceptErr == nil {
				t.Errorf("initiator: %v, responder: %v, want both to fail", dialErr, acceptErr)
			}
		})
	}
}

// TestOpenRefused injects <open/> while a responder waits for the right one, which then works.
func TestOpenRefused(t *testing.T) {
	peer := jid.MustParse(jingletest.AddrA)
	for _, tt := range []struct {
		name      string
		from      jid.JID
		attrs     string
		condition string
	}{
		{"third party", jid.MustParse("mallory@evil.example/x"), "block-size='4096' sid='%s'", "cancel item-not-found"},
		{"unknown sid", peer, "block-size='4096' sid='x%s'", "cancel item-not-found"},
		{"block-size not the agreed one, XEP-0261 §2.2", peer, "block-size='4095' sid='%s'", "modify resource-constraint"},
		{"block-size below 256", peer, "block-size='255' sid='%s'", "modify resource-constraint"},
		{"no block-size, XEP-0047 §2.1", peer, "sid='%s'", "modify bad-request"},
		{"block-size no number", peer, "block-size='4k' sid='%s'", "modify bad-request"},
		{"no sid", peer, "block-size='4096' x='%s'", "modify bad-request"},
		{"message stanzas", peer, "block-size='4096' stanza='message' sid='%s'", "cancel not-acceptable"},
		{"unknown stanzas", peer, "block-size='4096' stanza='x' sid='%s'", "modify bad-request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, ibb.Config{})
			r.a.Hold(isElement("open"))
			connected := make(chan error, 1)
			go func() {
				a, b, err := transporttest.Connect(t.Context(), r.ends(), false)
				if err == nil {
					transporttest.Abort(a)
					transporttest.Abort(b)
				}
				connected <- err
			}()
			held := jingletest.Await(r.a, isElement("open"))
			_, sid, _ := strings.Cut(held.XML, " sid='")
			sid, _, _ = strings.Cut(sid, "'")
			r.b.Inject(iq(tt.from, r.b.LocalAddr(), "evil", fmt.Sprintf("<open xmlns='"+nsIBB+"' "+tt.attrs+"/>", sid)))
			if got := condition(answerTo(r.b, "evil")); got != tt.condition {
				t.Errorf("answer is %q, want %q", got, tt.condition)
			}
			// Nor is there a stream before it was opened.
			r.b.Inject(iq(peer, r.b.LocalAddr(), "early", data(sid, "0", "QQ==")))
			r.b.Inject(iq(peer, r.b.LocalAddr(), "close", "<close xmlns='"+nsIBB+"' sid='"+sid+"'/>"))
			r.b.Inject(iq(peer, r.b.LocalAddr(), "credit", "<credit xmlns='urn:xmpp:xtls:1' limit='9' sid='"+sid+"'/>"))
			for _, id := range []string{"early", "close", "credit"} {
				if got := condition(answerTo(r.b, id)); got != "cancel item-not-found" {
					t.Errorf("answer to %s before <open/> is %q", id, got)
				}
			}
			r.a.Release()
			if err := <-connected; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOpenTwice: neither a second <open/> nor one from the responder does anything.
func TestOpenTwice(t *testing.T) {
	r := newRig(t, ibb.Config{})
	a, b := r.connect(t, false)
	open := fmt.Sprintf("<open xmlns='%s' block-size='4096' sid='%s'/>", nsIBB, sidOf(a))
	r.b.Inject(iq(r.a.LocalAddr(), r.b.LocalAddr(), "again", open))
	r.a.Inject(iq(r.b.LocalAddr(), r.a.LocalAddr(), "turned", open))
	for _, id := range []string{"again", "turned"} {
		if got := condition(answerTo(r.a, id)); got != "cancel not-acceptable" {
			t.Errorf("answer to %s is %q", id, got)
		}
	}
	mustWrite(t, a, "still")
	if got := readString(t, b, 5); got != "still" {
		t.Errorf("Read = %q", got)
	}
}

// TestOpenAnsweredWithError: Connect must not take an error for a result (mellium's bug 6).
func TestOpenAnsweredWithError(t *testing.T) {
	r := newRig(t, ibb.Config{})
	r.b.Serve() // knows no IBB
	s := fixed(func(offer string) string { return offer })
	_, err := r.ta.Connect(t.Context(), &transport.Negotiation{Peer: r.b.LocalAddr(), Initiator: true, Signal: s})
	refused, ok := errors.AsType[*ibb.RefusedError](err)
	if !ok || refused.Op != "open" || !errors.Is(err, stanza.Error{Condition: stanza.ServiceUnavailable}) {
		t.Errorf("Connect: %v, want a RefusedError with service-unavailable", err)
	}
}

// TestSidInUse: a peer cannot take a stream over by negotiating its sid again.
func TestSidInUse(t *testing.T) {
	r := newRig(t, ibb.Config{})
	a, b := r.connect(t, false)
	s := fixed(func(string) string {
		return fmt.Sprintf("<transport xmlns='%s' block-size='4096' sid='%s'/>", ibb.NSJingle, sidOf(a))
	})
	_, err := r.tb.Connect(t.Context(), &transport.Negotiation{Peer: r.a.LocalAddr(), Signal: s})
	if err == nil || !strings.Contains(err.Error(), "is in use") {
		t.Errorf("Connect: %v", err)
	}
	mustWrite(t, a, "still")
	if got := readString(t, b, 5); got != "still" {
		t.Errorf("Read = %q", got)
	}
}

// TestDataBeforeOpenReturned: the responder may send before the initiator has seen its result.
func TestDataBeforeOpenReturned(t *testing.T) {
	r := newRig(t, ibb.Config{})
	opened := func(s jingletest.Stanza) bool { return s.Type == "result" && s.ID == "alba1" }
	r.b.Hold(opened)
	ds, as := transporttest.Pipe()
	dialed := make(chan error, 1)
	got := make(chan string, 1)
	go func() {
		c, err := r.ta.Connect(t.Context(), &transport.Negotiation{Peer: r.b.LocalAddr(), Initiator: true, Signal: ds})
		dialed <- err
		if err == nil {
			buf := make([]byte, 16)
			n, _ := c.Read(buf)
			got <- string(buf[:n])
			transporttest.Abort(c)
		}
	}()
	b, err := r.tb.Connect(t.Context(), &transport.Negotiation{Peer: r.a.LocalAddr(), Signal: as})
	if err != nil {
		t.Fatal(err)
	}
	defer transporttest.Abort(b)
	mustWrite(t, b, "early")
	jingletest.Await(r.a, func(s jingletest.Stanza) bool { return s.Type == "result" && s.To.Equal(r.b.LocalAddr()) })
	r.b.Release()
	if err := <-dialed; err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "early" {
		t.Errorf("Read = %q", s)
	}
}

// TestConnectFailsLeavingNothing: after a cancelled Connect the peer is told, and its stanzas find
// no stream.
func TestConnectFailsLeavingNothing(t *testing.T) {
	r := newRig(t, ibb.Config{})
	r.b.Hold(func(s jingletest.Stanza) bool { return s.Type == "error" })
	ctx, cancel := context.WithCancel(t.Context())
	s := fixed(func(offer string) string { return offer })
	failed := make(chan error, 1)
	go func() {
		_, err := r.ta.Connect(ctx, &transport.Negotiation{Peer: r.b.LocalAddr(), Initiator: true, Signal: s})
		failed <- err
	}()
	open := jingletest.Await(r.a, isElement("open"))
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("Connect: %v, want context.Canceled", err)
	}
	jingletest.Await(r.a, isElement("close"))
	_, sid, _ := strings.Cut(open.XML, " sid='")
	sid, _, _ = strings.Cut(sid, "'")
	r.a.Inject(iq(r.b.LocalAddr(), r.a.LocalAddr(), "late", data(sid, "0", "QQ==")))
	if got := condition(answerTo(r.a, "late")); got != "cancel item-not-found" {
		t.Errorf("answer is %q", got)
	}
}

// TestConnectAfterSessionEnded: and while it ends.
func TestConnectAfterSessionEnded(t *testing.T) {
	r := newRig(t, ibb.Config{})
	gone := errors.New("cable cut")
	s, _ := transporttest.Pipe()
	n := &transport.Negotiation{Peer: r.b.LocalAddr(), Initiator: true, Signal: s}
	failed := make(chan error, 1)
	waiting := make(chan struct{})
	n.Signal = rewriter{s, func(s string) string { close(waiting); return s }}
	go func() {
		_, err := r.ta.Connect(t.Context(), n)
		failed <- err
	}()
	<-waiting
	r.ta.Close(gone)
	if err := <-failed; !errors.Is(err, ibb.ErrSessionEnded) || !errors.Is(err, gone) {
		t.Errorf("Connect while the session ends: %v", err)
	}
	n.Signal = s
	if _, err := r.ta.Connect(t.Context(), n); !errors.Is(err, ibb.ErrSessionEnded) {
		t.Errorf("Connect after the session ended: %v", err)
	}
}

func TestNegotiationRequired(t *testing.T) {
	r := newRig(t, ibb.Config{})
	s, _ := transporttest.Pipe()
	for _, n := range []*transport.Negotiation{{Peer: r.b.LocalAddr()}, {Signal: s}} {
		if _, err := r.ta.Connect(t.Context(), n); err == nil || !strings.Contains(err.Error(), "required") {
			t.Errorf("Connect: %v", err)
		}
	}
}
