// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"
)

var dora = Record{Peer: jid.MustParse("dora@example.net"), Key: Of([]byte("dora")), Level: LevelPinned, Method: MethodTOFU}

// A program that was stopped while it held the lock does not hang the others: they give up and say so. Reading needs no lock.
func TestLockHeldTooLong(t *testing.T) {
	name := filepath.Join(t.TempDir(), "known_peers")
	s, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if _, err := s.Pin(dora, now); err != nil {
		t.Fatal(err)
	}
	l, err := lockFile(name)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if rs, err := s.Records(); err != nil || len(rs) != 1 {
			t.Errorf("Records() = %v, %v", rs, err)
		}
		if err := s.Touch(dora.Peer, dora.Key, now); err != nil || time.Since(start) > 0 {
			t.Errorf("Touch on the same day = %v after %v", err, time.Since(start))
		}
		err := s.Touch(dora.Peer, dora.Key, now.AddDate(0, 0, 1))
		if err == nil || !strings.Contains(err.Error(), "another program has kept "+name+" locked for 15s") {
			t.Errorf("Touch = %v", err)
		}
		if waited := time.Since(start); waited < lockWait || waited > lockWait+time.Second {
			t.Errorf("Touch waited %v, want %v", waited, lockWait)
		}
	})
	l.unlock()
	if err := s.Touch(dora.Peer, dora.Key, now.AddDate(0, 0, 1)); err != nil {
		t.Errorf("after unlock: Touch = %v", err)
	}
}

// A Touch that waited while another process noted a later day must not go back to its own.
func TestTouchOvertaken(t *testing.T) {
	name := filepath.Join(t.TempDir(), "known_peers")
	s, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if _, err := s.Pin(dora, now); err != nil {
		t.Fatal(err)
	}
	l, err := lockFile(name)
	if err != nil {
		t.Fatal(err)
	}
	later := dora
	later.Last = day(now.AddDate(0, 0, 5))
	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.Touch(dora.Peer, dora.Key, now.AddDate(0, 0, 1)); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait() // it waits for the lock
		if err := l.replace([]byte(later.line("") + "\n")); err != nil {
			t.Error(err)
		}
		l.unlock()
		wg.Wait()
	})
	if r, err := s.Check(dora.Peer, dora.Key); err != nil || !r.Last.Equal(later.Last) {
		t.Errorf("Check = %+v, %v, want last %v", r, err, later.Last)
	}
}

// Who removes the lock file lets a second holder in; the first one must notice before it undoes the work of the second.
func TestLockFileRemoved(t *testing.T) {
	name := filepath.Join(t.TempDir(), "known_peers")
	first, err := lockFile(name)
	if err != nil {
		t.Fatal(err)
	}
	defer first.unlock()
	if err := os.Remove(first.name()); err != nil {
		t.Skipf("this system does not remove open files: %v", err)
	}
	second, err := lockFile(name)
	if err != nil {
		t.Fatal(err)
	}
	defer second.unlock()
	if err := second.replace([]byte("# second\n")); err != nil {
		t.Fatal(err)
	}
	if err := first.replace([]byte("# first\n")); err == nil || !strings.Contains(err.Error(), "lock of "+name+" lost") {
		t.Errorf("replace without the lock = %v", err)
	}
	text, err := os.ReadFile(name)
	if err != nil || string(text) != "# second\n" {
		t.Errorf("the file holds %q, %v", text, err)
	}
}

// What a killed process left beside the file is used up, whatever it is.
func TestReplaceOverLeftovers(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "known_peers")
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, name+".tmp"); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	l, err := lockFile(name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.unlock()
	if err := l.replace([]byte("# new\n")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(victim)
	if err != nil || string(text) != "untouched" {
		t.Errorf("the file linked to holds %q, %v", text, err)
	}
	if _, err := os.Lstat(name + ".tmp"); !os.IsNotExist(err) {
		t.Errorf("the temporary file is still there: %v", err)
	}
}

// A write that fails leaves the old file and nothing else.
func TestReplaceFails(t *testing.T) {
	name := filepath.Join(t.TempDir(), "known_peers")
	l, err := lockFile(name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.unlock()
	if err := os.MkdirAll(filepath.Join(name, "occupied"), 0o700); err != nil { // a rename cannot replace it
		t.Fatal(err)
	}
	if err := l.replace([]byte("# new\n")); err == nil {
		t.Error("replace of a directory succeeded")
	}
	if _, err := os.Lstat(name + ".tmp"); !os.IsNotExist(err) {
		t.Errorf("the temporary file is still there: %v", err)
	}
}
