// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

// Package xtls opens end-to-end encrypted tunnels between two XMPP accounts.
//
// TLS 1.3 runs from client to client. Jingle negotiates it over the XMPP servers. They
// also carry it, inside stanzas, where there is no better path ([Config].Path), and can
// neither read nor alter it. (DTLS 1.2 may take the
// place of TLS: [Config].Security.) A tunnel is a [net.Conn] to a JID:
//
//	client, err := xtls.Connect(ctx, jid.MustParse("alice@example.org"), password, cfg)
//	...
//	conn, err := client.Dial(ctx, jid.MustParse("bob@example.net/laptop"), xtls.Tunnel("web"))
//
// and at the other end
//
//	l, err := client.Listen()
//	...
//	http.Serve(l, handler)
//
// An application that has an XMPP session of its own uses [New] and [Handle]
// instead of [Connect].
//
// A tunnel can carry an XML stream as well ([XMLStream], [Stream]): a session of
// mellium.im/xmpp between the two clients, for messages, presence and requests that
// no server reads.
//
// # Whom one talks to
//
// Both ends present self-signed certificates. Encryption alone does not say who
// holds the other end: a hostile server could put itself in the middle of a first
// contact. So each end keeps a [fingerprint.Store] of keys it has seen, and a
// [Config].Verify decides about keys it has not. [Conn.State] says what a tunnel
// is worth, as a [Level]. A key that is not the one a peer is known by is never
// accepted ([KeyChangedError]).
//
// # What it does not do
//
// It does not hide who talks to whom, when, and how much. It does not protect
// stanzas outside tunnels. PROTOCOL.md, beside this file, says what goes over the
// wire.
package xtls

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/pion/logging"
	"mellium.im/xmpp"
	"mellium.im/xmpp/disco/info"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/fingerprint"
	"example.org/xtls/jingle"
	"example.org/xtls/transport/ibb"
	"example.org/xtls/transport/s5b"
	"example.org/xtls/xtls/internal/dtls"
	"example.org/xtls/xtls/internal/exchange"
)

// A Config configures the tunnels of a [Client]. It is copied; what it points to
// must be safe for concurrent use.
type Config struct {
	// Certificate is the identity of this account: a self-signed certificate with its
	// key, from [fingerprint.NewIdentity] or [fingerprint.OpenIdentity]. Required.
	Certificate tls.Certificate

	// Trust remembers which keys belong to which peer. Required.
	Trust *fingerprint.Store

	// Verify decides about a peer whose key Trust does not settle, after the handshake
	// and before the first octet of either side: the key is new, the peer is disputed, or
	// MinLevel demands more. It is called again on a live tunnel when either side wants to
	// verify ([Conn.Verify]). It may ask a human, with the methods of the [Verification];
	// ctx ends after 10 minutes, or with the session.
	//
	// It returns what the key is known to be: LevelServerVouched to go on with nothing but
	// the word of the servers (the key is then remembered as pinned), LevelVerified if a
	// method returned that, or if the user has compared the whole fingerprint with the
	// peer outside XMPP; or an error, which refuses the peer on first contact. If ctx
	// ends first, that is context.Cause(ctx); any other error is taken for a decision and
	// reported as such, but for an alarm of the peer's.
	// It is called once at a time for a tunnel, from several goroutines if there are
	// several tunnels, and must not close the tunnel's Conn. Nil refuses every peer that
	// Trust does not settle, and every verification.
	Verify func(ctx context.Context, v *Verification) (Level, error)

	// Security is what protects the tunnels that this end dials; zero means TLS. Offers of
	// either are taken. DTLS needs an ECDSA or Ed25519 key.
	Security Security

	// MinLevel is the least level at which a tunnel is used; zero means
	// LevelServerVouched.
	MinLevel Level

	// Authorities are those whose word about a peer's key the user takes: a certificate
	// that one of them has issued itself, for the peer's bare JID as an xmppAddr
	// (RFC 6120 §13.7.1.4) and in its time, is of LevelCA and needs no question. A
	// key that the user has verified is not replaced by it. Nil means none.
	Authorities *x509.CertPool

	// AllowDraft says for which peers the plain draft is acceptable although their key
	// is not pinned: no binding, no confirmation (PROTOCOL.md section 8). Nil means
	// for none. A peer with whom there was ever a tunnel of version 1 is refused as
	// tampered with all the same ([ErrTampered]), until its keys are forgotten.
	AllowDraft func(peer jid.JID) bool

	// Path says which ways tunnels may take; the zero value is the best there is.
	Path Path

	// BlockSize is the most octets of the tunnel in one stanza, 256 to 65535. Zero
	// means 4096, which every server forwards, or what suits the server if it has
	// announced how large a stanza may be ([Limits]).
	BlockSize int

	// MaxStanza bounds one stanza of the peer in an XML stream ([Stream]), in octets;
	// zero means 262144. A peer that sends a larger one ends the tunnel.
	MaxStanza int

	// LoggerFactory makes the loggers of the scopes xtls, jingle, ibb, s5b and dtls. What is
	// logged never holds keys, passwords or payload. Nil is silent.
	LoggerFactory logging.LoggerFactory

	// Server is where [Connect] connects to: "HOST:PORT" for STARTTLS,
	// "xmpps://HOST:PORT" for direct TLS; "" looks it up (RFC 6120 §3.2, XEP-0368).
	Server string

	// ServerTLS is the TLS configuration of [Connect]; nil means the system's
	// authorities and the domain of the account as name. The certificate of the server
	// is always verified unless this says otherwise.
	ServerTLS *tls.Config
}

