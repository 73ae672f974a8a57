// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"crypto/tls"
	"net"
	"sync"
	"testing"

	"example.org/xtls/xtls/internal/sizes"
)

// TestAnySizeTLS: streams of any length, cut anywhere, over our TLS profile in memory.
func TestAnySizeTLS(t *testing.T) {
	a, b := foreignIdentity(t, "a@example.org"), foreignIdentity(t, "b@example.org")
	sizes.Try(t, func(t *testing.T) (sizes.Conn, sizes.Conn) {
		x, y := net.Pipe()
		var refused [2]error
		client := tls.Client(x, tlsConfig(a, foreignProtocol, &refused[0], expect(b)))
		server := tls.Server(y, tlsConfig(b, foreignProtocol, &refused[1], expect(a)))
		var wg sync.WaitGroup
		for _, c := range []*tls.Conn{client, server} {
			t.Cleanup(func() { c.NetConn().Close() }) // a pipe takes no goodbye that nobody reads
			wg.Go(func() {
				if err := c.HandshakeContext(t.Context()); err != nil {
					t.Errorf("%v (%v)", err, refused)
				}
			})
		}
		wg.Wait()
		return client, server
	})
}
