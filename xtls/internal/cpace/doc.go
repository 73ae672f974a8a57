// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

// Package cpace lets two people who know the same short secret find out, through
// an encrypted tunnel, that nobody sits in the middle of it.
//
// The secret is a one-time code that one of them reads to the other ([NewCode],
// [ParseCode]), or a password they agreed on ([ParsePassword]). It may be short: the
// protocol, CPace (draft-irtf-cfrg-cpace, suite CPACE-X25519-SHA512), is a balanced
// PAKE. Whoever does not know the secret can try one guess per run, by taking part in
// it, and can neither test a second guess against what was said nor search for the
// secret afterwards. The exchange is bound to the tunnel by a session id from its
// exporter and to the two accounts, their certificates and what they negotiated by
// the channel id ([Context]), so that it fails when two tunnels end at a third party.
//
// # The exchange
//
// I, the Jingle initiator, always begins; R, the responder, may ask it to.
//
//	PW_REQUEST  both    run 0  slot                          [Request]
//	PW_A        I -> R  run k  suite, slot, Ya               [Initiate]
//	PW_B        R -> I  run k  Yb, Tb    R proves the secret, I checks
//	PW_C        I -> R  run k  Ta        I proves the secret, R checks
//	PW_OK       R -> I  run k
//	PW_ABORT    both    run k  reason
//
// An [Exchange] is one run of one side. It does no I/O, reads no clock and starts no
// goroutine: each frame that arrives goes to [Exchange.Step], which returns what is to
// be sent.
//
//	e, first, err := cpace.Initiate(pw, run, slot, ctx)   // or Respond
//	count on disk, send first
//	for !e.Done() {
//		reply, err := e.Step(receive())
//		if reply.Counts() { count on disk }
//		if reply != nil { send(reply) }
//		if err != nil { return err }                  // reply was PW_ABORT, or nil
//	}
//	clear the count on disk
//
// # Counting guesses
//
// The guess is what must be limited, so the limit must hold against a peer that
// vanishes, and against crashes. The frame by which a side exposes itself to a guess
// must not leave before the attempt is on disk: PW_A for I, PW_B for R.
// [Frame.Counts] reports which frames these are. Only success clears the count:
// [Exchange.Done], which becomes true for I by PW_OK, and for R by a valid Ta. What is
// counted, and what follows from it, is in [PasswordAttempts] and [CodeAttempts].
//
// # One failure
//
// Wrong secret, other context, point of low order, wrong length, wrong order: all are
// the same [AbortError] and the same octet on the wire. Who learns more than "it did
// not work" learns something to search with, or somebody to blame wrongly.
//
// # What it does not do
//
// It does not carry frames, keep times or store anything. The caller allows one run at
// a time per peer across all sessions, takes a fresh run number for each, gives up
// after 60 seconds without a frame ([Exchange.Abort]), and erases a one-time code
// after success. PROTOCOL.md section 7.2 has the frames.
package cpace
