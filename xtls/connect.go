// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"context"
	"crypto/tls"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"mellium.im/xmpp"
	"mellium.im/xmpp/disco"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/ping"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/xtls/internal/exchange"
	"example.org/xtls/xtls/internal/guard"
	"example.org/xtls/xtls/internal/lean"
	"example.org/xtls/xtls/internal/socket"
)

// Errors of [Connect], to test for with errors.Is.
var (
	// ErrLogin: the server refused the password, or offers no way to prove one.
	ErrLogin = errors.New("the server refused the login")
	// ErrNoTLS: the server does not offer TLS. There is no login without.
	ErrNoTLS = errors.New("the server does not offer TLS")
)

// streamClose is how long a server may take to end its stream after ours.
const streamClose = 2 * time.Second

// A login is a session made by Connect and what goes with it.
type login struct {
	conn   *guard.Conn
	served chan struct{} // closed when serving has ended
	alive  sync.WaitGroup
}

// Connect logs in as addr and returns a Client on the new session. If addr has a
// resource the server is asked for it, else the server chooses one. The
// connection is TLS with a verified certificate or there is none; ctx governs
// connecting only. The options register handlers of the application's own.
//
// If the server has announced that it ends idle streams (XEP-0478), the session is
// kept alive with white space. When it is lost, [Client.Done] is closed and all
// tunnels end; there is no reconnecting by itself.
func Connect(ctx context.Context, addr jid.JID, password string, cfg *Config, opts ...mux.Option) (*Client, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	c, err := connect(ctx, addr, password, cfg, opts)
	if err != nil {
		return nil, &OpError{Op: "login", Peer: addr, Err: err}
	}
	return c, nil
}

func connect(ctx context.Context, addr jid.JID, password string, cfg *Config, opts []mux.Option) (*Client, error) {
	ends, err := endpoints(ctx, addr.Domainpart(), cfg.Server)
	if err != nil {
		return nil, err
	}
	raw, direct, err := dialAny(ctx, ends)
	if err != nil {
		return nil, err
	}
	l := &login{served: make(chan struct{})}
	session, err := l.negotiate(ctx, raw, direct, addr, password, cfg)
	if err != nil {
		_ = raw.Close()
		if l.conn != nil {
			_ = l.conn.Close()
		}
		return nil, err
	}
	c, err := newClient(session, cfg, l)
	if err != nil {
		_ = l.conn.Close()
		return nil, err
	}
	if session.In().XMLNS == stanza.NSClient { // the namespace of what has none
		l.conn.Intercept(lean.New(c.x, c.ibb, c.log))
	}
	handlers := append([]mux.Option{Handle(c), disco.Handle(), ping.Handle()}, opts...)
	l.alive.Go(func() { keepAlive(c.ctx, c.Limits().Idle, c.x.Send) })
	go c.serve(exchange.Guard(mux.New(stanza.NSClient, handlers...), c.log))
	if c.cfg.Path.ways(true).relay && c.cfg.Security == TLS {
		l.alive.Go(func() { _, _ = c.s5b.Proxies(c.ctx) }) // they are wanted with the first tunnel
	}
	return c, nil
}

// serve reads the session until it ends.
func (c *Client) serve(h xmpp.Handler) {
	defer close(c.login.served)
	err := c.session.Serve(h)
	if err == nil {
		err = errors.New("the server ended the stream")
	}
	c.end(lost(err))
}

// close ends the stream politely, then the connection, and joins the reader.
func (l *login) close(s *xmpp.Session) error {
	if l == nil {
		return nil
	}
	timer := time.AfterFunc(streamClose, func() { _ = l.conn.Close() })
	defer timer.Stop()
	err := s.Close()
	if err != nil {
		_ = l.conn.Close()
	}
	<-l.served
	l.alive.Wait()
	_ = l.conn.Close()
	return nil
}

// negotiate takes a fresh connection to a session: TLS, SASL, resource. The
// session library cannot be cancelled on TCP, so ctx closes the connection.
func (l *login) negotiate(ctx context.Context, raw net.Conn, direct bool, addr jid.JID, password string, cfg *Config) (*xmpp.Session, error) {
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	session, err := l.session(ctx, raw, direct, addr, password, cfg)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	if session.State()&(xmpp.Secure|xmpp.Authn) != xmpp.Secure|xmpp.Authn || session.LocalAddr().Resourcepart() == "" {
		return nil, fmt.Errorf("%w: it went on without one", ErrLogin)
	}
	return session, nil
}

func (l *login) session(ctx context.Context, raw net.Conn, direct bool, addr jid.JID, password string, cfg *Config) (*xmpp.Session, error) {
	tlsCfg := &tls.Config{}
	if cfg.ServerTLS != nil {
		tlsCfg = cfg.ServerTLS.Clone()
	}
	if tlsCfg.ServerName == "" {
		tlsCfg.ServerName = addr.Domainpart()
	}
	tlsCfg.MinVersion = max(tlsCfg.MinVersion, tls.VersionTLS12)
	features := []xmpp.StreamFeature{l.startTLS(tlsCfg), l.sasl(password), streamLimits(), channelBindings(), bind(addr.Resourcepart())}
	state := xmpp.SessionState(0)
	conn := raw
	if direct {
		tlsCfg.NextProtos = []string{"xmpp-client"} // XEP-0368 §3
		secured := tls.Client(raw, tlsCfg)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		l.conn = guard.New(secured)
		conn, state, features = l.conn, xmpp.Secure, features[1:]
	} else {
		conn = &limited{Conn: raw, left: maxBeforeTLS}
	}
	// The library's own use of a context does more harm than good (it resets the
	// deadlines that would stop it), so it gets one that never ends.
	return xmpp.NewSession(context.WithoutCancel(ctx), addr.Domain(), addr.Bare(), conn, state,
		xmpp.NewNegotiator(func(*xmpp.Session, *xmpp.StreamConfig) xmpp.StreamConfig {
			return xmpp.StreamConfig{Features: features}
		}))
}

