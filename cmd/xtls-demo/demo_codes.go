// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"context"
	"errors"
	"strings"
	"sync"

	"mellium.im/xmpp/jid"

	"example.org/xtls/sas"
	"example.org/xtls/xtls"
)

// A telephone is the line on which the two read codes to each other. Nobody else
// speaks on it.
type telephone struct {
	lines map[string]chan sas.Code // by who reads

	mu    sync.Mutex
	shown map[string]sas.Code // by who sees it
}

func newTelephone() *telephone {
	return &telephone{
		lines: map[string]chan sas.Code{"alice": make(chan sas.Code, 1), "bob": make(chan sas.Code, 1)},
		shown: make(map[string]sas.Code),
	}
}

// user reads the own code to the other and compares it with what is heard.
func (p *telephone) user(me, other string) func(context.Context, sas.Code) (sas.Result, error) {
	return func(ctx context.Context, code sas.Code) (sas.Result, error) {
		p.mu.Lock()
		p.shown[me] = code
		p.mu.Unlock()
		p.lines[me] <- code
		select {
		case heard := <-p.lines[other]:
			if matches(code, heard.B32()) {
				return sas.Match, nil
			}
			return sas.Mismatch, nil
		case <-ctx.Done():
			return sas.GaveUp, context.Cause(ctx)
		}
	}
}

// agree is the user in the middle, who says that everything is well.
func agree(context.Context, sas.Code) (sas.Result, error) { return sas.Match, nil }

// codes shows what the two have seen.
func (d *demo) codes(fact string, p *telephone) (equal bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	alice, bob := p.shown["alice"], p.shown["bob"]
	equal = matches(alice, bob.B32())
	for _, name := range []string{"alice", "bob"} {
		code := p.shown[name]
		d.tell(fact, "    %-5s sees  %s   %s   %s", "who", name, "b32", code.B32Grouped(), "decimal", numbers(code),
			"emoji", strings.Join(pictures(code), ", "))
	}
	return equal
}

// middleOfFirstContact puts somebody between two who have never talked: with a
// client in the place of each, certificates in their names, and two tunnels. No key
// gives it away. The codes do.
func (d *demo) middleOfFirstContact(ctx context.Context) error {
	phone := newTelephone()
	var people [2]*actor
	for i, names := range [][2]string{{"alice", "bob"}, {"bob", "alice"}} {
		account := jid.MustParse(names[0] + "@demo.local")
		who, err := d.connect(ctx, account, account, phone.user(names[0], names[1]))
		if err != nil {
			return err
		}
		defer who.Close()
		people[i] = who
	}
	alice, bob := people[0], people[1]
	asBob, err := d.shadow(ctx, "trudy", bob, alice)
	if err != nil {
		return err
	}
	defer asBob.Close()
	asAlice, err := d.shadow(ctx, "oscar", alice, bob)
	if err != nil {
		return err
	}
	defer asAlice.Close()
	alicesErr, bobsErr := d.relayed(ctx, alice, bob, asAlice, asBob)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	d.a.ui.result("  It is in the middle when two talk for the first time, with a tunnel to each:")
	if d.codes("middle-codes", phone) || !errors.Is(alicesErr, xtls.ErrMismatch) || !errors.Is(bobsErr, xtls.ErrMismatch) {
		return errors.New("a man in the middle of a first contact was not noticed")
	}
	d.tell("middle-bob", "    bob:   %s", "error", bobsErr)
	d.stopped("middle-first", alicesErr)
	return nil
}

// shadow logs in a client that is somebody for somebody else only.
func (d *demo) shadow(ctx context.Context, account string, as, toward *actor) (*actor, error) {
	if err := d.server.AddShadow(account, demoPassword, as.LocalAddr(), toward.LocalAddr()); err != nil {
		return nil, err
	}
	return d.connect(ctx, jid.MustParse(account+"@demo.local"), as.LocalAddr().Bare(), agree)
}

// relayed has alice call bob with somebody between the two, and returns how it
// ended for each. That one of four ends has a tunnel is an error.
func (d *demo) relayed(ctx context.Context, alice, bob, asAlice, asBob *actor) (alicesErr, bobsErr error) {
	var first, second [2]*xtls.Conn
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		second[0], second[1], _, bobsErr = d.open(ctx, asAlice, bob, false)
	}()
	first[0], first[1], alicesErr, _ = d.open(ctx, alice, asBob, false)
	<-ended
	for _, c := range []*xtls.Conn{first[0], first[1], second[0], second[1]} {
		if c != nil {
			c.Abort()
			alicesErr = errors.New("somebody in the middle has a tunnel")
		}
	}
	return alicesErr, bobsErr
}
