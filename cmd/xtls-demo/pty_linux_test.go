// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A seat is a person at a terminal: what the program prints on it can be awaited,
// what is typed is written to keys.
type seat struct {
	*watched
	keys *os.File
	tty  *os.File // the program's end
}

func newSeat(t *testing.T) *seat {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := keys.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if e := conn.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}); e != nil || err != nil {
		t.Fatal(errors.Join(e, err))
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &seat{watched: newWatched(), keys: keys, tty: tty}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(s.watched, keys) // ends with an error when the terminal is gone
		s.watched.end()
	}()
	t.Cleanup(func() {
		_ = tty.Close()
		_ = keys.Close()
		<-read
	})
	return s
}

// command is a run with this terminal as its controlling one.
func (s *seat) command(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("xtls-demo")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	cmd.Stderr = s.tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 2}
	t.Cleanup(func() {
		if cmd.Process != nil {
			_ = cmd.Process.Kill()
		}
	})
	return cmd
}

func (s *seat) mustAwait(t *testing.T, pattern string) {
	t.Helper()
	if !s.await(pattern) {
		t.Fatalf("no %q in\n%s", pattern, s)
	}
}

// The question goes to the terminal, and the answer comes from there, while
// standard input and output are the tunnel's.
func TestQuestionBesideData(t *testing.T) {
	dir, config := scene(t)
	const data = "no\nnot an answer\n"
	bob, alice := newSeat(t), newSeat(t)
	serve := bob.command(t, dir, "serve", "--stdio", "--once", config("bob"))
	serve.Stdin = strings.NewReader("an answer")
	served, got := newWatched(), newWatched()
	serve.Stdout = served
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	bob.mustAwait(t, "ready bob@localhost/")
	nc := alice.command(t, dir, "nc", "bob@localhost", config("alice"))
	nc.Stdin, nc.Stdout = strings.NewReader(data), got
	if err := nc.Start(); err != nil {
		t.Fatal(err)
	}
	alice.mustAwait(t, `You are calling bob@localhost/[^ ]* \(a tunnel\)`)
	alice.mustAwait(t, `Type "pin"`)
	_, _ = io.WriteString(alice.keys, "pin\n")
	bob.mustAwait(t, `A tunnel is wanted by alice@localhost/`)
	bob.mustAwait(t, `Type "pin"`)
	if early := served.String(); early != "" {
		t.Errorf("data before the decision: %q", early)
	}
	_, _ = io.WriteString(bob.keys, "pin\n")
	if a, b := codeOf(nc.Wait()), codeOf(serve.Wait()); a != 0 || b != 0 {
		t.Errorf("exit codes %d and %d\n%s\n%s", a, b, alice, bob)
	}
	if served.String() != data || got.String() != "an answer" {
		t.Errorf("got %q and %q", served.String(), got.String())
	}
}

// A question does not keep an interrupted program alive, and a peer that goes away
// takes its question along.
func TestQuestionInterrupted(t *testing.T) {
	dir, config := scene(t)
	bob := newSeat(t)
	serve := bob.command(t, dir, "serve", config("bob"))
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	bob.mustAwait(t, "serving nothing but ping") // ready goes to standard output
	for range 2 {
		alice := newSeat(t)
		ping := alice.command(t, dir, "ping", "bob@localhost", config("alice"))
		if err := ping.Start(); err != nil {
			t.Fatal(err)
		}
		alice.mustAwait(t, `Type "pin"`)
		_ = ping.Process.Signal(os.Interrupt)
		if code := codeOf(ping.Wait()); code != exitInterrupted {
			t.Errorf("exit code %d\n%s", code, alice)
		}
	}
	bob.mustAwait(t, `Type "pin"(?s:.*)alice@localhost/[^ ]* ping: .*the peer ended the session \(cancel\)`)
	if strings.Contains(bob.String(), "error:") {
		t.Errorf("a peer that goes away is no alarm:\n%s", bob)
	}
	_ = serve.Process.Signal(os.Interrupt)
	if code := codeOf(serve.Wait()); code != exitInterrupted {
		t.Errorf("exit code %d\n%s", code, bob)
	}
}

