// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"strconv"
	"time"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
	"mellium.im/xmpp/stream"
)

const (
	nsTLS     = "urn:ietf:params:xml:ns:xmpp-tls"
	nsSASL    = "urn:ietf:params:xml:ns:xmpp-sasl"
	nsBind    = "urn:ietf:params:xml:ns:xmpp-bind"
	nsSession = "urn:ietf:params:xml:ns:xmpp-session"
	nsLimits  = "urn:xmpp:stream-limits:0" // XEP-0478
)

const (
	// loginTime is how long a client has from connecting to binding.
	loginTime = 20 * time.Second

	// loginStanzaLimit is the size of the largest element, in octets, before a
	// resource is bound: what RFC 6120 §13.12 demands at least, and a little more.
	loginStanzaLimit = 16 << 10

	// loginElements is how many elements a client may send before it is bound.
	loginElements = 16

	// loginAttempts is how many passwords may be wrong: RFC 6120 §6.4.5.
	loginAttempts = 3
)

// negotiate takes a client from its first octet to a bound resource.
func (c *client) negotiate() error {
	if err := c.setDeadline(time.Now().Add(loginTime)); err != nil {
		return err
	}
	if c.direct {
		if err := c.startTLS(c.s.directTLS); err != nil {
			return err
		}
	} else if err := c.awaitStartTLS(); err != nil {
		return err
	}
	account, err := c.authenticate()
	if err != nil {
		return err
	}
	if err := c.bind(account); err != nil {
		return err
	}
	return c.setDeadline(time.Time{})
}

// startTLS runs the server's side of the handshake on the bare connection.
func (c *client) startTLS(cfg *tls.Config) error {
	conn := tls.Server(c.raw, cfg)
	if err := conn.Handshake(); err != nil { // the deadline is set
		return fmt.Errorf("xtlstest: handshake: %w", err)
	}
	c.setConn(conn)
	return nil
}

// openStream reads the client's stream header and answers with ours and the
// features: RFC 6120 §4.
func (c *client) openStream(features string) error {
	h, err := c.in.header()
	if err != nil {
		if _, ok := errors.AsType[stream.Error](err); !ok {
			return err
		}
		// An error must stand in a stream: RFC 6120 §4.9.1.2.
		return errors.Join(err, c.write([]byte(c.header(""))))
	}
	origin, fromErr := parseJID(h.attr("from"))
	if err := c.write([]byte(c.header(origin.String()))); err != nil {
		return err
	}
	to, err := jid.Parse(h.attr("to"))
	switch {
	case h.Name != xml.Name{Space: nsStream, Local: "stream"}, c.in.defaultSpace() != nsClient:
		return stream.InvalidNamespace
	case h.attr("version") != "1.0":
		return stream.UnsupportedVersion
	case err != nil || !to.Equal(c.s.domain):
		return stream.HostUnknown
	case fromErr != nil:
		return stream.InvalidFrom
	}
	c.lang = ""
	for _, a := range h.Attrs {
		if a.Name.Space == nsXML && a.Name.Local == "lang" {
			c.lang = a.Value
		}
	}
	return c.write([]byte("<stream:features>" + features + "</stream:features>"))
}

// header renders the server's stream header.
func (c *client) header(to string) string {
	b := []byte("<?xml version='1.0'?><stream:stream xmlns='" + nsClient + "' xmlns:stream='" + nsStream + "' version='1.0'")
	b = appendAttr(b, "id", randomID())
	b = appendAttr(b, "from", c.s.domain.String())
	if to != "" {
		b = appendAttr(b, "to", to)
	}
	return string(append(b, '>'))
}

// limits announces how large a stanza may be: XEP-0478.
func limits(octets int) string {
	return "<limits xmlns='" + nsLimits + "'><max-bytes>" + strconv.Itoa(octets) + "</max-bytes></limits>"
}

// awaitStartTLS serves a stream on which nothing but STARTTLS is possible:
// RFC 6120 §5.
func (c *client) awaitStartTLS() error {
	err := c.openStream("<starttls xmlns='" + nsTLS + "'><required/></starttls>" + limits(loginStanzaLimit))
	if err != nil {
		return err
	}
	for range loginElements {
		e, err := c.in.next()
		if err != nil {
			return err
		}
		switch {
		case e.Name == xml.Name{Space: nsTLS, Local: "starttls"}:
			if c.in.src.buffered() {
				// What was sent ahead came unprotected and must not be taken for what
				// TLS brings.
				return stream.PolicyViolation
			}
			if err := c.write([]byte("<proceed xmlns='" + nsTLS + "'/>")); err != nil {
				return err
			}
			return c.startTLS(c.s.startTLS)
		case e.Name == xml.Name{Space: nsSASL, Local: "auth"}:
			if err := c.write(saslFailure("encryption-required")); err != nil {
				return err
			}
		default:
			return stream.NotAuthorized
		}
	}
	return stream.PolicyViolation
}

