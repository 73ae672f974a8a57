// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
)

// domain is the one that all servers of the tests serve.
const domain = "localhost"

// passwordOf is the password of an account.
func passwordOf(name string) string { return "the password of " + name }

// A server is a running XMPP server, or the way to one ([server.behind]).
type server struct {
	*child
	dir      string
	starttls string // HOST:PORT
	direct   string // HOST:PORT of direct TLS
	relay    string // HOST:PORT of proxy65
	ca       string // file with the certificate, which is its own authority
}

// startAttempts is how often a server is started until it gets its ports: they are
// chosen before it starts, and somebody else may take one in between.
const startAttempts = 5

// accepts says whether something listens at all of these addresses.
func accepts(addresses ...string) bool {
	for _, addr := range addresses {
		conn, err := net.DialTimeout("tcp", addr, patience)
		if err != nil {
			return false
		}
		_ = conn.Close()
	}
	return true
}

// requirePrograms skips the test where one of the programs is missing, unless that is
// a failure. hint says what they are and where they come from.
func requirePrograms(t testing.TB, hint string, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			missing(t, fmt.Sprintf("%s is not installed: %s", name, hint))
		}
	}
}

// missing skips the test because of something that is not installed, unless that is
// a failure.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("XTLS_INTEGRATION") == "required" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// local is the address of a port of loopback.
func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// freePorts returns ports of loopback that nobody used a moment ago.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // after the last one, so that all differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}
