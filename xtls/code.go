// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"example.org/xtls/xtls/internal/cpace"
)

const (
	// CodeLife is how long a one-time code is valid.
	CodeLife = cpace.CodeLife
	// MaxCodeAttempts is how often it may be tried.
	MaxCodeAttempts = cpace.MaxCodeAttempts
)

// errOtherPeer: a code that several people know is none.
var errOtherPeer = errors.New("xtls: the one-time code was shown for another peer")

// A Code is a one-time code of 30 bits: one user sees it and reads it to the other,
// who types it. It is for one peer and, if attempts fail, for several tunnels: see
// [Verification.ShowCode]. Only its slot and the attempts are kept on disk. Its
// methods may be called concurrently. No print shows it.
type Code struct {
	slot cpace.Slot
	made time.Time

	mu      sync.Mutex // protects the fields below
	secret  Secret     // zero when the code is destroyed
	display func() string
	peer    string // bare; "" before it is used
}

// NewCode makes a code.
func NewCode() *Code {
	secret, display := cpace.NewCode()
	return &Code{slot: cpace.NewSlot(), made: time.Now(), secret: secret, display: func() string { return display }}
}

// Display is the form in which the user reads the code out, like "x9a-4up"; "" when
// the code is not valid any more.
func (c *Code) Display() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.spent() {
		return ""
	}
	return c.display()
}

// spent reports whether the code is destroyed or too old.
func (c *Code) spent() bool {
	age := time.Since(c.made)
	return c.secret.IsZero() || age < 0 || age >= CodeLife
}

// begin makes the run in which the peer of t types the code.
func (c *Code) begin(t *tunnel) (*passwordRun, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	peer := t.State().Peer.Bare().String()
	switch {
	case c.spent():
		return nil, ErrCodeSpent
	case c.peer != "" && c.peer != peer:
		return nil, errOtherPeer
	}
	c.peer = peer
	return &passwordRun{t: t, secret: c.secret, slot: c.slot, made: c.made}, nil
}

// destroy makes the code invalid for good.
func (c *Code) destroy() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.secret, c.display = Secret{}, nil
}

// Format implements [fmt.Formatter] so that every verb prints the same, and no code.
func (c *Code) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("xtls.Code(hidden)")) }
