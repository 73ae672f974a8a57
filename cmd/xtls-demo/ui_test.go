// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestPrintable(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"bob@example.net/my phone", "bob@example.net/my phone"},
		{"näme@bücher.example", "näme@bücher.example"},
		{"a\x1b[2Jb", `a\x1b[2Jb`},
		{"line\nbreak\r", `line\nbreak\r`},
		{"\u202eright to left", `\u202eright to left`},
		{"\x9b", `\ufffd`},
		{strings.Repeat("x", maxShown), strings.Repeat("x", maxShown)},
		{strings.Repeat("x", maxShown+1), strings.Repeat("x", maxShown) + "..."},
	} {
		if got := printable(tt.in); got != tt.want {
			t.Errorf("printable(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestShellWord(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"bob@example.net/laptop", "bob@example.net/laptop"},
		{"", "''"},
		{"a b", "'a b'"},
		{"$(x)`y`;&|<>", "'$(x)`y`;&|<>'"},
		{"it's", `'it'\''s'`},
	} {
		if got := shellWord(tt.in); got != tt.want {
			t.Errorf("shellWord(%q) = %s, want %s", tt.in, got, tt.want)
		}
	}
}

// Text of a peer never reaches a terminal as it is, whatever way it takes.
func TestForeignText(t *testing.T) {
	hostile := "x\x1b]0;owned\x07\ny"
	var out, err bytes.Buffer
	u := newUI(&out, &err)
	u.configure(settings{verbose: 3}, false)
	u.say("%s", hostile)
	u.detail("%s", errors.New(hostile))
	u.result("%s %q", hostile, hostile)
	u.exit(errors.New(hostile))
	u.loggers().NewLogger("x").Errorf("%s", hostile)
	u.loggers().NewLogger("x").Tracef("%s", hostile)
	for name, text := range map[string]string{"stdout": out.String(), "stderr": err.String()} {
		if strings.ContainsAny(text, "\x1b\x07") || strings.Contains(text, "\ny") {
			t.Errorf("%s: %q", name, text)
		}
		if !strings.Contains(text, "owned") {
			t.Errorf("%s has lost the text: %q", name, text)
		}
	}
}

func TestStreams(t *testing.T) {
	for _, tt := range []struct {
		name        string
		set         settings
		onStderr    bool
		out, stderr string
	}{
		{"people", settings{}, false, "result\n", "say\nerror\n"},
		{"quiet", settings{quiet: true}, false, "result\n", "error\n"},
		{"verbose", settings{verbose: 1}, false, "result\n", "say\ndetail\nerror\n"},
		{"JSON", settings{json: true}, false, `{"ev":"x","n":1}` + "\n" + `{"ev":"exit","code":1,"why":"no"}` + "\n", "say\nerror\n"},
		{"JSON beside data", settings{json: true}, true, "", `{"ev":"x","n":1}` + "\n" + `{"ev":"exit","code":1,"why":"no"}` + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, err bytes.Buffer
			u := newUI(&out, &err)
			u.configure(settings{json: true}, !tt.onStderr) // a second time counts
			u.configure(tt.set, tt.onStderr)
			u.say("say")
			u.detail("detail")
			u.result("result")
			u.event("x", "n", 1)
			u.exit(errors.New("no"))
			got := strings.ReplaceAll(err.String(), "xtls-demo: error: no", "error")
			if out.String() != tt.out || got != tt.stderr {
				t.Errorf("stdout %q, want %q; stderr %q, want %q", out.String(), tt.out, got, tt.stderr)
			}
		})
	}
}

// The library is silent unless asked for, and then as loud as asked for.
func TestLoggers(t *testing.T) {
	for verbose, want := range []string{"", "", "s debug: d\ns info: i\ns warning: w\ns error: e\n", "s trace: t\ns debug: d\ns info: i\ns warning: w\ns error: e\n"} {
		var out, err bytes.Buffer
		u := newUI(&out, &err)
		u.configure(settings{verbose: verbose}, false)
		if f := u.loggers(); f != nil {
			l := f.NewLogger("s")
			l.Trace("t")
			l.Debug("d")
			l.Info("i")
			l.Warn("w")
			l.Error("e")
		}
		if err.String() != want {
			t.Errorf("with %d v: %q, want %q", verbose, err.String(), want)
		}
	}
}
