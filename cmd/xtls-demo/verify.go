// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.org/xtls/xtls"
)

const (
	// verifyService is the name of the service that every serve has: a tunnel to
	// verify on, which carries nothing.
	verifyService = "verify"

	// holdTime bounds how long the end of the session may come after that of the data.
	holdTime = 10 * time.Second
	// telephoneTime is the default of --timeout where somebody may be asked: people
	// telephone.
	telephoneTime = 12 * time.Minute
)

var verifyMethods = []string{methodSAS, methodPassword, methodCode, methodFingerprint}

func (a *app) verifyCommand() *cobra.Command {
	var method string
	cmd := &cobra.Command{
		Use:   "verify JID",
		Short: "verify that nobody is between you and a peer",
		Long: `Verify opens a tunnel to the "verify" service of JID, which every xtls-demo serve
has, and finds out whether anybody is in the middle. On success the key of JID is
VERIFIED from then on, and nobody is asked again unless it changes.

  sas          both users see the same six characters and type what the other reads out
  password     both users type a password that they have agreed on
  code         one user sees a one-time code and reads it out, the other types it
  fingerprint  you type what xtls-demo id prints over there; nobody is asked there

Speak by telephone or in person, not over XMPP. Without --method you are asked on
the terminal. Scripts give --yes-code-from-stdin; for "code" the first line is then
empty to show one, "type" to wait for the peer's (which is the next line), or the
peer's code itself. If the peer has chosen before, it is left out.`,
		Example: `  xtls-demo verify bob@example.net
  xtls-demo verify bob@example.net --method password`,
		Args:              argsBetween(1, 1),
		ValidArgsFunction: a.completePeers,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.verify(cmd.Context(), args[0], method)
		},
	}
	methodFlag(cmd, &method, verifyMethods)
	return cmd
}

// methodFlag defines --method with these values.
func methodFlag(cmd *cobra.Command, method *string, values []string) {
	cmd.Flags().StringVar(method, "method", "", "verify by `METHOD` without asking which: "+strings.Join(values, ", "))
	// An error would mean that there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc("method", cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

func checkMethod(method string, values []string) error {
	if method != "" && !slices.Contains(values, method) {
		return usagef("--method %q: want one of %q", printable(method), values)
	}
	return nil
}

func (a *app) verify(ctx context.Context, name, method string) error {
	peer, err := parseAccount(name)
	if err == nil {
		err = checkMethod(method, verifyMethods)
	}
	if err != nil {
		return err
	}
	// Nothing but the verification is done on the tunnel, so what is demanded of others
	// is not demanded of this one.
	a.method, a.set.minLevel, a.set.acceptNew = method, levelFlag(xtls.LevelServerVouched), false
	est, cancel := a.establishing(ctx)
	defer cancel()
	e, err := a.online(est)
	if err != nil {
		return err
	}
	defer e.Close()
	conn, err := a.dial(est, e, peer, verifyService)
	if err != nil {
		return err
	}
	if !e.gate.verified.Load() { // the key was known, so nobody was asked
		if _, err := conn.Verify(est); err != nil {
			conn.Abort()
			return a.during(est, "verifying "+printable(conn.State().Peer.String()), err)
		}
	}
	if err := conn.Close(); err != nil {
		a.ui.detail("%s: %s", conn.State().Peer, err) // what was verified stays verified
	}
	a.ui.result("%s  %s", conn.State().Peer, standing(conn.State()))
	return nil
}

// errDataInVerification: a tunnel to verify on carries nothing.
var errDataInVerification = errors.New("the peer sends data on a tunnel to verify on")

// A noData refuses to be written to.
type noData struct{}

// Write refuses.
func (noData) Write([]byte) (int, error) { return 0, errDataInVerification }

// hold keeps a tunnel to verify on until the peer ends it. The library asks
// whoever has to decide.
func (h *host) hold(ctx context.Context, o *xtls.Offer) {
	conn := h.establish(ctx, o)
	if conn == nil {
		return
	}
	r, w := io.Pipe()
	// The end of the data may come by another way than the stanzas before the end of the
	// session, of which a verification here may still need the last.
	end := func() error {
		select {
		case <-conn.Done():
		case <-ctx.Done():
		case <-time.After(holdTime):
		}
		return w.Close()
	}
	n, err := splice(ctx, conn, localEnd{
		in: r, out: noData{}, endOut: end,
		stop: func() { _ = r.CloseWithError(errStopped) },
	})
	h.a.tunnelClosed(conn.State(), n, err)
	switch {
	case err == nil || !isAlarm(err):
	case h.once:
		h.finish(err)
	default:
		h.a.ui.fail(err)
	}
}
