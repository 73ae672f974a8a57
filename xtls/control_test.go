// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"bytes"
	"errors"
	"testing"

	"example.org/xtls/fingerprint"
)

// sealers returns the two ends of one session's control frames.
func sealers(t testing.TB) (i, r *sealer) {
	t.Helper()
	k, err := newKeys(make([]byte, 32), [32]byte{1}, fingerprint.Fingerprint{2}, fingerprint.Fingerprint{3})
	if err != nil {
		t.Fatal(err)
	}
	if i, err = newSealer(k, "sid", true); err != nil {
		t.Fatal(err)
	}
	if r, err = newSealer(k, "sid", false); err != nil {
		t.Fatal(err)
	}
	return i, r
}

type sealedFrame struct {
	seq  uint64
	data []byte
}

func sealAll(t testing.TB, s *sealer, frames ...frame) []sealedFrame {
	t.Helper()
	var all []sealedFrame
	for _, f := range frames {
		err := s.seal(f, func(seq uint64, sealed []byte) error {
			all = append(all, sealedFrame{seq, sealed})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestControlFrames(t *testing.T) {
	i, r := sealers(t)
	want := []frame{{frameConfirm, 0, nil}, {0x81, 3, []byte("body")}, {0x82, 0, make([]byte, maxFrame-2)}}
	for _, dir := range [][2]*sealer{{i, r}, {r, i}} {
		for n, s := range sealAll(t, dir[0], want...) {
			f, err := dir[1].open(s.seq, s.data)
			if err != nil {
				t.Fatalf("frame %d: %v", n, err)
			}
			if f.typ != want[n].typ || f.run != want[n].run || !bytes.Equal(f.body, want[n].body) {
				t.Errorf("frame %d = %v, want %v", n, f, want[n])
			}
		}
	}
	if err := i.seal(frame{0x80, 0, make([]byte, maxFrame-1)}, nil); err == nil {
		t.Error("a frame one octet over the bound was sealed")
	}
}

func TestControlFramesTampered(t *testing.T) {
	two := []frame{{0x80, 0, []byte("a")}, {0x80, 0, []byte("b")}}
	flip := func(b []byte, n int) []byte {
		b = bytes.Clone(b)
		b[n] ^= 1
		return b
	}
	tests := map[string]func(s []sealedFrame) []sealedFrame{
		"repeated":          func(s []sealedFrame) []sealedFrame { return []sealedFrame{s[0], s[0]} },
		"dropped":           func(s []sealedFrame) []sealedFrame { return s[1:] },
		"reordered":         func(s []sealedFrame) []sealedFrame { return []sealedFrame{s[1], s[0]} },
		"renumbered":        func(s []sealedFrame) []sealedFrame { return []sealedFrame{{0, s[1].data}} },
		"altered":           func(s []sealedFrame) []sealedFrame { return []sealedFrame{{0, flip(s[0].data, 0)}} },
		"tag altered":       func(s []sealedFrame) []sealedFrame { return []sealedFrame{{0, flip(s[0].data, len(s[0].data)-1)}} },
		"cut":               func(s []sealedFrame) []sealedFrame { return []sealedFrame{{0, s[0].data[:17]}} },
		"empty":             func(s []sealedFrame) []sealedFrame { return []sealedFrame{{0, nil}} },
		"one over the size": func(s []sealedFrame) []sealedFrame { return []sealedFrame{{0, make([]byte, maxFrame+17)}} },
	}
	for name, tamper := range tests {
		t.Run(name, func(t *testing.T) {
			i, r := sealers(t)
			var err error
			for _, s := range tamper(sealAll(t, i, two...)) {
				if _, err = r.open(s.seq, s.data); err != nil {
					break
				}
			}
			if !errors.Is(err, ErrControl) {
				t.Errorf("err = %v, want ErrControl", err)
			}
		})
	}
	t.Run("reflected", func(t *testing.T) {
		i, _ := sealers(t)
		s := sealAll(t, i, two[0])[0]
		if _, err := i.open(s.seq, s.data); !errors.Is(err, ErrControl) {
			t.Errorf("err = %v, want ErrControl: a frame was accepted by its own sender", err)
		}
	})
	t.Run("another session", func(t *testing.T) {
		i, r := sealers(t)
		i.aad = lv(nil, []byte("other"))
		s := sealAll(t, i, two[0])[0]
		if _, err := r.open(s.seq, s.data); !errors.Is(err, ErrControl) {
			t.Errorf("err = %v, want ErrControl: a frame of another session was accepted", err)
		}
	})
}

// TestConfirmOnce has a peer confirm twice, and send what no version 1 knows.
func TestConfirmOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		frames []frame
		want   error
	}{
		"once":             {[]frame{{frameConfirm, 0, nil}, {firstIgnorable, 0, nil}, {0xff, 9, []byte("x")}}, nil},
		"twice":            {[]frame{{frameConfirm, 0, nil}, {frameConfirm, 0, nil}}, ErrControl},
		"unknown low type": {[]frame{{0x7f, 0, nil}}, ErrControl},
	} {
		t.Run(name, func(t *testing.T) {
			i, r := sealers(t)
			tun := &tunnel{confirmed: make(chan struct{})}
			var err error
			for n, s := range sealAll(t, i, tt.frames...) {
				if n == 1 { // the first came before the keys were known
					err = tun.setSealer(r)
				}
				if err == nil {
					err = tun.takeFrame(&control{s.seq, s.data})
				}
			}
			if len(tt.frames) == 1 {
				err = tun.setSealer(r)
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("err = %v, want %v", err, tt.want)
			}
		})
	}
	t.Run("too many before the keys", func(t *testing.T) {
		tun := &tunnel{}
		for range maxFrames {
			if err := tun.takeFrame(&control{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := tun.takeFrame(&control{}); !errors.Is(err, errFlood) {
			t.Errorf("one over: %v, want errFlood", err)
		}
	})
}

// FuzzControl feeds a receiver whatever a server likes: it opens nothing, and a
// genuine frame still opens afterwards only if the receiver has not been told
// otherwise.
func FuzzControl(f *testing.F) {
	f.Add("0", "AAAA")
	f.Add("18446744073709551615", "")
	f.Add("01", "====")
	f.Add("-1", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, seq, text string) {
		i, r := sealers(t)
		c, err := parseControl(seq, text)
		if err != nil {
			return
		}
		if _, err := r.open(c.seq, c.sealed); err == nil {
			t.Fatalf("opened a frame that nobody sealed: %q %q", seq, text)
		}
		s := sealAll(t, i, frame{frameConfirm, 0, nil})[0]
		if _, err := r.open(s.seq, s.data); err != nil {
			t.Fatalf("the genuine frame does not open any more: %v", err)
		}
	})
}
