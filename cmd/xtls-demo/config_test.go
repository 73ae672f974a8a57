// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSaveAccount(t *testing.T) {
	acc := account{JID: "alice@example.org", Password: "a\"b\\c\n[account]", Server: "xmpps://h:1"}
	for _, tt := range []struct{ name, old, rest string }{
		{"new", "", ""},
		{"settings", "timeout = \"1s\" # mine\n", "timeout = \"1s\" # mine\n\n"},
		{"replaced", "json = true\n[account] # old\njid = \"x@y\"\npassword = \"secret\"\n", "json = true\n\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "dir", "config.toml")
			if tt.old != "" {
				if err := writePrivate(name, []byte(tt.old)); err != nil {
					t.Fatal(err)
				}
			}
			if err := saveAccount(name, acc); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			c, err := parseConfig(name, text)
			if err != nil || c.Account != acc {
				t.Errorf("account %+v, %v; want %+v", c.Account, err, acc)
			}
			if !strings.HasPrefix(string(text), tt.rest+"[account]") || strings.Contains(string(text), "secret") {
				t.Errorf("file\n%s", text)
			}
			for path, want := range map[string]fs.FileMode{name: 0o600, filepath.Dir(name): 0o700} {
				if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
					t.Errorf("%s: mode %v, %v; want %v", path, info.Mode(), err, want)
				}
			}
		})
	}
}

// A file whose account stands in another form is left alone.
func TestSaveAccountElsewhere(t *testing.T) {
	name := filepath.Join(t.TempDir(), "config.toml")
	old := []byte("account.jid = \"x@y\"\n")
	if err := writePrivate(name, old); err != nil {
		t.Fatal(err)
	}
	var usage *usageError
	if err := saveAccount(name, account{JID: "alice@example.org"}); !errors.As(err, &usage) {
		t.Errorf("got %v, want a usage error", err)
	}
	if text, err := os.ReadFile(name); err != nil || !bytes.Equal(text, old) {
		t.Errorf("the file is now %q, %v", text, err)
	}
}

func TestReadPrivate(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	for _, size := range []int{maxPrivate, maxPrivate + 1} {
		if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readPrivate(name); (err != nil) != (size > maxPrivate) {
			t.Errorf("%d octets: %v", size, err)
		}
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o602, 0o610} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		var access *permissionError
		if _, err := readPrivate(name); !errors.As(err, &access) {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
}

func TestReadPassword(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"secret\n", "secret"},
		{"secret", "secret"},
		{"secret\r\nsecond line\n", "secret"},
		{" blanks count \n", " blanks count "},
		{"", ""},
		{"\nsecret", ""},
	} {
		name := filepath.Join(t.TempDir(), "pw")
		if err := os.WriteFile(name, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readPassword(name)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%q: got %q, %v; want %q", tt.text, got, err, tt.want)
		}
	}
}

// The global flags and what the environment calls them belong together.
func TestEnvName(t *testing.T) {
	if got := envName("password-file"); got != "XTLS_PASSWORD_FILE" {
		t.Error(got)
	}
}
