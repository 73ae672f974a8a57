// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/logging"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/fingerprint"
	"example.org/xtls/jingle"
	"example.org/xtls/transport/ibb"
	"example.org/xtls/transport/s5b"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// TestPath opens tunnels between ends that allow different ways.
func TestPath(t *testing.T) {
	noProxy := xtlstest.Config{Proxy: xtlstest.ProxyOff}
	const auto, inBand, relay, direct = xtls.PathAuto, xtls.PathInBand, xtls.PathRelay, xtls.PathDirect
	tests := []struct {
		name       string
		server     xtlstest.Config
		stranger   bool // the two do not know each other yet
		alice, bob xtls.Path
		want       string // path, "" if there is none
		detour     bool
	}{
		{name: "auto", want: "direct"},
		{name: "strangers", stranger: true, want: "inband"},
		{name: "strangers, direct", stranger: true, alice: direct, bob: direct},
		{name: "in-band here", alice: inBand, want: "inband"},
		{name: "in-band there", bob: inBand, want: "inband", detour: true},
		{name: "relay here", alice: relay, want: "relay"},
		{name: "relay there", bob: relay, want: "relay"},
		{name: "relay without a proxy", server: noProxy, alice: relay},
		{name: "relay there without a proxy", server: noProxy, bob: relay},
		{name: "relay that refuses", server: xtlstest.Config{Proxy: xtlstest.ProxyRefuses}, alice: relay},
		{name: "relay that forbids", server: xtlstest.Config{Proxy: xtlstest.ProxyForbids}, bob: relay},
		{name: "direct", alice: direct, bob: direct, want: "direct"},
		{name: "direct here, relay there", alice: direct, bob: relay},
		{name: "direct here, in-band there", alice: direct, bob: inBand},
		{name: "in-band here, direct there", alice: inBand, bob: direct},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := xtlstest.NewServer(t, tt.server)
			aCfg, bCfg := xtlstest.ClientConfig(t, s, "alice"), xtlstest.ClientConfig(t, s, "bob")
			aCfg.Path, bCfg.Path = tt.alice, tt.bob
			if !tt.stranger {
				pin(t, aCfg.Trust, "bob@localhost", keyOf(bCfg), fingerprint.LevelPinned)
				pin(t, bCfg.Trust, "alice@localhost", keyOf(aCfg), fingerprint.LevelPinned)
			}
			alice, bob := xtlstest.NewClient(t, s, "alice", aCfg), xtlstest.NewClient(t, s, "bob", bCfg)
			if tt.want == "" {
				r := try(t, alice, bob)
				if !errors.Is(r.dial, xtls.ErrNoPath) && !errors.Is(r.dial, xtls.ErrUnverified) && !errors.Is(r.dial, xtls.ErrNotSupported) {
					t.Errorf("Dial: %v, want that there is no path", r.dial)
				}
				return
			}
			a, b := xtlstest.Tunnel(t, alice, bob)
			for _, s := range []xtls.State{a.State(), b.State()} {
				if s.Transport != tt.want || (s.Detour != "") != tt.detour {
					t.Errorf("path %q, detour %q; want %q, detour %t", s.Transport, s.Detour, tt.want, tt.detour)
				}
			}
			sent := make(chan error, 1)
			go func() {
				_, err := exchangeData(b, bobSays)
				sent <- err
			}()
			if got, err := exchangeData(a, aliceSays); err != nil || !bytes.Equal(got, bobSays) {
				t.Errorf("%d octets, %v", len(got), err)
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
			_, _ = a.Close(), b.Close()
		})
	}
}

// acquainted are the configurations of two clients of s that have pinned each other and take one path.
func acquainted(t *testing.T, s *xtlstest.Server, path xtls.Path) (alice, bob *xtls.Config) {
	t.Helper()
	alice, bob = xtlstest.ClientConfig(t, s, "alice"), xtlstest.ClientConfig(t, s, "bob")
	alice.Path, bob.Path = path, path
	pin(t, alice.Trust, "bob@localhost", keyOf(bob), fingerprint.LevelPinned)
	pin(t, bob.Trust, "alice@localhost", keyOf(alice), fingerprint.LevelPinned)
	return alice, bob
}

