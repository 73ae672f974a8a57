// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import (
	"errors"
	"fmt"
	"sync"

	"github.com/pion/logging"
	"mellium.im/xmpp/jid"

	"example.org/xtls/transport"
)

const (
	// DefaultBlockSize is what XEP-0047 §5 recommends and every server takes, in octets.
	DefaultBlockSize = 4096

	// DefaultReceiveBuffer and DefaultSendBuffer are in octets. How much of them a stream uses
	// depends on its path: see the package comment.
	DefaultReceiveBuffer = 4 << 20
	DefaultSendBuffer    = 4 << 20

	// FirstWindow is the most credit announced for a new stream, in octets. It grows while the
	// reader keeps up.
	FirstWindow = 256 << 10

	// MaxWindow is how far, in octets, a limit may lie beyond what was sent, unless more was
	// announced. One that lies beyond that breaks the stream.
	MaxWindow = 16 << 20
)

// Config says how a [Transport] works. Only Stanzas is required.
type Config struct {
	// Stanzas is the XMPP session. Required.
	Stanzas transport.Stanzas

	// BlockSize is the most octets one block may carry, 256 to 65535, as offered or agreed to;
	// the smaller of both ends' counts, for both directions. 0 means DefaultBlockSize.
	BlockSize int

	// InFlight, if it is not 0, fixes how many blocks are sent and not acknowledged per stream, 1
	// to 900, each of BlockSize octets where there is enough. It is for measurements: 0 lets each
	// stream find out what its path carries best, within BlockSize. Without credit there is only
	// one block in any case.
	InFlight int

	// ReceiveBuffer bounds what came and was not read, in octets of payload per stream. It must
	// hold two blocks, and MaxWindow at most. 0 means DefaultReceiveBuffer.
	ReceiveBuffer int

	// SendBuffer bounds what was written and not acknowledged, in octets per stream. It must
	// hold a block. A slow path takes much less: what has been accepted delays whatever is written
	// later. 0 means DefaultSendBuffer.
	SendBuffer int

	// Logger gets why streams ended. Nil is silent. It never gets payload.
	Logger logging.LeveledLogger
}

// check returns cfg with its defaults filled in.
func (cfg Config) check() (Config, error) {
	if cfg.Stanzas == nil {
		return cfg, errors.New("ibb: Config.Stanzas is required")
	}
	if cfg.BlockSize == 0 {
		cfg.BlockSize = DefaultBlockSize // the least sizes of the buffers follow from it
	}
	for _, f := range []struct {
		name     string
		v        *int
		def      int
		min, max int
	}{
		{"BlockSize", &cfg.BlockSize, DefaultBlockSize, minBlockSize, maxBlockSize},
		{"InFlight", &cfg.InFlight, 0, 0, sessionBlocks},
		{"ReceiveBuffer", &cfg.ReceiveBuffer, DefaultReceiveBuffer, 2 * cfg.BlockSize, MaxWindow},
		{"SendBuffer", &cfg.SendBuffer, DefaultSendBuffer, cfg.BlockSize, maxBuffer},
	} {
		if *f.v == 0 {
			*f.v = max(f.def, f.min)
		}
		if *f.v < f.min || *f.v > f.max {
			return cfg, fmt.Errorf("ibb: Config.%s is %d, want %d to %d", f.name, *f.v, f.min, f.max)
		}
	}
	return cfg, nil
}

// firstWindow is what a new stream announces.
func (cfg Config) firstWindow() int {
	return min(cfg.ReceiveBuffer, max(FirstWindow, 2*cfg.BlockSize))
}

const maxBuffer = 1 << 30

// A Transport is the IBB end of one XMPP session. It implements [transport.Method]. Its methods
// may be called concurrently.
type Transport struct {
	cfg     Config
	stanzas transport.Stanzas
	running sync.WaitGroup // one per Conn.run
	flights budget
	windows windows

	mu      sync.Mutex
	streams map[streamKey]*Conn // those that stanzas may be for
	ended   error               // set by Close
}

// A streamKey is what a stanza is matched by: a third party cannot use a sid it learned.
type streamKey struct{ peer, sid string }

var _ transport.Method = (*Transport)(nil)

// New returns a Transport for the session cfg.Stanzas. Its handlers must be installed with
// [Handle] before Connect is called. Whoever made it must call [Transport.Close].
func New(cfg Config) (*Transport, error) {
	cfg, err := cfg.check()
	if err != nil {
		return nil, err
	}
	return &Transport{cfg: cfg, stanzas: cfg.Stanzas, streams: make(map[streamKey]*Conn)}, nil
}

// Namespace returns [NSJingle].
func (t *Transport) Namespace() string { return NSJingle }

// Close says that the XMPP session is gone, or about to go, because of err; nil gives no reason.
// Streams and negotiations end with an error that wraps [ErrSessionEnded] and err. No stanza is
// sent. Close returns when all goroutines have ended.
func (t *Transport) Close(err error) {
	t.mu.Lock()
	if t.ended == nil {
		t.ended = sessionError(err)
	}
	ended := t.ended
	conns := make([]*Conn, 0, len(t.streams))
	for _, c := range t.streams {
		conns = append(conns, c)
	}
	t.mu.Unlock()
	for _, c := range conns {
		c.sessionEnded(ended)
	}
	t.running.Wait()
}

// register makes stanzas for c arrive at it.
func (t *Transport) register(c *Conn) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended != nil {
		return t.ended
	}
	k := c.key()
	if t.streams[k] != nil {
		return violation("XEP-0047 §2.1", "sid %s is in use", quote(c.sid))
	}
	t.streams[k] = c
	return nil
}

// start lets c send.
func (t *Transport) start(c *Conn) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended != nil {
		return t.ended
	}
	t.running.Go(c.run)
	return nil
}

// remove is the opposite of register.
func (t *Transport) remove(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k := c.key(); t.streams[k] == c {
		delete(t.streams, k)
	}
}

// lookup returns the stream of peer that is called sid, nil if there is none.
func (t *Transport) lookup(peer jid.JID, sid string) *Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.streams[streamKey{peer.String(), sid}]
}

// logf logs, if there is a logger.
func (t *Transport) logf(format string, args ...any) {
	if t.cfg.Logger != nil {
		t.cfg.Logger.Debugf(format, args...)
	}
}
