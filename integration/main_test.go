// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience bounds each single wait for something that takes less than a second
// on an idle machine.
const patience = 60 * time.Second

// lossTime is how soon the loss of a peer or of the server must be noticed.
const lossTime = 30 * time.Second

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(builtDir)
		os.Exit(code)
	}))
}

// builtDir is where the program was built, empty before that.
var builtDir string

// build makes xtls-demo from the source of this module, once in each run of the
// tests, and returns its path.
func build(t testing.TB) string {
	t.Helper()
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var buildOnce = sync.OnceValues(func() (string, error) {
	var err error
	if builtDir, err = os.MkdirTemp("", "xtls-integration-"); err != nil {
		return "", err
	}
	path := filepath.Join(builtDir, "xtls-demo")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	out, err := exec.Command("go", "build", "-o", path, "example.org/xtls/cmd/xtls-demo").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("building xtls-demo: %w\n%s", err, out)
	}
	return path, err
})
