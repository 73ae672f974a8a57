// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"net"
	"net/netip"
	"slices"
	"strconv"

	"mellium.im/xmpp/jid"
)

// maxAddresses bounds the own addresses that are offered, so that proxies have room beside them.
const maxAddresses = maxCandidates - maxProxies

// ownAddresses are the addresses where this machine can be met from elsewhere. Loopback is among
// them only if there is nothing else, or loopback says so: then both clients are on one machine.
func ownAddresses(interfaceAddrs func() ([]net.Addr, error), loopback bool) ([]netip.Addr, error) {
	all, err := interfaceAddrs()
	if err != nil {
		return nil, err
	}
	var found, local []netip.Addr
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue // no IP address
		}
		switch ip := p.Addr().Unmap(); {
		case ip.IsLoopback():
			local = append(local, ip)
		case isUsable(ip):
			found = append(found, ip)
		}
	}
	if len(found) > maxAddresses {
		found = found[:maxAddresses]
	}
	if len(found) == 0 || loopback {
		found = append(found, local...)
	}
	return found[:min(len(found), maxAddresses)], nil
}

// isUsable reports whether anybody else could mean the same machine by ip. Link-local addresses
// need a zone, which has a meaning on one machine only.
func isUsable(ip netip.Addr) bool { return ip.IsGlobalUnicast() && ip.Zone() == "" }

// directCandidates offers the own addresses, best first.
func directCandidates(own jid.JID, ips []netip.Addr, port uint16) []candidate {
	cs := make([]candidate, 0, len(ips))
	for i, ip := range ips {
		cs = append(cs, candidate{
			host: ip.String(), port: port, jid: own, typ: typeDirect,
			priority: priorityOf(typeDirect, uint16(65535-i)),
		})
	}
	return cs
}

// proxyCandidates offers the proxies of the own server, best first.
func proxyCandidates(proxies []Proxy) []candidate {
	cs := make([]candidate, 0, len(proxies))
	for i, p := range proxies {
		cs = append(cs, candidate{
			host: p.Host, port: p.Port, jid: p.JID, typ: typeProxy,
			priority: priorityOf(typeProxy, uint16(65535-i)),
		})
	}
	return cs
}

// without takes those out that others offer already (XEP-0260 §2.2: the responder must not repeat
// them), and numbers the rest.
func without(cs, others []candidate, prefix string) []candidate {
	cs = slices.DeleteFunc(cs, func(c candidate) bool {
		return slices.ContainsFunc(others, func(o candidate) bool { return o.addr() == c.addr() })
	})
	cs = cs[:min(len(cs), maxCandidates)]
	for i := range cs {
		cs[i].cid = prefix + strconv.Itoa(i)
	}
	return cs
}

// byPriority sorts for connecting: highest first.
func byPriority(a, b candidate) int {
	switch {
	case a.priority > b.priority:
		return -1
	case a.priority < b.priority:
		return 1
	}
	return 0
}
