// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package dtls

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"
)

// extensionALPN is application_layer_protocol_negotiation (RFC 7301).
const extensionALPN = 16

var errHello = errors.New("malformed hello")

// clientProtocols returns the application protocols that a ClientHello offers.
func clientProtocols(body []byte) ([]string, error) {
	s := cryptobyte.String(body)
	var skipped cryptobyte.String
	if !s.Skip(2+32) || // version, random
		!s.ReadUint8LengthPrefixed(&skipped) || // session id
		!s.ReadUint8LengthPrefixed(&skipped) || // cookie
		!s.ReadUint16LengthPrefixed(&skipped) || // suites
		!s.ReadUint8LengthPrefixed(&skipped) { // compression methods
		return nil, errHello
	}
	return protocols(s)
}

// serverProtocols returns the application protocol that a ServerHello names, if any.
func serverProtocols(body []byte) ([]string, error) {
	s := cryptobyte.String(body)
	var skipped cryptobyte.String
	if !s.Skip(2+32) || !s.ReadUint8LengthPrefixed(&skipped) || !s.Skip(2+1) { // …, session id, suite, compression
		return nil, errHello
	}
	return protocols(s)
}

// protocols reads the extensions of a hello. Two of ALPN are refused: which one counts?
func protocols(s cryptobyte.String) (names []string, err error) {
	if s.Empty() {
		return nil, nil
	}
	var extensions cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&extensions) || !s.Empty() {
		return nil, errHello
	}
	seen := false
	for !extensions.Empty() {
		var typ uint16
		var data, list cryptobyte.String
		if !extensions.ReadUint16(&typ) || !extensions.ReadUint16LengthPrefixed(&data) {
			return nil, errHello
		}
		if typ != extensionALPN {
			continue
		}
		if seen || !data.ReadUint16LengthPrefixed(&list) || !data.Empty() || list.Empty() {
			return nil, errHello
		}
		seen = true
		for !list.Empty() {
			var name cryptobyte.String
			if !list.ReadUint8LengthPrefixed(&name) || name.Empty() {
				return nil, errHello
			}
			names = append(names, string(name))
		}
	}
	return names, nil
}
