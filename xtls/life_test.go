// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mellium.im/sasl"
	"mellium.im/xmpp"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

func TestNobodyThere(t *testing.T) {
	p := xtlstest.NewPair(t, xtlstest.Config{Security: securityOf(t)})
	for name, peer := range map[string]string{
		"offline":       "bob@localhost/nowhere",
		"unknown":       "nobody@localhost/x",
		"not listening": p.Bob.LocalAddr().String(),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.Alice.Dial(t.Context(), jid.MustParse(peer), xtls.Tunnel(""))
			want := xtls.ErrPeerUnavailable
			if name == "not listening" {
				want = xtls.ErrNotSupported
			}
			if !errors.Is(err, want) {
				t.Errorf("Dial: %v, want %v", err, want)
			}
		})
	}
	if _, err := p.Alice.Dial(t.Context(), p.Bob.LocalAddr().Bare(), xtls.Tunnel("")); err == nil {
		t.Error("dialled a bare JID")
	}
	if _, err := p.Alice.Dial(t.Context(), p.Bob.LocalAddr(), xtls.Tunnel("No Such Name")); err == nil {
		t.Error("dialled a malformed service")
	}
}

func TestFind(t *testing.T) {
	p := xtlstest.NewPair(t, xtlstest.Config{Security: securityOf(t)})
	ctx := t.Context()
	bob := p.Bob.LocalAddr().Bare()
	if found, err := p.Alice.Find(ctx, bob, xtls.Tunnel("")); !errors.Is(err, xtls.ErrPeerUnavailable) {
		t.Errorf("nobody listens: found %v, %v", found, err)
	}
	second := xtlstest.NewClient(t, p.Server, "bob", xtlstest.ClientConfig(t, p.Server, "bob"))
	for i, c := range []*xtls.Client{p.Bob, second} {
		l, err := c.Listen()
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		found, err := p.Alice.Find(ctx, bob, xtls.Tunnel("web"))
		if err != nil || len(found) != i+1 {
			t.Errorf("%d listen: found %v, %v", i+1, found, err)
		}
	}
}

func TestDecline(t *testing.T) {
	p := xtlstest.NewPair(t, xtlstest.Config{Security: securityOf(t)})
	l, err := p.Bob.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if o, err := l.Next(t.Context()); err == nil {
			_ = o.Reject(t.Context())
		}
	}()
	if _, err := p.Alice.Dial(t.Context(), p.Bob.LocalAddr(), xtls.Tunnel("")); !errors.Is(err, xtls.ErrDeclined) {
		t.Errorf("Dial: %v, want ErrDeclined", err)
	}
}

// TestDialCancelled cancels a Dial whose peer does not decide; the offer is
// withdrawn at the peer.
func TestDialCancelled(t *testing.T) {
	p := xtlstest.NewPair(t, xtlstest.Config{Security: securityOf(t)})
	l, err := p.Bob.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	accepted := make(chan error, 1)
	go func() {
		o, err := l.Next(t.Context())
		if err != nil {
			accepted <- err
			return
		}
		cancel()
		// Bob's user decides too late.
		<-time.After(50 * time.Millisecond)
		_, err = o.Accept(t.Context())
		accepted <- err
	}()
	if _, err := p.Alice.Dial(ctx, p.Bob.LocalAddr(), xtls.Tunnel("")); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial: %v, want context.Canceled", err)
	}
	if err := <-accepted; err == nil {
		t.Error("an offer that was withdrawn could be accepted")
	}
}

// TestConnectCancelled connects to a server that says nothing.
func TestConnectCancelled(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := xtlstest.NewServer(t, xtlstest.Config{})
	for _, scheme := range []string{"", "xmpps://"} {
		cfg := xtlstest.ClientConfig(t, s, "alice")
		cfg.Server = scheme + l.Addr().String()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		start := time.Now()
		_, err := xtls.Connect(ctx, jid.MustParse("alice@localhost"), "x", cfg)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%q: %v, want DeadlineExceeded", scheme, err)
		}
		if d := time.Since(start); d > testTime/4 {
			t.Errorf("%q: it took %v", scheme, d)
		}
	}
}

func TestLogin(t *testing.T) {
	s := xtlstest.NewServer(t, xtlstest.Config{Accounts: map[string]string{"alice": "right"}})
	other := xtlstest.NewServer(t, xtlstest.Config{})
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	go servePlain(plain)
	tests := []struct {
		name, jid, password, server string
		change                      func(*xtls.Config)
		want                        error // nil: succeeds; errAny: any error
	}{
		{"starttls", "alice@localhost", "right", s.Addr(), nil, nil},
		{"direct TLS", "alice@localhost", "right", "xmpps://" + s.DirectAddr(), nil, nil},
		{"resource", "alice@localhost/desk", "right", s.Addr(), nil, nil},
		{"wrong password", "alice@localhost", "wrong", s.Addr(), nil, xtls.ErrLogin},
		{"unknown account", "eve@localhost", "right", s.Addr(), nil, xtls.ErrLogin},
		{"no TLS offered", "alice@localhost", "right", plain.Addr().String(), nil, xtls.ErrNoTLS},
		{"certificate of another authority", "alice@localhost", "right", s.Addr(), func(c *xtls.Config) { c.ServerTLS = other.ClientTLS() }, errAny},
		{"the same, direct", "alice@localhost", "right", "xmpps://" + s.DirectAddr(), func(c *xtls.Config) { c.ServerTLS = other.ClientTLS() }, errAny},
		{"certificate of another name", "alice@elsewhere.example", "right", s.Addr(), nil, errAny},
		{"nobody listens", "alice@localhost", "right", "127.0.0.1:1", nil, errAny},
		{"malformed address", "alice@localhost", "right", "localhost", nil, errAny},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := xtlstest.ClientConfig(t, s, "alice")
			cfg.Server = tt.server
			if tt.change != nil {
				tt.change(cfg)
			}
			c, err := xtls.Connect(t.Context(), jid.MustParse(tt.jid), tt.password, cfg)
			if err == nil {
				defer c.Close()
			}
			if (err == nil) != (tt.want == nil) || (tt.want != errAny && !errors.Is(err, tt.want)) {
				t.Fatalf("Connect: %v, want %v", err, tt.want)
			}
			if want := jid.MustParse(tt.jid).Resourcepart(); err == nil && want != "" && c.LocalAddr().Resourcepart() != want {
				t.Errorf("bound %s, asked for %s", c.LocalAddr(), tt.jid)
			}
		})
	}
}

var errAny = errors.New("any error")

// servePlain is a server without TLS, which would take a password in clear.
func servePlain(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1' from='localhost' version='1.0'>`+
			`<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>`)
		var got strings.Builder
		for !strings.Contains(got.String(), "starttls") {
			b := make([]byte, 100)
			n, err := c.Read(b)
			if got.Write(b[:n]); err != nil || strings.Contains(got.String(), "<auth") {
				panic("the client went on without TLS: " + got.String())
			}
		}
		_, _ = io.WriteString(c, `<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>`)
		c.Close()
	}
}

// TestServerGone cuts the connection of one end under a tunnel.
func TestServerGone(t *testing.T) {
	p := xtlstest.NewPair(t, xtlstest.Config{Security: securityOf(t)})
	a, b := xtlstest.Tunnel(t, p.Alice, p.Bob)
	p.Server.Kill(p.Alice.LocalAddr())
	_, err := a.Read(make([]byte, 1))
	if !errors.Is(err, xtls.ErrLost) || !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		t.Errorf("Read at the end that was cut: %v, want ErrLost and io.ErrUnexpectedEOF", err)
	}
	<-p.Alice.Done()
	if !errors.Is(p.Alice.Err(), xtls.ErrLost) {
		t.Errorf("Client.Err: %v, want ErrLost", p.Alice.Err())
	}
	if _, err := p.Alice.Dial(t.Context(), p.Bob.LocalAddr(), xtls.Tunnel("")); !errors.Is(err, xtls.ErrLost) {
		t.Errorf("Dial on a lost session: %v, want ErrLost", err)
	}
	// The other end notices at its next block.
	for err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		if _, err = b.Write(make([]byte, 4096)); err != nil {
			break
		}
	}
	if !errors.Is(err, xtls.ErrLost) {
		t.Errorf("Write at the other end: %v, want ErrLost", err)
	}
}

