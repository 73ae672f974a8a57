// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"fmt"
	"strings"

	"example.org/xtls/xtls"
)

// tunnelUp reports an established tunnel: to people if the key is new, so that
// they see that it is pinned now, else only to those who want details.
func (a *app) tunnelUp(s xtls.State) {
	a.tunnelEvent(s)
	if s.Level == xtls.LevelServerVouched {
		a.ui.say("%s", describe(s))
		return
	}
	a.ui.detail("%s", describe(s))
	if s.Detour != "" {
		a.ui.detail("  no better path: %s", printable(s.Detour))
	}
}

// tunnelEvent reports an established tunnel to programs.
func (a *app) tunnelEvent(s xtls.State) {
	fields := []any{
		"peer", s.Peer, "service", s.App.Service, "level", s.Level, "method", s.Method,
		"path", s.Transport, "tls", s.Protocol(), "group", s.Group, "pq", s.PostQuantum(),
		"draft", s.Draft, "fingerprint", s.Fingerprint,
	}
	if s.Detour != "" {
		fields = append(fields, "detour", s.Detour)
	}
	a.ui.event("tunnel", fields...)
}

// describe is one line on a tunnel.
func describe(s xtls.State) string {
	service := ""
	if s.App.Service != "" {
		service = " " + s.App.Service
	}
	quantum := "not post-quantum"
	if s.PostQuantum() {
		quantum = "post-quantum"
	}
	path := pathName(s.Transport)
	return fmt.Sprintf("%s%s: %s; %s, %s, %s (%s)", s.Peer, service, standing(s), path, s.Protocol(), s.Group, quantum)
}

// standing is what is known of the peer's key: NEW, PINNED, CA or VERIFIED.
func standing(s xtls.State) string {
	switch s.Level {
	case xtls.LevelServerVouched:
		return "NEW, pinned now, never checked"
	case xtls.LevelPinned:
		return "PINNED, the same key as on " + day(s.First) + ", never checked"
	case xtls.LevelCA:
		return "CA, certified for this address by an authority that you named, not checked by you"
	case xtls.LevelVerified:
		return fmt.Sprintf("VERIFIED (%s, %s)", s.Method, day(s.Verified))
	default:
		return s.Level.String()
	}
}

// pathName is the word for people.
func pathName(path string) string { return strings.ReplaceAll(path, "inband", "in-band") }
