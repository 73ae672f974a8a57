// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

//go:build xtls_lockfile

package fingerprint

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestStaleLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "known_peers")
	if err := os.WriteFile(name+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-staleAfter - time.Second)
	if err := os.Chtimes(name+".lock", old, old); err != nil {
		t.Fatal(err)
	}
	s, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pin(dora, time.Now()); err != nil {
		t.Errorf("Pin with a stale lock = %v", err)
	}
	if _, err := os.Stat(name + ".lock"); !os.IsNotExist(err) {
		t.Errorf("the lock file is still there: %v", err)
	}
}
