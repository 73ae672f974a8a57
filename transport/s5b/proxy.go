// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

const (
	// maxItems bounds the services of the own server that are asked whether they are proxies. The
	// server's others are not looked at.
	maxItems = 32

	// maxProxies bounds the proxies that are offered, maxStreamhosts the addresses of one.
	maxProxies     = 4
	maxStreamhosts = 4

	// discoveryTime bounds the search, queryTime each question of it.
	discoveryTime = 10 * time.Second
	queryTime     = 5 * time.Second

	// retryTime is how long nobody is asked again after a search that failed.
	retryTime = time.Minute
)

const (
	nsDiscoInfo  = "http://jabber.org/protocol/disco#info"
	nsDiscoItems = "http://jabber.org/protocol/disco#items"
)

// A Proxy is a SOCKS5 relay (XEP-0065 §6) of the own server.
type Proxy struct {
	// JID is the address of the service, a domain.
	JID jid.JID

	// Host is a name or an IP address, Port the TCP port there.
	Host string
	Port uint16
}

// Addr returns host and port as package net takes them.
func (p Proxy) Addr() string { return net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port))) }

// A search is one look for proxies.
type search struct {
	done chan struct{}

	// Valid when done is closed.
	at  time.Time // when it ended
	err error

	mu    sync.Mutex
	found [][]Proxy // so far, by service
}

// proxies are those found so far.
func (s *search) proxies() []Proxy {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Concat(s.found...)
	return all[:min(len(all), maxProxies)]
}

// Proxies returns the relays of the own server, in the order it names them, at most 4. The first
// call asks the server (XEP-0065 §4) and may take some seconds; its answer is kept for the life of
// the Transport. Calling it right after login has it ready for the first negotiation. An empty
// list means that the server has none; an error, that it could not be asked or that a service did
// not answer, which is not tried again for a minute.
func (t *Transport) Proxies(ctx context.Context) ([]Proxy, error) {
	s := t.search()
	select {
	case <-s.done:
		return s.proxies(), s.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-t.ctx.Done():
		return nil, context.Cause(t.ctx)
	}
}

// search returns the search that is under way or holds, or starts one.
func (t *Transport) search() *search {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.found; s != nil {
		select {
		case <-s.done:
			if s.err == nil || time.Since(s.at) < retryTime {
				return s
			}
		default:
			return s
		}
	}
	s := &search{done: make(chan struct{})}
	if t.ctx.Err() != nil {
		s.err = context.Cause(t.ctx)
		close(s.done)
		return s
	}
	t.found = s
	t.running.Go(func() {
		defer close(s.done)
		ctx, cancel := context.WithTimeout(t.ctx, discoveryTime)
		defer cancel()
		s.err = t.discover(ctx, s)
		s.at = time.Now()
		t.logf("the server has %d SOCKS5 proxies (%v)", len(s.proxies()), s.err)
	})
	return s
}

// known returns the proxies found so far, without waiting.
func (t *Transport) known() []Proxy {
	t.mu.Lock()
	s := t.found
	t.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.proxies()
}

// discover asks the own server for its services and these for what they are.
func (t *Transport) discover(ctx context.Context, s *search) error {
	items, err := t.items(ctx, t.stanzas.LocalAddr().Domain())
	if err != nil {
		return fmt.Errorf("s5b: looking for a proxy: %w", err)
	}
	s.mu.Lock()
	s.found = make([][]Proxy, len(items))
	s.mu.Unlock()
	errs := make([]error, len(items))
	var asking sync.WaitGroup
	for i, item := range items {
		asking.Go(func() {
			ps, err := t.proxiesAt(ctx, item)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.found[i], errs[i] = ps, err
		})
	}
	asking.Wait()
	if err := errors.Join(errs...); err != nil && len(s.proxies()) == 0 {
		return fmt.Errorf("s5b: looking for a proxy: %w", err)
	}
	return nil
}

// proxiesAt returns the addresses of a service if it is a proxy. An error means that it did not
// answer; to say that it has none is an answer.
func (t *Transport) proxiesAt(ctx context.Context, service jid.JID) ([]Proxy, error) {
	is, err := t.isProxy(ctx, service)
	if !is {
		return nil, unanswered(service, err)
	}
	ps, err := t.streamhosts(ctx, service)
	return ps, unanswered(service, err)
}

// unanswered returns err unless that is an answer.
func unanswered(service jid.JID, err error) error {
	if err == nil || errors.As(err, &stanza.Error{}) {
		return nil
	}
	return fmt.Errorf("%s: %w", quote(service.String()), err)
}

// ask sends a question and decodes the answer into v.
func (t *Transport) ask(ctx context.Context, to jid.JID, ns string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	r, err := t.stanzas.Request(ctx, stanza.GetIQ, to, []byte(`<query xmlns='`+ns+`'/>`))
	if err != nil {
		return err
	}
	return xml.NewTokenDecoder(r).Decode(v)
}