// startTLS is the library's STARTTLS with the guard put above it.
func (l *login) startTLS(cfg *tls.Config) xmpp.StreamFeature {
	f := xmpp.StartTLS(cfg)
	negotiate := f.Negotiate
	f.Negotiate = func(ctx context.Context, s *xmpp.Session, data any) (xmpp.SessionState, io.ReadWriter, error) {
		below, _ := s.Conn().(*limited)
		mask, rw, err := negotiate(ctx, s, data)
		if err != nil {
			return mask, rw, fmt.Errorf("%w (%w)", ErrNoTLS, err)
		}
		secured, ok := rw.(*tls.Conn)
		if !ok || below == nil {
			return mask, rw, ErrNoTLS
		}
		below.left = -1
		if err := secured.HandshakeContext(ctx); err != nil {
			return mask, rw, err
		}
		l.conn = guard.New(secured)
		return mask, l.conn, nil
	}
	return f
}

const nsBind = "urn:ietf:params:xml:ns:xmpp-bind"

// bind is resource binding (RFC 6120 §7). The library's own never asks for the
// resource that is wanted.
func bind(resource string) xmpp.StreamFeature {
	f := xmpp.BindResource()
	f.Negotiate = func(_ context.Context, s *xmpp.Session, _ any) (xmpp.SessionState, io.ReadWriter, error) {
		b := []byte(`<iq xmlns="jabber:client" type="set" id="bind"><bind xmlns="` + nsBind + `">`)
		if resource != "" {
			b = append(exchange.AppendEscaped(append(b, `<resource>`...), resource), `</resource>`...)
		}
		if _, err := s.Conn().Write(append(b, `</bind></iq>`...)); err != nil {
			return 0, nil, err
		}
		r := s.TokenReader()
		defer r.Close()
		var answer struct {
			XMLName xml.Name      `xml:"jabber:client iq"`
			Type    stanza.IQType `xml:"type,attr"`
			JID     jid.JID       `xml:"urn:ietf:params:xml:ns:xmpp-bind bind>jid"`
			Err     *stanza.Error `xml:"error"`
		}
		if err := xml.NewTokenDecoder(r).Decode(&answer); err != nil {
			return 0, nil, err
		}
		switch {
		case answer.Err != nil:
			return 0, nil, fmt.Errorf("binding the resource: %w", *answer.Err)
		case answer.Type != stanza.ResultIQ || answer.JID.Resourcepart() == "":
			return 0, nil, errors.New("binding the resource: the server gave no full JID")
		}
		s.UpdateAddr(answer.JID)
		return xmpp.Ready, nil, nil
	}
	return f
}

// maxBeforeTLS bounds what anybody on the network may send before TLS.
const maxBeforeTLS = 64 << 10

// limited is a connection before TLS, from which only so much may be read.
type limited struct {
	net.Conn
	left int // octets; negative: no limit any more
}

// Read reads within the limit.
func (c *limited) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.left < 0 {
		return n, err
	}
	if c.left -= n; c.left < 0 {
		c.left = 0
		return 0, fmt.Errorf("%w: over %d octets before it", ErrNoTLS, maxBeforeTLS)
	}
	return n, err
}

// An endpoint is where a server may be reached.
type endpoint struct {
	addr   string // host:port
	direct bool   // TLS from the first octet
}

// endpoints finds where the server of a domain is: where the caller says, else
// by SRV records, direct TLS first, else at the domain itself.
func endpoints(ctx context.Context, domain, server string) ([]endpoint, error) {
	if server != "" {
		addr, direct := strings.CutPrefix(server, "xmpps://")
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return nil, fmt.Errorf("server address %q: want HOST:PORT or xmpps://HOST:PORT", server)
		}
		return []endpoint{{addr, direct}}, nil
	}
	var found []endpoint
	for _, service := range []string{"xmpps-client", "xmpp-client"} {
		_, records, err := net.DefaultResolver.LookupSRV(ctx, service, "tcp", domain)
		if err != nil {
			continue
		}
		for _, r := range records {
			if r.Target == "." {
				break // RFC 2782: decidedly not available
			}
			found = append(found, endpoint{net.JoinHostPort(strings.TrimSuffix(r.Target, "."), fmt.Sprint(r.Port)), service == "xmpps-client"})
		}
	}
	if len(found) == 0 {
		found = append(found, endpoint{net.JoinHostPort(domain, "5222"), false})
	}
	return found, ctx.Err()
}

// dialTime bounds the attempt at one address.
const dialTime = 10 * time.Second

func dialAny(ctx context.Context, ends []endpoint) (net.Conn, bool, error) {
	var errs []error
	for _, e := range ends {
		d := net.Dialer{Timeout: dialTime}
		conn, err := d.DialContext(ctx, "tcp", e.addr)
		if err == nil {
			return socket.Tune(conn), e.direct, nil
		}
		errs = append(errs, err)
	}
	return nil, false, errors.Join(errs...)
}
