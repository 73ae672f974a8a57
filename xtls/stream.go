// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/pion/logging"
	"mellium.im/xmpp"
	"mellium.im/xmpp/stanza"
	"mellium.im/xmpp/stream"

	"example.org/xtls/jingle"
	"example.org/xtls/xtls/internal/e2e"
	"example.org/xtls/xtls/internal/exchange"
)

// headerTime bounds the exchange of stream headers, if the context does not.
const headerTime = 30 * time.Second

// Stream opens an end-to-end XML stream in a tunnel whose application is
// [XMLStream], and returns it as a session: the end that dialled sends the first
// header, the other one awaits it (XEP-0246, XEP-0247). Both ends call Stream once
// they have the tunnel, and do not read or write the Conn itself any more. Whatever
// mellium.im/xmpp and its packages do on a session with a server they do on this one
// with the peer; there is nothing to negotiate.
//
// The caller serves the session, best with a handler that [Protect] has wrapped,
// and closes it in this order, or leaves all of it to [Conn.Close]:
//
//	session.Close() // our end of the stream
//	<-served        // Serve returns when the peer has closed its own
//	conn.Close()
//
// Every stanza that arrives is from the full JID of the peer and to that of this end,
// whatever it said: nobody else can be at the other end, and one who claims to be
// ends the tunnel. So do restricted XML (comments, document types), stanzas over
// Config.MaxStanza octets or nested over 64 deep, and addresses that are not the
// two ends'; the peer is told by the stream error of RFC 6120, and Serve returns it
// (a [stream.Error]). What only a server may say is kept away: roster, carbons,
// archives, subscriptions, rooms. Requests of that kind are answered with
// service-unavailable, the rest is dropped. Nothing is passed on to the session with
// the server, nor from it; the application must not either.
//
// Writing to the session does not wait for the peer to read, unless it is a mebibyte
// behind. An application that sends much should wait for answers or receipts: a peer
// that does not read for long ends the stream. Methods of the session that wait for
// an answer need a context that ends: they do not notice the end of the tunnel.
// [Conn.Done] tells of it.
//
// After both ends have closed a stream, the tunnel lives on, and Stream may be called
// again at both ends. A peer need not support that; a new tunnel always works.
//
// ctx governs the exchange of headers only, which takes 30 seconds at most. io.EOF is
// the end of a tunnel in which no header came. After an error, the tunnel is of no
// use but to be closed.
func Stream(ctx context.Context, conn *Conn) (*xmpp.Session, error) {
	s, err := conn.openStream(ctx)
	if err != nil {
		return nil, opError("stream", conn.State().Peer, err)
	}
	return s, nil
}

var errNoStream = errors.New("the tunnel is not for an XML stream: it was not dialled with XMLStream()")

func (c *Conn) openStream(ctx context.Context) (*xmpp.Session, error) {
	if !c.State().App.IsXMLStream() {
		return nil, errNoStream
	}
	e, err := c.xml.endpoint(c)
	if err != nil {
		return nil, err
	}
	s, err := e.Stream()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, headerTime,
		fmt.Errorf("no stream header within %v: %w", headerTime, context.DeadlineExceeded))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	session, err := c.negotiateStream(ctx, s)
	if !stop() {
		return nil, context.Cause(ctx)
	}
	return session, err
}

// negotiateStream exchanges headers. The library's own negotiator would wait for
// features that are mandatory, and there are none.
func (c *Conn) negotiateStream(ctx context.Context, s *e2e.Stream) (*xmpp.Session, error) {
	initiator := c.t.initiator()
	if initiator {
		if err := s.Open(); err != nil {
			return nil, err
		}
	}
	negotiate := func(_ context.Context, in, out *stream.Info, session *xmpp.Session, _ any) (xmpp.SessionState, io.ReadWriter, any, error) {
		header, err := readHeader(session)
		if err == nil {
			err = in.FromStartElement(header) // judged, and the addresses put in, by the filter
		}
		if err == nil && !initiator {
			err = s.Open()
		}
		if err != nil {
			return 0, nil, nil, err
		}
		out.XMLNS, out.Name, out.Version = stanza.NSClient, header.Name, stream.DefaultVersion
		out.From, out.To = in.To, in.From
		return xmpp.Ready, nil, nil, nil
	}
	const state = xmpp.Secure | xmpp.Authn
	ctx = context.WithoutCancel(ctx) // the library resets the deadlines that would stop it
	if initiator {
		return xmpp.NewSession(ctx, c.t.state.Peer, c.t.client.LocalAddr(), s, state, negotiate)
	}
	return xmpp.ReceiveSession(ctx, s, state, negotiate)
}

// readHeader reads the stream header of the peer.
func readHeader(s *xmpp.Session) (xml.StartElement, error) {
	r := s.TokenReader()
	defer r.Close()
	tok, err := r.Token()
	if err != nil {
		return xml.StartElement{}, err
	}
	header, ok := tok.(xml.StartElement)
	if !ok {
		return header, fmt.Errorf("%T in the place of a stream header", tok)
	}
	return header.Copy(), nil
}

// Protect returns a handler for a session of [Stream] that passes stanzas on to h,
// each one read completely first, and never fails: neither an error or panic of h,
// which are logged, nor a stanza that h or its mux choke on can end the stream. A
// request that is malformed is answered with bad-request, one that h does not answer
// with service-unavailable. A nil factory is silent.
//
// Handlers run one after the other, on the goroutine that reads. One that waits for
// the peer waits for ever: it must not send a request and wait for the answer.
func Protect(h xmpp.Handler, f logging.LoggerFactory) xmpp.Handler {
	cfg := Config{LoggerFactory: f}
	return exchange.Guard(h, cfg.logger("xtls"))
}

// streams are the XML streams of a Conn, one after the other.
type streams struct {
	mu     sync.Mutex // protects the fields below
	e      *e2e.Endpoint
	closed bool
}

// endpoint returns the one end of the streams, which is made for the first.
func (s *streams) endpoint(c *Conn) (*e2e.Endpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, net.ErrClosed
	}
	if s.e == nil {
		cfg := c.t.client.cfg
		s.e = e2e.New(c, e2e.Config{
			Local: c.t.client.LocalAddr(), Peer: c.t.state.Peer, Opens: c.t.initiator(),
			MaxStanza: cfg.MaxStanza, Log: c.t.client.log,
			Cut:    fmt.Errorf("%w: the peer closed the tunnel in the middle of an XML stream: %w", ErrLost, io.ErrUnexpectedEOF),
			Hangup: func() { _ = c.close(jingle.ReasonFailedApplication) },
		})
	}
	return s.e, nil
}

// end returns the endpoint, if there is one, and lets no other stream begin.
func (s *streams) end() *e2e.Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.e
}

// goodbye closes the stream that is open.
func (s *streams) goodbye() {
	if e := s.end(); e != nil {
		e.Goodbye()
	}
}

// abort drops what was not sent yet.
func (s *streams) abort() {
	if e := s.end(); e != nil {
		e.Abort()
	}
}

// join waits for what the streams have started, once the tunnel is closed.
func (s *streams) join() {
	if e := s.end(); e != nil {
		e.Join()
	}
}
