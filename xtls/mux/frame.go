// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package mux

import (
	"encoding/binary"
	"time"
)

// A frame is a header (version, command, length and stream as little-endian 16 and
// 32 bits) and as many octets as length says.
const (
	version    = 2
	headerSize = 8
	updateSize = 8 // of the payload of an update: octets consumed and window, 32 bits each
)

// The bounds of a session. Those of a peer of another make may be tighter.
const (
	// maxStreams is how many streams that one side opened may be there at once. Open
	// waits for a place; the peer's further ones are refused.
	maxStreams = 128
	// maxRefusals is how many refusals may wait to be sent. A peer that opens streams
	// without hearing that it must not has no use for an answer.
	maxRefusals = 64
	// initialWindow is what a stream may hold unread from the start, as version 2 has it.
	initialWindow = 256 << 10
	// maxWindow bounds the window of one stream: at 1 GB/s it covers a round trip of
	// 4 ms, at 100 ms it allows 40 MB/s.
	maxWindow = 4 << 20
	// maxGrowth bounds what the windows of all streams have grown together. The most
	// that a session holds is 2 x maxStreams x initialWindow + maxGrowth, 72 MiB.
	maxGrowth = 8 << 20
	// maxUpdate bounds the window that a peer may announce.
	maxUpdate = 1 << 30
)

// How much is handed to the tunnel at once.
const (
	// recordOverhead is what TLS 1.3 adds to a record (RFC 8446 §5.2).
	recordOverhead = 22
	// frameSize is the most that one frame of data carries: with both headers it
	// fills one block of 4096 octets.
	frameSize = 4096 - recordOverhead - headerSize
	// oneFrame is a batch with one full frame, fullBatch one that still fits one record.
	oneFrame  = headerSize + frameSize
	fullBatch = 4 * oneFrame
	// shortFrame is a batch for paths on which a full frame takes longer than slowly; the
	// blocks of transport/ibb become shorter there, too.
	shortFrame = 3072 - recordOverhead
	slowly     = 250 * time.Millisecond
	// leastRoom is the room in a batch below which no frame of data is begun.
	leastRoom = 256
	// quickly is how long a batch may take to leave if the next one shall be larger.
	quickly = time.Millisecond
)

// A command says what a frame is.
type command byte

const (
	cmdOpen   command = iota // SYN
	cmdFinish                // FIN: everything was sent
	cmdData                  // PSH
	cmdNone                  // NOP
	cmdUpdate                // UPD: how much was consumed, and the window from there
	// Not of smux:
	cmdStop  // the sender reads no more
	cmdReset // the sender broke off: what it sent is not everything
)

// A header is that of a frame.
type header struct {
	version byte
	cmd     command
	length  int
	id      uint32
}

func parseHeader(b []byte) header {
	return header{b[0], command(b[1]), int(binary.LittleEndian.Uint16(b[2:])), binary.LittleEndian.Uint32(b[4:])}
}

func appendHeader(b []byte, cmd command, length int, id uint32) []byte {
	b = append(b, version, byte(cmd))
	b = binary.LittleEndian.AppendUint16(b, uint16(length))
	return binary.LittleEndian.AppendUint32(b, id)
}

func appendUpdate(b []byte, id, consumed, window uint32) []byte {
	b = appendHeader(b, cmdUpdate, updateSize, id)
	b = binary.LittleEndian.AppendUint32(b, consumed)
	return binary.LittleEndian.AppendUint32(b, window)
}
