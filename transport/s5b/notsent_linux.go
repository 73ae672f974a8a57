// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"net"

	"golang.org/x/sys/unix"
)

// limitNotSent makes a Write wait while the kernel holds more than notSent octets that were not
// sent. Without it small writes wait behind megabytes. A kernel that refuses only is slower.
func limitNotSent(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSent)
	})
}
