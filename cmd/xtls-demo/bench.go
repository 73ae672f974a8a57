// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"mellium.im/xmpp/jid"

	"example.org/xtls/xtls"
	"example.org/xtls/xtls/mux"
)

const (
	// idlePings is how many round trips are measured without load.
	idlePings = 10
	// benchPause is between two pings of a measurement.
	benchPause = 20 * time.Millisecond
	// mostBench is the longest --duration: with three of them, what is idle and what is
	// waited for, a tunnel is not longer in use than serve allows.
	mostBench = time.Minute
)

// benchFlags are those of bench.
type benchFlags struct {
	duration time.Duration
	size     int64
}

func (a *app) benchCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench JID",
		Short: "measure rate and round trip inside a tunnel, idle and under load",
		Long: `Bench opens a tunnel to the "bench" service of JID, which every xtls-demo serve has,
and measures how long octets take there and back, and how many move in a second:
up, down, and both at once, on each path that there is. Round trips under load are those of a small stream beside
the large ones in the same tunnel.

On a slow path a longer --duration gives better figures. Nothing is read from or
written to disks.`,
		Example: `  xtls-demo bench bob@example.net
  xtls-demo bench bob@example.net --duration 20s --json`,
		Args:              argsBetween(1, 1),
		ValidArgsFunction: a.completePeers,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.duration <= 0 || f.duration > mostBench {
				return usagef("--duration %v: want more than 0 and not more than %v", f.duration, mostBench)
			}
			if f.size < 0 {
				return usagef("--size must not be negative")
			}
			if f.size == 0 {
				f.size = mostTransfer
			}
			return a.bench(cmd.Context(), args[0], f)
		},
	}
	cmd.Flags().DurationVar(&f.duration, "duration", 5*time.Second, "`DURATION` of each measurement under load, at most")
	cmd.Flags().Int64Var(&f.size, "size", 0, "`OCTETS` of each transfer, at most; 0 means as many as the time allows")
	return cmd
}

