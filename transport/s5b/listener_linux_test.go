// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"fmt"
	"net"
	"testing"
	"time"
)

// TestArrivals: who knows the digest may come to each address once, and not to more than there can be
// candidates. What nobody took is closed with the port. (All of 127.0.0.0/8 is the own machine on Linux.)
func TestArrivals(t *testing.T) {
	d := newDigest("s", alba, bruno)
	l, err := listen([2]digest{d, d})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	come := func(i int) (net.Conn, error) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.%d:%d", i+1, l.port()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(patience))
		return c, socksDial(c.(*net.TCPConn), d)
	}
	var in []net.Conn
	for i := range maxArrived {
		c, err := come(i)
		if err != nil {
			t.Fatalf("arrival %d: %v", i, err)
		}
		in = append(in, c)
		if i == 0 {
			if _, err := come(i); err == nil {
				t.Error("a second one came to the same address")
			}
		}
	}
	if _, err := come(maxArrived); err == nil {
		t.Error("one over the bound came in")
	}
	l.close()
	for _, c := range in {
		checkClosed(t, c)
	}
}
