// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"

	"mellium.im/xmpp/jid"
)

// The SOCKS5 of XEP-0065 §7: version 5, no authentication, CONNECT to a "domain name" that is the
// digest, port 0. Everything else is refused, by the client and by the server.
const (
	socksVersion = 5
	socksNoAuth  = 0
	socksConnect = 1
	socksDomain  = 3
	socksIPv4    = 1
	socksIPv6    = 4

	digestLen  = 2 * sha1.Size                  // in hexadecimal digits
	requestLen = 4 + 1 + digestLen + 2          // of a request and of its answer
	greetLen   = 2 + 255                        // of the longest greeting
	noPort     = "\x00\x00"                     // DST.PORT
	greeting   = "\x05\x01\x00"                 // one method: none
	greeted    = "\x05\x00"                     // agreed
	connectHdr = "\x05\x01\x00\x03\x28"         // CONNECT, domain, 40 octets
	successHdr = "\x05\x00\x00\x03\x28"         // the same address comes back
	socksRule  = "XEP-0065 §7, RFC 1928 §3, §4" // of violations
)

// A digest is a DST.ADDR: it names a bytestream and lets in who knows it.
type digest [digestLen]byte

// newDigest is the hexadecimal SHA-1 of the sid and the full JIDs of the end that offers a
// candidate and the other one (XEP-0260 §2.2).
func newDigest(sid string, offerer, other jid.JID) (d digest) {
	sum := sha1.Sum([]byte(sid + offerer.String() + other.String()))
	hex.Encode(d[:], sum[:])
	return d
}

func (d digest) String() string { return string(d[:]) }

// equal takes the same time whatever differs.
func (d digest) equal(e digest) bool { return subtle.ConstantTimeCompare(d[:], e[:]) == 1 }

// socksDial is the client's part on c: it returns when the server has agreed to connect to d. It
// reads no octet of what follows.
func socksDial(c io.ReadWriter, d digest) error {
	if _, err := io.WriteString(c, greeting); err != nil {
		return err
	}
	var buf [256]byte
	if _, err := io.ReadFull(c, buf[:2]); err != nil {
		return err
	}
	if string(buf[:2]) != greeted {
		return violation(socksRule, "SOCKS5 greeting answered by %x", buf[:2])
	}
	if _, err := io.WriteString(c, connectHdr+d.String()+noPort); err != nil {
		return err
	}
	return readAnswer(c, &buf)
}

// readAnswer reads the answer to CONNECT. XEP-0065 §7 wants the request's address in it, but
// some proxies name their own: only its form matters.
func readAnswer(r io.Reader, buf *[256]byte) error {
	if _, err := io.ReadFull(r, buf[:4]); err != nil {
		return err
	}
	if buf[0] != socksVersion {
		return violation(socksRule, "SOCKS5 answer of version %d", buf[0])
	}
	if buf[1] != 0 {
		return fmt.Errorf("s5b: SOCKS5 CONNECT refused with code %d", buf[1])
	}
	n := 0
	switch buf[3] {
	case socksIPv4:
		n = 4
	case socksIPv6:
		n = 16
	case socksDomain:
		if _, err := io.ReadFull(r, buf[:1]); err != nil {
			return err
		}
		n = int(buf[0])
	default:
		return violation(socksRule, "SOCKS5 answer with address type %d", buf[3])
	}
	if _, err := io.ReadFull(r, buf[:n]); err != nil {
		return err
	}
	_, err := io.ReadFull(r, buf[:2])
	return err
}

// readGreeting is the server's part up to the point where it says something. The client must be
// able to do without authentication.
func readGreeting(r io.Reader) error {
	var buf [greetLen]byte
	if _, err := io.ReadFull(r, buf[:2]); err != nil {
		return err
	}
	if buf[0] != socksVersion || buf[1] == 0 {
		return violation(socksRule, "SOCKS greeting of version %d with %d methods", buf[0], buf[1])
	}
	methods := buf[2 : 2+int(buf[1])]
	if _, err := io.ReadFull(r, methods); err != nil {
		return err
	}
	for _, m := range methods {
		if m == socksNoAuth {
			return nil
		}
	}
	return violation(socksRule, "SOCKS5 greeting without the method 0")
}

// readRequest reads a CONNECT and returns the digest it names, whatever that is.
func readRequest(r io.Reader) (digest, error) {
	var buf [requestLen]byte
	// The header first: a stranger that says something else is not waited for.
	if _, err := io.ReadFull(r, buf[:len(connectHdr)]); err != nil {
		return digest{}, err
	}
	if string(buf[:len(connectHdr)]) != connectHdr {
		return digest{}, violation(socksRule, "SOCKS5 request %x", buf[:len(connectHdr)])
	}
	rest := buf[len(connectHdr):]
	if _, err := io.ReadFull(r, rest); err != nil {
		return digest{}, err
	}
	if string(rest[digestLen:]) != noPort {
		return digest{}, violation(socksRule, "SOCKS5 request for port %x", rest[digestLen:])
	}
	return digest(rest[:digestLen]), nil
}

// socksAccept is the server's part on c up to its answer: it returns the digest that the client
// named, if that is one of the known ones. At most greetLen+requestLen octets are read.
func socksAccept(c io.ReadWriter, known [2]digest) (digest, error) {
	if err := readGreeting(c); err != nil {
		return digest{}, err
	}
	if _, err := io.WriteString(c, greeted); err != nil {
		return digest{}, err
	}
	d, err := readRequest(c)
	if err != nil {
		return digest{}, err
	}
	first, second := d.equal(known[0]), d.equal(known[1])
	if !first && !second {
		return digest{}, violation("XEP-0065 §7", "wrong digest")
	}
	return d, nil
}

// answer is the answer to a request that was accepted.
func answer(d digest) []byte { return []byte(successHdr + d.String() + noPort) }
