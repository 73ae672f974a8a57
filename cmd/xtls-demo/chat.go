// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"context"

	"github.com/spf13/cobra"

	"example.org/xtls/xtls"
)

func (a *app) chatCommand() *cobra.Command {
	f := serveFlags{chat: true, once: true}
	cmd := &cobra.Command{
		Use:   "chat [JID]",
		Short: "exchange lines with a peer over an end-to-end XML stream",
		Long: `Chat sends standard input to JID line by line; what the peer writes goes to
standard output, after its address and a colon. Without JID it goes online, prints
"ready" and its full JID on standard error, and waits for one peer to call; --allow
says who may. Meanwhile it answers pings and verifications as serve does.

The lines are messages in an XML stream inside the tunnel (XEP-0247): no server sees
one, and none is stored anywhere. Each line is marked on standard error when it has
reached the peer's program (XEP-0184).

At the end of input chat waits until every line has arrived, for 30 seconds at most.
Who called then ends the chat when the peer has said everything or is silent for a
second, who waited when the peer has said everything. The exit code is 0 only if
every line has arrived.`,
		Example: `  xtls-demo chat --allow alice@example.org
  xtls-demo chat bob@example.net
  echo "the backup is done" | xtls-demo chat bob@example.net`,
		Args:              argsBetween(0, 1),
		ValidArgsFunction: a.completePeers,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case a.set.yesCode:
				return errCodeOnDataInput("chat")
			case len(args) == 0:
				return a.serve(cmd.Context(), f)
			case len(f.allow) > 0 || f.method != "":
				return usagef("--allow and --method are for who waits; with JID it is you who calls")
			}
			return a.chat(cmd.Context(), args[0])
		},
	}
	cmd.Flags().StringArrayVar(&f.allow, "allow", nil, "without JID: take calls of the account `JID` only; may be given several times")
	methodFlag(cmd, &f.method, verifyMethods[:2])
	return cmd
}

// chat calls a peer.
func (a *app) chat(ctx context.Context, name string) error {
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
	conn, err := a.dialApp(est, e, peer, xtls.XMLStream())
	if err != nil {
		return err
	}
	e.gate.taken.Store(isTerminal(a.in))
	std := newStdio(a.streams)
	defer std.close()
	return a.converse(ctx, est, conn, std)
}

// serveChat is chat for the one who waits.
func (h *host) serveChat(ctx context.Context, o *xtls.Offer) {
	defer h.release()
	est, cancel := h.a.establishing(ctx)
	defer cancel()
	conn := h.establish(ctx, o)
	if conn == nil {
		return
	}
	h.e.gate.taken.Store(isTerminal(h.a.in))
	h.finish(h.a.converse(ctx, est, conn, h.std))
}

// converse runs a chat in a tunnel to its end, and closes the tunnel. est bounds the
// beginning of the XML stream.
func (a *app) converse(ctx, est context.Context, conn *xtls.Conn, std *stdio) error {
	c := newConversation(a, conn)
	err := c.open(est)
	if err == nil {
		err = c.run(ctx, std.end(true))
	} else {
		err = a.during(est, "beginning a chat with "+printable(conn.State().Peer.String()), err)
	}
	err = c.close(err)
	a.tunnelClosed(conn.State(), c.traffic, err)
	return err
}
