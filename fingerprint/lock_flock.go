// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

//go:build (darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd) && !xtls_lockfile

package fingerprint

import (
	"errors"
	"os"
	"syscall"
)

// tryLock locks the lock file called name and returns it, or nil if somebody else holds it. The system releases the lock when its holder
// dies, so the file itself means nothing and is left in place: removing it would let two holders lock two files of one name.
func tryLock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, private)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil && held(f, name) {
		return f, nil
	}
	f.Close()
	if err == nil || errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return nil, nil
	}
	return nil, &os.PathError{Op: "flock", Path: name, Err: err}
}

func unlock(f *os.File, _ string) { f.Close() }
