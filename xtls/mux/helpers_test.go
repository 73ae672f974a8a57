// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package mux

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of the tests. Only what hangs reaches it.
const patience = 20 * time.Second

// pair returns two sessions on an unbuffered pipe.
func pair(t testing.TB) (client, server *Session) {
	t.Helper()
	a, b := net.Pipe()
	return sessions(t, a, b)
}

func sessions(t testing.TB, a, b net.Conn) (client, server *Session) {
	t.Helper()
	client, server = Client(a), Server(b)
	t.Cleanup(func() {
		var both sync.WaitGroup
		for _, s := range []*Session{client, server} {
			both.Go(func() { _ = s.Close() })
		}
		both.Wait()
	})
	return client, server
}

// streams returns both ends of a new stream.
func streams(t testing.TB, from, to *Session) (opened, accepted *Stream) {
	t.Helper()
	opened, err := from.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err = to.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return opened, accepted
}

// pattern is data in which nothing can be left out, repeated or exchanged unseen.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

func mustWrite(t testing.TB, w io.Writer, p []byte) {
	t.Helper()
	if n, err := w.Write(p); n != len(p) || err != nil {
		t.Fatalf("Write of %d = %d, %v", len(p), n, err)
	}
}

func mustRead(t testing.TB, r io.Reader, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("Read = %d of %d octets, %v", n, len(want), err)
	}
}

// cutMeansCut fails unless err says that something is missing.
func cutMeansCut(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, io.EOF) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Read = %v, want io.ErrUnexpectedEOF", err)
	}
}

// A rawPeer speaks frames by hand to a server session.
type rawPeer struct {
	t    *testing.T
	conn net.Conn
	s    *Session
}

func newRawPeer(t *testing.T) *rawPeer {
	a, b := net.Pipe()
	p := &rawPeer{t, a, Server(b)}
	_ = a.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() {
		_ = a.Close()
		_ = p.s.Close()
	})
	return p
}

// send writes a frame; what the session answers is thrown away by discard.
func (p *rawPeer) send(cmd command, id uint32, payload ...byte) error {
	_, err := p.conn.Write(append(appendHeader(nil, cmd, len(payload), id), payload...))
	return err
}

// discard reads and forgets what the session sends, until the end.
func (p *rawPeer) discard() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, p.conn)
	}()
	p.t.Cleanup(func() {
		_ = p.conn.Close()
		<-done
	})
}

// recv reads one frame of the session.
func (p *rawPeer) recv() (header, []byte) {
	p.t.Helper()
	var b [headerSize]byte
	if _, err := io.ReadFull(p.conn, b[:]); err != nil {
		p.t.Fatal(err)
	}
	h := parseHeader(b[:])
	payload := make([]byte, h.length)
	if _, err := io.ReadFull(p.conn, payload); err != nil {
		p.t.Fatal(err)
	}
	return h, payload
}

// ends waits for the end of the session and returns why.
func (p *rawPeer) ends() error {
	p.t.Helper()
	select {
	case <-p.s.Done():
	case <-time.After(patience):
		p.t.Fatal("the session lives on")
	}
	return p.s.Err()
}
