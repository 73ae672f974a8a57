// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

//go:build !linux

package s5b

import (
	"net"
	"time"
)

// unheard is not known here.
func unheard(*net.TCPConn) time.Duration { return 0 }