// Two people at two terminals chat: the question about the key comes first, what is
// typed is marked, and what one writes the other reads.
func TestChatOnTerminals(t *testing.T) {
	dir, config := scene(t)
	bob, alice := newSeat(t), newSeat(t)
	wait := bob.command(t, dir, "chat", config("bob"))
	call := alice.command(t, dir, "chat", "bob@localhost", config("alice"))
	for s, cmd := range map[*seat]*exec.Cmd{bob: wait, alice: call} {
		cmd.Stdin, cmd.Stdout = s.tty, s.tty
	}
	if err := wait.Start(); err != nil {
		t.Fatal(err)
	}
	bob.mustAwait(t, "ready bob@localhost/")
	if err := call.Start(); err != nil {
		t.Fatal(err)
	}
	alice.mustAwait(t, `You are calling bob@localhost/[^ ]* \(a chat\)`)
	alice.mustAwait(t, `Type "pin"`)
	_, _ = io.WriteString(alice.keys, "pin\n")
	bob.mustAwait(t, `A tunnel is wanted by alice@localhost/[^ ]* \(a chat\)`)
	bob.mustAwait(t, `Type "pin"`)
	_, _ = io.WriteString(bob.keys, "pin\n")
	alice.mustAwait(t, "bob@localhost/.* is here")
	_, _ = io.WriteString(alice.keys, "hello, bob\n")
	alice.mustAwait(t, "✓ hello, bob\r\n")
	bob.mustAwait(t, "alice@localhost: hello, bob\r\n")
	_, _ = io.WriteString(bob.keys, "hello, alice\n\x04") // Ctrl-D
	alice.mustAwait(t, "bob@localhost: hello, alice\r\n")
	alice.mustAwait(t, "bob@localhost/.* has said everything")
	_, _ = io.WriteString(alice.keys, "bye\n\x04")
	bob.mustAwait(t, "alice@localhost: bye\r\n")
	if a, b := codeOf(call.Wait()), codeOf(wait.Wait()); a != 0 || b != 0 {
		t.Errorf("exit codes %d and %d\n%s\n%s", a, b, alice, bob)
	}
}

// A password that is typed is not shown, and Ctrl-C leaves the terminal as it was.
func TestPasswordOnTerminal(t *testing.T) {
	dir, _ := scene(t)
	stored, err := loadConfig(filepath.Join(dir, "alice", "config.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		typed string
		want  int
	}{{"pw of alice\r", exitOK}, {"wrong\r", exitServer}, {"\r", exitUsage}, {"half\x03", exitInterrupted}} {
		s := newSeat(t)
		before := echo(t, s)
		cmd := s.command(t, dir, "login", "alice@localhost", "--config="+filepath.Join(dir, "new"),
			"--server="+stored.Account.Server, "--server-ca="+stored.Account.ServerCA)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		s.mustAwait(t, `Password for alice@localhost \(not shown\): `)
		_, _ = io.WriteString(s.keys, tt.typed)
		if code := codeOf(cmd.Wait()); code != tt.want {
			t.Errorf("%q: exit code %d, want %d\n%s", tt.typed, code, tt.want, s)
		}
		if secret := strings.TrimRight(tt.typed, "\r\x03"); secret != "" && strings.Contains(s.String(), secret) {
			t.Errorf("%q was shown:\n%s", secret, s)
		}
		if !before || !echo(t, s) {
			t.Errorf("%q: the terminal does not echo any more", tt.typed)
		}
	}
}

// echo reports whether the terminal shows what is typed.
func echo(t *testing.T, s *seat) bool {
	t.Helper()
	conn, err := s.keys.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var mode *unix.Termios
	if e := conn.Control(func(fd uintptr) { mode, err = unix.IoctlGetTermios(int(fd), unix.TCGETS) }); e != nil || err != nil {
		t.Fatal(errors.Join(e, err))
	}
	return mode.Lflag&unix.ECHO != 0
}
