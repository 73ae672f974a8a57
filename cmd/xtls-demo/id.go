// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
	"mellium.im/xmpp/jid"
	"rsc.io/qr"

	"example.org/xtls/fingerprint"
)

func (a *app) idCommand() *cobra.Command {
	var asQR bool
	cmd := &cobra.Command{
		Use:   "id",
		Short: "print the own address and fingerprint",
		Long: `Id prints what a peer needs to be sure that it talks to you: your address and the
fingerprint of your key. Give them to the peer by another way than XMPP. It works
without a connection and makes the key if there is none yet.`,
		Args: argsBetween(0, 0),
		RunE: func(*cobra.Command, []string) error { return a.id(asQR) },
	}
	cmd.Flags().BoolVar(&asQR, "qr", false, "print a QR code as well")
	return cmd
}

func (a *app) id(asQR bool) error {
	owner, err := a.owner()
	if err != nil {
		return err
	}
	cert, err := a.identity(owner)
	if err != nil {
		return err
	}
	key := fingerprint.Of(cert.Certificate[0])
	uri := cardURI(owner, key)
	a.ui.event("id", "jid", owner.Bare(), "fingerprint", key, "uri", uri)
	a.ui.result("%s", owner.Bare())
	a.ui.result("%s", key.Grouped())
	a.ui.result("%s", uri)
	if !asQR {
		return nil
	}
	code, err := qr.Encode(uri, qr.M)
	if err != nil {
		return err
	}
	a.ui.result("%s", verbatim(halfBlocks(code)))
	return nil
}

// cardURI names an account and its key (RFC 5122 with a query of our own). The
// digits stand without separators: these have broken scanning elsewhere.
func cardURI(j jid.JID, key fingerprint.Fingerprint) string {
	local := url.PathEscape(j.Localpart())
	return "xmpp:" + local + "@" + j.Domainpart() + "?xtls-fp=" + key.String()
}

// quietZone is the light margin that a QR code needs, in modules.
const quietZone = 2

// halfBlocks draws a QR code, two rows in each line. Dark modules are blank and
// light ones are drawn, as terminals are dark more often than not; scanners take
// both.
func halfBlocks(code *qr.Code) string {
	light := func(x, y int) bool { return y < code.Size+quietZone && !code.Black(x, y) }
	var b strings.Builder
	for y := -quietZone; y < code.Size+quietZone; y += 2 {
		for x := -quietZone; x < code.Size+quietZone; x++ {
			switch upper, lower := light(x, y), light(x, y+1); {
			case upper && lower:
				b.WriteRune('█')
			case upper:
				b.WriteRune('▀')
			case lower:
				b.WriteRune('▄')
			default:
				b.WriteByte(' ')
			}
		}
		fmt.Fprintln(&b)
	}
	return strings.TrimRight(b.String(), "\n")
}