// TestProxiesAtLogin: relays are looked for before anybody wants one.
func TestProxiesAtLogin(t *testing.T) {
	for _, path := range []xtls.Path{xtls.PathAuto, xtls.PathRelay} {
		t.Run(path.String(), func(t *testing.T) {
			s := xtlstest.NewServer(t, xtlstest.Config{})
			cfg := xtlstest.ClientConfig(t, s, "alice")
			cfg.Path = path
			log := make(lines, 100)
			cfg.LoggerFactory = &logging.DefaultLoggerFactory{Writer: log, ScopeLevels: map[string]logging.LogLevel{"s5b": logging.LogLevelDebug}}
			alice := xtlstest.NewClient(t, s, "alice", cfg)
			select {
			case line := <-log:
				if !strings.Contains(line, "1 SOCKS5 proxies") {
					t.Errorf("%q", line)
				}
			case <-time.After(testTime):
				t.Fatal("nothing is looked for")
			}
			proxies, err := alice.Proxies(t.Context())
			if err != nil || len(proxies) != 1 || proxies[0].Addr() != s.ProxyAddr() {
				t.Errorf("Proxies = %v, %v, want %s", proxies, err, s.ProxyAddr())
			}
		})
	}
}

// lines takes what a logger writes.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// TestCloseDelivers closes a tunnel, and the session, before the peer has read anything: beside
// the stanzas, the end of the session overtakes what is still on its way.
func TestCloseDelivers(t *testing.T) {
	for _, path := range []xtls.Path{xtls.PathInBand, xtls.PathRelay, xtls.PathDirect} {
		t.Run(path.String(), func(t *testing.T) {
			t.Parallel()
			s := xtlstest.NewServer(t, xtlstest.Config{})
			aCfg, bCfg := acquainted(t, s, path)
			alice, bob := xtlstest.NewClient(t, s, "alice", aCfg), xtlstest.NewClient(t, s, "bob", bCfg)
			a, b := xtlstest.Tunnel(t, alice, bob)
			closed := make(chan error, 1)
			go func() {
				_, err := a.Write(aliceSays)
				closed <- errors.Join(err, a.Close(), alice.Close())
			}()
			<-b.Done()
			got, err := io.ReadAll(b)
			if err != nil || !bytes.Equal(got, aliceSays) {
				t.Errorf("read %d octets of %d, %v", len(got), len(aliceSays), err)
			}
			// Who has read everything is not waited for, though it closes later.
			read := time.Now()
			if err := <-closed; err != nil {
				t.Error(err)
			}
			if took := time.Since(read); took > lingerTime/2 {
				t.Errorf("the one that closed left after %v", took)
			}
			_ = b.Close()
		})
	}
}

// lingerTime is how long a closed carrier waits for a peer that does not read.
const lingerTime = 5 * time.Second

// TestCloseUnderLimit: two tunnels share what a server allows their account, so that an answer takes
// longer than usual. Nothing of what was written before Close is lost.
func TestCloseUnderLimit(t *testing.T) {
	t.Parallel()
	s := xtlstest.NewServer(t, xtlstest.Config{RateLimit: 3000})
	aCfg, bCfg := acquainted(t, s, xtls.PathInBand)
	alice, bob := xtlstest.NewClient(t, s, "alice", aCfg), xtlstest.NewClient(t, s, "bob", bCfg)
	says := aliceSays[:24_000]
	var running sync.WaitGroup
	for range 2 {
		a, b := xtlstest.Tunnel(t, alice, bob)
		running.Go(func() {
			if _, err := a.Write(says); err != nil {
				t.Error(err)
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		})
		running.Go(func() {
			if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, says) {
				t.Errorf("%d octets, %v", len(got), err)
			}
		})
	}
	running.Wait()
}

