// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

// Package sas lets two people find out with six characters whether anybody is in
// the middle of their tunnel (short authentication string, PROTOCOL.md section 7.1).
//
// A man in the middle has two tunnels, one with each victim, and so two different
// secrets. If both victims derive a number from the secret of their own tunnel
// and read it to each other over a channel she cannot speak on (the telephone, in
// person), the numbers differ and she is found out.
//
// # Why commit, nonce, reveal
//
// A number that people are willing to read is short, and a short number can be
// searched for. The attacker is an end of both tunnels: she finishes one
// handshake, knows its number, and repeats the last step of the other handshake on
// her own machine until its number is the same. Twenty bits take her three
// seconds and her victims see nothing but a slow handshake (a test of this package
// does it to crypto/tls). A slow hash or the certificates in the hash change
// nothing: she knows all that goes in.
//
// So what goes in must be something that she cannot know while she can still
// choose. The initiator draws a nonce and sends a commitment to it; only then
// does the responder draw and send his; only then does the initiator show hers:
//
//	I -> R  COMMIT  c = HMAC(commit key, k ‖ nI)      k: the number of the run
//	R -> I  NONCE   nR
//	I -> R  REVEAL  nI                                R checks c before anything else
//	both    S = HMAC(value key, k ‖ nI ‖ nR)          the code is the first bits of S
//	both    RESULT  what the user said, and a MAC over it
//
// Whoever plays the responder towards an honest initiator must send nR while nI
// is hidden in c. Whoever plays the initiator towards an honest responder has
// fixed nI in c before nR exists. On each tunnel the attacker's part is fixed
// before she sees the honest part, which is uniform; so the two codes are equal
// with probability 2^-n for n bits, whatever she computes and in whichever order she
// lets the messages through. No other order of these messages has that property.
//
// # Why six characters are enough
//
// Because nothing can be searched for offline, the length of the code is only the
// chance of one guess. Six characters of 32 are 30 bits: one in 1,073,741,824. A
// wrong guess shows different codes to the two people, and a run that was begun
// and did not end in a match is counted (3 in a tunnel, 5 a day), so guesses cannot
// be repeated unseen. A computation that takes a year does not help; a hundred bits
// would be needed without the exchange.
//
// # Use
//
// Each end of a tunnel has one [Series], made by [New] from [Keys] that both ends
// derive from the handshake. [Series.Exchange] gives the run that is open, or a new
// one. [Exchange.Start] asks for a run and [Exchange.Step] takes each frame of the
// peer; both return what to send. When [Exchange.Code] has a code, show it, let
// the user type what the other one reads ([Code.Matches]), and tell
// [Exchange.Decide] the result:
//
//	x, err := series.Exchange()
//	reply, err := x.Step(frame)  // *AbortError: send its Frame, the run is over
//	if x.Committed() { ... }     // have the failure counter on disk ...
//	send(reply)                  // ... before this frame leaves
//
// What the package leaves to its caller, because it does no I/O, has no clock and
// knows no other tunnels: sealing and carrying frames, the limits in time
// ([FrameTimeout], [UserTimeout]), the counter that survives a crash
// ([MaxFailuresPerDay]), one run at a time per peer across all tunnels (answer
// others with [Exchange.Abort] and [ReasonBusy]), counting typos, and ending the
// tunnel after a mismatch on either side. The comparison must not go through the
// tunnel that is being verified; say so to the user.
//
// Nothing here is safe for concurrent use: hold a lock over a Series and its
// Exchanges.
//
// The directory models has machine-checked proofs of the exchange.
package sas
