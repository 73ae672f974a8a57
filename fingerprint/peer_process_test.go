// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint_test

import (
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"example.org/xtls/fingerprint"
)

// interrupted returns the count of the writer id.
func interrupted(t *testing.T, s *fingerprint.Store, id string) int {
	t.Helper()
	p, err := s.Peer(writerPeer(id))
	if err != nil {
		t.Fatal(err)
	}
	return p.Interrupted
}

// Two processes, and in this one two stores, count the same thing at once: nothing is lost.
func TestCountersAtOnce(t *testing.T) {
	const processes, each = 2, 100
	name := filepath.Join(t.TempDir(), "known_peers")
	var writers []*writer
	for range processes {
		writers = append(writers, startWriter(t, "count", "bob", each, name))
	}
	var wg sync.WaitGroup
	var stores [2]*fingerprint.Store
	for i := range stores {
		var err error
		if stores[i], err = fingerprint.Open(name); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := countUp(stores[i], "bob", each, func(int) {}); err != nil {
				t.Error(err)
			}
		})
	}
	for _, w := range writers {
		if _, err := io.Copy(io.Discard, w.out); err != nil {
			t.Error(err)
		}
		if err := w.cmd.Wait(); err != nil {
			t.Errorf("%v\n%s", err, w.err)
		}
	}
	wg.Wait()
	if got, want := interrupted(t, stores[0], "bob"), (processes+len(stores))*each; got != want {
		t.Errorf("counted to %d, want %d", got, want)
	}
}

// A process is killed, by itself, as soon as ChangePeer has returned: its count stands, exactly.
func TestCountSurvivesKill(t *testing.T) {
	name := filepath.Join(t.TempDir(), "known_peers")
	for want := 1; want <= 8; want++ {
		w := startWriter(t, "die", "bob", 1, name)
		var exit *exec.ExitError
		if err := w.cmd.Wait(); !errors.As(err, &exit) || w.err.Len() > 0 {
			t.Fatalf("the process ended with %v, want it killed: %s", err, w.err)
		}
		s, err := fingerprint.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := interrupted(t, s, "bob"); got != want {
			t.Fatalf("after %d processes were killed the count is %d", want, got)
		}
	}
}

// Processes are killed from outside at any moment of their counting: the file is never torn, no count that was told is lost, and none is counted
// twice.
func TestCountersKilled(t *testing.T) {
	const rounds, most = 10, 9
	name := filepath.Join(t.TempDir(), "known_peers")
	writeFile(t, name, strings.Repeat("# "+strings.Repeat("x", 500)+"\n", 2000), 0o600) // large, so that writing takes its time
	s, err := fingerprint.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { watchCount(t, s, stop) })
	before := 0
	for round := range rounds {
		w := startWriter(t, "count", "bob", 0, name)
		for range round % most {
			w.next()
		}
		if err := w.cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		rest, err := io.ReadAll(w.out)
		if err != nil {
			t.Error(err)
		}
		var exit *exec.ExitError
		if err := w.cmd.Wait(); !errors.As(err, &exit) || w.err.Len() > 0 {
			t.Errorf("the process ended with %v before it was killed: %s", err, w.err)
		}
		told := before + round%most
		if lines := strings.Fields(string(rest)); len(lines) > 0 {
			if told, err = strconv.Atoi(lines[len(lines)-1]); err != nil {
				t.Error(err)
			}
		}
		got := interrupted(t, s, "bob")
		if got < told || got > told+1 {
			t.Errorf("round %d: the count is %d, want %d or one more", round, got, told)
		}
		before = got
	}
	close(stop)
	wg.Wait()
}

// watchCount reads bob's count until stop, and fails if the store is ever torn or counts back.
func watchCount(t *testing.T, s *fingerprint.Store, stop <-chan struct{}) {
	most := 0
	for {
		select {
		case <-stop:
			return
		default:
		}
		p, err := s.Peer(writerPeer("bob"))
		if err != nil {
			t.Errorf("while others write: %v", err)
			return
		}
		if p.Interrupted < most {
			t.Errorf("while others write: %d after %d", p.Interrupted, most)
			return
		}
		most = p.Interrupted
	}
}
