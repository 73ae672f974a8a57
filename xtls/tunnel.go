// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/fingerprint"
	"example.org/xtls/jingle"
	"example.org/xtls/sas"
	"example.org/xtls/transport"
)

const (
	// contentName is the name of the one content of our sessions.
	contentName = "xtls"
	// acceptTime bounds how long a peer may think about an offer.
	acceptTime = 90 * time.Second
	// goodbyeTime bounds a session-terminate and its answer.
	goodbyeTime = 5 * time.Second
	// heartbeat is how often a tunnel on which nothing arrives is checked, and
	// heartbeatTime how long the peer may take to answer. Together they keep a
	// peer that vanished from going unnoticed for 30 seconds.
	heartbeat     = 10 * time.Second
	heartbeatTime = 15 * time.Second
	// deadPath is how long a carrier that is not the stanzas may be without any sign that what was
	// written arrives, while the peer is there.
	deadPath = 30 * time.Second
)

// A tunnel is one end of a Jingle session on its way to a Conn and beyond.
//
//	offered --accept--> connecting --carrier--> handshake --keys--> judged
//	    --both confirmed--> established --Close, loss or terminate--> ended
//
// One goroutine, receive, reads what the peer signals from the first moment to
// the last and sorts it for whoever waits.
type tunnel struct {
	client *Client
	js     *jingle.Session
	state  State // written by the goroutine that establishes the tunnel; after that, under mu, by raise

	ours, theirs *security
	accepted     chan *jingle.Message // initiator: the session-accept
	confirmed    chan struct{}        // closed by the peer's CONFIRM
	received     chan struct{}        // closed when receive has ended

	// The way to the peer; owned by the goroutine that establishes the tunnel.
	ways    ways
	attempt *attempt
	rest    []transport.Method // initiator: what is tried if attempt fails

	ctx    context.Context // ends, with its cause, when the session does
	cancel context.CancelCauseFunc

	tls  secured           // set by the handshake
	leaf *x509.Certificate // the peer's, proven in it

	// What verifications need; set with the keys, used by one run at a time.
	keys       *keys
	series     *sas.Series
	verifyWake chan struct{}  // holds one if verifyFrames may have become non-empty
	begun      chan struct{}  // the same for a frame that begins a run
	judged     atomic.Bool    // this end has accepted the peer's key
	decided    atomic.Bool    // its user was asked and did not verify; until the tunnel is established
	tasks      sync.WaitGroup // verifications that the peer asked for; joined by Close

	mu        sync.Mutex // protects the fields below
	signal    *signal    // of the attempt
	carrier   *watched   // once settled, it stays
	interrupt context.CancelCauseFunc
	replaced  chan *jingle.Message // responder: the transport-replace
	proposed  bool                 // it has come
	answered  chan *jingle.Message // initiator: the answer to its own
	settled   bool                 // the handshake is done: the carrier is not replaced any more

	sealer *sealer
	early  []*control // frames that came before the keys were known

	verifyFrames []frame // of verifications, in order
	verifying    bool    // Config.Verify runs, on first contact or later
	passwordRuns byte    // the number of the last run with a password
}

func newTunnel(c *Client, peer jid.JID, app App, initiator bool) *tunnel {
	t := &tunnel{
		client:    c,
		state:     State{Peer: peer, App: app, Initiator: initiator},
		accepted:  make(chan *jingle.Message, 1),
		confirmed: make(chan struct{}),
		received:  make(chan struct{}),
		replaced:  make(chan *jingle.Message, 1),
		answered:  make(chan *jingle.Message, 1),

		verifyWake: make(chan struct{}, 1),
		begun:      make(chan struct{}, 1),
	}
	t.ctx, t.cancel = context.WithCancelCause(context.Background())
	return t
}

func (t *tunnel) initiator() bool { return t.state.Initiator }

// extended reports whether both ends speak version 1 of our extension rather
// than the plain draft.
func (t *tunnel) extended() bool { return !t.state.Draft }

// start attaches the session and begins to read what the peer signals.
func (t *tunnel) start(js *jingle.Session) {
	t.js = js
	t.attempt.signal.attach(js)
	go t.receive()
}

