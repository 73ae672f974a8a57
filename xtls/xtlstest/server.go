// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/logging"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
	"mellium.im/xmpp/stream"
)

// maxConnections is how many connections are served at a time; one over is closed
// at once.
const maxConnections = 1024

// A Server is a running XMPP server. Its methods are safe for concurrent use.
type Server struct {
	cfg       Config
	log       logging.LeveledLogger
	domain    jid.JID
	limits    string // what is announced to clients
	creds     *credentials
	startTLS  *tls.Config
	directTLS *tls.Config
	listeners []net.Listener // STARTTLS, direct TLS
	proxy     *proxy         // nil: none
	tamper    atomic.Pointer[Tamper]

	closeOnce sync.Once
	closed    chan struct{}
	closeErr  error
	running   sync.WaitGroup // every goroutine of the server

	mu       sync.RWMutex // protects the fields below and some of each client
	accounts map[string]*account
	conns    map[*client]struct{}
	users    map[string]map[string]*client // account, resource
	shadows  map[shadowKey]*client
}

// An account is somebody who may log in.
type account struct {
	password [sha256.Size]byte
	shadow   *shadow // nil: an honest one
}

// Start starts a server. The caller must close it.
func Start(cfg Config) (*Server, error) {
	s, err := newServer(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	return s, nil
}

// newServer makes a server without ports.
func newServer(cfg Config) (*Server, error) {
	announced := ""
	if cfg.StanzaLimit > 0 {
		announced = limits(cfg.StanzaLimit)
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg:      cfg,
		limits:   announced,
		log:      cfg.Logger,
		closed:   make(chan struct{}),
		accounts: make(map[string]*account),
		conns:    make(map[*client]struct{}),
		users:    make(map[string]map[string]*client),
		shadows:  make(map[shadowKey]*client),
	}
	if s.domain, err = parseDomain(cfg.Domain); err != nil {
		return nil, err
	}
	s.SetTamper(cfg.Tamper)
	for name, password := range cfg.Accounts {
		if err := s.AddAccount(name, password); err != nil {
			return nil, err
		}
	}
	host, _, _ := net.SplitHostPort(cfg.Listen) // checked by withDefaults
	if s.creds, err = newCredentials(s.domain.String(), host); err != nil {
		return nil, err
	}
	s.startTLS, s.directTLS = s.creds.config(false), s.creds.config(true)
	return s, nil
}

// listen opens all ports and starts accepting.
func (s *Server) listen() error {
	for _, addr := range []string{s.cfg.Listen, s.cfg.ListenDirect} {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			s.unlisten()
			return fmt.Errorf("xtlstest: %w", err)
		}
		s.listeners = append(s.listeners, ln)
	}
	host, _, _ := net.SplitHostPort(s.cfg.Listen) // checked by withDefaults
	var err error
	if s.proxy, err = startProxy(s, s.cfg.Proxy, host); err != nil {
		s.unlisten()
		return err
	}
	s.running.Go(func() { s.accept(s.listeners[0], false) })
	s.running.Go(func() { s.accept(s.listeners[1], true) })
	return nil
}

// unlisten closes the ports of a server that does not start: that it could not
// says more than how these close.
func (s *Server) unlisten() {
	for _, ln := range s.listeners {
		_ = ln.Close()
	}
}

// A TB is what [NewServer] needs of a testing.TB. It is an interface of our own
// because programs that embed a server should not link package testing.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// NewServer is [Start] for tests: it fails the test on an error and closes the
// server, and with it every connection, at the end of the test.
func NewServer(t TB, cfg Config) *Server {
	t.Helper()
	s, err := Start(cfg)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("closing the server: %v", err)
		}
	})
	return s
}

// accept serves each connection that comes to ln until the server is closed.
func (s *Server) accept(ln net.Listener, direct bool) {
	for {
		conn, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many open files, say: better later than never
			s.log.Warnf("accept: %v", err)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-s.closed:
			}
			continue
		}
		s.serve(conn, direct)
	}
}

// serve starts serving one connection.
func (s *Server) serve(conn net.Conn, direct bool) {
	c := newClient(s, conn, direct)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed() || len(s.conns) >= maxConnections {
		s.log.Warnf("connection from %s refused", conn.RemoteAddr())
		_ = conn.Close() // nothing was written
		return
	}
	s.conns[c] = struct{}{}
	s.running.Go(func() {
		c.serve()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	})
}

