// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"regexp"
	"testing"

	"example.org/xtls/transport/transporttest"
)

func TestConformance(t *testing.T) {
	t.Run("Direct", func(t *testing.T) {
		transporttest.Conformance(t, func(t *testing.T) transporttest.Ends {
			return newRig(t, true, false).ends()
		})
	})
	t.Run("Relay", func(t *testing.T) {
		transporttest.Conformance(t, func(t *testing.T) transporttest.Ends {
			r := newRig(t, false, true)
			newRelay(t, proxyJID, r.a, r.b)
			r.rewrite = stripPad
			return r.ends()
		})
	})
	t.Run("Padded", func(t *testing.T) {
		transporttest.Conformance(t, func(t *testing.T) transporttest.Ends {
			r := newRig(t, false, true)
			relay := newRelay(t, proxyJID, r.a, r.b)
			relay.withholds, relay.cuts = true, true
			return r.ends()
		})
	})
}

var padAttr = regexp.MustCompile(` (xmlns:x|x:pad)='[^']*'`)

// stripPad makes an end a stranger to padding.
func stripPad(s string) string { return padAttr.ReplaceAllString(s, "") }
