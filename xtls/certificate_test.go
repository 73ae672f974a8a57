// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls_test

import (
	"context"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"strings"
	"testing"

	"mellium.im/xmlstream"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// keysXML is an answer to who asks for certificates, in either form.
type keysXML struct {
	XMLName xml.Name
	Name    string `xml:"keyinfo>name"`
	X509    string `xml:"keyinfo>x509cert"`
}

// TestCertificateAnswer asks in all the forms.
func TestCertificateAnswer(t *testing.T) {
	alice, bob := streamPair(t, 0)
	ctx, cancel := context.WithTimeout(t.Context(), testTime)
	defer cancel()
	want := alice.conn.State().Fingerprint
	ask := func(space, about string) (keysXML, error) {
		start := xml.StartElement{Name: xml.Name{Space: space, Local: "pubkeys"}}
		if about != "" {
			start.Attr = []xml.Attr{{Name: xml.Name{Local: "jid"}, Value: about}}
		}
		var k keysXML
		err := alice.UnmarshalIQElement(ctx, xmlstream.Wrap(nil, start), stanza.IQ{Type: stanza.GetIQ}, &k)
		return k, err
	}
	for _, space := range []string{"urn:xmpp:pubkey:0", "urn:xmpp:tmp:pubkey"} {
		for _, about := range []string{"", "bob@localhost"} {
			k, err := ask(space, about)
			der, b64 := base64.StdEncoding.DecodeString(k.X509)
			if err != nil || b64 != nil || fingerprint.Of(der) != want || k.XMLName.Space != space {
				t.Errorf("%s, about %q: %+v, %v", space, about, k, err)
			}
			if (k.Name == want.String()) != (space == "urn:xmpp:tmp:pubkey") {
				t.Errorf("%s: name %q", space, k.Name)
			}
		}
	}
	var refused stanza.Error
	if _, err := ask("urn:xmpp:pubkey:0", "carol@localhost"); !errors.As(err, &refused) || refused.Condition != stanza.ServiceUnavailable {
		t.Errorf("about somebody else: %v", err)
	}
	if _, err := ask("urn:xmpp:pubkey:2", ""); !errors.As(err, &refused) {
		t.Errorf("the namespace of something else: %v", err)
	}
	alice.end(t, bob)
}

// TestPeerCertificate: the answer must be the certificate of the handshake.
func TestPeerCertificate(t *testing.T) {
	other, err := fingerprint.NewIdentity(jid.MustParse("bob@localhost"))
	if err != nil {
		t.Fatal(err)
	}
	key := func(attr, text string) string {
		return `<keyinfo` + attr + `><x509cert>` + text + `</x509cert></keyinfo>`
	}
	foreign := key("", base64.StdEncoding.EncodeToString(other.Certificate[0]))
	for name, tt := range map[string]struct {
		answer string // in the place of bob's; CERT is his certificate
		want   error
		any    bool // some error
	}{
		"his own":       {answer: key("", " CE\nRT ")},
		"user's first":  {answer: key(" jid='bob@localhost'", "x") + `<keyinfo><pgpdata>x</pgpdata></keyinfo>` + key("", "CERT") + foreign},
		"another one":   {answer: foreign + key("", "CERT"), want: xtls.ErrTampered},
		"none":          {answer: "", any: true},
		"not base64":    {answer: key("", "!"), any: true},
		"over 64 KiB":   {answer: key("", strings.Repeat("A", 64<<10+4)), any: true},
		"cut":           {answer: key("", "CER"), want: xtls.ErrTampered},
		"another shape": {answer: `<pubkey>x</pubkey>`, any: true},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := streamTunnel(t, 0)
			alice, bob := openPair(t, a, b)
			ctx, cancel := context.WithTimeout(t.Context(), testTime)
			defer cancel()
			own, err := xtls.PeerCertificate(ctx, alice.Session, a)
			if err != nil {
				t.Fatal(err)
			}
			alice.Close()
			<-alice.served
			<-bob.served
			alice = nil
			opened := make(chan error, 1)
			go func() { // bob again, with another answer
				s, err := xtls.Stream(ctx, b)
				if err != nil {
					opened <- err
					return
				}
				text := base64.StdEncoding.EncodeToString(own.Raw)
				text = strings.NewReplacer("CERT", text, "CE\nRT", text[:9]+"\n"+text[9:], "CER", text[:12]).Replace(tt.answer)
				opened <- s.Serve(xtls.Protect(mux.New(stanza.NSClient, mux.IQFunc(stanza.GetIQ, xml.Name{Space: "urn:xmpp:pubkey:0", Local: "pubkeys"},
					func(iq stanza.IQ, w xmlstream.TokenReadEncoder, _ *xml.StartElement) error {
						_, err := xmlstream.Copy(w, iq.Result(xml.NewDecoder(strings.NewReader(`<pubkeys xmlns='urn:xmpp:pubkey:0'>`+text+`</pubkeys>`))))
						return err
					})), nil))
			}()
			s, err := xtls.Stream(ctx, a)
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- s.Serve(nil) }()
			cert, err := xtls.PeerCertificate(ctx, s, a)
			switch {
			case tt.any && (err == nil || errors.Is(err, xtls.ErrTampered)), !tt.any && !errors.Is(err, tt.want), err == nil && !cert.Equal(own):
				t.Errorf("PeerCertificate = %v, %v", cert != nil, err)
			}
			if err := errors.Join(s.Close(), <-served, <-opened); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestCertificateOutside: nobody is told over the servers.
func TestCertificateOutside(t *testing.T) {
	p := xtlstest.NewPair(t, xtlstest.Config{})
	for _, space := range []string{"urn:xmpp:pubkey:0", "urn:xmpp:tmp:pubkey"} {
		iq := stanza.IQ{Type: stanza.GetIQ, To: p.Bob.LocalAddr()}
		r, err := p.Alice.Session().SendIQElement(t.Context(), xmlstream.Wrap(nil, xml.StartElement{Name: xml.Name{Space: space, Local: "pubkeys"}}), iq)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Type  string `xml:"type,attr"`
			Error struct {
				NotAcceptable *struct{} `xml:"urn:ietf:params:xml:ns:xmpp-stanzas not-acceptable"`
				Required      *struct{} `xml:"urn:xmpp:jingle:errors:1 security-required"`
			} `xml:"error"`
		}
		err = errors.Join(xml.NewTokenDecoder(r).Decode(&answer), r.Close())
		if err != nil || answer.Type != "error" || answer.Error.NotAcceptable == nil || answer.Error.Required == nil {
			t.Errorf("%s: %+v, %v", space, answer, err)
		}
	}
}
