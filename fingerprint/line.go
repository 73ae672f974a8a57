// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"mellium.im/xmpp/jid"
)

// keyPrefix stands before the digits of a key in a file. Reading, [Parse] decides.
const keyPrefix = "sha-256:"

// The attributes of a line that are fields of a Record.
const (
	attrFirst    = "first"
	attrLast     = "last"
	attrVerified = "verified"
)

// blanks separate the fields of a line. The carriage return is there for editors that end lines with it.
const blanks = " \t\r"

// A line of a store: about a key, about a peer, or neither.
type line struct {
	text    string  // as in the file
	record  *Record // what it says of a key, or nil
	peer    *Peer   // what it says of a peer, or nil
	comment string  // after a record or a peer, from its # on
}

// parseLine reads a line of a store.
func parseLine(text string) (line, error) {
	l := line{text: text}
	fields, comment, err := splitLine(text)
	if err != nil || len(fields) == 0 {
		return l, err
	}
	l.comment = comment
	if len(fields) > 1 && fields[1].raw == peerWord {
		l.peer, err = parsePeer(fields)
	} else {
		l.record, err = parseRecord(fields)
	}
	return l, err
}

// newLine writes what l says and reads it again: a line that would not come back as it was is refused before it is in a file.
func newLine(l line) (line, error) {
	text := l.write()
	if len(text) > maxLine {
		return line{}, fmt.Errorf("it takes a line of %d octets, more than %d", len(text), maxLine)
	}
	read, err := parseLine(text)
	if err != nil || !read.address().Equal(l.address()) || read.write() != text {
		return line{}, fmt.Errorf("it cannot be written as a line: %s", quote(text))
	}
	return read, nil
}

// write returns the text for what l says; for a line that says nothing, the text it has.
func (l line) write() string {
	switch {
	case l.record != nil:
		return l.record.line(l.comment)
	case l.peer != nil:
		return l.peer.line(l.comment)
	}
	return l.text
}

// address is that of the peer concerned, or the zero JID.
func (l line) address() jid.JID {
	switch {
	case l.record != nil:
		return l.record.Peer
	case l.peer != nil:
		return l.peer.JID
	}
	return jid.JID{}
}

// parseRecord reads a line about a key.
func parseRecord(fields []field) (*Record, error) {
	const fixed = 4
	if len(fields) < fixed {
		return nil, errors.New("a line needs an address, a key, a level and a method")
	}
	r := new(Record)
	var err error
	if r.Peer, err = fields[0].peer(); err != nil {
		return nil, err
	}
	if r.Key, err = Parse(fields[1].raw); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "fingerprint: "))
	}
	r.Level, r.Method = Level(fields[2].raw), Method(fields[3].raw)
	if err := setAll(fields[fixed:], r.set); err != nil {
		return nil, err
	}
	return r, r.check()
}

// setAll calls set for each field after the fixed ones, of which none may occur twice.
func setAll(fields []field, set func(field) error) error {
	seen := make(map[string]bool)
	for _, f := range fields {
		if seen[f.name] {
			return fmt.Errorf("%s is given twice", f.what())
		}
		seen[f.name] = true
		if err := set(f); err != nil {
			return err
		}
	}
	return nil
}

// set puts one of the fields after the fixed ones into r.
func (r *Record) set(f field) error {
	switch f.name {
	case "":
		r.Label = f.value
		return nil
	case attrFirst:
		return f.date(&r.First)
	case attrLast:
		return f.date(&r.Last)
	case attrVerified:
		return f.date(&r.Verified)
	}
	r.Attrs = append(r.Attrs, Attr{f.name, f.value})
	return nil
}

// line returns r as a line of a store.
func (r Record) line(comment string) string {
	parts := []string{writeAddress(r.Peer), keyPrefix + r.Key.String(), string(r.Level), string(r.Method)}
	date := func(name string, t time.Time) {
		if !t.IsZero() {
			parts = append(parts, name+"="+t.Format(time.DateOnly))
		}
	}
	date(attrFirst, r.First)
	date(attrLast, r.Last)
	date(attrVerified, r.Verified)
	parts = append(parts, writeAttrs(r.Attrs)...)
	if r.Label != "" {
		parts = append(parts, strconv.Quote(r.Label))
	}
	if comment != "" {
		parts = append(parts, comment)
	}
	return strings.Join(parts, " ")
}

