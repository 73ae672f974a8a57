// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

// Package s5b is the Jingle transport method that is fast: a TCP connection from one client to the
// other, or from both to a proxy.
//
// It implements the Jingle transport of SOCKS5 Bytestreams (XEP-0260) and what it needs of
// XEP-0065. Make a [Transport] with [New], give it to whoever negotiates Jingle sessions, and call
// [Transport.Proxies] early if relays may be used; [Transport.Connect] yields a carrier. There are
// no stanza handlers to install. Connections may fail for many reasons, so have transport/ibb
// ready for [ErrNoCandidate].
//
// # What travels
//
//	initiator                                        responder
//	   | session-initiate <transport> candidates         |
//	   |------------------------------------------------>|
//	   | session-accept   <transport> candidates         |   none that was offered already
//	   |<------------------------------------------------|
//	   | TCP and SOCKS5 to each other's candidates       |
//	   |<===============================================>|
//	   | transport-info <candidate-used/> or -error      |
//	   |<----------------------------------------------->|   from each end
//	   | transport-info <activated/> or <proxy-error/>   |
//	   |<----------------------------------------------->|   if it is a proxy, from who offered it
//
// A candidate is a host and a port, with a priority: an own address (direct), or a SOCKS5 proxy
// of the own server. Own addresses are those of all interfaces, IPv4 and IPv6, without
// link-local ones; loopback only if there is nothing else ([Config.Loopback]). The candidates of
// the peer are tried from the highest priority down, 200 ms apart and side by side; the first that
// works is used. When both ends have used one, the higher priority counts, and of two equal ones
// that of the initiator (XEP-0260 §2.4).
//
// # The states of a negotiation
//
//	gather ───────► offered ───────► connecting ───────► chosen
//	own proxies     the peer's       attempts 5 s,       │
//	1 s (alone 5)   candidates       the peer's          ├─ direct, own attempt ─────► carrier
//	                2 min            word 10 s           ├─ direct, the peer's 2 s ──► carrier
//	                                    │                ├─ own proxy: activate 5 s ─► carrier
//	                                    │                └─ its proxy: wait 8 s ─────► carrier
//	                                    │                │
//	                                    │ nothing worked │ lost, refused, too late
//	                                    ▼                ▼
//	                                    ErrNoCandidate
//
// An attempt at a direct candidate takes 3 s at the most; once the peer has reached one of ours,
// better ones have 1 s more. The responder gathers when it has the offer. Every time in the picture is a named constant, and
// whatever ends a state badly is an error that says what was tried and why it failed. Cancelling
// the context ends any of them. The port and all sockets that are not the carrier are closed at the
// end, either way.
//
// # Who learns which address
//
// Negotiation.Direct allows telling the peer own addresses and connecting to the peer's;
// Negotiation.Relay allows proxies. What is not allowed is neither offered nor connected to. With
// Relay alone a proxy that the peer offers must be one of the own server, or, with
// Negotiation.PeerRelay, say that the address is its own when it is asked by its JID: otherwise a peer
// could call its own machine a proxy to learn who connects. A peer that runs a server can do that
// even so; PeerRelay is for peers that are known. If nothing is
// allowed the negotiation goes through its motions and fails at once.
//
// # Strangers
//
// The port lets in who shows the digest of the session id and the two JIDs (XEP-0065 §7), in
// either order. That is no secret from the servers, and not meant to be: who comes in still has
// to pass TLS. Everybody else is closed without an answer to the request, after 3 seconds at the
// most; of 16 who have not shown anything yet the oldest goes when one more comes.
//
// # Padding on relays
//
// Some proxies (Prosody 0.12's among them) keep the end of a burst, up to 4096 octets, until one
// more octet comes. A request could wait there for ever. Two ends of this package say that they
// know a remedy by an attribute of namespace urn:xmpp:xtls:1 on their <transport/>:
//
//	<transport xmlns='urn:xmpp:jingle:transports:s5b:1' xmlns:x='urn:xmpp:xtls:1' sid='…' x:pad='1'>
//
// Then what goes through a proxy is cut into frames of two octets of length, big-endian, and that
// many octets, 65534 at the most. A length of 0 is padding. It is sent when nothing was written for
// 2 ms, and again ten times later each, up to 20 s: one that merges with the end of the burst is kept
// with it. Direct connections are never framed, and with a stranger nothing is.
//
// A length of 65535 is the end: its sender has closed, reads nothing more, and sends only padding. When
// one end of a connection goes, proxies cut the other one, with what they still have for it if anything
// else comes from there. So who closes stays until the other end has read the end and goes, or has
// closed as well: for 5 seconds at the most, and while no more than 16 MiB come.
//
// # Carriers
//
// Read and Write of a direct carrier go straight to the TCP connection. Nagle's algorithm is off,
// and where the system can (Linux) the kernel is kept from taking more than 128 KiB ahead. A
// carrier is neither encrypted nor authenticated. See package transport for how it ends.
package s5b
