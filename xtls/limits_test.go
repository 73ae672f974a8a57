// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"context"
	"encoding/xml"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStreamLimits(t *testing.T) {
	const most = 1<<31 - 1
	tests := []struct {
		name, in string
		want     Limits
		block    int
	}{
		{"nothing", ``, Limits{}, 4096},
		{"both", `<max-bytes>10000</max-bytes><idle-seconds>600</idle-seconds>`, Limits{10000, 10 * time.Minute}, 3366},
		{"a usual server", `<max-bytes>262144</max-bytes>`, Limits{262144, 0}, 65535},
		{"the least that is all of a block", `<max-bytes>175784</max-bytes>`, Limits{175784, 0}, 65535},
		{"one less", `<max-bytes>175783</max-bytes>`, Limits{175783, 0}, 65532},
		{"little", `<max-bytes>1</max-bytes>`, Limits{1, 0}, 256},
		{"zero", `<max-bytes>0</max-bytes><idle-seconds>0</idle-seconds>`, Limits{}, 4096},
		{"negative", `<max-bytes>-1</max-bytes><idle-seconds>-1</idle-seconds>`, Limits{}, 4096},
		{"the largest", `<max-bytes>2147483647</max-bytes><idle-seconds>2147483647</idle-seconds>`, Limits{most, most * time.Second}, 65535},
		{"larger", `<max-bytes>2147483648</max-bytes><idle-seconds>99999999999999999999</idle-seconds>`, Limits{}, 4096},
		{"no number", `<max-bytes>many</max-bytes><idle-seconds/>`, Limits{}, 4096},
		{"several", `<max-bytes>90000</max-bytes><max-bytes>x</max-bytes><max-bytes>20000</max-bytes><max-bytes>0</max-bytes>`, Limits{20000, 0}, 7116},
		{"another namespace", `<max-bytes xmlns='urn:x'>20000</max-bytes>`, Limits{}, 4096},
		{"something unknown", `<a><b/></a><max-bytes>20000</max-bytes>`, Limits{20000, 0}, 7116},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := xml.NewDecoder(strings.NewReader(`<limits xmlns='urn:xmpp:stream-limits:0'>` + tt.in + `</limits>`))
			tok, err := d.Token()
			if err != nil {
				t.Fatal(err)
			}
			start := tok.(xml.StartElement)
			required, got, err := streamLimits().Parse(t.Context(), d, &start)
			if err != nil || required {
				t.Fatalf("required %v, err %v", required, err)
			}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if b := tt.want.blockSize(); b != tt.block {
				t.Errorf("block of %d, want %d", b, tt.block)
			}
		})
	}
}

func FuzzStreamLimits(f *testing.F) {
	f.Add(`<max-bytes>10000</max-bytes><idle-seconds>600</idle-seconds>`)
	f.Add(`<max-bytes>1<x/>2</max-bytes><max-bytes/>`)
	f.Fuzz(func(t *testing.T, in string) {
		d := xml.NewDecoder(strings.NewReader(`<limits xmlns='urn:xmpp:stream-limits:0'>` + in + `</limits>`))
		tok, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		start := tok.(xml.StartElement)
		_, got, err := streamLimits().Parse(t.Context(), d, &start)
		if err != nil {
			return
		}
		l := got.(Limits)
		if b := l.blockSize(); l.MaxBytes < 0 || l.Idle < 0 || b < 256 || b > 65535 {
			t.Errorf("%+v: block of %d", l, b)
		}
	})
}

func TestKeepAlive(t *testing.T) {
	for _, tt := range []struct {
		idle, within time.Duration
		want         int
	}{
		{0, time.Hour, 0},
		{time.Minute, 95 * time.Second, 3},
		{time.Second, 21 * time.Second, 4}, // however little the server allows
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), tt.within)
			defer cancel()
			sent := 0
			keepAlive(ctx, tt.idle, func(p []byte) error {
				if string(p) != " " {
					t.Errorf("sent %q", p)
				}
				sent++
				return nil
			})
			if sent != tt.want {
				t.Errorf("idle for %v: sent %d times in %v, want %d", tt.idle, sent, tt.within, tt.want)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		keepAlive(t.Context(), time.Minute, func([]byte) error {
			sent++
			return errors.New("gone")
		})
		if sent != 1 {
			t.Errorf("sent %d times on a connection that is gone", sent)
		}
	})
}
