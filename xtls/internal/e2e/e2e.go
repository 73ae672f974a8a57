// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

// Package e2e stands between a tunnel and the XML stream inside it (XEP-0246,
// XEP-0247), and keeps the peer from hurting the session above.
//
// What comes in is parsed, judged and written anew, stanza by stanza: bounded in
// size and depth, without restricted XML, with the one sender that the tunnel has
// proven, and without what only a server may say. A peer that breaks a rule is told
// which one, as RFC 6120 §4.9 wants it, and the tunnel ends. What goes out never
// blocks the reader for long; this package follows it only to know where a stanza
// ends, so that an answer of its own does not fall into the middle of another.
//
// An [Endpoint] belongs to a tunnel, a [Stream] to one stream in it: after a stream
// has been closed both ways, another one may follow.
package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/logging"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stream"

	"example.org/xtls/xtls/internal/guard"
)

const (
	// MaxStanza bounds one stanza of the peer, in octets as they arrive, unless the
	// Config says otherwise.
	MaxStanza = 256 << 10
	// MaxHeader bounds everything up to the end of a stream header: two JIDs of
	// 3071 octets and some namespaces.
	MaxHeader = 16 << 10
	// MaxDepth bounds the nesting of one stanza.
	MaxDepth = 64
	// maxQueue bounds the octets that wait to be written; it grows with MaxStanza.
	// Those who write are slowed down long before, at softQueue.
	maxQueue  = 8 << 20
	softQueue = 1 << 20
	// patience is how long one write waits for the peer to read. It must end: if both
	// ends wrote and neither read, nothing would ever move.
	patience = 5 * time.Second
	// maxPending bounds answers of this package that wait for a stanza of the
	// session to end.
	maxPending = 64 << 10
	// sayTime is how long the last words wait for that.
	sayTime = time.Second
	// closeTime is how long the peer may take to close its stream after ours.
	closeTime = 5 * time.Second
	// serveTime is how long the end of the stream is left to whoever serves the session
	// and does something else at the moment.
	serveTime = 500 * time.Millisecond
	// flushTime is how long the last words may take to leave.
	flushTime = 5 * time.Second
)

// ErrOpen means that the stream before has not been closed by both ends.
var ErrOpen = errors.New("the stream in this tunnel is still open")

// A Violation is a rule that the peer broke. It ends the stream and the tunnel.
type Violation struct {
	Condition stream.Error // what the peer is told
	Why       string       // for this side; what the peer sent is quoted and cut
}

// Error says what happened.
func (v *Violation) Error() string {
	return fmt.Sprintf("the peer broke the XML stream (%s): %s", v.Condition.Err, v.Why)
}

// Unwrap returns the stream error.
func (v *Violation) Unwrap() error { return v.Condition }

// Config says between whom the streams of a tunnel are.
type Config struct {
	Local, Peer jid.JID // full
	Opens       bool    // this end sends the first header
	MaxStanza   int     // 0 means the constant
	Log         logging.LeveledLogger
	Hangup      func() // ends the tunnel after a violation; called by Read
	Cut         error  // what Read returns when the tunnel ends in the middle of a stream
}

// An Endpoint is one end of the streams of a tunnel.
type Endpoint struct {
	cfg  Config
	conn net.Conn
	in   *source
	out  *guard.Writer

	once    sync.Once // of Goodbye
	closing atomic.Bool

	mu      sync.Mutex // protects current
	current *Stream
}

// New makes an Endpoint on an established tunnel, from which nobody else reads or
// writes. It starts a goroutine, which Goodbye or Abort end and Join joins.
func New(conn net.Conn, cfg Config) *Endpoint {
	if cfg.MaxStanza == 0 {
		cfg.MaxStanza = MaxStanza
	}
	e := &Endpoint{cfg: cfg, conn: conn}
	e.in = &source{r: bufio.NewReaderSize(conn, 16<<10)}
	e.out = guard.NewWriter(conn, max(maxQueue, 4*cfg.MaxStanza))
	e.out.Soft, e.out.Patience = softQueue, patience
	return e
}

// Stream returns the next stream. It is ErrOpen unless the one before was closed
// both ways.
func (e *Endpoint) Stream() (*Stream, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current != nil && !e.current.over() {
		return nil, ErrOpen
	}
	e.current = newStream(e)
	return e.current, nil
}

func (e *Endpoint) last() *Stream {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.current
}

// Goodbye closes the stream that is open: it ends ours, waits for the peer to end
// its own, for some seconds at most, and for what was written to leave. It is for
// the one who then closes the tunnel.
func (e *Endpoint) Goodbye() {
	e.closing.Store(true)
	e.once.Do(func() {
		if s := e.last(); s != nil {
			s.goodbye()
		}
		e.out.End()
		timer := time.NewTimer(flushTime)
		defer timer.Stop()
		select {
		case <-e.out.Done():
		case <-timer.C:
		}
	})
}

// Abort drops what was not written yet.
func (e *Endpoint) Abort() { e.out.Fail(net.ErrClosed) }

// Join waits for the goroutine of the Endpoint, once the tunnel is closed.
func (e *Endpoint) Join() { e.out.Close() }

// A source is the tunnel, octet by octet: the parser above reads ahead of nothing,
// so that the next stream begins where this one ends.
type source struct {
	r    *bufio.Reader
	scan guard.Scanner
	err  error // why nothing can be read any more: of the tunnel, or a broken bound
}

// ReadByte implements io.ByteReader.
func (s *source) ReadByte() (byte, error) {
	if s.err != nil {
		return 0, s.err
	}
	c, err := s.r.ReadByte()
	if err == nil {
		err = s.scan.Next(c)
	}
	if err != nil {
		s.err = err
		return 0, err
	}
	return c, nil
}

// Read is for the interface that the parser asks for; it uses ReadByte.
func (s *source) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c, err := s.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = c
	return 1, nil
}

// violation translates a bound of the guard.
func violation(err error) error {
	switch {
	case errors.Is(err, guard.ErrStanzaTooLarge):
		return &Violation{stream.PolicyViolation, "a stanza or header that is too large"}
	case errors.Is(err, guard.ErrTooDeep):
		return &Violation{stream.PolicyViolation, fmt.Sprintf("a stanza nested over %d deep", MaxDepth)}
	case errors.Is(err, guard.ErrRestrictedXML):
		return &Violation{stream.RestrictedXML, "a comment, processing instruction or document type"}
	}
	return err
}

// clip quotes and cuts what the peer sent.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%q...", s[:most])
	}
	return fmt.Sprintf("%q", s)
}

var _ io.ByteReader = (*source)(nil)
