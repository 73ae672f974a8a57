// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"example.org/xtls/xtls/xtlstest"
)

// A watched collects what is written to it and lets others wait for a pattern.
type watched struct {
	mu      sync.Mutex
	changed *sync.Cond
	text    bytes.Buffer
	ended   bool
}

func newWatched() *watched {
	w := &watched{}
	w.changed = sync.NewCond(&w.mu)
	return w
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed.Broadcast()
	return w.text.Write(p)
}

// end says that nothing more comes.
func (w *watched) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.changed.Broadcast()
}

// awaitTime bounds what a person or a program takes to say something.
const awaitTime = 3 * time.Minute

// await waits until the text matches; false means that it ended without, or did not come.
func (w *watched) await(pattern string) bool {
	re := regexp.MustCompile(pattern)
	late := false
	timer := time.AfterFunc(awaitTime, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		late = true
		w.changed.Broadcast()
	})
	defer timer.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for !re.Match(w.text.Bytes()) {
		if w.ended || late {
			return false
		}
		w.changed.Wait()
	}
	return true
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// ctxOf returns a context that ends with the script.
func ctxOf(ts *testscript.TestScript) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	ts.Defer(cancel)
	return ctx
}

// scene is a server, with the accounts of the scripts stored in directories.
func scene(t *testing.T) (dir string, config func(name string) string) {
	t.Helper()
	s := xtlstest.NewServer(t, xtlstest.Config{Accounts: scriptAccounts})
	dir = t.TempDir()
	ca := writeFile(t, dir, "ca.pem", s.CAPEM())
	var err error
	for name, password := range scriptAccounts {
		acc := account{JID: name + "@localhost", Password: password, Server: s.Addr(), ServerCA: ca}
		err = errors.Join(err, saveAccount(filepath.Join(dir, name, "config.toml"), acc))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir, func(name string) string { return "--config=" + filepath.Join(dir, name) }
}

// writeFile writes a file that only its owner may read, and returns its name.
func writeFile(t *testing.T, dir, name string, content []byte) string {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
