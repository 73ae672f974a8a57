// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"example.org/xtls/xtls/xtlstest"
)

// serverFlags are those of server.
type serverFlags struct {
	listen, listenTLS, domain, caOut string
	users                            []string
}

func (a *app) serverCommand() *cobra.Command {
	var f serverFlags
	cmd := &cobra.Command{
		Use:   "server",
		Short: "run a small XMPP server to try things out on",
		Long: `Server runs the XMPP server of the tests until it is interrupted. It is for trying
things out only: accounts live in memory, nothing is stored, there are no other
servers, and its certificate is made anew at each start.`,
		Example: `  xtls-demo server --listen 127.0.0.1:5222 --user alice:alice.pw --user bob:bob.pw --ca-out ca.pem
  xtls-demo login alice@localhost --server 127.0.0.1:5222 --server-ca ca.pem`,
		Args: argsBetween(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.server(cmd.Context(), f) },
	}
	cmd.Flags().StringVar(&f.listen, "listen", "127.0.0.1:0", "`HOST:PORT` for STARTTLS; port 0 is any free port")
	cmd.Flags().StringVar(&f.listenTLS, "listen-tls", "", "`HOST:PORT` for direct TLS (default: any free port of the same host)")
	cmd.Flags().StringArrayVar(&f.users, "user", nil, "add the account `NAME:PASSWORD-FILE`; may be given several times")
	cmd.Flags().StringVar(&f.domain, "domain", "localhost", "`DOMAIN` of the accounts")
	cmd.Flags().StringVar(&f.caOut, "ca-out", "", "write the authority of the server's certificate to `FILE`")
	return cmd
}

func (a *app) server(ctx context.Context, f serverFlags) error {
	cfg := xtlstest.Config{
		Domain: f.domain, Listen: f.listen, ListenDirect: f.listenTLS, Accounts: make(map[string]string),
	}
	if l := a.ui.loggers(); l != nil {
		cfg.Logger = l.NewLogger("server")
	}
	for _, user := range f.users {
		name, file, ok := strings.Cut(user, ":")
		if !ok || name == "" || file == "" {
			return usagef("--user %q: want NAME:PASSWORD-FILE", printable(user))
		}
		password, err := readPassword(file)
		if err != nil {
			return err
		}
		cfg.Accounts[name] = password
	}
	s, err := xtlstest.Start(cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	if f.caOut != "" {
		if err := os.WriteFile(f.caOut, s.CAPEM(), 0o644); err != nil { // public by nature
			return err
		}
	}
	a.ui.say("for try-outs only: accounts live in memory, nothing is stored")
	names := make([]string, 0, len(cfg.Accounts))
	for name := range cfg.Accounts {
		names = append(names, fmt.Sprintf("%s@%s", name, s.Domain()))
	}
	slices.Sort(names)
	a.ui.event("listening", "starttls", s.Addr(), "tls", s.DirectAddr(), "domain", s.Domain(), "accounts", names)
	for _, name := range names {
		a.ui.result("account %s", name)
	}
	a.ui.result("listening %s (STARTTLS), xmpps://%s (direct TLS)", s.Addr(), s.DirectAddr())
	<-ctx.Done()
	return errInterrupted
}
