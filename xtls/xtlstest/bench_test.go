// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest_test

import (
	"encoding/base64"
	"fmt"
	"testing"

	"example.org/xtls/xtls/xtlstest"
)

// BenchmarkRelay is payload through the server in IBB blocks from one client to
// another, both over TLS in this process, without answers.
func BenchmarkRelay(b *testing.B) {
	for _, size := range []int{4096, 65535} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := startServer(b, xtlstest.Config{QueueLimit: 1 << 30})
			from, to := two(b, s)
			stanza := []byte("<iq type='set' id='1' to='bruno@localhost/phone'><data xmlns='http://jabber.org/protocol/ibb' seq='0' sid='x'>" +
				base64.StdEncoding.EncodeToString(make([]byte, size)) + "</data></iq>")
			const stamp = " from='alba@localhost/desk'"
			enough := drain(to, int64(b.N)*int64(len(stanza)+len(stamp)))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N { // not b.Loop: the reader must know the number
				if _, err := from.conn.Write(stanza); err != nil {
					b.Fatal(err)
				}
			}
			<-enough
		})
	}
}
