// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/version"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// diagnosed is a diagnosis of a good server: fast in-band, a proxy that works.
func diagnosed(software string, change func(*diagnosis)) *diagnosis {
	d := &diagnosis{
		domain: "example.org", software: version.Query{Name: software}, configFile: "DIR/config.toml",
		offer:  serverOffer{proxies: []xtls.Proxy{{JID: jid.MustParse("proxy.example.org"), Host: "proxy.example.org", Port: 5000}}},
		inBand: pathFigures{rate: 30e6, idle: 20, loaded: 40},
		relay:  pathFigures{rate: 50e6, idle: 20, loaded: 40},
		stanza: stanzaFigures{passed: 250 << 10, rate: 5e6, refused: 512 << 10},
	}
	change(d)
	return d
}

func good(*diagnosis) {}

func stockLimits(d *diagnosis) { d.inBand = pathFigures{rate: 7e3, idle: 20, loaded: 1200} }

func noProxy(d *diagnosis) { d.offer.proxies, d.relay = nil, pathFigures{} }

func fastLarge(d *diagnosis) { d.inBand.rate, d.stanza.rate = 20e6, 80e6 }

// What was found decides what users and admins are told.
func TestAdvice(t *testing.T) {
	both := func(changes ...func(*diagnosis)) func(*diagnosis) {
		return func(d *diagnosis) {
			for _, c := range changes {
				c(d)
			}
		}
	}
	for _, tt := range []struct {
		name     string
		software string
		change   func(*diagnosis)
		user     []string // each begins one piece of advice
		admin    []string // each is in the letter; none: there is no letter
		absent   string   // is not in it
	}{
		{"good", "Prosody", good, []string{"nothing you need"}, nil, ""},
		{
			"limits", "Prosody", stockLimits,
			[]string{"let large transfers go", "do not run a shell"},
			[]string{"in prosody.cfg.lua:", `c2s = { rate = "1mb/s"`},
			"proxy65",
		},
		{
			"limits, no proxy", "Prosody", both(stockLimits, noProxy),
			[]string{"in-band is for shells", "do not run a shell"},
			[]string{"c2s = {", `Component "proxy.example.org" "proxy65"`},
			"nagle",
		},
		{
			"limits, a proxy for its own network", "Prosody", both(stockLimits, func(d *diagnosis) { d.offer.proxies[0].Host, d.local = "10.0.0.1", true }),
			[]string{"in-band is for shells", "do not run a shell"},
			[]string{"announces 10.0.0.1:5000, which only its own network reaches", "proxy65_address"},
			"nagle",
		},
		{
			"a proxy that does not work", "Prosody", func(d *diagnosis) { d.relay = pathFigures{err: errors.New("refused")} },
			[]string{"nothing you need"},
			[]string{"announced and does not work", "proxy65_address"},
			"limits",
		},
		{
			"slow for each stanza", "prosody", func(d *diagnosis) { d.inBand.rate = 4e6 },
			[]string{"the proxy is 12 times faster"},
			[]string{"network_default_read_size = 65536", "network_settings = { nagle = false }"},
			"limits",
		},
		{"a proxy that did not answer", "Prosody", func(d *diagnosis) { noProxy(d); d.offer.proxyErr = errors.New("no answer") }, []string{"nothing you need"}, nil, ""},
		{"a slow line", "Prosody", func(d *diagnosis) { d.inBand.rate, d.relay.rate, d.stanza.rate = 1e6, 1.2e6, 1e6 }, []string{"nothing you need"}, nil, ""},
		{
			"a very slow line", "Prosody", func(d *diagnosis) {
				d.inBand.rate, d.inBand.loaded, d.relay.rate, d.stanza = 50e3, 400, 60e3, stanzaFigures{}
			},
			[]string{"the line to the server is slow", "do not run a shell"},
			nil, "",
		},
		{
			"slow for each stanza, no proxy", "Prosody", both(noProxy, func(d *diagnosis) { d.inBand = pathFigures{rate: 4e6, idle: 1} }),
			[]string{"nothing you need"},
			[]string{"nagle = false"},
			"limits",
		},
		{
			"ejabberd", "ejabberd", both(stockLimits, noProxy),
			[]string{"in-band is for shells", "do not run a shell"},
			[]string{"in ejabberd.yml:", "rate: 1000000", `host: "proxy.example.org"`},
			"prosody",
		},
		{
			"large stanzas are faster", "ejabberd", fastLarge,
			[]string{"the proxy is", "large stanzas go through faster than small ones: try --block-size 32768 at both ends; block_size = 32768 as the first line of DIR/config.toml"},
			nil, "",
		},
		{"large blocks are used", "ejabberd", both(fastLarge, func(d *diagnosis) { d.blockSize = 32768 }), []string{"the proxy is"}, nil, ""},
		{"ejabberd is not slow for each stanza", "ejabberd", func(d *diagnosis) { d.inBand.rate = 4e6 }, []string{"the proxy is"}, nil, ""},
		{
			"narrow ejabberd", "ejabberd", func(d *diagnosis) { d.stanza = stanzaFigures{passed: 16 << 10, refused: 64 << 10} },
			[]string{"nothing you need"},
			[]string{"Stanzas may not have 64 KiB", "max_stanza_size: 262144"},
			"shaper",
		},
		{
			"narrow, says the server", "Prosody", func(d *diagnosis) { d.stanza, d.limits.MaxBytes = stanzaFigures{}, 10000 },
			[]string{"nothing you need"},
			[]string{"Stanzas may not have 10000 octets", "c2s_stanza_size_limit"},
			"",
		},
		{
			"unknown", "\x1b[2J", both(stockLimits, noProxy),
			[]string{"in-band is for shells", "do not run a shell"},
			[]string{"for the admin of example.org:", "for the server."},
			"    ",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := diagnosed(tt.software, tt.change)
			user := adviceForUser(d)
			if len(user) != len(tt.user) {
				t.Fatalf("advice %q", user)
			}
			for i, want := range tt.user {
				if !strings.HasPrefix(user[i], want) {
					t.Errorf("advice %q, want %q", user[i], want)
				}
			}
			remedies := remediesFor(d)
			if len(tt.admin) == 0 {
				if len(remedies) > 0 {
					t.Errorf("remedies %+v", remedies)
				}
				return
			}
			text := letter(d, remedies)
			for _, want := range tt.admin {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in\n%s", want, text)
				}
			}
			if tt.absent != "" && strings.Contains(text, tt.absent) || strings.Contains(text, "DOMAIN") {
				t.Errorf("%q is in\n%s", tt.absent, text)
			}
		})
	}
}