// receive sorts what the peer signals until the session ends. It waits for
// nobody: a peer that floods ends the session.
func (t *tunnel) receive() {
	defer close(t.received)
	for {
		m, err := t.next()
		if err == nil {
			err = translateEnd(t.take(m)) // it may end while take answers
		}
		if err != nil {
			t.hangUp(err)
			t.terminate(reasonFor(err)) // nothing happens if it has ended already
			return
		}
	}
}

// next returns the next action of the peer. While nothing arrives it makes sure,
// with an empty session-info (XEP-0166 §6.8), that the peer is still there, and the path.
func (t *tunnel) next() (*jingle.Message, error) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), heartbeat)
		m, err := t.js.Recv(ctx)
		cancel()
		switch {
		case err == nil:
			return m, nil
		case !errors.Is(err, context.DeadlineExceeded) || t.js.Err() != nil:
			return nil, endError(err)
		case t.unheard() > deadPath:
			return nil, fmt.Errorf("%w: the path is dead, nothing arrives at its other end", ErrLost)
		case t.heard():
			continue
		}
		ctx, cancel = context.WithTimeout(context.Background(), heartbeatTime)
		err = t.js.Ping(ctx)
		cancel()
		var refused stanza.Error
		if errors.As(err, &refused) && refused.Type == stanza.Wait {
			continue // this end is too busy to ask
		}
		if err != nil && (errors.As(err, &refused) || !t.heard()) {
			return nil, fmt.Errorf("%w: the peer does not answer any more (%v)", ErrLost, err)
		}
	}
}

var errFlood = errors.New("the peer sends more than it was asked for")

// take sorts one action of the peer.
func (t *tunnel) take(m *jingle.Message) error {
	if len(m.Contents) != 1 {
		return nil // it does not concern our one content
	}
	content := m.Contents[0]
	switch m.Action {
	case jingle.ActionSessionAccept:
		t.accepted <- m // jingle lets only one through
	case jingle.ActionTransportInfo:
		t.mu.Lock()
		signal := t.signal
		t.mu.Unlock()
		if !signal.deliver(content.Transport) {
			return errFlood
		}
	case jingle.ActionSecurityInfo:
		return t.takeSecurity(content.Security)
	case jingle.ActionTransportAccept, jingle.ActionTransportReject:
		t.answered <- m // jingle lets only one through for each transport-replace
	case jingle.ActionTransportReplace:
		if t.takeReplace(m) {
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), goodbyeTime)
		defer cancel()
		return t.js.Send(ctx, jingle.ActionTransportReject, jingle.Content{Transport: content.Transport})
	}
	return nil
}

// takeSecurity takes a security-info: a sealed frame or, from a peer that speaks
// the plain draft, the chosen method, which for us can only be TLS itself.
func (t *tunnel) takeSecurity(e jingle.Element) error {
	s, err := parseSecurity(e)
	if err != nil {
		return fmt.Errorf("%w (%v)", ErrControl, err)
	}
	if s.control != nil {
		return t.takeFrame(s.control)
	}
	if len(s.methods) > 0 && !s.offersX509() {
		return fmt.Errorf("%w: the peer chose method %q, which was not offered", ErrTampered, s.methods[0])
	}
	return nil
}

// takeFrame opens a sealed frame, or keeps it until the keys are known: the
// peer's handshake may be done before ours.
func (t *tunnel) takeFrame(c *control) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sealer != nil {
		return t.openLocked(c)
	}
	if len(t.early) == maxFrames {
		return errFlood
	}
	t.early = append(t.early, c)
	return nil
}

// setSealer makes the keys known and opens the frames that came too early.
func (t *tunnel) setSealer(s *sealer) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sealer = s
	for _, c := range t.early {
		if err := t.openLocked(c); err != nil {
			return err
		}
	}
	t.early = nil
	return nil
}

