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

	"github.com/spf13/cobra"
	"mellium.im/xmpp/jid"

	"example.org/xtls/xtls"
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
	offer := inspect(est, e.Client)
	a.ui.event("account", "jid", owner.Bare(), "tls", offer.tls, "login", "accepted", "resume", offer.resume,
		"limits", offer.limits, "proxy65", offer.proxyNames(), "fingerprint", e.Fingerprint(), "new_identity", fresh)
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
	domain   jid.JID
	tls      string
	resume   bool         // XEP-0198
	limits   bool         // XEP-0478
	proxies  []xtls.Proxy // XEP-0065
	proxyErr error        // why it is not known whether there are any
}

// Namespaces that servers announce.
const (
	nsSM     = "urn:xmpp:sm:3"
	nsLimits = "urn:xmpp:stream-limits:0"
)

// inspect asks what the server has.
func inspect(ctx context.Context, c *xtls.Client) serverOffer {
	s := c.Session()
	o := serverOffer{domain: s.LocalAddr().Domain(), tls: tls.VersionName(s.ConnectionState().Version)}
	_, o.resume = s.Feature(nsSM)
	_, o.limits = s.Feature(nsLimits)
	o.proxies, o.proxyErr = c.Proxies(ctx)
	return o
}

// proxyNames are the addresses of the services, each once.
func (o serverOffer) proxyNames() []string {
	names := []string{}
	for _, p := range o.proxies {
		if name := p.JID.Domain().String(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// String is for people.
func (o serverOffer) String() string {
	proxies := "no proxy65"
	switch {
	case o.proxyErr != nil:
		proxies = "proxy65 not known: " + o.proxyErr.Error()
	case len(o.proxies) > 0:
		proxies = "proxy65 " + strings.Join(o.proxyNames(), " ")
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
