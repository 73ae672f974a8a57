// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"crypto/tls"
	"fmt"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
)

// A Level says how much is known about who holds the other end of a tunnel.
// Levels rise by decisions of the own user only, never by anything the peer or a
// server says.
type Level int

const (
	// LevelNone is the zero value: nothing is known.
	LevelNone Level = iota
	// LevelServerVouched: both certificates are the ones named in the negotiation. As
	// good as the servers that carried it: they could have put their own there.
	LevelServerVouched
	// LevelPinned: the same key as in an earlier tunnel, whose first use was only
	// vouched for by the servers. Nobody new is in the middle.
	LevelPinned
	// LevelCA: an authority that the user named ([Config].Authorities) has certified that
	// the key belongs to the peer's JID.
	LevelCA
	// LevelVerified: the user has compared the key with the peer outside XMPP.
	LevelVerified
)

// String returns the word used in texts, flags and JSON: "none", "vouched",
// "pinned", "ca" or "verified".
func (l Level) String() string {
	switch l {
	case LevelNone:
		return "none"
	case LevelServerVouched:
		return "vouched"
	case LevelPinned:
		return "pinned"
	case LevelCA:
		return "ca"
	case LevelVerified:
		return "verified"
	default:
		return fmt.Sprintf("Level(%d)", int(l))
	}
}

// ParseLevel is the inverse of [Level.String] for the levels a tunnel can have.
func ParseLevel(s string) (Level, error) {
	for _, l := range []Level{LevelServerVouched, LevelPinned, LevelCA, LevelVerified} {
		if s == l.String() {
			return l, nil
		}
	}
	return LevelNone, fmt.Errorf("xtls: unknown level %q: want vouched, pinned, ca or verified", s)
}

// A State describes an established tunnel.
type State struct {
	Peer        jid.JID                 // full JID of the other end
	Initiator   bool                    // this end dialled
	App         App                     // what the tunnel carries
	Fingerprint fingerprint.Fingerprint // of the peer's certificate, proven in the handshake
	Level       Level                   // what that key is known to be
	Method      string                  // how the level was reached: "signalling", or a method of the known_peers file such as "tofu"
	First       time.Time               // when the key was first seen; zero on first contact
	Verified    time.Time               // when it was verified; zero if never
	Draft       bool                    // the peer speaks the plain draft: no binding, no confirmation (PROTOCOL.md section 8)
	TLSVersion  uint16                  // tls.VersionTLS13 or VersionDTLS12; see Protocol
	Group       tls.CurveID             // key exchange of the handshake
	Transport   string                  // how the octets travel: "inband", "relay" or "direct"
	Detour      string                  // why it is not a better way: what was tried before, and failed
}

// Protocol names what protects the tunnel: "TLS 1.3" or "DTLS 1.2".
func (s State) Protocol() string {
	if s.TLSVersion == VersionDTLS12 {
		return "DTLS 1.2"
	}
	return tls.VersionName(s.TLSVersion)
}

// PostQuantum reports whether the key exchange resists a quantum computer that
// has recorded the tunnel. DTLS 1.2 has no such key exchange.
func (s State) PostQuantum() bool {
	switch s.Group {
	case tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024:
		return true
	default:
		return false
	}
}
