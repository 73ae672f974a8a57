// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"errors"
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
checked is PINNED, one that you compared is VERIFIED, one that an authority of your
choice certified is CA, and one that is refused is REVOKED. Below are the
verifications that ended in a mismatch (DISPUTED) or without a result. It works
without a connection. The file is known_peers; it may be edited by hand.`,
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
			Use: "revoke JID FINGERPRINT", Short: "refuse a known key from now on",
			Long: `Revoke marks a known key of JID as one to refuse, for example because the device
was stolen. Other keys of JID stay as they are. Only editing known_peers undoes it.`,
			Args: argsBetween(2, 40), ValidArgsFunction: a.completePeers,
			RunE: func(_ *cobra.Command, args []string) error {
				return a.peersRevoke(args[0], strings.Join(args[1:], ""))
			},
		},
		&cobra.Command{
			Use: "forget JID", Short: "forget all keys of a peer but revoked ones",
			Long: `Forget forgets the keys of JID, verified ones too, and that it speaks version 1 of
the protocol. Revoked keys stay, and so does what is known of verifications that
failed: somebody in the middle would like to see them forgotten.`,
			Args: argsBetween(1, 1), ValidArgsFunction: a.completePeers,
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

// date formats a date for programs, "" if there is none.
func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.DateOnly)
}

// keyEvent tells programs about one known key.
func (a *app) keyEvent(ev string, r fingerprint.Record) {
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
	facts, err := store.PeerFacts()
	if err != nil {
		return err
	}
	if len(records) == 0 && len(facts) == 0 {
		a.ui.say("nobody is known yet")
		return nil
	}
	if err := a.keyTable(records); err != nil {
		return err
	}
	for _, p := range facts {
		a.factsEvent(p)
		if lines := factLines("  ", p); lines != "" {
			a.ui.result("%s\n%s", p.JID, verbatim(strings.TrimSuffix(lines, "\n")))
		}
	}
	return nil
}

// factsEvent tells programs what is remembered of a peer whatever its key.
func (a *app) factsEvent(p fingerprint.Peer) {
	a.ui.event("facts", "peer", p.JID, "required", p.Required, "disputed", date(p.Disputed), "interrupted", p.Interrupted,
		"sas_failed", p.SASFailures, "password_failed", p.PasswordFailures)
}

// keyTable prints a table of keys.
func (a *app) keyTable(records []fingerprint.Record) error {
	if len(records) == 0 {
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
	facts, err := store.Peer(peer)
	if err != nil {
		return err
	}
	lines := factLines("  ", facts)
	if facts.Required {
		lines += "  XTLS of version 1 is required: the plain draft is refused as\n  somebody's doing, until the peer is forgotten.\n"
	}
	if !found && lines == "" {
		return fmt.Errorf("no key of %s is known", peer)
	}
	a.factsEvent(facts)
	if !found {
		a.ui.result("%s  no key is known", peer)
	}
	if lines != "" {
		a.ui.result("%s", verbatim(strings.TrimSuffix(lines, "\n")))
	}
	return nil
}

func (a *app) peersRevoke(name, text string) error {
	store, peer, err := a.known(name)
	if err != nil {
		return err
	}
	key, err := fingerprint.Parse(text)
	if err != nil {
		return &usageError{err, "the fingerprints of a peer are listed by: xtls-demo peers show JID"}
	}
	r, err := store.Revoke(peer, key)
	var others *fingerprint.ChangedError
	if errors.Is(err, fingerprint.ErrUnknown) || errors.As(err, &others) {
		return fmt.Errorf("this key of %s is not known, so there is nothing to revoke", peer) // no alarm: nobody showed it
	}
	if err != nil {
		return err
	}
	a.keyEvent("revoked", r)
	a.ui.result("the key %s of %s is REVOKED: it is refused from now on", r.Key.Grouped(), r.Peer)
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
	before, err := store.Peer(peer)
	if err != nil {
		return err
	}
	n, err := store.Forget(peer)
	if err != nil {
		return err
	}
	revoked, facts, err := remaining(store, peer)
	if err != nil {
		return err
	}
	switch {
	case before.Required:
	case n == 0 && revoked > 0:
		return fmt.Errorf("all keys of %s that are known are revoked, and stay so", peer)
	case n == 0:
		return fmt.Errorf("no key of %s is known", peer)
	}
	a.ui.event("forgotten", "peer", peer, "keys", n, "revoked", revoked)
	if n > 0 {
		a.ui.result("forgot %d of %s", n, peer)
	} else {
		a.ui.result("forgot that %s has spoken version 1; no key was known", peer)
	}
	if revoked > 0 {
		a.ui.result("revoked keys stay, and are refused: %d", revoked)
	}
	if lines := factLines("  ", facts); lines != "" {
		a.ui.result("what stays until it is verified:\n%s", verbatim(strings.TrimSuffix(lines, "\n")))
	}
	return nil
}

// remaining is what is still known of a peer that was forgotten.
func remaining(store *fingerprint.Store, peer jid.JID) (revoked int, facts fingerprint.Peer, err error) {
	records, err := store.Records()
	if err != nil {
		return 0, facts, err
	}
	for _, r := range records {
		if r.Peer.Equal(peer) {
			revoked++
		}
	}
	facts, err = store.Peer(peer)
	return revoked, facts, err
}