func (c *Config) check() error {
	switch {
	case len(c.Certificate.Certificate) == 0 || c.Certificate.PrivateKey == nil:
		return errors.New("xtls: Config.Certificate is required")
	case c.Trust == nil:
		return errors.New("xtls: Config.Trust is required")
	case c.Security == DTLS:
		return dtls.CheckKey(c.Certificate)
	case c.Security != TLS:
		return fmt.Errorf("xtls: Config.Security is %s", c.Security)
	default:
		return nil
	}
}

func (c *Config) draftAllowed(peer jid.JID) bool {
	return c.AllowDraft != nil && c.AllowDraft(peer)
}

func (c *Config) logger(scope string) logging.LeveledLogger {
	if c.LoggerFactory == nil {
		return silent.NewLogger(scope)
	}
	return c.LoggerFactory.NewLogger(scope)
}

// silent makes loggers that drop everything.
var silent = &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}

// A Client opens and takes tunnels on one XMPP session. Its methods may be called
// concurrently.
type Client struct {
	cfg         Config
	log         logging.LeveledLogger
	fingerprint fingerprint.Fingerprint // of our certificate
	digests     []fingerprint.Digest    // the same, as announced

	session *xmpp.Session
	login   *login // nil if the session belongs to the caller
	x       *exchange.Exchange
	jingle  *jingle.Handler
	ibb     *ibb.Transport
	s5b     *s5b.Transport

	ctx    context.Context // ends, with its cause, when the client does
	cancel context.CancelCauseFunc

	mu       sync.Mutex // protects the fields below
	listener *Listener
	findings map[string]*finding
	conns    map[*Conn]struct{}
	running  map[string]bool // peers, bare, with a verification under way
}

// New makes a Client on a session of the caller's, who serves it with a mux that
// has [Handle] among its options, and calls [Client.Close] when serving has ended.
//
//	client, err := xtls.New(session, cfg)
//	go session.Serve(mux.New(stanza.NSClient, disco.Handle(), xtls.Handle(client)))
//
// [Connect] also protects the session against its server: stanzas of any size or
// depth, stray text that ends the stream, writes that block reading. And it is
// faster: TCP segments are acknowledged at once (Linux), blocks of tunnels pass
// beside the XML parser, and leave behind all other stanzas. A session of the caller's
// has only what the caller gives it.
func New(s *xmpp.Session, cfg *Config) (*Client, error) { return newClient(s, cfg, nil) }

