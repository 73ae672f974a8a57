// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

const nsBytestreams = "http://jabber.org/protocol/bytestreams"

const (
	// maxRelayed is how many connections the relay serves at a time; one over is
	// closed at once.
	maxRelayed = 256

	// relayTime is how long a connection may take to say what it wants, and how long
	// it then waits for the stream to be activated.
	relayTime = 30 * time.Second
)

// A ProxyMode says how the relay of a server behaves.
type ProxyMode int

const (
	// ProxyWorks is the zero value: it relays.
	ProxyWorks ProxyMode = iota
	// ProxyOff: there is none.
	ProxyOff
	// ProxyRefuses: it announces itself and answers every SOCKS5 request with "not
	// allowed".
	ProxyRefuses
	// ProxyStalls: it announces itself, takes connections, and says nothing.
	ProxyStalls
	// ProxyForbids: clients may connect, but no stream is activated.
	ProxyForbids
)

// A proxy is the SOCKS5 relay of a server (XEP-0065 §6), a service of its own
// below the server's domain.
type proxy struct {
	s    *Server
	mode ProxyMode
	jid  jid.JID
	ln   net.Listener

	mu      sync.Mutex // protects the fields below
	closed  bool
	conns   map[*net.TCPConn]struct{} // all there are
	streams map[string]*relayed       // by digest
}

// A relayed is what has come for one digest.
type relayed struct {
	ends   []*net.TCPConn // two at the most
	active chan struct{}  // closed when it is
}

func (r *relayed) isActive() bool {
	select {
	case <-r.active:
		return true
	default:
		return false
	}
}

// startProxy opens the port of the relay on host. It returns nil if there is to
// be none.
func startProxy(s *Server, mode ProxyMode, host string) (*proxy, error) {
	if mode == ProxyOff {
		return nil, nil
	}
	j, err := jid.Parse("proxy." + s.domain.String())
	if err != nil {
		return nil, fmt.Errorf("xtlstest: the address of the proxy: %w", err)
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, fmt.Errorf("xtlstest: %w", err)
	}
	p := &proxy{
		s: s, mode: mode, jid: j, ln: ln,
		conns:   make(map[*net.TCPConn]struct{}),
		streams: make(map[string]*relayed),
	}
	s.running.Go(p.accept)
	return p, nil
}

// close ends the relay and all its connections. The server joins the goroutines.
func (p *proxy) close() error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		_ = c.Close() // its goroutines notice
	}
	p.mu.Unlock()
	return p.ln.Close()
}

// ProxyAddr returns where the relay listens, as HOST:PORT, "" if there is none. Its
// JID is proxy.DOMAIN.
func (s *Server) ProxyAddr() string {
	if s.proxy == nil {
		return ""
	}
	return s.proxy.ln.Addr().String()
}

// accept serves each connection until the relay is closed.
func (p *proxy) accept() {
	for {
		conn, err := p.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			select {
			case <-time.After(50 * time.Millisecond):
			case <-p.s.closed:
			}
			continue
		}
		c := conn.(*net.TCPConn)
		p.mu.Lock()
		if p.closed || len(p.conns) == maxRelayed {
			_ = c.Close() // nothing was written
		} else {
			p.conns[c] = struct{}{}
			p.s.running.Go(func() { p.serve(c) })
		}
		p.mu.Unlock()
	}
}

// serve takes a connection up to where it waits for the other one.
func (p *proxy) serve(c *net.TCPConn) {
	_ = c.SetDeadline(time.Now().Add(relayTime)) // fails only if closed
	digest, err := p.socks(c)
	if err == nil {
		err = p.park(c, digest)
	}
	if err != nil {
		p.s.log.Debugf("relay: %s: %v", c.RemoteAddr(), err)
		p.drop(c)
	}
}

// socks is the server's part of SOCKS5 (RFC 1928; XEP-0065 §7), up to its answer.
func (p *proxy) socks(c *net.TCPConn) (digest string, err error) {
	if p.mode == ProxyStalls {
		_, err := io.Copy(io.Discard, c)
		return "", errors.Join(errors.New("stalled"), err)
	}
	var buf [256]byte
	if _, err := io.ReadFull(c, buf[:2]); err != nil {
		return "", err
	}
	if _, err := io.ReadFull(c, buf[2:2+min(int(buf[1]), 254)]); err != nil {
		return "", err
	}
	if buf[0] != 5 {
		return "", fmt.Errorf("SOCKS version %d", buf[0])
	}
	if _, err := c.Write([]byte{5, 0}); err != nil {
		return "", err
	}
	request := buf[:4+1+40+2]
	if _, err := io.ReadFull(c, request); err != nil {
		return "", err
	}
	if string(request[:5]) != "\x05\x01\x00\x03\x28" {
		return "", fmt.Errorf("SOCKS5 request %x", request[:5])
	}
	if p.mode == ProxyRefuses {
		_, err := c.Write([]byte{5, 2, 0, 1, 0, 0, 0, 0, 0, 0})
		return "", errors.Join(errors.New("refused"), err)
	}
	return string(request[5:45]), nil
}

