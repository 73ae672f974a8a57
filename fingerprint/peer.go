// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"mellium.im/xmpp/jid"
)

// A Peer is what a [Store] knows of a peer whatever its key: what must outlive a changed or forgotten key, a crash, and the session in
// which it was learnt (PROTOCOL.md section 7). The store keeps these facts; the limits, and what follows from them, are the caller's.
type Peer struct {
	JID jid.JID // bare and normalised
	// Required says that the full protocol, not the plain draft, was used with the peer once. Less of it is then refused (PROTOCOL.md section
	// 8). [Store.Forget] takes it back.
	Required bool
	// Disputed is the day (midnight UTC) on which a comparison with the peer ended in a mismatch, zero if there is no such thing to
	// settle. Keys of the peer keep their levels; they count for less as long as this stands.
	Disputed time.Time
	// Interrupted counts the verifications that got past the commitment and ended without a result. It is there to be shown to the user:
	// somebody in the middle who sees that the codes differ cuts the line.
	Interrupted int
	// SASFailures counts the comparisons of codes on SASDay (midnight UTC) that got past the commitment and did not end in a match. See
	// AddSASFailure and SASFailuresOn.
	SASFailures int
	SASDay      time.Time
	// PasswordFailures counts the runs with a password that failed in a row, PasswordTotal those since the password was chosen.
	PasswordFailures, PasswordTotal int
	// PasswordLocked is the time before which no run with a password may start, in whole seconds, rounded up; zero if there is none.
	PasswordLocked time.Time
	// Codes are the one-time codes that were tried with the peer and may still be valid, at most MaxCodes, in the order in which they were
	// first tried.
	Codes []CodeTries
	// Attrs are further facts, kept in the order of the file. No Key occurs twice, nor is one of the words that the fields have in the
	// file.
	Attrs []Attr
}

// A CodeTries says how often a one-time code was tried with a peer. The code itself is not kept: it is short enough to be guessed here.
type CodeTries struct {
	Slot  [8]byte   // names the code
	Made  time.Time // when it was made, or first typed in, in whole seconds, rounded down
	Tried int       // from 0 to 1,000,000
}

// MaxCodes bounds the one-time codes that are remembered of a peer.
const MaxCodes = 8

// AddSASFailure counts one more failed comparison on the day of now, and returns how many these are. It is called, in [Store.ChangePeer],
// before the frame is sent that gives the other side its chance; a match clears the count (see [Store.Pin]). A clock that was
// set back starts no new count.
func (p *Peer) AddSASFailure(now time.Time) int {
	p.SASFailures = p.SASFailuresOn(now) + 1
	if today := day(now); today.After(p.SASDay) {
		p.SASDay = today
	}
	return p.SASFailures
}

// SASFailuresOn returns how many comparisons have failed on the day of now: none if the last one was earlier.
func (p Peer) SASFailuresOn(now time.Time) int {
	if day(now).After(p.SASDay) {
		return 0
	}
	return p.SASFailures
}

// settle drops what a verification by the own user settles. What concerns the password stays: it belongs to the password.
func (p *Peer) settle() {
	p.Disputed, p.SASDay = time.Time{}, time.Time{}
	p.Interrupted, p.SASFailures = 0, 0
}

// maxCount bounds each count of a Peer. Beyond it counting fails, and with it what was to be counted.
const maxCount = 1_000_000

// clone returns a Peer that shares nothing that can be changed with p.
func (p Peer) clone() Peer {
	p.Attrs, p.Codes = slices.Clone(p.Attrs), slices.Clone(p.Codes)
	return p
}

// normal returns p with its times as the file has them.
func (p Peer) normal() Peer {
	p = p.clone()
	p.Disputed, p.SASDay = day(p.Disputed), day(p.SASDay)
	if p.SASFailures == 0 {
		p.SASDay = time.Time{}
	}
	for i := range p.Codes {
		p.Codes[i].Made = p.Codes[i].Made.UTC().Truncate(time.Second)
	}
	until := p.PasswordLocked.UTC()
	p.PasswordLocked = until.Truncate(time.Second)
	if until.After(p.PasswordLocked) {
		p.PasswordLocked = p.PasswordLocked.Add(time.Second)
	}
	return p
}

// check reports what is wrong with p, whose times are normal, as a line of a store.
func (p Peer) check() error {
	if p.JID.Domainpart() == "" {
		return errNoPeer
	}
	for _, n := range []int{p.Interrupted, p.SASFailures, p.PasswordFailures, p.PasswordTotal} {
		if n < 0 || n > maxCount {
			return fmt.Errorf("a count of %d is not from 0 to %d", n, maxCount)
		}
	}
	if p.SASFailures > 0 && p.SASDay.IsZero() {
		return errors.New("failed comparisons without their day")
	}
	times := []time.Time{p.Disputed, p.SASDay, p.PasswordLocked}
	if len(p.Codes) > MaxCodes {
		return fmt.Errorf("%d one-time codes where %d are remembered", len(p.Codes), MaxCodes)
	}
	for i, c := range p.Codes {
		times = append(times, c.Made)
		if c.Tried < 0 || c.Tried > maxCount || c.Made.IsZero() {
			return errors.New("a one-time code without its time, or tried a wrong number of times")
		}
		if slices.ContainsFunc(p.Codes[:i], func(d CodeTries) bool { return c.Slot == d.Slot }) {
			return fmt.Errorf("the one-time code %x is there twice", c.Slot)
		}
	}
	for _, t := range times {
		if year := t.Year(); year < 1 || year > 9999 {
			return fmt.Errorf("the year %d cannot be written", year)
		}
	}
	return checkAttrs(p.Attrs, factRequired, factDisputed, factInterrupted, factSASFailed,
		factPasswordFailed, factPasswordTotal, factPasswordLocked, factCodes)
}
