// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b_test

import (
	"testing"

	"example.org/xtls/transport/transporttest"
)

func TestConformance(t *testing.T) {
	t.Run("Direct", func(t *testing.T) {
		transporttest.Conformance(t, func(t *testing.T) transporttest.Ends { return newRig(t).ends() })
	})
}