// Each finding says what it means, and nothing of the server's reaches a terminal as it is.
func TestFindings(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*diagnosis)
		find   func(*diagnosis) []finding
		want   []string
	}{
		{"server", func(d *diagnosis) { d.software.Version = "1\n2" }, serverFindings, []string{`example.org: \x1b[2J 1\n2`, "accepted in", "stream management not offered"}},
		{"fast", good, inBandFindings, []string{"30.0 MB/s sustained; 100 MB take 3 s", "round trip 20 ms, beside a large transfer 40 ms"}},
		{"limited", stockLimits, inBandFindings, []string{
			"7.0 kB/s sustained; 100 MB take 4.0 h; the line is slow, or the server lets each session send about 9.7 kB/s of stanzas",
			"round trip 20 ms, beside a large transfer 1.2 s: typing lags",
		}},
		{"relay", good, relayFindings, []string{"proxy.example.org at proxy.example.org:5000: 50.0 MB/s; 100 MB take 2 s", "round trip 20 ms"}},
		{"local relay", func(d *diagnosis) { d.local = true }, relayFindings, []string{"proxy.example.org at proxy.example.org:5000: 50.0 MB/s; 100 MB take 2 s; an address that", "round trip"}},
		{"broken relay", func(d *diagnosis) { d.relay = pathFigures{err: errors.New("\a")} }, relayFindings, []string{`proxy.example.org at proxy.example.org:5000 does not work from here: \a`}},
		{"silent relay", func(d *diagnosis) { noProxy(d); d.offer.proxyErr = errors.New("\a") }, relayFindings, []string{`not known: \a`}},
		{"no relay", noProxy, relayFindings, []string{"the server has no SOCKS5 proxy"}},
		{"stanzas", good, stanzaFindings, []string{"up to 250 KiB pass; one of 512 KiB ended its session"}},
		{"all pass", func(d *diagnosis) { d.stanza = stanzaFigures{passed: 512 << 10} }, stanzaFindings, []string{"up to 512 KiB pass, the largest tried"}},
		{"none passes", func(d *diagnosis) { d.stanza = stanzaFigures{refused: 16 << 10} }, stanzaFindings, []string{"one of 16 KiB ended its session already"}},
		{"announced", func(d *diagnosis) { d.stanza, d.limits.MaxBytes = stanzaFigures{}, 10000 }, stanzaFindings, []string{"up to 10000 octets, says the server"}},
		{"not tried", func(d *diagnosis) { d.stanza = stanzaFigures{} }, stanzaFindings, []string{"largest size not tried"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found := tt.find(diagnosed("\x1b[2J", tt.change))
			if len(found) != len(tt.want) {
				t.Fatalf("findings %+v", found)
			}
			for i, want := range tt.want {
				if !strings.HasPrefix(found[i].text, want) {
					t.Errorf("%q, want %q", found[i].text, want)
				}
			}
		})
	}
}

