// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package cpace

import (
	"errors"
	"fmt"
	"time"
)

// How often somebody may guess. Every policy here is a small value that the caller
// keeps on disk, and works alike: Begin counts the attempt as failed, in advance, and
// the result is on disk before the frame that exposes this end is sent; only success
// takes it back. So a peer that vanishes, a crash and a pulled plug all count.
//
//	next, err := onDisk.Begin(now)     // err: not now, or never again
//	write next to disk, run
//	write next.Succeed() to disk       // only after success
//
// The values have no monotonic clock reading: a lock ends, and a code dies, by the
// clock on the wall, also when the machine was asleep.
const (
	// CodeLife is how long a one-time code is valid, MaxCodeAttempts how often it may
	// be tried (PROTOCOL.md section 7.2).
	CodeLife        = 15 * time.Minute
	MaxCodeAttempts = 3

	// MaxInRow is the number of failures in a row that locks a typed password, for
	// FirstLock. Every further one in the row locks for twice as long, up to MaxLock.
	MaxInRow  = 3
	FirstLock = time.Hour
	MaxLock   = 24 * time.Hour
	// MaxPasswordAttempts is the number of failures after which a typed password must
	// be entered anew, whatever succeeded in between (PROTOCOL.md section 7.2).
	MaxPasswordAttempts = 20
)

// Errors of the policies.
var (
	ErrCodeExpired = fmt.Errorf("cpace: the code was valid for %d minutes", int(CodeLife.Minutes()))
	ErrCodeUsed    = errors.New("cpace: the code has been used, or tried too often")
	ErrEnterAnew   = fmt.Errorf("cpace: %d verifications with this password have failed: agree on it anew", MaxPasswordAttempts)
)

// A LockedError says that a typed password may not be tried before Until.
type LockedError struct{ Until time.Time }

// Error implements error.
func (e *LockedError) Error() string {
	return "cpace: too many verifications have failed: locked until " + e.Until.Format(time.RFC3339)
}

// CodeAttempts limits a one-time code, at either end.
type CodeAttempts struct {
	Made  time.Time // when the code was made, or typed in
	Tried int       // attempts so far
}

// Begin counts one attempt. The error is ErrCodeUsed or ErrCodeExpired; the code must
// then be erased. A clock that was set back before Made expires the code as well.
func (a CodeAttempts) Begin(now time.Time) (CodeAttempts, error) {
	age := now.Round(0).Sub(a.Made.Round(0))
	switch {
	case a.Tried >= MaxCodeAttempts:
		return a, ErrCodeUsed
	case age < 0 || age >= CodeLife:
		return a, ErrCodeExpired
	}
	return CodeAttempts{Made: a.Made.Round(0), Tried: a.Tried + 1}, nil
}

// Succeed uses the code up: it is good for one success. The caller erases it.
func (a CodeAttempts) Succeed() CodeAttempts {
	a.Tried = MaxCodeAttempts
	return a
}

// PasswordAttempts limits a typed password. The zero value belongs to one that was just
// entered; nothing else goes back to it.
type PasswordAttempts struct {
	InRow       int       // failures since the last success
	Total       int       // failures since the password was entered
	LockedUntil time.Time // zero or past: not locked
}

// Begin counts one attempt. The error is a [*LockedError] or ErrEnterAnew.
func (a PasswordAttempts) Begin(now time.Time) (PasswordAttempts, error) {
	now = now.Round(0)
	switch {
	case a.Total >= MaxPasswordAttempts:
		return a, ErrEnterAnew
	case now.Before(a.LockedUntil):
		return a, &LockedError{Until: a.LockedUntil}
	}
	a.InRow++
	a.Total++
	if a.InRow >= MaxInRow {
		a.LockedUntil = now.Add(lockTime(a.InRow))
	}
	return a, nil
}

// Succeed takes the attempt that Begin counted back, ends the row and the lock. Earlier
// failures stay in Total: they were guesses at the same password.
func (a PasswordAttempts) Succeed() PasswordAttempts {
	return PasswordAttempts{Total: max(0, a.Total-1)}
}

// lockTime is how long a password is locked after the n-th failure in a row.
func lockTime(n int) time.Duration {
	lock := FirstLock
	for ; n > MaxInRow && lock < MaxLock; n-- {
		lock *= 2
	}
	return min(lock, MaxLock)
}
