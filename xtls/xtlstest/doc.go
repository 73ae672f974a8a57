// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

// Package xtlstest is to XTLS what net/http/httptest is to net/http: an XMPP
// server in one process, on loopback TCP with TLS, to try clients on.
//
//	s := xtlstest.NewServer(t, xtlstest.Config{Accounts: map[string]string{"alba": "secret"}})
//	conn, err := tls.Dial("tcp", s.DirectAddr(), s.ClientTLS())
//
// [Start] does the same outside of tests. Two ports listen: at [Server.Addr] a
// client must ask for STARTTLS, at [Server.DirectAddr] TLS comes first
// (XEP-0368). Both show a throw-away certificate that [Server.CA] vouches for.
// There is no way to log in without TLS.
//
// # What it does
//
// Clients log in with SASL PLAIN and bind a resource (RFC 6120). Stanzas are
// then routed by RFC 6121 §8.5 between the accounts of the one domain, with the
// true sender stamped on each. The server itself answers pings, service
// discovery and the roster request of a client (the roster is always empty).
// Directed presence is passed on, and taken back when a client goes away. The SOCKS5
// relay proxy.DOMAIN (XEP-0065) joins two clients ([Config.Proxy], [Server.ProxyAddr]).
//
// # What it does not do
//
// It is a server to try things out on, not to run for others: nothing is stored,
// accounts live in memory, there are no rosters and no presence subscriptions
// (a request gets feature-not-implemented), no other servers, no message
// archive and no stream management. SASL PLAIN is the only mechanism.
//
// # Being difficult
//
// [Config] makes the server slow ([Config.RateLimit], [Config.Latency]), narrow
// ([Config.StanzaLimit]) and unreliable ([Config.DropAfter], [Server.Kill]).
// A [Tamper] makes it dishonest: it sees each stanza between two clients and says
// what is delivered instead. Ready-made ones are [StripSecurity],
// [SwapFingerprint], [StripBinding], [DropMethod], [RedirectService], [Replay],
// [Reorder], [Drop], [FlipBit] and [Truncate]; [Server.AddShadow] puts a client of
// one's own between two others, which is what a hostile server can always do.
//
// # Hostile clients
//
// The server holds against clients that mean ill: every stanza, depth, queue and
// wait is bounded, XML is parsed strictly and written anew, so that nothing
// malformed reaches another client, and each breach ends with the stream error
// that RFC 6120 §4.9 names for it.
//
// It negotiates streams itself and uses mellium.im/xmpp for addresses and errors
// only: that library's receiving side ends a failed negotiation without a stream
// error, takes white space between two elements of it for a mistake, sets no bounds
// on what a client sends, and offers no way to tell a comment from a syntax error.
package xtlstest