// Both ends of a tunnel are here: a key that neither has is an alarm.
func TestDoctorKnowsTheKey(t *testing.T) {
	p, err := newProber(nil, jid.MustParse("alice@example.org/home"), account{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if p.owner.Resourcepart() != "" {
		t.Errorf("two sessions would be %s", p.owner)
	}
	verify := holds(p.two)
	right := &xtls.Verification{Fingerprint: fingerprint.Of(p.two.Certificate[0])}
	if level, err := verify(t.Context(), right); err != nil || level != xtls.LevelServerVouched {
		t.Errorf("the right key: %v, %v", level, err)
	}
	wrong := &xtls.Verification{Fingerprint: fingerprint.Of(p.one.Certificate[0])}
	if _, err := verify(t.Context(), wrong); exitCode(err) != exitAlarm {
		t.Errorf("another key: %v", err)
	}
}

// The tunnel of a diagnosis is that of the other session, whoever else calls.
func TestDoctorTakesNobodyElse(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s := xtlstest.NewServer(t, xtlstest.Config{})
	open := func(context.Context, *xtls.Verification) (xtls.Level, error) { return xtls.LevelServerVouched, nil }
	client := func(name string) *xtls.Client {
		cfg := xtlstest.ClientConfig(t, s, name)
		cfg.Verify = open
		return xtlstest.NewClient(t, s, name, cfg)
	}
	one, two, stranger := client("alice"), client("bob"), client("mallory")
	l, err := two.Listen()
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		serveProbe(ctx, l, one.LocalAddr())
	}()
	if _, err := stranger.Dial(ctx, two.LocalAddr(), xtls.Tunnel(benchService)); !errors.Is(err, xtls.ErrDeclined) {
		t.Errorf("a stranger: %v, want ErrDeclined", err)
	}
	conn, err := one.Dial(ctx, two.LocalAddr(), xtls.Tunnel(benchService))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	<-served
	_ = l.Close()
}

func TestOnlyLocal(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1": true, "10.1.2.3": true, "192.168.0.1": true, "::1": true, "fe80::1": true, "fd00::1": true, "::ffff:127.0.0.1": true,
		"203.0.113.5": false, "2001:db8::1": false, "": false,
	} {
		if got := onlyLocal(canceled(t), host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
	if onlyLocal(canceled(t), "nowhere.invalid") {
		t.Error("a name that cannot be resolved is said to be local")
	}
}

// canceled is a context that lets nothing out onto the network.
func canceled(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
