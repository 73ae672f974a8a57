// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mellium.im/xmpp"
	"mellium.im/xmpp/ibb"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/stanza"
)

// melliumSession logs in with nothing but mellium.im/xmpp.
func melliumSession(b testing.TB, s *server, name string) *xmpp.Session {
	b.Helper()
	return rawLogin(b, s, name, false).session
}

// peerBlock is the block-size of other implementations: their default.
const peerBlock = 4096

// melliumContender is the ibb package of mellium.im/xmpp, with acknowledged stanzas.
func melliumContender(b testing.TB, s *server, from, to string, rtt time.Duration) contender {
	b.Helper()
	var handlers [2]ibb.Handler
	var sessions [2]*xmpp.Session
	var serving sync.WaitGroup
	for i, name := range []string{from, to} {
		sessions[i] = melliumSession(b, s.behind(b, rtt, false), name)
		serving.Go(func() { _ = sessions[i].Serve(mux.New(stanza.NSClient, ibb.Handle(&handlers[i]))) })
		b.Cleanup(func() {
			_ = sessions[i].Conn().Close()
			if i == 0 { // the last one to be cleaned up
				serving.Wait()
			}
		})
	}
	accepted := make(chan net.Conn, 1)
	l := handlers[1].Listen(sessions[1])
	serving.Go(func() {
		if conn, err := l.Accept(); err == nil {
			accepted <- conn
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := handlers[0].OpenIQ(ctx, stanza.IQ{To: sessions[1].LocalAddr()}, sessions[0], true, peerBlock, "bench")
	if err != nil {
		b.Fatal(err)
	}
	m := &melliumStream{in: <-accepted, out: out, arrived: new(arrivals)}
	return contender{"mellium", m.arrived, func(ctx context.Context) error {
		// Its Read waits for ever if the line is lost.
		broken := time.AfterFunc(drainTime, func() { _ = sessions[1].Conn().Close() })
		defer broken.Stop()
		return m.run(ctx)
	}}
}

type melliumStream struct {
	in, out net.Conn
	arrived *arrivals
}

// run goes on sending until what it reads is enough: the last octets of a stream
// never leave its buffers, and a Read may miss that something has come.
func (m *melliumStream) run(ctx context.Context) error {
	done := make(chan struct{})
	var sending sync.WaitGroup
	defer sending.Wait()
	defer close(done)
	sending.Go(func() {
		data := randomBytes(peerBlock)
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := m.out.Write(data); err != nil {
				return
			}
		}
	})
	buf := make([]byte, peerBlock)
	for ctx.Err() == nil {
		n, err := m.in.Read(buf)
		m.arrived.add(n)
		if err != nil {
			return err
		}
	}
	return nil
}

// slixmppContender is xep_0047 of slixmpp, in two processes: octets go through the
// standard input of one and arrive at the standard output of the other one.
func slixmppContender(b testing.TB, s *server, from, to string, rtt time.Duration) contender {
	b.Helper()
	python := slixmppPython(b)
	arrived := new(arrivals)
	start := func(name string, args ...string) *child {
		way := s.behind(b, rtt, false)
		cmd := exec.Command(python, append([]string{filepath.Join("testdata", "slixmpp_ibb.py"), way.direct, way.ca, name + "@" + domain}, args...)...)
		cmd.Env = append(cmd.Environ(), "XTLS_PASSWORD="+passwordOf(name))
		if len(args) == 0 {
			cmd.Stdout = arrived
		}
		return startChild(b, "slixmpp "+name, cmd)
	}
	// ready waits until one says that it is, and returns what else the line says.
	ready := func(c *child) (said string) {
		c.await(b, "ready", c.stderr, patience, func(text []byte, _ bool) bool {
			_, after, found := strings.Cut(string(text), "ready ")
			line, _, whole := strings.Cut(after, "\n")
			said = line
			return found && whole
		})
		return said
	}
	receiver := start(to)
	sender := start(from, ready(receiver))
	ready(sender)
	data := randomBytes(peerBlock)
	var sent int64
	return contender{"slixmpp", arrived, func(ctx context.Context) error {
		for ctx.Err() == nil {
			if err := arrived.await(sent - slixmppAhead); err != nil {
				return err
			}
			n, err := sender.stdin.Write(data)
			sent += int64(n)
			if err != nil {
				return err
			}
		}
		return arrived.await(sent)
	}}
}

// slixmppAhead is how much may wait for the sender, which has one block in flight:
// enough never to let it wait, little enough to be at rest soon.
const slixmppAhead = 8 * peerBlock

// slixmppPython returns a Python that has slixmpp: not each one in PATH does.
func slixmppPython(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(name, "-c", "import slixmpp").Run() == nil {
			return name
		}
	}
	missing(t, "no python3 has slixmpp (Debian and Ubuntu: apt-get install python3-slixmpp)")
	return ""
}
