// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb_test

import (
	"fmt"
	"io"
	"testing"

	"example.org/xtls/transport/ibb"
	"example.org/xtls/transport/transporttest"
)

// BenchmarkStream is one direction of a stream between two sessions in memory, each stanza rendered
// once and parsed once by encoding/xml; with the blocks in flight that the stream finds best (0) and
// with fixed numbers of them.
func BenchmarkStream(b *testing.B) {
	for _, size := range []int{4096, 16384, 65535} {
		for _, inFlight := range []int{0, 1, 4} {
			b.Run(fmt.Sprintf("block=%d/inflight=%d", size, inFlight), func(b *testing.B) {
				benchmarkStream(b, ibb.Config{BlockSize: size, InFlight: inFlight})
			})
		}
	}
}

func benchmarkStream(b *testing.B, cfg ibb.Config) {
	x, y, err := transporttest.Connect(b.Context(), newWires(b, cfg), false)
	if err != nil {
		b.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for chunk := make([]byte, 64<<10); ; {
			if _, err := x.Write(chunk); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 64<<10)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.ReadFull(y, buf); err != nil {
			b.Fatal(err)
		}
	}
	transporttest.Abort(y)
	transporttest.Abort(x)
	<-stopped
}
