// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"

	"github.com/pion/logging"
	"mellium.im/sasl"
	"mellium.im/xmpp"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/fingerprint"
	"example.org/xtls/jingle"
	"example.org/xtls/transport"
	"example.org/xtls/transport/ibb"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/internal/exchange"
	"example.org/xtls/xtls/xtlstest"
)

// only applies a tamper to stanzas that contain a text.
func only(text string, tamper xtlstest.Tamper) xtlstest.Tamper {
	return func(st *xtlstest.Stanza) []*xtlstest.Stanza {
		if bytes.Contains(st.XML, []byte(text)) {
			return tamper(st)
		}
		return []*xtlstest.Stanza{st}
	}
}

// twice delivers a stanza again, as a new one.
func twice(st *xtlstest.Stanza) []*xtlstest.Stanza {
	again, err := xtlstest.ParseStanza(string(bytes.Replace(st.XML, []byte(st.ID), []byte(st.ID+"-again"), 1)))
	if err != nil {
		panic(err)
	}
	return []*xtlstest.Stanza{st, again}
}

// instead replaces what matches a pattern.
func instead(pattern, with string) xtlstest.Tamper {
	re := regexp.MustCompile(pattern)
	return func(st *xtlstest.Stanza) []*xtlstest.Stanza {
		if !re.Match(st.XML) {
			panic(pattern + " does not match " + string(st.XML))
		}
		changed, err := xtlstest.ParseStanza(re.ReplaceAllLiteralString(string(st.XML), with))
		if err != nil {
			panic(err)
		}
		return []*xtlstest.Stanza{changed}
	}
}

// A rawPeer is bob, logged in with a session on which nothing of package xtls runs.
type rawPeer struct {
	*xmpp.Session
	x      *exchange.Exchange
	jingle *jingle.Handler
	ibb    *ibb.Transport
}

// newRawPeer logs bob in; act is what he does, until its context ends.
func newRawPeer(t *testing.T, s *xtlstest.Server, act func(ctx context.Context, p *rawPeer)) *rawPeer {
	t.Helper()
	if err := s.AddAccount("bob", "pw"); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	session, err := xmpp.NewClientSession(t.Context(), jid.MustParse("bob@localhost"), conn,
		xmpp.StartTLS(s.ClientTLS()), xmpp.SASL("", "pw", sasl.Plain), xmpp.BindResource())
	if err != nil {
		t.Fatal(err)
	}
	log := (&logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}).NewLogger("raw")
	p := &rawPeer{Session: session, x: exchange.New(session, log, nil)}
	if p.ibb, err = ibb.New(ibb.Config{Stanzas: p.x}); err != nil {
		t.Fatal(err)
	}
	if p.jingle, err = jingle.New(jingle.Config{Stanzas: p.x}); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- session.Serve(mux.New(stanza.NSClient, p.x.Handle(), jingle.Handle(p.jingle), ibb.Handle(p.ibb)))
	}()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		act(ctx, p)
	}()
	t.Cleanup(func() {
		cancel()
		p.jingle.Close(net.ErrClosed)
		p.ibb.Close(net.ErrClosed)
		<-done
		p.x.Close(net.ErrClosed)
		session.Close()
		conn.Close()
		<-served
	})
	return p
}

// A draftPeer speaks the plain draft and nothing of ours: it takes one tunnel and echoes.
type draftPeer struct {
	cert   tls.Certificate
	digest bool // announce a fingerprint
	binds  bool // claim to speak version 1, without doing what it demands
}

