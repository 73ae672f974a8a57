// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package dtls

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// offsetSize is the length of the stream offset in front of each record's data.
const offsetSize = 8

var (
	errNoOffset = errors.New("record without a stream offset")
	errAfterEnd = errors.New("data after the end of the stream")
)

// appendFrame appends the plaintext of one record: the offset of data in the stream, and
// data. Without data it says that the stream ends there.
func appendFrame(dst []byte, offset uint64, data []byte) []byte {
	return append(binary.BigEndian.AppendUint64(dst, offset), data...)
}

// An inbound checks the frames of one direction.
type inbound struct {
	offset uint64 // of the next octet
	ended  bool
}

// take returns the data of the next frame, io.EOF if it says that the stream ends. Any
// other error means that the sender, who is authentic, or what it runs on, is broken:
// nothing is then taken.
func (s *inbound) take(frame []byte) ([]byte, error) {
	if len(frame) < offsetSize {
		return nil, errNoOffset
	}
	offset, data := binary.BigEndian.Uint64(frame), frame[offsetSize:]
	switch {
	case s.ended:
		return nil, errAfterEnd
	case offset != s.offset:
		return nil, fmt.Errorf("data for offset %d of the stream, want %d", offset, s.offset)
	case len(data) == 0:
		s.ended = true
		return nil, io.EOF
	}
	s.offset += uint64(len(data)) // 2^64 octets take longer than the sequence numbers last
	return data, nil
}
