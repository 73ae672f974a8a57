// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// prosodyOptions say how a Prosody differs from the usual one: accounts alice, bob
// and carol, no rate limits, no proxy65.
type prosodyOptions struct {
	accounts []string // local parts; their passwords come from passwordOf
	limits   bool     // the rate limits of the configuration that Prosody ships
	proxy65  bool     // a SOCKS5 relay as proxy.localhost
	stanzas  bool     // log every stanza as the server sees it, to debug.log
	module   string   // a module of testdata/modules
	settings []string // lines of its configuration, for that module

	certificate string // the name in the certificate, if not the domain

	host   string   // where it listens, if not on loopback
	within []string // what runs it, such as ip netns exec NAME
}

// startProsody starts a Prosody that ends with the test. It prints a line for each
// session.
func startProsody(t testing.TB, opts prosodyOptions) *server {
	t.Helper()
	requirePrograms(t, "the integration tests need Prosody 0.12 (Debian and Ubuntu: apt-get install prosody)", "prosody", "prosodyctl")
	if opts.accounts == nil {
		opts.accounts = []string{"alice", "bob", "carol"}
	}
	p := &server{dir: t.TempDir()}
	for _, sub := range []string{"data", "certs"} {
		if err := os.Mkdir(filepath.Join(p.dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	name := cmp.Or(opts.certificate, domain)
	p.ca = makeCertificate(t, filepath.Join(p.dir, "certs"), name, "proxy."+name)
	for range startAttempts {
		config := configureProsody(t, p, opts)
		if p.child == nil { // accounts are made before the first start
			registerProsody(t, config, opts.accounts)
		}
		args := append(slices.Clone(opts.within), "prosody", "-F", "--config", config)
		p.child = startChild(t, "prosody", exec.Command(args[0], args[1:]...))
		if prosodyListens(p, opts) {
			return p
		}
		p.kill()
		if !bytes.Contains(p.stdout.bytes(), []byte("Failed to open server port")) {
			break
		}
	}
	t.Fatal("prosody did not start")
	return nil
}

// configureProsody chooses ports and writes the configuration; it returns the file.
func configureProsody(t testing.TB, p *server, opts prosodyOptions) string {
	t.Helper()
	ports := freePorts(t, 3)
	host := cmp.Or(opts.host, "127.0.0.1")
	listens := func(i int) string { return net.JoinHostPort(host, fmt.Sprint(ports[i])) }
	p.starttls, p.direct, p.relay = listens(0), listens(1), listens(2)
	modules, err := filepath.Abs("testdata/modules")
	if err != nil {
		t.Fatal(err)
	}
	enabled := []string{"roster", "saslauth", "tls", "disco", "ping", "smacks"}
	if opts.limits {
		enabled = append(enabled, "limits")
	}
	if opts.stanzas {
		enabled = append(enabled, "stanza_debug")
	}
	if opts.module != "" {
		enabled = append(enabled, opts.module)
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if os.Getuid() == 0 {
		line("run_as_root = true")
	}
	line("pidfile = %q", filepath.Join(p.dir, "prosody.pid"))
	line("data_path = %q", filepath.Join(p.dir, "data"))
	line("certificates = %q", filepath.Join(p.dir, "certs"))
	line("log = { { levels = { min = %q }, to = %q }", "info", "console")
	if opts.stanzas {
		line("; { levels = { min = %q }, to = %q, filename = %q }", "debug", "file", p.debugLog())
	}
	line("}")
	line("plugin_paths = { %q }", modules)
	line("modules_enabled = { \"%s\" }", strings.Join(enabled, "\"; \""))
	line("modules_disabled = { %q; %q }", "offline", "s2s")
	line("interfaces = { %q }", host)
	line("c2s_ports = { %d }", ports[0])
	line("c2s_direct_tls_ports = { %d }", ports[1])
	line("authentication = %q  storage = %q  c2s_require_encryption = true", "internal_hashed", "internal")
	line("limits = { c2s = { rate = %q } }", "10kb/s")
	for _, setting := range opts.settings {
		line("%s", setting)
	}
	if opts.proxy65 {
		line("proxy65_ports = { %d }  proxy65_interfaces = { %q }", ports[2], "127.0.0.1")
	}
	line("VirtualHost %q", domain)
	line("  ssl = { key = %q; certificate = %q }", strings.TrimSuffix(p.ca, ".crt")+".key", p.ca)
	if opts.proxy65 {
		line("Component %q %q", "proxy."+domain, "proxy65")
		line("  proxy65_address = %q", "127.0.0.1")
	}
	name := filepath.Join(p.dir, "prosody.cfg.lua")
	if err := os.WriteFile(name, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// debugLog is the file with all stanzas, if they are logged by a Prosody.
func (s *server) debugLog() string { return filepath.Join(s.dir, "debug.log") }

// registerProsody makes the accounts.
func registerProsody(t testing.TB, config string, names []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, name := range names {
		out, err := exec.CommandContext(ctx, "prosodyctl", "--config", config, "register", name, domain, passwordOf(name)).CombinedOutput()
		if err != nil {
			t.Fatalf("prosodyctl register %s: %v\n%s", name, err, out)
		}
	}
}

// prosodyListens waits until the server says that its ports accept, and tries them.
func prosodyListens(p *server, opts prosodyOptions) bool {
	services := map[string]string{"c2s": p.starttls, "c2s_direct_tls": p.direct}
	if opts.proxy65 {
		services["proxy65"] = p.relay
	}
	up := p.stdout.await(patience, func(text []byte, _ bool) bool {
		for name, addr := range services {
			host, port, _ := strings.Cut(addr, ":")
			if !bytes.Contains(text, fmt.Appendf(nil, "Activated service '%s' on [%s]:%s", name, host, port)) {
				return false
			}
		}
		return true
	})
	if !up {
		return false
	}
	return accepts(slices.Collect(maps.Values(services))...)
}