// TestCloseDeliversLate closes a tunnel whose other end reads nothing until this one has left
// altogether, and writes in between: what was closed in order is read to the end even so.
func TestCloseDeliversLate(t *testing.T) {
	for _, path := range []xtls.Path{xtls.PathRelay, xtls.PathDirect} {
		t.Run(path.String(), func(t *testing.T) {
			t.Parallel()
			s := xtlstest.NewServer(t, xtlstest.Config{})
			aCfg, bCfg := acquainted(t, s, path)
			alice, bob := xtlstest.NewClient(t, s, "alice", aCfg), xtlstest.NewClient(t, s, "bob", bCfg)
			a, b := xtlstest.Tunnel(t, alice, bob)
			says := aliceSays[:lateSize]
			if _, err := a.Write(says); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(a.Close(), alice.Close()); err != nil {
				t.Fatal(err)
			}
			<-b.Done()
			if _, err := b.Write([]byte("too late")); !errors.Is(err, xtls.ErrLost) {
				t.Errorf("Write = %v, want ErrLost", err)
			}
			if err := b.CloseWrite(); err != nil {
				t.Errorf("CloseWrite = %v", err)
			}
			got, err := io.ReadAll(b)
			if err != nil || !bytes.Equal(got, says) {
				t.Errorf("read %d octets of %d, %v", len(got), len(says), err)
			}
			_ = b.Close()
		})
	}
}

// lateSize is more than what a system takes for a reader that does not read, and less than what
// Write may leave to the systems in between.
const lateSize = 128 << 10

// A script is what a peer with a defect does in one session.
type script struct {
	*rawPeer
	js   *jingle.Session
	cert fingerprint.Fingerprint
}

// security is a complete offer or answer of version 1.
func (s script) security() jingle.Element {
	return jingle.Element(`<security xmlns="urn:xmpp:jingle:security:xtls:0"><fingerprint algo="sha-256">` + s.cert.String() +
		`</fingerprint><method name="x509"/><binding xmlns="urn:xmpp:xtls:1" version="1" nonce="` +
		base64.StdEncoding.EncodeToString(make([]byte, 32)) + `"/></security>`)
}

// accept answers the offer with a transport.
func (s script) accept(ctx context.Context, transport string) error {
	return s.js.Accept(ctx, jingle.Content{Description: s.js.Offer().Description, Transport: jingle.Element(transport), Security: s.security()})
}

// noCandidates gives S5B up at this end: it has nothing to offer and reached nothing.
func (s script) noCandidates(ctx context.Context) error {
	return s.js.Send(ctx, jingle.ActionTransportInfo, jingle.Content{Transport: jingle.Element(s.s5b(`<candidate-error/>`))})
}

// s5b is a <transport/> for the stream that was offered.
func (s script) s5b(inner string) string {
	return fmt.Sprintf(`<transport xmlns="%s" sid="%s">%s</transport>`, s5b.NSJingle, attr(s.js.Offer().Transport, "sid"), inner)
}

// attr is an attribute of an element.
func attr(e jingle.Element, name string) string {
	_, rest, _ := strings.Cut(string(e), " "+name+"=")
	return strings.SplitN(rest, rest[:1], 3)[1]
}

// recv waits for an action.
func (s script) recv(ctx context.Context, want jingle.Action) (jingle.Content, error) {
	for {
		m, err := s.js.Recv(ctx)
		if err != nil || m.Action == want {
			return content(m), err
		}
	}
}

func content(m *jingle.Message) jingle.Content {
	if m == nil {
		return jingle.Content{}
	}
	return m.Contents[0]
}

