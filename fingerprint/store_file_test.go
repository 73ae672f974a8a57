// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"example.org/xtls/fingerprint"
	"mellium.im/xmpp/jid"
)

func openText(t testing.TB, text string) (*fingerprint.Store, string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "known_peers")
	writeFile(t, name, text, 0o600)
	s, err := fingerprint.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	return s, name
}

// Everything that a change does not concern stays as it was, octet for octet and in its place.
func TestRewriteKeepsTheRest(t *testing.T) {
	text := "# my peers \xff\r\n" +
		"\n" +
		"  bob@example.net   SHA256:" + strings.ToUpper(key1.String()) + "\tpinned tofu   \"bob\"  last=2026-11-19 disputed x=\"a b\" # old laptop \n" +
		"\t# carol\n" +
		"carol@example.org sha-256:" + key2.String() + " verified  sas # checked in person\r\n" +
		"# end"
	s, name := openText(t, text)
	if _, err := s.Pin(verified(bob, key1), noon); err != nil {
		t.Fatal(err)
	}
	pin(t, s, tofu(jid.MustParse("#dora@example.net"), key3), noon)
	want := "# my peers \xff\r\n" +
		"\n" +
		"bob@example.net sha-256:" + key1.String() + " verified sas last=2026-11-20 verified=2026-11-20 disputed x=\"a b\" \"bob\" # old laptop\n" +
		"\t# carol\n" +
		"carol@example.org sha-256:" + key2.String() + " verified  sas # checked in person\r\n" +
		"# end\n" +
		"\"#dora@example.net\" sha-256:" + key3.String() + " pinned tofu first=2026-11-20 last=2026-11-20\n"
	if got := readFile(t, name); got != want {
		t.Errorf("after two pins:\n%q\nwant\n%q", got, want)
	}
	if _, err := s.Forget(carol); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, name); strings.Contains(got, key2.String()) || !strings.Contains(got, "\t# carol\n# end\n") {
		t.Errorf("after Forget:\n%q", got)
	}
	r, err := s.Check(jid.MustParse("#dora@example.net"), key3)
	if err != nil || r.Level != fingerprint.LevelPinned {
		t.Errorf("Check(#dora) = %+v, %v", r, err)
	}
}

// A store with anything in it that is not understood is refused by every method and never overwritten.
func TestBrokenStore(t *testing.T) {
	k1, k2 := key1.String(), key2.String()
	good := "bob@example.net " + k1 + " verified sas\n"
	for _, tt := range []struct {
		name, text string
		line       int
		why        string
	}{
		{"garbage", good + "\x00\x01\x02\n", 2, "a line needs"},
		{"too few fields", "bob@example.net " + k1 + " pinned\n", 1, "a line needs"},
		{"no address", "@ " + k1 + " pinned tofu\n", 1, "not an address"},
		{"empty address", "\"\" " + k1 + " pinned tofu\n", 1, "not an address"},
		{"address with resource", "bob@example.net/phone " + k1 + " pinned tofu\n", 1, "has a resource"},
		{"no fingerprint", "# x\n\nbob@example.net xyz pinned tofu\n", 3, `"xyz" is not a fingerprint`},
		{"cut fingerprint", "bob@example.net " + k1[:62] + " pinned tofu\n", 1, "62 hexadecimal digits"},
		{"zero fingerprint", "bob@example.net " + strings.Repeat("0", 64) + " pinned tofu\n", 1, "no key"},
		{"level of the future", "bob@example.net " + k1 + " burnt sas\n", 1, `unknown level "burnt"`},
		{"method of the future", "bob@example.net " + k1 + " verified telepathy\n", 1, `unknown method "telepathy"`},
		{"verified by nothing", "bob@example.net " + k1 + " verified tofu\n", 1, "cannot be the method"},
		{"certified by nobody", "bob@example.net " + k1 + " ca sas\n", 1, "cannot be the method"},
		{"no such day", "bob@example.net " + k1 + " pinned tofu last=2026-02-30\n", 1, "not a date"},
		{"date without value", "bob@example.net " + k1 + " pinned tofu first\n", 1, "not a date"},
		{"attribute twice", "bob@example.net " + k1 + " pinned tofu x=1 x=2\n", 1, `"x" is given twice`},
		{"two labels", "bob@example.net " + k1 + " pinned tofu \"a\" \"b\"\n", 1, "the label is given twice"},
		{"attribute without name", "bob@example.net " + k1 + " pinned tofu =x\n", 1, "no name"},
		{"bad attribute name", "bob@example.net " + k1 + " pinned tofu ä=1\n", 1, "not the name"},
		{"open quote", "bob@example.net " + k1 + " pinned tofu \"bob\n", 1, "no end"},
		{"bad escape", "bob@example.net " + k1 + " pinned tofu \"\\q\"\n", 1, "wrong escape"},
		{"quote inside", "bob@example.net " + k1 + " pinned tofu x=a\"b\"\n", 1, "unexpected quote"},
		{"glued quotes", "bob@example.net " + k1 + " pinned tofu \"a\"b\n", 1, "no blank"},
		{"same key twice", good + "bob@example.net " + strings.ToUpper(k1) + " pinned tofu\n", 2, "same key of the same peer is in line 1"},
		{"one key, two peers", good + "carol@example.org " + k1 + " pinned tofu\n", 2, `that of "bob@example.net" in line 1`},
		{"merge conflict", good + "<<<<<<< HEAD\ncarol@example.org " + k2 + " pinned tofu\n", 2, "a line needs"},
		{"line over the bound", good + "#" + strings.Repeat("x", 16<<10) + "\n", 2, "longer than 16384"},
		{"file over the bound", strings.Repeat("# x\n", 1<<20) + "\n", 0, "larger than 4194304"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			testBroken(t, good, tt.text, tt.line, tt.why)
		})
	}
}

