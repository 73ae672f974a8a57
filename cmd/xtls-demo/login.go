// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"mellium.im/xmpp"
	"mellium.im/xmpp/disco"
	"mellium.im/xmpp/disco/info"
	"mellium.im/xmpp/disco/items"
	"mellium.im/xmpp/jid"
)

func (a *app) loginCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "login JID",
		Short: "check an account and store it",
		Long: `Login connects to the server of the account, proves the password, makes a key of
your own if there is none yet, stores the account, and prints what the server
offers. The password is asked for on the terminal, or comes from --password-file
or XTLS_PASSWORD.`,
		Example: `  xtls-demo login alice@example.org`,
		Args:    argsBetween(1, 1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.login(cmd.Context(), args[0]) },
	}
}

func (a *app) login(ctx context.Context, name string) error {
	owner, err := parseAccount(name)
	if err != nil {
		return err
	}
	acc := account{JID: owner.String(), Server: a.set.server, ServerCA: a.set.serverCA}
	if acc.ServerCA != "" {
		if acc.ServerCA, err = filepath.Abs(acc.ServerCA); err != nil {
			return err
		}
	}
	est, cancel := a.establishing(ctx)
	defer cancel()
	if acc.Password, err = a.password(est, owner, ""); err != nil {
		return a.during(est, "waiting for the password", err)
	}
	_, err = os.Stat(a.set.files.identity)
	fresh := errors.Is(err, fs.ErrNotExist)
	e, err := a.connect(est, owner, acc)
	if err != nil {
		return err
	}
	defer e.Close()
	if err := saveAccount(a.set.files.config, acc); err != nil {
		return err
	}
	offer := a.inspect(est, e.Session())
	a.ui.event("account", "jid", owner.Bare(), "tls", offer.tls, "login", "accepted", "resume", offer.resume,
		"limits", offer.limits, "proxy65", offer.proxies, "fingerprint", e.Fingerprint(), "new_identity", fresh)
	a.ui.result("%s", verbatim(offer.String()))
	if fresh {
		a.ui.result("made your key, kept in %s", a.set.files.identity)
	}
	a.ui.result("stored the account in %s", a.set.files.config)
	a.ui.result("your fingerprint: %s", e.Fingerprint().Grouped())
	return nil
}

// A serverOffer is what a server has for its users, as far as it says so.
type serverOffer struct {
	domain  jid.JID
	tls     string
	resume  bool     // XEP-0198
	limits  bool     // XEP-0478
	proxies []string // XEP-0065
}

// Namespaces that servers announce.
const (
	nsSM      = "urn:xmpp:sm:3"
	nsLimits  = "urn:xmpp:stream-limits:0"
	nsProxy65 = "http://jabber.org/protocol/bytestreams"
)

const (
	// maxItems bounds the services of a server that are asked what they are.
	maxItems = 16
	// inspectTime bounds the questions to the server.
	inspectTime = 10 * time.Second
)

// inspect asks what the server has. What it does not answer is not there.
func (a *app) inspect(ctx context.Context, s *xmpp.Session) serverOffer {
	o := serverOffer{domain: s.LocalAddr().Domain(), tls: tls.VersionName(s.ConnectionState().Version), proxies: []string{}}
	_, o.resume = s.Feature(nsSM)
	_, o.limits = s.Feature(nsLimits)
	ctx, cancel := context.WithTimeout(ctx, inspectTime)
	defer cancel()
	for _, service := range serverItems(ctx, s, o.domain) {
		about, err := disco.GetInfo(ctx, "", service, s)
		if err == nil && slices.ContainsFunc(about.Features, func(f info.Feature) bool { return f.Var == nsProxy65 }) {
			o.proxies = append(o.proxies, service.String())
		}
	}
	return o
}

// serverItems lists the services of a domain.
func serverItems(ctx context.Context, s *xmpp.Session, domain jid.JID) []jid.JID {
	iter := disco.FetchItems(ctx, items.Item{JID: domain}, s)
	var found []jid.JID
	for len(found) < maxItems && iter.Next() {
		found = append(found, iter.Item().JID)
	}
	_ = iter.Close() // what came is what there is
	return found
}

// String is for people.
func (o serverOffer) String() string {
	proxies := "no proxy65"
	if len(o.proxies) > 0 {
		proxies = "proxy65 " + strings.Join(o.proxies, " ")
	}
	return fmt.Sprintf("%s: %s, login accepted, resume %s, stanza limits %s, %s", printable(o.domain.String()), o.tls,
		yesNo(o.resume), announced(o.limits), printable(proxies))
}

func announced(b bool) string {
	if b {
		return "announced"
	}
	return "not announced"
}
