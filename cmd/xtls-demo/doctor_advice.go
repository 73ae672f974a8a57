// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"fmt"
	"strings"
)

// A finding is one fact and what it means.
type finding struct {
	what   string // for programs
	label  string // for people, as are those below
	text   string // whose foreign parts are safe to print
	fields []any  // names and values of the event
}

const (
	// laggingTrip is the round trip under load, in milliseconds, from which typing is no pleasure.
	laggingTrip = 300
	// fastInBand is the in-band rate from which there is nothing to improve.
	fastInBand = 10e6
	// muchFaster is how many times faster a relay is before it is worth a word.
	muchFaster = 2
	// stanzaShare is how much of a limit on stanzas is payload in blocks of 4096 octets: the rest
	// is base64, tags and addresses.
	stanzaShare = 0.72
	// narrowStanza is the size of stanza that servers take everywhere else.
	narrowStanza = 64 << 10
)

// serverFindings is what the login showed.
func serverFindings(d *diagnosis) []finding {
	text := "the server does not say what it runs"
	if d.software.Name != "" {
		text = strings.TrimSpace(printable(d.software.Name) + " " + printable(d.software.Version))
	}
	resume := "stream management " + map[bool]string{false: "not offered", true: "offered"}[d.offer.resume] + "; this program does not use it"
	return []finding{
		{"server", "server", printable(d.domain) + ": " + text, []any{"domain", d.domain, "software", d.software.Name, "version", d.software.Version}},
		{
			"login", "login", fmt.Sprintf("accepted in %s, over %s", millisText(milliseconds(d.login)), d.offer.tls),
			[]any{"ms", milliseconds(d.login), "tls", d.offer.tls},
		},
		{"resume", "resume", resume, []any{"offered", d.offer.resume}},
	}
}

// inBandFindings is what stanzas carry.
func inBandFindings(d *diagnosis) []finding {
	p := d.inBand
	if p.err != nil {
		return nil
	}
	text := rateText(p.rate) + " sustained; 100 MB take " + duration(100e6/p.rate)
	if d.limited() {
		text += "; the line is slow, or the server lets each session send about " + rateText(p.rate/stanzaShare) + " of stanzas"
	}
	return []finding{
		{"inband", "in-band", text, []any{"rate", p.rate, "limited", d.limited()}},
		latency("inband_latency", p),
	}
}

// latency is what a user feels.
func latency(what string, p pathFigures) finding {
	text := fmt.Sprintf("round trip %s, beside a large transfer %s", millisText(p.idle), millisText(p.loaded))
	if p.loaded >= laggingTrip {
		text += ": typing lags"
	}
	return finding{what, "", text, []any{"idle_ms", p.idle, "loaded_ms", p.loaded}}
}

// relayFindings is what the proxy is good for.
func relayFindings(d *diagnosis) []finding {
	proxies, p := d.offer.proxies, d.relay
	names, address := d.offer.proxyNames(), ""
	if len(proxies) > 0 {
		address = proxies[0].Addr()
	}
	fields := []any{"proxies", names, "address", address, "works", p.rate > 0 && p.err == nil}
	switch {
	case d.offer.proxyErr != nil:
		return []finding{{"relay", "relay", "not known: " + printable(d.offer.proxyErr.Error()), append(fields, "why", d.offer.proxyErr)}}
	case len(proxies) == 0:
		return []finding{{"relay", "relay", "the server has no SOCKS5 proxy (proxy65)", fields}}
	}
	name := printable(names[0] + " at " + address)
	if p.err != nil {
		return []finding{{"relay", "relay", name + " does not work from here: " + printable(p.err.Error()), append(fields, "why", p.err)}}
	}
	text := fmt.Sprintf("%s: %s; 100 MB take %s", name, rateText(p.rate), duration(100e6/p.rate))
	if d.local {
		text += "; an address that peers elsewhere cannot reach"
	}
	fields = append(fields, "rate", p.rate, "local", d.local)
	return []finding{{"relay", "relay", text, fields}, latency("relay_latency", p)}
}

