// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

// Package fingerprint names certificates and remembers whose they are.
//
// The servers between two XMPP clients can put their own certificates in the middle of a tunnel. What stops them is a key known from before,
// or checked by the two users. This package holds the three things that needs:
//
//   - [Fingerprint] is the name of a certificate: the SHA-256 of its DER form. [Of] computes it, [Parse] reads it as people write
//     it. [Digest] is the wider family of digests that peers announce in Jingle, with [CheckDigests] to judge a certificate by them.
//   - [OpenIdentity] loads the own certificate and key, or makes them on first use. [XMPPAddrs] and [CheckKey] judge a peer's.
//   - [Store] is the file known_peers. [Store.Check] asks it, [Store.Pin] adds to it. Beside keys it keeps a few facts about peers, each a
//     [Peer]: [Store.Peer] and [Store.ChangePeer].
//
// For most uses the two calls are [Store.Check] on the fingerprint of the handshake's certificate, and [Store.Pin] once the user has decided.
// A digest that came in signalling proves nothing: it came through the servers.
//
// The package opens no connections, compares no codes and decides nothing: what to do about an unknown or changed key is up to the
// caller. It keeps no secret but the identity's private key. Sources: xtls/PROTOCOL.md sections 4, 6 and 7, RFC 6120 §13.7.
//
// # The file known_peers
//
// It is text, made to be read and edited by hand and to be kept under version control. Each line is empty, a comment from # on, one key of
// one peer, or what is known of a peer whatever its key:
//
//	# met at the congress
//	bob@example.net sha-256:4fb63…73e4 verified sas first=2026-11-20 last=2026-11-21 verified=2026-11-20 "bob laptop"
//	bob@example.net sha-256:03d77…91c2 revoked tofu first=2026-11-21 last=2026-11-21
//	bob@example.net peer required interrupted=1 sas-failed=2/2026-11-20 # rang off twice
//
// Blanks separate the fields. Those of a key are:
//
//   - the bare address of the peer;
//   - the fingerprint, in any form that [Parse] reads, without blanks;
//   - the [Level]: pinned (was there before, never checked), ca (certified by an authority that the user chose), verified, or revoked
//     (refuse it);
//   - the [Method] by which it got there: tofu, sas, password, fingerprint or ca. The method tofu verifies nothing;
//   - then in any order: first=, last= and verified= with a day (UTC); a label in double quotes; attributes, as key=value or
//     just key, which this package keeps and gives no meaning; # and a comment.
//
// Those of a peer are its bare address, the word peer in the place of the key, and then in any order what applies:
//
//   - required: it has used XTLS, so an offer without is refused;
//   - disputed= and the day on which a comparison ended in a mismatch;
//   - interrupted= and the number of verifications that ended without a result;
//   - sas-failed= with the number of failed comparisons on one day, a slash, and the day: 2/2026-11-20;
//   - password-failed= and password-total= with the number of runs that failed in a row and in all;
//   - password-locked= and the time until which there may be no further one, like 2026-11-20T12:00:00Z;
//   - attributes, and # and a comment, as above.
//
// A peer has one such line or none, with or without keys. To lift a lock or a dispute by hand, remove the field.
//
// Text with blanks or signs that do not print stands in double quotes, escaped as in Go; so does an address that starts with #. A key
// stands in one line only: one key is never two people. A change rewrites the lines it concerns and keeps all others as they
// are, in their order. Everything else is an error that names the line, levels and methods of a later version too: what is not understood
// must not make a known peer look unknown. A later fact that must not be overlooked by this version is therefore a new level, any
// other an attribute.
//
// Changes are made under a lock on the file known_peers.lock beside it. The new content is written to known_peers.tmp, synced and
// renamed, so the file is never half written.
package fingerprint
