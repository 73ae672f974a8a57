// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package cpace

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// A Context is what both ends must agree on for a run to succeed, besides the secret.
// Both ends fill it with the same values in the same places: roles, not "mine" and
// "theirs". All fields are required.
type Context struct {
	// SID is the session id, fresh for each tunnel and run:
	// K("cpace sid", CTX ‖ run, 32), from the exporter of the tunnel (PROTOCOL.md
	// sections 5 and 7.2).
	SID [32]byte
	// InitiatorJID and ResponderJID are the bare JIDs of the Jingle initiator and
	// responder, normalised.
	InitiatorJID, ResponderJID string
	// FPI and FPR are the SHA-256 of the certificates of initiator and responder, as
	// seen in the handshake.
	FPI, FPR [32]byte
	// NH is the hash over everything that was negotiated.
	NH [32]byte
}

// maxJID bounds a bare JID in octets: two parts of 1023 and the @ (RFC 7622 §3.1).
const maxJID = 1023 + 1 + 1023

// check finds fields that were forgotten or mixed up: with a zero value in the place of
// a hash a run would succeed, and prove less than it says.
func (c *Context) check() error {
	for _, f := range []struct {
		name  string
		value [32]byte
	}{{"SID", c.SID}, {"FPI", c.FPI}, {"FPR", c.FPR}, {"NH", c.NH}} {
		if f.value == [32]byte{} {
			return fmt.Errorf("cpace: Context.%s is required", f.name)
		}
	}
	for _, j := range []string{c.InitiatorJID, c.ResponderJID} {
		if j == "" || len(j) > maxJID || strings.Contains(j, "/") || !utf8.ValidString(j) {
			return errors.New("cpace: Context.InitiatorJID and ResponderJID must be bare JIDs")
		}
	}
	return nil
}

// channelID is CI (PROTOCOL.md section 7.2). The two empty strings are the places of
// identity keys that are not the keys of the certificates; version 1 has none.
func (c *Context) channelID() []byte {
	return lvCat([]byte("XTLS-CPace-v1"), []byte(c.InitiatorJID), []byte(c.ResponderJID),
		c.FPI[:], c.FPR[:], nil, nil, c.NH[:])
}