// testBroken turns the store good, which knows key1 of bob, into broken and tries every method. The errors are to name the line, if not 0, and
// the reason.
func testBroken(t *testing.T, good, broken string, line int, why string) {
	t.Helper()
	s, name := openText(t, good)
	writeFile(t, name, broken, 0o600)
	where := name
	if line > 0 {
		where = fmt.Sprintf("%s:%d: ", name, line)
	}
	_, errOpen := fingerprint.Open(name)
	_, errCheck := s.Check(bob, key1)
	_, errPin := s.Pin(tofu(carol, key3), noon)
	_, errRecords := s.Records()
	_, errPeers := s.Peers()
	_, errForget := s.Forget(bob)
	errTouch := s.Touch(bob, key1, noon)
	_, errRevoke := s.Revoke(bob, key1)
	_, errPeer := s.Peer(bob)
	_, errFacts := s.PeerFacts()
	_, errChange := s.ChangePeer(bob, func(*fingerprint.Peer) error {
		t.Error("ChangePeer called its function on a broken store")
		return nil
	})
	for i, err := range []error{errOpen, errCheck, errPin, errRecords, errPeers, errForget, errTouch, errRevoke, errPeer, errFacts, errChange} {
		if err == nil || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), where) {
			t.Errorf("error %d = %v, want one with %q and %q", i, err, where, why)
		}
	}
	if got := readFile(t, name); got != broken {
		t.Errorf("the store was overwritten with\n%.200q", got)
	}
	writeFile(t, name, good, 0o600) // mended
	if _, err := s.Check(bob, key1); err != nil {
		t.Errorf("after it was mended: Check = %v", err)
	}
}

func TestBounds(t *testing.T) {
	const size, room = 4 << 20, 200 // octets of a store; what is left in ours
	full := strings.Repeat("#"+strings.Repeat("x", 16<<10-1)+"\n", size/(16<<10+1))
	full += "#" + strings.Repeat("x", size-room-len(full)-2) + "\n"
	s, name := openText(t, full) // a line at the bound, and nearly a file, are fine
	before := readFile(t, name)
	r := tofu(bob, key1)
	r.Label = strings.Repeat("a", room)
	if _, err := s.Pin(r, noon); err == nil || !strings.Contains(err.Error(), "would be larger than 4194304") {
		t.Errorf("Pin beyond the bound = %v", err)
	}
	if readFile(t, name) != before {
		t.Error("the store was changed")
	}
	r.Label = ""
	pin(t, s, r, noon)
}

func TestModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such modes")
	}
	s, name := openText(t, "")
	for _, mode := range []os.FileMode{0o640, 0o620, 0o604, 0o602, 0o666, 0o610} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("is accessible to other users (mode %04o); type: chmod 600 %q", mode, name)
		_, errOpen := fingerprint.Open(name)
		_, errCheck := s.Check(bob, key1)
		_, errPin := s.Pin(tofu(bob, key1), noon)
		for _, err := range []error{errOpen, errCheck, errPin} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("mode %04o: %v, want %q", mode, err, want)
			}
		}
	}
	if err := os.Chmod(name, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Check(bob, key1); !errors.Is(err, fingerprint.ErrUnknown) {
		t.Errorf("mode 0400: Check = %v", err)
	}
	pin(t, s, tofu(bob, key1), noon)
	dir := filepath.Dir(name)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		if info, err := e.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s has mode %v (%v), want 0600", e.Name(), info.Mode(), err)
		}
	}
	slices.Sort(names)
	if got := strings.Join(names, " "); got != "known_peers known_peers.lock" && got != "known_peers" {
		t.Errorf("the directory holds %s", got)
	}
}

func TestOpen(t *testing.T) {
	if _, err := fingerprint.Open(""); err == nil {
		t.Error("Open(no name) succeeded")
	}
	dir := t.TempDir()
	if _, err := fingerprint.Open(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("Open(directory) = %v", err)
	}
	t.Chdir(dir)
	s, err := fingerprint.Open("known_peers")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("known_peers"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open made a file: %v", err)
	}
	t.Chdir(t.TempDir())
	pin(t, s, tofu(bob, key1), noon)
	if text := readFile(t, filepath.Join(dir, "known_peers")); !strings.Contains(text, key1.String()) {
		t.Errorf("after a change of directory the store holds %q", text)
	}
}

// What others write counts at once, even if size and time of the file are the same as before; a removed file is an empty store.
func TestReadsAfresh(t *testing.T) {
	lineOf := func(f fingerprint.Fingerprint) string { return "bob@example.net " + f.String() + " verified sas\n" }
	s, name := openText(t, lineOf(key1))
	if _, err := s.Check(bob, key1); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, name, lineOf(key2), 0o600)
	if err := os.Chtimes(name, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Check(bob, key2); err != nil {
		t.Errorf("Check(new key) = %v", err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Check(bob, key2); !errors.Is(err, fingerprint.ErrUnknown) {
		t.Errorf("file removed: Check = %v, want ErrUnknown", err)
	}
}

func TestSymlinkStays(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "dotfiles"), filepath.Join(dir, "known_peers")
	writeFile(t, target, "# mine\n", 0o600)
	if err := os.Symlink(target, link); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	s, err := fingerprint.Open(link)
	if err != nil {
		t.Fatal(err)
	}
	pin(t, s, tofu(bob, key1), noon)
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced by a file (%v)", err)
	}
	if text := readFile(t, target); !strings.HasPrefix(text, "# mine\nbob@example.net ") {
		t.Errorf("the file linked to holds %q", text)
	}
}
