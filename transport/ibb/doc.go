// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

// Package ibb is the Jingle transport method that works everywhere: octets in stanzas.
//
// It implements In-Band Bytestreams (XEP-0047) and their Jingle transport (XEP-0261). Make a
// [Transport] with [New], install it in the XMPP session's multiplexer with [Handle], and give
// it to whoever negotiates Jingle sessions; [Transport.Connect] yields a [Conn].
//
// # What travels
//
//	initiator                                      responder
//	   | session-initiate <transport block-size sid/>  |
//	   |---------------------------------------------->|
//	   | session-accept   <transport block-size sid/>  |   block-size may only shrink
//	   |<----------------------------------------------|   the stream is registered before this
//	   | iq set <open block-size sid/>                 |
//	   |---------------------------------------------->|   result: ready at both ends
//	   | iq set <data seq sid>BASE64</data>            |
//	   |<--------------------------------------------->|   a result for each block
//	   | iq set <close sid/>                           |
//	   |<--------------------------------------------->|
//
// One block-size governs both directions. Every stanza is matched by its sender's full JID and
// the sid; anybody else who uses the sid is told item-not-found.
//
// # Flow control
//
// Two ends of this package use credit (namespace urn:xmpp:xtls:1): each says in its
// <transport/> how many octets it can buffer, and every result of a block says up to which
// stream offset the sender may go:
//
//	<transport xmlns='urn:xmpp:jingle:transports:ibb:1' xmlns:x='urn:xmpp:xtls:1'
//	           block-size='4096' sid='ib7q' x:credit='262144'/>
//	<iq type='result' …><credit xmlns='urn:xmpp:xtls:1' sid='ib7q' limit='266240'/></iq>
//
// Offsets count octets of payload from 0, per direction. When the sender may have nothing left
// to send within its limit (less than one block) and space appeared, the receiver sends an IQ
// set with the same element. A limit lower than one already known is ignored, since answers may
// overtake each other; one that exceeds what was sent by more than [MaxWindow], or what was
// announced if that is more, breaks the stream. Credit is used only if both ends announced it; a
// stranger ignores the attribute.
//
// A receiver announces [FirstWindow] at most and lets its window grow, up to
// Config.ReceiveBuffer, each time that its reader kept up with a whole one: a fast and long path
// needs more than a slow reader should fill.
//
// Without credit at most one block is in flight. A receiver whose buffer is full answers
// resource-constraint of type wait and the sender repeats the identical block, with the same
// seq, after a pause (XEP-0047 §2.2 has this for recipient-unavailable and
// remote-server-timeout, which are handled alike with either flow control). It gives up after
// [DeliveryPatience] or [BufferPatience].
//
// # How much is in flight
//
// With credit, a sender finds out by itself how much of a stream may be unacknowledged and how
// large its blocks should be, from nothing but the times of acknowledgements. It begins with one
// block of 4096 octets and doubles what is in flight as long as round trips do not become longer,
// or the rate grows by a quarter at least. Then it holds what was best, and now and then tries
// more: twice as much where no queue shows or nobody would notice one, else a quarter; less if
// round trips are longer than they could be; and blocks four times as large, or as small. A trial is
// a measurement of a few round trips; what it tried stays only if it was worth its delay, and what
// failed is tried again later and later. A trial of more than the peer gives credit for goes on with
// that. When round trips become much longer and stay so, what is in flight
// is halved at once, and nothing is sent until no more of it stands in a queue than the path
// needs. From two blocks on it tries up to eight before it believes that more are no use, since TCP may
// take a round trip more for three. Nothing is judged in the first round trips after a pause, while the TCP connections on
// the way find their own rate again.
//
// On a path that has a rate and a length, that is rate times round trip: 250 blocks through
// a server 200 ms away that carries 5 MB/s.
//
// A server that limits the rate (10 kB/s is usual) lets a few blocks pass at once and then one
// every half second. Where a block takes so long blocks are of 3072 octets. One is in flight, and
// Write takes two before it waits, so that what is written next, by whoever, is there within two
// seconds and the limit is used up all the same.
//
// A server without limits carries what its ways of reading and writing allow, which no formula
// tells: Prosody slows down when it is pushed and suffers from blocks of 8192 octets, ejabberd
// becomes faster with either. A few blocks of 4096 octets are found for the
// former, large blocks for the latter.
//
// The streams of one session together have at most 900 blocks unacknowledged, see
// [MaxUnanswered], and one each of up to 50 that have none: a peer that answers nothing does not keep
// the streams with others from going on. Their receive windows together grow by 32 MiB at most. If the session takes no more nevertheless, its answer is one of type wait and
// the stream pauses.
//
// # Blocks that are too large
//
// If a block is refused with policy-violation, or with resource-constraint or not-acceptable of type
// modify, it was too large for somebody on the way. A refused block has not been processed, so
// its seq is still the next one at the peer. The sender waits for all answers, takes back what was
// refused, and sends the same octets again in blocks of at most half the size, or of the last one that
// passed if the refused one was on trial, the first of them with the seq of the refused one: never the same stanza, and never such a large one again. Below
// 256 octets, or with messages, which cannot be cut, the stream breaks. A block larger than any
// that has passed has nothing behind it in flight, since that would be a gap for the peer.
// A server that ends the whole XMPP stream instead cannot be told from one that fails.
//
// # What breaks a stream
//
// A gap or a repetition in seq, text that is not strictly base64 (RFC 4648 §4; XML white space
// is skipped, since the XEP's own examples have it), a block larger than block-size: the stanza
// is answered with the XEP's error, the stream is closed, and Read returns a [ProtocolError]
// once it has delivered what came before. Any other error answer to an own block than those
// above is a [RefusedError].
//
// Message stanzas (stanza='message') are refused: they have no answers and so no flow control.
// Further streams of one Jingle session (XEP-0261 §2.4) are not offered and not supported.
//
// The carrier is neither encrypted nor authenticated. See package transport for how it ends.
package ibb
