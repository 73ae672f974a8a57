// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"example.org/xtls/xtls"
)

const (
	// maxTunnels bounds the tunnels of serve, also those on their way. Offers
	// beyond are declined.
	maxTunnels = 256
	// maxAccountTunnels bounds those of one account, so that none takes all places.
	maxAccountTunnels = maxTunnels / 4
	// maxDeclining bounds the offers that are being declined at the same time.
	maxDeclining = 64
	// declineTime bounds how long telling a peer no may take.
	declineTime = 5 * time.Second
	// targetTime bounds the connecting to the HOST:PORT of a service.
	targetTime = 10 * time.Second
)

// serveFlags are those of serve.
type serveFlags struct {
	services []string
	allow    []string
	stdio    bool
	once     bool
	chat     bool // it is the verb chat, which takes one and nothing else
	method   string
}

func (a *app) serveCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve [--service NAME=HOST:PORT]... [--stdio]",
		Short: "take tunnels of peers and join them with local services",
		Long: `Serve goes online, prints "ready" and its full JID, and takes tunnels of peers.
It serves nothing by default but "ping", "bench" and "verify" (see the verbs of these
names).

Each --service joins tunnels for NAME with new TCP connections to HOST:PORT.
--stdio joins tunnels without a name with standard input and output, one at a
time. Everything else is declined, and so are, if --allow is given, all accounts
not listed. Unknown keys are asked about on the terminal and refused without one;
so are verifications that a peer wants.

Peers find it because it is available. While no other client of yours is, a server
hands it the messages that wait for you, and it throws them away. Where that matters,
give it an account of its own.`,
		Example: `  xtls-demo serve --service web=localhost:8080 --allow alice@example.org
  xtls-demo serve --stdio --once >received`,
		Args:        argsBetween(0, 0),
		Annotations: map[string]string{dataOnStdout: "stdio"},
		RunE:        func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context(), f) },
	}
	cmd.Flags().StringArrayVar(&f.services, "service", nil, "serve `NAME=HOST:PORT`; may be given several times")
	cmd.Flags().StringArrayVar(&f.allow, "allow", nil, "take tunnels of the account `JID` only; may be given several times")
	cmd.Flags().BoolVar(&f.stdio, "stdio", false, "serve standard input and output")
	cmd.Flags().BoolVar(&f.once, "once", false, "end with the first tunnel that was established (pings, measurements and verifications do not count), or with an alarm")
	methodFlag(cmd, &f.method, verifyMethods[:3])
	return cmd
}

// A host takes the tunnels of peers.
type host struct {
	a        *app
	e        *endpoint
	services map[string]string   // TCP address by name
	allow    map[string]struct{} // bare JIDs; nil: all
	std      *stdio              // nil: standard input and output are not served
	chat     bool                // std is for a chat
	once     bool

	end       context.CancelFunc // ends serving
	work      sync.WaitGroup
	declining chan struct{} // one token for each offer being declined

	mu       sync.Mutex // protects the fields below
	tunnels  int
	accounts map[string]int // of them, by the peer's bare JID
	benches  int            // of them
	busy     bool           // with a tunnel that must be the only one
	done     bool           // --once has had its tunnel or alarm
	outcome  error
}

// newHost reads the flags.
func (a *app) newHost(f serveFlags) (*host, error) {
	h := &host{a: a, services: make(map[string]string), accounts: make(map[string]int), chat: f.chat, once: f.once, declining: make(chan struct{}, maxDeclining)}
	for _, text := range f.services {
		name, addr, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, usagef("--service %q: want NAME=HOST:PORT", text)
		}
		if err := checkService(name); err != nil {
			return nil, err
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return nil, usagef("--service %q: want NAME=HOST:PORT: %w", text, err)
		}
		if h.services[name] != "" || name == pingService || name == benchService || name == verifyService {
			return nil, usagef("--service %s: the name is taken", name)
		}
		h.services[name] = addr
	}
	for _, text := range f.allow {
		j, err := parseAccount(text)
		if err != nil {
			return nil, err
		}
		if h.allow == nil {
			h.allow = make(map[string]struct{})
		}
		h.allow[j.Bare().String()] = struct{}{}
	}
	if err := checkMethod(f.method, verifyMethods[:3]); err != nil {
		return nil, err
	}
	if f.stdio && a.set.yesCode {
		return nil, errCodeOnDataInput("serve --stdio")
	}
	a.method = f.method
	if f.stdio || f.chat {
		h.std = newStdio(a.streams)
	}
	return h, nil
}

// checkService checks the name of a service as the protocol wants it.
func checkService(name string) error {
	bad := strings.IndexFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-'
	})
	if bad >= 0 || len(name) > 64 {
		return usagef("%q is not the name of a service: want 1 to 64 of a-z 0-9 . _ -", printable(name))
	}
	return nil
}

