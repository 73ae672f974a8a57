// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// How many characters of one text, which may be foreign, are shown.
const (
	maxShown      = 300
	maxShownError = 2000
)

// A ui says what happens, to people and to programs. It is safe for concurrent
// use: lines are never mixed.
type ui struct {
	ready    bool // configured
	quiet    bool
	verbose  int
	jsonMode bool

	out, err io.Writer // standard output and error

	mu     sync.Mutex
	stdout io.Writer // results for people
	people io.Writer // what goes on, for people
	events io.Writer // JSON
}

func newUI(stdout, stderr io.Writer) *ui {
	return &ui{out: stdout, err: stderr, stdout: stdout, people: stderr, events: io.Discard}
}

// configure takes the flags. With JSON, results are events; if these go to
// standard error, nothing else does.
func (u *ui) configure(s settings, eventsOnStderr bool) {
	u.ready, u.quiet, u.verbose, u.jsonMode = true, s.quiet, s.verbose, s.json
	u.stdout, u.people, u.events = u.out, u.err, io.Discard
	switch {
	case s.json && eventsOnStderr:
		u.stdout, u.people, u.events = io.Discard, io.Discard, u.err
	case s.json:
		u.stdout, u.events = io.Discard, u.out
	}
}

// say tells people what goes on. Arguments that are text are made safe to print;
// only format may hold line breaks.
func (u *ui) say(format string, args ...any) {
	if !u.quiet {
		u.print(u.people, format, args)
	}
}

// detail is say for those who asked for more (-v).
func (u *ui) detail(format string, args ...any) {
	if u.verbose > 0 {
		u.say(format, args...)
	}
}

// result prints a line of what was asked for on standard output.
func (u *ui) result(format string, args ...any) error { return u.print(u.stdout, format, args) }

func (u *ui) print(w io.Writer, format string, args []any) error {
	line := fmt.Sprintf(format, safe(args)...) + "\n"
	return u.write(w, []byte(line))
}

// write writes a line. That people cannot be told what goes on is no error: nobody is left to tell.
func (u *ui) write(w io.Writer, line []byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, err := w.Write(line); w != u.err {
		return err
	}
	return nil
}

// safe returns args with all text in it printable.
func safe(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		switch a := a.(type) {
		case verbatim:
			out[i] = string(a)
		case string:
			out[i] = printable(a)
		case error:
			out[i] = cut(strings.ReplaceAll(a.Error(), "\n", "; "), maxShownError)
		case fmt.Stringer:
			out[i] = printable(a.String())
		default:
			out[i] = a
		}
	}
	return out
}

// printable returns s with everything escaped that a terminal could take for
// something else than text, and cut to a length.
func printable(s string) string { return cut(s, maxShown) }

func cut(s string, most int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > most {
			b.WriteString("...")
			break
		}
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// event tells programs what happened: names and values in turn.
func (u *ui) event(ev string, fields ...any) error {
	if !u.jsonMode {
		return nil
	}
	line := appendField([]byte{'{'}, "ev", ev)
	for i := 0; i+1 < len(fields); i += 2 {
		line = appendField(append(line, ','), fields[i].(string), fields[i+1])
	}
	return u.write(u.events, append(line, '}', '\n'))
}

func appendField(line []byte, name string, value any) []byte {
	switch v := value.(type) {
	case error:
		value = v.Error()
	case fmt.Stringer:
		value = v.String()
	}
	b, err := json.Marshal(value)
	if err != nil {
		b = strconv.AppendQuote(nil, err.Error())
	}
	return append(append(strconv.AppendQuote(line, name), ':'), b...)
}

// exit says why the program ends.
func (u *ui) exit(err error) {
	why := "done"
	if err != nil {
		why = err.Error()
	}
	u.event("exit", "code", exitCode(err), "why", why)
	switch {
	case err == nil, outputGone(err): // which is no news to whoever went away
	case errors.Is(err, errInterrupted):
		u.say("xtls-demo: interrupted")
	default:
		u.fail(err)
	}
}

// fail tells people about an error: what happened, what it means and what to type
// next. -q does not silence it.
func (u *ui) fail(err error) {
	u.print(u.people, "xtls-demo: error: %s", []any{err})
	if text := explanation(err); text != "" {
		u.print(u.people, "%s", []any{verbatim(text)})
	}
	if text := hint(err); text != "" {
		u.print(u.people, "xtls-demo: hint: %s", []any{verbatim(text)})
	}
}

// verbatim is text of our own, whose foreign parts are safe already.
type verbatim string

// shellWord returns s as one word of a command to copy: a peer may choose an
// address that a shell would take for something else.
func shellWord(s string) string {
	s = printable(s)
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@._/+-", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
