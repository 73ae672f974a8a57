// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls_test

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTunnel(t *testing.T) {
	p := xtlstest.NewPair(t, xtlstest.Config{Security: securityOf(t)})
	a, b := xtlstest.Tunnel(t, p.Alice, p.Bob)
	if s := a.State(); s.Level != xtls.LevelServerVouched || s.PostQuantum() != (securityOf(t) == xtls.TLS) || s.Transport != "inband" || !s.Peer.Equal(p.Bob.LocalAddr()) || s.Fingerprint != p.Bob.Fingerprint() {
		t.Errorf("state of the dialled end: %+v", s)
	}
	if s := b.State(); s.Level != xtls.LevelServerVouched || s.Initiator || s.Fingerprint != p.Alice.Fingerprint() {
		t.Errorf("state of the accepted end: %+v", s)
	}
	const size = 1 << 20
	var wg sync.WaitGroup
	for _, dir := range [][2]*xtls.Conn{{a, b}, {b, a}} {
		data := make([]byte, size)
		rand.Read(data)
		wg.Go(func() {
			if _, err := dir[0].Write(data); err != nil {
				t.Errorf("Write: %v", err)
			}
			if err := dir[0].CloseWrite(); err != nil {
				t.Errorf("CloseWrite: %v", err)
			}
		})
		wg.Go(func() {
			got, err := io.ReadAll(dir[1])
			if err != nil {
				t.Errorf("ReadAll: %v", err)
			}
			if sha256.Sum256(got) != sha256.Sum256(data) {
				t.Errorf("received %d octets that differ from the %d sent", len(got), len(data))
			}
		})
	}
	wg.Wait()
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Errorf("Close: %v", err)
	}
	// The second contact is to a known key.
	a, _ = xtlstest.Tunnel(t, p.Alice, p.Bob)
	if s := a.State(); s.Level != xtls.LevelPinned || s.First.IsZero() {
		t.Errorf("state on second contact: %+v", s)
	}
}