func (a *app) serve(ctx context.Context, f serveFlags) error {
	h, err := a.newHost(f)
	if err != nil {
		return err
	}
	if h.std != nil {
		defer h.std.close()
	}
	est, cancel := a.establishing(ctx)
	defer cancel()
	if h.e, err = a.online(est); err != nil {
		return err
	}
	defer h.e.Close()
	l, err := h.e.Listen()
	if err != nil {
		return a.during(est, "announcing this end to the server", err)
	}
	h.ready()
	ctx, stop := context.WithCancelCause(ctx)
	h.end = func() { stop(nil) }
	err = h.listen(ctx, l)
	stop(err)     // what still runs ends for the same reason
	_ = l.Close() // the session may be gone
	h.work.Wait()
	if h.done { // all who could change it have ended
		return h.outcome
	}
	return err
}

// finish ends serve --once with an outcome. The first one counts.
func (h *host) finish(outcome error) {
	h.mu.Lock()
	if !h.done {
		h.done, h.outcome = true, outcome
	}
	h.mu.Unlock()
	h.end()
}

// ready says that tunnels are taken from now on.
func (h *host) ready() {
	h.a.ui.event("ready", "jid", h.e.LocalAddr(), "fingerprint", h.e.Fingerprint())
	if h.std != nil {
		h.a.ui.print(h.a.ui.people, "ready %s", []any{h.e.LocalAddr()})
	} else {
		h.a.ui.result("ready %s", h.e.LocalAddr())
	}
	if h.std == nil && len(h.services) == 0 {
		h.a.ui.say("serving nothing but ping, bench and verify: neither --service nor --stdio is given")
	}
}

// listen takes offers until the run or the session ends.
func (h *host) listen(ctx context.Context, l *xtls.Listener) error {
	for {
		o, err := l.Next(ctx)
		if err != nil {
			if lost := h.e.Err(); lost != nil {
				err = &serverGoneError{lost}
			}
			return err
		}
		join, err := h.admit(o)
		if err != nil {
			h.decline(ctx, o, err)
			continue
		}
		h.work.Go(func() {
			defer h.leave(o)
			join(ctx, o)
		})
	}
}

// admit decides about an offer by what it claims to be; nothing is proven yet. Who is admitted has a
// place until leave.
func (h *host) admit(o *xtls.Offer) (func(context.Context, *xtls.Offer), error) {
	account := o.Peer.Bare().String()
	if h.allow != nil {
		if _, ok := h.allow[account]; !ok {
			return nil, errors.New("not among --allow")
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.tunnels == maxTunnels:
		return nil, fmt.Errorf("%d tunnels at once are the most", maxTunnels)
	case h.accounts[account] == maxAccountTunnels:
		return nil, fmt.Errorf("%d tunnels of one account at once are the most", maxAccountTunnels)
	}
	join, err := h.chooseLocked(o)
	if err == nil {
		h.tunnels++
		h.accounts[account]++
	}
	return join, err
}

// leave gives the place of an offer free.
func (h *host) leave(o *xtls.Offer) {
	account := o.Peer.Bare().String()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tunnels--
	if h.accounts[account]--; h.accounts[account] == 0 {
		delete(h.accounts, account)
	}
}

// chooseLocked finds what an offer is joined with.
func (h *host) chooseLocked(o *xtls.Offer) (func(context.Context, *xtls.Offer), error) {
	name := o.App.Service
	addr, named := h.services[name]
	switch {
	case o.App.IsXMLStream() && !h.chat:
		return nil, errors.New("no chat is served here")
	case o.App.IsXMLStream() && h.busy:
		return nil, errors.New("busy with another chat")
	case o.App.IsXMLStream():
		h.busy = true
		return h.serveChat, nil
	case name == pingService:
		return h.echo, nil
	case name == benchService && h.benches == maxBenches:
		return nil, fmt.Errorf("%d measurements at once are the most", maxBenches)
	case name == benchService:
		h.benches++
		return h.bench, nil
	case name == verifyService:
		return h.hold, nil
	case name == "" && (h.std == nil || h.chat), name != "" && !named:
		return nil, errors.New("no such service")
	case h.busy && (name == "" || h.once):
		return nil, errors.New("busy with another tunnel")
	}
	if name == "" || h.once {
		h.busy = true
	}
	if name == "" {
		return h.serveStdio, nil
	}
	return func(ctx context.Context, o *xtls.Offer) { h.serveTCP(ctx, o, addr) }, nil
}

// decline tells the peer no. If too many others have not even heard theirs, the
// offer is left to expire.
func (h *host) decline(ctx context.Context, o *xtls.Offer, why error) {
	h.refused(o, &declinedError{why})
	select {
	case h.declining <- struct{}{}:
	default:
		return
	}
	h.work.Go(func() {
		defer func() { <-h.declining }()
		ctx, cancel := context.WithTimeout(ctx, declineTime)
		defer cancel()
		_ = o.Reject(ctx) // who was told no need not hear it
	})
}

// A serverGoneError is the end of the own session.
type serverGoneError struct{ err error }

func (e *serverGoneError) Error() string {
	return "the connection to the server is gone: " + e.err.Error()
}
func (e *serverGoneError) Unwrap() error { return e.err }

// A declinedError is an offer that was declined on this side.
type declinedError struct{ why error }

func (e *declinedError) Error() string { return "declined: " + e.why.Error() }
func (e *declinedError) Unwrap() error { return xtls.ErrDeclined }

// refused reports an offer that did not become a tunnel.
func (h *host) refused(o *xtls.Offer, err error) {
	h.a.ui.event("refused", "peer", o.Peer, "service", o.App.Service, "code", exitCode(err), "why", err)
	if isAlarm(err) {
		h.a.ui.fail(err)
		return
	}
	h.a.ui.say("%s %s: %s", o.Peer, serviceName(o.App), err)
	if text := hint(err); text != "" && isUnverified(err) {
		h.a.ui.say("xtls-demo: hint: %s", verbatim(text))
	}
}

func serviceName(app xtls.App) string {
	if app.IsXMLStream() {
		return "(chat)"
	}
	if app.Service == "" {
		return "(standard input and output)"
	}
	return app.Service
}

// establish accepts an offer; nil means that it failed, which has been reported.
func (h *host) establish(ctx context.Context, o *xtls.Offer) *xtls.Conn {
	est, cancel := h.a.establishing(ctx)
	defer cancel()
	conn, err := o.Accept(est)
	if err != nil {
		err = h.a.during(est, "establishing a tunnel with "+printable(o.Peer.String()), err)
		switch {
		case h.once && isAlarm(err):
			h.finish(err)
		case ctx.Err() == nil:
			h.refused(o, err)
		}
		return nil
	}
	h.a.tunnelEvent(conn.State())
	h.a.ui.say("%s", describe(conn.State()))
	return conn
}

// release ends the time of the tunnel that was the only one.
func (h *host) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.busy = false
}

