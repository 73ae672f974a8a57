// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package cpace_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"example.org/xtls/xtls/internal/cpace"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func TestCodeAttempts(t *testing.T) {
	made := cpace.CodeAttempts{Made: noon}
	for _, tt := range []struct {
		name  string
		at    time.Duration
		tried int
		err   error
	}{
		{"at once", 0, 0, nil},
		{"last moment", 15*time.Minute - 1, 2, nil},
		{"expired", 15 * time.Minute, 0, cpace.ErrCodeExpired},
		{"clock set back", -1, 0, cpace.ErrCodeExpired},
		{"third try", time.Minute, 2, nil},
		{"fourth try", time.Minute, 3, cpace.ErrCodeUsed},
	} {
		a := made
		a.Tried = tt.tried
		next, err := a.Begin(noon.Add(tt.at))
		if !errors.Is(err, tt.err) || err == nil && next.Tried != tt.tried+1 || err != nil && next != a {
			t.Errorf("%s: %+v, %v, want %v", tt.name, next, err, tt.err)
		}
	}
	if _, err := (cpace.CodeAttempts{}).Begin(noon); !errors.Is(err, cpace.ErrCodeExpired) {
		t.Errorf("zero value: %v", err)
	}
	a, err := made.Begin(noon)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Succeed().Begin(noon); !errors.Is(err, cpace.ErrCodeUsed) {
		t.Errorf("after success: %v", err)
	}
}

// TestPasswordLocks fails again and again, as soon as it is allowed.
func TestPasswordLocks(t *testing.T) {
	var a cpace.PasswordAttempts
	now := noon
	locks := []time.Duration{0, 0, 1, 2, 4, 8, 16, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24} // hours
	for n, hours := range locks {
		var err error
		if a, err = a.Begin(now); err != nil {
			t.Fatalf("attempt %d: %v", n+1, err)
		}
		if a.InRow != n+1 || a.Total != n+1 {
			t.Errorf("attempt %d: %+v", n+1, a)
		}
		if hours == 0 {
			if !a.LockedUntil.IsZero() {
				t.Errorf("attempt %d locks until %v", n+1, a.LockedUntil)
			}
			continue
		}
		until := now.Add(hours * time.Hour)
		if !a.LockedUntil.Equal(until) {
			t.Errorf("attempt %d locks for %v, want %d h", n+1, a.LockedUntil.Sub(now), hours)
		}
		same, err := a.Begin(until.Add(-1))
		var locked *cpace.LockedError
		if n+1 < len(locks) && (!errors.As(err, &locked) || !locked.Until.Equal(until) || same != a ||
			!strings.Contains(err.Error(), until.Format(time.RFC3339))) {
			t.Errorf("attempt %d, too early: %+v, %v", n+1, same, err)
		}
		now = until
	}
	if same, err := a.Begin(now.Add(1000 * time.Hour)); !errors.Is(err, cpace.ErrEnterAnew) || same != a {
		t.Errorf("attempt 21: %+v, %v", same, err)
	}
}

func TestPasswordSuccess(t *testing.T) {
	for _, tt := range []struct{ before, after cpace.PasswordAttempts }{
		{cpace.PasswordAttempts{}, cpace.PasswordAttempts{}},
		{cpace.PasswordAttempts{InRow: 2, Total: 2}, cpace.PasswordAttempts{Total: 2}},
		{cpace.PasswordAttempts{InRow: 5, Total: 19, LockedUntil: noon}, cpace.PasswordAttempts{Total: 19}},
	} {
		begun, err := tt.before.Begin(noon)
		if err != nil {
			t.Fatal(err)
		}
		if got := begun.Succeed(); got != tt.after {
			t.Errorf("from %+v: %+v, want %+v", tt.before, got, tt.after)
		}
	}
	// Failures between successes are bounded all the same: 20 guesses, ever.
	var a cpace.PasswordAttempts
	failures := 0
	for ; failures < 100; failures++ {
		failed, err := a.Begin(noon)
		if errors.Is(err, cpace.ErrEnterAnew) {
			break
		}
		ok, err := failed.Begin(noon)
		if errors.Is(err, cpace.ErrEnterAnew) {
			failures++
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		a = ok.Succeed()
	}
	if failures != cpace.MaxPasswordAttempts {
		t.Errorf("%d failures between successes were allowed", failures)
	}
	if got := (cpace.PasswordAttempts{}).Succeed(); got != (cpace.PasswordAttempts{}) {
		t.Errorf("success without Begin: %+v", got)
	}
}

// TestWallClock: no time that is kept has a monotonic reading, which stands still while
// the machine sleeps.
func TestWallClock(t *testing.T) {
	now := time.Now()
	if !strings.Contains(now.String(), "m=") {
		t.Fatal("time.Now has no monotonic reading")
	}
	code, err1 := cpace.CodeAttempts{Made: now}.Begin(now)
	pw, err2 := cpace.PasswordAttempts{InRow: 2}.Begin(now)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Time{code.Made, pw.LockedUntil} {
		if strings.Contains(at.String(), "m=") {
			t.Errorf("%v", at)
		}
	}
}
