// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"

	"mellium.im/xmlstream"
	"mellium.im/xmpp"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/fingerprint"
	"example.org/xtls/jingle"
)

// Namespaces of the certificate exchange: XEP-0189 in version 0.9, and in 0.8, which
// draft-meyer-xmpp-e2e-encryption-01 uses.
const (
	nsKeys    = "urn:xmpp:pubkey:0"
	nsKeysOld = "urn:xmpp:tmp:pubkey"
)

// maxCertificate bounds one certificate as base64.
const maxCertificate = 64 << 10

var keyNames = []xml.Name{{Space: nsKeys, Local: "pubkeys"}, {Space: nsKeysOld, Local: "pubkeys"}}

// HandleCertificate answers a peer that asks, inside the XML stream of conn, for the
// certificate of this end (draft-meyer-xmpp-e2e-encryption-02 §6, XEP-0189 version
// 0.9; also in the older form). It is for the mux of that stream only: on the session
// with a server, [Handle] refuses such questions, as a server could answer what it
// likes. There is one certificate, so it is the answer whatever fingerprints the
// question names; the keys of third parties are not given away.
func HandleCertificate(conn *Conn) mux.Option {
	der := conn.t.client.cfg.Certificate.Certificate[0]
	own := conn.t.client.LocalAddr()
	return func(m *mux.ServeMux) {
		for _, name := range keyNames {
			mux.IQFunc(stanza.GetIQ, name, func(iq stanza.IQ, t xmlstream.TokenReadEncoder, start *xml.StartElement) error {
				if !asksFor(start, own) {
					_, err := xmlstream.Copy(t, iq.Error(stanza.Error{Type: stanza.Cancel, Condition: stanza.ServiceUnavailable}))
					return err
				}
				_, err := xmlstream.Copy(t, iq.Result(keysElement(start.Name.Space, der)))
				return err
			})(m)
		}
	}
}

// asksFor reports whether the question is about own, which needs no name.
func asksFor(start *xml.StartElement, own jid.JID) bool {
	for _, a := range start.Attr {
		if a.Name == (xml.Name{Local: "jid"}) {
			j, err := jid.Parse(a.Value)
			return err == nil && (j.Equal(own) || j.Equal(own.Bare()))
		}
	}
	return true
}

func keysElement(space string, der []byte) xml.TokenReader {
	element := func(name string, inner xml.TokenReader) xml.TokenReader {
		return xmlstream.Wrap(inner, xml.StartElement{Name: xml.Name{Space: space, Local: name}})
	}
	text := func(s string) xml.TokenReader { return xmlstream.Token(xml.CharData(s)) }
	key := element("x509cert", text(base64.StdEncoding.EncodeToString(der)))
	if space == nsKeysOld {
		key = xmlstream.MultiReader(element("name", text(fingerprint.Of(der).String())), key)
	}
	return element("pubkeys", element("keyinfo", key))
}

// PeerCertificate asks the peer for its certificate inside an XML stream s, which
// runs in conn and is being served. The answer must be the certificate of the
// handshake, which has proven to belong to this end of the tunnel; another one is
// ErrTampered. What else the peer sends, certificates of other devices or signatures,
// proves nothing and is ignored. An error answer is a stanza.Error.
func PeerCertificate(ctx context.Context, s *xmpp.Session, conn *Conn) (*x509.Certificate, error) {
	cert, err := peerCertificate(ctx, s, conn)
	if err != nil {
		return nil, opError("certificate", conn.State().Peer, err)
	}
	return cert, nil
}

func peerCertificate(ctx context.Context, s *xmpp.Session, conn *Conn) (*x509.Certificate, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(conn.t.ctx, func() { cancel(lost(context.Cause(conn.t.ctx))) })()
	var answer struct {
		XMLName xml.Name `xml:"urn:xmpp:pubkey:0 pubkeys"`
		Keys    []struct {
			JID  string `xml:"jid,attr"`
			X509 string `xml:"urn:xmpp:pubkey:0 x509cert"`
		} `xml:"urn:xmpp:pubkey:0 keyinfo"`
	}
	question := xmlstream.Wrap(nil, xml.StartElement{Name: keyNames[0]})
	err := s.UnmarshalIQElement(ctx, question, stanza.IQ{Type: stanza.GetIQ}, &answer)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, err
	}
	for _, k := range answer.Keys {
		if k.JID != "" || k.X509 == "" {
			continue // of the user, or in another form
		}
		return parseKey(k.X509, conn.State().Fingerprint)
	}
	return nil, errors.New("the peer sent no certificate")
}

// parseKey reads a certificate whose fingerprint must be want.
func parseKey(text string, want fingerprint.Fingerprint) (*x509.Certificate, error) {
	if len(text) > maxCertificate {
		return nil, fmt.Errorf("a certificate over %d octets", maxCertificate)
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, errors.New("a certificate that is not base64")
	}
	if fingerprint.Of(der) != want {
		return nil, fmt.Errorf("%w: the certificate is not the one of the handshake", ErrTampered)
	}
	return x509.ParseCertificate(der)
}

// refuseCertificates registers the answer to who asks for certificates over the
// servers (draft-meyer-xmpp-e2e-encryption-02 §6: MUST NOT).
func refuseCertificates(m *mux.ServeMux) {
	for _, name := range keyNames {
		for _, typ := range []stanza.IQType{stanza.GetIQ, stanza.SetIQ} {
			mux.IQFunc(typ, name, func(iq stanza.IQ, t xmlstream.TokenReadEncoder, _ *xml.StartElement) error {
				refusal := stanza.Error{Type: stanza.Cancel, Condition: stanza.NotAcceptable}.Wrap(
					xmlstream.Wrap(nil, xml.StartElement{Name: xml.Name{Space: jingle.NSErrors, Local: "security-required"}}))
				iq.Type, iq.From, iq.To = stanza.ErrorIQ, iq.To, iq.From
				_, err := xmlstream.Copy(t, iq.Wrap(refusal))
				return err
			})(m)
		}
	}
}
