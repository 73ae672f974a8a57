// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"mellium.im/xmlstream"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
	"mellium.im/xmpp/version"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/mux"
)

// A prober opens the sessions and tunnels of a diagnosis: both ends are here, so each knows
// which key the other one has.
type prober struct {
	a        *app
	owner    jid.JID // bare: the server gives each session a resource of its own
	acc      account
	duration time.Duration
	one, two tls.Certificate
}

func newProber(a *app, owner jid.JID, acc account, duration time.Duration) (*prober, error) {
	p := &prober{a: a, owner: owner.Bare(), acc: acc, duration: duration}
	var err error
	if p.one, err = fingerprint.NewIdentity(p.owner); err != nil {
		return nil, err
	}
	p.two, err = fingerprint.NewIdentity(p.owner)
	return p, err
}

// connect logs in with a key of the occasion, for tunnels with the holder of another one.
func (p *prober) connect(ctx context.Context, own, other tls.Certificate, path xtls.Path) (*xtls.Client, error) {
	verifyServer, err := serverTLS(p.acc.ServerCA)
	if err != nil {
		return nil, err
	}
	est, cancel := p.a.establishing(ctx)
	defer cancel()
	c, err := xtls.Connect(est, p.owner, p.acc.Password, &xtls.Config{
		Certificate: own, Trust: fingerprint.NewMemory(), Verify: holds(other), Path: path, BlockSize: p.a.set.blockSize,
		LoggerFactory: p.a.ui.loggers(), Server: p.acc.Server, ServerTLS: verifyServer,
	})
	return c, p.a.during(est, "logging in as "+printable(p.owner.String()), err)
}

// holds is an xtls.Config.Verify that knows the one key there can be. Another one is held by
// somebody in the middle.
func holds(cert tls.Certificate) func(context.Context, *xtls.Verification) (xtls.Level, error) {
	key := fingerprint.Of(cert.Certificate[0])
	return func(_ context.Context, v *xtls.Verification) (xtls.Level, error) {
		if v.Fingerprint != key {
			return xtls.LevelNone, fmt.Errorf("%w: both ends are here, and the key is neither's", xtls.ErrTampered)
		}
		return xtls.LevelServerVouched, nil
	}
}

