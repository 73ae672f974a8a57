// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint

import (
	"errors"
	"fmt"

	"mellium.im/xmpp/jid"
)

// Peer returns what is known of the peer whatever its key; its resource does not count. If nothing is, everything but JID is zero: that is no
// error.
func (s *Store) Peer(peer jid.JID) (Peer, error) {
	peer, err := bare(peer)
	if err != nil {
		return Peer{}, fmt.Errorf("fingerprint: peer: %w", err)
	}
	t, err := s.load()
	if err != nil {
		return Peer{}, err
	}
	return t.peer(peer), nil
}

// ChangePeer has change alter what [Store.Peer] returns for the peer, and returns the outcome once it is on the disk: a count raised by
// it stands even if the process is killed in the next moment. An error of change is returned as it is, and nothing is changed; so it is if change
// alters JID, or sets what cannot be written (a count below 0 or above 1,000,000, SASFailures without SASDay, Attrs that are
// none). Times are rounded as the fields say.
//
// change is called at most once, with the store locked for all who want to change it, in this process and others: it must be quick, and
// must not change the store.
func (s *Store) ChangePeer(peer jid.JID, change func(p *Peer) error) (Peer, error) {
	peer, err := bare(peer)
	if err != nil {
		return Peer{}, fmt.Errorf("fingerprint: change peer: %w", err)
	}
	t, err := s.change(func(t *table) (*table, error) {
		p := t.peer(peer)
		if err := change(&p); err != nil {
			return nil, err
		}
		if !p.JID.Equal(peer) {
			return nil, errors.New("fingerprint: change peer: its address cannot be changed")
		}
		t, err := t.withPeer(p.normal())
		if err != nil {
			return nil, fmt.Errorf("fingerprint: change peer: %w", err)
		}
		return t, nil
	})
	if err != nil {
		return Peer{}, err
	}
	return t.peer(peer), nil
}

// PeerFacts returns what [Store.Peer] says of every peer of which anything is known whatever its key, in the order of the file. A peer of which
// only keys are known is not among them.
func (s *Store) PeerFacts() ([]Peer, error) {
	t, err := s.load()
	if err != nil {
		return nil, err
	}
	var ps []Peer
	for _, l := range t.lines {
		if l.peer != nil {
			ps = append(ps, l.peer.clone())
		}
	}
	return ps, nil
}

// peer is Store.Peer. j is bare and normalised.
func (t *table) peer(j jid.JID) Peer {
	if i, known := t.facts[j.String()]; known {
		return t.lines[i].peer.clone()
	}
	return Peer{JID: j}
}

// withPeer returns a table in which p, normal, stands for what is known of the peer, at the same place, or is added at the end. A line that
// says nothing any more goes; t itself is returned if nothing changes.
func (t *table) withPeer(p Peer) (*table, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	blank := line{peer: &Peer{JID: p.JID}}.write()
	before, l := blank, line{peer: &p}
	i, known := t.facts[p.JID.String()]
	if known {
		l.comment = t.lines[i].comment
		before = t.lines[i].write()
	} else {
		i = len(t.lines)
	}
	switch l.write() {
	case before:
		return t, nil
	case blank:
		return t.replaced(i), nil
	}
	l, err := newLine(l)
	if err != nil {
		return nil, err
	}
	return t.replaced(i, l), nil
}
