// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// A child is a process that ends with the test that started it.
type child struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *output
	stderr *output
	done   chan struct{} // closed when it has ended and all its output was read
}

// startChild starts cmd. At the end of the test it is killed, by its own process
// id, and what it printed is shown if the test has failed. If cmd.Stdout is set, its
// standard output goes there.
func startChild(t testing.TB, name string, cmd *exec.Cmd) *child {
	t.Helper()
	c := &child{name: name, cmd: cmd, stdout: newOutput(), stderr: newOutput(), done: make(chan struct{})}
	cmd.SysProcAttr = dieWithParent()
	cmd.WaitDelay = patience // if somebody else still holds its output
	stdin, err1 := cmd.StdinPipe()
	var stdout io.Reader = strings.NewReader("")
	var err2 error
	if cmd.Stdout == nil {
		stdout, err2 = cmd.StdoutPipe()
	}
	stderr, err3 := cmd.StderrPipe()
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			t.Fatal(err)
		}
	}
	c.stdin = stdin
	started := make(chan error, 1)
	go c.live(started, stdout, stderr)
	if err := <-started; err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	t.Cleanup(func() {
		c.kill()
		_ = stdin.Close()
		if !c.ended(patience) {
			t.Errorf("%s did not end although it was killed", name)
		}
		if t.Failed() {
			t.Logf("%s (process %d, %v)\n--- its output:\n%s\n--- its errors:\n%s", name, cmd.Process.Pid, cmd.ProcessState, c.stdout, c.stderr)
		}
	})
	return c
}

// live starts the process and waits for its end. All of that is one thread: the
// system ends the child when the thread that started it ends.
func (c *child) live(started chan<- error, stdout, stderr io.Reader) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(c.done)
	err := c.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	var reading sync.WaitGroup
	reading.Go(func() { c.stdout.collect(stdout) })
	reading.Go(func() { c.stderr.collect(stderr) })
	reading.Wait()
	_ = c.cmd.Wait() // ProcessState says it
}

// kill ends the process at once, without a chance to say goodbye. It does nothing
// if the process has ended already.
func (c *child) kill() { _ = c.cmd.Process.Kill() }

// terminate asks the process to end.
func (c *child) terminate() { _ = c.cmd.Process.Signal(os.Interrupt) }

// ended waits for the end of the process.
func (c *child) ended(within time.Duration) bool {
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	select {
	case <-c.done:
		return true
	case <-timeout.C:
		return false
	}
}

// await waits until ok likes what was written to o, the standard output or error
// of c, and fails the test, which shows everything, if that does not come.
func (c *child) await(t testing.TB, what string, o *output, within time.Duration, ok func(text []byte, ended bool) bool) {
	t.Helper()
	if !o.await(within, ok) {
		t.Fatalf("%s: no %s within %v", c.name, what, within)
	}
}
