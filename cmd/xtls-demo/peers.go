// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
)

func (a *app) peersCommand() *cobra.Command {
	list := func(*cobra.Command, []string) error { return a.peersList() }
	peers := &cobra.Command{
		Use:   "peers",
		Short: "list and change what is known of the keys of others",
		Long: `Peers lists the keys of others that are known. A key that came without being
checked is PINNED, one that you compared is VERIFIED. It works without a
connection. The file is known_peers; it may be edited by hand.`,
		Example: `  xtls-demo peers
  xtls-demo peers pin bob@example.net 4fb63a0c ...`,
		Args: argsBetween(0, 0),
		RunE: list,
	}
	peers.AddCommand(
		&cobra.Command{Use: "list", Short: "list all known keys", Args: argsBetween(0, 0), RunE: list},
		&cobra.Command{
			Use: "show JID", Short: "show all that is known of a peer", Args: argsBetween(1, 1), ValidArgsFunction: a.completePeers,
			RunE: func(_ *cobra.Command, args []string) error { return a.peersShow(args[0]) },
		},
		&cobra.Command{
			Use: "pin JID FINGERPRINT", Short: "remember a key that you have compared, as VERIFIED",
			Long: `Pin remembers the key with this fingerprint as that of JID, VERIFIED. Compare the
whole fingerprint with what the peer's "xtls-demo id" prints, by another way than
XMPP. Groups and colons in it do not matter.`,
			Args: argsBetween(2, 40), ValidArgsFunction: a.completePeers,
			RunE: func(_ *cobra.Command, args []string) error {
				return a.peersPin(args[0], strings.Join(args[1:], ""))
			},
		},
		&cobra.Command{
			Use: "forget JID", Short: "forget all keys of a peer", Args: argsBetween(1, 1), ValidArgsFunction: a.completePeers,
			RunE: func(_ *cobra.Command, args []string) error { return a.peersForget(args[0]) },
		},
	)
	return peers
}

// known opens the trust store and reads the address of a peer.
func (a *app) known(name string) (*fingerprint.Store, jid.JID, error) {
	peer, err := parseAccount(name)
	if err != nil {
		return nil, jid.JID{}, err
	}
	store, err := a.trust()
	return store, peer.Bare(), err
}

// keyEvent tells programs about one known key.
func (a *app) keyEvent(ev string, r fingerprint.Record) {
	date := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.Format(time.DateOnly)
	}
	a.ui.event(ev, "peer", r.Peer, "fingerprint", r.Key, "level", string(r.Level), "method", string(r.Method),
		"first", date(r.First), "last", date(r.Last), "verified", date(r.Verified), "label", r.Label)
}

func (a *app) peersList() error {
	store, err := a.trust()
	if err != nil {
		return err
	}
	records, err := store.Records()
	if err != nil {
		return err
	}
	if len(records) == 0 {
		a.ui.say("nobody is known yet")
		return nil
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PEER\tLEVEL\tMETHOD\tFIRST\tLAST\tFINGERPRINT\tLABEL")
	for _, r := range records {
		a.keyEvent("peer", r)
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", printable(r.Peer.String()), strings.ToUpper(string(r.Level)), r.Method,
			dash(r.First), dash(r.Last), r.Key, printable(r.Label))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	a.ui.result("%s", verbatim(trimLines(b.String())))
	return nil
}

// trimLines removes blanks at the ends of lines.
func trimLines(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.Join(lines, "\n")
}

func dash(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.DateOnly)
}

func (a *app) peersShow(name string) error {
	store, peer, err := a.known(name)
	if err != nil {
		return err
	}
	records, err := store.Records()
	if err != nil {
		return err
	}
	found := false
	for _, r := range records {
		if !r.Peer.Equal(peer) {
			continue
		}
		found = true
		a.keyEvent("peer", r)
		a.ui.result("%s  %s (%s)", r.Peer, strings.ToUpper(string(r.Level)), string(r.Method))
		a.ui.result("  %s", r.Key.Grouped())
		a.ui.result("  first %s, last %s, verified %s", dash(r.First), dash(r.Last), dash(r.Verified))
		if r.Label != "" {
			a.ui.result("  %q", r.Label)
		}
	}
	if !found {
		return fmt.Errorf("no key of %s is known", peer)
	}
	return nil
}

func (a *app) peersPin(name, text string) error {
	store, peer, err := a.known(name)
	if err != nil {
		return err
	}
	key, err := fingerprint.Parse(text)
	if err != nil {
		return &usageError{err, "the peer's fingerprint is what xtls-demo id prints over there: 64 digits"}
	}
	r, err := store.Pin(fingerprint.Record{
		Peer: peer, Key: key, Level: fingerprint.LevelVerified, Method: fingerprint.MethodFingerprint,
	}, time.Now())
	if err != nil {
		return err
	}
	a.keyEvent("pinned", r)
	a.ui.result("%s is VERIFIED by its fingerprint", r.Peer)
	return nil
}

func (a *app) peersForget(name string) error {
	store, peer, err := a.known(name)
	if err != nil {
		return err
	}
	n, err := store.Forget(peer)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("no key of %s is known", peer)
	}
	a.ui.event("forgotten", "peer", peer, "keys", n)
	a.ui.result("forgot %d of %s", n, peer)
	return nil
}
