// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"
	"mellium.im/xmpp/version"

	"example.org/xtls/xtls"
)

const (
	// mostWarm bounds the load before a measurement: servers let a first burst of about
	// 20 kB through before they begin to hold anybody back.
	mostWarm = 3 * time.Second
	// stanzaRate is the in-band rate from which large stanzas are tried: below they would
	// take long, and a server that counts octets has said what it thinks of them.
	stanzaRate = 200e3
)

// doctorFlags are those of doctor.
type doctorFlags struct {
	duration time.Duration
}

func (a *app) doctorCommand() *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor [JID]",
		Short: "measure what your own server allows, and advise",
		Long: `Doctor logs in twice with your account, opens tunnels from one session to the
other, and measures what the server lets through: in-band, and through its SOCKS5
proxy (proxy65), if it has one. It says what that means, what you can do about it, and
what the admin of the server can, as lines for the configuration of Prosody or
ejabberd.

Where it is fast enough, stanzas of up to 512 KiB are tried, on a session of its own, which
ends with the first one that is too large. The keys are made for the occasion and thrown
away. For that half minute the account is online, as with serve: if it is your only
client, a server hands it the messages that wait for you, and it throws them away.

With a JID it then measures the paths to that peer, as bench does; there a serve must
run.`,
		Example: `  xtls-demo doctor
  xtls-demo doctor bob@example.net --json`,
		Args:              argsBetween(0, 1),
		ValidArgsFunction: a.completePeers,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.duration <= 0 || f.duration > mostBench {
				return usagef("--duration %v: want more than 0 and not more than %v", f.duration, mostBench)
			}
			for _, name := range args { // before half a minute of other things
				if _, err := parseAccount(name); err != nil {
					return err
				}
			}
			if err := a.doctor(cmd.Context(), f); err != nil || len(args) == 0 {
				return err
			}
			a.ui.result("")
			return a.bench(cmd.Context(), args[0], benchFlags{f.duration, mostTransfer})
		},
	}
	cmd.Flags().DurationVar(&f.duration, "duration", 6*time.Second, "`DURATION` of each measurement under load")
	return cmd
}

// A diagnosis is what was found.
type diagnosis struct {
	domain     string
	software   version.Query // XEP-0092; empty if the server does not say
	login      time.Duration // from looking for the server to a bound resource
	offer      serverOffer
	limits     xtls.Limits
	local      bool   // no address of the first proxy can be reached from elsewhere
	blockSize  int    // that the user wants; 0: none
	configFile string // where the user may say so for good
	inBand     pathFigures
	relay      pathFigures
	stanza     stanzaFigures
}

// pathFigures is what a path was measured to carry.
type pathFigures struct {
	err          error   // why it cannot be used; nil if it can
	rate         float64 // octets a second, after the first burst
	idle, loaded float64 // round trips in milliseconds, medians
}

// stanzaFigures is how large stanzas may be, as tried. Zero is not known.
type stanzaFigures struct {
	passed  int     // octets of the largest one that was answered
	rate    float64 // octets a second of that one, until its answer
	refused int     // octets of the one that ended the session, or was not answered
	err     error
}

// doctor diagnoses the own server, and reports each finding at once.
func (a *app) doctor(ctx context.Context, f doctorFlags) error {
	est, cancel := a.establishing(ctx)
	defer cancel()
	owner, acc, err := a.account(est)
	if err != nil {
		return err
	}
	defer a.ui.progress("")
	p, err := newProber(a, owner, acc, f.duration)
	if err != nil {
		return err
	}
	d := &diagnosis{domain: owner.Domainpart(), blockSize: a.set.blockSize, configFile: a.set.files.config}
	for _, examine := range []func(context.Context, *diagnosis) ([]finding, error){p.server, p.inBand, p.relay, p.stanzas} {
		found, err := examine(ctx, d)
		a.ui.progress("")
		if err != nil {
			return err
		}
		for _, one := range found {
			a.ui.event("doctor", append([]any{"what", one.what}, one.fields...)...)
			a.ui.result("%-12s %s", one.label, verbatim(one.text))
		}
	}
	a.advise(d)
	return nil
}

// advise prints the advice.
func (a *app) advise(d *diagnosis) {
	for _, text := range adviceForUser(d) {
		a.ui.event("advice", "for", "user", "text", text)
		a.ui.result("%-12s %s", "advice", verbatim(text))
	}
	remedies := remediesFor(d)
	for _, r := range remedies {
		fields := []any{"for", "admin", "text", r.why}
		if r.config != "" {
			fields = append(fields, "config", r.config)
		}
		a.ui.event("advice", fields...)
	}
	if len(remedies) > 0 {
		a.ui.result("\n%s", verbatim(letter(d, remedies)))
	}
}

// server logs in and asks the server what it has.
func (p *prober) server(ctx context.Context, d *diagnosis) ([]finding, error) {
	p.a.ui.progress("logging in")
	start := time.Now()
	c, err := p.connect(ctx, p.one, p.two, xtls.PathInBand)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	d.login = time.Since(start)
	p.a.ui.progress("asking the server what it has")
	d.offer, d.limits = inspect(ctx, c), c.Limits()
	d.software = software(ctx, c)
	if len(d.offer.proxies) > 0 {
		d.local = onlyLocal(ctx, d.offer.proxies[0].Host)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return serverFindings(d), nil
}

// inBand measures what the stanzas of a tunnel carry. Without it there is no diagnosis.
func (p *prober) inBand(ctx context.Context, d *diagnosis) ([]finding, error) {
	d.inBand = p.measure(ctx, xtls.PathInBand, "in-band")
	return inBandFindings(d), d.inBand.err
}

// relay does the same through the proxy of the server. One that does not work is a finding.
func (p *prober) relay(ctx context.Context, d *diagnosis) ([]finding, error) {
	if len(d.offer.proxies) > 0 {
		d.relay = p.measure(ctx, xtls.PathRelay, "through the proxy")
	}
	if err := d.relay.err; err != nil && (ctx.Err() != nil || isAlarm(err) || isLogin(err) || errors.Is(err, xtls.ErrLost)) {
		return nil, err
	}
	return relayFindings(d), nil
}

// stanzas tries how large one may be, where the server does not say and it is no burden.
func (p *prober) stanzas(ctx context.Context, d *diagnosis) ([]finding, error) {
	if d.limits.MaxBytes == 0 && d.inBand.rate >= stanzaRate {
		if d.stanza = p.trySizes(ctx); d.stanza.err != nil {
			return nil, d.stanza.err
		}
	}
	return stanzaFindings(d), nil
}

// measure measures one path between two sessions of the account.
func (p *prober) measure(ctx context.Context, path xtls.Path, name string) pathFigures {
	var figures pathFigures
	figures.err = p.tunnel(ctx, path, func(c *benchClient) error {
		idle := measurement{what: "idle"}
		load := measurement{what: "up", up: true}
		for _, phase := range []struct {
			what string
			m    *measurement
			time time.Duration
		}{
			{"round trips", &idle, p.duration},
			{"letting the first burst pass", &measurement{up: true}, min(mostWarm, p.duration/2)},
			{"sustained rate", &load, p.duration},
		} {
			p.a.ui.progress("measuring " + name + ": " + phase.what)
			if err := c.measure(ctx, phase.m, benchFlags{phase.time, mostTransfer}); err != nil {
				return err
			}
		}
		figures.rate, figures.idle, figures.loaded = load.sent.rate(), idle.median, load.median
		return nil
	})
	if ctx.Err() != nil {
		figures.err = context.Cause(ctx)
	}
	return figures
}
