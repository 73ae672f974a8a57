// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest_test

import (
	"io"
	"testing"

	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// TestPair uses a pair as a test of an application would.
func TestPair(t *testing.T) {
	p := xtlstest.NewPair(t, xtlstest.Config{RateLimit: 1 << 20, StanzaLimit: 10_000})
	a, b := xtlstest.Tunnel(t, p.Alice, p.Bob)
	if s := a.State(); s.Level != xtls.LevelServerVouched || !s.Peer.Equal(p.Bob.LocalAddr()) {
		t.Errorf("state %+v", s)
	}
	go func() {
		_, _ = io.WriteString(b, "hello")
		_ = b.CloseWrite()
	}()
	if got, err := io.ReadAll(a); string(got) != "hello" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
}
