// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"context"
	"crypto/rand"
	"encoding/xml"
	"fmt"
	"slices"
	"time"

	"mellium.im/xmlstream"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/xtls/internal/exchange"
)

// nsJMI is that of Jingle Message Initiation, by which a bare JID is asked which
// of its clients is there (XEP-0353). We ask in a headline, which reaches every
// client and is never stored (RFC 6121 §8.5.2.1.1), and expect no ringing: a
// client that listens answers at once.
const nsJMI = "urn:xmpp:jingle-message:0"

const (
	// findTime is how long Find waits for a first answer. A server says nothing
	// about who is not there.
	findTime = 4 * time.Second
	// findMore is how long it waits for more, so that it is known when an account
	// has several clients that listen.
	findMore = 250 * time.Millisecond
	// maxFound bounds the answers to one question.
	maxFound = 16
)

// A finding collects the answers to one question.
type finding struct {
	peer    jid.JID // bare
	answers chan jid.JID
}

// Find returns the full JIDs at which the account peer takes offers for app right
// now, most recent answer last, or ErrPeerUnavailable. A full JID is returned as it
// is. It takes at most four seconds.
func (c *Client) Find(ctx context.Context, peer jid.JID, app App) ([]jid.JID, error) {
	if peer.Resourcepart() != "" {
		return []jid.JID{peer}, nil
	}
	if err := app.check(); err != nil {
		return nil, opError("find", peer, err)
	}
	id := rand.Text()
	f := &finding{peer: peer, answers: make(chan jid.JID, maxFound)}
	c.mu.Lock()
	c.findings[id] = f
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.findings, id)
		c.mu.Unlock()
	}()
	if err := c.x.Send(jmi("propose", peer, id, app.element())); err != nil {
		return nil, opError("find", peer, fmt.Errorf("%w: %w", ErrLost, err))
	}
	found, err := f.collect(ctx, c.ctx)
	return found, opError("find", peer, err)
}

func (f *finding) collect(ctx, session context.Context) ([]jid.JID, error) {
	var found []jid.JID
	timer := time.NewTimer(findTime)
	defer timer.Stop()
	for {
		select {
		case j := <-f.answers:
			if len(found) == 0 {
				timer.Reset(findMore)
			}
			if !slices.ContainsFunc(found, j.Equal) {
				found = append(found, j)
			}
			if len(found) == maxFound {
				return found, nil
			}
		case <-timer.C:
			if len(found) == 0 {
				return nil, fmt.Errorf("%w: nobody answers there", ErrPeerUnavailable)
			}
			return found, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-session.Done():
			return nil, context.Cause(session)
		}
	}
}

func jmi(name string, to jid.JID, id string, payload []byte) []byte {
	b := []byte(`<message xmlns="jabber:client" type="headline" to="`)
	b = exchange.AppendEscaped(b, to.String())
	b = fmt.Appendf(b, `"><%s xmlns="%s" id="`, name, nsJMI)
	b = exchange.AppendEscaped(b, id)
	b = append(append(b, `">`...), payload...)
	return fmt.Appendf(b, `</%s></message>`, name)
}

// handleJMI registers the handlers of questions and answers.
func (c *Client) handleJMI(m *mux.ServeMux) {
	for _, name := range []string{"propose", "proceed"} {
		mux.MessageFunc(stanza.HeadlineMessage, xml.Name{Space: nsJMI, Local: name}, c.handleMessage)(m)
	}
}

// handleMessage answers a question, if somebody listens, or takes an answer.
func (c *Client) handleMessage(msg stanza.Message, t xmlstream.TokenReadEncoder) error {
	var x struct {
		Question *struct {
			ID          string `xml:"id,attr"`
			Description *struct {
				Service string `xml:"service,attr"`
			} `xml:"urn:xmpp:xtls:tunnel:1 description"`
			Stream *struct{} `xml:"urn:xmpp:jingle:apps:xmlstream:0 description"`
		} `xml:"urn:xmpp:jingle-message:0 propose"`
		Answer *struct {
			ID string `xml:"id,attr"`
		} `xml:"urn:xmpp:jingle-message:0 proceed"`
	}
	if err := xml.NewTokenDecoder(t).Decode(&x); err != nil {
		return err
	}
	switch {
	case x.Answer != nil:
		c.mu.Lock()
		f := c.findings[x.Answer.ID]
		c.mu.Unlock()
		if f == nil || !msg.From.Bare().Equal(f.peer) || msg.From.Resourcepart() == "" {
			return nil
		}
		select {
		case f.answers <- msg.From:
		default: // nobody has so many clients
		}
	case x.Question != nil && (x.Question.Description != nil || x.Question.Stream != nil) && len(x.Question.ID) <= maxService:
		c.mu.Lock()
		listening := c.listener != nil
		c.mu.Unlock()
		if listening && msg.From.Resourcepart() != "" {
			return c.x.Send(jmi("proceed", msg.From, x.Question.ID, nil))
		}
	}
	return nil
}
