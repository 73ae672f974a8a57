// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest

import (
	"errors"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

// A shadow is a client in the middle between two others: to toward it is as.
type shadow struct {
	as, toward jid.JID
}

// A shadowKey names a direction: what toward sends to as.
type shadowKey struct{ toward, as string }

func (sh *shadow) key() shadowKey { return shadowKey{sh.toward.String(), sh.as.String()} }

// AddShadow adds an account for somebody in the middle: a client that logs in with
// this name and password is bound to the full address as, which belongs to
// somebody else, and is that client for one peer only, the full address toward.
// It receives everything that toward sends to as, and what it sends reaches toward
// as if it came from as. What it sends to anybody else is refused.
//
// The real client at the address as stays connected and notices nothing; whatever
// it sends to toward still arrives, unless it has a shadow of its own in the other
// direction. Two shadows, (as A, toward B) and (as B, toward A), are a full man in
// the middle between A and B. That is what a hostile server can always do, and
// what only a comparison outside of XMPP or a key known before can find out.
//
// One client at a time can be logged in on each such account.
func (s *Server) AddShadow(name, password string, as, toward jid.JID) error {
	for _, j := range []jid.JID{as, toward} {
		if j.Localpart() == "" || j.Resourcepart() == "" || !j.Domain().Equal(s.domain) {
			return errors.New("xtlstest: a shadow needs two full addresses of the server's domain")
		}
	}
	return s.addAccount(name, password, &shadow{as: as, toward: toward})
}

// bindShadowLocked binds c to an address that is not its own; s.mu is held.
func (s *Server) bindShadowLocked(c *client, name string, sh *shadow) error {
	if s.shadows[sh.key()] != nil {
		return stanza.Error{Type: stanza.Cancel, Condition: stanza.Conflict}
	}
	s.shadows[sh.key()] = c
	c.shadow = sh
	c.bound(name, sh.as)
	return nil
}

// receiver returns the client that gets what from sends to the full address to,
// nil if nobody is there. shadow says that from is one itself, so that what it
// sends reaches the real address.
func (s *Server) receiver(from string, shadow bool, to jid.JID) *client {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !shadow && len(s.shadows) > 0 {
		if c := s.shadows[shadowKey{from, to.String()}]; c != nil {
			return c
		}
	}
	if !to.Domain().Equal(s.domain) {
		return nil
	}
	return s.users[to.Localpart()][to.Resourcepart()]
}