func saslFailure(condition string) []byte {
	return []byte("<failure xmlns='" + nsSASL + "'><" + condition + "/></failure>")
}

// authenticate serves a stream on which nothing but SASL is possible: RFC 6120 §6.
// It returns the name of the account.
func (c *client) authenticate() (string, error) {
	err := c.openStream("<mechanisms xmlns='" + nsSASL + "'><mechanism>PLAIN</mechanism></mechanisms>" + limits(loginStanzaLimit))
	if err != nil {
		return "", err
	}
	failures := 0
	for range loginElements {
		e, err := c.in.next()
		if err != nil {
			return "", err
		}
		var name, failure string
		switch {
		case e.Name.Space != nsSASL:
			return "", stream.NotAuthorized
		case e.Name.Local == "abort":
			failure = "aborted"
		case e.Name.Local == "auth" && e.attr("mechanism") != "PLAIN":
			failure = "invalid-mechanism"
		case e.Name.Local == "auth" && len(e.Inner) == 0: // no initial response
			if err := c.write([]byte("<challenge xmlns='" + nsSASL + "'/>")); err != nil {
				return "", err
			}
			continue
		case e.Name.Local == "auth" || e.Name.Local == "response":
			name, failure = c.s.checkPlain(e.Inner)
		default:
			failure = "malformed-request"
		}
		if failure == "" {
			return name, c.write([]byte("<success xmlns='" + nsSASL + "'/>"))
		}
		c.s.log.Infof("login from %s refused: %s", c.raw.RemoteAddr(), failure)
		if err := c.write(saslFailure(failure)); err != nil {
			return "", err
		}
		if failures++; failures == loginAttempts {
			break
		}
	}
	return "", stream.PolicyViolation
}

// checkPlain checks a message of SASL PLAIN (RFC 4616), in base64. It returns the
// account's name, or the condition to fail with.
func (s *Server) checkPlain(b64 []byte) (name, failure string) {
	msg, err := base64.StdEncoding.Strict().DecodeString(string(b64))
	if err != nil {
		return "", "incorrect-encoding"
	}
	parts := bytes.Split(msg, []byte{0})
	if len(parts) != 3 {
		return "", "malformed-request"
	}
	who, err := s.localAddr(string(parts[1]))
	if err != nil {
		return "", "not-authorized"
	}
	name = who.Localpart()
	s.mu.RLock()
	acc := s.accounts[name]
	s.mu.RUnlock()
	var want [sha256.Size]byte
	if acc != nil {
		want = acc.password
	}
	got := sha256.Sum256(parts[2])
	if subtle.ConstantTimeCompare(got[:], want[:]) != 1 || acc == nil {
		return "", "not-authorized"
	}
	if authz := string(parts[0]); authz != "" && authz != who.String() {
		return "", "invalid-authzid"
	}
	return name, ""
}

// bind serves the stream of an authenticated client until it has a resource:
// RFC 6120 §7.
func (c *client) bind(account string) error {
	err := c.openStream("<bind xmlns='" + nsBind + "'/><session xmlns='" + nsSession + "'><optional/></session>" +
		c.s.limits)
	if err != nil {
		return err
	}
	for range loginElements {
		e, err := c.in.next()
		if err != nil {
			return err
		}
		if (e.Name != xml.Name{Space: nsClient, Local: "iq"}) || e.attr("type") != "set" ||
			(e.Child != xml.Name{Space: nsBind, Local: "bind"}) || e.attr("id") == "" {
			return stream.NotAuthorized // RFC 6120 §7.1
		}
		st := &Stanza{Kind: "iq", ID: e.attr("id")}
		var q struct {
			Resource string `xml:"bind>resource"`
		}
		if err := xml.Unmarshal(e.render(), &q); err != nil {
			return stream.BadFormat
		}
		err = c.s.bind(c, account, q.Resource)
		if se, ok := errors.AsType[stanza.Error](err); ok {
			if err := c.write(st.refuse(se.Type, se.Condition).XML); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		j := appendEscaped([]byte("<bind xmlns='"+nsBind+"'><jid>"), c.addr, false)
		return c.write(st.answer("result", string(j)+"</jid></bind>").XML)
	}
	return stream.PolicyViolation
}

// parseJID is jid.Parse for which "" is no address and no error.
func parseJID(s string) (jid.JID, error) {
	if s == "" {
		return jid.JID{}, nil
	}
	return jid.Parse(s)
}

// randomID returns an identifier nobody can guess: 128 bits.
func randomID() string { return hex.EncodeToString(randomBytes(16)) }
