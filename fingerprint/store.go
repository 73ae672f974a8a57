// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"mellium.im/xmpp/jid"
)

// A Store remembers which keys belong to which peers. The package comment describes its file. It is read afresh by each call, so that what
// another process or the user's editor wrote counts at once. Several goroutines may use a Store, several Stores one file, and
// several processes too: no change is lost, and a reader never sees half of one. A file that cannot be understood is an error of every
// method, naming file and line, and is never overwritten.
//
// Peers are compared by their bare address, normalised. There is nothing to close.
type Store struct {
	name string // absolute; empty: in memory

	changing sync.Mutex // held throughout a change, before mu

	mu    sync.Mutex // guards what follows
	text  []byte     // the file as last read
	table *table     // what it says
}

// Open returns the store kept in the file called name. If there is none, the store is empty and the first change makes the file, and its
// directory if need be. Open reports what is wrong with the file: users other than its owner can read or write it, it is
// larger than 4 MiB, or a line cannot be understood.
func Open(name string) (*Store, error) {
	if name == "" {
		return nil, errors.New("fingerprint: no name of a file given")
	}
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, fmt.Errorf("fingerprint: %w", err)
	}
	s := NewMemory()
	s.name = abs
	if _, err := s.load(); err != nil {
		return nil, err
	}
	return s, nil
}

// NewMemory returns an empty store without a file, for tests, demonstrations, and programs that must leave no trace. What it knows ends
// with it.
func NewMemory() *Store { return &Store{table: newTable()} }

// Check looks up the key f that the peer shows; the resource of peer does not count. If the error is nil, the key is known to be the peer's and
// the Record says how well. Otherwise the error is one of
//   - [ErrUnknown]: nothing is known of the peer;
//   - *[ChangedError]: the peer is known by other keys;
//   - *[OtherPeerError]: the key is known as somebody else's;
//   - *[RevokedError]: the key is the peer's, and revoked;
//   - anything else: the store cannot be read, or peer is the zero JID. Nothing may be concluded.
func (s *Store) Check(peer jid.JID, f Fingerprint) (Record, error) {
	peer, err := bare(peer)
	if err != nil {
		return Record{}, fmt.Errorf("fingerprint: check: %w", err)
	}
	t, err := s.load()
	if err != nil {
		return Record{}, err
	}
	return t.check(peer, f)
}

// Pin remembers that the key r.Key is that of r.Peer, whose resource does not count, and returns the record as it is now. r needs Peer, Key,
// Level and Method; Label and Attrs may be given; the dates come from now. It returns when the change is on the disk.
//
// If the key is known, the record only gains: a level is never lowered, a label not given is kept, an attribute not given is kept. If the
// key is new, but the peer is known by others, a verified one is added, and a certified one unless another is verified; one that is only
// to be pinned is refused with a *[ChangedError]: see [Store.PinAnother]. The key of somebody else is always refused, with an
// *[OtherPeerError], and a revoked one with a *[RevokedError].
//
// A key that the user has verified (the method is not [MethodCA]) also settles what was open with the peer, in the same replacement of the file:
// Disputed, Interrupted and SASFailures of its [Peer] are cleared.
func (s *Store) Pin(r Record, now time.Time) (Record, error) { return s.pin(r, false, now) }

// PinAnother is [Store.Pin] after the user has been asked about a *[ChangedError] and said that it is another device of the peer. It pins a
// further key unverified, unless any key of the peer is verified or certified: then only the like of it can add one (PROTOCOL.md
// section 7), and the *[ChangedError] is returned again.
func (s *Store) PinAnother(r Record, now time.Time) (Record, error) { return s.pin(r, true, now) }

func (s *Store) pin(r Record, another bool, now time.Time) (Record, error) {
	var err error
	if r.Peer, err = bare(r.Peer); err == nil {
		err = r.check()
	}
	if err == nil && r.Level == LevelRevoked {
		err = errors.New("a key is not revoked by pinning it; see Revoke")
	}
	if err == nil && now.IsZero() {
		err = errors.New("no time given")
	}
	if err != nil {
		return Record{}, fmt.Errorf("fingerprint: pin: %w", err)
	}
	t, err := s.change(func(t *table) (*table, error) { return t.pinned(r, another, day(now)) })
	if err != nil {
		return Record{}, err
	}
	return t.check(r.Peer, r.Key)
}

