// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package e2e_test

import (
	"io"
	"strings"
	"testing"

	"example.org/xtls/xtls/internal/e2e"
)

// BenchmarkRead reads a stanza of 200,000 octets of text again and again.
func BenchmarkRead(b *testing.B) {
	stanza := "<message><body>" + strings.Repeat("x", 200_000) + "</body></message>"
	readers := []io.Reader{strings.NewReader(header)}
	for range b.N {
		readers = append(readers, strings.NewReader(stanza))
	}
	e := e2e.New(&readerConn{Reader: io.MultiReader(readers...)}, config())
	defer e.Join()
	s, err := e.Stream()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(stanza)))
	b.ResetTimer()
	if n, _ := io.Copy(io.Discard, s); n < int64(b.N*len(stanza)) {
		b.Errorf("%d octets read", n)
	}
}