func (t *tunnel) openLocked(c *control) error {
	f, err := t.sealer.open(c.seq, c.sealed)
	switch {
	case err != nil:
		return err
	case f.typ == frameConfirm:
		select {
		case <-t.confirmed:
			return fmt.Errorf("%w: confirmed twice", ErrControl)
		default:
			close(t.confirmed)
		}
	case isSAS(f.typ) || isPassword(f.typ):
		return t.queueLocked(f)
	case f.typ < firstIgnorable:
		return fmt.Errorf("%w: unknown frame type %#x", ErrControl, byte(f.typ))
	}
	return nil
}

// send seals a frame and sends it. One that is refused leaves a gap that nothing can
// close; servers refuse it if the peer has gone without a word. That ends the session.
func (t *tunnel) send(ctx context.Context, f frame) error {
	err := t.sealer.seal(f, func(seq uint64, sealed []byte) error {
		s := security{control: &control{seq: seq, sealed: sealed}}
		return t.js.Send(ctx, jingle.ActionSecurityInfo, jingle.Content{Security: s.element()})
	})
	var refused *jingle.RefusedError
	if errors.As(err, &refused) {
		err = lost(err)
		t.hangUp(err)
	}
	return err
}

// setCarrier makes the carrier known; if the session has ended before, so does it.
func (t *tunnel) setCarrier(c transport.Conn) *watched {
	w := &watched{Conn: c}
	t.mu.Lock()
	t.carrier = w
	t.mu.Unlock()
	if t.ctx.Err() != nil {
		c.Abort(context.Cause(t.ctx))
	}
	return w
}

// dropCarrier ends the carrier, if there is one, because of err.
func (t *tunnel) dropCarrier(err error) {
	t.mu.Lock()
	c := t.carrier
	t.carrier = nil
	t.mu.Unlock()
	if c != nil {
		c.Abort(err)
		_ = c.Close()
	}
}

// heard reports whether anything arrived on the carrier since it was asked last.
func (t *tunnel) heard() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.carrier != nil && t.carrier.alive.Swap(false)
}

// unheard is for how long what was written has been without a sign of arrival, as far as the carrier
// can tell.
func (t *tunnel) unheard() time.Duration {
	t.mu.Lock()
	carrier := t.carrier
	t.mu.Unlock()
	if carrier == nil {
		return 0
	}
	if c, ok := carrier.Conn.(interface{ Unheard() time.Duration }); ok {
		return c.Unheard()
	}
	return 0
}

// hangUp ends whatever waits for the session, and the carrier: what has arrived
// on it stays readable, then Read fails with err. Beside the stanzas, what the peer
// wrote before it ended the session in order may still be on its way.
func (t *tunnel) hangUp(err error) {
	t.client.log.Debugf("session %s with %s ended: %v", t.js.ID(), t.state.Peer, err)
	t.cancel(err)
	t.mu.Lock()
	carrier := t.carrier
	t.mu.Unlock()
	switch {
	case carrier == nil:
	case (errors.Is(err, errPeerDone) || errors.Is(err, errPeerBroke)) && carrier.Path() != transport.InBand:
		carrier.awaitEnd(err)
	default:
		carrier.Abort(err)
	}
}

// terminate ends the session for a reason and waits a moment for the answer.
func (t *tunnel) terminate(r jingle.Reason) {
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeTime)
	defer cancel()
	if err := t.js.Terminate(ctx, r, ""); err != nil {
		t.client.log.Debugf("session-terminate to %s: %v", t.state.Peer, err)
	}
}

// fail ends a tunnel that could not be established, and joins everything it
// started. It returns why: what this end has decided by itself or, where err is
// but a symptom of the session having ended, the cause of that.
func (t *tunnel) fail(err error) error {
	err = t.reason(err)
	t.cancel(err)
	t.terminate(reasonFor(err))
	<-t.received
	t.tasks.Wait()
	return err
}

// A verdict marks an error as one that this end has come to by itself: the end of
// the session, which the peer may bring about in the same moment, neither causes
// nor replaces it.
type verdict struct{ error }

// Unwrap returns the error itself.
func (v verdict) Unwrap() error { return v.error }

