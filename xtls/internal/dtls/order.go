// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package dtls

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Handshake messages (RFC 5246 §7.4, RFC 6347 §4.3.2). start is none of them: nothing has
// been sent yet.
const (
	start              = 0
	clientHello        = 1
	serverHello        = 2
	helloVerifyRequest = 3
	certificate        = 11
	serverKeyExchange  = 12
	certificateRequest = 13
	serverHelloDone    = 14
	certificateVerify  = 15
	clientKeyExchange  = 16
)

// follows reports whether message b may come after a. In this profile all messages are
// mandatory, so there is one order only.
func follows(a, b byte) bool {
	switch a {
	case start:
		return b == clientHello || b == helloVerifyRequest || b == serverHello
	case helloVerifyRequest:
		return b == helloVerifyRequest || b == serverHello
	case serverHello:
		return b == certificate
	case clientHello:
		return b == clientHello || b == certificate
	case serverKeyExchange:
		return b == certificateRequest
	case certificateRequest:
		return b == serverHelloDone
	case clientKeyExchange:
		return b == certificateVerify
	default:
		return false
	}
}

const (
	// fragmentHeader is what stands before each fragment of a message (RFC 6347 §4.2.2).
	fragmentHeader = 12
	// maxMessage bounds one message, in octets. A certificate has about 500.
	maxMessage = 16 << 10
)

var errOrder = errors.New("handshake message out of order")

// An order watches the peer's plaintext handshake messages: each must be the one that is
// due, fragments must follow each other without gap or overlap. (pion keeps whatever comes,
// in whatever order, until something fits.)
type order struct {
	fromClient bool                           // the peer is the client
	inspect    func(typ byte, b []byte) error // looks at each complete message

	last byte   // type of the last complete message
	next uint16 // number of the message that is due or under way
	typ  byte   // of the message under way
	size int    // of that message
	body []byte // what has come of it; nil if none is under way
	ccs  bool   // ChangeCipherSpec came
}

// take looks at the body of a handshake record. It reports whether the record has
// something new in it, and not only what was sent before and is being repeated.
func (o *order) take(b []byte) (fresh bool, err error) {
	repeated := false
	for len(b) > 0 {
		if len(b) < fragmentHeader {
			return false, errMalformed
		}
		size := fragmentHeader + uint24(b[9:])
		if len(b) < size {
			return false, errMalformed
		}
		if binary.BigEndian.Uint16(b[4:]) < o.next {
			repeated = true
		} else {
			fresh = true
			if err := o.fragment(b[:size]); err != nil {
				return false, err
			}
		}
		b = b[size:]
	}
	if fresh && repeated {
		return false, errOrder
	}
	return fresh, nil
}

// fragment takes a fragment of a message that was not complete before.
func (o *order) fragment(b []byte) error {
	typ, size, data := b[0], uint24(b[1:]), b[fragmentHeader:]
	if o.body == nil {
		if !o.due(typ) || size > maxMessage {
			return fmt.Errorf("%w: type %d, %d octets, after type %d", errOrder, typ, size, o.last)
		}
		o.typ, o.size, o.body = typ, size, make([]byte, 0, min(size, maxDatagram))
	}
	if binary.BigEndian.Uint16(b[4:]) != o.next || typ != o.typ || size != o.size ||
		uint24(b[6:]) != len(o.body) || len(o.body)+len(data) > size || len(data) == 0 && size > 0 {
		return fmt.Errorf("%w: fragment of type %d does not continue the message", errOrder, typ)
	}
	if o.body = append(o.body, data...); len(o.body) < size {
		return nil
	}
	body := o.body
	o.last, o.body = typ, nil
	o.next++
	return o.inspect(typ, body)
}

// due reports whether a message of this type may come now.
func (o *order) due(typ byte) bool {
	switch {
	case o.ccs:
		return false
	case o.last == certificate && o.fromClient:
		return typ == clientKeyExchange
	case o.last == certificate:
		return typ == serverKeyExchange
	case o.last == start && o.fromClient != (typ == clientHello):
		return false
	default:
		return follows(o.last, typ)
	}
}

// changeCipherSpec takes a record of that type. fresh is false if it repeats the first.
func (o *order) changeCipherSpec(b []byte) (fresh bool, err error) {
	last := byte(serverHelloDone)
	if o.fromClient {
		last = certificateVerify
	}
	if len(b) != 1 || b[0] != 1 || o.last != last {
		return false, errOrder
	}
	fresh, o.ccs = !o.ccs, true
	return fresh, nil
}

func uint24(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }
