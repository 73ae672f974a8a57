// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

//go:build !race

package exchange_test

import (
	"encoding/xml"
	"net"
	"strings"
	"testing"

	"mellium.im/xmpp/stanza"

	"example.org/xtls/xtls/internal/exchange"
)

// TestNoAllocation: a block and its answer cost no memory here. (The race detector makes pools forget.)
func TestNoAllocation(t *testing.T) {
	out := &idOutput{}
	x := exchange.New(readySession(t, discard{}), silent, out)
	defer x.Close(net.ErrClosed)
	none := xml.NewDecoder(strings.NewReader(""))
	block := []byte("<data xmlns='http://jabber.org/protocol/ibb' seq='0' sid='S'>QUJD</data>")
	answered := 0
	done := func(xml.TokenReader, error) { answered++ }
	allocations := testing.AllocsPerRun(100, func() {
		x.Go(stanza.SetIQ, peer, block, done)
		x.Answered(out.id, peer, none)
	})
	if allocations > 0 || answered < 100 {
		t.Errorf("%v allocations for a block, %d answered", allocations, answered)
	}
}
