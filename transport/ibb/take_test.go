// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"example.org/xtls/transport/ibb"
)

// TestTakeData: only the next good block of an open stream is taken; a block that is not
// taken has changed nothing, so that the next one still is.
func TestTakeData(t *testing.T) {
	for _, messages := range []bool{false, true} {
		r := newRig(t, ibb.Config{BlockSize: 256, ReceiveBuffer: 600})
		_, b := r.connect(t, messages)
		peer, sid := r.a.LocalAddr().String(), sidOf(b)
		full := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("f", 256)))
		for _, tt := range []struct {
			name, peer, sid, seq, text string
			answer                     string // credit granted, in octets; "" if not taken
		}{
			{"the first", peer, sid, "0", "Zmlyc3Q=", "600"},
			{"again", peer, sid, "0", "Zmlyc3Q=", ""},
			{"a gap", peer, sid, "2", "Zmlyc3Q=", ""},
			{"no number", peer, sid, "x", "Zmlyc3Q=", ""},
			{"too large a number", peer, sid, "65537", "Zmlyc3Q=", ""},
			{"somebody else", r.b.LocalAddr().String(), sid, "1", "Zmlyc3Q=", ""},
			{"another stream", peer, "other", "1", "Zmlyc3Q=", ""},
			{"no padding", peer, sid, "1", "Zmlyc3Q", ""},
			{"hidden bits", peer, sid, "1", "Zmlyc3R=", ""},
			{"line break", peer, sid, "1", "Zmly\nc3Q=", ""},
			{"space", peer, sid, "1", "Zmly c3Q=", ""},
			{"entity", peer, sid, "1", "&#90;mly", ""},
			{"too large", peer, sid, "1", base64.StdEncoding.EncodeToString(make([]byte, 257)), ""},
			{"far too large", peer, sid, "1", strings.Repeat("QUJD", 1000), ""},
			{"the largest", peer, sid, "1", full, "600"},
			{"the last that fits", peer, sid, "2", full, "600"},
			{"no room", peer, sid, "3", full, ""},
			{"empty", peer, sid, "3", "", "600"},
		} {
			got, ok := r.tb.TakeData([]byte("<iq>"), tt.peer, []byte(tt.sid), []byte(tt.seq), []byte(tt.text))
			want := "<iq>"
			if tt.answer != "" {
				want += fmt.Sprintf("<credit xmlns='urn:xmpp:xtls:1' sid='%s' limit='%s'/>", sid, tt.answer)
			}
			if ok != (tt.answer != "") || string(got) != want {
				t.Errorf("%s: taken %v, answer %q, want %q", tt.name, ok, got, want)
			}
		}
		if got := readString(t, b, 5); got != "first" {
			t.Errorf("read %q", got)
		}
		for range 2 {
			if got := readString(t, b, 256); got != strings.Repeat("f", 256) {
				t.Errorf("read %q", got)
			}
		}
		_ = b.Close()
		if _, ok := r.tb.TakeData(nil, peer, []byte(sid), []byte("4"), []byte("QUJD")); ok {
			t.Error("a closed stream takes blocks")
		}
	}
}
