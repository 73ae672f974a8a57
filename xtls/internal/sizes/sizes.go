// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

// Package sizes is a test of connections: octets of any number, written in any portions and
// read in any others, arrive as they were, and the end arrives after them.
package sizes

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
)

// A Conn has two directions that end one by one.
type Conn interface {
	net.Conn
	CloseWrite() error
}

// All are the numbers of octets to try: around the largest record, and larger than any buffer.
var All = []int{0, 1, 1<<14 - 1, 1 << 14, 1<<14 + 1, 65_535, 1 << 20, 16 << 20}

// Try sends size octets each way between the ends of what connect returns, a fresh connection:
// once in one Write, once in random portions.
func Try(t *testing.T, connect func(t *testing.T) (a, b Conn)) {
	t.Helper()
	for _, size := range All {
		for _, cut := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/cut=%t", size, cut), func(t *testing.T) {
				if testing.Short() && size > 1<<20 {
					t.Skip("in short mode")
				}
				a, b := connect(t)
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				done := make(chan error, 4)
				for i, dir := range [][2]Conn{{a, b}, {b, a}} {
					go func() { done <- send(dir[0], size, cut, seed+uint64(i)) }()
					go func() { done <- receive(dir[1], size, cut, seed+uint64(i)) }()
				}
				for range 4 {
					if err := <-done; err != nil {
						t.Error(err)
						a.Close() // so that nobody waits for it any more
						b.Close()
					}
				}
			})
		}
	}
}

// octets are those of a stream.
func octets(size int, seed uint64) []byte {
	var key [32]byte
	copy(key[:], fmt.Sprint(seed))
	data := make([]byte, size)
	_, _ = rand.NewChaCha8(key).Read(data) // never fails
	return data
}

func send(c Conn, size int, cut bool, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 1))
	for data := octets(size, seed); ; {
		n := len(data)
		if cut {
			n = min(n, portion(rng))
		}
		if k, err := c.Write(data[:n]); k != n || err != nil {
			return fmt.Errorf("wrote %d of %d octets: %w", k, n, err)
		}
		if data = data[n:]; len(data) == 0 {
			return c.CloseWrite()
		}
	}
}

// portion is how much one call takes: small and large ones are as likely.
func portion(rng *rand.Rand) int { return rng.IntN(1 << rng.IntN(19)) }

func receive(c Conn, size int, cut bool, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 2))
	hash, want, got := sha256.New(), sha256.Sum256(octets(size, seed)), 0
	buf := make([]byte, 64<<10)
	for {
		n := len(buf)
		if cut {
			n = 1 + min(portion(rng), len(buf)-1)
		}
		n, err := c.Read(buf[:n])
		hash.Write(buf[:n])
		got += n
		if err == io.EOF { //nolint:errorlint // exactly io.EOF is the end
			break
		}
		if err != nil {
			return fmt.Errorf("after %d of %d octets: %w", got, size, err)
		}
	}
	if got != size || !bytes.Equal(hash.Sum(nil), want[:]) {
		return fmt.Errorf("%d octets arrived of %d, or other ones", got, size)
	}
	return nil
}
