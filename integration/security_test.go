// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"context"
	"io"
	"sync"
	"testing"

	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// TestSecurities: who dials chooses TLS or DTLS; 1 MiB in one Write each way, in blocks of
// 4096 octets, and the end.
func TestSecurities(t *testing.T) {
	t.Parallel()
	p := startProsody(t, prosodyOptions{})
	bob := connect(t, p, "bob")
	for _, tt := range []struct {
		security xtls.Security
		protocol string
		from     string
	}{{xtls.TLS, "TLS 1.3", "alice"}, {xtls.DTLS, "DTLS 1.2", "carol"}} {
		t.Run(tt.security.String(), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			dialled, accepted, err := tunnels(ctx, connectOver(t, p, tt.from, tt.security), bob, 1)
			if err != nil {
				t.Fatal(err)
			}
			var work sync.WaitGroup
			for _, dir := range [][2]*xtls.Conn{{dialled[0], accepted[0]}, {accepted[0], dialled[0]}} {
				if s := dir[0].State(); s.Protocol() != tt.protocol || s.PostQuantum() != (tt.security == xtls.TLS) {
					t.Errorf("%s, post-quantum %t", s.Protocol(), s.PostQuantum())
				}
				sent := randomBytes(1 << 20)
				work.Go(func() {
					if _, err := dir[0].Write(sent); err != nil {
						t.Errorf("Write: %v", err)
					}
					if err := dir[0].CloseWrite(); err != nil {
						t.Errorf("CloseWrite: %v", err)
					}
				})
				work.Go(func() {
					if got, err := io.ReadAll(dir[1]); err != nil || string(got) != string(sent) {
						t.Errorf("%d octets arrived, %v", len(got), err)
					}
				})
			}
			work.Wait()
		})
	}
}

// TestProgramOverDTLS: a session of the command line over DTLS.
func TestProgramOverDTLS(t *testing.T) {
	t.Parallel()
	_, alice, bob := prosodyCouple(t, prosodyOptions{})
	sent, back := randomBytes(100_000), randomBytes(100_000)
	serve := bob.serve("--stdio", "--once")
	nc := alice.start("nc", bob.jid, "--security", "dtls")
	serve.feed(back)
	nc.feed(sent)
	if e := nc.event("tunnel"); e.text("tls") != "DTLS 1.2" || e.text("group") != "X25519" {
		t.Errorf("event %v", e)
	}
	nc.exit(exitDone)
	serve.exit(exitDone)
	nc.received(back)
	serve.received(sent)
}

// BenchmarkSecurities is the rate of payload one way of tunnels over TLS and over DTLS, through
// the embedded server and through Prosody.
func BenchmarkSecurities(b *testing.B) {
	b.Run("embedded", func(b *testing.B) {
		s := xtlstest.NewServer(b, xtlstest.Config{})
		client := func(name string, security xtls.Security) *xtls.Client {
			cfg := xtlstest.ClientConfig(b, s, name)
			cfg.Security = security
			return xtlstest.NewClient(b, s, name, cfg)
		}
		securities(b, client("alice", xtls.TLS), client("carol", xtls.DTLS), client("bob", xtls.TLS))
	})
	b.Run("Prosody", func(b *testing.B) {
		p := startProsody(b, prosodyOptions{})
		securities(b, connect(b, p, "alice"), connectOver(b, p, "carol", xtls.DTLS), connect(b, p, "bob"))
	})
}

func securities(b *testing.B, overTLS, overDTLS, to *xtls.Client) {
	b.Helper()
	one, other := tunnelContender(b, overTLS, to), tunnelContender(b, overDTLS, to)
	one.name, other.name = "tls", "dtls"
	for b.Loop() {
		compete(b, benchRounds, directTrial(), one, other).report(b)
	}
}
