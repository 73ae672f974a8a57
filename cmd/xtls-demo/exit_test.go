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
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stream"

	"example.org/xtls/fingerprint"
	"example.org/xtls/xtls"
)

var (
	testBob = jid.MustParse("bob@example.net")
	testKey = fingerprint.Fingerprint{1, 2, 3}
	changed = &xtls.KeyChangedError{
		Peer: testBob, Got: testKey,
		Want: []fingerprint.Record{
			{Peer: testBob, Key: fingerprint.Fingerprint{4}, Level: fingerprint.LevelPinned, Method: fingerprint.MethodTOFU, First: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)},
			{Peer: testBob, Key: fingerprint.Fingerprint{5}, Level: fingerprint.LevelVerified, Method: fingerprint.MethodFingerprint, Verified: time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)},
		},
	}
)

// unverified is how the library returns what the gate refused.
func unverified(why error) error {
	return fmt.Errorf("%w: %w", xtls.ErrUnverified, &unknownError{testBob, testKey, "NEW", true, why})
}

func op(name string, err error) error { return &xtls.OpError{Op: name, Peer: testBob, Err: err} }

func TestExitCode(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want int
	}{
		{"nothing", nil, 0},
		{"anything", errors.New("no such luck"), 1},
		{"permissions", &permissionError{"identity.pem", 0o644}, 1},
		{"output gone", &outputError{syscall.EPIPE}, 1},
		{"usage", usagef("what?"), 2},
		{"usage wrapped", fmt.Errorf("x: %w", usagef("what?")), 2},
		{"wrong password", op("login", xtls.ErrLogin), 3},
		{"no TLS", op("login", xtls.ErrNoTLS), 3},
		{"DNS", op("login", &net.DNSError{Err: "no such host", IsNotFound: true}), 3},
		{"server certificate", op("login", x509.UnknownAuthorityError{}), 3},
		{"server does not answer", op("login", os.ErrDeadlineExceeded), 3},
		{"server went away during login", op("login", xtls.ErrLost), 3},
		{"offline", op("find", xtls.ErrPeerUnavailable), 4},
		{"no XTLS", op("dial", fmt.Errorf("%w: no Jingle", xtls.ErrNotSupported)), 4},
		{"several devices", &ambiguousError{testBob, []jid.JID{testBob}}, 4},
		{"unknown", op("dial", xtls.ErrUnverified), 5},
		{"unknown, with key", op("dial", &unknownError{testBob, testKey, "NEW", true, errNobody}), 5},
		{"key changed", op("dial", changed), 6},
		{"key changed, of the store", &fingerprint.ChangedError{Peer: testBob, Want: changed.Want}, 6},
		{"key of another", op("accept", &fingerprint.OtherPeerError{Peer: testBob, Other: testBob}), 6},
		{"revoked", op("dial", &fingerprint.RevokedError{Record: changed.Want[0]}), 6},
		{"tampered", op("read", fmt.Errorf("%w (bad record)", xtls.ErrTampered)), 6},
		{"control frames", op("dial", xtls.ErrControl), 6},
		{"alarm beside a loss", errors.Join(op("read", xtls.ErrLost), xtls.ErrTampered), 6},
		{"alarm beside an interrupt", errors.Join(errInterrupted, changed), 6},
		{"declined", op("dial", xtls.ErrDeclined), 7},
		{"declined by us", &declinedError{errors.New("busy")}, 7},
		{"timeout", &timeoutError{time.Second, "waiting", false}, 8},
		{"timeout of the login", op("login", &timeoutError{time.Second, "logging in", false}), 8},
		{"deadline of the library", op("dial", fmt.Errorf("no answer: %w", context.DeadlineExceeded)), 8},
		{"lost", op("read", xtls.ErrLost), 9},
		{"mismatch", op("dial", xtls.ErrMismatch), 6},
		{"mismatch, not written down", op("dial", errors.Join(xtls.ErrMismatch, os.ErrPermission)), 6},
		{"password", op("verify", fmt.Errorf("%w (bad)", xtls.ErrPassword)), 6},
		{"mismatch as the line is cut", errors.Join(op("read", xtls.ErrLost), xtls.ErrMismatch), 6},
		{"too often", op("verify", unverified(xtls.ErrTooOften)), 5},
		{"busy", op("dial", unverified(xtls.ErrBusy)), 5},
		{"interrupted verification", op("dial", unverified(xtls.ErrInterrupted)), 5},
		{"not compared", op("dial", unverified(xtls.ErrNotCompared)), 5},
		{"other method", op("dial", unverified(xtls.ErrOtherMethod)), 5},
		{"too often, bare", op("verify", xtls.ErrTooOften), 5},
		{"busy, bare", op("verify", xtls.ErrBusy), 5},
		{"interrupted verification, bare", op("verify", xtls.ErrInterrupted), 5},
		{"not compared, bare", op("verify", xtls.ErrNotCompared), 5},
		{"other method, bare", op("verify", xtls.ErrOtherMethod), 5},
		{"code spent", op("dial", unverified(xtls.ErrCodeSpent)), 5},
		{"line cut while verifying", op("dial", unverified(fmt.Errorf("%w: %w", xtls.ErrInterrupted, xtls.ErrLost))), 9},
		{"declined while verifying", op("dial", unverified(xtls.ErrDeclined)), 7},
		{"timeout while verifying", op("dial", fmt.Errorf("%w: %w", xtls.ErrUnverified, &timeoutError{time.Second, "waiting", false})), 8},
		{"interrupted while verifying", op("dial", unverified(errInterrupted)), 130},
		{"interrupted", errInterrupted, 130},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := exitCode(tt.err); got != tt.want {
				t.Errorf("exitCode(%v) = %d, want %d", tt.err, got, tt.want)
			}
		})
	}
}

