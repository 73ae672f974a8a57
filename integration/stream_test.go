// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"context"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"strings"
	"testing"

	"mellium.im/xmlstream"
	"mellium.im/xmpp"
	"mellium.im/xmpp/disco"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/ping"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/xtls"
)

// streamSecurities are the ways in which the tunnel of a stream is protected and goes.
var streamSecurities = []struct {
	name   string
	change func(*xtls.Config)
	flags  []string // of xtls-demo
}{
	{"TLS", func(c *xtls.Config) { c.Path = xtls.PathInBand }, []string{"--path", "inband"}},
	{"TLS, relay", func(c *xtls.Config) { c.Path = xtls.PathRelay }, []string{"--path", "relay"}},
	{"DTLS", func(c *xtls.Config) { c.Security = xtls.DTLS }, []string{"--security", "dtls"}},
}

// A streamClient is one end of an XML stream, being served.
type streamClient struct {
	*xmpp.Session
	conn   *xtls.Conn
	served chan error
}

// openStream opens a stream in a tunnel and serves it with what a client has.
func openStream(ctx context.Context, conn *xtls.Conn) (*streamClient, error) {
	session, err := xtls.Stream(ctx, conn)
	if err != nil {
		return nil, err
	}
	echo := mux.IQFunc(stanza.SetIQ, xml.Name{Space: "urn:example:echo", Local: "data"},
		func(iq stanza.IQ, t xmlstream.TokenReadEncoder, start *xml.StartElement) error {
			_, err := xmlstream.Copy(t, iq.Result(xmlstream.Wrap(xmlstream.Inner(t), start.Copy())))
			return err
		})
	c := &streamClient{session, conn, make(chan error, 1)}
	handlers := mux.New(stanza.NSClient, disco.Handle(), ping.Handle(), xtls.HandleCertificate(conn), echo)
	go func() { c.served <- session.Serve(xtls.Protect(handlers, nil)) }()
	return c, nil
}

// streamThrough opens a tunnel for an XML stream through a server, and the stream.
func streamThrough(ctx context.Context, t *testing.T, p *server, change func(*xtls.Config)) (alice, bob *streamClient) {
	t.Helper()
	var clients []*xtls.Client
	for _, name := range []string{"alice", "bob"} {
		account, err := jid.New(name, domain, "")
		if err != nil {
			t.Fatal(err)
		}
		cfg := libraryConfig(t, p, account)
		cfg.MaxStanza = 2 << 20
		change(cfg)
		c, err := xtls.Connect(ctx, account, passwordOf(name), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		clients = append(clients, c)
	}
	l, err := clients[1].Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	opened := make(chan error, 1)
	go func() {
		o, err := l.Next(ctx)
		if err == nil {
			var conn *xtls.Conn
			if conn, err = o.Accept(ctx); err == nil {
				bob, err = openStream(ctx, conn)
			}
		}
		opened <- err
	}()
	conn, err := clients[0].Dial(ctx, clients[1].LocalAddr(), xtls.XMLStream())
	if err == nil {
		alice, err = openStream(ctx, conn)
	}
	if err = errors.Join(err, <-opened); err != nil {
		t.Fatal(err)
	}
	return alice, bob
}

// TestXMLStream: an end-to-end XML stream through a server: discovery, pings, the
// certificates, and a stanza of a mebibyte, which is four times what the server
// would take, in blocks of 4096 octets.
func TestXMLStream(t *testing.T) {
	t.Parallel()
	for _, tt := range streamSecurities {
		t.Run(tt.name, func(t *testing.T) {
			p := startProsody(t, prosodyOptions{proxy65: true})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			alice, bob := streamThrough(ctx, t, p, tt.change)
			for _, end := range []*streamClient{alice, bob} {
				peer := end.conn.State().Peer
				info, err := disco.GetInfo(ctx, "", peer, end.Session)
				if err != nil || len(info.Features) == 0 {
					t.Errorf("disco: %+v, %v", info, err)
				}
				for range 10 {
					if err := ping.Send(ctx, end.Session, peer); err != nil {
						t.Errorf("ping: %v", err)
					}
				}
				if _, err := xtls.PeerCertificate(ctx, end.Session, end.conn); err != nil {
					t.Errorf("PeerCertificate: %v", err)
				}
				sent := base64.StdEncoding.EncodeToString(randomBytes(3 << 18)) // a mebibyte of text
				var got struct {
					Text string `xml:",chardata"`
				}
				data := xmlstream.Wrap(xmlstream.Token(xml.CharData(sent)), xml.StartElement{Name: xml.Name{Space: "urn:example:echo", Local: "data"}})
				if err := end.UnmarshalIQElement(ctx, data, stanza.IQ{Type: stanza.SetIQ}, &got); err != nil || got.Text != sent {
					t.Errorf("%d octets came back of %d, %v", len(got.Text), len(sent), err)
				}
			}
			if err := errors.Join(alice.Close(), <-alice.served, <-bob.served, alice.conn.Close(), bob.conn.Close()); err != nil {
				t.Errorf("closing: %v", err)
			}
		})
	}
}

// TestChat: lines both ways between two processes, and nothing of them at the server.
func TestChat(t *testing.T) {
	t.Parallel()
	for _, tt := range streamSecurities {
		t.Run(tt.name, func(t *testing.T) {
			p, alice, bob := prosodyCouple(t, prosodyOptions{stanzas: true, proxy65: true})
			hers, his := randomText(), randomText()
			wait := bob.start(append(tt.flags, "chat", "--allow", alice.jid)...)
			wait.event("ready")
			call := alice.start(append(tt.flags, "chat", bob.jid)...)
			call.say(append(hers, '\n'))
			if e := wait.event("message"); e.text("body") != string(hers) || !strings.HasPrefix(e.text("peer"), alice.jid+"/") {
				t.Errorf("bob: %v", e)
			}
			if e := call.event("delivered"); e.number("n") != 1 {
				t.Errorf("alice: %v", e)
			}
			wait.say(append(his, '\n'))
			wait.hangUp()
			if e := call.event("message"); e.text("body") != string(his) {
				t.Errorf("alice: %v", e)
			}
			call.hangUp()
			call.exit(exitDone)
			wait.exit(exitDone)
			if e := call.happened("tunnel"); e.text("level") != "verified" {
				t.Errorf("%v", e)
			}
			if tt.flags[1] != "relay" { // where there are no blocks to look into
				checkServerLog(t, p, [][]byte{hers, his})
			}
		})
	}
}
