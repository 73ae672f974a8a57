// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package mux

import (
	"bytes"
	"io"
	"net"
	"testing"

	"github.com/xtaci/smux"
)

// smuxConfig is smux as this package frames it.
func smuxConfig() *smux.Config {
	c := smux.DefaultConfig()
	c.Version, c.MaxFrameSize, c.MaxStreamBuffer, c.KeepAliveDisabled = version, frameSize, initialWindow, true
	return c
}

// The foreign peer: streams with smux itself, opened by either side, with more than a
// window in both directions, and both halves ended in order. (smux throws away what
// arrives after its own half-close, so it is the one that ends last.)
func TestInteropSmux(t *testing.T) {
	data := pattern(5*initialWindow + 1234)
	echo := func(t *testing.T, st interface {
		io.ReadWriter
		CloseWrite() error
	},
	) {
		if _, err := io.Copy(st, struct{ io.Reader }{st}); err != nil {
			t.Errorf("echo: %v", err)
		}
		if err := st.CloseWrite(); err != nil {
			t.Errorf("echo: %v", err)
		}
	}
	ask := func(t *testing.T, st *Stream) {
		go func() {
			_, _ = st.Write(data)
			_ = st.CloseWrite()
		}()
		if got, err := io.ReadAll(st); !bytes.Equal(got, data) || err != nil {
			t.Errorf("got %d of %d octets, %v", len(got), len(data), err)
		}
	}
	t.Run("opened here", func(t *testing.T) {
		a, b := net.Pipe()
		client := Client(a)
		defer client.Close()
		server, err := smux.Server(b, smuxConfig())
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			st, err := server.AcceptStream()
			if err != nil {
				t.Error(err)
				return
			}
			echo(t, st)
		}()
		st, err := client.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ask(t, st)
		<-done
	})
	t.Run("opened there", func(t *testing.T) {
		a, b := net.Pipe()
		server := Server(a)
		defer server.Close()
		client, err := smux.Client(b, smuxConfig())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			st, err := client.OpenStream()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = st.Write([]byte("ready")) // before, smux throws away what comes for the stream
			echo(t, st)
		}()
		st, err := server.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		mustRead(t, st, []byte("ready"))
		ask(t, st)
		<-done
	})
}
