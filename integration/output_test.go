// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// An output is what a child has written so far. It is safe for concurrent use.
type output struct {
	mu      sync.Mutex
	text    []byte
	ended   bool          // nothing more comes
	changed chan struct{} // closed at the next change
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

// collect reads r to its end.
func (o *output) collect(r io.Reader) {
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		o.add(buf[:n], err != nil)
		if err != nil {
			return
		}
	}
}

func (o *output) add(p []byte, ended bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	o.ended = ended
	close(o.changed)
	o.changed = make(chan struct{})
}

// state returns what there is, which must not be changed, and a channel that is
// closed when there is more.
func (o *output) state() (text []byte, ended bool, changed <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text[:len(o.text):len(o.text)], o.ended, o.changed
}

// await waits until ok likes the text. It returns false when within has passed, or
// if the output ended without.
func (o *output) await(within time.Duration, ok func(text []byte, ended bool) bool) bool {
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	for {
		text, ended, changed := o.state()
		if ok(text, ended) {
			return true
		}
		if ended {
			return false
		}
		select {
		case <-changed:
		case <-timeout.C:
			return false
		}
	}
}

// bytes returns what there is.
func (o *output) bytes() []byte {
	text, _, _ := o.state()
	return text
}

// shown is the most octets of one output that a failed test prints.
const shown = 16 << 10

// String returns the text, shortened in the middle.
func (o *output) String() string {
	text := o.bytes()
	if len(text) <= shown {
		return string(bytes.ToValidUTF8(text, []byte("\uFFFD")))
	}
	short := append(append(bytes.Clone(text[:shown/2]), "\n[...]\n"...), text[len(text)-shown/2:]...)
	return string(bytes.ToValidUTF8(short, []byte("\uFFFD")))
}
