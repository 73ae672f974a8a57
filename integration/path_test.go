// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import "testing"

// TestPaths: two programs that know each other exchange a megabyte each way by each path, and
// by the best of them where both leave that open. What one end does not allow is not taken.
func TestPaths(t *testing.T) {
	t.Parallel()
	_, alice, bob := prosodyCouple(t, prosodyOptions{proxy65: true})
	for _, tt := range []struct{ alice, bob, want string }{
		{"auto", "auto", "direct"},
		{"direct", "auto", "direct"},
		{"relay", "auto", "relay"},
		{"auto", "relay", "relay"},
		{"auto", "inband", "inband"},
		{"inband", "auto", "inband"},
	} {
		t.Run(tt.alice+", "+tt.bob, func(t *testing.T) {
			alice, bob := alice.in(t), bob.in(t)
			sent, back := randomBytes(1<<20), randomBytes(1<<20)
			serve := bob.serve("--stdio", "--once", "--path", tt.bob)
			nc := alice.start("nc", bob.jid, "--path", tt.alice)
			serve.feed(back)
			nc.feed(sent)
			nc.exit(exitDone)
			serve.exit(exitDone)
			nc.received(back)
			serve.received(sent)
			if e := nc.happened("tunnel"); e.text("path") != tt.want || (e.text("detour") != "") != (tt.bob == "inband") {
				t.Errorf("%v, want path %s", e, tt.want)
			}
		})
	}
}
