// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) ncCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "nc JID [SERVICE]",
		Short: "join standard input and output with a service of a peer",
		Long: `Nc opens a tunnel to JID and sends it standard input; what the peer sends goes to
standard output. Without SERVICE the peer answers with its own standard input
and output (xtls-demo serve --stdio).

The end of one direction is passed on and leaves the other one running. The exit
code is 0 only if both ends said that they have sent everything and nothing was
cut off or altered.

JID is an account, or one device of it: bob@example.net/laptop.`,
		Example: `  xtls-demo nc bob@example.net web <request >answer
  ssh -o ProxyCommand='xtls-demo nc bob@example.net ssh' me@bob`,
		Args:              argsBetween(1, 2),
		Annotations:       map[string]string{dataOnStdout: "always"},
		ValidArgsFunction: a.completePeers,
		RunE: func(cmd *cobra.Command, args []string) error {
			service := ""
			if len(args) == 2 {
				service = args[1]
			}
			return a.nc(cmd.Context(), args[0], service)
		},
	}
}

// errCodeOnDataInput says that standard input cannot be both.
func errCodeOnDataInput(what string) error {
	return &usageError{
		fmt.Errorf("--yes-code-from-stdin: the standard input of %s is the tunnel's", what),
		"verify before: xtls-demo verify JID --yes-code-from-stdin",
	}
}

func (a *app) nc(ctx context.Context, name, service string) error {
	peer, err := parseAccount(name)
	if err == nil {
		err = checkService(service)
	}
	if err != nil {
		return err
	}
	if a.set.yesCode {
		return errCodeOnDataInput("nc")
	}
	est, cancel := a.establishing(ctx)
	defer cancel()
	e, err := a.online(est)
	if err != nil {
		return err
	}
	defer e.Close()
	conn, err := a.dial(est, e, peer, service)
	if err != nil {
		return err
	}
	e.gate.taken.Store(isTerminal(a.in))
	std := newStdio(a.streams)
	defer std.close()
	n, err := splice(ctx, conn, std.end(true))
	a.tunnelClosed(conn.State(), n, err)
	return err
}
