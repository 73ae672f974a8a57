// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

const about = `Xtls-demo opens end-to-end encrypted tunnels between any two XMPP accounts. TLS 1.3
runs from one end to the other, carried by the servers, who cannot read it.

Data goes to standard output, text for people to standard error.`

const examples = `  xtls-demo demo                                  try it: no account, no network
  xtls-demo login alice@example.org               store an account
  xtls-demo serve --service web=localhost:8080    on one side
  xtls-demo nc bob@example.net web                on the other`

// root builds the command tree.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "xtls-demo",
		Short:         "end-to-end encrypted tunnels between XMPP accounts",
		Long:          about,
		Example:       examples,
		Args:          a.noVerb,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.complete(cmd)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &usageError{fmt.Errorf("no command given"), "xtls-demo help lists them; xtls-demo demo shows what this is"}
		},
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	a.set.register(root.PersistentFlags())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{err, "see: " + cmd.CommandPath() + " --help"}
	})
	root.AddCommand(a.demoCommand(), a.serverCommand(), a.loginCommand(), a.idCommand(), a.peersCommand(),
		a.serveCommand(), a.ncCommand(), a.chatCommand(), a.pingCommand(), a.benchCommand(), a.doctorCommand(), a.verifyCommand(), a.manCommand(), a.versionCommand())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	return root
}

// noVerb is what the root command makes of arguments that are no command.
func (a *app) noVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	e := &usageError{fmt.Errorf("unknown command %q", printable(args[0])), "xtls-demo help lists all commands"}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		e.hint = "did you mean: xtls-demo " + strings.Join(near, " or xtls-demo ")
	}
	return e
}

// argsBetween demands so many arguments.
func argsBetween(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= most {
			return nil
		}
		problem := "an argument is missing"
		if len(args) > most {
			problem = fmt.Sprintf("unexpected argument %q", printable(args[most]))
		}
		return &usageError{fmt.Errorf("%s", problem), "usage: " + cmd.UseLine()}
	}
}

// completePeers completes the address of a peer in a shell, from known_peers.
func (a *app) completePeers(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp
	if len(args) > 0 || a.complete(cmd) != nil {
		return nil, directive
	}
	store, err := a.trust()
	if err != nil {
		return nil, directive
	}
	peers, err := store.Peers()
	if err != nil {
		return nil, directive
	}
	var found []string
	for _, p := range peers {
		if name := p.String(); strings.HasPrefix(name, word) && name == printable(name) {
			found = append(found, name)
		}
	}
	return found, directive
}
