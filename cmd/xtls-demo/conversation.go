// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"mellium.im/xmlstream"
	"mellium.im/xmpp"
	"mellium.im/xmpp/disco"
	"mellium.im/xmpp/disco/info"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/ping"
	"mellium.im/xmpp/receipts"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/xtls"
)

const (
	// chatLine is the most octets of one message; longer lines are sent in pieces.
	chatLine = 16 << 10
	// maxUnmarked bounds the lines that are on their way. Input waits for them.
	maxUnmarked = 64
	// receiptTime is how long the last lines may take to arrive.
	receiptTime = 30 * time.Second
	// silence is how long a peer says nothing before it is left, at the end of input.
	silence = time.Second
	// askTime bounds the question whether the peer gives receipts.
	askTime = 10 * time.Second
	// maxMessage and maxMark are how many characters of a line of the peer, and of an
	// own one that is marked, are shown.
	maxMessage = 4000
	maxMark    = 60
)

// A conversation is a chat in one tunnel.
type conversation struct {
	a       *app
	conn    *xtls.Conn
	stays   bool // until the peer has said everything, however long it is silent
	session *xmpp.Session
	served  chan struct{} // closed when the stream has ended
	end     error         // how it ended; not to be read before
	marks   bool          // the peer gives receipts
	slots   chan struct{} // a token for each line on its way
	moved   chan struct{} // holds one if a field below has changed

	mu       sync.Mutex // protects the fields below
	unmarked map[string]sentLine
	heard    time.Time // when the peer said something last
	left     bool      // the peer has said everything
	traffic  traffic   // octets of lines
}

// A sentLine is on its way.
type sentLine struct {
	n    int // counted from 1
	text string
}

func newConversation(a *app, conn *xtls.Conn) *conversation {
	return &conversation{
		a: a, conn: conn, stays: !conn.State().Initiator, served: make(chan struct{}),
		slots: make(chan struct{}, maxUnmarked), moved: make(chan struct{}, 1),
		unmarked: make(map[string]sentLine), heard: time.Now(),
	}
}

// open opens the XML stream and asks whether the peer gives receipts: who gives none
// must not be waited for (XEP-0184 §5.2).
func (c *conversation) open(ctx context.Context) error {
	session, err := xtls.Stream(ctx, c.conn)
	if err != nil {
		return err
	}
	c.session = session
	handler := xtls.Protect(c.handlers(), c.a.ui.loggers())
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	go func() {
		defer close(c.served)
		defer cancel() // nobody would answer any more
		c.end = session.Serve(handler)
	}()
	if err := session.Send(ctx, stanza.Presence{}.Wrap(nil)); err != nil {
		return err
	}
	found, err := disco.GetInfo(ctx, "", c.conn.State().Peer, session)
	if err != nil {
		c.a.ui.detail("asking %s what it can do: %s", c.conn.State().Peer, err)
		return nil
	}
	for _, f := range found.Features {
		c.marks = c.marks || f.Var == receipts.NS
	}
	return nil
}

// receiptsFeature says that this end gives receipts.
type receiptsFeature struct{}

// ForFeatures implements info.FeatureIter.
func (receiptsFeature) ForFeatures(node string, f func(info.Feature) error) error {
	if node != "" {
		return nil
	}
	return f(info.Feature{Var: receipts.NS})
}

func (c *conversation) handlers() xmpp.Handler {
	opts := []mux.Option{disco.Handle(), ping.Handle(), xtls.HandleCertificate(c.conn), mux.Feature(receiptsFeature{})}
	for _, typ := range []stanza.MessageType{stanza.ChatMessage, stanza.NormalMessage} {
		opts = append(opts,
			mux.MessageFunc(typ, xml.Name{Space: stanza.NSClient, Local: "body"}, c.message),
			mux.MessageFunc(typ, xml.Name{Space: receipts.NS, Local: "received"}, c.receipt))
	}
	for _, typ := range []stanza.PresenceType{stanza.AvailablePresence, stanza.UnavailablePresence} {
		opts = append(opts, mux.PresenceFunc(typ, xml.Name{}, c.presence))
	}
	return mux.New(stanza.NSClient, opts...)
}

// message prints what the peer says and gives a receipt.
func (c *conversation) message(msg stanza.Message, t xmlstream.TokenReadEncoder) error {
	var m struct {
		Body    string    `xml:"jabber:client body"`
		Request *struct{} `xml:"urn:xmpp:receipts request"`
	}
	if err := xml.NewTokenDecoder(t).Decode(&m); err != nil {
		return err
	}
	peer := c.conn.State().Peer
	failed := c.a.ui.event("message", "peer", peer, "id", msg.ID, "body", m.Body)
	for line := range strings.SplitSeq(m.Body, "\n") { // each with the name before it, so that none can pretend
		failed = errors.Join(failed, c.a.ui.result("%s: %s", peer.Bare(), verbatim(cut(line, maxMessage))))
	}
	c.change(func() {
		c.heard = time.Now()
		c.traffic.received += int64(len(m.Body))
	})
	if failed != nil || m.Request == nil || msg.ID == "" {
		return nil // a receipt is for what the user can read
	}
	received := xmlstream.Wrap(nil, xml.StartElement{
		Name: xml.Name{Space: receipts.NS, Local: "received"},
		Attr: []xml.Attr{{Name: xml.Name{Local: "id"}, Value: msg.ID}},
	})
	_, err := xmlstream.Copy(t, stanza.Message{ID: rand.Text(), Type: msg.Type}.Wrap(received))
	return err
}

