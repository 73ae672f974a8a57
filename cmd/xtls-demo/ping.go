// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"example.org/xtls/xtls"
	"example.org/xtls/xtls/mux"
)

const (
	// pingService is the name of the service that every serve has: an echo.
	pingService = "ping"
	// pingSize is the number of octets of one ping.
	pingSize = 16
	// pingTime is how long one answer may take.
	pingTime = 30 * time.Second
	// maxEcho bounds the octets echoed in one tunnel: a ping each second for half a
	// day, and no use as a free relay of data.
	maxEcho = 1 << 20
)

// pingFlags are those of ping.
type pingFlags struct {
	count    int
	interval time.Duration
	load     bool
}

func (a *app) pingCommand() *cobra.Command {
	var f pingFlags
	cmd := &cobra.Command{
		Use:   "ping JID",
		Short: "measure round trips inside a tunnel, show path and trust",
		Long: `Ping opens a tunnel to the "ping" service of JID, which every xtls-demo serve has,
and measures how long octets take there and back, through all servers between.

With --load it does so in a stream of a tunnel to the "bench" service, first alone
and then while large transfers fill the tunnel in both directions.`,
		Example: `  xtls-demo ping bob@example.net -c 10 -i 500ms
  xtls-demo ping bob@example.net --load`,
		Args:              argsBetween(1, 1),
		ValidArgsFunction: a.completePeers,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.count < 0 || f.interval < 0 {
				return usagef("-c and -i must not be negative")
			}
			if f.load && (f.count == 0 || f.interval > maxBenchTime/4/time.Duration(f.count)) {
				return usagef("--load: -c times -i must be more than 0 and not more than %v", maxBenchTime/4)
			}
			return a.ping(cmd.Context(), args[0], f)
		},
	}
	cmd.Flags().IntVarP(&f.count, "count", "c", 5, "`NUMBER` of pings; 0 means until interrupted")
	cmd.Flags().DurationVarP(&f.interval, "interval", "i", time.Second, "`DURATION` between two pings")
	cmd.Flags().BoolVar(&f.load, "load", false, "ping again while large transfers fill the tunnel")
	return cmd
}

func (a *app) ping(ctx context.Context, name string, f pingFlags) error {
	peer, err := parseAccount(name)
	if err != nil {
		return err
	}
	est, cancel := a.establishing(ctx)
	defer cancel()
	e, err := a.online(est)
	if err != nil {
		return err
	}
	defer e.Close()
	service := pingService
	if f.load {
		service = benchService
	}
	conn, err := a.dial(est, e, peer, service)
	if err != nil {
		return err
	}
	defer conn.Close()
	a.ui.result("%s", verbatim(pathAndTrust(conn.State())))
	if f.load {
		return a.pingLoaded(ctx, conn, f)
	}
	times, err := a.pings(ctx, conn, f, "peer", conn.State().Peer)
	a.summary("", times)
	return err
}

// pathAndTrust is two lines on a tunnel, and one more if there is no better path.
func pathAndTrust(s xtls.State) string {
	text := fmt.Sprintf("%s  %s\npath %s, %s, %s, post-quantum %s", printable(s.Peer.String()), standing(s),
		s.Transport, s.Protocol(), s.Group, yesNo(s.PostQuantum()))
	if s.Detour != "" {
		text += "\nno better path: " + printable(s.Detour)
	}
	return text
}

