// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package dtls

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
)

const (
	// headerSize is that of a record (RFC 6347 §4.1): type, version, epoch, sequence
	// number of 48 bits, length.
	headerSize = 13
	// maxDatagram is the longest message on the carrier, in octets, both ways. pion takes
	// no longer ones, so no peer may send them.
	maxDatagram = 8192
	// maxSeq is the last sequence number of an epoch. Nothing rekeys: a connection ends
	// there, after 2^48 records.
	maxSeq = 1<<48 - 1
)

// Content types.
const (
	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
	typeData             = 23
)

const (
	version12 = 0xfefd
	version10 = 0xfeff // what the record of a ClientHello or HelloVerifyRequest may say (RFC 6347 §4.2.1)
)

// A record is one record as it is on the carrier.
type record struct {
	typ     byte
	version uint16
	epoch   uint16
	seq     uint64
	raw     []byte // header and body
}

func (r record) body() []byte { return r.raw[headerSize:] }

var errMalformed = errors.New("malformed record")

// nextRecord cuts the first record off a datagram.
func nextRecord(datagram []byte) (r record, rest []byte, err error) {
	if len(datagram) < headerSize {
		return record{}, nil, errMalformed
	}
	size := headerSize + int(binary.BigEndian.Uint16(datagram[11:]))
	if len(datagram) < size || size == headerSize {
		return record{}, nil, errMalformed
	}
	seq := binary.BigEndian.Uint64(datagram[3:]) // epoch and sequence number
	r = record{
		typ:     datagram[0],
		version: binary.BigEndian.Uint16(datagram[1:]),
		epoch:   uint16(seq >> 48),
		seq:     seq & maxSeq,
		raw:     datagram[:size],
	}
	first := r.raw[headerSize]
	hello := r.epoch == 0 && r.typ == typeHandshake && (first == clientHello || first == helloVerifyRequest)
	if r.version != version12 && (r.version != version10 || !hello) {
		return record{}, nil, errMalformed
	}
	return r, datagram[size:], nil
}

// outOfOrder says what is wrong with a sequence number.
func outOfOrder(got, want uint64) error {
	if got < want {
		return fmt.Errorf("record %d was repeated", got)
	}
	return fmt.Errorf("record %d came where %d was due: records were lost or reordered", got, want)
}

// localError wraps what this end found wrong with what it received, remoteError what the
// peer reported, in the form that crypto/tls has for both.
func localError(err error) error { return &net.OpError{Op: "local error", Net: "dtls", Err: err} }

func remoteError(err error) error { return &net.OpError{Op: "remote error", Net: "dtls", Err: err} }