// tunnel opens a tunnel between two sessions of the account, whose other end is what serve has
// for bench.
func (p *prober) tunnel(ctx context.Context, path xtls.Path, use func(*benchClient) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	from, err := p.connect(ctx, p.one, p.two, path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := p.connect(ctx, p.two, p.one, path)
	if err != nil {
		return err
	}
	defer to.Close()
	l, err := to.Listen()
	if err != nil {
		return err
	}
	var serving sync.WaitGroup
	serving.Go(func() { serveProbe(ctx, l, from.LocalAddr()) })
	defer serving.Wait()
	defer cancel()
	est, done := p.a.establishing(ctx)
	defer done()
	conn, err := from.Dial(est, to.LocalAddr(), xtls.Tunnel(benchService))
	if err != nil {
		return p.a.during(est, "opening a tunnel between two sessions of the account", err)
	}
	defer conn.Close()
	s := conn.State()
	p.a.ui.detail("a tunnel to the other session %s: %s, %s", s.Peer, pathName(s.Transport), s.Protocol())
	c := &benchClient{mux.Client(conn)}
	defer func() { _ = c.s.Close() }()
	return use(c)
}

// serveProbe takes the one tunnel of the other session, and nobody else's.
func serveProbe(ctx context.Context, l *xtls.Listener, from jid.JID) {
	for {
		o, err := l.Next(ctx)
		if err != nil {
			return
		}
		if !o.Peer.Equal(from) {
			refusing, cancel := context.WithTimeout(ctx, declineTime)
			_ = o.Reject(refusing) // who was told no need not hear it
			cancel()
			continue
		}
		if conn, err := o.Accept(ctx); err == nil { // else the other end says why
			_, _ = newBenchServer(maxBenchOctets).serve(ctx, conn, maxBenchTime)
			return
		}
	}
}

// softwareTime is how long the server may take to say what it is.
const softwareTime = 10 * time.Second

// software asks the server what it is (XEP-0092). Many do not say.
func software(ctx context.Context, c *xtls.Client) version.Query {
	ctx, cancel := context.WithTimeout(ctx, softwareTime)
	defer cancel()
	var about version.Query
	if query(ctx, c, c.LocalAddr().Domain(), version.Query{}.TokenReader(), &about) != nil {
		return version.Query{}
	}
	return about
}

// query sends a question and decodes what the answer holds into v, if that is not nil. An answer
// that is an error is a stanza.Error.
func query(ctx context.Context, c *xtls.Client, to jid.JID, question xml.TokenReader, v any) error {
	r, err := c.Session().SendIQElement(ctx, question, stanza.IQ{Type: stanza.GetIQ, To: to})
	if err != nil {
		return err
	}
	defer r.Close()
	tok, err := r.Token()
	if err != nil {
		return err
	}
	start, ok := tok.(xml.StartElement)
	if !ok {
		return fmt.Errorf("the answer begins with %T", tok)
	}
	if _, err := stanza.UnmarshalIQError(r, start); err != nil || v == nil {
		return err
	}
	return xml.NewTokenDecoder(xmlstream.Inner(r)).Decode(v)
}

// onlyLocal reports whether all addresses of a host are of loopback or private networks. A name
// that cannot be resolved is not said to be.
func onlyLocal(ctx context.Context, host string) bool {
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if ip, e := netip.ParseAddr(host); e == nil {
		addrs, err = []netip.Addr{ip}, nil
	}
	for _, ip := range addrs {
		if ip = ip.Unmap(); !ip.IsLoopback() && !ip.IsPrivate() && !ip.IsLinkLocalUnicast() && !ip.IsUnspecified() {
			return false
		}
	}
	return err == nil && len(addrs) > 0
}

const (
	// sizeTime is how long the server may take for the answer to a large stanza.
	sizeTime = 10 * time.Second
	// sizeEnvelope is what a stanza has besides its padding, in octets, at most.
	sizeEnvelope = 512
)

// triedSizes are the octets of the stanzas that are tried, one after the other. Prosody takes
// 256 KiB of a client, ejabberd 64 or 256; none is known to say no between 16 KiB and these.
var triedSizes = [...]int{16 << 10, 64 << 10, 128 << 10, 250 << 10, 512 << 10}

// trySizes sends larger and larger stanzas to the own server until one is too large, on a session
// that ends with it.
func (p *prober) trySizes(ctx context.Context) stanzaFigures {
	c, err := p.connect(ctx, p.one, p.two, xtls.PathInBand)
	if err != nil {
		return stanzaFigures{err: err}
	}
	defer c.Close()
	var figures stanzaFigures
	for _, size := range triedSizes {
		p.a.ui.progress(fmt.Sprintf("trying a stanza of %d KiB", size>>10))
		start := time.Now()
		switch answered, err := trySize(ctx, c, size); {
		case err != nil:
			figures.err = err
			return figures
		case !answered:
			figures.refused = size
			return figures
		}
		figures.passed, figures.rate = size, float64(size)/time.Since(start).Seconds()
	}
	return figures
}

// trySize reports whether the server answers a stanza of that size, whatever it says.
func trySize(ctx context.Context, c *xtls.Client, size int) (answered bool, err error) {
	waiting, cancel := context.WithTimeout(ctx, sizeTime)
	defer cancel()
	watched := make(chan struct{})
	go func() { // what waits for an answer does not notice the end of the session
		defer close(watched)
		select {
		case <-c.Done():
			cancel()
		case <-waiting.Done():
		}
	}()
	padded := xmlstream.Wrap(xmlstream.Token(xml.CharData(bytes.Repeat([]byte{'x'}, size-sizeEnvelope))),
		xml.StartElement{Name: xml.Name{Space: "urn:xmpp:ping", Local: "ping"}})
	err = query(waiting, c, c.LocalAddr().Domain(), padded, nil)
	cancel()
	<-watched
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	return err == nil || errors.As(err, &stanza.Error{}), nil
}