// take accepts one offer as draft-meyer §4 and §5 have it. It knows one transport.
func (p draftPeer) take(ctx context.Context, r *rawPeer) {
	js, err := r.jingle.Next(ctx)
	for err == nil && js.Offer().Transport.Name().Space != r.ibb.Namespace() {
		_ = js.Terminate(ctx, jingle.ReasonUnsupportedTransports, "")
		js, err = r.jingle.Next(ctx)
	}
	if err != nil {
		return
	}
	offer := js.Offer()
	security := `<security xmlns="urn:xmpp:jingle:security:xtls:0"><method name="x509"/></security>`
	if p.digest {
		security = `<security xmlns="urn:xmpp:jingle:security:xtls:0"><fingerprint algo="sha-256">` +
			fingerprint.Of(p.cert.Certificate[0]).String() + `</fingerprint><method name="x509"/></security>`
	}
	if p.binds {
		security = strings.Replace(security, `<method`, `<binding xmlns="urn:xmpp:xtls:1" version="1" nonce="`+
			base64.StdEncoding.EncodeToString(make([]byte, 32))+`"/><method`, 1)
	}
	sig := draftSignal{js, offer, security}
	carrier, err := r.ibb.Connect(ctx, &transport.Negotiation{Peer: js.Peer(), Signal: sig})
	if err != nil {
		return
	}
	conn := tls.Server(carrier, &tls.Config{Certificates: []tls.Certificate{p.cert}, ClientAuth: tls.RequireAnyClientCert})
	_, _ = io.Copy(conn, conn)
	_ = conn.Close()
	_ = js.Terminate(ctx, jingle.ReasonSuccess, "")
}

// A draftSignal puts the transport into session-accept.
type draftSignal struct {
	js       *jingle.Session
	offer    jingle.Content
	security string
}

func (s draftSignal) Send(ctx context.Context, payload []byte) error {
	return s.js.Accept(ctx, jingle.Content{Description: s.offer.Description, Transport: payload, Security: jingle.Element(s.security)})
}

func (s draftSignal) Recv(context.Context) (xml.TokenReader, error) {
	return s.offer.Transport.TokenReader(), nil
}

// TestDraftMode dials a client that speaks the plain draft.
func TestDraftMode(t *testing.T) {
	allow := func(jid.JID) bool { return true }
	tests := []struct {
		name   string
		digest bool
		change func(a *xtls.Config, bob fingerprint.Fingerprint)
		want   error
		level  xtls.Level
	}{
		{"unknown key", true, func(*xtls.Config, fingerprint.Fingerprint) {}, xtls.ErrNotSupported, 0},
		{"pinned key", true, func(a *xtls.Config, bob fingerprint.Fingerprint) {
			pin(t, a.Trust, "bob@localhost", bob, fingerprint.LevelPinned)
		}, nil, xtls.LevelPinned},
		{"pinned key, none announced", false, func(a *xtls.Config, bob fingerprint.Fingerprint) {
			pin(t, a.Trust, "bob@localhost", bob, fingerprint.LevelVerified)
		}, nil, xtls.LevelVerified},
		{"allowed by name", true, func(a *xtls.Config, _ fingerprint.Fingerprint) { a.AllowDraft = allow }, nil, xtls.LevelServerVouched},
		{"allowed by name, none announced", false, func(a *xtls.Config, _ fingerprint.Fingerprint) { a.AllowDraft = allow }, xtls.ErrNotSupported, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := xtlstest.NewServer(t, xtlstest.Config{})
			aCfg, bCfg := xtlstest.ClientConfig(t, s, "alice"), xtlstest.ClientConfig(t, s, "bob")
			tt.change(aCfg, keyOf(bCfg))
			bob := newRawPeer(t, s, draftPeer{bCfg.Certificate, tt.digest, false}.take)
			alice := xtlstest.NewClient(t, s, "alice", aCfg)
			a, err := alice.Dial(t.Context(), bob.LocalAddr(), xtls.Tunnel(""))
			if !errors.Is(err, tt.want) {
				t.Fatalf("Dial: %v, want %v", err, tt.want)
			}
			if err != nil {
				return
			}
			defer a.Close()
			if st := a.State(); !st.Draft || st.Level != tt.level {
				t.Errorf("state %+v, want draft mode at level %s", st, tt.level)
			}
			if got, err := exchangeData(a, aliceSays); err != nil || !bytes.Equal(got, aliceSays) {
				t.Errorf("echoed %d octets, %v", len(got), err)
			}
		})
	}
}

