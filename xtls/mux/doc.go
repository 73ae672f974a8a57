// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

// Package mux carries many streams in one tunnel. Each [Stream] is a [net.Conn] of
// its own, with half-close, deadlines and an end that cannot be mistaken.
//
//	session := mux.Client(conn)      // conn is a net.Conn, such as an *xtls.Conn
//	stream, err := session.Open(ctx) // at the other end: mux.Server(conn), Accept(ctx)
//
// Setting up a tunnel takes several round trips through the servers, a stream takes
// none: Open does not wait for the peer. So a program that needs many connections to
// one peer, such as a port forwarder, opens one tunnel and many streams.
//
// # Nobody waits behind a large transfer
//
// A tunnel through XMPP servers may move 7 kB/s. What was once handed to it leaves
// before everything that comes later, so nothing is handed over that need not be: one
// frame at a time, at most 4066 octets, which with its header and that of the TLS
// record fills one block of 4096 (XEP-0047). Only while the path takes frames faster
// than they are made, up to four go together. The next frame is chosen at the last
// moment: streams with little to send go first, all others in turn by octets.
// A keystroke therefore waits for the frame that is leaving and for what the carrier
// below holds, however many large transfers run in both directions.
//
// # A stream that nobody reads
//
// Every stream has a window: how much the peer may send before it was read. It starts
// at 256 KiB, and doubles up to 4 MiB while the reader keeps up with the path, so
// that a fast path with a long way is filled. A reader that stalls stops its own
// stream only: the windows of all streams together are what a session is ready to
// hold, so it never has to stop reading from the tunnel.
//
// # The end
//
// Read returns [io.EOF] only if the peer said that it has sent everything, by
// [Stream.CloseWrite] or [Stream.Close]. If the tunnel ends before, whichever way,
// the error is [io.ErrUnexpectedEOF], together with that of the tunnel if it has one.
// A peer that cannot send what it promised says so with [Stream.Abort]; that is
// [ErrReset] and io.ErrUnexpectedEOF.
//
// # A hostile peer
//
// A session holds at most 128 streams from each side and 72 MiB of data that this
// end has not read. Streams beyond are refused; a peer that ignores windows, uses
// unknown frames, or goes on after being refused, ends the session with
// [ErrProtocol]. There is no keep-alive: a tunnel has a heartbeat, and a second one
// on top would cost stanzas and find out nothing new.
//
// # On the wire
//
// Frames are those of version 2 of smux (github.com/xtaci/smux), and two more that it
// lacks: "I read no more" and "I broke off". smux itself is not used: in v1.5.56 data
// that arrives after a half-close is thrown away and the reader told that all is
// well, what the acceptor sends at once may be lost, and a write that times out
// leaves the caller's buffer in the queue. PROTOCOL.md, section "Streams in a tunnel", has the format.
package mux
