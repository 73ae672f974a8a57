// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stream"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls"
)

// The exit codes. They are a contract.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitServer      = 3 // own server: DNS, TLS, login
	exitPeer        = 4 // peer offline, no XTLS, or ambiguous device
	exitUnknown     = 5 // peer unknown or not verified, and nobody vouched for it
	exitAlarm       = 6 // key changed, signalling tampered with, or codes or passwords that differ
	exitDeclined    = 7
	exitTimeout     = 8
	exitLost        = 9
	exitInterrupted = 130
)

// exitCode is the one place where errors become exit codes. An alarm goes before
// everything: it must not hide behind another error of the same moment.
func exitCode(err error) int {
	var usage *usageError
	var timed *timeoutError
	switch {
	case err == nil:
		return exitOK
	case isAlarm(err):
		return exitAlarm
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &timed):
		return exitTimeout
	case isLogin(err):
		return exitServer
	case errors.Is(err, xtls.ErrLost): // in the middle of a verification too
		return exitLost
	case errors.Is(err, xtls.ErrDeclined):
		return exitDeclined
	case isUnverified(err):
		return exitUnknown
	case errors.Is(err, xtls.ErrPeerUnavailable), errors.Is(err, xtls.ErrNotSupported), isAmbiguous(err):
		return exitPeer
	case errors.Is(err, context.DeadlineExceeded):
		return exitTimeout
	default:
		return exitFailure
	}
}

// isAlarm reports whether somebody may be in the middle.
func isAlarm(err error) bool {
	var changed *xtls.KeyChangedError
	var known *fingerprint.ChangedError
	var other *fingerprint.OtherPeerError
	var revoked *fingerprint.RevokedError
	return errors.As(err, &changed) || errors.As(err, &known) || errors.As(err, &other) || errors.As(err, &revoked) ||
		errors.Is(err, xtls.ErrTampered) || errors.Is(err, xtls.ErrPeerAlarm) || errors.Is(err, xtls.ErrControl) ||
		errors.Is(err, xtls.ErrMismatch) || errors.Is(err, xtls.ErrPassword)
}

// isUnverified reports whether nobody vouched for the peer. Somebody in the middle
// is not proven by that.
func isUnverified(err error) bool {
	for _, e := range []error{
		xtls.ErrUnverified, xtls.ErrInterrupted, xtls.ErrNotCompared, xtls.ErrBusy, xtls.ErrTooOften, xtls.ErrOtherMethod, xtls.ErrCodeSpent,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// isLogin reports whether it was the own server that could not be used.
func isLogin(err error) bool {
	var op *xtls.OpError
	return errors.As(err, &op) && op.Op == "login"
}

func isAmbiguous(err error) bool {
	var ambiguous *ambiguousError
	return errors.As(err, &ambiguous)
}

// A usageError is a command line, environment or configuration that cannot be
// followed.
type usageError struct {
	err  error
	hint string // what to type instead
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...)}
}

// A timeoutError says that --timeout, or a time of our own, has passed.
type timeoutError struct {
	after time.Duration
	step  string // what was going on
	ours  bool   // --timeout has nothing to do with it
}

func (e *timeoutError) Error() string {
	return fmt.Sprintf("timed out after %v while %s", e.after, e.step)
}