// TestFallbackFailures replays how other clients failed to fall back from S5B to IBB, and hung
// (users of Conversations, Gajim and Dino told of it). Here every one ends, with a sentence.
func TestFallbackFailures(t *testing.T) {
	tests := []struct {
		name string
		act  func(ctx context.Context, s script) error
		want string // in the error
	}{
		{"session-accept where transport-accept belongs (Conversations 3445)", func(ctx context.Context, s script) error {
			if err := errors.Join(s.accept(ctx, s.s5b("")), s.noCandidates(ctx)); err != nil {
				return err
			}
			c, err := s.recv(ctx, jingle.ActionTransportReplace)
			if err != nil {
				return err
			}
			_, err = s.x.Request(ctx, stanza.SetIQ, s.js.Peer(), fmt.Appendf(nil,
				`<jingle xmlns="%s" action="session-accept" sid="%s"><content creator="initiator" name="%s">%s%s%s</content></jingle>`,
				jingle.NS, s.js.ID(), s.js.Offer().Name, s.js.Offer().Description, c.Transport, s.security()))
			if se := (stanza.Error{}); !errors.As(err, &se) || se.Condition != stanza.UnexpectedRequest {
				return fmt.Errorf("a second session-accept was answered with %w", err)
			}
			return nil
		}, "did not answer the change of path within"},
		{"no transport-replace by the one who must (Conversations 3515)", nil, "proposed no other path within"},
		{"larger block-size and no sid in transport-accept (Conversations 3514)", func(ctx context.Context, s script) error {
			if err := errors.Join(s.accept(ctx, s.s5b("")), s.noCandidates(ctx)); err != nil {
				return err
			}
			if _, err := s.recv(ctx, jingle.ActionTransportReplace); err != nil {
				return err
			}
			return s.js.Send(ctx, jingle.ActionTransportAccept, jingle.Content{
				Transport: jingle.Element(fmt.Sprintf(`<transport xmlns="%s" block-size="8192"/>`, ibb.NSJingle)),
			})
		}, "sid"},
		{"S5B in the answer to an offer of IBB (Conversations 3478)", func(ctx context.Context, s script) error {
			return s.accept(ctx, fmt.Sprintf(`<transport xmlns="%s" sid="x"/>`, s5b.NSJingle))
		}, "answered with transport"},
		{"transport-reject", func(ctx context.Context, s script) error {
			if err := errors.Join(s.accept(ctx, s.s5b("")), s.noCandidates(ctx)); err != nil {
				return err
			}
			c, err := s.recv(ctx, jingle.ActionTransportReplace)
			if err != nil {
				return err
			}
			return s.js.Send(ctx, jingle.ActionTransportReject, jingle.Content{Transport: c.Transport})
		}, "refused to change the path"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := xtlstest.NewServer(t, xtlstest.Config{})
			aCfg, bCfg := xtlstest.ClientConfig(t, s, "alice"), xtlstest.ClientConfig(t, s, "bob")
			pin(t, aCfg.Trust, "bob@localhost", keyOf(bCfg), fingerprint.LevelPinned)
			if strings.Contains(tt.name, "IBB") {
				aCfg.Path = xtls.PathInBand
			}
			alice := xtlstest.NewClient(t, s, "alice", aCfg)
			ctx, cancel := context.WithTimeout(t.Context(), testTime)
			defer cancel()
			did := make(chan error, 1)
			if tt.act == nil {
				l, err := alice.Listen()
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				newRawPeer(t, s, func(ctx context.Context, p *rawPeer) {
					did <- offerWithoutReplace(ctx, p, alice.LocalAddr(), keyOf(bCfg))
				})
				o, err := l.Next(ctx)
				if err != nil {
					t.Fatal(err)
				}
				_, err = o.Accept(ctx)
				checkFallback(t, err, tt.want)
			} else {
				bob := newRawPeer(t, s, func(ctx context.Context, p *rawPeer) {
					js, err := p.jingle.Next(ctx)
					if err == nil {
						err = tt.act(ctx, script{p, js, keyOf(bCfg)})
					}
					did <- err
				})
				_, err := alice.Dial(ctx, bob.LocalAddr(), xtls.Tunnel(""))
				checkFallback(t, err, tt.want)
			}
			var ended *jingle.EndError // in the middle of what it did
			if err := <-did; err != nil && !errors.As(err, &ended) {
				t.Errorf("the peer: %v", err)
			}
		})
	}
}

func checkFallback(t *testing.T, err error, want string) {
	t.Helper()
	if !errors.Is(err, xtls.ErrNoPath) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v\nwant ErrNoPath and %q", err, want)
	}
}

// offerWithoutReplace offers S5B, gives it up, and does nothing more.
func offerWithoutReplace(ctx context.Context, p *rawPeer, to jid.JID, cert fingerprint.Fingerprint) error {
	s, err := offerS5B(ctx, p, to, cert)
	if err == nil {
		err = s.noCandidates(ctx)
	}
	return err
}