func TestConnSemantics(t *testing.T) {
	p := xtlstest.NewPair(t, xtlstest.Config{Security: securityOf(t)})
	a, b := xtlstest.Tunnel(t, p.Alice, p.Bob)
	one := make([]byte, 1)

	_ = a.SetReadDeadline(time.Now().Add(-time.Second))
	_, err := a.Read(one)
	var timeout net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("Read after the deadline: %v, want os.ErrDeadlineExceeded", err)
	}
	_ = a.SetReadDeadline(time.Time{})
	if _, err := b.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(a, one); err != nil || one[0] != 'x' {
		t.Errorf("Read after the deadline was lifted: %q, %v", one, err)
	}

	// Half-close: a says that it is done, b still sends.
	if err := a.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read(one); err != io.EOF {
		t.Errorf("Read after the peer's CloseWrite: %v, want io.EOF", err)
	}
	if _, err := b.Write([]byte("y")); err != nil {
		t.Errorf("Write after the peer's CloseWrite: %v", err)
	}
	if _, err := io.ReadFull(a, one); err != nil || one[0] != 'y' {
		t.Errorf("Read after the own CloseWrite: %q, %v", one, err)
	}

	blocked := make(chan error, 1)
	go func() {
		_, err := a.Read(make([]byte, 1))
		blocked <- err
	}()
	if err := a.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-blocked; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read during Close: %v, want net.ErrClosed", err)
	}
	if err := a.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v, want net.ErrClosed", err)
	}
	if _, err := a.Write(one); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close: %v, want net.ErrClosed", err)
	}
	if a.RemoteAddr().String() != p.Bob.LocalAddr().String() || a.LocalAddr().Network() != "xmpp" {
		t.Errorf("addresses: %v, %v", a.LocalAddr(), a.RemoteAddr())
	}
}

// TestAbort ends a tunnel without a goodbye.
func TestAbort(t *testing.T) {
	p := xtlstest.NewPair(t, xtlstest.Config{Security: securityOf(t)})
	a, b := xtlstest.Tunnel(t, p.Alice, p.Bob)
	if _, err := a.Write([]byte("the first half")); err != nil {
		t.Fatal(err)
	}
	half := make([]byte, 14)
	if _, err := io.ReadFull(b, half); err != nil {
		t.Fatal(err)
	}
	a.Abort()
	if _, err := b.Read(half); !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, xtls.ErrLost) {
		t.Errorf("Read after the peer's Abort: %v, want ErrLost and io.ErrUnexpectedEOF", err)
	}
	<-b.Done()
	if _, err := a.Read(half); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read after the own Abort: %v, want net.ErrClosed", err)
	}
	a.Abort()
	if err := a.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Close after Abort: %v, want net.ErrClosed", err)
	}
}

// TestHTTP runs a stock HTTP server and client over tunnels, several at once.
func TestHTTP(t *testing.T) {
	p := xtlstest.NewPair(t, xtlstest.Config{Security: securityOf(t)})
	l, err := p.Bob.Listen()
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, io.MultiReader(strings.NewReader(r.RemoteAddr+" "), r.Body))
	})}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return p.Alice.Dial(ctx, p.Bob.LocalAddr(), xtls.Tunnel("web"))
		},
	}
	client := &http.Client{Transport: transport}
	results := make(chan error, 4)
	for range cap(results) {
		go func() {
			resp, err := client.Post("http://bob/", "text/plain", strings.NewReader("hello"))
			if err == nil {
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if want := p.Alice.LocalAddr().String() + " hello"; string(body) != want {
					err = errors.New("got " + string(body) + ", want " + want)
				}
			}
			results <- err
		}()
	}
	for range cap(results) {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	transport.CloseIdleConnections()
	srv.Close()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v, want net.ErrClosed", err)
	}
}

