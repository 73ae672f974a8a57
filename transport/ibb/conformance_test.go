// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb_test

import (
	"testing"

	"example.org/xtls/transport/ibb"
	"example.org/xtls/transport/transporttest"
)

func TestConformance(t *testing.T) {
	for _, tt := range []struct {
		name     string
		stranger bool
		cfg      ibb.Config
	}{
		{"Credit", false, ibb.Config{}},
		{"Stranger", true, ibb.Config{}},
		{"SmallBuffers", false, ibb.Config{BlockSize: 512, ReceiveBuffer: 1024, SendBuffer: 512, InFlight: 1}},
		{"StrangerSmallBuffers", true, ibb.Config{BlockSize: 1024, ReceiveBuffer: 2048, SendBuffer: 1024}},
		{"Large", false, ibb.Config{BlockSize: 65535, InFlight: 32}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			transporttest.Conformance(t, func(t *testing.T) transporttest.Ends {
				r := newRig(t, tt.cfg)
				r.stranger = tt.stranger
				return r.ends()
			})
		})
	}
}
