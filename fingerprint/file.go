// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

const (
	// lockWait is how long a change waits for other programs to finish theirs, which take milliseconds. One that was stopped (Ctrl-Z)
	// in the middle must not hang the others for ever.
	lockWait = 15 * time.Second

	// lockPoll is the longest pause between two attempts to lock.
	lockPoll = 4 * time.Millisecond

	// private is the mode of every file written here; others are the permission bits that must not be set.
	private, others fs.FileMode = 0o600, 0o077
)

// readPrivate returns the content of the file called name if it is a regular file of at most limit octets to which only its owner has
// access, as ssh demands of its files. The error wraps [fs.ErrNotExist] if there is none.
func readPrivate(name string, limit int64) ([]byte, error) {
	// Asked before opening, because opening a FIFO would wait.
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("fingerprint: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("fingerprint: %s is not a regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("fingerprint: %w", err)
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, fmt.Errorf("fingerprint: %w", err)
	}
	// Windows keeps access in lists that these bits do not show.
	if mode := info.Mode().Perm(); mode&others != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("fingerprint: %s is accessible to other users (mode %04o); type: chmod 600 %q", name, mode, name)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("fingerprint: %w", err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("fingerprint: %s is larger than %d octets", name, limit)
	}
	return data, nil
}

// A fileLock is the right to replace one file, held against other processes and against other holders in this one. It is a file of its
// own beside the guarded one, since that is exchanged with every change.
type fileLock struct {
	target string   // what is guarded, symbolic links resolved
	file   *os.File // open as long as the lock is held
}

// lockFile waits for the right to replace the file called name, at most lockWait. Its directory is made if need be.
func lockFile(name string) (*fileLock, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, fmt.Errorf("fingerprint: %w", err)
	}
	// A link, into a directory under version control say, stays a link.
	target, err := filepath.EvalSymlinks(name)
	if errors.Is(err, fs.ErrNotExist) {
		target, err = name, nil
	}
	if err != nil {
		return nil, fmt.Errorf("fingerprint: %w", err)
	}
	l := &fileLock{target: target}
	for deadline := time.Now().Add(lockWait); ; {
		f, err := tryLock(l.name())
		if err != nil {
			return nil, fmt.Errorf("fingerprint: lock: %w", err)
		}
		if f != nil {
			l.file = f
			return l, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("fingerprint: another program has kept %s locked for %v", target, lockWait)
		}
		time.Sleep(rand.N(lockPoll)) // at random, so that two that wait do not keep step
	}
}

func (l *fileLock) name() string { return l.target + ".lock" }

// unlock gives the right back.
func (l *fileLock) unlock() { unlock(l.file, l.name()) }

// held reports whether the lock file is still the one that was locked. Somebody may have removed it, and somebody else locked another.
func held(f *os.File, name string) bool {
	ours, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(name)
	return err == nil && os.SameFile(ours, named)
}

// replace exchanges the guarded file for one with this content. Whoever reads meanwhile, and whoever looks after a crash, finds the old
// content or the new one, whole.
func (l *fileLock) replace(content []byte) error {
	// The name is fixed, so what a killed process left is used up by the next one. The lock keeps it ours.
	temp := l.target + ".tmp"
	err := writeNew(temp, content)
	if err == nil && !held(l.file, l.name()) {
		err = fmt.Errorf("lock of %s lost, nothing changed", l.target)
	}
	if err == nil {
		err = os.Rename(temp, l.target)
	}
	if err != nil {
		return fmt.Errorf("fingerprint: %w", errors.Join(err, removeIfThere(temp)))
	}
	if err := syncDir(filepath.Dir(l.target)); err != nil {
		return fmt.Errorf("fingerprint: %w", err)
	}
	return nil
}

// writeNew creates the file called name, in place of any other, and returns once its content is on the disk.
func writeNew(name string, content []byte) error {
	if err := removeIfThere(name); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, private)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func removeIfThere(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes a rename in the directory survive a loss of power. Windows has nothing of the kind and needs nothing.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