// TestAcceptIsFair has one peer fill its share of a Listener's slots, with offers
// that wait for bob's user; another peer still gets in.
func TestAcceptIsFair(t *testing.T) {
	s := xtlstest.NewServer(t, xtlstest.Config{})
	cfg := xtlstest.ClientConfig(t, s, "bob")
	cfg.Verify = func(ctx context.Context, v *xtls.Verification) (xtls.Level, error) {
		if v.Peer.Localpart() == "carol" {
			return xtls.LevelServerVouched, nil
		}
		<-ctx.Done()
		return xtls.LevelNone, context.Cause(ctx)
	}
	bob := xtlstest.NewClient(t, s, "bob", cfg)
	alice := xtlstest.NewClient(t, s, "alice", xtlstest.ClientConfig(t, s, "alice"))
	carol := xtlstest.NewClient(t, s, "carol", xtlstest.ClientConfig(t, s, "carol"))
	l, err := bob.Listen()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	results := make(chan error, 5)
	for range cap(results) {
		go func() {
			_, err := alice.Dial(ctx, bob.LocalAddr(), xtls.Tunnel(""))
			results <- err
		}()
	}
	if err := <-results; !errors.Is(err, xtls.ErrDeclined) {
		t.Errorf("one over the share: %v, want ErrDeclined", err)
	}
	c, err := carol.Dial(ctx, bob.LocalAddr(), xtls.Tunnel(""))
	if err != nil {
		t.Errorf("another peer: %v", err)
	} else {
		c.Close()
	}
	cancel()
	for range cap(results) - 1 {
		if err := <-results; err == nil {
			t.Error("a tunnel that nobody allowed")
		}
	}
}

// TestOwnSession runs tunnels on sessions that the application made itself.
func TestOwnSession(t *testing.T) {
	s := xtlstest.NewServer(t, xtlstest.Config{Accounts: map[string]string{"carol": "pw", "dave": "pw"}})
	carol, dave := ownSession(t, s, "carol"), ownSession(t, s, "dave")
	r := try(t, carol, dave)
	if r.dial != nil || r.accept != nil || r.aToB != nil || r.bToA != nil {
		t.Errorf("%+v", r)
	}
}

func ownSession(t *testing.T, s *xtlstest.Server, name string) *xtls.Client {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	session, err := xmpp.NewClientSession(t.Context(), jid.MustParse(name+"@localhost"), conn,
		xmpp.StartTLS(s.ClientTLS()), xmpp.SASL("", "pw", sasl.Plain), xmpp.BindResource())
	if err != nil {
		t.Fatal(err)
	}
	c, err := xtls.New(session, xtlstest.ClientConfig(t, s, name))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- session.Serve(mux.New(stanza.NSClient, xtls.Handle(c))) }()
	t.Cleanup(func() {
		c.Close()
		session.Close()
		conn.Close()
		<-served
	})
	return c
}

func TestConfig(t *testing.T) {
	s := xtlstest.NewServer(t, xtlstest.Config{})
	for name, change := range map[string]func(*xtls.Config){
		"no certificate": func(c *xtls.Config) { c.Certificate.Certificate = nil },
		"no trust":       func(c *xtls.Config) { c.Trust = nil },
		"block size":     func(c *xtls.Config) { c.BlockSize = 255 },
	} {
		cfg := xtlstest.ClientConfig(t, s, "alice")
		change(cfg)
		_ = s.AddAccount("alice", "pw")
		if c, err := xtls.Connect(t.Context(), jid.MustParse("alice@localhost"), "pw", cfg); err == nil {
			c.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

// TestAbortEndsClose: Close of a tunnel whose peer does not answer any more waits no longer than its user.
func TestAbortEndsClose(t *testing.T) {
	var silent atomic.Bool
	p := xtlstest.NewPair(t, xtlstest.Config{Tamper: func(st *xtlstest.Stanza) []*xtlstest.Stanza {
		if silent.Load() && st.From.Localpart() == "bob" {
			return nil
		}
		return []*xtlstest.Stanza{st}
	}})
	a, _ := xtlstest.Tunnel(t, p.Alice, p.Bob)
	silent.Store(true)
	if _, err := a.Write([]byte("lost")); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- a.Close() }()
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) { // so Close has begun
		t.Fatal(err)
	}
	start := time.Now()
	a.Abort()
	if err := <-closed; err == nil || time.Since(start) > 12*time.Second {
		t.Errorf("Close = %v, %v after Abort", err, time.Since(start))
	}
}