// bench measures each path that --path allows, those of auto one after the other.
func (a *app) bench(ctx context.Context, name string, f benchFlags) error {
	peer, err := parseAccount(name)
	if err != nil {
		return err
	}
	paths := []xtls.Path{xtls.Path(a.set.path)}
	if paths[0] == xtls.PathAuto {
		paths = []xtls.Path{xtls.PathInBand, xtls.PathRelay, xtls.PathDirect}
	}
	for _, p := range paths {
		err := a.benchPath(ctx, peer, p, f)
		if err != nil && len(paths) > 1 && p != xtls.PathInBand && (errors.Is(err, xtls.ErrNoPath) || errors.Is(err, xtls.ErrNotSupported)) {
			a.ui.event("nopath", "path", p, "why", err)
			a.ui.result("\n%s: none: %s", pathName(string(p)), printable(err.Error()))
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// benchPath measures one path, on a session of its own, and prints what it is good for.
func (a *app) benchPath(ctx context.Context, peer jid.JID, p xtls.Path, f benchFlags) error {
	a.set.path = pathFlag(p)
	est, cancel := a.establishing(ctx)
	defer cancel()
	e, err := a.online(est)
	if err != nil {
		return err
	}
	defer e.Close()
	conn, err := a.dial(est, e, peer, benchService)
	if err != nil {
		return err
	}
	defer conn.Close()
	c := &benchClient{mux.Client(conn)}
	defer func() { _ = c.s.Close() }()
	s := conn.State()
	a.ui.result("%s", verbatim(pathAndTrust(s)))
	defer a.ui.progress("")
	var all []measurement
	for _, m := range []measurement{{what: "idle"}, {what: "up", up: true}, {what: "down", down: true}, {what: "both", up: true, down: true}} {
		if len(all) == 0 {
			a.ui.result("\n%-6s%16s%16s%16s%16s", "", "up", "down", "round trip", "longest")
		}
		a.ui.progress("measuring " + s.Transport + ": " + m.what)
		if err := c.measure(ctx, &m, f); err != nil {
			return err
		}
		a.ui.progress("")
		a.measured(s, m)
		all = append(all, m)
	}
	own := conn.LocalAddr().(xtls.Addr).JID
	a.ui.result("\n%s", meaning(s.Transport, own.Domainpart(), s.Peer.Domainpart(), all))
	return nil
}

// A measurement is one line of the table.
type measurement struct {
	what        string
	up, down    bool // what the load is
	sent, got   bulk
	times       []time.Duration
	low         float64 // of times, in milliseconds
	median, max float64
}

// measure fills in m.
func (c *benchClient) measure(ctx context.Context, m *measurement, f benchFlags) error {
	ctx, cancel := context.WithCancelCause(ctx) // the first error ends the rest
	defer cancel(nil)
	echo, end, err := c.open(ctx, benchEcho)
	if err != nil {
		return err
	}
	defer end()
	enough, stop := context.WithTimeout(ctx, f.duration)
	defer stop()
	loads := make(chan error, 2)
	running := 0
	load := func(on bool, into *bulk, transfer func(ctx, enough context.Context, size int64) (bulk, error)) {
		if !on {
			return
		}
		running++
		go func() {
			var err error
			if *into, err = transfer(ctx, enough, f.size); err != nil {
				cancel(err)
			}
			loads <- err
		}()
	}
	load(m.up, &m.sent, c.up)
	load(m.down, &m.got, c.down)
	idle := running == 0
	for running > 0 || idle && len(m.times) < idlePings && enough.Err() == nil || len(m.times) == 0 {
		took, perr := pingOnce(ctx, echo)
		if perr != nil {
			cancel(benchError(ctx, perr))
			break
		}
		m.times = append(m.times, took)
		select {
		case <-loads:
			running--
		case <-time.After(benchPause):
		case <-ctx.Done():
		}
	}
	for ; running > 0; running-- {
		<-loads
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	m.low, m.median, m.max = spread(m.times)
	return nil
}

// measured prints a line of the table.
func (a *app) measured(s xtls.State, m measurement) {
	a.ui.event("bench", "peer", s.Peer, "path", s.Transport, "what", m.what,
		"sent", m.sent.octets, "sent_seconds", m.sent.took.Seconds(), "sent_rate", m.sent.rate(),
		"received", m.got.octets, "received_seconds", m.got.took.Seconds(), "received_rate", m.got.rate(),
		"pings", len(m.times), "min_ms", m.low, "median_ms", m.median, "max_ms", m.max)
	up, down := "-", "-"
	if m.up {
		up = rateText(m.sent.rate())
	}
	if m.down {
		down = rateText(m.got.rate())
	}
	a.ui.result("%-6s%16s%16s%16s%16s", m.what, up, down, millisText(m.median), millisText(m.max))
}

// rateText is a rate for people: kB and MB are 1000 and 1,000,000 octets.
func rateText(r float64) string {
	switch {
	case r < 1e3:
		return fmt.Sprintf("%.0f B/s", r)
	case r < 1e6:
		return fmt.Sprintf("%.1f kB/s", r/1e3)
	case r < 1e9:
		return fmt.Sprintf("%.1f MB/s", r/1e6)
	default:
		return fmt.Sprintf("%.2f GB/s", r/1e9)
	}
}

func millisText(ms float64) string {
	switch {
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	default:
		return fmt.Sprintf("%.1f s", ms/1000)
	}
}

// slowRate is the rate below which it is probably a server that holds an in-band
// tunnel back: shipped configurations allow 3 to 30 kB/s.
const slowRate = 100e3

// meaning says in words what was measured.
func meaning(path, own, peer string, all []measurement) string {
	rate, idle, loaded := 0.0, 0.0, 0.0
	for _, m := range all {
		rate = max(rate, m.sent.rate(), m.got.rate())
		if m.up || m.down {
			loaded = max(loaded, m.median)
		} else {
			idle = m.median
		}
	}
	servers := own
	if peer != own {
		servers += " or " + peer
	}
	text := path + " " + rateText(rate)
	switch {
	case path == "inband" && rate < slowRate:
		text = "in-band " + rateText(rate) + ", probably limited by " + servers
	case path == "inband":
		text = "in-band " + rateText(rate) + ", through " + strings.ReplaceAll(servers, " or ", " and ")
	case path == "relay":
		text += ", through a proxy of " + servers
	case path == "direct":
		text += ", from one end to the other"
	}
	return text + fmt.Sprintf("; a round trip takes %s, beside large transfers %s", millisText(idle), millisText(loaded))
}

// progress shows a text on the terminal, if standard error is one, until the next
// one; empty removes it.
func (u *ui) progress(text string) {
	if u.quiet || u.jsonMode || !isTerminal(u.err) {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	_, _ = io.WriteString(u.err, "\r\x1b[K"+printable(text))
}
