// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// What a store says of a peer with whom one verification was begun. Whatever else it
// says is a failure of the test.
const (
	untouched = "nothing"
	counted   = "a failed attempt"
	verified  = "a verified key"
)

// A death is a process that is killed with SIGKILL while it verifies its peer, and what
// either end remembers after that.
type death struct {
	method string // of the verification; see user
	frame  string // of the verification, by its name in PROTOCOL.md
	// by sending: the frame has left the process, and still arrives. Otherwise it was
	// received, and acted on: the process is killed at the frame that it answers with,
	// which does not arrive any more, or at the acknowledgement if nothing follows.
	sent                 bool
	initiator, responder string
}

// dialler reports whether it is the initiator who dies.
func (d death) dialler() bool {
	switch d.frame {
	case "SAS_COMMIT", "SAS_REVEAL", "SAS_RESULT I", "PW_A", "PW_C":
		return d.sent
	default:
		return !d.sent
	}
}

// deaths are those at every frame of a run, for both ends. The responder asks for the
// run. Of the users who compare codes the initiator's is faster: SAS_RESULT of R is sent
// when that of I has arrived.
func deaths() []death {
	all := []death{
		{"sas", "SAS_REQUEST", true, counted, untouched},
		{"sas", "SAS_REQUEST", false, counted, untouched},
		{"sas", "SAS_COMMIT", true, counted, counted},
		{"sas", "SAS_COMMIT", false, counted, counted},
		{"sas", "SAS_NONCE", true, counted, counted},
		{"sas", "SAS_NONCE", false, counted, counted},
		{"sas", "SAS_REVEAL", true, counted, counted},
		{"sas", "SAS_REVEAL", false, counted, counted},
		{"sas", "SAS_RESULT I", true, verified, counted},
		{"sas", "SAS_RESULT I", false, verified, counted},
		{"sas", "SAS_RESULT R", true, verified, verified},
		{"sas", "SAS_RESULT R", false, verified, verified},
		// The user who types the code is still about to: nothing was given away there.
		{"code typed by R", "PW_A", true, counted, untouched},
	}
	for _, method := range []string{"password", "code typed by I"} {
		all = append(all, []death{
			{method, "PW_REQUEST", true, counted, untouched},
			{method, "PW_REQUEST", false, counted, untouched},
			{method, "PW_A", true, counted, counted},
			{method, "PW_A", false, counted, counted},
			{method, "PW_B", true, counted, counted},
			{method, "PW_B", false, counted, counted},
			// R takes its attempt back when PW_OK has arrived, as its peer does.
			{method, "PW_C", true, counted, counted},
			{method, "PW_C", false, counted, counted},
			{method, "PW_OK", true, verified, counted},
			{method, "PW_OK", false, verified, verified},
		}...)
	}
	return all
}

// TestKilled kills a process at each step of a verification. Its attempt stays counted,
// as the peer could have been somebody in the middle who saw that the guess was wrong;
// only what ends a run well takes that back (PROTOCOL.md 7.1 rule 6, and 7.2). The
// other end notices that the process is gone, and counts as well.
func TestKilled(t *testing.T) {
	runVictim(t)
	// All at once: an end that is waiting for the peer notices by its heartbeat.
	begin := make(chan struct{}, 4)
	var wg sync.WaitGroup
	for _, d := range deaths() {
		how := "received"
		if d.sent {
			how = "sent"
		}
		wg.Go(func() {
			t.Run(fmt.Sprintf("%s/%s %s", d.method, d.frame, how), func(t *testing.T) { d.try(t, begin) })
		})
	}
	wg.Wait()
}

// try has alice killed, who verifies bob. There is a place in begin until she is.
func (d death) try(t *testing.T, begin chan struct{}) {
	begin <- struct{}{}
	leave := sync.OnceFunc(func() { <-begin })
	defer leave()

	e := newExecution(t, d)
	survived := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), testTime)
	defer cancel()
	go func() { survived <- e.survive(ctx) }()
	select {
	case <-e.dead:
	case err := <-survived:
		t.Fatalf("bob ended before alice was killed: %v", err)
	}
	leave()

	err := <-survived
	if !errors.Is(err, xtls.ErrLost) {
		t.Errorf("bob: %v, want ErrLost", err)
	}
	alice, bob := d.responder, d.initiator
	if d.dialler() {
		alice, bob = bob, alice
	}
	store, err := fingerprint.Open(filepath.Join(e.dir, "known_peers"))
	if err != nil {
		t.Fatal(err)
	}
	if got := remembered(t, store, "bob@localhost", d.method); got != alice {
		t.Errorf("alice, who was killed, remembers %s, want %s", got, alice)
	}
	if got := remembered(t, e.bob.Trust, "alice@localhost", d.method); got != bob {
		t.Errorf("bob remembers %s, want %s", got, bob)
	}
}

