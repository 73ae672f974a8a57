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
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"example.org/xtls/xtls"
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

func (a *app) pingCommand() *cobra.Command {
	var count int
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "ping JID",
		Short: "measure round trips inside a tunnel, show path and trust",
		Long: `Ping opens a tunnel to the "ping" service of JID, which every xtls-demo serve has,
and measures how long octets take there and back, through all servers between.`,
		Example:           `  xtls-demo ping bob@example.net -c 10 -i 500ms`,
		Args:              argsBetween(1, 1),
		ValidArgsFunction: a.completePeers,
		RunE: func(cmd *cobra.Command, args []string) error {
			if count < 0 || interval < 0 {
				return usagef("-c and -i must not be negative")
			}
			return a.ping(cmd.Context(), args[0], count, interval)
		},
	}
	cmd.Flags().IntVarP(&count, "count", "c", 5, "`NUMBER` of pings; 0 means until interrupted")
	cmd.Flags().DurationVarP(&interval, "interval", "i", time.Second, "`DURATION` between two pings")
	return cmd
}

func (a *app) ping(ctx context.Context, name string, count int, interval time.Duration) error {
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
	conn, err := a.dial(est, e, peer, pingService)
	if err != nil {
		return err
	}
	defer conn.Close()
	s := conn.State()
	a.ui.result("%s", verbatim(fmt.Sprintf("%s  %s\npath %s, %s, %s, post-quantum %s", printable(s.Peer.String()), standing(s),
		s.Transport, s.Protocol(), s.Group, yesNo(s.PostQuantum()))))
	times, err := a.pings(ctx, conn, count, interval)
	a.summary(times)
	return err
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// pings sends count pings and returns how long each took.
func (a *app) pings(ctx context.Context, conn *xtls.Conn, count int, interval time.Duration) ([]time.Duration, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	var times []time.Duration
	for n := 1; count == 0 || n <= count; n++ {
		if n > 1 {
			select {
			case <-time.After(interval):
			case <-ctx.Done():
				return times, context.Cause(ctx)
			}
		}
		took, err := pingOnce(ctx, conn)
		if err != nil {
			return times, err
		}
		times = append(times, took)
		a.ui.event("ping", "peer", conn.State().Peer, "n", n, "ms", milliseconds(took))
		a.ui.result("%d: %.2f ms", n, milliseconds(took))
	}
	return times, nil
}

// pingOnce sends random octets and reads them again.
func pingOnce(ctx context.Context, conn *xtls.Conn) (time.Duration, error) {
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
		return 0, &timeoutError{pingTime, "waiting for an answer to a ping"}
	case errors.Is(err, io.EOF):
		return 0, errors.New("the peer ended the ping")
	case err != nil:
		return 0, err
	case !bytes.Equal(sent[:], got[:]):
		return 0, errors.New("the peer answered with something else than it was sent")
	}
	return time.Since(start), nil
}

// summary prints the least, middle and greatest of the times.
func (a *app) summary(times []time.Duration) {
	if len(times) == 0 {
		return
	}
	slices.Sort(times)
	low, mid, high := milliseconds(times[0]), milliseconds(times[len(times)/2]), milliseconds(times[len(times)-1])
	a.ui.event("summary", "count", len(times), "min_ms", low, "median_ms", mid, "max_ms", high)
	a.ui.result("%d pings, min %.2f, median %.2f, max %.2f ms", len(times), low, mid, high)
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}

// echo answers pings: what comes out of the tunnel goes into it again.
func (h *host) echo(ctx context.Context, o *xtls.Offer) {
	defer h.release(false)
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
