// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls"
)

// owner returns the account to use: --jid, or the stored one.
func (a *app) owner() (jid.JID, error) {
	text := a.set.jid
	if text == "" {
		text = a.set.stored.JID
	}
	if text == "" {
		return jid.JID{}, &usageError{errors.New("no account is stored and --jid is not given"), "store one: xtls-demo login you@your-server"}
	}
	return parseAccount(text)
}

// parseAccount reads the address of an account, with or without a resource.
func parseAccount(text string) (jid.JID, error) {
	j, err := jid.Parse(text)
	if err == nil && j.Localpart() == "" {
		err = errors.New("the part before the @ is missing")
	}
	if err != nil {
		return jid.JID{}, &usageError{fmt.Errorf("%s is not an account: %w", printable(text), err), "it looks like alice@example.org"}
	}
	return j, nil
}

// storedFor returns the stored account if it is that of j, else an empty one: a
// password is for nobody but its own server.
func (a *app) storedFor(j jid.JID) account {
	stored, err := jid.Parse(a.set.stored.JID)
	if err != nil || !stored.Bare().Equal(j.Bare()) {
		return account{}
	}
	return a.set.stored
}

// password finds the password: file, variable, stored account, question. It is
// never on a command line.
func (a *app) password(ctx context.Context, owner jid.JID, stored string) (string, error) {
	switch {
	case a.set.passwordFile != "":
		return readPassword(a.set.passwordFile)
	case a.getenv("XTLS_PASSWORD") != "":
		return a.getenv("XTLS_PASSWORD"), nil
	case stored != "":
		return stored, nil
	}
	err := errNoTerminal
	var line string
	if a.attended() {
		line, err = ask(ctx, fmt.Sprintf("Password for %s (not shown): ", printable(owner.Bare().String())), true)
	}
	switch {
	case errors.Is(err, errNoTerminal):
		return "", &usageError{fmt.Errorf("no password for %s, and nobody to ask", owner.Bare()), "--password-file FILE, XTLS_PASSWORD, or once on a terminal: xtls-demo login JID"}
	case err == nil && line == "":
		return "", usagef("no password given")
	}
	return line, err
}

// readPassword returns the first line of a file that only its owner may read.
func readPassword(name string) (string, error) {
	text, err := readPrivate(name)
	if err != nil {
		return "", fmt.Errorf("password file: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("password file: the first line of %s is empty", name)
	}
	return line, nil
}

// serverTLS returns how the server is verified: nil means by the authorities of
// the system, under the name of the account's domain.
func serverTLS(ca string) (*tls.Config, error) {
	if ca == "" {
		return nil, nil
	}
	pool, err := authorities("server authority", ca)
	if err != nil {
		return nil, err
	}
	return &tls.Config{RootCAs: pool}, nil
}

// authorities reads a file of authorities; nil if there is none. what they are is
// for the error.
func authorities(what, name string) (*x509.CertPool, error) {
	if name == "" {
		return nil, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: %s holds no certificate in PEM form", what, name)
	}
	return pool, nil
}

// establishing returns a context for everything up to an established tunnel.
func (a *app) establishing(ctx context.Context) (context.Context, context.CancelFunc) {
	if !a.set.timeoutGiven && a.attended() {
		a.set.timeout = telephoneTime
	}
	if a.set.timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, a.set.timeout)
}

// during returns err, or which step ran out of time if --timeout was the cause.
// est is the context of the step, from establishing.
func (a *app) during(est context.Context, step string, err error) error {
	deadline, limited := est.Deadline()
	if err != nil && limited && !time.Now().Before(deadline) && !isAlarm(err) { // the network may notice before est does
		return &timeoutError{a.set.timeout, step, false}
	}
	return err
}

// An endpoint is this end, online.
type endpoint struct {
	*xtls.Client
	gate *gate
}

// online logs in with the account to use. ctx bounds the login.
func (a *app) online(ctx context.Context) (*endpoint, error) {
	owner, acc, err := a.account(ctx)
	if err != nil {
		return nil, err
	}
	return a.connect(ctx, owner, acc)
}

// account is the account to use, with its password. ctx bounds the wait for one that is
// asked for.
func (a *app) account(ctx context.Context) (jid.JID, account, error) {
	owner, err := a.owner()
	if err != nil {
		return jid.JID{}, account{}, err
	}
	acc := a.storedFor(owner)
	acc.JID = owner.String()
	if a.set.server != "" {
		acc.Server = a.set.server
	}
	if a.set.serverCA != "" {
		acc.ServerCA = a.set.serverCA
	}
	if acc.Password, err = a.password(ctx, owner, acc.Password); err != nil {
		return jid.JID{}, account{}, a.during(ctx, "waiting for the password", err)
	}
	return owner, acc, nil
}

// trust opens the store of known keys.
func (a *app) trust() (*fingerprint.Store, error) {
	if err := a.set.files.missing; err != nil {
		return nil, err
	}
	return fingerprint.Open(a.set.files.peers)
}

// identity opens the own key, or makes it.
func (a *app) identity(owner jid.JID) (tls.Certificate, error) {
	if err := a.set.files.missing; err != nil {
		return tls.Certificate{}, err
	}
	return fingerprint.OpenIdentity(a.set.files.identity, owner)
}

// connect logs in as owner. A key is only made for an account that has been
// proven: it would stand in the way of the right one if the address was mistyped.
func (a *app) connect(ctx context.Context, owner jid.JID, acc account) (*endpoint, error) {
	if _, err := os.Stat(a.set.files.identity); a.set.files.missing == nil && errors.Is(err, fs.ErrNotExist) {
		throwAway, err := fingerprint.NewIdentity(owner)
		if err != nil {
			return nil, err
		}
		e, err := a.connectWith(ctx, owner, acc, throwAway)
		if err != nil {
			return nil, err
		}
		_ = e.Close() // the next login would notice
	}
	cert, err := a.identity(owner)
	if err != nil {
		return nil, err
	}
	return a.connectWith(ctx, owner, acc, cert)
}

// connectWith logs in with this key.
func (a *app) connectWith(ctx context.Context, owner jid.JID, acc account, cert tls.Certificate) (*endpoint, error) {
	verifyServer, err := serverTLS(acc.ServerCA)
	if err != nil {
		return nil, err
	}
	named, err := authorities("authority", a.set.ca)
	if err != nil {
		return nil, err
	}
	trust, err := a.trust()
	if err != nil {
		return nil, err
	}
	g := a.newGate()
	client, err := xtls.Connect(ctx, owner, acc.Password, &xtls.Config{
		Certificate: cert, Trust: trust, Verify: g.verify, MinLevel: xtls.Level(a.set.minLevel), Authorities: named,
		Path: xtls.Path(a.set.path), BlockSize: a.set.blockSize, Security: xtls.Security(a.set.security),
		LoggerFactory: a.ui.loggers(), Server: acc.Server, ServerTLS: verifyServer,
	})
	if err != nil {
		return nil, a.during(ctx, "logging in as "+printable(owner.Bare().String()), err)
	}
	a.ui.detail("online as %s", client.LocalAddr())
	return &endpoint{client, g}, nil
}

// dial finds the peer and opens a tunnel to a service of it.
func (a *app) dial(ctx context.Context, e *endpoint, peer jid.JID, service string) (*xtls.Conn, error) {
	return a.dialApp(ctx, e, peer, xtls.Tunnel(service))
}

// dialApp is dial for any application.
func (a *app) dialApp(ctx context.Context, e *endpoint, peer jid.JID, app xtls.App) (*xtls.Conn, error) {
	found, err := e.Find(ctx, peer, app)
	if err != nil {
		return nil, a.during(ctx, "looking for "+printable(peer.String()), err)
	}
	if len(found) > 1 {
		return nil, &ambiguousError{peer, found}
	}
	conn, err := e.Dial(ctx, found[0], app)
	if err != nil {
		step := "waiting for " + printable(found[0].String()) + " to accept"
		if e.gate.asking.Load() {
			step = "waiting for your answer"
		}
		return nil, a.during(ctx, step, err)
	}
	a.tunnelUp(conn.State())
	return conn, nil
}
