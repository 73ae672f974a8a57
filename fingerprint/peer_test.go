// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint_test

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.org/xtls/fingerprint"
	"mellium.im/xmpp/jid"
)

func change(t testing.TB, s *fingerprint.Store, peer jid.JID, f func(*fingerprint.Peer)) fingerprint.Peer {
	t.Helper()
	p, err := s.ChangePeer(peer, func(p *fingerprint.Peer) error {
		f(p)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func peerOf(t testing.TB, s *fingerprint.Store, peer jid.JID) fingerprint.Peer {
	t.Helper()
	p, err := s.Peer(peer)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// allFacts sets every field.
func allFacts(p *fingerprint.Peer) {
	p.Required, p.Disputed, p.Interrupted = true, noon, 1
	p.SASFailures, p.SASDay = 2, noon
	p.PasswordFailures, p.PasswordTotal, p.PasswordLocked = 3, 4, noon.Add(time.Hour-1)
	p.Codes = []fingerprint.CodeTries{{Slot: [8]byte{1, 2, 0xff}, Made: noon.Add(time.Second - 1), Tried: 1}, {Made: noon}}
	p.Attrs = []fingerprint.Attr{{Key: "note", Value: "two words"}, {Key: "flag"}}
}

// allOf is what allFacts leaves of bob.
var allOf = fingerprint.Peer{
	JID: bob, Required: true, Disputed: day0, Interrupted: 1, SASFailures: 2, SASDay: day0,
	PasswordFailures: 3, PasswordTotal: 4, PasswordLocked: noon.Add(time.Hour),
	Codes: []fingerprint.CodeTries{{Slot: [8]byte{1, 2, 0xff}, Made: noon, Tried: 1}, {Made: noon}},
	Attrs: []fingerprint.Attr{{Key: "note", Value: "two words"}, {Key: "flag"}},
}

const allLine = "bob@example.net peer required disputed=2026-11-20 interrupted=1 sas-failed=2/2026-11-20" +
	" password-failed=3 password-total=4 password-locked=2026-11-20T13:00:00Z" +
	" codes=0102ff0000000000/1/2026-11-20T12:00:00Z,0000000000000000/0/2026-11-20T12:00:00Z note=\"two words\" flag"

func TestPeer(t *testing.T) {
	stores(t, func(t *testing.T, s *fingerprint.Store) {
		if p := peerOf(t, s, jid.MustParse("BOB@example.net./phone")); !reflect.DeepEqual(p, fingerprint.Peer{JID: bob}) {
			t.Errorf("empty store: Peer = %+v", p)
		}
		if p := change(t, s, jid.MustParse("bob@example.net/phone"), allFacts); !reflect.DeepEqual(p, allOf) {
			t.Errorf("ChangePeer = %+v\nwant %+v", p, allOf)
		}
		if p := peerOf(t, s, bob); !reflect.DeepEqual(p, allOf) {
			t.Errorf("Peer = %+v\nwant %+v", p, allOf)
		}
		// Facts are not keys.
		if _, err := s.Check(bob, key1); !errors.Is(err, fingerprint.ErrUnknown) {
			t.Errorf("Check = %v, want ErrUnknown", err)
		}
		if peers, err := s.Peers(); err != nil || len(peers) > 0 {
			t.Errorf("Peers() = %v, %v, want none", peers, err)
		}
		if rs, err := s.Records(); err != nil || len(rs) > 0 {
			t.Errorf("Records() = %v, %v, want none", rs, err)
		}
		change(t, s, carol, func(p *fingerprint.Peer) { p.Required = true })
		ps, err := s.PeerFacts()
		if err != nil || !reflect.DeepEqual(ps, []fingerprint.Peer{allOf, {JID: carol, Required: true}}) {
			t.Fatalf("PeerFacts() = %+v, %v", ps, err)
		}
		ps[0].Attrs[0].Value = "changed"
		if _, err := s.Peer(jid.JID{}); err == nil {
			t.Error("Peer(nobody) succeeded")
		}
		if _, err := s.ChangePeer(jid.JID{}, func(*fingerprint.Peer) error { return nil }); err == nil {
			t.Error("ChangePeer(nobody) succeeded")
		}
		if p := peerOf(t, s, bob); !reflect.DeepEqual(p, allOf) {
			t.Errorf("the store was changed from outside: %+v", p)
		}
	})
}

// The error of the function comes back as it is, and whatever it did to its argument is nothing.
func TestChangePeerUndone(t *testing.T) {
	stores(t, func(t *testing.T, s *fingerprint.Store) {
		change(t, s, bob, allFacts)
		locked := errors.New("locked")
		_, err := s.ChangePeer(bob, func(p *fingerprint.Peer) error {
			p.Interrupted++
			p.Attrs[0].Value = "changed"
			return locked
		})
		if err != locked {
			t.Errorf("ChangePeer = %v, want the error of its function", err)
		}
		if p := peerOf(t, s, bob); !reflect.DeepEqual(p, allOf) {
			t.Errorf("after an error: %+v\nwant %+v", p, allOf)
		}
	})
}

// While a change is made, others can read, from a file and in memory alike.
func TestChangePeerLetsRead(t *testing.T) {
	stores(t, func(t *testing.T, s *fingerprint.Store) {
		_, err := s.ChangePeer(bob, func(p *fingerprint.Peer) error {
			p.Required = true
			before, err := s.Peer(bob)
			if before.Required {
				t.Error("a change shows before it is made")
			}
			return err
		})
		if err != nil || !peerOf(t, s, bob).Required {
			t.Errorf("ChangePeer = %v", err)
		}
	})
}

func TestChangePeerRefuses(t *testing.T) {
	const most = 1_000_000
	for _, tt := range []struct {
		name   string
		change func(*fingerprint.Peer)
		why    string
	}{
		{"other address", func(p *fingerprint.Peer) { p.JID = carol }, "address cannot be changed"},
		{"no address", func(p *fingerprint.Peer) { p.JID = jid.JID{} }, "address cannot be changed"},
		{"interrupted below", func(p *fingerprint.Peer) { p.Interrupted = -1 }, "not from 0 to 1000000"},
		{"interrupted over", func(p *fingerprint.Peer) { p.Interrupted = most + 1 }, "not from 0 to 1000000"},
		{"comparisons over", func(p *fingerprint.Peer) { p.SASFailures, p.SASDay = most, day0; p.AddSASFailure(noon) }, "not from 0 to 1000000"},
		{"comparisons without day", func(p *fingerprint.Peer) { p.SASFailures = 1 }, "without their day"},
		{"password failures over", func(p *fingerprint.Peer) { p.PasswordFailures = most + 1 }, "not from 0 to 1000000"},
		{"passwords over", func(p *fingerprint.Peer) { p.PasswordTotal = most + 1 }, "not from 0 to 1000000"},
		{"disputed too late", func(p *fingerprint.Peer) { p.Disputed = noon.AddDate(10000, 0, 0) }, "cannot be written"},
		{"locked too long", func(p *fingerprint.Peer) { p.PasswordLocked = time.Date(9999, 12, 31, 23, 59, 59, 1, time.UTC) }, "cannot be written"},
		{"reserved attribute", func(p *fingerprint.Peer) { p.Attrs = []fingerprint.Attr{{Key: "sas-failed"}} }, "reserved"},
		{"attribute twice", func(p *fingerprint.Peer) { p.Attrs = []fingerprint.Attr{{Key: "a"}, {Key: "a"}} }, "twice"},
		{"bad attribute", func(p *fingerprint.Peer) { p.Attrs = []fingerprint.Attr{{Key: "a b"}} }, "not the name"},
		{"line over the bound", func(p *fingerprint.Peer) {
			p.Attrs = []fingerprint.Attr{{Key: "a", Value: strings.Repeat("a", 16<<10)}}
		}, "more than 16384"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stores(t, func(t *testing.T, s *fingerprint.Store) {
				_, err := s.ChangePeer(bob, func(p *fingerprint.Peer) error {
					tt.change(p)
					return nil
				})
				if err == nil || !strings.Contains(err.Error(), tt.why) || !strings.HasPrefix(err.Error(), "fingerprint: change peer: ") {
					t.Errorf("ChangePeer = %v, want an error with %q", err, tt.why)
				}
				if ps, err := s.PeerFacts(); err != nil || len(ps) > 0 {
					t.Errorf("PeerFacts() = %v, %v, want none", ps, err)
				}
			})
		})
	}
	s := fingerprint.NewMemory()
	p := change(t, s, bob, func(p *fingerprint.Peer) { p.Interrupted, p.PasswordFailures, p.PasswordTotal = most, most, most })
	if p.Interrupted != most {
		t.Errorf("counts at the bound: %+v", p)
	}
}

func TestSASFailures(t *testing.T) {
	s, name := openText(t, "")
	next := noon.AddDate(0, 0, 1)
	for i, tt := range []struct {
		now     time.Time
		want    int
		wantDay time.Time
	}{
		{noon, 1, day0},
		{day0.AddDate(0, 0, 1).Add(-1), 2, day0},
		{day0, 3, day0},
		{next, 1, day0.AddDate(0, 0, 1)},
		{noon, 2, day0.AddDate(0, 0, 1)}, // the clock was set back
		{time.Date(2026, 11, 22, 1, 0, 0, 0, time.FixedZone("", 2*60*60)), 3, day0.AddDate(0, 0, 1)},
	} {
		var got int
		p := change(t, s, bob, func(p *fingerprint.Peer) { got = p.AddSASFailure(tt.now) })
		if got != tt.want || p.SASFailures != tt.want || !p.SASDay.Equal(tt.wantDay) || p.SASFailuresOn(tt.now) != tt.want {
			t.Errorf("%d: at %v counted to %d: %+v, want %d", i, tt.now, got, p, tt.want)
		}
	}
	p := peerOf(t, s, bob)
	if n := p.SASFailuresOn(next.AddDate(0, 0, 1)); n != 0 {
		t.Errorf("on the next day %d have failed", n)
	}
	if got, want := readFile(t, name), "bob@example.net peer sas-failed=3/2026-11-21\n"; got != want {
		t.Errorf("the file holds %q, want %q", got, want)
	}
	if _, err := s.ChangePeer(bob, func(p *fingerprint.Peer) error {
		*p = fingerprint.Peer{JID: p.JID}
		p.AddSASFailure(time.Time{})
		return nil
	}); err == nil {
		t.Error("a failure at no time was counted")
	}
}

// What a verification settles goes with the pin of the key, in one replacement of the file. What it does not concern stays.
func TestPinSettles(t *testing.T) {
	settled := allOf
	settled.Disputed, settled.Interrupted, settled.SASFailures, settled.SASDay = time.Time{}, 0, 0, time.Time{}
	ca := tofu(bob, key1)
	ca.Level, ca.Method = fingerprint.LevelCA, fingerprint.MethodCA
	verifiedCA := verified(bob, key1)
	verifiedCA.Method = fingerprint.MethodCA
	for _, tt := range []struct {
		name   string
		record fingerprint.Record
		want   fingerprint.Peer
	}{
		{"verified", verified(bob, key1), settled},
		{"only pinned", tofu(bob, key1), allOf},
		{"certified", ca, allOf},
		{"verified by a CA", verifiedCA, allOf},
		{"another", verified(carol, key2), allOf},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stores(t, func(t *testing.T, s *fingerprint.Store) {
				change(t, s, bob, allFacts)
				pin(t, s, tt.record, noon)
				if p := peerOf(t, s, bob); !reflect.DeepEqual(p, tt.want) {
					t.Errorf("after Pin: %+v\nwant %+v", p, tt.want)
				}
				change(t, s, bob, allFacts)
				pin(t, s, tt.record, noon) // a known key
				if p := peerOf(t, s, bob); !reflect.DeepEqual(p, tt.want) {
					t.Errorf("after Pin of a known key: %+v\nwant %+v", p, tt.want)
				}
			})
		})
	}
	// A refused pin settles nothing.
	s := fingerprint.NewMemory()
	pin(t, s, tofu(carol, key1), noon)
	change(t, s, bob, allFacts)
	if _, err := s.Pin(verified(bob, key1), noon); err == nil || !reflect.DeepEqual(peerOf(t, s, bob), allOf) {
		t.Errorf("Pin of a key of somebody else = %v, then %+v", err, peerOf(t, s, bob))
	}
}

// A line about a peer is written in one form, in its place, and everything around it stays octet for octet.
func TestPeerLines(t *testing.T) {
	text := "# mine\r\n" +
		"bob@example.net   peer\tnew-thing=\"a b\"  sas-failed=2/2026-11-19 interrupted=007 # rang off \n" +
		"peer " + key2.String() + " pinned tofu disputed required=no\n" +
		"\n" +
		"peer peer required\n" +
		"bob@example.net " + key1.String() + " pinned  tofu"
	s, name := openText(t, text)
	want := fingerprint.Peer{JID: bob, Interrupted: 7, SASFailures: 2, SASDay: day0.AddDate(0, 0, -1), Attrs: []fingerprint.Attr{{Key: "new-thing", Value: "a b"}}}
	if p := peerOf(t, s, bob); !reflect.DeepEqual(p, want) {
		t.Errorf("Peer = %+v\nwant %+v", p, want)
	}
	if p := peerOf(t, s, jid.MustParse("peer")); !p.Required {
		t.Errorf("Peer(peer) = %+v", p)
	}
	for _, peer := range []jid.JID{bob, carol} {
		before, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		change(t, s, peer, func(*fingerprint.Peer) {})
		if after, err := os.Stat(name); err != nil || !os.SameFile(before, after) || readFile(t, name) != text {
			t.Errorf("a change of %s that changes nothing replaced the file (%v)", peer, err)
		}
	}
	change(t, s, bob, func(p *fingerprint.Peer) { p.Interrupted = 0; p.Disputed = noon })
	change(t, s, carol, func(p *fingerprint.Peer) { allFacts(p) })
	rest := text[strings.Index(text, "peer "+key2.String()):] + "\n"
	line := "bob@example.net peer disputed=2026-11-20 sas-failed=2/2026-11-19 new-thing=\"a b\" # rang off\n"
	added := strings.Replace(allLine, bob.String(), carol.String(), 1) + "\n"
	if got, want := readFile(t, name), "# mine\r\n"+line+rest+added; got != want {
		t.Errorf("after two changes:\n%q\nwant\n%q", got, want)
	}
	// What says nothing goes, unless the user has written something beside it.
	nothing := func(p *fingerprint.Peer) { *p = fingerprint.Peer{JID: p.JID} }
	change(t, s, carol, nothing)
	change(t, s, bob, nothing)
	if got, want := readFile(t, name), "# mine\r\nbob@example.net peer # rang off\n"+rest; got != want {
		t.Errorf("after all was cleared:\n%q\nwant\n%q", got, want)
	}
}

func TestBrokenPeerLines(t *testing.T) {
	good := "bob@example.net " + key1.String() + " verified sas\n"
	for _, tt := range []struct{ name, rest, why string }{
		{"required with a value", "required=yes", "required takes no value"},
		{"required with an empty one", "required=", "required takes no value"},
		{"no such day", "disputed=2026-02-30", `disputed="2026-02-30" is not a date`},
		{"no day", "disputed", "is not a date"},
		{"the zero day", "disputed=0001-01-01", "is not a date"},
		{"no number", "interrupted", "not a number from 0 to 1000000"},
		{"signed", "interrupted=+1", "not a number"},
		{"negative", "password-failed=-1", "not a number"},
		{"fraction", "password-total=1.5", "not a number"},
		{"over the bound", "interrupted=1000001", "not a number"},
		{"far over the bound", "interrupted=18446744073709551617", "not a number"},
		{"a code too many", "codes=" + strings.TrimSuffix(strings.Repeat("0102030405060708/1/2026-11-20T12:00:00Z,", 9), ","), "up to 8 of SLOT/NUMBER/TIME"},
		{"a code twice", "codes=0102030405060708/1/2026-11-20T12:00:00Z,0102030405060708/2/2026-11-20T12:00:00Z", "is there twice"},
		{"a slot too short", "codes=01020304050607/1/2026-11-20T12:00:00Z", "SLOT/NUMBER/TIME"},
		{"no slot", "codes=x102030405060708/1/2026-11-20T12:00:00Z", "SLOT/NUMBER/TIME"},
		{"a code without a time", "codes=0102030405060708/1", "SLOT/NUMBER/TIME"},
		{"a code tried too often", "codes=0102030405060708/1000001/2026-11-20T12:00:00Z", "SLOT/NUMBER/TIME"},
		{"no codes", "codes=", "SLOT/NUMBER/TIME"},
		{"comparisons over the bound", "sas-failed=1000001/2026-11-20", "not a number and its day"},
		{"comparisons without day", "sas-failed=2", "not a number and its day"},
		{"comparisons without number", "sas-failed=/2026-11-20", "not a number and its day"},
		{"comparisons on two days", "sas-failed=2/2026-11-20/2026-11-21", "not a number and its day"},
		{"locked for a day", "password-locked=2026-11-20", "not a time like 2026-11-20T12:00:00Z"},
		{"locked to the zero time", "password-locked=0001-01-01T00:00:00Z", "not a time"},
		{"locked to before all years", "password-locked=0001-01-01T00:00:00+01:00", "cannot be written"},
		{"locked beyond all years", "password-locked=9999-12-31T23:59:59.5Z", "cannot be written"},
		{"fact twice", "required required", `"required" is given twice`},
		{"attribute twice", "x=1 x=2", `"x" is given twice`},
		{"bad attribute", "ä=1", "not the name"},
		{"label", "\"bob\"", "has no label"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			testBroken(t, good, good+"carol@example.org peer "+tt.rest+"\n", 2, tt.why)
		})
	}
	facts := "carol@example.org peer required\n"
	testBroken(t, good, good+facts+"Carol@example.org. peer\n", 3, "the line about the same peer is line 2")
	testBroken(t, good, good+"carol@example.org/phone peer required\n", 2, "has a resource")
	testBroken(t, good, good+"@ peer required\n", 2, "not an address")
	testBroken(t, good, good+"peer carol@example.org required\n", 2, "a line needs")
	testBroken(t, good, good+"carol@example.org \"peer\" pinned tofu\n", 2, "not a fingerprint")
	testBroken(t, good, good+"carol@example.org Peer required\n", 2, "a line needs")
}

// peers forget removes the keys. What somebody in the middle would like to see forgotten stays.
func TestForgetKeepsFacts(t *testing.T) {
	stores(t, func(t *testing.T, s *fingerprint.Store) {
		pin(t, s, verified(bob, key1), noon)
		pin(t, s, verified(bob, key2), noon)
		change(t, s, bob, allFacts)
		if _, err := s.Revoke(bob, key2); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Forget(bob); n != 1 || err != nil {
			t.Errorf("Forget = %d, %v, want 1", n, err)
		}
		want := allOf
		want.Required = false // this goes with the keys
		if p := peerOf(t, s, bob); !reflect.DeepEqual(p, want) {
			t.Errorf("after Forget: %+v\nwant %+v", p, want)
		}
		var revoked *fingerprint.RevokedError
		if _, err := s.Check(bob, key2); !errors.As(err, &revoked) {
			t.Errorf("Check(revoked, then forgotten) = %v, want a RevokedError", err)
		}
		if n, err := s.Forget(bob); n != 0 || err != nil {
			t.Errorf("Forget once more = %d, %v, want 0", n, err)
		}
		change(t, s, bob, func(p *fingerprint.Peer) { p.Required = true })
		if n, err := s.Forget(bob); n != 0 || err != nil || peerOf(t, s, bob).Required {
			t.Errorf("Forget without keys = %d, %v, and %+v", n, err, peerOf(t, s, bob))
		}
	})
}

func ExampleStore_ChangePeer() {
	store := fingerprint.NewMemory()
	bob := jid.MustParse("bob@example.net/phone")
	now := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)

	// Before the frame is sent by which the other side gets its chance.
	errLimit := errors.New("five comparisons have failed today")
	for range 6 {
		p, err := store.ChangePeer(bob, func(p *fingerprint.Peer) error {
			if p.SASFailuresOn(now) >= 5 {
				return errLimit
			}
			p.AddSASFailure(now)
			return nil
		})
		fmt.Println(p.SASFailures, err)
	}
	// Output:
	// 1 <nil>
	// 2 <nil>
	// 3 <nil>
	// 4 <nil>
	// 5 <nil>
	// 0 five comparisons have failed today
}
