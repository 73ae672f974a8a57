// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// gibibyte is how much BenchmarkGibibyte sends.
const gibibyte = 1 << 30

// BenchmarkGibibyte sends 1 GiB from the standard input of one xtls-demo to the standard
// output of another one, by each path that is not in-band, compares the SHA-256, and
// reports the rate and the most memory that each process had.
//
//	go test ./integration -run '^$' -bench Gibibyte -benchtime 1x
func BenchmarkGibibyte(b *testing.B) {
	_, alice, bob := prosodyCouple(b, prosodyOptions{proxy65: true})
	for _, path := range []string{"direct", "relay"} {
		b.Run(path, func(b *testing.B) {
			alice, bob := alice.in(b), bob.in(b)
			for b.Loop() {
				carryGibibyte(b, alice, bob, path)
			}
		})
	}
}

func carryGibibyte(b *testing.B, alice, bob *user, path string) {
	b.Helper()
	sent, received := sha256.New(), sha256.New()
	cmd := exec.Command(build(b), "--json", "--config", bob.dir, "--path", path, "serve", "--stdio", "--once")
	cmd.Stdout = received
	serve := &program{child: startChild(b, bob.jid, cmd), t: b}
	serve.events = serve.stderr
	serve.event("ready")
	nc := alice.start("nc", bob.jid, "--path", path)
	nc.event("tunnel")
	start := time.Now()
	data := io.LimitReader(rand.NewChaCha8([32]byte{}), gibibyte)
	if _, err := io.CopyBuffer(nc.stdin, io.TeeReader(data, sent), make([]byte, benchChunk)); err != nil {
		b.Fatal(err)
	}
	nc.hangUp()
	serve.hangUp()
	nc.exitWithin(drainTime, exitDone)
	serve.exitWithin(drainTime, exitDone)
	took := time.Since(start)
	if !bytes.Equal(sent.Sum(nil), received.Sum(nil)) {
		b.Error("what arrived is not what was sent")
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(gibibyte/1e6/took.Seconds(), "MB/s")
	for name, p := range map[string]*program{"sender": nc, "receiver": serve} {
		peak := p.cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
		b.ReportMetric(float64(peak)/(1<<20), name+"-MiB")
	}
}