// Is makes it a deadline like others.
func (e *timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// An ambiguousError says that an account has several devices that answer.
type ambiguousError struct {
	peer  jid.JID
	found []jid.JID
}

func (e *ambiguousError) Error() string {
	names := make([]string, len(e.found))
	for i, j := range e.found {
		names[i] = printable(j.String())
	}
	return fmt.Sprintf("%s is there with %d devices: %s", e.peer, len(e.found), strings.Join(names, ", "))
}

// An unknownError is a refusal of a peer whose key nobody vouched for.
type unknownError struct {
	peer     jid.JID // bare
	key      fingerprint.Fingerprint
	standing string // of the key: NEW, PINNED, CA, VERIFIED or CHANGED
	pinnable bool   // --accept-new would take it
	why      error
}

func (e *unknownError) Error() string {
	return fmt.Sprintf("the key of %s is %s: %s", e.peer, e.standing, e.why)
}

// Unwrap makes it an xtls.ErrUnverified, beside its cause.
func (e *unknownError) Unwrap() []error { return []error{xtls.ErrUnverified, e.why} }

// hint says what an error means for the user and what to type next.
func hint(err error) string {
	var usage *usageError
	var access *permissionError
	switch {
	case errors.As(err, &usage):
		return usage.hint
	case errors.As(err, &access):
		return "type: chmod 600 " + shellWord(access.name)
	}
	switch exitCode(err) {
	case exitServer:
		return loginHint(err)
	case exitPeer:
		return peerHint(err)
	case exitUnknown:
		return unknownHint(err)
	case exitAlarm:
		return alarmHint(err)
	case exitDeclined:
		return "the other end's terminal says why: there is no such service, it is busy, --allow does not name you, or your key is not known or was not accepted there; for that tell its user yours (xtls-demo id), who types: xtls-demo peers pin YOUR-JID FINGERPRINT"
	case exitTimeout:
		return timeoutHint(err)
	case exitLost:
		if isUnverified(err) {
			return "the line was cut before the peer was verified; somebody in the middle would do so who sees that the codes differ; type: " + verifyAgain(err)
		}
		var gone *serverGoneError
		if errors.As(err, &gone) {
			return "start again when the server is back"
		}
		return "what arrived until then is not complete; start again; if the peer broke it off, its terminal says why"
	case exitFailure:
		if errors.Is(err, xtls.ErrNoPath) {
			return "both ends must allow a path that works: --path auto, which ends in-band, through the servers"
		}
		return ""
	default:
		return ""
	}
}

func timeoutHint(err error) string {
	var timed *timeoutError
	switch {
	case !errors.As(err, &timed):
		return "nobody answered there in time; try again"
	case timed.ours:
		return "the peer is online and its program does not answer: is it stopped, or its line overloaded?"
	default:
		return fmt.Sprintf("allow more time: --timeout %v, say, or --timeout 0 for no limit", max(5*timed.after, time.Minute))
	}
}

func loginHint(err error) string {
	var name *x509.HostnameError
	var authority *x509.UnknownAuthorityError
	var dns *net.DNSError
	var header tls.RecordHeaderError
	switch {
	case errors.Is(err, xtls.ErrLogin):
		return "check the address and the password: xtls-demo login JID"
	case errors.Is(err, xtls.ErrNoTLS):
		return "without TLS there is no login; is this the right server? --server HOST:PORT, or xmpps://HOST:PORT for direct TLS"
	case asValue(err, name), asValue(err, authority):
		return "the certificate of the server is not valid for this account; if the server has an authority of its own, name its file: --server-ca FILE"
	case errors.As(err, &header):
		return "that port does not begin with TLS; without xmpps:// TLS is asked for later (STARTTLS): --server HOST:PORT"
	case errors.Is(err, stream.HostUnknown):
		return "the server does not serve the domain of the account; is the address right? --server HOST:PORT names another one"
	case errors.As(err, &dns):
		return "the domain of the account has no such server; is the address right? --server HOST:PORT names one"
	default:
		return "is the server reachable, and the domain of the account one of its own? --server HOST:PORT names another one, xmpps://HOST:PORT a port for direct TLS"
	}
}

// asValue is errors.As for error types whose values are not pointers.
func asValue[T error](err error, _ *T) bool {
	var target T
	return errors.As(err, &target)
}

func peerHint(err error) string {
	var ambiguous *ambiguousError
	switch {
	case errors.As(err, &ambiguous):
		return "name the device you mean, for example: " + shellWord(ambiguous.found[0].String())
	case errors.Is(err, xtls.ErrNotSupported):
		return "nothing was sent; the peer needs a program that speaks XTLS, such as: xtls-demo serve; if it has one, that allows no tunnel like this: what do --path and --security say there?"
	default:
		return "is the address right? the peer must be running, for example: xtls-demo serve --stdio"
	}
}

func unknownHint(err error) string {
	var unknown *unknownError
	if text := verificationHint(err); text != "" {
		return text
	}
	if !errors.As(err, &unknown) {
		return "compare the peer's fingerprint (xtls-demo id, over there), then: xtls-demo peers pin JID FINGERPRINT"
	}
	peer := shellWord(unknown.peer.String())
	text := fmt.Sprintf("on a terminal type: xtls-demo verify %s; or ask the peer, outside of XMPP, for the output of xtls-demo id; "+
		"if it is this key, type: xtls-demo peers pin %s %s", peer, peer, unknown.key)
	if unknown.pinnable {
		text += "; or take the key as it comes with --accept-new"
	}
	return text
}

// verificationHint is unknownHint for a verification that came to nothing.
func verificationHint(err error) string {
	switch {
	case errors.Is(err, xtls.ErrTooOften):
		return "too many verifications failed, perhaps because somebody is in the middle; wait until tomorrow (xtls-demo peers show JID says until when), " +
			"or compare the whole fingerprint of xtls-demo id over there: xtls-demo peers pin JID FINGERPRINT"
	case errors.Is(err, xtls.ErrCodeSpent):
		return "a one-time code is good for 15 minutes, three attempts and one success; for a new one: " + verifyAgain(err) + " --method code"
	case errors.Is(err, xtls.ErrBusy):
		return "more than one at a time would give somebody in the middle more than one guess; finish the other one, then: " + verifyAgain(err)
	case errors.Is(err, xtls.ErrOtherMethod):
		return "nothing was decided; agree on one method with the peer's user, then: " + verifyAgain(err) + " --method sas, or --method password, or --method code, which one shows and the other types"
	case errors.Is(err, xtls.ErrNotCompared):
		return "the peer's user does not compare: gave up, or took your key without, or knows it; nothing was sent; agree to compare, then: " + verifyAgain(err)
	case errors.Is(err, xtls.ErrInterrupted):
		return "the peer is not verified, and the attempt is counted; call its user, then: " + verifyAgain(err)
	default:
		return ""
	}
}

// verifyAgain is the command that verifies the peer of an error.
func verifyAgain(err error) string { return "xtls-demo verify " + peerOf(err) }

// peerOf is the bare address of the peer that an error is about, as a word of a
// command.
func peerOf(err error) string {
	var unknown *unknownError
	var op *xtls.OpError
	switch {
	case errors.As(err, &unknown):
		return shellWord(unknown.peer.String())
	case errors.As(err, &op):
		return shellWord(op.Peer.Bare().String())
	default:
		return "JID"
	}
}

func alarmHint(err error) string {
	var changed *xtls.KeyChangedError
	var other *fingerprint.OtherPeerError
	var revoked *fingerprint.RevokedError
	switch {
	case errors.Is(err, xtls.ErrMismatch):
		return fmt.Sprintf("do not simply try again; meet the peer, or compare the whole fingerprint of xtls-demo id over there by telephone: "+
			"xtls-demo peers pin %s FINGERPRINT", peerOf(err))
	case errors.Is(err, xtls.ErrPassword):
		return "if one of you may have mistyped it, talk by telephone, then: " + verifyAgain(err) + " --method password, or --method code; " +
			"somebody in the middle has one guess in each run"
	case errors.As(err, &revoked):
		return "you revoked this key; nobody who uses it can be trusted to be the peer"
	case errors.As(err, &changed):
		return fmt.Sprintf("only if the peer confirms its new key by another way than XMPP, type: xtls-demo peers forget %s", shellWord(changed.Peer.String()))
	case errors.As(err, &other):
		word := shellWord(other.Other.String())
		return fmt.Sprintf("a key belongs to one address; only if you know why %s lost it, type: xtls-demo peers forget %s", word, word)
	case errors.Is(err, xtls.ErrPeerAlarm):
		return "if your key is new (xtls-demo id), the peer knows your old one: tell its user by another way than XMPP, who types: xtls-demo peers forget YOUR-JID; if it is not, somebody may be in the middle: try over another server"
	default:
		return "nothing that arrived this way was handed out; try over another server, and tell the peer by another way than XMPP"
	}
}

// explanation is the text between error and hint, for what must not be
// overlooked.
func explanation(err error) string {
	var changed *xtls.KeyChangedError
	switch {
	case errors.As(err, &changed):
		return changedText(changed)
	case errors.Is(err, xtls.ErrMismatch):
		return fmt.Sprintf(`
  STOP. Verifying %s ended in a MISMATCH. What you see and
  what the peer's user sees differ, or one of you has said so: somebody (for
  example a server) is between you. The tunnel is ended, and the peer is DISPUTED
  until it is verified.
  Tell the peer by telephone or in person, not over XMPP.
`, peerOf(err))
	case errors.Is(err, xtls.ErrPassword):
		return fmt.Sprintf(`
  STOP. The password or one-time code of %s was wrong on one side, or somebody (for example a server)
  is between you. The tunnel is ended. The attempt is counted.
`, peerOf(err))
	default:
		return ""
	}
}

// changedText is the explanation of a changed key.
func changedText(changed *xtls.KeyChangedError) string {
	best := changed.Want[0]
	for _, r := range changed.Want[1:] {
		if r.Level == fingerprint.LevelVerified && best.Level != fingerprint.LevelVerified {
			best = r
		}
	}
	known := "you have used since " + day(best.First) + " (never checked)"
	switch best.Level {
	case fingerprint.LevelVerified:
		known = "you verified on " + day(best.Verified)
	case fingerprint.LevelRevoked:
		known = "you knew, which is revoked"
	}
	return fmt.Sprintf(`
  STOP. The key of %s has CHANGED. It is not the one %s.
    was  %s
    now  %s
  Either the peer has a new installation, or somebody (for example a server) is
  between you. Nothing was sent.
  Ask the peer by telephone or in person, not over XMPP, before you go on.
`, printable(changed.Peer.String()), known, best.Key.Grouped(), changed.Got.Grouped())
}

// day formats a date of the trust store.
func day(t time.Time) string {
	if t.IsZero() {
		return "an unknown day"
	}
	return t.Format(time.DateOnly)
}