// items returns the services of a server: domains, each once (XEP-0030 §4).
func (t *Transport) items(ctx context.Context, server jid.JID) ([]jid.JID, error) {
	var answer struct {
		XMLName xml.Name `xml:"http://jabber.org/protocol/disco#items query"`
		Items   []struct {
			JID string `xml:"jid,attr"`
		} `xml:"http://jabber.org/protocol/disco#items item"`
	}
	if err := t.ask(ctx, server, nsDiscoItems, &answer); err != nil {
		return nil, err
	}
	var found []jid.JID
	seen := make(map[string]bool)
	for _, item := range answer.Items {
		j, err := jid.Parse(item.JID)
		if err != nil || !isDomain(j) || seen[j.String()] {
			continue
		}
		if len(found) == maxItems {
			t.logf("the server has more than %d services, the rest is not looked at", maxItems)
			break
		}
		seen[j.String()] = true
		found = append(found, j)
	}
	return found, nil
}

// isProxy asks a service for its identity (XEP-0065 §4.2).
func (t *Transport) isProxy(ctx context.Context, service jid.JID) (bool, error) {
	var answer struct {
		XMLName    xml.Name `xml:"http://jabber.org/protocol/disco#info query"`
		Identities []struct {
			Category string `xml:"category,attr"`
			Type     string `xml:"type,attr"`
		} `xml:"http://jabber.org/protocol/disco#info identity"`
	}
	if err := t.ask(ctx, service, nsDiscoInfo, &answer); err != nil {
		return false, err
	}
	for _, id := range answer.Identities {
		if id.Category == "proxy" && id.Type == "bytestreams" {
			return true, nil
		}
	}
	return false, nil
}

// streamhosts asks a proxy for its network addresses (XEP-0065 §4.3).
func (t *Transport) streamhosts(ctx context.Context, proxy jid.JID) ([]Proxy, error) {
	var answer struct {
		XMLName xml.Name `xml:"http://jabber.org/protocol/bytestreams query"`
		Hosts   []struct {
			JID  string `xml:"jid,attr"`
			Host string `xml:"host,attr"`
			Port string `xml:"port,attr"`
		} `xml:"http://jabber.org/protocol/bytestreams streamhost"`
	}
	if err := t.ask(ctx, proxy, NS, &answer); err != nil {
		return nil, err
	}
	var found []Proxy
	for _, h := range answer.Hosts {
		host, ok := parseHost(h.Host)
		p := Proxy{Host: host, Port: defaultPort}
		var err error
		if h.Port != "" {
			var n uint64
			if n, err = strconv.ParseUint(h.Port, 10, 16); err != nil || n == 0 {
				continue // zeroconf, which is long gone
			}
			p.Port = uint16(n)
		}
		// A proxy speaks for itself only. One of several nodes that share a name adds a
		// resource (ejabberd does), and activates only what is addressed to that.
		if p.JID, err = jid.Parse(h.JID); err != nil || !isService(p.JID) || !p.JID.Domain().Equal(proxy) || !ok {
			continue
		}
		if found = append(found, p); len(found) == maxStreamhosts {
			break
		}
	}
	return found, nil
}

// errUnconfirmed means that a proxy did not say that it is where the peer says it is.
var errUnconfirmed = errors.New("not confirmed by the proxy")

// confirm asks the proxy of a peer's candidate whether that is its address: a peer could pass its
// own address off as a relay and learn ours from the connection.
func (t *Transport) confirm(ctx context.Context, c candidate) error {
	if !isService(c.jid) {
		return fmt.Errorf("%w: %s is no service", errUnconfirmed, quote(c.jid.String()))
	}
	hosts, err := t.streamhosts(ctx, c.jid.Domain())
	if err != nil {
		return fmt.Errorf("%w: %w", errUnconfirmed, err)
	}
	for _, p := range hosts {
		if p.Addr() == c.addr() {
			return nil
		}
	}
	return errUnconfirmed
}

// activate tells a proxy that both ends are there (XEP-0065 §6.3.5).
func (t *Transport) activate(ctx context.Context, proxy jid.JID, sid string, peer jid.JID) error {
	q := fmt.Sprintf(`<query xmlns='%s' sid='%s'><activate>%s</activate></query>`, NS, escape(sid), escape(peer.String()))
	_, err := t.stanzas.Request(ctx, stanza.SetIQ, proxy, []byte(q))
	return err
}

// isService tells whether j is a domain or one of its nodes, and nobody's account.
func isService(j jid.JID) bool { return j.Domainpart() != "" && j.Localpart() == "" }

func isDomain(j jid.JID) bool {
	return j.Domainpart() != "" && j.Localpart() == "" && j.Resourcepart() == ""
}