// newClient is New on a session below which l stands, or nothing.
func newClient(s *xmpp.Session, cfg *Config, l *login) (*Client, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	c := &Client{
		cfg:         *cfg,
		log:         cfg.logger("xtls"),
		fingerprint: fingerprint.Of(cfg.Certificate.Certificate[0]),
		session:     s,
		login:       l,
		findings:    make(map[string]*finding),
		conns:       make(map[*Conn]struct{}),
		running:     make(map[string]bool),
	}
	c.cfg.Certificate.Certificate = cfg.Certificate.Certificate[:1] // exactly one is sent (PROTOCOL.md section 6)
	c.digests = []fingerprint.Digest{c.fingerprint.Digest()}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	var out exchange.Output
	if l != nil {
		out = l.conn
	}
	c.x = exchange.New(s, c.log, out)
	var err error
	c.ibb, err = ibb.New(ibb.Config{Stanzas: c.x, BlockSize: cmp.Or(cfg.BlockSize, c.Limits().blockSize()), Logger: cfg.logger("ibb")})
	if err != nil {
		return nil, err
	}
	c.s5b, err = s5b.New(s5b.Config{Stanzas: c.x, Logger: cfg.logger("s5b")})
	if err != nil {
		return nil, err
	}
	c.jingle, err = jingle.New(jingle.Config{Stanzas: c.x, Allow: c.takesOffers, Logger: cfg.logger("jingle")})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Handle registers everything that c needs to receive: Jingle, in-band
// bytestreams, questions for [Client.Find], the answers to its own requests (all
// those that Session.SendIQ did not ask for), and the disco features of all these.
func Handle(c *Client) mux.Option {
	return func(m *mux.ServeMux) {
		c.x.Handle()(m)
		jingle.Handle(c.jingle)(m)
		ibb.Handle(c.ibb)(m)
		c.handleJMI(m)
		refuseCertificates(m)
		mux.Feature(features{})(m)
	}
}

// features are what disco#info lists besides what the handlers below list.
type features struct{}

// ForFeatures implements info.FeatureIter.
func (features) ForFeatures(node string, f func(info.Feature) error) error {
	if node != "" {
		return nil
	}
	for _, ns := range []string{
		jingle.NS, ibb.NS, ibb.NSJingle, s5b.NSJingle, NS, nsAlias, NSExt, nsTunnel, nsDTLS, nsStream, nsStreamAlias, nsJMI,
	} {
		if err := f(info.Feature{Var: ns}); err != nil {
			return err
		}
	}
	return nil
}

// takesOffers reports whether anybody waits for offers.
func (c *Client) takesOffers(jid.JID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.listener != nil
}

// LocalAddr is the full JID of the session.
func (c *Client) LocalAddr() jid.JID { return c.x.LocalAddr() }

// Session is the XMPP session. One made by [Connect] may be used for stanzas of
// the application's own; it must not be served or closed.
func (c *Client) Session() *xmpp.Session { return c.session }

// Fingerprint is that of the own certificate.
func (c *Client) Fingerprint() fingerprint.Fingerprint { return c.fingerprint }

// Done is closed when the client was closed or its session was lost.
func (c *Client) Done() <-chan struct{} { return c.ctx.Done() }

// Err says why Done is closed: net.ErrClosed after Close, else an error that is
// ErrLost. Nil before.
func (c *Client) Err() error {
	if c.ctx.Err() == nil {
		return nil
	}
	return context.Cause(c.ctx)
}

// established makes a Conn of t, unless the client has been closed meanwhile.
func (c *Client) established(t *tunnel) (*Conn, error) {
	conn := &Conn{t: t}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.Err(); err != nil {
		return nil, err
	}
	c.conns[conn] = struct{}{}
	t.decided.Store(false) // from now on the user may be asked again
	return conn, nil
}

func (c *Client) forget(conn *Conn) {
	c.mu.Lock()
	delete(c.conns, conn)
	c.mu.Unlock()
}

// Close closes the listener and all tunnels, and joins everything the client
// started. A session made by [Connect] is ended as well; one of the caller's is
// not. It takes as long as [Conn.Close] does. The second Close returns net.ErrClosed.
func (c *Client) Close() error {
	first := c.ctx.Err() == nil || !errors.Is(context.Cause(c.ctx), net.ErrClosed)
	c.mu.Lock()
	l := c.listener
	conns := make([]*Conn, 0, len(c.conns))
	for conn := range c.conns {
		conns = append(conns, conn)
	}
	c.mu.Unlock()
	if l != nil {
		_ = l.Close()
	}
	var wg sync.WaitGroup
	for _, conn := range conns {
		wg.Go(func() { _ = conn.Close() })
	}
	wg.Wait()
	c.end(net.ErrClosed)
	err := c.login.close(c.session)
	if !first {
		return net.ErrClosed
	}
	return err
}

// end ends everything that depends on the session; err says why.
func (c *Client) end(err error) {
	c.cancel(err)
	c.x.Close(err)
	c.jingle.Close(err)
	c.ibb.Close(err)
	c.s5b.Close(err)
}

// answersDisco reports whether anybody answers disco#info at a full JID.
func (c *Client) answersDisco(ctx context.Context, peer jid.JID) bool {
	_, err := c.x.Request(ctx, stanza.GetIQ, peer, []byte(`<query xmlns="`+nsDiscoInfo+`"/>`))
	return err == nil
}

const nsDiscoInfo = "http://jabber.org/protocol/disco#info"

// announce sends presence on a session of our own. Becoming available, it waits
// until the server has taken note: a stream is handled in order, so its answer to
// anything sent later says so.
func (c *Client) announce(available bool) error {
	if c.login == nil || c.Err() != nil {
		return nil
	}
	p := `<presence xmlns="jabber:client"/>`
	if !available {
		p = `<presence xmlns="jabber:client" type="unavailable"/>`
	}
	err := c.x.Send([]byte(p))
	if err == nil && available {
		_, err = c.x.Request(c.ctx, stanza.GetIQ, c.LocalAddr().Domain(), []byte(`<ping xmlns="urn:xmpp:ping"/>`))
		if errors.As(err, &stanza.Error{}) {
			err = nil // an answer all the same
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return nil
}
