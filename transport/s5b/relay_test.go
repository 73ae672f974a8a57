// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"sync"
	"testing"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

const (
	proxyJID  = "relay.isle.example"
	serverJID = "isle.example"
)

// A relay is a proxy65 and the server that names it.
type relay struct {
	t       testing.TB
	ln      net.Listener
	jid     string
	running sync.WaitGroup

	withholds bool // the end of each burst, as Prosody's does
	cuts      bool // what it has for one end when the other has ended, as Prosody's does
	refuse    bool // every activation
	wrongAddr bool // names another port than its own

	mu     sync.Mutex
	parked map[string][]*net.TCPConn
	conns  []*net.TCPConn
}

// newRelay starts a proxy as a service of the servers of both ends.
func newRelay(t testing.TB, name string, for_ ...*session) *relay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{t: t, ln: ln, jid: name, parked: make(map[string][]*net.TCPConn)}
	r.running.Go(r.accept)
	t.Cleanup(r.close)
	for _, s := range for_ {
		r.serves(s)
	}
	return r
}

// serves makes r the only proxy of a session's server.
func (r *relay) serves(s *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.services[s.addr.Domain().String()] = func(context.Context, jid.JID, stanza.IQType, string) (string, error) {
		return "<query xmlns='" + nsDiscoItems + "'><item jid='" + r.jid + "'/><item jid='conference.isle.example'/></query>", nil
	}
	s.services[r.jid] = r.serveIQ
}

// known makes r answer a session, whose own server does not name it.
func (r *relay) known(s *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.services[r.jid] = r.serveIQ
}

func (r *relay) port() int { return r.ln.Addr().(*net.TCPAddr).Port }

func (r *relay) candidate(cid string, priority uint32) candidate {
	return candidate{
		cid: cid, host: "127.0.0.1", port: uint16(r.port()), jid: jid.MustParse(r.jid),
		priority: priority, typ: typeProxy,
	}
}

func (r *relay) close() {
	_ = r.ln.Close()
	r.mu.Lock()
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.mu.Unlock()
	r.running.Wait()
}

var activateRE = regexp.MustCompile(`sid='([^']*)'><activate>([^<]*)</activate>`)

func (r *relay) serveIQ(_ context.Context, from jid.JID, typ stanza.IQType, payload string) (string, error) {
	if m := activateRE.FindStringSubmatch(payload); typ == stanza.SetIQ && m != nil {
		return "", r.activate(newDigest(m[1], from, jid.MustParse(m[2])).String())
	}
	if payload == "<query xmlns='"+nsDiscoInfo+"'/>" {
		return "<query xmlns='" + nsDiscoInfo + "'><identity category='proxy' type='bytestreams'/></query>", nil
	}
	port := r.port()
	if r.wrongAddr {
		port ^= 1
	}
	return "<query xmlns='" + NS + "'><streamhost jid='" + r.jid + "' host='127.0.0.1' port='" + strconv.Itoa(port) + "'/></query>", nil
}

func (r *relay) accept() {
	for {
		conn, err := r.ln.Accept()
		if err != nil {
			return
		}
		c := conn.(*net.TCPConn)
		r.mu.Lock()
		r.conns = append(r.conns, c)
		r.running.Go(func() { r.park(c) })
		r.mu.Unlock()
	}
}

func (r *relay) park(c *net.TCPConn) {
	err := readGreeting(c)
	if err == nil {
		_, err = io.WriteString(c, greeted)
	}
	var d digest
	if err == nil {
		d, err = readRequest(c)
	}
	if err != nil {
		_ = c.Close()
		return
	}
	r.mu.Lock()
	r.parked[d.String()] = append(r.parked[d.String()], c)
	r.mu.Unlock()
	_, _ = c.Write(answer(d))
}

// activate joins the two that know the digest.
func (r *relay) activate(d string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	ends := r.parked[d]
	if r.refuse || len(ends) != 2 {
		return stanza.Error{Type: stanza.Cancel, Condition: stanza.NotAllowed}
	}
	delete(r.parked, d)
	r.running.Go(func() { r.copy(ends[0], ends[1]) })
	r.running.Go(func() { r.copy(ends[1], ends[0]) })
	return nil
}

// copy relays one way. If it withholds, the last octets of what was read at once, 4096 at the
// most, wait for the next.
func (r *relay) copy(to, from *net.TCPConn) {
	end := to.CloseWrite
	if r.cuts {
		end = to.Close // which resets it, if there is something unread or more comes
	}
	defer func() { _ = end() }()
	buf := make([]byte, 8192)
	var held []byte
	for {
		n, err := from.Read(buf)
		out := append(held, buf[:n]...)
		held = nil
		if r.withholds && err == nil {
			keep := min(n, 4096)
			held = append(held, out[len(out)-keep:]...)
			out = out[:len(out)-keep]
		}
		if _, werr := to.Write(out); werr != nil {
			_ = from.Close()
			return
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				_ = to.Close()
			}
			return
		}
	}
}

// String is for failures.
func (r *relay) String() string { return fmt.Sprintf("%s at %s", r.jid, r.ln.Addr()) }
