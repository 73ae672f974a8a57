// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/pion/logging"

	"example.org/xtls/transport"
)

// Config says how a [Transport] works. Only Stanzas is required.
type Config struct {
	// Stanzas is the XMPP session. Required.
	Stanzas transport.Stanzas

	// Loopback says that peers may be on this very machine although it has other addresses:
	// loopback addresses are offered after these, and a peer's candidates there are connected to.
	// False offers them only if there is nothing else, and connects there only then, or to a
	// proxy that the own server names. It is for tests with several servers on one machine: a
	// peer could make this machine knock at its own ports.
	Loopback bool

	// Logger gets how negotiations went and why carriers ended. Nil is silent. It never gets
	// payload.
	Logger logging.LeveledLogger
}

// A Transport is the SOCKS5 bytestreams end of one XMPP session. It implements [transport.Method].
// Its methods may be called concurrently.
type Transport struct {
	cfg     Config
	stanzas transport.Stanzas

	// interfaceAddrs is net.InterfaceAddrs, except in tests.
	interfaceAddrs func() ([]net.Addr, error)

	ctx     context.Context // ends with Close, its cause wraps ErrSessionEnded
	cancel  context.CancelCauseFunc
	running sync.WaitGroup // negotiations, searches, lingering sockets, timers of carriers

	mu    sync.Mutex // protects the fields below
	conns map[*carrier]struct{}
	found *search
}

var _ transport.Method = (*Transport)(nil)

// New returns a Transport for the session cfg.Stanzas. It needs no handlers. Whoever made it must
// call [Transport.Close].
func New(cfg Config) (*Transport, error) {
	if cfg.Stanzas == nil {
		return nil, errors.New("s5b: Config.Stanzas is required")
	}
	t := &Transport{
		cfg: cfg, stanzas: cfg.Stanzas, interfaceAddrs: net.InterfaceAddrs,
		conns: make(map[*carrier]struct{}),
	}
	t.ctx, t.cancel = context.WithCancelCause(context.Background())
	return t, nil
}

// Namespace returns [NSJingle].
func (t *Transport) Namespace() string { return NSJingle }

// Close says that the XMPP session is gone, or about to go, because of err; nil gives no reason.
// Carriers and negotiations end with an error that wraps [ErrSessionEnded] and err. No stanza is
// sent. Carriers that were closed before may take their 5 seconds to get out what was written.
// Close returns when all goroutines have ended.
func (t *Transport) Close(err error) {
	t.mu.Lock()
	t.cancel(sessionError(err))
	conns := make([]*carrier, 0, len(t.conns))
	for c := range t.conns {
		conns = append(conns, c)
	}
	t.mu.Unlock()
	for _, c := range conns {
		c.Abort(context.Cause(t.ctx))
	}
	t.running.Wait()
}

// start runs f on a goroutine that Close joins, unless the session has ended.
func (t *Transport) start(f func()) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	t.running.Go(f)
	return nil
}

// register makes Close end c.
func (t *Transport) register(c *carrier) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	t.conns[c] = struct{}{}
	return nil
}

// forget is the opposite of register.
func (t *Transport) forget(c *carrier) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, c)
}

// logf logs, if there is a logger.
func (t *Transport) logf(format string, args ...any) {
	if t.cfg.Logger != nil {
		t.cfg.Logger.Debugf(format, args...)
	}
}
