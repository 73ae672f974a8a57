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
	"sync"
	"testing"

	"mellium.im/sasl"
	"mellium.im/xmpp"
	"mellium.im/xmpp/ibb"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/stanza"
)

// melliumSession logs in with nothing but mellium.im/xmpp.
func melliumSession(b *testing.B, p *server, name string) *xmpp.Session {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := tls.Dial("tcp", p.direct, &tls.Config{
		RootCAs: authority(b, p.ca), ServerName: domain, NextProtos: []string{"xmpp-client"},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	s, err := xmpp.NewClientSession(ctx, jid.MustParse(name+"@"+domain), conn,
		xmpp.SASL("", passwordOf(name), sasl.ScramSha256, sasl.ScramSha1), xmpp.BindResource())
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// melliumContender is the ibb package of mellium.im/xmpp, with acknowledged stanzas.
func melliumContender(b *testing.B, p *server, from, to string) contender {
	b.Helper()
	var handlers [2]ibb.Handler
	var sessions [2]*xmpp.Session
	var serving sync.WaitGroup
	for i, name := range []string{from, to} {
		sessions[i] = melliumSession(b, p, name)
		serving.Go(func() { _ = sessions[i].Serve(mux.New(stanza.NSClient, ibb.Handle(&handlers[i]))) })
		b.Cleanup(func() {
			_ = sessions[i].Conn().Close()
			if i == 0 { // the last one to be cleaned up
				serving.Wait()
			}
		})
	}
	accepted := make(chan net.Conn, 1)
	l := handlers[1].Listen(sessions[1])
	serving.Go(func() {
		if conn, err := l.Accept(); err == nil {
			accepted <- conn
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := handlers[0].OpenIQ(ctx, stanza.IQ{To: sessions[1].LocalAddr()}, sessions[0], true, 4096, "bench")
	if err != nil {
		b.Fatal(err)
	}
	in := <-accepted
	data := randomBytes(benchChunk)
	return contender{"mellium", func(ctx context.Context, size int) error {
		// Its Read waits for ever if the line is lost, so ctx ends that.
		defer context.AfterFunc(ctx, func() { _ = sessions[1].Conn().Close() })()
		done := make(chan struct{})
		var sending sync.WaitGroup
		defer sending.Wait()
		defer close(done)
		sending.Go(func() {
			// The last octets of a stream never leave its buffers, and a Read may miss
			// that something has come: it goes on until all have arrived.
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := out.Write(data[:4096]); err != nil {
					return
				}
			}
		})
		_, err := io.CopyN(io.Discard, in, int64(size))
		return err
	}}
}

// rawContender writes rendered stanzas to the server, without TLS inside them: as
// fast as the server allows with blocks of this size and so many unanswered.
func rawContender(b *testing.B, name string, p *server, from, to string, block, inFlight int) contender {
	b.Helper()
	sender, receiver := melliumSession(b, p, from), melliumSession(b, p, to)
	data := base64.StdEncoding.EncodeToString(randomBytes(block))
	iq := fmt.Appendf(nil, `<iq type="set" id="b1234" to="%s"><data xmlns="http://jabber.org/protocol/ibb" seq="12345" sid="bench">%s</data></iq>`,
		receiver.LocalAddr(), data)
	result := fmt.Appendf(nil, `<iq type="result" id="b1234" to="%s"/>`, sender.LocalAddr())
	var answering sync.WaitGroup
	arrived := make(chan int, 1024)
	answering.Go(func() { // answers each block
		defer close(arrived)
		_ = eachMatch(receiver.Conn(), []byte("</data>"), func() error {
			arrived <- block
			_, err := receiver.Conn().Write(result)
			return err
		})
	})
	answers := make(chan struct{}, 1024)
	answering.Go(func() {
		defer close(answers)
		_ = eachMatch(sender.Conn(), []byte("result"), func() error {
			answers <- struct{}{}
			return nil
		})
	})
	hangUp := func() {
		_ = sender.Conn().Close()
		_ = receiver.Conn().Close()
	}
	b.Cleanup(func() {
		hangUp()
		answering.Wait()
	})
	return contender{name, func(ctx context.Context, size int) error {
		defer context.AfterFunc(ctx, hangUp)()
		blocks := (size + block - 1) / block
		sent, answered, got := 0, 0, 0
		for answered < blocks || got < size {
			for sent < blocks && sent-answered < inFlight {
				if _, err := sender.Conn().Write(iq); err != nil {
					return err
				}
				sent++
			}
			select {
			case _, ok := <-answers:
				if !ok {
					return io.ErrUnexpectedEOF
				}
				answered++
			case n := <-arrived:
				got += n
			}
		}
		return nil
	}}
}

// eachMatch calls f for each time that pattern is read.
func eachMatch(r io.Reader, pattern []byte, f func() error) error {
	buf := make([]byte, 0, 64<<10)
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		for {
			i := bytes.Index(buf, pattern)
			if i < 0 {
				break
			}
			if err := f(); err != nil {
				return err
			}
			buf = buf[:copy(buf, buf[i+len(pattern):])]
		}
		// What is left can only be the start of a match.
		if keep := len(pattern) - 1; len(buf) > keep {
			buf = buf[:copy(buf, buf[len(buf)-keep:])]
		}
		if err != nil {
			return err
		}
	}
}
