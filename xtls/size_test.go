// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls_test

import (
	"testing"

	"example.org/xtls/xtls/internal/sizes"
	"example.org/xtls/xtls/xtlstest"
)

// TestAnySize: streams of any length, cut anywhere, through tunnels.
func TestAnySize(t *testing.T) {
	p := xtlstest.NewPair(t, xtlstest.Config{Security: securityOf(t)})
	sizes.Try(t, func(t *testing.T) (sizes.Conn, sizes.Conn) {
		a, b := xtlstest.Tunnel(t, p.Alice, p.Bob)
		return a, b
	})
}
