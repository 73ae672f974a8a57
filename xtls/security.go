// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"example.org/xtls/fingerprint"
	"example.org/xtls/jingle"
	"example.org/xtls/xtls/internal/exchange"
)

// Namespaces of the negotiation.
const (
	// NS is the security precondition of draft-meyer-xmpp-e2e-encryption, an element
	// in each content of the Jingle session.
	NS = "urn:xmpp:jingle:security:xtls:0"
	// NSExt is our extension inside it: the binding, control frames and, in the
	// transport, credit.
	NSExt = "urn:xmpp:xtls:1"

	nsTunnel = "urn:xmpp:xtls:tunnel:1"
	// nsStream is that of XEP-0247. draft-meyer-xmpp-e2e-encryption-02 lists it, and
	// that of the precondition, in disco with another version, which means the same.
	nsStream      = "urn:xmpp:jingle:apps:xmlstream:0"
	nsStreamAlias = "urn:xmpp:jingle:apps:xmlstream:1"
	nsAlias       = "urn:xmpp:jingle:security:xtls:1"
)

const (
	protocolVersion = "1"
	methodX509      = "x509"
	nonceSize       = 32
	maxListed       = 32 // fingerprints, methods or versions in one element
	maxService      = 64 // octets of a service name
)

// An App is what a tunnel carries: the application of the Jingle session.
type App struct {
	// Namespace of the <description/>; see [Tunnel] and [XMLStream].
	Namespace string
	// Service names what is wanted of the peer, 1 to 64 characters of a-z 0-9 . _ -;
	// "" means its default. Only tunnels of opaque octets have services.
	Service string
}

// Tunnel is the application of opaque octets, for a service of the peer or, with
// "", whatever it offers by default.
func Tunnel(service string) App { return App{Namespace: nsTunnel, Service: service} }

// XMLStream is the application of an end-to-end XML stream (XEP-0247); see
// [Stream].
func XMLStream() App { return App{Namespace: nsStream} }

// IsXMLStream reports whether the tunnel carries an XML stream.
func (a App) IsXMLStream() bool { return a.Namespace == nsStream || a.Namespace == nsStreamAlias }

// String returns the service, or the namespace where there is none.
func (a App) String() string {
	if a.Service != "" {
		return a.Service
	}
	return a.Namespace
}

// canonical is the form that is hashed: a server must not be able to lead a
// tunnel to another service.
func (a App) canonical() string {
	if a.Service == "" {
		return a.Namespace
	}
	return a.Namespace + " " + a.Service
}

func (a App) check() error {
	switch {
	case a.IsXMLStream() && a.Service != "":
		return errors.New("an XML stream has no services")
	case a.IsXMLStream():
		return nil
	case a.Namespace != nsTunnel:
		return fmt.Errorf("application %q is not supported", a.Namespace)
	}
	if len(a.Service) > maxService {
		return fmt.Errorf("service name of %d characters, at most %d", len(a.Service), maxService)
	}
	for _, c := range a.Service {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return fmt.Errorf("service name %q: only a-z 0-9 . _ - are allowed", a.Service)
		}
	}
	return nil
}

func (a App) element() jingle.Element {
	b := append([]byte(`<description xmlns="`), a.Namespace...)
	if a.Service != "" {
		b = append(append(b, `" service="`...), a.Service...)
	}
	return append(b, `"/>`...)
}

var errUnsupportedApp = errors.New("unsupported application")

func parseApp(e jingle.Element) (App, error) {
	var x struct {
		XMLName xml.Name
		Service *string `xml:"service,attr"`
	}
	if err := e.Decode(&x); err != nil {
		return App{}, err
	}
	a := App{Namespace: x.XMLName.Space}
	if x.Service != nil {
		if a.Service = *x.Service; a.Service == "" {
			return App{}, errors.New("empty service name")
		}
	}
	if x.XMLName.Local != "description" || a.Namespace != nsTunnel && !a.IsXMLStream() {
		return App{}, errUnsupportedApp
	}
	return a, a.check()
}

// security is the parsed <security/> element of one side.
type security struct {
	digests []fingerprint.Digest
	methods []string
	binding *binding // nil: the side speaks the plain draft
	control *control // only in security-info
	setup   string   // role of XEP-0320, from <transport/>: DTLS is wanted; "" means TLS
}

type binding struct {
	versions []string
	nonce    []byte
}

type control struct {
	seq    uint64
	sealed []byte
}

