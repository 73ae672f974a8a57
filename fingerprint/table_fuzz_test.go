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

// FuzzStore holds the promises of the package comment on known_peers: what can be read is written back octet for octet; a record or peer
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
		"bob@example.net " + k1 + " ca ca verified=2026-11-20\ncarol@example.org " + k2 + " revoked sas\n",
		"bob@example.net peer required disputed=2026-11-20 interrupted=1 sas-failed=2/2026-11-20 password-failed=1 password-total=4" +
			" password-locked=2026-11-20T12:00:00Z x=1 # why\nbob@example.net " + k1 + " verified sas\ncarol@example.org peer # nothing\n",
		"peer peer required\npeer " + k1 + " pinned tofu\n\"#dora@example.net\" peer sas-failed=0/2026-11-20 interrupted=000 y=\"\\xff\"",
		"bob@example.net peer password-locked=9999-12-31T23:59:59.5Z\nbob@example.net peer password-locked=0001-01-01T00:00:00+01:00 required=1",
		"bob@example.net peer codes=0102030405060708/1/2026-11-20T12:00:00Z,ff02030405060708/3/2026-11-20T12:00:01Z\ncarol@example.org peer codes=0102030405060708//,",
		"bob@example.net  peer\ncarol@example.org peer \nbob@example.net. " + k1 + " pinned tofu",
		"bob@example.net peer interrupted=1000001 disputed=0001-01-01\nbob@example.net peer \"label\"\nbob@example.net peer\nbob@example.net peer\n",
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

// rewrite writes every record and every peer anew.
func rewrite(t *testing.T, from *table) *table {
	t.Helper()
	to := from
	for i, l := range from.lines {
		// A line that would grow beyond the bound is refused, and so stays as it is.
		if len(l.write()) > maxLine {
			continue
		}
		next, err := to, error(nil)
		switch {
		case l.record != nil:
			next, err = to.with(*l.record)
		case l.peer != nil:
			next, err = rewritePeer(to, l)
		}
		if err != nil {
			t.Fatalf("line %q cannot be written: %v", l.text, err)
		}
		if !reflect.DeepEqual(next.lines[i].record, l.record) || !reflect.DeepEqual(next.lines[i].peer, l.peer) {
			t.Fatalf("line %q changed its place or sense: %q", l.text, next.lines[i].text)
		}
		to = next
	}
	return to
}

// rewritePeer changes p and back again, since a change to the same is none. It leaves a line that would go, as it says nothing, or grow beyond
// the bound.
func rewritePeer(to *table, l line) (*table, error) {
	const growth = len(" required interrupted=1")
	p := l.peer.clone()
	if l.write() == (Peer{JID: p.JID}).line("") || len(l.write())+growth > maxLine {
		return to, nil
	}
	other := p.clone()
	other.Required, other.Interrupted = true, 1
	if p.Interrupted == 1 {
		other.Interrupted = 2
	}
	to, err := to.withPeer(other)
	if err != nil {
		return nil, err
	}
	return to.withPeer(p)
}

// compare fails unless both say the same, and what the rules allow.
func compare(t *testing.T, a, b *table) {
	t.Helper()
	if len(a.lines) != len(b.lines) || len(a.owner) != len(b.owner) || len(a.facts) != len(b.facts) {
		t.Fatalf("%d lines with %d keys became %d with %d", len(a.lines), len(a.owner), len(b.lines), len(b.owner))
	}
	for i, l := range a.lines {
		m := b.lines[i]
		if l.peer != nil {
			comparePeer(t, a, l, m)
			continue
		}
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
		if r.Level == LevelCA && r.Method != MethodCA {
			t.Fatalf("certified by nobody: %q", l.text)
		}
		got, err := a.check(r.Peer, r.Key)
		if revoked, ok := err.(*RevokedError); ok && r.Level == LevelRevoked {
			got, err = revoked.Record, nil
		} else if r.Level == LevelRevoked {
			t.Fatalf("check of line %q: %+v, %v", l.text, got, err)
		}
		if err != nil || !reflect.DeepEqual(got, r.clone()) {
			t.Fatalf("check of line %q: %+v, %v", l.text, got, err)
		}
	}
}

// comparePeer is compare for the lines l, of the table a, and m about a peer.
func comparePeer(t *testing.T, a *table, l, m line) {
	t.Helper()
	if l.comment != m.comment || !reflect.DeepEqual(l.peer, m.peer) {
		t.Fatalf("%+v %q became %+v %q", l.peer, l.comment, m.peer, m.comment)
	}
	p := *l.peer
	if j, err := bare(p.JID); err != nil || !j.Equal(p.JID) {
		t.Fatalf("peer %q is not normalised", p.JID)
	}
	for _, n := range []int{p.Interrupted, p.SASFailures, p.PasswordFailures, p.PasswordTotal} {
		if n < 0 || n > maxCount {
			t.Fatalf("line %q counts to %d", l.text, n)
		}
	}
	if p.SASFailures > 0 == p.SASDay.IsZero() {
		t.Fatalf("line %q counts %d on %v", l.text, p.SASFailures, p.SASDay)
	}
	if got := a.peer(p.JID); !reflect.DeepEqual(got, p) {
		t.Fatalf("peer of line %q: %+v", l.text, got)
	}
}