// serveStdio joins a tunnel with standard input and output.
func (h *host) serveStdio(ctx context.Context, o *xtls.Offer) {
	defer h.release()
	conn := h.establish(ctx, o)
	if conn == nil {
		return
	}
	if isTerminal(h.a.in) {
		h.e.gate.taken.Store(true)
	}
	h.join(ctx, conn, h.std.end(h.once))
}

// serveTCP joins a tunnel with a new connection to addr.
func (h *host) serveTCP(ctx context.Context, o *xtls.Offer, addr string) {
	if h.once {
		defer h.release()
	}
	conn := h.establish(ctx, o)
	if conn == nil {
		return
	}
	d := net.Dialer{Timeout: targetTime}
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		conn.Abort()
		h.closed(conn, traffic{}, &localError{err})
		return
	}
	tcp := raw.(*net.TCPConn)
	h.join(ctx, conn, localEnd{
		in: tcp, out: tcp,
		endOut: func() error {
			_ = tcp.CloseWrite() // the service may have closed already; it got everything
			return nil
		},
		stop: func() { _ = tcp.Close() },
	})
}

// join runs a tunnel to its end.
func (h *host) join(ctx context.Context, conn *xtls.Conn, l localEnd) {
	n, err := splice(ctx, conn, l)
	h.closed(conn, n, err)
}

// closed reports the end of a tunnel, which with --once is that of the run.
func (h *host) closed(conn *xtls.Conn, n traffic, err error) {
	s := conn.State()
	h.a.tunnelClosed(s, n, err)
	switch {
	case h.once:
		h.finish(err)
	case err == nil, errors.Is(err, errInterrupted), outputGone(err):
	case isAlarm(err):
		h.a.ui.fail(err)
	default:
		h.a.ui.say("%s %s: not complete, %d octets sent and %d received: %s", s.Peer, serviceName(s.App), n.sent, n.received, err)
	}
}

// tunnelClosed reports the end of a tunnel.
func (a *app) tunnelClosed(s xtls.State, n traffic, err error) {
	why := "done"
	if err != nil {
		why = err.Error()
	}
	a.ui.event("closed", "peer", s.Peer, "service", s.App.Service, "sent", n.sent, "received", n.received, "code", exitCode(err), "why", why)
	a.ui.detail("%s %s: %d octets sent, %d received, %s", s.Peer, serviceName(s.App), n.sent, n.received, why)
}
