// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"
)

// TestUsable: a mechanism with channel binding is used only where the server has said
// that it knows the type.
func TestUsable(t *testing.T) {
	const offered = "SCRAM-SHA-1 SCRAM-SHA-1-PLUS PLAIN SCRAM-SHA-256-PLUS"
	const unbound = "SCRAM-SHA-1 PLAIN"
	for _, tc := range []struct {
		announced string
		version   uint16
		want      string
	}{
		{"", tls.VersionTLS13, unbound},
		{"tls-server-end-point", tls.VersionTLS13, unbound},
		{"tls-unique", tls.VersionTLS13, unbound},
		{"tls-server-end-point tls-exporter", tls.VersionTLS13, offered},
		{"", tls.VersionTLS12, unbound},
		{"tls-exporter", tls.VersionTLS12, unbound},
		{"tls-unique", tls.VersionTLS12, offered},
		{"tls-exporter", 0, unbound},
	} {
		mechanisms := strings.Fields(offered)
		got := usable(mechanisms, strings.Fields(tc.announced), tc.version)
		if !slices.Equal(got, strings.Fields(tc.want)) {
			t.Errorf("announced %q, TLS %x: %q, want %q", tc.announced, tc.version, got, tc.want)
		}
		if !slices.Equal(mechanisms, strings.Fields(offered)) {
			t.Errorf("the list of the server was changed to %q", mechanisms)
		}
	}
}
