// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package lean_test

import (
	"context"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"mellium.im/xmpp"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/stanza"
	"mellium.im/xmpp/stream"

	"example.org/xtls/transport"
	"example.org/xtls/transport/ibb"
	"example.org/xtls/xtls/internal/exchange"
	"example.org/xtls/xtls/internal/guard"
	"example.org/xtls/xtls/internal/lean"
)

// BenchmarkReceive is the work for one block, from the connection below the guard to the
// application, and back to the connection for the answer.
func BenchmarkReceive(b *testing.B) {
	for _, size := range []int{4096, 65535} {
		for _, intercept := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/intercept=%v", size, intercept), func(b *testing.B) { receive(b, size, intercept) })
		}
	}
}

func receive(b *testing.B, size int, intercept bool) {
	source := &source{
		left: b.N, tokens: make(chan struct{}, 2), start: make(chan struct{}),
		text: base64.StdEncoding.EncodeToString(make([]byte, size)),
		rest: []byte(header + strings.Replace(opened, "'256'", "'"+strconv.Itoa(size)+"'", 1)),
	}
	g := guard.New(source)
	defer g.Close()
	g.StartStream()
	_, _ = g.Write([]byte(header))
	s, err := xmpp.NewSession(b.Context(), self.Domain(), self, g, xmpp.Secure|xmpp.Authn,
		func(_ context.Context, in, _ *stream.Info, s *xmpp.Session, _ any) (xmpp.SessionState, io.ReadWriter, any, error) {
			in.XMLNS = stanza.NSClient
			r := s.TokenReader()
			defer r.Close()
			_, err := r.Token()
			return xmpp.Ready, nil, nil, err
		})
	if err != nil {
		b.Fatal(err)
	}
	x := exchange.New(s, silent, g)
	blocks, err := ibb.New(ibb.Config{Stanzas: x, BlockSize: size})
	if err != nil {
		b.Fatal(err)
	}
	if intercept {
		g.Intercept(lean.New(x, blocks, silent))
	}
	served := make(chan error, 1)
	conn, err := blocks.Connect(b.Context(), &transport.Negotiation{Peer: other, Signal: &offer{size, func() {
		go func() {
			served <- s.Serve(exchange.Guard(mux.New(stanza.NSClient, x.Handle(), ibb.Handle(blocks)), silent))
		}()
	}}})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	close(source.start)
	buf := make([]byte, size)
	for range b.N {
		if _, err := io.ReadFull(conn, buf); err != nil {
			b.Fatal(err)
		}
		<-source.tokens
	}
	b.StopTimer()
	<-served
	x.Close(io.ErrClosedPipe)
	blocks.Close(io.ErrClosedPipe)
}

// An offer is the Jingle session of a peer that offers blocks of a size.
type offer struct {
	size   int
	served func()
}

func (o *offer) Recv(context.Context) (xml.TokenReader, error) {
	return xml.NewDecoder(strings.NewReader(fmt.Sprintf(`<transport xmlns='urn:xmpp:jingle:transports:ibb:1' `+
		`xmlns:x='urn:xmpp:xtls:1' sid='S' block-size='%d' x:credit='262144'/>`, o.size))), nil
}

func (o *offer) Send(context.Context, []byte) error {
	o.served()
	return nil
}

// A source is the connection to a server that sends blocks, a few before they are read.
type source struct {
	net.Conn
	left, seq int
	text      string
	rest, buf []byte
	start     chan struct{}
	tokens    chan struct{}
}

func (s *source) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		<-s.start
		if s.left == 0 {
			return 0, io.EOF
		}
		s.tokens <- struct{}{}
		s.buf = append(s.buf[:0], `<iq type='set' id='data' from='bruno@moor.example/phone' to='alba@isle.example/desk'>`+
			`<data xmlns='http://jabber.org/protocol/ibb' sid='S' seq='`...)
		s.buf = strconv.AppendInt(s.buf, int64(s.seq%65536), 10)
		s.buf = append(append(append(s.buf, `'>`...), s.text...), `</data></iq>`...)
		s.rest = s.buf
		s.seq++
		s.left--
	}
	n := copy(p[:min(len(p), 16<<10)], s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (*source) Write(p []byte) (int, error) { return len(p), nil }

func (*source) Close() error                     { return nil }
func (*source) SetWriteDeadline(time.Time) error { return nil }
