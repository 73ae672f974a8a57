// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb_test

import (
	"runtime"
	"strings"
	"testing"

	"example.org/xtls/jingle/jingletest"
	"example.org/xtls/transport/ibb"
)

// TestIdleMemory: a stream that has carried data and is idle now costs at most 16 KiB at each end,
// goroutine included, so that a thousand tunnels are possible.
func TestIdleMemory(t *testing.T) {
	const streams, limit = 300, 16 << 10
	r := newRig(t, ibb.Config{})
	memory := func() uint64 {
		jingletest.Settle(r.a)
		runtime.GC()
		runtime.GC() // what sync.Pool holds goes at the second
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	r.a.Tap(func(s jingletest.Stanza) []jingletest.Stanza { return []jingletest.Stanza{s} })
	use := func() (a, b *ibb.Conn) {
		a, b = r.connect(t, false)
		for _, c := range []struct{ from, to *ibb.Conn }{{a, b}, {b, a}} {
			mustWrite(t, c.from, strings.Repeat("x", 20_000))
			readString(t, c.to, 20_000)
		}
		return a, b
	}
	use()
	logged := func() (n uint64) { // the log of the test support grows too
		for _, s := range jingletest.Log(r.a) {
			n += uint64(len(s.XML)) + 400
		}
		return n
	}
	before, loggedBefore := memory(), logged()
	var keep []*ibb.Conn
	for range streams {
		a, b := use()
		keep = append(keep, a, b)
	}
	after, loggedAfter := memory(), logged()
	each := (int64(after-before) - int64(loggedAfter-loggedBefore)) / int64(len(keep))
	t.Logf("%d octets per idle end", each)
	if each > limit {
		t.Errorf("an idle end costs %d octets, want at most %d", each, limit)
	}
	runtime.KeepAlive(keep)
}
