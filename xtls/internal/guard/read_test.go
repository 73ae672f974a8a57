// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package guard_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"example.org/xtls/xtls/internal/guard"
)

// taker takes stanzas that begin with open and end with end.
type taker struct {
	open, end string
	taken     []string
	asked     []string // what it was asked about, cut
}

func (i *taker) Intercept(p []byte) (int, bool) {
	i.asked = append(i.asked, string(p[:min(len(p), 12)]))
	if n := min(len(p), len(i.open)); string(p[:n]) != i.open[:n] {
		return 0, false
	}
	end := bytes.Index(p, []byte(i.end))
	if end < 0 {
		return 0, true
	}
	i.taken = append(i.taken, string(p[:end+len(i.end)]))
	return end + len(i.end), false
}

// TestIntercept: however the octets arrive, an interceptor gets whole stanzas and the
// reader gets everything else, in order.
func TestIntercept(t *testing.T) {
	data := func(n int) string { return "<iq d>" + strings.Repeat("x", n) + "</iq>" }
	in := header + data(0) + data(10) + "<message><iq d></iq></message>" + data(50_000) +
		" " + data(1) + // white space: the parser is in the middle of a text
		"<presence/>" + data(2) + "<a>" + strings.Repeat("y", 30_000) + "</a>" + data(3) + "<iq d"
	kept := header + "<message><iq d></iq></message>" + " " + data(1) +
		"<presence/>" + "<a>" + strings.Repeat("y", 30_000) + "</a>" + "<iq d"
	taken := []string{data(0), data(10), data(50_000), data(2), data(3)}
	readers := map[string]func(io.Reader) io.Reader{
		"at once":        func(r io.Reader) io.Reader { return r },
		"octet by octet": iotest.OneByteReader,
		"in halves":      iotest.HalfReader,
		"with the end":   iotest.DataErrReader,
	}
	for name, wrap := range readers {
		for _, bytewise := range []bool{false, true} {
			g := guard.New(&readerConn{Reader: wrap(strings.NewReader(in))})
			g.StartStream()
			i := &taker{open: "<iq d>", end: "</iq>"}
			g.Intercept(i)
			got, err := readAll(g, bytewise)
			if err != nil || got != kept {
				t.Errorf("%s: read %d octets, %v; want %d", name, len(got), err, len(kept))
			}
			if strings.Join(i.taken, "|") != strings.Join(taken, "|") {
				t.Errorf("%s: %d stanzas taken, want %d", name, len(i.taken), len(taken))
			}
			_ = g.Close()
		}
	}
}

// TestInterceptBounds: a stanza that is too large for an interceptor goes to the reader,
// and one too large for that ends the connection.
func TestInterceptBounds(t *testing.T) {
	for _, tt := range []struct {
		size  int
		taken int
		err   error
	}{
		{guard.MaxIntercept, 1, nil},
		{guard.MaxIntercept + 1, 0, nil},
		{guard.MaxStanza, 0, nil},
		{guard.MaxStanza + 1, 0, guard.ErrStanzaTooLarge},
	} {
		s := "<iq d>" + strings.Repeat("x", tt.size-len("<iq d></iq>")) + "</iq>"
		g := guard.New(&readerConn{Reader: strings.NewReader(header + s + "<end/>")})
		g.StartStream()
		i := &taker{open: "<iq d>", end: "</iq>"}
		g.Intercept(i)
		got, err := readAll(g, true)
		if !errors.Is(err, tt.err) || len(i.taken) != tt.taken {
			t.Errorf("%d octets: %d taken, %v", tt.size, len(i.taken), err)
		}
		if tt.err == nil && !strings.HasSuffix(got, "<end/>") {
			t.Errorf("%d octets: what followed was not read", tt.size)
		}
		_ = g.Close()
	}
}

// TestInterceptNotBeforeLogin: before a stream of stanzas there is nothing to intercept.
func TestInterceptNotBeforeLogin(t *testing.T) {
	g := guard.New(&readerConn{Reader: strings.NewReader(header + "<iq d></iq>")})
	defer g.Close()
	i := &taker{open: "<iq d>", end: "</iq>"}
	g.Intercept(i)
	if got, err := readAll(g, true); err != nil || !strings.HasSuffix(got, "<iq d></iq>") || len(i.asked) > 0 {
		t.Errorf("read %q, %v; asked about %q", got, err, i.asked)
	}
}

// readAll reads with Read or with ReadByte.
func readAll(g *guard.Conn, bytewise bool) (string, error) {
	if !bytewise {
		b, err := io.ReadAll(g)
		return string(b), err
	}
	var all []byte
	for {
		b, err := g.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return string(all), nil
		case err != nil:
			return string(all), err
		}
		all = append(all, b)
	}
}
