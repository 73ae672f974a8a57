// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package mux

import (
	"errors"
	"fmt"
	"io"
	"net"
)

// Errors to test for with errors.Is.
var (
	// ErrReset: the peer gave the stream up: it broke off, reads no more, or refused
	// the stream because it has too many. Read returns it together with
	// io.ErrUnexpectedEOF.
	ErrReset = errors.New("mux: the peer gave the stream up")
	// ErrProtocol: the peer broke the rules of this package. The session has ended.
	ErrProtocol = errors.New("mux: the peer broke the protocol")
)

var (
	// errPeerEnded is the cause of a session whose tunnel the peer ended in order.
	errPeerEnded = errors.New("the peer ended the tunnel")
	errCutHeader = fmt.Errorf("mux: in the middle of a frame: %w", io.ErrUnexpectedEOF)
)

func protocolError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

// notEOF returns what ended a tunnel without any io.EOF in it: nothing that wraps it
// may reach the reader of a stream.
func notEOF(err error) error {
	switch {
	case err == io.EOF: //nolint:errorlint // exactly io.EOF is the authenticated end
		return errPeerEnded
	case errors.Is(err, io.EOF):
		return fmt.Errorf("mux: %v", err)
	default:
		return err
	}
}

// cut is what a reader gets if the session ended for a cause before its stream did.
func cut(cause error) error {
	if errors.Is(cause, net.ErrClosed) {
		return net.ErrClosed
	}
	return fmt.Errorf("mux: stream cut: %w (%w)", io.ErrUnexpectedEOF, cause)
}

// unsent is what a writer gets in that case.
func unsent(cause error) error {
	if errors.Is(cause, net.ErrClosed) {
		return net.ErrClosed
	}
	return fmt.Errorf("mux: stream lost: %w", cause)
}
