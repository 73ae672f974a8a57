// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"sync"
	"testing"
	"time"

	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/xtls"
)

// BenchmarkQuickAck compares sessions that acknowledge TCP segments at once, which are
// those of xtls.Connect, with sessions of the caller's own on a connection as Go makes
// it: the time of a login and of a dial, the rate in blocks of 4096 and of 16384, and that of
// the raw sender with one block of 8192 in flight; the last also on loopback.
// Prosody is at the far end of a link with an MTU of 1500.
//
//	go test ./integration -run '^$' -bench QuickAck -benchtime 1x -timeout 10m
func BenchmarkQuickAck(b *testing.B) {
	b.Run("loopback", func(b *testing.B) { // its MTU is 65536
		p := startProsody(b, prosodyOptions{})
		plain, quick := newRawPair(b, p, "alice", "bob", 0, false), newRawPair(b, p, "alice", "bob", 0, true)
		for b.Loop() {
			compete(b, benchRounds, directTrial(), plain.contender(8192, 1).contender, quick.contender(8192, 1).contender).report(b)
		}
	})
	for _, rtt := range []time.Duration{0, 20 * time.Millisecond} {
		b.Run("rtt="+rtt.String(), func(b *testing.B) {
			p := startProsody(b, prosodyOptions{
				accounts: []string{"a", "b", "c", "d", "e", "f", "g", "h"},
				within:   farNetwork(b, rtt/2), host: linkFar,
			})
			b.Run("login", func(b *testing.B) { timeLogins(b, p) })
			b.Run("dial/plain", func(b *testing.B) { setUp(b, ownSession(b, p, "a", 0), ownSession(b, p, "b", 0)) })
			b.Run("dial/quick", func(b *testing.B) { setUp(b, connect(b, p, "a"), connect(b, p, "b")) })
			b.Run("rate", func(b *testing.B) {
				quick := func(name string) *xtls.Client { return connectSized(b, p, name, 16384) }
				named := func(name string, c contender) contender { c.name = name; return c }
				plainRaw, quickRaw := newRawPair(b, p, "a", "b", 0, false), newRawPair(b, p, "a", "b", 0, true)
				for b.Loop() {
					compete(b, benchRounds, directTrial(),
						plainRaw.contender(8192, 1).contender, quickRaw.contender(8192, 1).contender,
						named("plain-4096", tunnelContender(b, ownSession(b, p, "a", 4096), ownSession(b, p, "b", 4096))),
						named("quick-4096", tunnelContender(b, connect(b, p, "c"), connect(b, p, "d"))),
						named("plain-16384", tunnelContender(b, ownSession(b, p, "e", 16384), ownSession(b, p, "f", 16384))),
						named("quick-16384", tunnelContender(b, quick("g"), quick("h"))),
					).report(b)
				}
			})
		})
	}
}

// ownSession is a client on a session that mellium.im/xmpp made.
func ownSession(b *testing.B, p *server, name string, block int) *xtls.Client {
	b.Helper()
	s := melliumSession(b, p, name)
	cfg := libraryConfig(b, p, s.LocalAddr().Bare())
	cfg.Path, cfg.BlockSize = xtls.PathInBand, block
	c, err := xtls.New(s, cfg)
	if err != nil {
		b.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(mux.New(stanza.NSClient, xtls.Handle(c))) })
	b.Cleanup(func() {
		_ = c.Close()
		_ = s.Conn().Close()
		serving.Wait()
	})
	return c
}

// timeLogins reports the median time of a login of both kinds, in turn.
func timeLogins(b *testing.B, p *server) {
	const logins = 20
	times := make(map[string][]time.Duration)
	for b.Loop() {
		for range logins {
			start := time.Now()
			s := melliumSession(b, p, "a")
			times["plain"] = append(times["plain"], time.Since(start))
			_ = s.Conn().Close()

			start = time.Now()
			c := connect(b, p, "b")
			times["quick"] = append(times["quick"], time.Since(start))
			_ = c.Close()
		}
	}
	b.ReportMetric(0, "ns/op")
	for kind, t := range times {
		b.ReportMetric(float64(median(t).Microseconds())/1000, kind+"-ms")
	}
}
