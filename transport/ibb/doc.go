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
// overtake each other; one that exceeds what was sent by more than the announced credit breaks
// the stream. Credit is used only if both ends announced it; a stranger ignores the attribute.
//
// Without credit at most one block is in flight. A receiver whose buffer is full answers
// resource-constraint of type wait and the sender repeats the identical block, with the same
// seq, after a pause (XEP-0047 §2.2 has this for recipient-unavailable and
// remote-server-timeout, which are handled alike with either flow control). It gives up after
// [DeliveryPatience] or [BufferPatience].
//
// # What breaks a stream
//
// A gap or a repetition in seq, text that is not strictly base64 (RFC 4648 §4; XML white space
// is skipped, since the XEP's own examples have it), a block larger than block-size: the stanza
// is answered with the XEP's error, the stream is closed, and Read returns a [ProtocolError]
// once it has delivered what came before. An error answer to an own block is a [RefusedError].
//
// Message stanzas (stanza='message') are refused: they have no answers and so no flow control.
// Further streams of one Jingle session (XEP-0261 §2.4) are not offered and not supported.
//
// The carrier is neither encrypted nor authenticated. See package transport for how it ends.
package ibb
