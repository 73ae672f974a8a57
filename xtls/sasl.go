// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"context"
	"crypto/tls"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"

	"mellium.im/sasl"
	"mellium.im/xmpp"
)

// nsChannelBinding is that of the stream feature of XEP-0440.
const nsChannelBinding = "urn:xmpp:sasl-cb:0"

// sasl is the library's SASL; after it, the guard counts stanzas.
func (l *login) sasl(password string) xmpp.StreamFeature {
	f := xmpp.SASL("", password,
		sasl.ScramSha256Plus, sasl.ScramSha256, sasl.ScramSha1Plus, sasl.ScramSha1, sasl.Plain)
	f.Necessary |= xmpp.Secure
	negotiate := f.Negotiate
	f.Negotiate = func(ctx context.Context, s *xmpp.Session, data any) (xmpp.SessionState, io.ReadWriter, error) {
		mechanisms, _ := data.([]string)
		types, _ := s.Feature(nsChannelBinding)
		announced, _ := types.([]string)
		mask, rw, err := negotiate(ctx, s, usable(mechanisms, announced, s.ConnectionState().Version))
		if err != nil {
			return mask, rw, fmt.Errorf("%w (%w)", ErrLogin, err)
		}
		l.conn.StartStream()
		return mask, rw, nil
	}
	return f
}

// channelBindings is the list of the channel binding types that the server knows
// (XEP-0440 §3).
func channelBindings() xmpp.StreamFeature {
	return xmpp.StreamFeature{
		Name:       xml.Name{Space: nsChannelBinding, Local: "sasl-channel-binding"},
		Necessary:  xmpp.Secure,
		Prohibited: xmpp.Authn,
		Parse: func(_ context.Context, d *xml.Decoder, start *xml.StartElement) (bool, any, error) {
			var list struct {
				Types []struct {
					Type string `xml:"type,attr"`
				} `xml:"urn:xmpp:sasl-cb:0 channel-binding"`
			}
			if err := d.DecodeElement(&list, start); err != nil {
				return false, nil, err
			}
			var types []string
			for _, t := range list.Types {
				types = append(types, t.Type)
			}
			return false, types, nil
		},
	}
}

// usable leaves out the mechanisms with channel binding unless the server has
// announced the type that this version of TLS needs. A server that says nothing may
// mean another one: ejabberd 23.01 offers SCRAM-SHA-1-PLUS over TLS 1.3, takes
// tls-exporter (RFC 9266) for tls-unique, which TLS 1.3 does not have, and refuses
// the login.
func usable(mechanisms, announced []string, version uint16) []string {
	binding := "tls-exporter"
	if version < tls.VersionTLS13 {
		binding = "tls-unique" // RFC 5929 §3
	}
	if slices.Contains(announced, binding) {
		return mechanisms
	}
	return slices.DeleteFunc(slices.Clone(mechanisms), func(m string) bool { return strings.HasSuffix(m, "-PLUS") })
}
