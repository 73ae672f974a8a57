// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// ejabberdOptions say how an ejabberd differs from the usual one: accounts alice, bob
// and carol, no rate limits. It always has proxy65.
type ejabberdOptions struct {
	accounts []string // local parts; their passwords come from passwordOf
	shaper   bool     // the rate limit of the configuration that ejabberd ships
}

// ejabberdReady is what an ejabberd of the tests prints once its accounts exist.
const ejabberdReady = "all accounts are there"

// startEjabberd starts an ejabberd that ends with the test. It is no node of an Erlang
// network: no epmd, and no ports but its own.
func startEjabberd(t testing.TB, opts ejabberdOptions) *server {
	t.Helper()
	requirePrograms(t, "the tests with ejabberd need Erlang and ejabberd (Debian and Ubuntu: apt-get install ejabberd)", "erl")
	if opts.accounts == nil {
		opts.accounts = []string{"alice", "bob", "carol"}
	}
	libraries := ejabberdLibraries(t)
	s := &server{dir: t.TempDir()}
	s.ca = makeCertificate(t, s.dir, domain, "proxy."+domain)
	joinFiles(t, filepath.Join(s.dir, "cert.pem"), strings.TrimSuffix(s.ca, ".crt")+".key", s.ca)
	for range startAttempts {
		config := configureEjabberd(t, s, opts)
		// +K: the kernel's poll. The code runs beside the start of ejabberd.
		cmd := exec.Command("erl", "+K", "true", "-noinput", "-mnesia", "dir", fmt.Sprintf("%q", filepath.Join(s.dir, "spool")),
			"-eval", registerEjabberd(opts.accounts), "-s", "ejabberd")
		cmd.Dir = s.dir
		cmd.Env = append(os.Environ(), "EJABBERD_CONFIG_PATH="+config, "EJABBERD_LOG_PATH="+filepath.Join(s.dir, "ejabberd.log"),
			"ERL_LIBS="+libraries, "HOME="+s.dir, "ERL_CRASH_DUMP_BYTES=0")
		s.child = startChild(t, "ejabberd", cmd)
		ready := s.stdout.await(patience, func(text []byte, _ bool) bool { return bytes.Contains(text, []byte(ejabberdReady)) })
		if ready && accepts(s.starttls, s.direct, s.relay) {
			return s
		}
		s.kill()
		if !bytes.Contains(s.stdout.bytes(), []byte("eaddrinuse")) {
			break
		}
	}
	t.Fatal("ejabberd did not start")
	return nil
}

// ejabberdLibraries returns the directory that holds the program: a distribution has
// it where Erlang does not look by itself.
func ejabberdLibraries(t testing.TB) string {
	t.Helper()
	for _, pattern := range []string{"/usr/lib/*/ejabberd-*/ebin", "/usr/lib/ejabberd-*/ebin", "/usr/lib/erlang/lib/ejabberd-*/ebin"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return filepath.Dir(filepath.Dir(found[0]))
		}
	}
	missing(t, "ejabberd is not installed (Debian and Ubuntu: apt-get install ejabberd)")
	return ""
}

// configureEjabberd chooses ports and writes the configuration; it returns the file.
func configureEjabberd(t testing.TB, s *server, opts ejabberdOptions) string {
	t.Helper()
	ports := freePorts(t, 3)
	s.starttls, s.direct, s.relay = local(ports[0]), local(ports[1]), local(ports[2])
	rule := map[bool]string{false: "none", true: "normal"}[opts.shaper]
	config := fmt.Sprintf(`
hosts: [%[1]q]
loglevel: info
certfiles: [%[2]q]
listen:
  - {port: %[3]d, ip: "127.0.0.1", module: ejabberd_c2s, starttls: true, starttls_required: true, max_stanza_size: 262144, shaper: c2s_shaper, access: all}
  - {port: %[4]d, ip: "127.0.0.1", module: ejabberd_c2s, tls: true, max_stanza_size: 262144, shaper: c2s_shaper, access: all}
auth_password_format: scram
shaper:
  normal: {rate: 3000, burst_size: 20000}
shaper_rules: {c2s_shaper: %[6]s, proxy65_shaper: none}
modules:
  mod_disco: {}
  mod_ping: {}
  mod_roster: {}
  mod_stream_mgmt: {}
  mod_proxy65: {ip: "127.0.0.1", port: %[5]d, hostname: "127.0.0.1", host: "proxy.%[1]s", shaper: proxy65_shaper, access: all}
`, domain, filepath.Join(s.dir, "cert.pem"), ports[0], ports[1], ports[2], rule)
	name := filepath.Join(s.dir, "ejabberd.yml")
	if err := os.WriteFile(name, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// registerEjabberd is Erlang that waits for ejabberd and makes the accounts.
func registerEjabberd(names []string) string {
	var b strings.Builder
	b.WriteString(`spawn(fun() ->
		Wait = fun(Again) ->
			case lists:keymember(ejabberd, 1, application:which_applications()) of
				true -> ok;
				false -> timer:sleep(20), Again(Again)
			end
		end,
		Wait(Wait),`)
	for _, name := range names {
		fmt.Fprintf(&b, "ok = ejabberd_auth:try_register(<<%q>>, <<%q>>, <<%q>>),", name, domain, passwordOf(name))
	}
	fmt.Fprintf(&b, "io:format(\"~s~n\", [%q]) end).", ejabberdReady)
	return b.String()
}

// joinFiles writes one file that holds others.
func joinFiles(t testing.TB, name string, parts ...string) {
	t.Helper()
	var all []byte
	for _, part := range parts {
		text, err := os.ReadFile(part)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	if err := os.WriteFile(name, all, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestEjabberd: the session of the README, and 1 MiB each way, through an ejabberd.
func TestEjabberd(t *testing.T) {
	t.Parallel()
	s := startEjabberd(t, ejabberdOptions{})
	for name, way := range map[string]string{"STARTTLS": s.starttls, "direct TLS": "xmpps://" + s.direct} {
		t.Run(name, func(t *testing.T) {
			alice, bob := couple(t, way, s.ca)
			greet(t, alice, bob, []byte("hello"), []byte("hello to you, too"))
			exchange(t, alice, bob, 1<<20)
		})
	}
}
