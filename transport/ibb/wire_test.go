// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"net"
	"strconv"
	"sync"
	"testing"

	"mellium.im/xmlstream"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/jingle/jingletest"
	"example.org/xtls/transport"
	"example.org/xtls/transport/ibb"
	"example.org/xtls/transport/transporttest"
)

// A wire is one end of a session in memory that does only what it must: each stanza is rendered
// once and parsed once. Package jingletest, which logs and checks too, is too slow for many blocks.
type wire struct {
	addr jid.JID
	peer *wire
	mux  *mux.ServeMux
	done chan struct{}

	mu      sync.Mutex
	arrived sync.Cond
	inbox   [][]byte
	pending map[string]func(xml.TokenReader, error)
	lastID  int
	closed  bool
}

// newWires returns a transport at each end of a new session.
func newWires(t testing.TB, cfg ibb.Config) transporttest.Ends {
	t.Helper()
	return newWiresBelow(t, cfg, func(s transport.Stanzas) transport.Stanzas { return s })
}

// newWiresBelow is newWires with something between each transport and its session.
func newWiresBelow(t testing.TB, cfg ibb.Config, wrap func(transport.Stanzas) transport.Stanzas) transporttest.Ends {
	t.Helper()
	a, b := &wire{addr: jid.MustParse(jingletest.AddrA)}, &wire{addr: jid.MustParse(jingletest.AddrB)}
	a.peer, b.peer = b, a
	var trs []*ibb.Transport
	for _, w := range []*wire{a, b} {
		w.arrived.L = &w.mu
		w.done = make(chan struct{})
		w.pending = make(map[string]func(xml.TokenReader, error))
		cfg.Stanzas = wrap(w)
		tr, err := ibb.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		trs = append(trs, tr)
		w.mux = mux.New(stanza.NSClient, ibb.Handle(tr))
		go w.read(t)
	}
	t.Cleanup(func() {
		for i, w := range []*wire{a, b} {
			trs[i].Close(nil)
			w.mu.Lock()
			w.closed = true
			w.arrived.Broadcast()
			w.mu.Unlock()
			<-w.done
		}
	})
	return transporttest.Ends{Dial: trs[0], Accept: trs[1], DialJID: a.addr, AcceptJID: b.addr}
}

func (w *wire) LocalAddr() jid.JID { return w.addr }

func (w *wire) Go(typ stanza.IQType, to jid.JID, payload []byte, done func(xml.TokenReader, error)) {
	w.mu.Lock()
	w.lastID++
	id := strconv.Itoa(w.lastID)
	w.pending[id] = done
	w.mu.Unlock()
	w.peer.deliver([]byte("<iq xmlns='jabber:client' type='" + string(typ) + "' id='" + id + "' from='" + w.addr.String() + "' to='" + to.String() + "'>" + string(payload) + "</iq>"))
}

func (w *wire) Request(ctx context.Context, typ stanza.IQType, to jid.JID, payload []byte) (xml.TokenReader, error) {
	answered := make(chan error, 1)
	w.Go(typ, to, payload, func(_ xml.TokenReader, err error) { answered <- err })
	select {
	case err := <-answered:
		return xml.NewDecoder(bytes.NewReader(nil)), err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (w *wire) deliver(text []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inbox = append(w.inbox, text)
	w.arrived.Signal()
}

// read is the reader goroutine of the session.
func (w *wire) read(t testing.TB) {
	defer close(w.done)
	for {
		w.mu.Lock()
		for len(w.inbox) == 0 && !w.closed {
			w.arrived.Wait()
		}
		if w.closed {
			w.mu.Unlock()
			w.fail()
			return
		}
		text := w.inbox[0]
		w.inbox = w.inbox[1:]
		w.mu.Unlock()
		if err := w.handle(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func (w *wire) handle(text []byte) error {
	d := xml.NewDecoder(bytes.NewReader(text))
	tok, err := d.Token()
	if err != nil {
		return err
	}
	start := tok.(xml.StartElement)
	iq, err := stanza.NewIQ(start)
	if err != nil {
		return err
	}
	if iq.Type == stanza.SetIQ {
		var out bytes.Buffer
		e := xml.NewEncoder(&out)
		err := w.mux.HandleXMPP(struct {
			xml.TokenReader
			*xml.Encoder
		}{d, e}, &start)
		e.Flush()
		w.peer.deliver(out.Bytes())
		return err
	}
	w.mu.Lock()
	done := w.pending[iq.ID]
	delete(w.pending, iq.ID)
	w.mu.Unlock()
	if done == nil {
		return errors.New("an answer to nothing")
	}
	if iq.Type == stanza.ErrorIQ {
		se, err := stanza.UnmarshalError(xmlstream.Inner(d))
		if err != nil {
			return err
		}
		done(nil, se)
		return nil
	}
	done(xmlstream.Inner(d), nil)
	return nil
}

// fail ends what waits for an answer.
func (w *wire) fail() {
	w.mu.Lock()
	pending := w.pending
	w.pending = nil
	w.mu.Unlock()
	for _, done := range pending {
		done(nil, net.ErrClosed)
	}
}