func (s *Server) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// Close ends every stream with system-shutdown (RFC 6120 §4.9.3.20), waits until
// they have ended, two seconds at the most, and frees the ports. The second call
// returns net.ErrClosed.
func (s *Server) Close() error {
	first := false
	s.closeOnce.Do(func() {
		first = true
		s.mu.Lock()
		close(s.closed)
		for c := range s.conns {
			c.stop(stream.SystemShutdown)
		}
		s.mu.Unlock()
		for _, ln := range s.listeners {
			s.closeErr = errors.Join(s.closeErr, ln.Close())
		}
		s.closeErr = errors.Join(s.closeErr, s.proxy.close())
	})
	s.running.Wait()
	if !first {
		return net.ErrClosed
	}
	return s.closeErr
}

// Addr returns where STARTTLS is spoken, as HOST:PORT.
func (s *Server) Addr() string { return s.listeners[0].Addr().String() }

// DirectAddr returns where TLS comes first, as HOST:PORT.
func (s *Server) DirectAddr() string { return s.listeners[1].Addr().String() }

// Domain returns the domain served.
func (s *Server) Domain() jid.JID { return s.domain }

// AddAccount adds an account, or gives it another password. The name is the local
// part of its address; neither may be empty.
func (s *Server) AddAccount(name, password string) error {
	return s.addAccount(name, password, nil)
}

func (s *Server) addAccount(name, password string, sh *shadow) error {
	j, err := s.localAddr(name)
	if err != nil {
		return err
	}
	if password == "" {
		return fmt.Errorf("xtlstest: account %q has no password", cut(name))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts[j.Localpart()] = &account{password: sha256.Sum256([]byte(password)), shadow: sh}
	return nil
}

// localAddr returns the bare address of an account of this name.
func (s *Server) localAddr(name string) (jid.JID, error) {
	if name == "" {
		return jid.JID{}, errors.New("xtlstest: an account needs a name")
	}
	j, err := jid.New(name, s.domain.String(), "")
	if err != nil {
		return jid.JID{}, fmt.Errorf("xtlstest: account %q: %w", cut(name), err)
	}
	return j, nil
}

// SetTamper replaces [Config.Tamper] from the next stanza on. Nil makes the server
// honest.
func (s *Server) SetTamper(t Tamper) {
	if t == nil {
		s.tamper.Store(nil)
		return
	}
	s.tamper.Store(&t)
}

// Kill closes the TCP connections of j at once and without a word, as a lost
// network does; a bare address means all of the account's. It returns how many
// there were.
func (s *Server) Kill(j jid.JID) int {
	found := s.find(j)
	for _, c := range found {
		c.stop(errKilled)
	}
	return len(found)
}

// DropAfter is [Config.DropAfter] for the clients of j, counted from now. It
// returns how many there were.
func (s *Server) DropAfter(j jid.JID, octets int64) int {
	found := s.find(j)
	for _, c := range found {
		c.in.src.remaining.Store(octets)
	}
	return len(found)
}

// find returns the bound clients of an address, all of the account's if it is
// bare. Shadows are not among them.
func (s *Server) find(j jid.JID) []*client {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !j.Domain().Equal(s.domain) {
		return nil
	}
	var found []*client
	for resource, c := range s.users[j.Localpart()] {
		if j.Resourcepart() == "" || j.Resourcepart() == resource {
			found = append(found, c)
		}
	}
	return found
}

// bind gives c a resource of its account, the wanted one if it is free
// (RFC 6120 §7.7.2.2 leaves that to the server).
func (s *Server) bind(c *client, name, resource string) error {
	who, err := s.localAddr(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	acc := s.accounts[name]
	if acc == nil || s.isClosed() {
		return stream.SystemShutdown
	}
	if acc.shadow != nil {
		return s.bindShadowLocked(c, name, acc.shadow)
	}
	if resource == "" || s.users[name][resource] != nil {
		resource = randomID()
	}
	full, err := who.WithResource(resource)
	if err != nil {
		return stanza.Error{Type: stanza.Modify, Condition: stanza.BadRequest}
	}
	if s.users[name][full.Resourcepart()] != nil { // differed before normalisation
		return stanza.Error{Type: stanza.Cancel, Condition: stanza.Conflict}
	}
	if s.users[name] == nil {
		s.users[name] = make(map[string]*client)
	}
	s.users[name][full.Resourcepart()] = c
	c.bound(name, full)
	return nil
}

// bound notes the address of c; its server's lock is held.
func (c *client) bound(account string, full jid.JID) {
	c.account, c.jid, c.addr = account, full, full.String()
	if n := c.s.cfg.DropAfter; n > 0 {
		c.in.src.remaining.Store(n)
	}
}

// unbind takes c out of the directory and tells those who knew that it was there.
func (s *Server) unbind(c *client) {
	s.unavailable(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.shadow != nil {
		delete(s.shadows, c.shadow.key())
		return
	}
	delete(s.users[c.account], c.jid.Resourcepart())
	if len(s.users[c.account]) == 0 {
		delete(s.users, c.account)
	}
}
