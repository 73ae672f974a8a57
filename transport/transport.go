// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

// Package transport says how a Jingle session gets a raw connection.
//
// A [Method] (XEP-0166 §3 calls it a transport method) negotiates with the peer through
// a [Signal] and hands out a carrier: a [net.Conn] that moves octets, or blocks of octets,
// and promises nothing about who reads or alters them on the way. Whoever asked for it
// runs TLS or DTLS inside. The methods live below this package: transport/ibb carries the
// octets inside XMPP stanzas and works everywhere, transport/s5b over TCP, from one end to
// the other or through a proxy, where that can be had.
//
// # Carriers, not tunnels
//
// A carrier's life is not the tunnel's. Today one tunnel has one carrier; later one carrier
// may be replaced by another under a living tunnel (in-band first, direct when found, in-band
// again after a reconnect). So nothing here knows what runs above it, and nothing above may
// take the end of a carrier for the end of what it carries.
//
// # The end of a carrier
//
// Read of a carrier never returns [io.EOF] nor an error that wraps it: TLS would take a line
// that was cut for one that was closed, and a server in the middle can cut at will. The
// peer's own, unauthenticated, close is [ErrClosedByPeer]; everything else is another error.
// Only an end that was authenticated inside the carrier is an end.
//
// A carrier whose two directions end apart has a method CloseWrite as well: who knows from
// elsewhere that the peer has closed calls it, and reads what is still under way.
//
// A carrier that can tell a path that is dead from a peer that takes its time has a method
// Unheard, which returns for how long what was written has been without any sign of arrival.
//
// Close of a carrier may wait, for a bounded time, until what was written has gone out.
// [Conn.Abort] gives a carrier up at once.
package transport

import (
	"context"
	"encoding/xml"
	"errors"
	"net"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

// ErrClosedByPeer is returned by Read, once everything that came before was read, and by
// Write, when the peer's end of the carrier closed it. It is neither io.EOF nor net.ErrClosed
// (which means that the own end was closed). The close was not authenticated: a server can
// forge it.
var ErrClosedByPeer = errors.New("transport: closed by peer")

// A Method is one Jingle transport method. Its methods may be called concurrently.
type Method interface {
	// Namespace is that of the method's <transport/> element, e.g. urn:xmpp:jingle:transports:ibb:1.
	Namespace() string

	// Connect negotiates n and returns a carrier, which is a [Conn], neither encrypted nor authenticated.
	// ctx governs only the negotiation. If Connect fails nothing of n is left behind.
	Connect(ctx context.Context, n *Negotiation) (Conn, error)
}

// A Path is the way that a carrier's octets take.
type Path string

const (
	// InBand: inside XMPP stanzas, through the servers.
	InBand Path = "inband"
	// Relay: through a proxy that both ends connect to (XEP-0065 §5).
	Relay Path = "relay"
	// Direct: from one end to the other.
	Direct Path = "direct"
)

// A Conn is a carrier.
type Conn interface {
	net.Conn

	// Path says which way the octets take.
	Path() Path

	// Abort gives the carrier up at once: nothing is flushed and nobody is waited for. What has
	// arrived can still be read, then Read fails with err, and Write fails with it at once. err is
	// neither nil nor io.EOF. A carrier that has ended already stays as it is. Close is still due.
	Abort(err error)
}

// A Negotiation is what a Method needs to know to get one carrier.
type Negotiation struct {
	// Peer is the full JID of the other end. Required.
	Peer jid.JID

	// Initiator is true at the end that initiated the Jingle session.
	Initiator bool

	// Messages asks for a carrier that preserves messages, as DTLS needs it: one Write is one
	// Read at the other end. False asks for a stream.
	Messages bool

	// Direct allows telling the peer this end's addresses and connecting to the peer's. Relay
	// allows relays: one is chosen by either end and sees the addresses of both. An address is
	// private, so a peer that is not known gets neither. Methods that need no address ignore both.
	Direct, Relay bool

	// PeerRelay allows relays that only the peer names as well. Who runs one learns this end's
	// address, and that may be the peer. It has no meaning without Relay, and Direct includes it.
	PeerRelay bool

	// Signal carries this negotiation's <transport/> elements. Required.
	Signal Signal
}

// A Signal carries the <transport/> payloads of one negotiation. The first one sent goes into
// session-initiate or session-accept, later ones into transport-info. The initiator sends
// first, the responder receives first.
type Signal interface {
	// Send sends one rendered <transport/> element with its namespaces declared. payload is not kept.
	Send(ctx context.Context, payload []byte) error

	// Recv returns the next <transport/> element of the peer, from its start tag to its end tag.
	Recv(ctx context.Context) (xml.TokenReader, error)
}

// Stanzas is what a Method needs of an XMPP session. Stanzas handed over by one goroutine
// leave in that order. All methods may be called concurrently.
type Stanzas interface {
	// LocalAddr is the full JID of the own end.
	LocalAddr() jid.JID

	// Request sends an IQ of type get or set to the full JID to and waits for the answer.
	// payload is exactly one XML element, rendered, with its namespaces declared; it is not
	// kept. The reader yields the payload of the result (nothing if it was empty) and is
	// independent of the connection. An error answer is returned as a stanza.Error. Any other
	// error means that no answer came: ctx ended, the session ended, or it took too long.
	Request(ctx context.Context, typ stanza.IQType, to jid.JID, payload []byte) (xml.TokenReader, error)

	// Go is Request without waiting: it queues the stanza and returns. done is called exactly
	// once, from any goroutine, possibly before Go returns; it must not block. reply is only
	// valid during the call. An implementation bounds how long an answer may take (30 s).
	Go(typ stanza.IQType, to jid.JID, payload []byte, done func(reply xml.TokenReader, err error))
}
