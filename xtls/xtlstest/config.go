// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/pion/logging"
	"mellium.im/xmpp/jid"

	"example.org/xtls/xtls"
)

const (
	// DefaultStanzaLimit is the size of the largest stanza, in octets, that the
	// server takes when Config says nothing: what Prosody takes.
	DefaultStanzaLimit = 256 << 10

	// DefaultQueueLimit is how many octets may wait for a client that does not
	// read when Config says nothing.
	DefaultQueueLimit = 4 << 20
)

// A Config says how a server behaves. Its zero value is a friendly server for
// "localhost" without accounts. It is copied by [Start].
type Config struct {
	// Domain is the one domain served; empty means "localhost".
	Domain string

	// Listen is the address, HOST:PORT, where STARTTLS is spoken; empty means a
	// free port of 127.0.0.1. Port 0 is any free port.
	Listen string

	// ListenDirect is the address where TLS comes first; empty means a free port
	// of Listen's host.
	ListenDirect string

	// Accounts are the accounts at the start, name to password: see
	// [Server.AddAccount].
	Accounts map[string]string

	// RateLimit is how many octets a second a client may send, counted inside TLS;
	// a client may run ahead by one second's worth. The server then reads no
	// further, as Prosody does; nothing is lost. Zero means no limit.
	RateLimit int

	// StanzaLimit is the size of the largest stanza, in octets, a client may send.
	// One over ends its stream with policy-violation. It is announced (XEP-0478). Zero
	// means DefaultStanzaLimit, which is not: few servers do.
	StanzaLimit int

	// QueueLimit is how many octets may wait for a client that does not read. One
	// over ends its stream with policy-violation: senders are never held up by a
	// receiver. Zero means DefaultQueueLimit.
	QueueLimit int

	// Latency is how long after its arrival a stanza is delivered. Order is kept
	// and the rate does not suffer: a request and its answer between two clients
	// take twice this time.
	Latency time.Duration

	// DropAfter is the number of octets after login (inside TLS) after which each
	// client's TCP connection is closed without a word. Zero means never. See
	// [Server.DropAfter] for a single client.
	DropAfter int64

	// Proxy says how the SOCKS5 relay (XEP-0065) at proxy.DOMAIN behaves. It listens
	// on a free port of Listen's host. Zero means that it works.
	Proxy ProxyMode
	// Security is what the clients of [ClientConfig] dial with; zero means TLS.
	Security xtls.Security

	// Tamper makes the server dishonest: see [Tamper]. Nil means honest.
	Tamper Tamper

	// OnStanza, if not nil, is told each stanza a client sends to another address
	// than the server's own, before any tampering: what the server saw. It runs on
	// the sender's goroutine, for different senders at the same time, and must
	// not block. It may keep stanza but not change it.
	OnStanza func(from, to jid.JID, stanza []byte)

	// Logger is told of logins, ends of streams and refused clients, never
	// passwords or stanzas. Nil means silence.
	Logger logging.LeveledLogger
}

// withDefaults returns cfg with every empty field filled in, or says which field
// is wrong.
func (cfg Config) withDefaults() (Config, error) {
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"RateLimit", int64(cfg.RateLimit)},
		{"StanzaLimit", int64(cfg.StanzaLimit)},
		{"QueueLimit", int64(cfg.QueueLimit)},
		{"Latency", int64(cfg.Latency)},
		{"DropAfter", cfg.DropAfter},
	} {
		if f.value < 0 {
			return cfg, fmt.Errorf("xtlstest: Config.%s is negative", f.name)
		}
	}
	if cfg.Domain == "" {
		cfg.Domain = "localhost"
	}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return cfg, fmt.Errorf("xtlstest: Config.Listen: %w", err)
	}
	if cfg.ListenDirect == "" {
		cfg.ListenDirect = net.JoinHostPort(host, "0")
	}
	if cfg.StanzaLimit == 0 {
		cfg.StanzaLimit = DefaultStanzaLimit
	}
	if cfg.QueueLimit == 0 {
		cfg.QueueLimit = DefaultQueueLimit
	}
	if cfg.Logger == nil {
		cfg.Logger = logging.NewDefaultLeveledLoggerForScope("xmpp", logging.LogLevelDisabled, io.Discard)
	}
	return cfg, nil
}

// parseDomain returns s as an address without local part and resource.
func parseDomain(s string) (jid.JID, error) {
	d, err := jid.Parse(s)
	if err != nil {
		return jid.JID{}, fmt.Errorf("xtlstest: Config.Domain: %w", err)
	}
	if d.Localpart() != "" || d.Resourcepart() != "" {
		return jid.JID{}, errors.New("xtlstest: Config.Domain is not a domain")
	}
	return d, nil
}
