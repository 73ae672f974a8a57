// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"context"
	"encoding/xml"
	"strconv"
	"time"

	"mellium.im/xmpp"

	"example.org/xtls/transport/ibb"
)

// Limits are what a server says about the streams of its clients (XEP-0478).
type Limits struct {
	// MaxBytes is the size of the largest stanza that the server takes, in octets;
	// zero means that it does not say.
	MaxBytes int

	// Idle is how long the stream may be silent before the server may end it; zero
	// means that it does not say.
	Idle time.Duration
}

// Limits returns what the server has announced after login. It is zero on a session
// that [Connect] did not make.
func (c *Client) Limits() Limits {
	l, _ := c.session.Feature(nsLimits)
	limits, _ := l.(Limits)
	return limits
}

const nsLimits = "urn:xmpp:stream-limits:0"

// streamLimits reads the announcement. There is nothing to negotiate, and only what is
// announced after login counts.
func streamLimits() xmpp.StreamFeature {
	return xmpp.StreamFeature{
		Name:      xml.Name{Space: nsLimits, Local: "limits"},
		Necessary: xmpp.Secure | xmpp.Authn,
		Parse: func(_ context.Context, d *xml.Decoder, start *xml.StartElement) (bool, any, error) {
			var announced struct {
				MaxBytes []string `xml:"urn:xmpp:stream-limits:0 max-bytes"`
				Idle     []string `xml:"urn:xmpp:stream-limits:0 idle-seconds"`
			}
			if err := d.DecodeElement(&announced, start); err != nil {
				return false, nil, err
			}
			return false, Limits{
				MaxBytes: smallest(announced.MaxBytes),
				Idle:     time.Duration(smallest(announced.Idle)) * time.Second,
			}, nil
		},
	}
}

// smallest returns the least of the numbers that mean something: positive and below
// 2^31. Zero is none.
func smallest(values []string) int {
	least := 0
	for _, v := range values {
		n, err := strconv.ParseUint(v, 10, 31)
		if err == nil && n > 0 && (least == 0 || int(n) < least) {
			least = int(n)
		}
	}
	return least
}

const (
	// envelope is what a stanza with a block needs besides the block, in octets:
	// addresses, ids and tags. Servers add something on the way.
	envelope = 512
	// minBlock and maxBlock bound the size of a block: those of package ibb.
	minBlock = 256
	maxBlock = 65535
)

// blockSize is what is offered if the application does not say: the largest block whose
// stanza takes no more than half of what the server allows, as the server of the
// peer may allow less; 4096 if it does not say.
func (l Limits) blockSize() int {
	if l.MaxBytes == 0 {
		return ibb.DefaultBlockSize
	}
	text := l.MaxBytes/2 - envelope
	return min(max(text/4*3, minBlock), maxBlock) // four octets of base64 for three
}

// minKeepAlive is the shortest time between two signs of life, whatever the server says.
const minKeepAlive = 5 * time.Second

// keepAlive calls send with white space (RFC 6120 §4.6.1) twice in each time of
// idleness, until ctx ends or send fails. It returns at once if there is no limit.
func keepAlive(ctx context.Context, idle time.Duration, send func([]byte) error) {
	if idle == 0 {
		return
	}
	t := time.NewTicker(max(idle/2, minKeepAlive))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if send([]byte(" ")) != nil {
				return
			}
		}
	}
}