// Touch notes that the key f of the peer was seen now. Days are what is kept, so it writes at most once a day; an earlier day changes
// nothing. A key that is not known as the peer's is not added: the error is that of [Store.Check].
func (s *Store) Touch(peer jid.JID, f Fingerprint, now time.Time) error {
	r, err := s.Check(peer, f)
	if err != nil || !day(now).After(r.Last) {
		return err
	}
	_, err = s.change(func(t *table) (*table, error) {
		r, err := t.check(r.Peer, f)
		if err != nil || !day(now).After(r.Last) {
			return t, err
		}
		r.Last = day(now)
		t, err = t.with(r)
		if err != nil {
			err = fmt.Errorf("fingerprint: touch: %w", err)
		}
		return t, err
	})
	return err
}

// Revoke marks the key f of the peer as one to refuse from now on, and returns its record. Nothing else is removed or changed; the other keys of
// the peer stay good. A key that is not known as the peer's is not added: the error is that of [Store.Check]. Revoking twice is no
// error. Only editing the file undoes it.
func (s *Store) Revoke(peer jid.JID, f Fingerprint) (Record, error) {
	peer, err := bare(peer)
	if err != nil {
		return Record{}, fmt.Errorf("fingerprint: revoke: %w", err)
	}
	t, err := s.change(func(t *table) (*table, error) {
		r, err := t.check(peer, f)
		var revoked *RevokedError
		switch {
		case errors.As(err, &revoked):
			return t, nil
		case err != nil:
			return nil, err
		}
		r.Level = LevelRevoked
		if t, err = t.with(r); err != nil {
			return nil, fmt.Errorf("fingerprint: revoke: %w", err)
		}
		return t, nil
	})
	if err != nil {
		return Record{}, err
	}
	return t.lines[t.owner[f]].record.clone(), nil
}

// Forget removes the keys of the peer, verified ones too, and returns how many there were. None is no error. Comments on lines of their own
// stay. With the keys goes the Required of its [Peer]: what speaks to whoever comes with the next key is open again.
//
// What stays is what somebody in the middle would like to see forgotten, since a changed key is what makes users call this:
// revoked keys, and all else that [Store.Peer] tells. A new verification clears what it settles (see [Store.Pin]), [Store.ChangePeer]
// the rest, and an editor everything.
func (s *Store) Forget(peer jid.JID) (n int, err error) {
	peer, err = bare(peer)
	if err != nil {
		return 0, fmt.Errorf("fingerprint: forget: %w", err)
	}
	_, err = s.change(func(t *table) (*table, error) {
		var t2 *table
		if t2, n = t.without(peer); n == 0 {
			t2 = t
		}
		p := t2.peer(peer)
		p.Required = false
		return t2.withPeer(p)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Records returns everything known, in the order of the file. The caller may keep and change what it gets.
func (s *Store) Records() ([]Record, error) {
	t, err := s.load()
	if err != nil {
		return nil, err
	}
	return t.records(nil), nil
}

// Peers returns the bare address of every peer of which a key is known, in the order in which they first occur in the file.
func (s *Store) Peers() ([]jid.JID, error) {
	rs, err := s.Records()
	if err != nil {
		return nil, err
	}
	var peers []jid.JID
	seen := make(map[string]bool)
	for _, r := range rs {
		if key := r.Peer.String(); !seen[key] {
			seen[key] = true
			peers = append(peers, r.Peer)
		}
	}
	return peers, nil
}

// load returns the table as the file has it now. The file is read each time, since no mark of a file (time, size, number) tells for certain
// that it is unchanged; it is parsed only if its text is new.
func (s *Store) load() (*table, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.name == "" {
		return s.table, nil
	}
	text, err := readPrivate(s.name, maxStore)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if bytes.Equal(text, s.text) {
		return s.table, nil
	}
	t, err := parseTable(s.name, text)
	if err != nil {
		return nil, err
	}
	s.text, s.table = text, t
	return t, nil
}

// change replaces the table by what edit makes of it, and returns the new one. edit returns its argument if there is nothing to do. All
// other changes, also those of other processes, come before it or after it.
func (s *Store) change(edit func(*table) (*table, error)) (*table, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.name == "" {
		return s.changeMemory(edit)
	}
	lock, err := lockFile(s.name)
	if err != nil {
		return nil, err
	}
	defer lock.unlock()
	before, err := s.load()
	if err != nil {
		return nil, err
	}
	after, err := edit(before)
	if err != nil || after == before {
		return after, err
	}
	content := after.content()
	if len(content) > maxStore {
		return nil, fmt.Errorf("fingerprint: %s would be larger than %d octets; forget some peers", s.name, maxStore)
	}
	if err := lock.replace(content); err != nil {
		return nil, err
	}
	return after, nil
}

func (s *Store) changeMemory(edit func(*table) (*table, error)) (*table, error) {
	before, err := s.load()
	if err != nil {
		return nil, err
	}
	after, err := edit(before)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table = after
	return after, nil
}