// reason is why a tunnel could not be established, found behind err.
func (t *tunnel) reason(err error) error {
	var end *jingle.EndError
	var own verdict
	isOwn := errors.As(err, &own)
	if isOwn {
		err = own.error
	}
	switch {
	case isAlarm(err):
		return err
	case errors.As(err, &end): // something could not be sent any more
		isOwn, err = false, endError(end)
	}
	switch {
	case t.ctx.Err() == nil:
		return err
	case isOwn:
		return unlessEnded(t.ctx, err)
	default:
		return context.Cause(t.ctx)
	}
}

// unlessEnded is err or, if that says no more than that ctx has ended, the cause of
// that. An alarm of the peer's goes before a decision of this end that is none.
func unlessEnded(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil || isAlarm(err) {
		return err
	}
	cause := context.Cause(ctx)
	if errors.Is(err, cause) || errors.Is(err, ctx.Err()) || isAlarm(cause) {
		return cause
	}
	return err
}

// isAlarm reports whether somebody may be in the middle. Such an error must not be
// hidden behind another one.
func isAlarm(err error) bool {
	var changed *KeyChangedError
	var other *fingerprint.OtherPeerError
	var revoked *fingerprint.RevokedError
	for _, e := range []error{ErrTampered, ErrControl, ErrMismatch, ErrPassword, ErrPeerAlarm} {
		if errors.Is(err, e) {
			return true
		}
	}
	return errors.As(err, &changed) || errors.As(err, &other) || errors.As(err, &revoked)
}

// reasonFor is what the peer is told. The details stay here: they could help an
// attacker.
func reasonFor(err error) jingle.Reason {
	switch {
	case isAlarm(err):
		return jingle.ReasonSecurityError // the peer should be alarmed as well
	case errors.Is(err, context.Canceled): // also by a user who was asked
		return jingle.ReasonCancel
	case errors.Is(err, ErrUnverified), errors.Is(err, ErrDeclined):
		return jingle.ReasonDecline
	case errors.Is(err, ErrNotSupported):
		return jingle.ReasonIncompatibleParameters
	case errors.Is(err, context.DeadlineExceeded):
		return jingle.ReasonTimeout
	case errors.Is(err, ErrNoPath):
		return jingle.ReasonFailedTransport
	default:
		return jingle.ReasonGeneralError
	}
}

// endError translates the end of a Jingle session.
func endError(err error) error {
	var end *jingle.EndError
	if !errors.As(err, &end) {
		return lost(err)
	}
	if !end.Remote {
		if end.Err != nil {
			return lost(end.Err)
		}
		return fmt.Errorf("%w: this end gave the session up (%s)", ErrLost, end.Reason)
	}
	switch end.Reason {
	case jingle.ReasonDecline, jingle.ReasonBusy:
		return ErrDeclined
	case jingle.ReasonSecurityError:
		return ErrPeerAlarm
	case jingle.ReasonUnsupportedTransports:
		return errUnsupportedTransport
	case jingle.ReasonFailedTransport, jingle.ReasonConnectivityError:
		return fmt.Errorf("%w that works at the peer", ErrNoPath)
	case jingle.ReasonUnsupportedApplications, jingle.ReasonIncompatibleParameters:
		return fmt.Errorf("%w: %s", ErrNotSupported, end.Reason)
	case jingle.ReasonTimeout, jingle.ReasonExpired:
		return fmt.Errorf("the peer did not decide in time: %w", context.DeadlineExceeded)
	case jingle.ReasonSuccess:
		return errPeerDone
	case jingle.ReasonFailedApplication: // Abort
		return errPeerBroke
	case "":
		return fmt.Errorf("%w: the peer does not know the session any more", ErrLost)
	default:
		return fmt.Errorf("%w: the peer ended the session (%s)", ErrLost, end.Reason)
	}
}

// translateEnd returns err or, if that is the end of the Jingle session, what it means.
func translateEnd(err error) error {
	var end *jingle.EndError
	if errors.As(err, &end) {
		return endError(end)
	}
	return err
}

// await waits for a value while neither ctx nor the session ends. What came before the end
// counts.
func await[T any](ctx context.Context, t *tunnel, c <-chan T) (v T, err error) {
	select {
	case v = <-c:
		return v, nil
	case <-t.ctx.Done():
		err = context.Cause(t.ctx)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	select {
	case v = <-c:
		return v, nil
	default:
		return v, err
	}
}
