// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/jingle"
	"example.org/xtls/transport"
)

// Dial opens a tunnel to peer, a full JID ([Client.Find] finds it), and returns
// when both ends have proven their keys, each has accepted the other's, and each
// knows that of the other (except in draft mode, PROTOCOL.md section 8). Nothing is sent in clear, whatever the peer answers.
//
// The context governs establishing only; when it ends, Dial withdraws the offer.
// A peer may think for 90 seconds, the handshake takes 20 at most and
// Config.Verify, on either side, 10 minutes. Errors are of type *[OpError].
func (c *Client) Dial(ctx context.Context, peer jid.JID, app App) (*Conn, error) {
	conn, err := c.dial(ctx, peer, app)
	if err != nil {
		return nil, opError("dial", peer, err)
	}
	return conn, nil
}

func (c *Client) dial(ctx context.Context, peer jid.JID, app App) (*Conn, error) {
	if peer.Resourcepart() == "" {
		return nil, errors.New("not a full JID: it needs a resource, as in bob@example.net/phone")
	}
	if err := app.check(); err != nil {
		return nil, err
	}
	known, err := c.known(peer, anyKey)
	if err != nil {
		return nil, err
	}
	w := c.cfg.Path.ways(known)
	methods := c.methods(w)
	switch {
	case len(methods) == 0 && c.cfg.Security == DTLS:
		return nil, fmt.Errorf("%w: DTLS goes in-band only", ErrNoPath)
	case len(methods) == 0:
		return nil, fmt.Errorf("%w: a direct path would show it an address", ErrUnverified)
	}
	for {
		conn, err := c.dialBy(ctx, peer, app, w, methods)
		if len(methods) > 1 && errors.Is(err, errUnsupportedTransport) {
			methods = methods[1:] // the peer has ended the session rather than ask for another
			continue
		}
		if err != nil && c.Err() != nil && !isAlarm(err) {
			err = c.Err()
		}
		return conn, err
	}
}

// dialBy dials with the first of the methods and has the others in reserve.
func (c *Client) dialBy(ctx context.Context, peer jid.JID, app App, w ways, methods []transport.Method) (*Conn, error) {
	t := newTunnel(c, peer, app, true)
	t.ours = c.security([]string{protocolVersion})
	if c.cfg.Security == DTLS {
		t.ours.setup = setupActive
	}
	t.ways, t.rest = w, methods[1:]
	t.attempt = t.begin(methods[0], nil)
	err := t.offer(ctx)
	if t.js == nil {
		t.attempt.end(err)
		return nil, err
	}
	if err == nil {
		err = t.readAccept(ctx)
	}
	return t.establish(ctx, err)
}

// offer sends session-initiate.
func (t *tunnel) offer(ctx context.Context) error {
	payload, err := t.payload(ctx, t.attempt)
	if err != nil {
		return err
	}
	js, err := t.client.jingle.Initiate(ctx, t.state.Peer, jingle.Content{
		Creator: "initiator", Name: contentName,
		Description: t.state.App.element(), Transport: t.ours.withSetup(payload), Security: t.ours.element(),
	})
	if err != nil {
		return t.client.initiateError(ctx, t.state.Peer, err)
	}
	t.start(js)
	return nil
}

// security is our half of the negotiation, with a fresh nonce.
func (c *Client) security(versions []string) *security {
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	return &security{
		digests: c.digests,
		methods: []string{methodX509},
		binding: &binding{versions: versions, nonce: nonce},
	}
}

// initiateError tells apart a peer that is not there from one that has no Jingle:
// servers answer service-unavailable for both (RFC 6121 §8.5.3).
func (c *Client) initiateError(ctx context.Context, peer jid.JID, err error) error {
	if errors.Is(err, jingle.ErrTieBreak) {
		return fmt.Errorf("%w: it was dialling at the same time", ErrDeclined)
	}
	err = translateEnd(err) // the peer's session-terminate may be faster than its acknowledgement
	var refused stanza.Error
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.Condition {
	case stanza.ServiceUnavailable, stanza.FeatureNotImplemented:
		if c.answersDisco(ctx, peer) {
			return fmt.Errorf("%w: it has no Jingle", ErrNotSupported)
		}
		return ErrPeerUnavailable
	case stanza.RecipientUnavailable, stanza.RemoteServerNotFound, stanza.RemoteServerTimeout, stanza.ItemNotFound, stanza.Gone:
		return fmt.Errorf("%w (%s)", ErrPeerUnavailable, refused.Condition)
	case stanza.Forbidden, stanza.NotAllowed, stanza.NotAuthorized, stanza.ResourceConstraint:
		return fmt.Errorf("%w (%s)", ErrDeclined, refused.Condition)
	default:
		return err
	}
}

// readAccept waits for the answer and judges what the peer negotiated.
func (t *tunnel) readAccept(ctx context.Context) error {
	timed, cancel := context.WithTimeoutCause(ctx, acceptTime,
		fmt.Errorf("no answer within %v: %w", acceptTime, context.DeadlineExceeded))
	defer cancel()
	m, err := await(timed, t, t.accepted)
	if err != nil {
		return err
	}
	content := m.Contents[0]
	if content.Security == nil {
		return fmt.Errorf("%w: %w", ErrTampered, errNoSecurity)
	}
	if t.theirs, err = parseSecurity(content.Security); err != nil {
		return err
	}
	if app, err := parseApp(content.Description); err != nil || app != t.state.App {
		return fmt.Errorf("%w: the peer accepted something else than was offered", ErrTampered)
	}
	if err := t.theirs.readSetup(content.Transport); err != nil {
		return err
	}
	if err := checkAnsweredSetup(t.ours, t.theirs); err != nil {
		return err
	}
	switch b := t.theirs.binding; {
	case b == nil:
		t.state.Draft = true
		if err := t.checkDraft(); err != nil {
			return err
		}
		t.ours.binding = nil
	case !slices.Equal(b.versions, []string{protocolVersion}):
		return fmt.Errorf("%w: the peer chose version %q of the protocol", ErrNotSupported, b.versions)
	}
	if !t.theirs.offersX509() {
		return fmt.Errorf("%w: it cannot use certificates", ErrNotSupported)
	}
	if t.state.Draft {
		if err := t.chooseMethod(ctx); err != nil {
			return err
		}
	}
	return t.attempt.takeAnswer(content.Transport)
}

// chooseMethod names the method, as the draft wants it before the first octet of
// TLS. In extended mode there is nothing to choose and it is left out. An old
// peer that does not know security-info may refuse it (draft-meyer §4).
func (t *tunnel) chooseMethod(ctx context.Context) error {
	s := security{methods: []string{methodX509}}
	err := t.js.Send(ctx, jingle.ActionSecurityInfo, jingle.Content{Security: s.element()})
	var refused stanza.Error
	if errors.As(err, &refused) {
		return nil
	}
	return err
}
