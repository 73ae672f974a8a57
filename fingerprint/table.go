// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"mellium.im/xmpp/jid"
)

const (
	// maxStore bounds the octets of a store: some 25,000 keys.
	maxStore = 4 << 20

	// maxLine bounds the octets of a line. The longest address, each octet of it escaped, leaves half of it free.
	maxLine = 16 << 10
)

// A table is the content of a store: every line, and where what is said of each key and each peer. It is not changed once others can see it.
type table struct {
	lines []line
	owner map[Fingerprint]int // of each key the index into lines
	facts map[string]int      // of each peer, by its address
}

func newTable() *table {
	return &table{owner: make(map[Fingerprint]int), facts: make(map[string]int)}
}

// parseTable reads a store. Anything it does not understand is an error, not a line to pass over: a mistyped line must not turn a known peer
// into an unknown one. name is for errors.
func parseTable(name string, content []byte) (*table, error) {
	t := newTable()
	if len(content) == 0 {
		return t, nil
	}
	for i, text := range strings.Split(strings.TrimSuffix(string(content), "\n"), "\n") {
		if err := t.addLine(text); err != nil {
			return nil, fmt.Errorf("fingerprint: %s:%d: %w", name, i+1, err)
		}
	}
	return t, nil
}

func (t *table) addLine(text string) error {
	if len(text) > maxLine {
		return fmt.Errorf("the line is longer than %d octets", maxLine)
	}
	l, err := parseLine(text)
	if err != nil {
		return err
	}
	if l.record != nil {
		if i, known := t.owner[l.record.Key]; known {
			if peer := t.lines[i].record.Peer; !peer.Equal(l.record.Peer) {
				return fmt.Errorf("the key is that of %s in line %d; a key belongs to one address only", quote(peer.String()), i+1)
			}
			return fmt.Errorf("the same key of the same peer is in line %d", i+1)
		}
	}
	if l.peer != nil {
		if i, known := t.facts[l.peer.JID.String()]; known {
			return fmt.Errorf("the line about the same peer is line %d; make one of them", i+1)
		}
	}
	t.add(l)
	return nil
}

// add appends a line. No other may be about the same key or peer.
func (t *table) add(l line) {
	switch {
	case l.record != nil:
		t.owner[l.record.Key] = len(t.lines)
	case l.peer != nil:
		t.facts[l.peer.JID.String()] = len(t.lines)
	}
	t.lines = append(t.lines, l)
}

// content returns the table as a file.
func (t *table) content() []byte {
	var b bytes.Buffer
	for _, l := range t.lines {
		b.WriteString(l.text)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// records returns the records that match, in order; a nil match means all.
func (t *table) records(match func(*Record) bool) []Record {
	var rs []Record
	for _, l := range t.lines {
		if l.record != nil && (match == nil || match(l.record)) {
			rs = append(rs, l.record.clone())
		}
	}
	return rs
}

// check is Store.Check. peer is bare and normalised.
func (t *table) check(peer jid.JID, f Fingerprint) (Record, error) {
	if i, known := t.owner[f]; known {
		r := t.lines[i].record
		if !r.Peer.Equal(peer) {
			return Record{}, &OtherPeerError{Peer: peer, Got: f, Other: r.Peer}
		}
		if r.Level == LevelRevoked {
			return Record{}, &RevokedError{Record: r.clone()}
		}
		return r.clone(), nil
	}
	if want := t.records(func(r *Record) bool { return r.Peer.Equal(peer) }); len(want) > 0 {
		return Record{}, &ChangedError{Peer: peer, Got: f, Want: want}
	}
	return Record{}, ErrUnknown
}

// with returns a table in which r stands for what is known of r's key, at the same place, or is added at the end.
func (t *table) with(r Record) (*table, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	l := line{record: &r}
	i, known := t.owner[r.Key]
	if known {
		l.comment = t.lines[i].comment
	} else {
		i = len(t.lines)
	}
	l, err := newLine(l)
	if err != nil {
		return nil, err
	}
	return t.replaced(i, l), nil
}

// replaced returns a table with ls in the place of line i, which may be the one after the last.
func (t *table) replaced(i int, ls ...line) *table {
	t2 := newTable()
	for _, l := range t.lines[:i] {
		t2.add(l)
	}
	for _, l := range ls {
		t2.add(l)
	}
	for _, l := range t.lines[min(i+1, len(t.lines)):] {
		t2.add(l)
	}
	return t2
}

// without returns a table without the keys of peer that are not revoked, and how many there were.
func (t *table) without(peer jid.JID) (*table, int) {
	t2 := newTable()
	for _, l := range t.lines {
		if l.record == nil || !l.record.Peer.Equal(peer) || l.record.Level == LevelRevoked {
			t2.add(l)
		}
	}
	return t2, len(t.lines) - len(t2.lines)
}

// pinned returns t with r pinned; see Store.Pin and Store.PinAnother. r.Peer is bare and normalised.
func (t *table) pinned(r Record, another bool, today time.Time) (*table, error) {
	byUser := r.Level == LevelVerified && r.Method != MethodCA
	old, err := t.check(r.Peer, r.Key)
	changed, isChanged := err.(*ChangedError)
	switch {
	case err == nil:
		r = old.merged(r, today)
	case err == ErrUnknown, isChanged && changed.allows(r.Level, another):
		r = r.clone()
		r.First, r.Last, r.Verified = today, today, time.Time{}
		if r.Level == LevelVerified || r.Level == LevelCA {
			r.Verified = today
		}
	default:
		return nil, err
	}
	t, err = t.with(r)
	if err == nil && byUser {
		p := t.peer(r.Peer)
		p.settle()
		t, err = t.withPeer(p)
	}
	if err != nil {
		return nil, fmt.Errorf("fingerprint: pin: %w", err)
	}
	return t, nil
}
