// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"net"
	"net/netip"
)

// SetAddresses makes t believe that these are the machine's addresses.
func SetAddresses(t *Transport, ips ...string) {
	var all []net.Addr
	for _, ip := range ips {
		a := netip.MustParseAddr(ip)
		all = append(all, &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())})
	}
	t.interfaceAddrs = func() ([]net.Addr, error) { return all, nil }
}
