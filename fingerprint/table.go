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

// A table is the content of a store: every line, the records in them, and whose each key is. It is not changed once others can see it.
type table struct {
	lines []line
	owner map[Fingerprint]int // index into lines
}

type line struct {
	text    string  // as in the file
	record  *Record // nil: a comment or an empty line
	comment string  // after the record
}

func newTable() *table { return &table{owner: make(map[Fingerprint]int)} }

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
	r, comment, ok, err := parseLine(text)
	if err != nil {
		return err
	}
	if !ok {
		t.lines = append(t.lines, line{text: text})
		return nil
	}
	if i, known := t.owner[r.Key]; known {
		if peer := t.lines[i].record.Peer; !peer.Equal(r.Peer) {
			return fmt.Errorf("the key is that of %s in line %d; a key belongs to one address only", quote(peer.String()), i+1)
		}
		return fmt.Errorf("the same key of the same peer is in line %d", i+1)
	}
	t.owner[r.Key] = len(t.lines)
	t.lines = append(t.lines, line{text: text, record: &r, comment: comment})
	return nil
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
		return r.clone(), nil
	}
	if want := t.records(func(r *Record) bool { return r.Peer.Equal(peer) }); len(want) > 0 {
		return Record{}, &ChangedError{Peer: peer, Got: f, Want: want}
	}
	return Record{}, ErrUnknown
}

// with returns a table in which r stands for what is known of r's key, at the same place, or is added at the end.
func (t *table) with(r Record) (*table, error) {
	i, known := t.owner[r.Key]
	var comment string
	if known {
		comment = t.lines[i].comment
	}
	l, err := newLine(r, comment)
	if err != nil {
		return nil, err
	}
	t2 := newTable()
	t2.lines = append(t2.lines, t.lines...)
	if known {
		t2.lines[i] = l
	} else {
		t2.lines = append(t2.lines, l)
	}
	t2.index()
	return t2, nil
}

// without returns a table without the records of peer, and how many there were.
func (t *table) without(peer jid.JID) (*table, int) {
	t2 := newTable()
	for _, l := range t.lines {
		if l.record == nil || !l.record.Peer.Equal(peer) {
			t2.lines = append(t2.lines, l)
		}
	}
	t2.index()
	return t2, len(t.lines) - len(t2.lines)
}

func (t *table) index() {
	for i, l := range t.lines {
		if l.record != nil {
			t.owner[l.record.Key] = i
		}
	}
}

// newLine writes r and reads it again: a line that would not come back as it was is refused before it is in a file.
func newLine(r Record, comment string) (line, error) {
	if err := r.check(); err != nil {
		return line{}, err
	}
	text := r.line(comment)
	if len(text) > maxLine {
		return line{}, fmt.Errorf("the record takes a line of %d octets, more than %d", len(text), maxLine)
	}
	read, _, ok, err := parseLine(text)
	if err != nil || !ok || !read.Peer.Equal(r.Peer) || read.line(comment) != text {
		return line{}, fmt.Errorf("the record cannot be written as a line: %s", quote(text))
	}
	return line{text: text, record: &read, comment: comment}, nil
}

// pinned returns t with r pinned; see Store.Pin and Store.PinAnother. r.Peer is bare and normalised.
func (t *table) pinned(r Record, another bool, today time.Time) (*table, error) {
	old, err := t.check(r.Peer, r.Key)
	changed, isChanged := err.(*ChangedError)
	switch {
	case err == nil:
		return t.with(old.merged(r, today))
	case err == ErrUnknown, isChanged && r.Level == LevelVerified, isChanged && another && !changed.Verified():
	default:
		return nil, err
	}
	r = r.clone()
	r.First, r.Last, r.Verified = today, today, time.Time{}
	if r.Level == LevelVerified {
		r.Verified = today
	}
	return t.with(r)
}
