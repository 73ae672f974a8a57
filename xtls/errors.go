// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"errors"
	"fmt"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
)

// Errors to test for with errors.Is. They come wrapped in an [OpError].
var (
	// ErrNotSupported: the peer is there but does not speak XTLS, or only the plain
	// draft while its key is not pinned. Nothing was sent to it in clear.
	ErrNotSupported = errors.New("the peer does not support XTLS")
	// ErrPeerUnavailable: nobody is online at the address, or nobody answers there.
	ErrPeerUnavailable = errors.New("the peer is not online")
	// ErrDeclined: the peer said no.
	ErrDeclined = errors.New("the peer declined")
	// ErrUnverified: the peer's key is unknown and nothing vouched for it: there was
	// nobody to ask, or the answer was no. Nothing was sent to it.
	ErrUnverified = errors.New("the peer's key is unknown")
	// ErrTampered: what arrived is not what the peer sent. A server between the two
	// ends changed the negotiation, the certificates or the data. An alarm.
	ErrTampered = errors.New("somebody between you and the peer changed what was sent")
	// ErrPeerAlarm: the peer ended the session with a security error. What it saw is
	// not what this end sent, or it knows this account by another key. An alarm.
	ErrPeerAlarm = errors.New("the peer refused for security: what it was shown is not what you sent, or it knows another key of yours")
	// ErrNoPath: the peer agreed, but none of the ways that Config.Path allows worked. The
	// text says what was tried.
	ErrNoPath = errors.New("no path to the peer")
	// ErrLost: the tunnel was cut: the connection to the server, the server, or the
	// peer went away without a goodbye.
	ErrLost = errors.New("the tunnel was lost")
)

// errPeerDone: the peer ended the session in order. If it comes before the end of
// the data, something is missing all the same.
var errPeerDone = fmt.Errorf("%w: the peer ended the session", ErrLost)

// errPeerBroke: it ended the session because its application failed. What it wrote
// before, and perhaps an end of it, may still be on its way.
var errPeerBroke = fmt.Errorf("%w: the peer broke it off", ErrLost)

// errGivenUp: Abort ended a Close that waited.
var errGivenUp = fmt.Errorf("%w: this end gave it up", ErrLost)

// errNoSecurity: there was no encryption in the answer. Nobody accepts our
// application without, so a server has left it out.
var errNoSecurity = errors.New("the answer leaves out the encryption")

// A KeyChangedError means that the peer presented a certificate that is not among
// those it is known by. An alarm: it is a new installation, or somebody else.
type KeyChangedError struct {
	Peer jid.JID                 // bare
	Want []fingerprint.Record    // what the peer is known by; never empty
	Got  fingerprint.Fingerprint // what was presented
}

// Error says what happened.
func (e *KeyChangedError) Error() string {
	return fmt.Sprintf("the key of %s has changed to %s", e.Peer, e.Got)
}

// An OpError says which operation on which peer failed.
type OpError struct {
	Op   string  // "dial", "accept", "find", "read", "write", "close"
	Peer jid.JID // full JID where it is known
	Err  error
}

// Error returns one line.
func (e *OpError) Error() string {
	return "xtls: " + e.Op + " " + e.Peer.String() + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *OpError) Unwrap() error { return e.Err }

// Timeout reports whether a deadline passed, as [net.Error] wants it.
func (e *OpError) Timeout() bool {
	var t interface{ Timeout() bool }
	return !errors.Is(e.Err, ErrLost) && errors.As(e.Err, &t) && t.Timeout()
}

// Temporary is the same as Timeout: after a deadline the operation may be tried
// again, after anything else it may not.
func (e *OpError) Temporary() bool { return e.Timeout() }

// opError wraps err once; nil stays nil.
func opError(op string, peer jid.JID, err error) error {
	if err == nil {
		return nil
	}
	var done *OpError
	if errors.As(err, &done) {
		return err
	}
	return &OpError{Op: op, Peer: peer, Err: err}
}
