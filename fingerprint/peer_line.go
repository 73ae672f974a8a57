// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// peerWord stands in a line about a peer where others have the key. It is no fingerprint in any form.
const peerWord = "peer"

// The words of a line about a peer that are fields of a Peer.
const (
	factRequired       = "required"
	factDisputed       = "disputed"
	factInterrupted    = "interrupted"
	factSASFailed      = "sas-failed"
	factPasswordFailed = "password-failed"
	factPasswordTotal  = "password-total"
	factPasswordLocked = "password-locked"
	factCodes          = "codes"
)

// parsePeer reads a line about a peer.
func parsePeer(fields []field) (*Peer, error) {
	const fixed = 2
	p := new(Peer)
	var err error
	if p.JID, err = fields[0].peer(); err != nil {
		return nil, err
	}
	if err := setAll(fields[fixed:], p.set); err != nil {
		return nil, err
	}
	*p = p.normal()
	return p, p.check()
}

// set puts one of the fields after the fixed ones into p.
func (p *Peer) set(f field) error {
	switch f.name {
	case "":
		return errors.New("a line about a peer has no label")
	case factRequired:
		if f.raw != f.name {
			return fmt.Errorf("%s takes no value; it is there or not", f.name)
		}
		p.Required = true
		return nil
	case factDisputed:
		return f.day(&p.Disputed)
	case factInterrupted:
		return f.count(&p.Interrupted)
	case factSASFailed:
		return f.countOn(&p.SASFailures, &p.SASDay)
	case factPasswordFailed:
		return f.count(&p.PasswordFailures)
	case factPasswordTotal:
		return f.count(&p.PasswordTotal)
	case factPasswordLocked:
		return f.instant(&p.PasswordLocked)
	case factCodes:
		return f.codes(&p.Codes)
	}
	p.Attrs = append(p.Attrs, Attr{f.name, f.value})
	return nil
}

// day is date for facts. The zero day is refused, as it would say no.
func (f field) day(t *time.Time) error {
	if err := f.date(t); err != nil {
		return err
	}
	if t.IsZero() {
		return f.wrong("a date like 2026-11-20")
	}
	return nil
}

// count reads the value of f as a number.
func (f field) count(n *int) error {
	v, err := strconv.ParseUint(f.value, 10, 64)
	if err != nil || v > maxCount {
		return f.wrong(fmt.Sprintf("a number from 0 to %d", maxCount))
	}
	*n = int(v)
	return nil
}

// countOn reads the value of f as a number and the day it is of.
func (f field) countOn(n *int, t *time.Time) error {
	number, date, _ := strings.Cut(f.value, "/")
	err := field{name: f.name, value: number}.count(n)
	if err == nil {
		err = field{name: f.name, value: date}.day(t)
	}
	if err != nil {
		return f.wrong("a number and its day like 2/2026-11-20")
	}
	return nil
}

// instant reads the value of f as a time.
func (f field) instant(t *time.Time) error {
	v, err := time.Parse(time.RFC3339, f.value)
	if err != nil || v.IsZero() {
		return f.wrong("a time like 2026-11-20T12:00:00Z")
	}
	*t = v
	return nil
}

// codes reads the value of f as one-time codes: for each its slot, how often it was tried, and when it was made.
func (f field) codes(codes *[]CodeTries) error {
	for text := range strings.SplitSeq(f.value, ",") {
		parts := strings.Split(text, "/")
		var c CodeTries
		if len(parts) != 3 || len(parts[0]) != 2*len(c.Slot) || len(*codes) == MaxCodes {
			return f.wrongCodes()
		}
		_, err := hex.Decode(c.Slot[:], []byte(parts[0]))
		if err == nil {
			err = field{name: f.name, value: parts[1]}.count(&c.Tried)
		}
		if err == nil {
			err = field{name: f.name, value: parts[2]}.instant(&c.Made)
		}
		if err != nil {
			return f.wrongCodes()
		}
		*codes = append(*codes, c)
	}
	return nil
}

func (f field) wrongCodes() error {
	return f.wrong(fmt.Sprintf("up to %d of SLOT/NUMBER/TIME like 0123456789abcdef/1/2026-11-20T12:00:00Z, with commas between", MaxCodes))
}

func (f field) wrong(what string) error {
	return fmt.Errorf("%s=%s is not %s", f.name, quote(f.value), what)
}

// line returns p as a line of a store. Facts that say no are left out.
func (p Peer) line(comment string) string {
	parts := []string{writeAddress(p.JID), peerWord}
	if p.Required {
		parts = append(parts, factRequired)
	}
	if !p.Disputed.IsZero() {
		parts = append(parts, factDisputed+"="+p.Disputed.Format(time.DateOnly))
	}
	count := func(name string, n int, suffix string) {
		if n != 0 {
			parts = append(parts, name+"="+strconv.Itoa(n)+suffix)
		}
	}
	count(factInterrupted, p.Interrupted, "")
	count(factSASFailed, p.SASFailures, "/"+p.SASDay.Format(time.DateOnly))
	count(factPasswordFailed, p.PasswordFailures, "")
	count(factPasswordTotal, p.PasswordTotal, "")
	if !p.PasswordLocked.IsZero() {
		parts = append(parts, factPasswordLocked+"="+p.PasswordLocked.Format(time.RFC3339))
	}
	if len(p.Codes) > 0 {
		var codes []string
		for _, c := range p.Codes {
			codes = append(codes, fmt.Sprintf("%x/%d/%s", c.Slot, c.Tried, c.Made.Format(time.RFC3339)))
		}
		parts = append(parts, factCodes+"="+strings.Join(codes, ","))
	}
	parts = append(parts, writeAttrs(p.Attrs)...)
	if comment != "" {
		parts = append(parts, comment)
	}
	return strings.Join(parts, " ")
}