func TestHint(t *testing.T) {
	odd := jid.MustParse("$(reboot)@example.net")
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"usage", &usageError{errors.New("x"), "do y"}, "do y"},
		{"permissions", &permissionError{"my identity.pem", 0o644}, "chmod 600 'my identity.pem'"},
		{"certificate of the server", op("login", x509.UnknownAuthorityError{}), "--server-ca"},
		{"name of the server", op("login", x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}), "--server-ca"},
		{"DNS", op("login", &net.DNSError{}), "--server HOST:PORT"},
		{"no TLS", op("login", xtls.ErrNoTLS), "xmpps://"},
		{"devices", &ambiguousError{testBob, []jid.JID{jid.MustParse("bob@example.net/my phone")}}, "'bob@example.net/my phone'"},
		{"no XTLS", op("dial", xtls.ErrNotSupported), "nothing was sent"},
		{"unknown", &unknownError{odd, testKey, "NEW", true, errNobody}, "peers pin '$(reboot)@example.net' " + testKey.String()},
		{"changed", changed, "peers forget bob@example.net"},
		{"key of another", &fingerprint.OtherPeerError{Peer: testBob, Other: odd}, "peers forget '$(reboot)@example.net'"},
		{"timeout", &timeoutError{after: 12 * time.Minute}, "--timeout 1h0m0s"},
		{"our timeout", &timeoutError{ours: true}, "does not answer"},
		{"domain", op("login", stream.HostUnknown), "is the address right?"},
		{"not TLS", op("login", tls.RecordHeaderError{Msg: "no"}), "without xmpps://"},
		{"offline", op("find", xtls.ErrPeerUnavailable), "is the address right?"},
		{"the peer's alarm", op("dial", xtls.ErrPeerAlarm), "peers forget YOUR-JID"},
		{"declined", op("dial", xtls.ErrDeclined), "no such service"},
		{"server gone", &serverGoneError{xtls.ErrLost}, "when the server is back"},
		{"lost", op("read", xtls.ErrLost), "not complete"},
		{"line cut while verifying", op("dial", unverified(xtls.ErrLost)), "was cut before the peer was verified"},
		{"mismatch", op("dial", xtls.ErrMismatch), "peers pin bob@example.net FINGERPRINT"},
		{"password", op("dial", xtls.ErrPassword), "verify bob@example.net --method password"},
		{"too often", op("dial", unverified(xtls.ErrTooOften)), "wait until tomorrow"},
		{"busy", op("dial", unverified(xtls.ErrBusy)), "finish the other one"},
		{"code spent", op("dial", unverified(xtls.ErrCodeSpent)), "verify bob@example.net --method code"},
		{"other method", op("dial", unverified(xtls.ErrOtherMethod)), "verify bob@example.net --method sas"},
		{"not compared", op("dial", unverified(xtls.ErrNotCompared)), "agree to compare, then: xtls-demo verify bob@example.net"},
		{"interrupted", op("verify", xtls.ErrInterrupted), "call its user, then: xtls-demo verify bob@example.net"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := hint(tt.err); !strings.Contains(got, tt.want) {
				t.Errorf("hint = %q, want %q in it", got, tt.want)
			}
		})
	}
}

// The text about a changed key names what is known best: the verified key.
func TestExplanation(t *testing.T) {
	got := explanation(op("dial", changed))
	for _, want := range []string{
		"STOP. The key of bob@example.net has CHANGED.", "you verified on 2026-03-04",
		"was  " + changed.Want[1].Key.Grouped(), "now  " + testKey.Grouped(), "Nothing was sent",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in\n%s", want, got)
		}
	}
	pinned := *changed
	pinned.Want = pinned.Want[:1]
	if got := explanation(&pinned); !strings.Contains(got, "you have used since 2026-01-02 (never checked)") {
		t.Errorf("of a pinned key:\n%s", got)
	}
	for _, err := range []error{xtls.ErrMismatch, xtls.ErrPassword} {
		if got := explanation(op("dial", err)); !strings.Contains(got, "STOP.") || !strings.Contains(got, "bob@example.net") {
			t.Errorf("of %v:\n%s", err, got)
		}
	}
	if got := explanation(xtls.ErrLost); got != "" {
		t.Errorf("of something else: %q", got)
	}
}
