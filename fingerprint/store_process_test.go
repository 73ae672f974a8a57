// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"example.org/xtls/fingerprint"
	"mellium.im/xmpp/jid"
)

// writerEnv makes the test binary a process that writes: "what id count file", count 0 for no end, with what one of jobs.
const writerEnv = "XTLS_TEST_FINGERPRINT_WRITER"

// jobs are what a writer can do count times. Each calls done with its progress once this is said to be on the disk.
var jobs = map[string]func(s *fingerprint.Store, id string, count int, done func(i int)) error{
	"pin":   write,
	"count": countUp,
	"die": func(s *fingerprint.Store, id string, count int, _ func(int)) error {
		return countUp(s, id, count, func(int) { die() })
	},
}

// countUp counts interrupted verifications with the peer of the writer.
func countUp(s *fingerprint.Store, id string, count int, done func(i int)) error {
	for i := 0; count == 0 || i < count; i++ {
		p, err := s.ChangePeer(writerPeer(id), func(p *fingerprint.Peer) error {
			p.Interrupted++
			return nil
		})
		if err != nil {
			return err
		}
		done(p.Interrupted)
	}
	return nil
}

// die ends this process at once, as SIGKILL does.
func die() {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {}
}

// writerKey is the i-th key that the writer id pins.
func writerKey(id string, i int) fingerprint.Fingerprint {
	return fingerprint.Of(fmt.Append(nil, id, "/", i))
}

func writerPeer(id string) jid.JID { return jid.MustParse(id + "@example.net") }

// write pins count keys and calls done with the number of each once it is said to be on the disk.
func write(s *fingerprint.Store, id string, count int, done func(i int)) error {
	for i := 0; count == 0 || i < count; i++ {
		if _, err := s.PinAnother(tofu(writerPeer(id), writerKey(id, i)), noon); err != nil {
			return err
		}
		done(i)
	}
	return nil
}

func runWriter(job string) int {
	var what, id, name string
	var count int
	if _, err := fmt.Sscanf(job, "%s %s %d %s", &what, &id, &count, &name); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s, err := fingerprint.Open(name)
	if err == nil {
		err = jobs[what](s, id, count, func(i int) { fmt.Println(i) })
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// A writer is a process that writes and says so.
type writer struct {
	id  string
	cmd *exec.Cmd
	out *bufio.Reader
	err *strings.Builder
}

func startWriter(t *testing.T, what, id string, count int, name string) *writer {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{id: id, cmd: exec.CommandContext(t.Context(), exe), err: new(strings.Builder)}
	w.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d %s", writerEnv, what, id, count, name))
	w.cmd.Stderr = w.err
	stdout, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.out = bufio.NewReader(stdout)
	return w
}

// next returns once one more step is said to be on the disk; false at the end of the output.
func (w *writer) next() bool {
	_, err := w.out.ReadString('\n')
	return err == nil
}

// known counts the keys of the writer id in the store, and fails if they are not the first ones, each as it was written.
func known(t *testing.T, s *fingerprint.Store, id string) int {
	t.Helper()
	rs, err := s.Records()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, r := range rs {
		if !r.Peer.Equal(writerPeer(id)) {
			continue
		}
		if r.Key != writerKey(id, n) {
			t.Fatalf("key %d of %s is missing or out of order", n, id)
		}
		n++
	}
	return n
}

// Several processes, and in this one several stores with several goroutines each, write at once: nothing is lost.
func TestWritersAtOnce(t *testing.T) {
	const processes, goroutines, each = 3, 6, 15
	name := filepath.Join(t.TempDir(), "known_peers")
	var stores [2]*fingerprint.Store
	for i := range stores {
		var err error
		if stores[i], err = fingerprint.Open(name); err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	var writers []*writer
	for i := range processes {
		ids = append(ids, fmt.Sprint("process", i))
		writers = append(writers, startWriter(t, "pin", ids[i], each, name))
	}
	var wg sync.WaitGroup
	for i := range goroutines {
		id := fmt.Sprint("goroutine", i)
		ids = append(ids, id)
		wg.Go(func() {
			if err := write(stores[i%len(stores)], id, each, func(int) {}); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		})
	}
	for _, w := range writers {
		if _, err := io.Copy(io.Discard, w.out); err != nil {
			t.Error(err)
		}
		if err := w.cmd.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", w.id, err, w.err)
		}
	}
	wg.Wait()
	for _, id := range ids {
		if got := known(t, stores[0], id); got != each {
			t.Errorf("of %s %d keys are known, want %d", id, got, each)
		}
	}
}

// Processes are killed while they write: what they said was on the disk is there, the file is whole at any moment, and others go on.
func TestWritersKilled(t *testing.T) {
	const rounds, most = 12, 9
	name := filepath.Join(t.TempDir(), "known_peers")
	writeFile(t, name, strings.Repeat("# "+strings.Repeat("x", 500)+"\n", 2000), 0o600) // large, so that writing takes its time
	s, err := fingerprint.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { readAll(t, s, stop) })
	for round := range rounds {
		w := startWriter(t, "pin", fmt.Sprint("killed", round), 0, name)
		said := 0
		for said <= round%most && w.next() {
			said++
		}
		if err := w.cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		for w.next() {
			said++
		}
		var exit *exec.ExitError
		if err := w.cmd.Wait(); !errors.As(err, &exit) || w.err.Len() > 0 {
			t.Errorf("%s ended with %v before it was killed: %s", w.id, err, w.err)
		}
		// One more may be on the disk than was said.
		if got := known(t, s, w.id); got < said || got > said+1 {
			t.Errorf("of %s %d keys are known, want %d or %d", w.id, got, said, said+1)
		}
		pin(t, s, tofu(jid.MustParse(fmt.Sprintf("survivor%d@example.net", round)), writerKey("survivor", round)), noon)
	}
	close(stop)
	wg.Wait()
	if peers, err := s.Peers(); err != nil || len(peers) != 2*rounds {
		t.Errorf("Peers() = %v, %v, want %d", peers, err, 2*rounds)
	}
}

// readAll reads the store until stop, and fails if it is ever torn or shrinks.
func readAll(t *testing.T, s *fingerprint.Store, stop <-chan struct{}) {
	most := 0
	for {
		select {
		case <-stop:
			return
		default:
		}
		rs, err := s.Records()
		if err != nil {
			t.Errorf("while others write: %v", err)
			return
		}
		if len(rs) < most {
			t.Errorf("while others write: %d records after %d", len(rs), most)
			return
		}
		most = len(rs)
	}
}
