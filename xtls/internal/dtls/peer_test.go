// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package dtls

import (
	"context"
	"crypto/tls"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pion "github.com/pion/dtls/v2"
)

// TestOtherPeers has peers that speak DTLS but not this profile. They are refused.
func TestOtherPeers(t *testing.T) {
	for name, tt := range map[string]struct {
		change         func(*pion.Config)
		client, server bool // as what the peer is refused
		want           error
	}{
		"the profile":           {func(*pion.Config) {}, false, false, nil},
		"no protocol":           {func(c *pion.Config) { c.SupportedProtocols = nil }, true, true, ErrProtocol},
		"two protocols":         {func(c *pion.Config) { c.SupportedProtocols = append(c.SupportedProtocols, "other") }, true, false, ErrProtocol},
		"another protocol":      {func(c *pion.Config) { c.SupportedProtocols = []string{"other"} }, true, true, nil},
		"no extended secret":    {func(c *pion.Config) { c.ExtendedMasterSecret = pion.DisableExtendedMasterSecret }, true, true, nil},
		"no certificate":        {func(c *pion.Config) { c.Certificates = nil }, true, true, nil},
		"two certificates":      {func(c *pion.Config) { c.Certificates[0].Certificate = slices.Repeat(c.Certificates[0].Certificate, 2) }, true, true, nil},
		"no request for one":    {func(c *pion.Config) { c.ClientAuth = pion.NoClientCert }, false, true, nil},
		"another cipher suite":  {func(c *pion.Config) { c.CustomCipherSuites, c.CipherSuites = nil, nil }, true, true, nil},
		"certificate of others": {func(c *pion.Config) { c.Certificates = []tls.Certificate{newCertificate(t, nil)} }, true, true, nil},
	} {
		for _, server := range []bool{false, true} { // what the peer is
			t.Run(name+map[bool]string{false: "/client", true: "/server"}[server], func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					own, theirs := configs(t)
					h := &handshake{cfg: theirs, server: server, suite: &suite{label: "x", onForged: func(error) {}}}
					h.cfg.Datagram, h.cfg.FlightInterval = 4096, time.Second
					cfg := h.pionConfig()
					tt.change(cfg)
					a, b := carriers()
					ctx, cancel := context.WithTimeout(t.Context(), handshakeTime)
					defer cancel()
					var peer sync.WaitGroup
					peer.Go(func() {
						run := pion.ClientWithContext
						if server {
							run = pion.ServerWithContext
						}
						p, err := run(ctx, b, cfg)
						if err == nil {
							p.Close()
						}
						b.Close()
					})
					run, refused := Server, tt.client
					if server {
						run, refused = Client, tt.server
					}
					conn, err := run(ctx, a, own)
					a.Close()
					peer.Wait()
					if (err != nil) != refused || refused && tt.want != nil && !errors.Is(err, tt.want) {
						t.Errorf("err = %v, refused: want %t, %v", err, refused, tt.want)
					}
					if conn != nil {
						conn.Close()
					}
				})
			})
		}
	}
}

// TestAfterFinished: what follows the last message of a handshake is none of pion's business.
func TestAfterFinished(t *testing.T) {
	for name, forgery := range map[string][]byte{
		"fatal alert":  forged(typeAlert, 0, 4, alertFatal, 40),
		"close_notify": forged(typeAlert, 0, 4, alertWarning, alertCloseNotify),
		"handshake":    forged(typeHandshake, 0, 4, make([]byte, fragmentHeader)...),
	} {
		for _, together := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					follow := at(1, func(b []byte) [][]byte {
						if together {
							return [][]byte{append(b, forgery...)}
						}
						return [][]byte{b, forgery, forgery}
					})
					cc, cs := configs(t)
					a, b := carriers()
					a.out.tap, b.out.tap = follow, follow
					begin := time.Now()
					client, server := connect(t, a, b, cc, cs)
					exchange(t, client, server, "hello")
					exchange(t, server, client, "hello")
					if took := time.Since(begin); took > 0 {
						t.Errorf("it took %v", took)
					}
				})
			})
		}
	}
}

// TestOldAndNew: a message of the carrier holds what is new, or what was sent before; so does a
// record.
func TestOldAndNew(t *testing.T) {
	fragment := func(typ byte, seq byte) []byte {
		return []byte{typ, 0, 0, 1, 0, seq, 0, 0, 0, 0, 0, 1, 0}
	}
	first, second := fragment(clientHello, 0), fragment(clientHello, 1)
	for name, tt := range map[string]struct {
		records [][]byte
		ok      bool
	}{
		"new":                 {[][]byte{second}, true},
		"old":                 {[][]byte{first}, true},
		"two old":             {[][]byte{first, first}, true},
		"both":                {[][]byte{first, second}, false},
		"both, the new first": {[][]byte{second, first}, false},
		"both in one record":  {[][]byte{slices.Concat(first, second)}, false},
		"new after two old":   {[][]byte{first, first, second}, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate(nil, true, func(byte, []byte) error { return nil }, nil)
			if _, err := g.filter(nil, forged(typeHandshake, 0, 0, first...)); err != nil {
				t.Fatal(err)
			}
			var datagram []byte
			for i, r := range tt.records {
				datagram = append(datagram, forged(typeHandshake, 0, uint64(i)+1, r...)...)
			}
			if _, err := g.filter(nil, datagram); (err == nil) != tt.ok {
				t.Errorf("err = %v, want ok %t", err, tt.ok)
			}
		})
	}
}