// TestSilentPeer dials a peer that claims to speak version 1 and then says nothing
// about ALPN, which crypto/tls lets pass.
func TestSilentPeer(t *testing.T) {
	s := xtlstest.NewServer(t, xtlstest.Config{})
	bCfg := xtlstest.ClientConfig(t, s, "bob")
	bob := newRawPeer(t, s, draftPeer{bCfg.Certificate, true, true}.take)
	alice := xtlstest.NewClient(t, s, "alice", xtlstest.ClientConfig(t, s, "alice"))
	ctx, cancel := context.WithTimeout(t.Context(), testTime)
	defer cancel()
	if _, err := alice.Dial(ctx, bob.LocalAddr(), xtls.Tunnel("")); !errors.Is(err, xtls.ErrTampered) {
		t.Errorf("Dial: %v, want ErrTampered", err)
	}
}

// TestDowngrade has a server make two clients of version 1 believe that the other
// speaks the plain draft. Pinned keys are no reason to go on: the service, for one,
// would not be protected.
func TestDowngrade(t *testing.T) {
	for name, tamper := range map[string]xtlstest.Tamper{
		"both":                 xtlstest.StripBinding(),
		"offer, other service": only(`session-initiate`, xtlstest.Chain(xtlstest.StripBinding(), xtlstest.RedirectService("admin"))),
	} {
		t.Run(name, func(t *testing.T) {
			s := xtlstest.NewServer(t, xtlstest.Config{Tamper: tamper})
			aCfg, bCfg := xtlstest.ClientConfig(t, s, "alice"), xtlstest.ClientConfig(t, s, "bob")
			pin(t, aCfg.Trust, "bob@localhost", keyOf(bCfg), fingerprint.LevelVerified)
			pin(t, bCfg.Trust, "alice@localhost", keyOf(aCfg), fingerprint.LevelVerified)
			r := try(t, xtlstest.NewClient(t, s, "alice", aCfg), xtlstest.NewClient(t, s, "bob", bCfg))
			if !errors.Is(r.dial, xtls.ErrTampered) && !errors.Is(r.dial, xtls.ErrPeerAlarm) {
				t.Errorf("Dial: %v, want an alarm", r.dial)
			}
			if len(r.gotAToB)+len(r.gotBToA) > 0 {
				t.Error("something was delivered")
			}
		})
	}
}

// TestDishonestSignalling tampers with what only the two ends of the extended mode
// send each other.
func TestDishonestSignalling(t *testing.T) {
	for name, tamper := range map[string]xtlstest.Tamper{
		"binding stripped from the answer": only(`session-accept`, xtlstest.StripBinding()),
		"binding stripped from the offer":  only(`session-initiate`, xtlstest.StripBinding()),
		"nonce changed":                    only(`session-accept`, instead(`nonce='....`, `nonce='AAAA`)),
		"confirmation repeated":            only(`<control`, twice),
		"confirmation renumbered":          only(`<control`, instead(`seq='0'`, `seq='1'`)),
		"another method":                   only(`<control`, instead(`<control.*</control>`, `<method name="srp"/>`)),
		"another description":              only(`session-accept`, instead(`<description`, `<description service='x'`)),
		"another version":                  only(`session-accept`, instead(`version='1' `, `version='2' `)),
	} {
		t.Run(name, func(t *testing.T) {
			p := xtlstest.NewPair(t, xtlstest.Config{Security: securityOf(t), Tamper: tamper})
			r := try(t, p.Alice, p.Bob)
			// A confirmation that is repeated may come when the tunnel stands already.
			err := errors.Join(r.dial, r.accept, r.aToB, r.bToA)
			if !errors.Is(err, xtls.ErrTampered) && !errors.Is(err, xtls.ErrControl) && !errors.Is(err, xtls.ErrPeerAlarm) && !errors.Is(err, xtls.ErrNotSupported) {
				t.Errorf("errors: %v", err)
			}
			if !bytes.HasPrefix(aliceSays, r.gotAToB) || !bytes.HasPrefix(bobSays, r.gotBToA) {
				t.Error("something was delivered that was not sent")
			}
		})
	}
}