// stanzaFindings is how large a stanza may be.
func stanzaFindings(d *diagnosis) []finding {
	s := d.stanza
	var text string
	switch {
	case d.limits.MaxBytes > 0:
		text = fmt.Sprintf("up to %s, says the server; blocks are chosen to suit", octetsText(d.limits.MaxBytes))
	case s.refused > 0 && s.passed > 0:
		text = fmt.Sprintf("up to %s pass; one of %s ended its session", octetsText(s.passed), octetsText(s.refused))
	case s.refused > 0:
		text = fmt.Sprintf("one of %s ended its session already", octetsText(s.refused))
	case s.passed > 0:
		text = fmt.Sprintf("up to %s pass, the largest tried", octetsText(s.passed))
	default:
		text = fmt.Sprintf("largest size not tried: in-band is below %s, and the server does not say", rateText(stanzaRate))
	}
	return []finding{{"stanza", "stanzas", text, []any{
		"announced", d.limits.MaxBytes, "idle_seconds", d.limits.Idle.Seconds(), "passed", s.passed, "rate", s.rate, "refused", s.refused,
	}}}
}

// octetsText is a size in KiB where that is exact.
func octetsText(n int) string {
	if n%1024 == 0 {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d octets", n)
}

// duration is how long something takes, for people.
func duration(seconds float64) string {
	switch {
	case seconds < 1:
		return "less than a second"
	case seconds < 120:
		return fmt.Sprintf("%.0f s", seconds)
	case seconds < 7200:
		return fmt.Sprintf("%.0f min", seconds/60)
	default:
		return fmt.Sprintf("%.1f h", seconds/3600)
	}
}

// limited reports whether it is probably the server that holds an in-band tunnel back.
func (d *diagnosis) limited() bool { return d.inBand.rate < slowRate && !d.slowLine() }

// slowLine reports whether it is probably the line: the proxy is no subject of the limits of stanzas, and
// is not faster.
func (d *diagnosis) slowLine() bool {
	return d.inBand.rate < slowRate && d.relay.err == nil && d.relay.rate > 0 && d.relay.rate <= muchFaster*d.inBand.rate
}

// relayed reports whether the proxy works, for peers elsewhere too.
func (d *diagnosis) relayed() bool { return d.relay.rate > 0 && d.relay.err == nil && !d.local }

// adviceForUser is what can be done without the admin.
func adviceForUser(d *diagnosis) []string {
	var advice []string
	switch {
	case d.limited() && d.relayed():
		advice = append(advice, "let large transfers go direct or through the proxy: that is what tunnels do by themselves (--path auto) with peers whose key is known")
	case d.limited():
		advice = append(advice, "in-band is for shells and small files here; large transfers need a direct path (--path direct), a proxy of the peer's server, or another server")
	case d.slowLine():
		advice = append(advice, "the line to the server is slow, in-band and through the proxy alike: tunnels are for shells and small files here, unless there is a direct path")
	case d.relayed() && d.relay.rate > muchFaster*d.inBand.rate:
		advice = append(advice, fmt.Sprintf("the proxy is %.0f times faster than in-band; tunnels take it by themselves (--path auto) with peers whose key is known", d.relay.rate/d.inBand.rate))
	}
	if !d.limited() && d.blockSize == 0 && d.stanza.passed > narrowStanza && d.stanza.rate > muchFaster*d.inBand.rate {
		advice = append(advice, "large stanzas go through faster than small ones: try --block-size 32768 at both ends; block_size = 32768 as the first line of "+d.configFile+" keeps it")
	}
	if d.inBand.loaded >= laggingTrip {
		advice = append(advice, "do not run a shell beside a large in-band transfer of the same account")
	}
	if len(advice) == 0 {
		advice = append(advice, "nothing you need to do: in-band carries files as well")
	}
	return advice
}

// A remedy is what the admin of the server can do about one thing.
type remedy struct {
	why    string // a sentence of our own
	config string // lines for the configuration of the server; "" where that is not known
}

// remediesFor says what the admin of the server can do.
func remediesFor(d *diagnosis) []remedy {
	s := syntaxOf(d.software.Name)
	domain := printable(d.domain)
	var all []remedy
	add := func(why, config string) { all = append(all, remedy{why, strings.ReplaceAll(config, "DOMAIN", domain)}) }
	if d.limited() {
		add("Each client may send very little; 1 MB/s is still little for the server:", s.limits)
	}
	switch {
	case d.offer.proxyErr != nil: // it may well have one
	case len(d.offer.proxies) == 0:
		add("A SOCKS5 proxy (XEP-0065) carries files beside the XMPP streams:", s.proxy)
	case d.relay.err != nil:
		add("The SOCKS5 proxy is announced and does not work. Its TCP port must be open, and its address one that clients reach:", s.proxy)
	case d.local:
		add("The SOCKS5 proxy announces "+printable(d.offer.proxies[0].Addr())+", which only its own network reaches:", s.proxy)
	}
	if d.slowPerStanza() && s.reading != "" {
		add("Prosody reads little at a time, and waits to fill TCP segments. Unless that is set already, in-band gains from:", s.reading)
	}
	if n := max(d.stanza.refused, d.limits.MaxBytes); n > 0 && n <= narrowStanza {
		add(fmt.Sprintf("Stanzas may not have %s; elsewhere 256 KiB pass:", octetsText(n)), s.stanza)
	}
	return all
}

// slowPerStanza reports whether it is probably how the server reads, and neither a limit nor the
// line, that holds in-band back. Near the server the time of a large stanza shows it: one of
// 250 KiB goes through a stock Prosody at 5 MB/s, through one that reads 64 KiB at a time at 40.
// From afar, that the proxy is much faster on the same line is a hint.
func (d *diagnosis) slowPerStanza() bool {
	const near = 10 // milliseconds
	switch {
	case d.limited() || d.slowLine() || d.inBand.rate >= fastInBand:
		return false
	case d.inBand.idle < near && d.stanza.passed > narrowStanza:
		return d.stanza.rate < fastInBand
	default:
		return d.relay.err == nil && d.relay.rate > muchFaster*d.inBand.rate
	}
}

// A syntax is how the configuration of a server says something; "" is not known. DOMAIN stands
// for the domain.
type syntax struct {
	file                           string
	limits, proxy, reading, stanza string
}

// syntaxOf knows the servers that most people run.
func syntaxOf(software string) syntax {
	switch strings.ToLower(software) {
	case "prosody":
		return syntax{
			file: "prosody.cfg.lua",
			limits: `limits = {
  c2s = { rate = "1mb/s"; burst = "2s" };
  s2sin = { rate = "1mb/s"; burst = "2s" };
}`,
			proxy: `-- at the end of the file; TCP port 5000 must be open
Component "proxy.DOMAIN" "proxy65"
  proxy65_address = "proxy.DOMAIN"  -- a name or address that clients reach`,
			reading: `-- before the first VirtualHost
network_default_read_size = 65536
network_settings = { nagle = false }`,
			stanza: `c2s_stanza_size_limit = 262144`,
		}
	case "ejabberd":
		return syntax{
			file: "ejabberd.yml",
			limits: `shaper:
  normal:  # what c2s_shaper of shaper_rules names
    rate: 1000000
    burst_size: 2000000`,
			proxy: `modules:  # TCP port 7777 must be open
  mod_proxy65:
    host: "proxy.DOMAIN"
    hostname: "DOMAIN"  # a name or address that clients reach
    port: 7777
    access: local
    max_connections: 20`,
			stanza: `listen:
  - module: ejabberd_c2s  # and what stands there already
    max_stanza_size: 262144`,
		}
	default:
		return syntax{}
	}
}

// letter is the remedies as one text to hand on.
func letter(d *diagnosis, all []remedy) string {
	var b strings.Builder
	fmt.Fprintf(&b, "for the admin of %s", printable(d.domain))
	if file := syntaxOf(d.software.Name).file; file != "" {
		b.WriteString(", in " + file)
	}
	b.WriteString(":")
	for _, r := range all {
		why := r.why
		if r.config == "" {
			why = strings.TrimSuffix(why, ":") + "."
		}
		b.WriteString("\n\n" + why)
		for line := range strings.Lines(r.config) {
			b.WriteString("\n    " + strings.TrimSuffix(line, "\n"))
		}
	}
	return b.String()
}
