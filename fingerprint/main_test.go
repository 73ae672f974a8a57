// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint_test

import (
	"encoding/base64"
	"os"
	"testing"

	"go.uber.org/goleak"
	"mellium.im/xmpp/jid"
)

// TestMain also is the writing process of the tests that need several.
func TestMain(m *testing.M) {
	if job := os.Getenv(writerEnv); job != "" {
		os.Exit(runWriter(job))
	}
	goleak.VerifyTestMain(m)
}

// TV1 of PROTOCOL.md section 4: a self-signed certificate of alba@isle.example, and its digests.
const (
	tv1 = "MIIBQDCB6KADAgECAggRLZA9nl1vPzAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDEwR4dGxzMB4XDTI2MDEwMTAwMDAwMFoXDTM2MDEwMTAwMDAwMFowDzENMAsGA1UEAxMEeHRsczBZ" +
		"MBMGByqGSM49AgEGCCqGSM49AwEHA0IABMZ66XTtx0ZEydTGYDjJdUGLpMbAOr9DdzqyOOEtqBtNf3LGTUgbGMoj/50DH+0KAOK0Gz93j2d+h5LjxjvMgbGjLjAsMCoGA1UdEQQj" +
		"MCGgHwYIKwYBBQUHCAWgEwwRYWxiYUBpc2xlLmV4YW1wbGUwCgYIKoZIzj0EAwIDRwAwRAIgT9OzesCVj6QC2lAq+ZclCbL6edseYnFfOKs7qBtXgroCIE821wqW52gyskuimgcf" +
		"hsdExUIPs5beyQUNITf7+osz"
	tv1SHA1   = "afc7943ef22d5456f840defff96f63a53954e765"
	tv1SHA256 = "4fb6305df9cf65d3184aaa3556d3353a34e3de2403cb0df3d104bd384ebd73e4"
)

func tv1DER(t testing.TB) []byte {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(tv1)
	if err != nil || len(der) != 324 {
		t.Fatalf("TV1 has %d octets: %v", len(der), err)
	}
	return der
}

var (
	bob   = jid.MustParse("bob@example.net")
	carol = jid.MustParse("carol@example.org")
)
