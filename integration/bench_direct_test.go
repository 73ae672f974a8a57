// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"testing"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// BenchmarkDirect is the rate of payload one way over loopback TCP: crypto/tls, and ssh
// through its server.
func BenchmarkDirect(b *testing.B) {
	contenders := []contender{directContender(b), tlsContender(b), sshContender(b)}
	for b.Loop() {
		r := compete(b, benchRounds, directTrial(), contenders...)
		r.report(b)
		b.ReportMetric(r.ratio("xtls", "tls"), "xtls/tls")
	}
}

// directTrial is how contenders are measured that need no server.
func directTrial() trial { return trial{500 * time.Millisecond, 2 * time.Second} }

// directContender is a tunnel on a direct path.
func directContender(b testing.TB) contender {
	b.Helper()
	alice, bob := directPair(b)
	return tunnelContender(b, alice, bob)
}

// directPair are two clients who know each other and take no path but the direct one.
func directPair(b testing.TB) (from, to *xtls.Client) {
	b.Helper()
	s := xtlstest.NewServer(b, xtlstest.Config{})
	alice, bob := xtlstest.ClientConfig(b, s, "alice"), xtlstest.ClientConfig(b, s, "bob")
	alice.Path, bob.Path = xtls.PathDirect, xtls.PathDirect
	for _, know := range []struct {
		by, of *xtls.Config
		name   string
	}{{alice, bob, "bob"}, {bob, alice, "alice"}} {
		r := fingerprint.Record{
			Peer: jid.MustParse(know.name + "@localhost"), Key: fingerprint.Of(know.of.Certificate.Certificate[0]),
			Level: fingerprint.LevelPinned, Method: fingerprint.MethodTOFU,
		}
		if _, err := know.by.Trust.Pin(r, time.Now()); err != nil {
			b.Fatal(err)
		}
	}
	return xtlstest.NewClient(b, s, "alice", alice), xtlstest.NewClient(b, s, "bob", bob)
}

// tlsContender is TLS 1.3 of crypto/tls over TCP.
func tlsContender(b testing.TB) contender {
	b.Helper()
	dir := b.TempDir()
	file := makeCertificate(b, dir, domain)
	cert, err := tls.LoadX509KeyPair(file, filepath.Join(dir, domain+".key"))
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	out, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	in, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	client := tls.Client(out, &tls.Config{RootCAs: authority(b, file), ServerName: domain, MinVersion: tls.VersionTLS13})
	// Reading makes the handshake at this end.
	return connContender(b, "tls", client, tls.Server(in, &tls.Config{Certificates: []tls.Certificate{cert}}), 0)
}

// sshContender is what arrives from a command behind an sshd on loopback. Each trial
// is a login of its own.
func sshContender(b testing.TB) contender {
	b.Helper()
	config := startSSHD(b)
	arrived := new(arrivals)
	return contender{"ssh", arrived, func(ctx context.Context) error {
		cmd := exec.CommandContext(ctx, "ssh", "-F", config, "bench", "cat /dev/zero")
		cmd.SysProcAttr = dieWithParent()
		cmd.Stdout, cmd.Stderr = arrived, os.Stderr
		cmd.WaitDelay = patience
		if err := cmd.Run(); ctx.Err() == nil {
			return cmp.Or(err, io.ErrUnexpectedEOF)
		}
		return nil
	}}
}

// sshd is a whole path, on which it insists.
const sshd = "/usr/sbin/sshd"

// startSSHD starts an sshd that ends with the test and returns the configuration with
// which ssh reaches it, as the host bench.
func startSSHD(b testing.TB) (config string) {
	b.Helper()
	requirePrograms(b, "the benchmark needs OpenSSH (Debian and Ubuntu: apt-get install openssh-server openssh-client)", "ssh", "ssh-keygen", sshd)
	me, err := osuser.Current()
	if err != nil {
		b.Fatal(err)
	}
	if me.Uid == "0" { // where it drops its privileges: an empty directory
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			b.Fatal(err)
		}
	}
	dir := b.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	for _, key := range []string{"host", "me"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file(key)).CombinedOutput(); err != nil {
			b.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	port := freePorts(b, 1)[0]
	write := func(name, format string, args ...any) string {
		if err := os.WriteFile(file(name), fmt.Appendf(nil, format, args...), 0o600); err != nil {
			b.Fatal(err)
		}
		return file(name)
	}
	hostKey, err := os.ReadFile(file("host.pub"))
	if err != nil {
		b.Fatal(err)
	}
	write("known", "bench %s", hostKey)
	server := write("sshd_config", `ListenAddress 127.0.0.1:%d
HostKey %s
AuthorizedKeysFile %s
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
`, port, file("host"), file("me.pub"))
	c := startChild(b, "sshd", exec.Command(sshd, "-D", "-e", "-f", server))
	c.await(b, "port", c.stderr, patience, func(text []byte, _ bool) bool { return len(text) > 0 && accepts(local(port)) })
	return write("ssh_config", `Host bench
  HostName 127.0.0.1
  HostKeyAlias bench
  Port %d
  User %s
  IdentityFile %s
  IdentitiesOnly yes
  BatchMode yes
  UserKnownHostsFile %s
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
`, port, me.Username, file("me"), file("known"))
}
