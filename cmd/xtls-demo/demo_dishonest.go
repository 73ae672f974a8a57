// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"context"
	"errors"
	"strings"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls/xtlstest"
)

// dishonest shows what becomes of a server that cheats.
func (d *demo) dishonest(ctx context.Context) error {
	d.a.ui.result("\nNow the server is dishonest.")
	cert, err := fingerprint.NewIdentity(jid.MustParse("bob@demo.local"))
	if err != nil {
		return err
	}
	theirs := fingerprint.Of(cert.Certificate[0])
	cases := []struct {
		name, text string
		tamper     xtlstest.Tamper
	}{
		{"swap", "It puts the fingerprint of a key of its own into the negotiation:", xtlstest.SwapFingerprint(theirs.String())},
		{"strip", "It takes the encryption out of the negotiation:", xtlstest.StripSecurity()},
	}
	for _, c := range cases {
		d.server.SetTamper(c.tamper)
		if err := d.refused(ctx, c.name, c.text, d.bob); err != nil {
			return err
		}
	}
	d.server.SetTamper(nil)
	return d.middle(ctx)
}

// middle puts a client between the two that says it is bob, with a certificate in
// the name of bob. Alice knows bob's key, so she notices.
func (d *demo) middle(ctx context.Context) error {
	bob := d.bob.LocalAddr()
	if err := d.server.AddShadow("mallory", demoPassword, bob, d.alice.LocalAddr()); err != nil {
		return err
	}
	mallory, err := d.connect(ctx, jid.MustParse("mallory@demo.local"), bob.Bare(), agree)
	if err != nil {
		return err
	}
	defer mallory.Close()
	err = d.refused(ctx, "middle", "It puts somebody with another key in the place of bob:", mallory)
	if err != nil {
		return err
	}
	return d.middleOfFirstContact(ctx)
}

// refused has alice call somebody over the dishonest server and demands that it
// fails on both sides.
func (d *demo) refused(ctx context.Context, name, text string, to *actor) error {
	alice, other, err, _ := d.open(ctx, d.alice, to, false)
	if err == nil || alice != nil || other != nil {
		return errors.New("a dishonest server was not noticed")
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	d.a.ui.result("  %s", text)
	d.stopped(name, err)
	return nil
}

// stopped tells how alice was kept from going on.
func (d *demo) stopped(name string, err error) {
	d.tell(name, "    alice: %s\n    Nothing was sent. The exit code of xtls-demo nc would be %d.", "error", err, "code", exitCode(err))
	if text := explanation(err); text != "" {
		d.a.ui.result("%s", verbatim(strings.TrimRight(text, "\n")))
	}
}