// offerS5B offers S5B and waits for the answer.
func offerS5B(ctx context.Context, p *rawPeer, to jid.JID, cert fingerprint.Fingerprint) (script, error) {
	s := script{rawPeer: p, cert: cert}
	js, err := p.jingle.Initiate(ctx, to, jingle.Content{
		Creator: "initiator", Name: "xtls",
		Description: jingle.Element(`<description xmlns="urn:xmpp:xtls:tunnel:1"/>`),
		Transport:   jingle.Element(`<transport xmlns="` + s5b.NSJingle + `" sid="x"/>`), Security: s.security(),
	})
	if err != nil {
		return s, err
	}
	s.js = js
	_, err = s.recv(ctx, jingle.ActionSessionAccept)
	return s, err
}

// TestReplaceTwice: a second transport-replace is rejected, and the session ends once what the first one
// proposed has failed: nobody holds a place, or has this end look for paths, for as long as they like.
func TestReplaceTwice(t *testing.T) {
	s := xtlstest.NewServer(t, xtlstest.Config{})
	aCfg, bCfg := xtlstest.ClientConfig(t, s, "alice"), xtlstest.ClientConfig(t, s, "bob")
	pin(t, aCfg.Trust, "bob@localhost", keyOf(bCfg), fingerprint.LevelPinned)
	alice := xtlstest.NewClient(t, s, "alice", aCfg)
	l, err := alice.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), testTime)
	defer cancel()
	did := make(chan error, 1)
	newRawPeer(t, s, func(ctx context.Context, p *rawPeer) {
		did <- func() error {
			s, err := offerS5B(ctx, p, alice.LocalAddr(), keyOf(bCfg))
			if err != nil {
				return err
			}
			for i, want := range []jingle.Action{jingle.ActionTransportAccept, jingle.ActionTransportReject, jingle.ActionTransportReject} {
				err := s.js.Send(ctx, jingle.ActionTransportReplace, jingle.Content{
					Transport: jingle.Element(fmt.Sprintf(`<transport xmlns="%s" sid="s%d"/>`, s5b.NSJingle, i)),
				})
				if err != nil {
					return err
				}
				if _, err := s.recv(ctx, want); err != nil {
					return fmt.Errorf("%s: %w", want, err)
				}
			}
			return s.js.Send(ctx, jingle.ActionTransportInfo, jingle.Content{
				Transport: jingle.Element(fmt.Sprintf(`<transport xmlns="%s" sid="s0"><candidate-error/></transport>`, s5b.NSJingle)),
			})
		}()
	})
	o, err := l.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, err = o.Accept(ctx)
	checkFallback(t, err, "no candidate")
	if err := <-did; err != nil {
		t.Error(err)
	}
}

// TestAlarmOnAnyPath: verifying ends in a mismatch. The end that reads learns that it was one,
// although the carrier ends before the session does.
func TestAlarmOnAnyPath(t *testing.T) {
	for _, path := range []xtls.Path{xtls.PathInBand, xtls.PathRelay, xtls.PathDirect} {
		t.Run(path.String(), func(t *testing.T) {
			t.Parallel()
			s := xtlstest.NewServer(t, xtlstest.Config{Latency: 20 * time.Millisecond})
			aCfg, bCfg := acquainted(t, s, path)
			aCfg.Verify = func(_ context.Context, v *xtls.Verification) (xtls.Level, error) {
				return v.Compare(strings.Repeat("ab", 32))
			}
			a, b := xtlstest.Tunnel(t, xtlstest.NewClient(t, s, "alice", aCfg), xtlstest.NewClient(t, s, "bob", bCfg))
			read := make(chan error, 1)
			go func() {
				_, err := b.Read(make([]byte, 1))
				read <- err
			}()
			if _, err := a.Verify(t.Context()); !errors.Is(err, xtls.ErrMismatch) {
				t.Errorf("Verify: %v, want ErrMismatch", err)
			}
			if err := <-read; !errors.Is(err, xtls.ErrPeerAlarm) {
				t.Errorf("Read: %v, want ErrPeerAlarm", err)
			}
			_, _ = a.Close(), b.Close()
		})
	}
}
