// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd) || xtls_lockfile

package fingerprint

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"time"
)

// Systems without flock use a lock file that exists as long as the lock is held. `go test -tags xtls_lockfile` tries it anywhere.

// staleAfter is the age at which a lock file is taken for one whose holder has died. Writing takes milliseconds; lockWait is longer.
const staleAfter = 5 * time.Second

// tryLock creates the lock file called name and returns it, or nil if somebody else holds it. Windows does not remove a file that is open,
// so there a live holder keeps its lock however old it is; elsewhere one that is overtaken finds out before it changes anything (held).
func tryLock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, private)
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, fs.ErrExist):
	case errors.Is(err, fs.ErrPermission) && runtime.GOOS == "windows": // so Windows says of a file that is just being removed
	default:
		return nil, err
	}
	if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()) > staleAfter {
		// If it fails, its holder lives or another waiter was faster: either way we go on waiting.
		_ = os.Remove(name)
	}
	return nil, nil
}

// unlock closes first, since Windows does not remove an open file.
func unlock(f *os.File, name string) {
	ours := held(f, name)
	f.Close()
	if ours {
		_ = os.Remove(name) // if it fails, the file becomes stale
	}
}
