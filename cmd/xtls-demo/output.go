// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
)

// An output is standard output. If it cannot be written the run ends: what was asked for does not
// get anywhere.
type output struct {
	w      io.Writer
	failed func(error)

	mu  sync.Mutex
	err error // the first one
}

// Write writes to standard output.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err == nil {
		return n, nil
	}
	o.mu.Lock()
	first := o.err == nil
	if first {
		o.err = &outputError{err}
	}
	o.mu.Unlock()
	if first {
		o.failed(o.err)
	}
	return n, err
}

// Close closes it, if that is possible.
func (o *output) Close() error {
	if c, ok := o.w.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// error is why it could not be written, nil if it always could.
func (o *output) error() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// An outputError is that standard output cannot be written. It is a context.Canceled, as an
// interruption is.
type outputError struct{ err error }

func (e *outputError) Error() string        { return fmt.Sprintf("writing standard output: %v", e.err) }
func (e *outputError) Is(target error) bool { return target == context.Canceled }
func (e *outputError) Unwrap() error        { return e.err }

// outputGone reports whether it is that nobody reads standard output any more.
func outputGone(err error) bool {
	var output *outputError
	return errors.As(err, &output) && errors.Is(err, syscall.EPIPE)
}
