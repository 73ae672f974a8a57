// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mellium.im/sasl"
	"mellium.im/xmpp"
	"mellium.im/xmpp/jid"
)

// A rawClient is a session of which nothing but the login was made by a library: what
// follows may be written to and read from its TLS connection as it is.
type rawClient struct {
	session *xmpp.Session
	conn    *tls.Conn
	addr    jid.JID
}

// rawLogin logs in over direct TLS with a verified certificate. With quick, TCP
// segments of the server are acknowledged at once.
func rawLogin(b testing.TB, s *server, name string, quick bool) *rawClient {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tcp, err := net.Dial("tcp", s.direct)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = tcp.Close() })
	if quick {
		tcp = quickAcks(tcp)
	}
	conn := tls.Client(tcp, &tls.Config{RootCAs: authority(b, s.ca), ServerName: domain, NextProtos: []string{"xmpp-client"}})
	session, err := xmpp.NewClientSession(ctx, jid.MustParse(name+"@"+domain), conn,
		xmpp.SASL("", passwordOf(name), sasl.ScramSha256, sasl.ScramSha1), xmpp.BindResource())
	if err != nil {
		b.Fatal(err)
	}
	return &rawClient{session, conn, session.LocalAddr()}
}

// A rawPair is two sessions between which rendered stanzas travel, without TLS
// inside them: as fast as the server allows with blocks of a size and so many of them
// unanswered. It is the measure of everything in-band, so it is as lean as it gets:
// the same stanza again and again, several in one write where several may go, and a
// search for one word instead of an XML parser.
type rawPair struct {
	sender, receiver *rawClient
	quick            bool
	answers          chan answer               // to blocks of the sender
	current          atomic.Pointer[rawBlocks] // of the contender whose turn it is
}

// rawBlocks are what one contender sends.
type rawBlocks struct {
	octets  int // of payload in each
	arrived *arrivals
}

// An answer is that so many blocks were found to be answered at a time.
type answer struct {
	blocks int
	at     time.Time
}

// maxRawInFlight bounds the blocks in flight of a contender.
const maxRawInFlight = 256

// newRawPair logs both in, each behind a way of its own.
func newRawPair(b testing.TB, s *server, from, to string, rtt time.Duration, quick bool) *rawPair {
	b.Helper()
	p := &rawPair{
		sender:   rawLogin(b, s.behind(b, rtt, quick), from, quick),
		receiver: rawLogin(b, s.behind(b, rtt, quick), to, quick),
		quick:    quick,
		answers:  make(chan answer, maxRawInFlight),
	}
	var reading sync.WaitGroup
	reading.Go(p.receive)
	reading.Go(p.collect)
	b.Cleanup(func() {
		_ = p.sender.conn.NetConn().Close()
		_ = p.receiver.conn.NetConn().Close()
		reading.Wait()
	})
	return p
}

// receive answers each block.
func (p *rawPair) receive() {
	result := fmt.Appendf(nil, `<iq type="result" id="b1234" to="%s"/>`, p.sender.addr)
	results := bytes.Repeat(result, maxRawInFlight)
	_ = countMatches(p.receiver.conn, "</data>", func(n int) error {
		blocks := p.current.Load()
		blocks.arrived.add(n * blocks.octets)
		_, err := p.receiver.conn.Write(results[:n*len(result)])
		return err
	})
	_ = p.receiver.conn.NetConn().Close() // so that the sender notices
}

// collect reads the answers.
func (p *rawPair) collect() {
	defer close(p.answers)
	_ = countMatches(p.sender.conn, "result", func(n int) error {
		p.answers <- answer{n, time.Now()}
		return nil
	})
}

// countMatches calls f after each Read in which pattern ended, with how often that
// was; not more than maxRawInFlight times.
func countMatches(r io.Reader, pattern string, f func(n int) error) error {
	word := []byte(pattern)
	buf := make([]byte, 256<<10)
	kept := 0 // the start of buf, which may be the start of the word
	for {
		n, err := r.Read(buf[kept:])
		rest, found := buf[:kept+n], 0
		for {
			i := bytes.Index(rest, word)
			if i < 0 {
				break
			}
			rest = rest[i+len(word):]
			found++
		}
		rest = rest[max(0, len(rest)-len(word)+1):]
		kept = copy(buf, rest)
		if found > 0 {
			if err := f(found); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// A rawContender sends blocks of a size, and so many unanswered.
type rawContender struct {
	contender
	block, inFlight int
	quick           bool

	mu    sync.Mutex
	trips []time.Duration // from a block to its answer
	pair  *rawPair
}

// maxTrips bounds how many round trips are kept.
const maxTrips = 1 << 18

// contender sends blocks of so many octets with so many in flight.
func (p *rawPair) contender(block, inFlight int) *rawContender {
	name := fmt.Sprintf("raw-%dx%d", block, inFlight)
	if p.quick {
		name += "-quick"
	}
	c := &rawContender{block: block, inFlight: inFlight, quick: p.quick, pair: p}
	c.contender = contender{name, new(arrivals), c.run}
	return c
}

// run sends until ctx ends, then waits for the answers.
func (c *rawContender) run(ctx context.Context) error {
	p := c.pair
	p.current.Store(&rawBlocks{c.block, c.arrived})
	data := base64.StdEncoding.EncodeToString(randomBytes(c.block))
	iq := fmt.Sprintf(`<iq type="set" id="b1234" to="%s"><data xmlns="http://jabber.org/protocol/ibb" seq="12345" sid="bench">%s</data></iq>`,
		p.receiver.addr, data)
	batch := []byte(strings.Repeat(iq, c.inFlight))
	var sent []time.Time // of blocks that are not answered: answers come in order
	drained := time.NewTimer(drainTime)
	defer drained.Stop()
	stop := ctx.Done()
	for {
		if free := c.inFlight - len(sent); stop != nil && free > 0 {
			now := time.Now()
			if _, err := p.sender.conn.Write(batch[:free*len(iq)]); err != nil {
				return err
			}
			for range free {
				sent = append(sent, now)
			}
		}
		select {
		case <-stop:
			stop = nil
			drained.Reset(drainTime)
		case a, ok := <-p.answers:
			if !ok {
				return io.ErrUnexpectedEOF
			}
			c.note(sent[:a.blocks], a.at)
			sent = append(sent[:0], sent[a.blocks:]...)
		case <-drained.C:
			return fmt.Errorf("%d blocks were not answered", len(sent))
		}
		if stop == nil && len(sent) == 0 {
			return nil
		}
	}
}

// note keeps the round trips of blocks that were answered.
func (c *rawContender) note(sent []time.Time, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range sent {
		if len(c.trips) < maxTrips {
			c.trips = append(c.trips, at.Sub(t))
		}
	}
}

// roundTrip is the median time from a block to its answer.
func (c *rawContender) roundTrip() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return median(c.trips)
}

// stanza returns how many octets a stanza with one block has: a rate limit counts
// these.
func (c *rawContender) stanza() int {
	const around = len(`<iq type="set" id="b1234" to=""><data xmlns="http://jabber.org/protocol/ibb" seq="12345" sid="bench"></data></iq>`)
	return around + len(c.pair.receiver.addr.String()) + base64.StdEncoding.EncodedLen(c.block)
}