func writeAddress(j jid.JID) string {
	text := j.String()
	if !plain(text) || text[0] == '#' {
		return strconv.Quote(text)
	}
	return text
}

func writeAttrs(attrs []Attr) []string {
	var parts []string
	for _, a := range attrs {
		switch {
		case a.Value == "":
			parts = append(parts, a.Key)
		case plain(a.Value):
			parts = append(parts, a.Key+"="+a.Value)
		default:
			parts = append(parts, a.Key+"="+strconv.Quote(a.Value))
		}
	}
	return parts
}

// plain reports whether s, not empty, can stand in a line without quotes.
func plain(s string) bool {
	for _, c := range s {
		if c == '"' || c == '\\' || c == utf8.RuneError || unicode.IsSpace(c) || !unicode.IsGraphic(c) {
			return false
		}
	}
	return s != ""
}

// A field is one of the blank-separated parts of a line.
type field struct {
	raw   string // as written
	name  string // what stands before = or, without one, all; empty for a quoted field
	value string // what stands after =, or in the quotes
}

// what names f in an error.
func (f field) what() string {
	if f.name == "" {
		return "the label"
	}
	return quote(f.name)
}

// peer reads f as an address. It is written bare; one with a resource is a mistake, since keys belong to accounts.
func (f field) peer() (jid.JID, error) {
	text := f.raw
	if f.name == "" {
		text = f.value
	}
	full, err := jid.Parse(text)
	if err != nil {
		return jid.JID{}, fmt.Errorf("%s is not an address: %w", quote(text), err)
	}
	if full.Resourcepart() != "" {
		return jid.JID{}, fmt.Errorf("address %s has a resource; write %s", quote(text), quote(full.Bare().String()))
	}
	peer, err := bare(full)
	if err != nil {
		return jid.JID{}, fmt.Errorf("%s is not an address: %w", quote(text), err)
	}
	return peer, nil
}

// date reads the value of f as a day.
func (f field) date(t *time.Time) error {
	d, err := time.Parse(time.DateOnly, f.value)
	if err != nil {
		return fmt.Errorf("%s=%s is not a date like 2026-11-20", f.name, quote(f.value))
	}
	*t = d
	return nil
}

// splitLine splits a line into its fields and the comment at its end. Quoted text, as a field of its own or after an =, is in Go's syntax for
// strings in double quotes.
func splitLine(text string) (fields []field, comment string, err error) {
	for {
		text = strings.TrimLeft(text, blanks)
		if text == "" {
			return fields, "", nil
		}
		if text[0] == '#' {
			return fields, strings.TrimRight(text, blanks), nil
		}
		var f field
		if f, text, err = cutField(text); err != nil {
			return nil, "", err
		}
		fields = append(fields, f)
	}
}

// cutField takes the field at the start of text, which is not empty and starts with no blank.
func cutField(text string) (f field, rest string, err error) {
	end := strings.IndexAny(text, blanks+`"`)
	if end < 0 {
		end = len(text)
	}
	name, value, assigned := strings.Cut(text[:end], "=")
	f = field{raw: text[:end], name: name, value: value}
	if assigned && name == "" {
		return field{}, "", errors.New("an attribute has no name")
	}
	if end == len(text) || text[end] != '"' {
		return f, text[end:], nil
	}
	if end > 0 && (!assigned || value != "") {
		return field{}, "", fmt.Errorf("unexpected quote after %s", quote(f.raw))
	}
	quoted, err := strconv.QuotedPrefix(text[end:])
	if err != nil {
		return field{}, "", errors.New("a quoted text has no end or a wrong escape")
	}
	rest = text[end+len(quoted):]
	if rest != "" && !strings.Contains(blanks, rest[:1]) {
		return field{}, "", fmt.Errorf("no blank after %s", quote(quoted))
	}
	f.raw += quoted
	f.value, err = strconv.Unquote(quoted)
	return f, rest, err
}