// element renders s; all values are our own, so nothing in them needs escaping
// but what exchange.AppendEscaped covers.
func (s *security) element() jingle.Element {
	b := []byte(`<security xmlns="` + NS + `">`)
	for _, d := range s.digests {
		b = fmt.Appendf(b, `<fingerprint algo="%s">%x</fingerprint>`, d.Algo, d.Sum)
	}
	for _, m := range s.methods {
		b = append(exchange.AppendEscaped(append(b, `<method name="`...), m), `"/>`...)
	}
	if s.binding != nil {
		b = fmt.Appendf(b, `<binding xmlns="%s" version="%s" nonce="%s"/>`, NSExt,
			strings.Join(s.binding.versions, " "), base64.StdEncoding.EncodeToString(s.binding.nonce))
	}
	if s.control != nil {
		b = fmt.Appendf(b, `<control xmlns="%s" seq="%d">%s</control>`, NSExt,
			s.control.seq, base64.StdEncoding.EncodeToString(s.control.sealed))
	}
	return append(b, `</security>`...)
}

type securityXML struct {
	XMLName      xml.Name `xml:"urn:xmpp:jingle:security:xtls:0 security"`
	Fingerprints []struct {
		Algo string `xml:"algo,attr"`
		Text string `xml:",chardata"`
	} `xml:"urn:xmpp:jingle:security:xtls:0 fingerprint"`
	Methods []struct {
		Name string `xml:"name,attr"`
	} `xml:"urn:xmpp:jingle:security:xtls:0 method"`
	Bindings []struct {
		Version string `xml:"version,attr"`
		Nonce   string `xml:"nonce,attr"`
	} `xml:"urn:xmpp:xtls:1 binding"`
	Controls []struct {
		Seq  string `xml:"seq,attr"`
		Text string `xml:",chardata"`
	} `xml:"urn:xmpp:xtls:1 control"`
}

// parseSecurity reads a <security/> element. Unknown children, methods and hashes
// mean nothing (spec: draft-meyer §4); what is malformed is an error.
func parseSecurity(e jingle.Element) (*security, error) {
	var x securityXML
	if err := e.Decode(&x); err != nil {
		return nil, fmt.Errorf("malformed security element: %w", err)
	}
	if len(x.Fingerprints) > maxListed || len(x.Methods) > maxListed || len(x.Bindings) > 1 || len(x.Controls) > 1 {
		return nil, fmt.Errorf("security element with over %d entries, or two bindings", maxListed)
	}
	s := &security{}
	for _, f := range x.Fingerprints {
		d, err := fingerprint.ParseDigest(f.Algo, f.Text)
		switch {
		case err == nil:
			s.digests = append(s.digests, d)
		case !errors.Is(err, fingerprint.ErrUnsupportedDigest):
			return nil, err
		}
	}
	for _, m := range x.Methods {
		if len(m.Name) > maxService {
			return nil, errors.New("method name too long")
		}
		s.methods = append(s.methods, m.Name)
	}
	if len(x.Bindings) == 1 {
		b, err := parseBinding(x.Bindings[0].Version, x.Bindings[0].Nonce)
		if err != nil {
			return nil, err
		}
		s.binding = b
	}
	if len(x.Controls) == 1 {
		c, err := parseControl(x.Controls[0].Seq, x.Controls[0].Text)
		if err != nil {
			return nil, err
		}
		s.control = c
	}
	return s, nil
}

func parseBinding(version, nonce string) (*binding, error) {
	b := &binding{versions: strings.Fields(version)}
	if n := len(b.versions); n == 0 || n > maxListed || len(version) > 4*maxListed {
		return nil, fmt.Errorf("binding with %d versions", n)
	}
	var err error
	if b.nonce, err = base64.StdEncoding.Strict().DecodeString(nonce); err != nil || len(b.nonce) != nonceSize {
		return nil, fmt.Errorf("binding whose nonce is not %d octets in base64", nonceSize)
	}
	return b, nil
}

func parseControl(seq, text string) (*control, error) {
	n, err := strconv.ParseUint(seq, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != seq {
		return nil, errors.New("control frame without a number")
	}
	if len(text) > 2*maxFrame {
		return nil, errors.New("control frame too long")
	}
	sealed, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, errors.New("control frame that is not base64")
	}
	return &control{seq: n, sealed: sealed}, nil
}

// offer is what of s, for app, goes into the negotiation hash.
func (s *security) offer(app App) *offer {
	o := &offer{app: app, digests: s.digests, setup: s.setup, methods: s.methods}
	if s.binding != nil {
		o.versions, o.nonce = s.binding.versions, s.binding.nonce
	}
	return o
}

// offersX509 reports whether the side can do the TLS method itself.
func (s *security) offersX509() bool { return slices.Contains(s.methods, methodX509) }
