// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"example.org/xtls/fingerprint"
	"mellium.im/xmpp/jid"
)

func ExampleParse() {
	f, err := fingerprint.Parse("SHA256:4F:B6:30:5D:F9:CF:65:D3:18:4A:AA:35:56:D3:35:3A:34:E3:DE:24:03:CB:0D:F3:D1:04:BD:38:4E:BD:73:E4")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(f)
	fmt.Println(f.Grouped())
	// Output:
	// 4fb6305df9cf65d3184aaa3556d3353a34e3de2403cb0df3d104bd384ebd73e4
	// 4fb6305d f9cf65d3 184aaa35 56d3353a 34e3de24 03cb0df3 d104bd38 4ebd73e4
}

func ExampleStore() {
	dir, err := os.MkdirTemp("", "xtls")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	store, err := fingerprint.Open(filepath.Join(dir, "known_peers"))
	if err != nil {
		fmt.Println(err)
		return
	}

	bob := jid.MustParse("bob@example.net/phone")
	key := fingerprint.Of([]byte("the certificate of the handshake, in DER"))
	today := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)

	_, err = store.Check(bob, key)
	fmt.Println("first contact:", errors.Is(err, fingerprint.ErrUnknown))

	// Bob and his user have compared a code.
	_, err = store.Pin(fingerprint.Record{
		Peer:   bob,
		Key:    key,
		Level:  fingerprint.LevelVerified,
		Method: fingerprint.MethodSAS,
		Label:  "bob's phone",
	}, today)
	if err != nil {
		fmt.Println(err)
		return
	}

	r, err := store.Check(bob, key)
	fmt.Println("the next day:", r.Level, r.Method, r.Verified.Format(time.DateOnly), err)

	_, err = store.Check(bob, fingerprint.Of([]byte("another certificate")))
	var changed *fingerprint.ChangedError
	fmt.Println("another key:", errors.As(err, &changed) && changed.Verified())
	// Output:
	// first contact: true
	// the next day: verified sas 2026-11-20 <nil>
	// another key: true
}

func ExampleCheckDigests() {
	certificate := []byte("the certificate of the handshake, in DER")
	announced, err := fingerprint.ParseDigest("sha-256", fingerprint.Of(certificate).Digest().Colons())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(fingerprint.CheckDigests([]fingerprint.Digest{announced}, certificate))
	fmt.Println(fingerprint.CheckDigests([]fingerprint.Digest{announced}, []byte("what the server put in its place")))
	// Output:
	// <nil>
	// fingerprint: the certificate is not the one announced in signalling: its "sha-256" digest differs
}
