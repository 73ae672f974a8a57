// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

// Xtls-demo is the command line of XTLS: end-to-end encrypted tunnels between any
// two XMPP accounts.
//
//	xtls-demo demo                            try it without an account
//	xtls-demo login alice@example.org         store an account
//	xtls-demo serve --service web=localhost:8080
//	xtls-demo nc bob@example.net web <request >answer
//
// Data goes to standard output, text for people to standard error. With --json
// every event is one JSON object in a line, the last one says why the program
// ended. The exit codes are in exit.go and in the manual page (xtls-demo man).
//
// main.go starts and ends a run, root.go has the verbs and flags, settings.go and
// config.go what they mean and where it is kept; account.go goes online, trust.go
// decides about unknown keys, ceremony.go verifies on a terminal, splice.go joins a tunnel with local streams,
// conversation.go is a chat, doctor_advice.go what doctor makes of its findings, and each verb has a file of its own.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"
)

func main() { os.Exit(program()) }

// program is one run as a process of its own.
func program() int {
	// A reader that goes away must be an error of Write, not the end of a process
	// that has a tunnel to close.
	signal.Ignore(syscall.SIGPIPE)
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	context.AfterFunc(ctx, func() {
		signal.Ignore(syscall.SIGHUP) // a terminal that is closed sends two
		stop()                        // another signal ends the process at once
	})
	return run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}, os.Getenv)
}

// streams are the three standard ones.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// An app is one run of the program.
type app struct {
	streams
	getenv func(string) string
	ui     *ui
	set    settings
	method string // of verify and serve: how to verify
}

// run runs the command line args and returns the exit code. When ctx ends, it ends
// politely: tunnels are closed and the session is ended. Everything it started has
// ended when it returns, but for a Read of standard input or a Write to standard
// output that nothing can interrupt.
func run(ctx context.Context, args []string, std streams, getenv func(string) string) int {
	run, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { cancel(errInterrupted) })()
	out := &output{w: std.out, failed: func(err error) { cancel(err) }}
	std.out = out
	a := &app{streams: std, getenv: getenv, ui: newUI(std.out, std.err)}
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(run)
	switch cause := context.Cause(run); {
	case cause == nil, err != nil && exitCode(err) == exitAlarm:
	case err != nil, cause != errInterrupted: // what was done all the same before an interruption is done
		err = cause
	}
	if !a.ui.ready && slices.Contains(args, "--json") {
		a.ui.configure(settings{json: true}, eventsOnStderr(cmd)) // the flags could not be read
	}
	a.ui.exit(err)
	if lost := out.error(); err == nil && lost != nil { // of the very end
		a.ui.exit(lost)
		err = lost
	}
	return exitCode(err)
}

// dataOnStdout marks the commands whose standard output is the tunnel's.
const dataOnStdout = "data-on-stdout"

// eventsOnStderr reports whether the JSON events of a command go to standard
// error, because standard output carries data.
func eventsOnStderr(cmd *cobra.Command) bool {
	if cmd == nil {
		return false
	}
	switch cmd.Annotations[dataOnStdout] {
	case "always":
		return true
	case "stdio":
		on, err := cmd.Flags().GetBool("stdio")
		return err == nil && on
	default:
		return false
	}
}

// errInterrupted is how a run ends that was interrupted.
var errInterrupted error = interruption{}

// An interruption is a context.Canceled, so that the library tells a peer that
// this end gave up, and not that something is wrong.
type interruption struct{}

func (interruption) Error() string        { return "interrupted" }
func (interruption) Is(target error) bool { return target == context.Canceled }
