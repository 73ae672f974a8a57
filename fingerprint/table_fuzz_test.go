// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

// FuzzStore holds the promises of the package comment on known_peers: what can be read is written back octet for octet; a record
// that is written anew comes back the same, comments and attributes included; and whatever a line says, the rules hold.
func FuzzStore(f *testing.F) {
	k1, k2 := Of([]byte("one")).String(), Of([]byte("two")).String()
	for _, s := range []string{
		"",
		"# comment\n\n  # another\r\n",
		"bob@example.net sha-256:" + k1 + " pinned tofu first=2026-11-20 last=2026-11-20 \"label\"\n",
		"bob@example.net SHA256:" + strings.ToUpper(k1) + " verified sas verified=2026-11-20 x-y_z.1=\"two \\\"words\" flag # why\n" +
			"carol@example.org " + k2 + " pinned ca",
		"\"#dora@example.net\" " + k1 + " verified password a= b=# c==x \"\\u202e\\xff\"",
		"[2001:DB8::1] " + k1 + " pinned tofu\nÄ@exämple.net. " + k2 + " verified fingerprint \"ü\"\n",
		"bob@example.net " + k1 + " verified tofu\n",
		"bob@example.net " + k1 + " pinned tofu\ncarol@example.org " + k1 + " pinned tofu\n",
		"bob@example.net/x " + k1 + " pinned tofu first=1 =x \"a\"b",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		parsed, err := parseTable("known_peers", content)
		if err != nil {
			return
		}
		want := content
		if len(content) > 0 && !bytes.HasSuffix(content, []byte("\n")) {
			want = append(bytes.Clone(content), '\n')
		}
		if got := parsed.content(); !bytes.Equal(got, want) {
			t.Fatalf("%q is written back as %q", content, got)
		}
		rewritten := rewrite(t, parsed)
		again, err := parseTable("known_peers", rewritten.content())
		if err != nil {
			t.Fatalf("%q is rewritten as %q: %v", content, rewritten.content(), err)
		}
		compare(t, parsed, again)
		if second := rewrite(t, again).content(); !bytes.Equal(second, rewritten.content()) {
			t.Fatalf("%q is rewritten as %q, then as %q", content, rewritten.content(), second)
		}
	})
}

// rewrite writes every record anew.
func rewrite(t *testing.T, from *table) *table {
	t.Helper()
	to := from
	for i, l := range from.lines {
		// A line that would grow beyond the bound is refused, and so stays as it is.
		if l.record == nil || len(l.record.line(l.comment)) > maxLine {
			continue
		}
		next, err := to.with(*l.record)
		if err != nil {
			t.Fatalf("line %q cannot be written: %v", l.text, err)
		}
		if r := next.lines[i].record; r == nil || r.Key != l.record.Key {
			t.Fatalf("line %q changed its place", l.text)
		}
		to = next
	}
	return to
}

// compare fails unless both say the same, and what the rules allow.
func compare(t *testing.T, a, b *table) {
	t.Helper()
	if len(a.lines) != len(b.lines) || len(a.owner) != len(b.owner) {
		t.Fatalf("%d lines with %d keys became %d with %d", len(a.lines), len(a.owner), len(b.lines), len(b.owner))
	}
	for i, l := range a.lines {
		m := b.lines[i]
		if l.record == nil {
			if m.text != l.text {
				t.Fatalf("comment %q became %q", l.text, m.text)
			}
			continue
		}
		if l.comment != m.comment || !reflect.DeepEqual(l.record, m.record) {
			t.Fatalf("%+v %q became %+v %q", l.record, l.comment, m.record, m.comment)
		}
		r := l.record
		if peer, err := bare(r.Peer); err != nil || !peer.Equal(r.Peer) {
			t.Fatalf("peer %q is not normalised", r.Peer)
		}
		if r.Level == LevelVerified && r.Method == MethodTOFU {
			t.Fatalf("verified by nothing: %q", l.text)
		}
		if got, err := a.check(r.Peer, r.Key); err != nil || !reflect.DeepEqual(got, r.clone()) {
			t.Fatalf("check of line %q: %+v, %v", l.text, got, err)
		}
	}
}