// remembered puts what a store says of peer into one of the words above.
func remembered(t *testing.T, store *fingerprint.Store, peer, method string) string {
	t.Helper()
	p, err := store.Peer(jid.MustParse(peer))
	if err != nil {
		t.Fatal(err)
	}
	records, err := store.Records()
	if err != nil {
		t.Fatal(err)
	}
	keys := 0
	for _, r := range records {
		if r.Level == fingerprint.LevelVerified {
			keys++
		}
	}
	tried := 0
	for _, c := range p.Codes {
		tried += c.Tried
	}
	// Codes that were compared, runs that ended without a result, passwords, in a row and
	// ever, and attempts at a one-time code, of which the one that succeeds is the last.
	type facts struct{ keys, others, sas, interrupted, row, total, tried int }
	got := facts{keys, len(records) - keys, p.SASFailures, p.Interrupted, p.PasswordFailures, p.PasswordTotal, tried}
	once, done := facts{tried: 1}, facts{keys: 1, tried: xtls.MaxCodeAttempts}
	switch method {
	case "sas":
		once, done = facts{sas: 1, interrupted: 1}, facts{keys: 1}
	case "password":
		once, done = facts{row: 1, total: 1}, facts{keys: 1}
	}
	switch got {
	case facts{}:
		return untouched
	case once:
		return counted
	case done:
		return verified
	default:
		return fmt.Sprintf("%+v", got)
	}
}

// frames of a verification and after it, in the order in which an end sends them. The
// server cannot read them, but count.
func (d death) frames(initiator bool) []string {
	switch {
	case d.method == "sas" && initiator:
		return []string{"SAS_COMMIT", "SAS_REVEAL", "SAS_RESULT I", "CONFIRM"}
	case d.method == "sas":
		return []string{"SAS_REQUEST", "SAS_NONCE", "SAS_RESULT R", "CONFIRM"}
	case initiator:
		return []string{"PW_A", "PW_C", "CONFIRM"}
	default:
		return []string{"PW_REQUEST", "PW_B", "PW_OK", "CONFIRM"}
	}
}

// answer is what the receiver of the frame sends then; "" if it is for its user to act.
func (d death) answer() string {
	return map[string]string{
		"SAS_REQUEST": "SAS_COMMIT", "SAS_COMMIT": "SAS_NONCE", "SAS_NONCE": "SAS_REVEAL", "SAS_RESULT R": "CONFIRM",
		"PW_REQUEST": "PW_A", "PW_A": "PW_B", "PW_B": "PW_C", "PW_C": "PW_OK", "PW_OK": "CONFIRM",
	}[d.frame]
}

// A watch is the server that sees the frames pass, and when it is time.
type watch struct {
	death
	kill func()         // alice, and returns when she is dead
	cue  func(who bool) // tells a user to decide: the initiator's or the responder's

	mu    sync.Mutex
	over  bool              // she has been killed
	seen  map[bool]int      // frames by sender: the initiator or not
	named map[string]string // by the id of the request that carries it
}

// tamper is honest until alice is to die.
func (w *watch) tamper(st *xtlstest.Stanza) []*xtlstest.Stanza {
	honest := []*xtlstest.Stanza{st}
	alice := st.From.Localpart() == "alice"
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.over:
	case st.Kind == "iq" && st.Type == "set" && bytes.Contains(st.XML, []byte("security-info")):
		initiator := alice == w.dialler()
		frames := w.frames(initiator)
		name := frames[min(w.seen[initiator], len(frames)-1)]
		w.seen[initiator]++
		w.named[st.ID+" "+st.To.String()] = name
		switch {
		case !alice:
		case w.sent && name == w.frame:
			w.killLocked()
		case !w.sent && name == w.answer():
			w.killLocked()
			return nil
		}
	case st.Kind == "iq" && st.Type == "result":
		name := w.named[st.ID+" "+st.From.String()]
		switch {
		case name == "":
		case alice && !w.sent && name == w.frame && w.answer() == "":
			w.killLocked()
			return nil
		case name == "SAS_REVEAL":
			w.cue(true)
		case name == "SAS_RESULT I":
			w.cue(false)
		}
	}
	return honest
}

func (w *watch) killLocked() {
	w.over = true
	w.kill()
}
