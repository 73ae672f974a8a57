// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "man",
		Short:   "print the manual page",
		Long:    `Man prints the manual page of this program in the language of roff.`,
		Example: `  xtls-demo man >xtls-demo.1 && man ./xtls-demo.1`,
		Args:    argsBetween(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(a.out, manual(cmd.Root()))
			return err
		},
	}
}

// A page is a manual page under construction.
type page struct{ strings.Builder }

// manual returns the manual page of all commands.
func manual(root *cobra.Command) string {
	p := &page{}
	p.WriteString(".TH XTLS-DEMO 1\n")
	p.section("NAME", root.Name()+" - "+root.Short)
	p.section("SYNOPSIS", root.Name()+" COMMAND [FLAGS] [ARGUMENTS]")
	p.section("DESCRIPTION", root.Long)
	p.WriteString(".SH COMMANDS\n")
	p.commands(root)
	p.WriteString(".SH GLOBAL FLAGS\n")
	p.flags(root.PersistentFlags())
	p.section("ENVIRONMENT", environmentText)
	p.section("FILES", filesText)
	p.section("EXIT STATUS", exitText)
	p.section("EVENTS", eventsText)
	p.section("EXAMPLES", "")
	p.literal(root.Example)
	return p.String()
}

// commands describes the commands below c, all levels of them.
func (p *page) commands(c *cobra.Command) {
	for _, sub := range c.Commands() {
		if sub.Hidden {
			continue
		}
		p.WriteString(".SS " + roff(strings.TrimPrefix(sub.UseLine(), sub.Root().Name()+" ")) + "\n")
		text := sub.Long
		if text == "" {
			text = sub.Short
		}
		p.text(text)
		p.flags(sub.LocalNonPersistentFlags())
		if sub.Example != "" {
			p.WriteString(".PP\n")
			p.literal(sub.Example)
		}
		p.commands(sub)
	}
}

// flags describes flags.
func (p *page) flags(f *pflag.FlagSet) {
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden || flag.Name == "help" {
			return
		}
		name, usage := pflag.UnquoteUsage(flag)
		text := "--" + flag.Name
		if flag.Shorthand != "" {
			text = "-" + flag.Shorthand + ", " + text
		}
		if name != "" && flag.NoOptDefVal == "" {
			text += " " + name
		}
		p.WriteString(".TP\n.B " + roff(text) + "\n")
		p.text(usage)
	})
}

func (p *page) section(title, text string) {
	p.WriteString(".SH " + title + "\n")
	p.text(text)
}

// text writes paragraphs, which empty lines separate.
func (p *page) text(text string) {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == "":
			p.WriteString(".PP\n")
		case strings.HasPrefix(line, "  "):
			p.WriteString(".br\n" + roff(strings.TrimSpace(line)) + "\n")
		default:
			p.WriteString(roff(line) + "\n")
		}
	}
}

// literal writes lines as they are.
func (p *page) literal(text string) {
	p.WriteString(".nf\n")
	for line := range strings.Lines(text) {
		p.WriteString(roff(strings.TrimRight(line, "\n")) + "\n")
	}
	p.WriteString(".fi\n")
}

// roff escapes a line of text.
func roff(line string) string {
	line = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(line)
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		line = `\&` + line
	}
	return line
}

const environmentText = `Every global flag has a variable: XTLS_ and its name in capitals, dashes as
underscores, such as XTLS_PASSWORD_FILE for --password-file. A flag goes before
the variable, the variable before config.toml.

XTLS_PASSWORD holds the password itself.
XDG_CONFIG_HOME and XDG_DATA_HOME say where files are kept.`

const filesText = `  $XDG_CONFIG_HOME/xtls/config.toml (default ~/.config): ca, security, path, block_size, min_level, accept_new, timeout, json, quiet, verbose;
under [account], written by login: jid, password, server, server_ca
  $XDG_DATA_HOME/xtls/identity.pem (default ~/.local/share): the own key and certificate
  $XDG_DATA_HOME/xtls/known_peers: the keys of others, one in a line

With --config DIR all of them are in DIR. Files that others have access to are
refused.`

const exitText = `  0   done
  1   another failure
  2   usage
  3   own server: DNS, TLS, login
  4   the peer is offline, has no XTLS, or several devices of it answer
  5   the peer is unknown and there is nobody to ask, or the answer was no; or a
verification came to nothing
  6   alarm: the key of the peer has changed, somebody changed what was sent, or the
codes or passwords differ
  7   the peer declined
  8   timed out
  9   the tunnel or the connection to the server was lost
  130 interrupted (Ctrl-C, SIGTERM, a terminal that was closed)`

const eventsText = `With --json each event is one JSON object in a line, on standard error if standard
output carries data (nc, serve --stdio), else on standard output. Each has a field
"ev", and the last one is {"ev":"exit","code":N,"why":TEXT}. The others are:
  account     of login: what the server offers
  advice      of doctor: what the user ("for":"user") or the admin of the server may do
("for":"admin"), with lines for the configuration (config), if it is known how
  bench       of bench: one measurement: octets and seconds up and down, round trips
  changed     a peer shows another key than the ones known, none of them verified
  closed      the end of a tunnel: octets sent and received, code and why
  code        a one-time code to read to the peer's user, who types it: display
  delivered   of chat: a line has reached the peer, counted from 1 (n)
  demo        one fact of the demonstration
  doctor      one finding on the own server: what, and what was measured
  facts       what is remembered of a peer: failed verifications, the day of a mismatch
  forgotten   keys of a peer were forgotten
  id          the own address and fingerprint
  listening   of server: where it listens
  log         a message of the library (-vv)
  message     of chat: a line of the peer (body)
  new         a peer shows a key that is not known
  peer        a known key
  ping        one round trip, in milliseconds; with ping --load, whether under load
  pinned      a key was pinned by hand
  presence    of chat: the peer is there, or has said everything (available)
  ready       of serve and chat: tunnels are taken from now on
  refused     an offer that did not become a tunnel: code and why
  revoked     a key was revoked
  sas         the code to compare: b32, decimal, emoji
  summary     of ping; with --load one without and one under load
  tunnel      an established tunnel: level, path, tls, group, pq
  verified    a peer was verified: method, fingerprint
  version     of this program`
