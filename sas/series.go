// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package sas

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"
)

// Limits of PROTOCOL.md section 7.1. This package holds MaxFailures; the others are for
// its caller, who has the clock and the disk.
const (
	MaxFailures       = 3                // runs of one tunnel that count as failures; the next one is refused
	MaxFailuresPerDay = 5                // the same per peer (bare address) and day, over all tunnels
	FrameTimeout      = 60 * time.Second // for each frame that the peer owes, up to the code
	UserTimeout       = 10 * time.Minute // for the two users, from the code to both results
)

const (
	nonceSize = 32
	macSize   = 32 // of HMAC-SHA-256
	keySize   = 32
	maxRun    = 255
)

type nonce [nonceSize]byte

// A Role is the side of the Jingle session that this end is on. It is not who
// asked for the verification: the initiator always commits, which leaves no
// doubt if both ask at once.
type Role byte

// The two roles.
const (
	Initiator Role = iota + 1
	Responder
)

// String returns the role in English.
func (r Role) String() string {
	switch r {
	case Initiator:
		return "initiator"
	case Responder:
		return "responder"
	}
	return fmt.Sprintf("role %d", byte(r))
}

// Keys are the four keys of one tunnel, each of 32 octets: K(purpose, CTX, 32) of
// PROTOCOL.md section 5, for the purposes in [DeriveKeys]. Printing Keys shows nothing.
type Keys struct {
	Commit, Value, ResultInitiator, ResultResponder []byte
}

// DeriveKeys makes the keys with derive, which is K(purpose, CTX, n): a key
// derivation from the exporter of the tunnel's handshake, final and the same at
// both ends. It fails if derive does.
func DeriveKeys(derive func(purpose string, n int) ([]byte, error)) (Keys, error) {
	var k Keys
	for _, d := range []struct {
		key     *[]byte
		purpose string
	}{
		{&k.Commit, "sas commit"},
		{&k.Value, "sas value"},
		{&k.ResultInitiator, "sas result initiator"},
		{&k.ResultResponder, "sas result responder"},
	} {
		var err error
		if *d.key, err = derive(d.purpose, keySize); err != nil {
			return Keys{}, fmt.Errorf("sas: deriving the key %q: %w", d.purpose, err)
		}
	}
	return k, nil
}

// Format keeps keys out of logs, whatever the verb.
func (k Keys) Format(f fmt.State, _ rune) { io.WriteString(f, "sas.Keys(not shown)") }

func (k Keys) all() [4][]byte {
	return [4][]byte{k.Commit, k.Value, k.ResultInitiator, k.ResultResponder}
}

// check refuses keys that cannot have come from the key schedule. Equal ones
// would let the peer send our own result back to us.
func (k Keys) check() error {
	all := k.all()
	for i, a := range all {
		if len(a) != keySize {
			return fmt.Errorf("sas: a key has %d octets, want %d", len(a), keySize)
		}
		for _, b := range all[:i] {
			if bytes.Equal(a, b) {
				return errors.New("sas: two of the four keys are equal")
			}
		}
	}
	return nil
}

// A Series is the runs of one tunnel at one end. It numbers them, remembers their
// nonces and counts their failures (PROTOCOL.md section 7.1).
type Series struct {
	role Role
	keys Keys
	draw func([]byte) // fills with random octets

	seen     map[nonce]bool // every nonce drawn or accepted, at most two per run
	cur      *Exchange      // the last run begun, or nil
	failures int            // among the runs before cur
	disputed bool           // a mismatch in a run before cur
}

// New returns the series of one end of a tunnel. Both ends must use the same keys
// and different roles. It fails only if role is none or a key has a wrong length
// or is there twice. The keys are copied.
func New(role Role, keys Keys) (*Series, error) {
	if role != Initiator && role != Responder {
		return nil, fmt.Errorf("sas: %s does not exist", role)
	}
	if err := keys.check(); err != nil {
		return nil, err
	}
	return &Series{
		role: role,
		keys: Keys{
			bytes.Clone(keys.Commit), bytes.Clone(keys.Value),
			bytes.Clone(keys.ResultInitiator), bytes.Clone(keys.ResultResponder),
		},
		draw: func(b []byte) { rand.Read(b) }, // never fails, see crypto/rand
		seen: make(map[nonce]bool),
	}, nil
}

// Exchange returns the run that is open; if there is none it begins the next one,
// which costs nothing until a frame is sent. It is the place to get every
// incoming frame's Exchange from. The error is [ErrExhausted] after 255 runs.
//
// After [MaxFailures] failures or a mismatch the run it returns refuses to be
// started, by either end, with [ReasonLimit].
func (s *Series) Exchange() (*Exchange, error) {
	next := &Exchange{s: s, run: 1}
	if last := s.cur; last != nil {
		if last.state != over {
			return last, nil
		}
		if last.run == maxRun {
			return nil, ErrExhausted
		}
		next.run = last.run + 1
		next.late = last.late
		switch {
		case !last.abortedHere:
			next.late = 0
		case last.late == 0 || last.heard:
			next.late = last.run
		}
		switch last.Outcome() {
		case OutcomeFailed:
			s.failures++
		case OutcomeMismatch:
			s.disputed = true
		}
	}
	s.cur = next
	return next, nil
}

// exhausted reports whether no further run may be started in the tunnel.
func (s *Series) exhausted() bool { return s.disputed || s.failures >= MaxFailures }

// fresh draws the nonce of a run.
func (s *Series) fresh() nonce {
	var n nonce
	s.draw(n[:])
	s.seen[n] = true
	return n
}

// accept takes a nonce of the peer unless it is ours of this run or anybody's of
// an earlier one (rule 4): a peer that sends back what it saw draws nothing.
func (s *Series) accept(n nonce) bool {
	if s.seen[n] {
		return false
	}
	s.seen[n] = true
	return true
}