// receipt marks a line that has arrived.
func (c *conversation) receipt(_ stanza.Message, t xmlstream.TokenReadEncoder) error {
	var m struct {
		Received struct {
			ID string `xml:"id,attr"`
		} `xml:"urn:xmpp:receipts received"`
	}
	if err := xml.NewTokenDecoder(t).Decode(&m); err != nil {
		return err
	}
	c.mu.Lock()
	line, known := c.unmarked[m.Received.ID]
	delete(c.unmarked, m.Received.ID)
	c.mu.Unlock()
	if !known {
		return nil
	}
	<-c.slots
	c.a.ui.event("delivered", "peer", c.conn.State().Peer, "id", m.Received.ID, "n", line.n)
	c.a.ui.say("✓ %s", verbatim(cut(line.text, maxMark)))
	c.change(func() {})
	return nil
}

// presence tells whether the peer is there.
func (c *conversation) presence(p stanza.Presence, _ xmlstream.TokenReadEncoder) error {
	peer, here := c.conn.State().Peer, p.Type != stanza.UnavailablePresence
	c.change(func() { c.left = !here })
	c.a.ui.event("presence", "peer", peer, "available", here)
	if here {
		c.a.ui.say("%s is here", peer)
	} else {
		c.a.ui.say("%s has said everything", peer)
	}
	return nil
}

// change changes fields under the lock and wakes run.
func (c *conversation) change(f func()) {
	c.mu.Lock()
	f()
	c.mu.Unlock()
	select {
	case c.moved <- struct{}{}:
	default:
	}
}

// run sends the lines of input until the chat ends, by either side.
func (c *conversation) run(ctx context.Context, local localEnd) error {
	ctx, cancel := context.WithCancel(ctx)
	var sender sync.WaitGroup
	defer sender.Wait()
	defer local.stop()
	defer cancel()
	lines := make(chan error, 1)
	sender.Go(func() { lines <- c.send(ctx, local.in) })
	ended := false // input
	var late, quiet <-chan time.Time
	for {
		if ended {
			done, wait := c.settled()
			if done {
				return nil
			}
			quiet = time.After(wait)
		}
		select {
		case err := <-lines:
			if err != nil {
				return err
			}
			ended, late = true, time.After(receiptTime)
			if err := c.session.Send(ctx, stanza.Presence{Type: stanza.UnavailablePresence}.Wrap(nil)); err != nil {
				return err
			}
		case <-c.served:
			return c.ended(c.end)
		case <-late:
			if n := c.onTheirWay(); n > 0 {
				return &timeoutError{receiptTime, fmt.Sprintf("waiting for %d lines to arrive", n), true}
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-c.moved:
		case <-quiet:
		}
	}
}

// settled reports whether nothing is left to wait for at the end of input. If only
// the silence of the peer is, it says for how long.
func (c *conversation) settled() (done bool, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch wait = silence - time.Since(c.heard); {
	case len(c.unmarked) > 0, c.stays && !c.left:
		return false, receiptTime // something else comes first
	default:
		return c.left || wait <= 0, wait
	}
}

func (c *conversation) onTheirWay() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.unmarked)
}

// ended is what the end of the peer's stream means.
func (c *conversation) ended(err error) error {
	if err != nil {
		return err
	}
	c.a.ui.say("%s has ended the chat", c.conn.State().Peer)
	if n := c.onTheirWay(); n > 0 {
		return fmt.Errorf("%w: the peer ended the chat, and %d lines may not have arrived", xtls.ErrLost, n)
	}
	return nil
}

// send sends input line by line.
func (c *conversation) send(ctx context.Context, input io.Reader) error {
	r := bufio.NewReaderSize(input, chatLine)
	var rest []byte // of a character that was cut
	for n := 1; ; n++ {
		line, more, err := r.ReadLine()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return asLocal(err)
		}
		line = append(rest, line...)
		rest = nil
		if more {
			line, rest = whole(line)
		}
		if err := c.sendLine(ctx, sentLine{n, strings.ToValidUTF8(string(line), "\uFFFD")}); err != nil {
			return err
		}
	}
}

// whole cuts off a character that is not complete.
func whole(line []byte) (complete, rest []byte) {
	for i := len(line) - 1; i >= 0 && i > len(line)-utf8.UTFMax; i-- {
		if utf8.RuneStart(line[i]) && !utf8.FullRune(line[i:]) {
			return line[:i], append([]byte(nil), line[i:]...)
		}
	}
	return line, nil
}

// sendLine sends one line, and waits before that until not too many others are on
// their way.
func (c *conversation) sendLine(ctx context.Context, line sentLine) error {
	body := xmlstream.Wrap(xmlstream.Token(xml.CharData(line.text)), xml.StartElement{Name: xml.Name{Local: "body"}})
	msg := stanza.Message{ID: rand.Text(), Type: stanza.ChatMessage}
	if c.marks {
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		c.mu.Lock()
		c.unmarked[msg.ID] = line
		c.mu.Unlock()
		body = xmlstream.MultiReader(body, receipts.Requested(true).TokenReader())
	}
	err := c.session.Send(ctx, msg.Wrap(body))
	c.change(func() { c.traffic.sent += int64(len(line.text)) })
	return err
}

// servedTime is how long a handler may be stuck, in writing to standard output, at
// the end.
const servedTime = 2 * time.Second

// close ends the chat in order, or breaks it off if err says so, and returns err.
func (c *conversation) close(err error) error {
	if err != nil && !errors.Is(err, errInterrupted) {
		c.conn.Abort()
	} else {
		if c.session != nil {
			_ = c.session.Close()
		}
		if closed := c.conn.Close(); err == nil && !errors.Is(closed, xtls.ErrLost) {
			err = closed // what was sent has been marked, so that the line is gone now is no loss
		}
	}
	if c.session == nil {
		return err
	}
	select {
	case <-c.served:
	case <-time.After(servedTime):
	}
	return err
}
