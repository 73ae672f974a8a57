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

// A Level says how much is known of a key. The values are the words in the file. What certification and the user's own check are worth is for the
// caller to say (PROTOCOL.md section 7); all that the order pinned, ca, verified means here is that pinning never leads back in it.
type Level string

const (
	// LevelPinned is a key that was there before, and nobody has ever checked that it is the peer's.
	LevelPinned Level = "pinned"
	// LevelCA is a key certified, for the peer's address, by an authority that the user chose.
	LevelCA Level = "ca"
	// LevelVerified is a key that the user has checked.
	LevelVerified Level = "verified"
	// LevelRevoked is a key that is refused whoever shows it and whatever else speaks for it: see [Store.Revoke]. The rest of the
	// record says what it was before.
	LevelRevoked Level = "revoked"
)

// A Method says how a key reached its level. The values are the words in the file.
type Method string

const (
	MethodTOFU        Method = "tofu"        // trust on first use: taken as it came
	MethodSAS         Method = "sas"         // short authentication string compared
	MethodPassword    Method = "password"    // common password
	MethodCode        Method = "code"        // one-time code that one user read to the other
	MethodFingerprint Method = "fingerprint" // whole fingerprint compared
	MethodCA          Method = "ca"          // certified by an authority that the user chose
)

// An Attr is a further fact about a key or a peer: key=value in the file, or just key if Value is empty. Key is 1 to 64 of A-Z a-z 0-9 . _ -; Value is any
// text. This package gives attributes no meaning and loses none.
type Attr struct{ Key, Value string }

// A Record is what a [Store] knows of one key of one peer.
type Record struct {
	Peer   jid.JID // bare and normalised
	Key    Fingerprint
	Level  Level
	Method Method
	// First and Last are the days on which the key was first and last seen, Verified the day of the last verification or
	// certification: midnight UTC, zero if not known.
	First, Last, Verified time.Time
	// Label is the user's name for the device or person, empty if none was given.
	Label string
	// Attrs are the attributes in the order of the file. No Key occurs twice.
	Attrs []Attr
}

// clone returns a Record that shares nothing that can be changed with r.
func (r Record) clone() Record {
	r.Attrs = slices.Clone(r.Attrs)
	return r
}

const maxAttrKey = 64

// check reports what is wrong with r as a line of a store.
func (r Record) check() error {
	if r.Peer.Domainpart() == "" {
		return errNoPeer
	}
	if r.Key == (Fingerprint{}) {
		return errors.New("no key given")
	}
	switch r.Level {
	case LevelPinned, LevelCA, LevelVerified, LevelRevoked:
	default:
		return fmt.Errorf("unknown level %s (this version knows %s, %s, %s and %s)",
			quote(string(r.Level)), LevelPinned, LevelCA, LevelVerified, LevelRevoked)
	}
	switch r.Method {
	case MethodTOFU, MethodSAS, MethodPassword, MethodCode, MethodFingerprint, MethodCA:
	default:
		return fmt.Errorf("unknown method %s", quote(string(r.Method)))
	}
	if r.Level == LevelVerified && r.Method == MethodTOFU {
		return fmt.Errorf("%s cannot be the method of a %s key", MethodTOFU, LevelVerified)
	}
	if r.Level == LevelCA && r.Method != MethodCA {
		return fmt.Errorf("%s cannot be the method of a %s key", r.Method, LevelCA)
	}
	return checkAttrs(r.Attrs, attrFirst, attrLast, attrVerified)
}

// checkAttrs reports what is wrong with the attributes of a line. The names of its other fields are reserved.
func checkAttrs(attrs []Attr, reserved ...string) error {
	for i, a := range attrs {
		if slices.Contains(reserved, a.Key) {
			return fmt.Errorf("attribute %s is reserved", quote(a.Key))
		}
		if err := a.check(); err != nil {
			return err
		}
		if slices.ContainsFunc(attrs[:i], func(b Attr) bool { return a.Key == b.Key }) {
			return fmt.Errorf("attribute %s is given twice", quote(a.Key))
		}
	}
	return nil
}

func (a Attr) check() error {
	valid := len(a.Key) > 0 && len(a.Key) <= maxAttrKey
	for _, c := range []byte(a.Key) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		valid = valid && (letter || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-')
	}
	if !valid {
		return fmt.Errorf("%s is not the name of an attribute", quote(a.Key))
	}
	return nil
}

// merged returns r, a known key, after it has been pinned once more as r2 says. Knowledge is added, never taken away: a verified key stays
// verified, a certified one certified.
func (r Record) merged(r2 Record, today time.Time) Record {
	r = r.clone()
	if r2.Level == LevelVerified || r2.Level == LevelCA && r.Level != LevelVerified {
		r.Level, r.Method, r.Verified = r2.Level, r2.Method, today
	}
	if today.After(r.Last) {
		r.Last = today
	}
	if r2.Label != "" {
		r.Label = r2.Label
	}
	for _, a := range r2.Attrs {
		i := slices.IndexFunc(r.Attrs, func(b Attr) bool { return a.Key == b.Key })
		if i < 0 {
			r.Attrs = append(r.Attrs, a)
		} else {
			r.Attrs[i] = a
		}
	}
	return r
}

// day returns the midnight (UTC) before t.
func day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }
