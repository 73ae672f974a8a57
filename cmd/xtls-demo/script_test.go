// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){
		"xtls-demo": func() { os.Exit(program()) },
	})
}

// leakChecked fails a run of tests that leaves goroutines behind.
type leakChecked struct{ *testing.M }

func (m leakChecked) Run() int {
	code := m.M.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestScript runs testdata/script. Each script has a server of its own, with the
// accounts alice, bob and carol, and for each a directory a, b, c for --config and a
// file a.pw, b.pw, c.pw with the password.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    exits,
			"start":    start,
			"await":    await,
			"send":     send,
			"endinput": endInput,
			"signal":   interrupt,
			"finish":   finish,
			"jsonlines": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(checkEvents(ts.ReadFile(args[0])))
			},
			"killserver": func(ts *testscript.TestScript, _ bool, _ []string) {
				ts.Check(ts.Value(scriptServer{}).(*xtlstest.Server).Close())
			},
			"service":   service,
			"readout":   readOut,
			"mute":      mute,
			"certify":   certify,
			"difficult": difficult,
		},
	})
}

// Keys of testscript.Env.Values.
type (
	scriptServer struct{} // *xtlstest.Server
	scriptRuns   struct{} // map[string]*background
)

var scriptAccounts = map[string]string{"alice": "pw of alice", "bob": "pw of bob", "carol": "pw of carol"}

func setup(env *testscript.Env) error {
	s, err := xtlstest.Start(xtlstest.Config{Accounts: scriptAccounts})
	if err != nil {
		return err
	}
	runs := make(map[string]*background)
	env.Defer(func() {
		for _, b := range runs {
			b.kill()
		}
		_ = s.Close() // killserver may have been first
	})
	env.Values[scriptServer{}], env.Values[scriptRuns{}] = s, runs
	env.Setenv("SERVER", s.Addr())
	env.Setenv("SERVER_TLS", "xmpps://"+s.DirectAddr())
	env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
	if err := os.WriteFile(filepath.Join(env.WorkDir, "ca.pem"), s.CAPEM(), 0o644); err != nil {
		return err
	}
	for name, password := range scriptAccounts {
		dir := filepath.Join(env.WorkDir, name[:1])
		acc := account{JID: name + "@localhost", Password: password, Server: s.Addr(), ServerCA: filepath.Join(env.WorkDir, "ca.pem")}
		err := errors.Join(saveAccount(filepath.Join(dir, "config.toml"), acc), os.WriteFile(dir+".pw", []byte(password+"\n"), 0o600))
		if err != nil {
			return err
		}
	}
	return nil
}

// exits CODE ARGS... runs xtls-demo in the foreground and demands this exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits CODE ARGS...")
	}
	err := ts.Exec("xtls-demo", args[1:]...)
	if got := codeOf(err); strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, want %s (%v)", got, args[0], err)
	}
}

func codeOf(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	default:
		return -1
	}
}

// A background is a run that goes on beside the script.
type background struct {
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	out, err *watched
	ended    chan struct{} // closed when the process has ended
	wait     error         // of cmd.Wait
}

func (b *background) kill() {
	_ = b.cmd.Process.Kill()
	<-b.ended
}

// start NAME ARGS... starts xtls-demo with an open standard input.
func start(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME ARGS...")
	}
	path, err := exec.LookPath("xtls-demo") // testscript.Main put it into PATH
	ts.Check(err)
	b := &background{cmd: exec.Command(path, args[1:]...), out: newWatched(), err: newWatched(), ended: make(chan struct{})}
	b.cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"HOME", "PATH", "TMPDIR", "XTLS_SERVER", "XTLS_SERVER_CA", "XTLS_PASSWORD", "XTLS_CONFIG"} {
		if v := ts.Getenv(name); v != "" {
			b.cmd.Env = append(b.cmd.Env, name+"="+v)
		}
	}
	b.cmd.Stdout, b.cmd.Stderr = b.out, b.err
	b.stdin, err = b.cmd.StdinPipe()
	ts.Check(err)
	ts.Check(b.cmd.Start())
	go func() {
		b.wait = b.cmd.Wait()
		b.out.end()
		b.err.end()
		close(b.ended)
	}()
	ts.Value(scriptRuns{}).(map[string]*background)[args[0]] = b
}

func running(ts *testscript.TestScript, name string) *background {
	b := ts.Value(scriptRuns{}).(map[string]*background)[name]
	if b == nil {
		ts.Fatalf("no run is called %q", name)
	}
	return b
}

// await NAME stdout|stderr REGEXP waits until what was printed matches.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: await NAME stdout|stderr REGEXP")
	}
	b := running(ts, args[0])
	stream := b.out
	if args[1] == "stderr" {
		stream = b.err
	}
	if !stream.await(args[2]) {
		ts.Fatalf("%s ended without %q in %s\n[stdout]\n%s\n[stderr]\n%s", args[0], args[2], args[1], b.out, b.err)
	}
}

// send NAME FILE writes a file to standard input.
func send(ts *testscript.TestScript, _ bool, args []string) {
	_, err := io.WriteString(running(ts, args[0]).stdin, ts.ReadFile(args[1]))
	ts.Check(err)
}

// readout FROM TO waits for the code that FROM shows and types it at TO: that is
// what two people do on the telephone.
func readOut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: readout FROM TO")
	}
	from := running(ts, args[0])
	shown := regexp.MustCompile(`"ev":"(?:sas|code)".*"(?:b32|display)":"([a-z0-9]{3}-?[a-z0-9]{3})"`)
	if !from.out.await(shown.String()) {
		ts.Fatalf("%s ended without a code\n%s\n%s", args[0], from.out, from.err)
	}
	_, err := io.WriteString(running(ts, args[1]).stdin, shown.FindStringSubmatch(from.out.String())[1]+"\n")
	ts.Check(err)
}

// endinput NAME closes standard input.
func endInput(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(running(ts, args[0]).stdin.Close())
}

// signal NAME interrupts a run.
func interrupt(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(running(ts, args[0]).cmd.Process.Signal(os.Interrupt))
}

// finish NAME CODE waits for the end of a run, demands its exit code, and leaves
// what it printed in NAME.out and NAME.err.
func finish(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: finish NAME CODE")
	}
	b := running(ts, args[0])
	<-b.ended
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".out"), []byte(b.out.String()), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".err"), []byte(b.err.String()), 0o600))
	ts.Logf("[stdout]\n%s\n[stderr]\n%s", b.out, b.err)
	if got := codeOf(b.wait); strconv.Itoa(got) != args[1] {
		ts.Fatalf("exit code %d, want %s", got, args[1])
	}
}

// checkEvents demands that every line is an event and that the last one, and no
// other, says how the run ended.
func checkEvents(text string) error {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, line := range lines {
		var e struct {
			Ev   string
			Code *int
			Why  *string
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return fmt.Errorf("line %d is not JSON: %q", i+1, line)
		}
		last := i == len(lines)-1
		if e.Ev == "" || (e.Ev == "exit") != last || last && (e.Code == nil || e.Why == nil) {
			return fmt.Errorf("line %d of %d: %s", i+1, len(lines), line)
		}
	}
	return nil
}

// service VARIABLE starts a TCP service that answers each connection, after its
// end of input, with "got N" and what came; its address is put into VARIABLE.
func service(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer c.Close()
				got, err := io.ReadAll(c)
				if err == nil {
					_, _ = fmt.Fprintf(c, "got %d %s", len(got), got)
				}
			})
		}
	})
	ts.Defer(func() {
		_ = l.Close()
		work.Wait()
	})
	ts.Setenv(args[0], l.Addr().String())
}

// mute logs bob in as somebody who is there and never answers an offer.
func mute(ts *testscript.TestScript, _ bool, _ []string) {
	s := ts.Value(scriptServer{}).(*xtlstest.Server)
	bob := jid.MustParse("bob@localhost")
	cert, err := fingerprint.NewIdentity(bob)
	ts.Check(err)
	c, err := xtls.Connect(ctxOf(ts), bob, scriptAccounts["bob"], &xtls.Config{
		Certificate: cert, Trust: fingerprint.NewMemory(), Server: s.Addr(), ServerTLS: s.ClientTLS(),
	})
	ts.Check(err)
	ts.Defer(func() { _ = c.Close() })
	_, err = c.Listen()
	ts.Check(err)
}

// difficult DIR [rate=N] [stanza=N] [proxy=off|refuses] starts another server, which has these
// knobs of xtlstest.Config turned, and stores the account of alice there in DIR.
func difficult(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: difficult DIR [KNOB=VALUE]...")
	}
	cfg := xtlstest.Config{Accounts: scriptAccounts}
	for _, arg := range args[1:] {
		knob, value, _ := strings.Cut(arg, "=")
		n, err := strconv.Atoi(value)
		switch {
		case knob == "rate" && err == nil:
			cfg.RateLimit = n
		case knob == "stanza" && err == nil:
			cfg.StanzaLimit = n
		case arg == "proxy=off":
			cfg.Proxy = xtlstest.ProxyOff
		case arg == "proxy=refuses":
			cfg.Proxy = xtlstest.ProxyRefuses
		default:
			ts.Fatalf("no such knob: %s", arg)
		}
	}
	s, err := xtlstest.Start(cfg)
	ts.Check(err)
	ts.Defer(func() { _ = s.Close() })
	dir := ts.MkAbs(args[0])
	acc := account{JID: "alice@localhost", Password: scriptAccounts["alice"], Server: s.Addr(), ServerCA: filepath.Join(dir, "ca.pem")}
	ts.Check(saveAccount(filepath.Join(dir, "config.toml"), acc))
	ts.Check(os.WriteFile(acc.ServerCA, s.CAPEM(), 0o644))
}
