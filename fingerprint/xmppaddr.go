// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"mellium.im/xmpp/jid"
)

// maxNames bounds the alternative names, of any kind, that are looked at in a certificate. A client certificate has one or two.
const maxNames = 64

// maxAddr bounds the octets of an XMPP address: three parts of 1023 and two separators (RFC 7622 §3.1).
const maxAddr = 3*1023 + 2

var (
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidXMPPAddr       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5} // RFC 6120 §13.7.1.4
)

// XMPPAddrs returns the XMPP addresses (id-on-xmppAddr, RFC 6120 §13.7.1.4) that the certificate claims as alternative names: bare,
// normalised, in order. A certificate without any gives an empty list and no error. A self-signed certificate may claim any
// address, so a claim proves nothing; but if there are claims and the peer is not among them, the certificate is not the peer's
// (PROTOCOL.md section 6). An address that is not one, or more than 64 names of any kind, is an error.
func XMPPAddrs(cert *x509.Certificate) ([]jid.JID, error) {
	if cert == nil {
		return nil, errors.New("fingerprint: no certificate given")
	}
	var addrs []jid.JID
	for _, ext := range cert.Extensions {
		if !ext.Id.Equal(oidSubjectAltName) {
			continue
		}
		found, err := xmppAddrsOf(ext.Value)
		if err != nil {
			return nil, fmt.Errorf("fingerprint: alternative names of the certificate: %w", err)
		}
		addrs = append(addrs, found...)
	}
	return addrs, nil
}

// xmppAddrsOf reads a SubjectAltName: SEQUENCE OF GeneralName, where an otherName is [0] { OBJECT IDENTIFIER, [0] EXPLICIT value }
// (RFC 5280 §4.2.1.6).
func xmppAddrsOf(der []byte) ([]jid.JID, error) {
	var names asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &names); err != nil || len(rest) > 0 || names.Tag != asn1.TagSequence {
		return nil, errors.New("not a list of names")
	}
	var addrs []jid.JID
	for n, rest := 0, names.Bytes; len(rest) > 0; n++ {
		if n == maxNames {
			return nil, fmt.Errorf("more than %d names", maxNames)
		}
		var name asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &name); err != nil {
			return nil, errors.New("a name is malformed")
		}
		if name.Class != asn1.ClassContextSpecific || name.Tag != 0 {
			continue
		}
		addr, ok, err := xmppAddr(name.Bytes)
		if err != nil {
			return nil, err
		}
		if ok {
			addrs = append(addrs, addr)
		}
	}
	return addrs, nil
}

// xmppAddr reads the body of an otherName. ok is false if it is a name of another kind.
func xmppAddr(der []byte) (addr jid.JID, ok bool, err error) {
	var id asn1.ObjectIdentifier
	rest, err := asn1.Unmarshal(der, &id)
	if err != nil {
		return jid.JID{}, false, errors.New("a name has no type")
	}
	if !id.Equal(oidXMPPAddr) {
		return jid.JID{}, false, nil
	}
	var outer, text asn1.RawValue
	if _, err := asn1.Unmarshal(rest, &outer); err != nil || outer.Class != asn1.ClassContextSpecific || outer.Tag != 0 {
		return jid.JID{}, false, errors.New("an XMPP address has no value")
	}
	if _, err := asn1.Unmarshal(outer.Bytes, &text); err != nil || text.Class != asn1.ClassUniversal {
		return jid.JID{}, false, errors.New("an XMPP address is not text")
	}
	switch text.Tag {
	case asn1.TagUTF8String, asn1.TagIA5String, asn1.TagPrintableString: // RFC 6120 says UTF8String; the others are seen
	default:
		return jid.JID{}, false, errors.New("an XMPP address is not text")
	}
	if len(text.Bytes) > maxAddr || !utf8.Valid(text.Bytes) {
		return jid.JID{}, false, errors.New("an XMPP address is too long or not UTF-8")
	}
	full, err := jid.Parse(string(text.Bytes))
	if err != nil {
		return jid.JID{}, false, fmt.Errorf("XMPP address %s: %w", quote(string(text.Bytes)), err)
	}
	addr, err = bare(full)
	return addr, err == nil, err
}

// marshalXMPPAddr returns the SubjectAltName that holds just addr.
func marshalXMPPAddr(addr jid.JID) ([]byte, error) {
	type otherName struct {
		ID   asn1.ObjectIdentifier
		Addr string `asn1:"utf8,explicit,tag:0"`
	}
	type altNames struct {
		Other otherName `asn1:"tag:0"`
	}
	return asn1.Marshal(altNames{otherName{ID: oidXMPPAddr, Addr: addr.String()}})
}

var errNoPeer = errors.New("no XMPP address given")

// bare returns j without its resource in the one form by which addresses are compared. Package jid normalises, but leaves two things: the
// case of an IPv6 domain, and more than one dot at the end of a domain.
func bare(j jid.JID) (jid.JID, error) {
	domain := strings.TrimRight(strings.ToLower(j.Domainpart()), ".")
	if domain == "" {
		return jid.JID{}, errNoPeer
	}
	return jid.New(j.Localpart(), domain, "")
}