// pingLoaded pings without and under load.
func (a *app) pingLoaded(ctx context.Context, conn *xtls.Conn, f pingFlags) (err error) {
	c := &benchClient{mux.Client(conn)}
	defer func() { _ = c.s.Close() }()
	echo, end, err := c.open(ctx, benchEcho)
	if err != nil {
		return err
	}
	defer end()
	peer := conn.State().Peer
	times, err := a.pings(ctx, echo, f, "peer", peer, "load", false)
	a.summary("idle: ", times, "load", false)
	if err != nil {
		return benchError(ctx, err)
	}
	enough, stop := context.WithCancel(ctx)
	defer stop()
	loads := make(chan error, 2)
	for _, transfer := range []func(ctx, enough context.Context, size int64) (bulk, error){c.up, c.down} {
		go func() {
			_, err := transfer(ctx, enough, maxBenchOctets)
			loads <- err
		}()
	}
	a.ui.result("now under load")
	times, err = a.pings(ctx, echo, f, "peer", peer, "load", true)
	a.summary("under load: ", times, "load", true)
	stop()
	if err != nil {
		end()
		_ = c.s.Close() // so that the transfers end
	}
	for range cap(loads) {
		if e := <-loads; err == nil {
			err = e
		}
	}
	if err != nil {
		return benchError(ctx, err)
	}
	return nil
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// pings sends pings, prints how long each took, and returns it. fields go into the
// events.
func (a *app) pings(ctx context.Context, conn net.Conn, f pingFlags, fields ...any) ([]time.Duration, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var times []time.Duration
	for n := 1; f.count == 0 || n <= f.count; n++ {
		if n > 1 {
			select {
			case <-time.After(f.interval):
			case <-ctx.Done():
				return times, context.Cause(ctx)
			}
		}
		took, err := pingOnce(ctx, conn)
		if err != nil {
			return times, err
		}
		times = append(times, took)
		a.ui.event("ping", append(fields[:len(fields):len(fields)], "n", n, "ms", milliseconds(took))...)
		a.ui.result("%d: %.2f ms", n, milliseconds(took))
	}
	return times, nil
}

// pingOnce sends random octets and reads them again.
func pingOnce(ctx context.Context, conn net.Conn) (time.Duration, error) {
	var sent, got [pingSize]byte
	rand.Read(sent[:])
	start := time.Now()
	if err := conn.SetDeadline(start.Add(pingTime)); err != nil {
		return 0, err
	}
	if ctx.Err() != nil { // it may have ended before the deadline was set
		return 0, context.Cause(ctx)
	}
	_, err := conn.Write(sent[:])
	if err == nil {
		_, err = io.ReadFull(conn, got[:])
	}
	switch {
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, &timeoutError{pingTime, "waiting for an answer to a ping", true}
	case errors.Is(err, io.EOF):
		return 0, errors.New("the peer ended the ping")
	case err != nil:
		return 0, err
	case !bytes.Equal(sent[:], got[:]):
		return 0, errors.New("the peer answered with something else than it was sent")
	}
	return time.Since(start), nil
}

// summary prints the least, middle and greatest of the times. fields go into the
// event.
func (a *app) summary(label string, times []time.Duration, fields ...any) {
	if len(times) == 0 {
		return
	}
	low, mid, high := spread(times)
	a.ui.event("summary", append(fields, "count", len(times), "min_ms", low, "median_ms", mid, "max_ms", high)...)
	a.ui.result("%s%d pings, min %.2f, median %.2f, max %.2f ms", label, len(times), low, mid, high)
}

// spread returns the least, middle and greatest of some times, in milliseconds.
func spread(times []time.Duration) (low, mid, high float64) {
	sorted := slices.Sorted(slices.Values(times))
	n := len(sorted)
	return milliseconds(sorted[0]), milliseconds((sorted[(n-1)/2] + sorted[n/2]) / 2), milliseconds(sorted[n-1])
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}

// echo answers pings: what comes out of the tunnel goes into it again.
func (h *host) echo(ctx context.Context, o *xtls.Offer) {
	conn := h.establish(ctx, o)
	if conn == nil {
		return
	}
	r, w := io.Pipe()
	n, err := splice(ctx, conn, localEnd{
		in: &bounded{r, maxEcho}, out: w, endOut: w.Close,
		stop: func() { _ = r.CloseWithError(errStopped) }, // ends both sides of the pipe
	})
	h.a.tunnelClosed(conn.State(), n, err)
}

// A bounded reader fails after so many octets, where io.LimitReader would say that
// all is well.
type bounded struct {
	r    io.Reader
	left int
}

// Read reads within the bound.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("more than %d octets of pings in one tunnel", maxEcho)
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