// park keeps c until its stream is activated. The answer is written here: who has
// it may activate.
func (p *proxy) park(c *net.TCPConn, digest string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.streams[digest]
	if r == nil {
		r = &relayed{active: make(chan struct{})}
		p.streams[digest] = r
		p.s.running.Go(func() { p.expire(digest, r) })
	}
	if len(r.ends) == 2 {
		return errors.New("two are there already")
	}
	// A fresh connection takes so few octets at once.
	if _, err := c.Write([]byte("\x05\x00\x00\x03\x28" + digest + "\x00\x00")); err != nil {
		return err
	}
	r.ends = append(r.ends, c)
	return nil
}

// expire ends a stream that nobody activates in time.
func (p *proxy) expire(digest string, r *relayed) {
	timer := time.NewTimer(relayTime)
	defer timer.Stop()
	select {
	case <-r.active:
		return
	case <-timer.C:
	case <-p.s.closed:
	}
	p.mu.Lock()
	var late []*net.TCPConn
	if !r.isActive() {
		late = r.ends
		delete(p.streams, digest)
	}
	p.mu.Unlock()
	for _, c := range late {
		p.drop(c)
	}
}

// drop closes a connection and forgets it.
func (p *proxy) drop(c *net.TCPConn) {
	_ = c.Close() // it may be closed
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

// activate starts relaying (XEP-0065 §6.3.5). It returns the condition of the
// refusal, "" if there is none.
func (p *proxy) activate(sid, requester, target string) stanza.Condition {
	sum := sha1.Sum([]byte(sid + requester + target))
	digest := hex.EncodeToString(sum[:])
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.streams[digest]
	switch {
	case p.mode == ProxyForbids:
		return stanza.Forbidden
	case p.closed, r == nil:
		return stanza.ItemNotFound
	case len(r.ends) < 2, r.isActive():
		return stanza.NotAllowed
	}
	close(r.active)
	a, b := r.ends[0], r.ends[1]
	p.s.running.Go(func() {
		var ways sync.WaitGroup
		ways.Go(func() { relay(a, b) })
		ways.Go(func() { relay(b, a) })
		ways.Wait()
		p.drop(a)
		p.drop(b)
		p.mu.Lock()
		delete(p.streams, digest)
		p.mu.Unlock()
	})
	return ""
}

// relay copies one way, up to the end, which is that of the other way as well: so do the
// relays of Prosody and ejabberd. What to has sent and nobody has read then resets it.
func relay(to, from *net.TCPConn) {
	_ = errors.Join(to.SetDeadline(time.Time{}), from.SetDeadline(time.Time{})) // fail only if closed
	_, _ = io.Copy(to, from)
	_ = to.Close() // it may be closed
}

// is reports whether a stanza is for the relay.
func (p *proxy) is(to jid.JID) bool { return p != nil && to.Equal(p.jid) }

// serveIQ answers a request to the relay: XEP-0065 §4 and §6.3.5.
func (p *proxy) serveIQ(c *client, st *Stanza, payload xml.Name) {
	if !st.isRequest() {
		return
	}
	switch kind := st.Type + " " + payload.Space; {
	case payload.Local != "query":
	case kind == "get "+nsDiscoInfo:
		c.send(st.answer("result", proxyInfo).XML)
		return
	case kind == "get "+nsDiscoItems:
		c.send(st.answer("result", "<query xmlns='"+nsDiscoItems+"'/>").XML)
		return
	case kind == "get "+nsBytestreams:
		c.send(st.answer("result", p.streamhost()).XML)
		return
	case kind == "set "+nsBytestreams:
		p.serveActivate(c, st)
		return
	}
	p.s.bounce(c, st, stanza.Cancel, stanza.ServiceUnavailable)
}

const proxyInfo = "<query xmlns='" + nsDiscoInfo + "'><identity category='proxy' type='bytestreams' name='xtlstest'/>" +
	"<feature var='" + nsDiscoInfo + "'/><feature var='" + nsBytestreams + "'/></query>"

// streamhost says where the relay listens.
func (p *proxy) streamhost() string {
	addr := p.ln.Addr().(*net.TCPAddr)
	b := appendAttr([]byte("<query xmlns='"+nsBytestreams+"'><streamhost"), "jid", p.jid.String())
	b = appendAttr(b, "host", addr.IP.String())
	b = appendAttr(b, "port", strconv.Itoa(addr.Port))
	return string(append(b, "/></query>"...))
}

func (p *proxy) serveActivate(c *client, st *Stanza) {
	n, err := parseNode(st.XML)
	if err != nil {
		p.s.bounce(c, st, stanza.Modify, stanza.BadRequest)
		return
	}
	q := n.child(nsBytestreams, "query")
	if q == nil || q.child(nsBytestreams, "activate") == nil {
		p.s.bounce(c, st, stanza.Modify, stanza.BadRequest)
		return
	}
	target := q.child(nsBytestreams, "activate").text()
	if cond := p.activate(q.attr("sid"), c.addr, target); cond != "" {
		p.s.bounce(c, st, stanza.Cancel, cond)
		return
	}
	c.send(st.answer("result", "").XML)
}

// items is what disco#items of the server lists.
func (p *proxy) items() string {
	if p == nil {
		return "<query xmlns='" + nsDiscoItems + "'/>"
	}
	b := appendAttr([]byte("<query xmlns='"+nsDiscoItems+"'><item"), "jid", p.jid.String())
	return string(append(b, "/></query>"...))
}
