// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package s5b

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// unheard returns how long ago the last acknowledgement, or anything else, came from the other end,
// if octets are under way on c that were not acknowledged, and 0 if none are. On a path that lives
// there is one every keepAlive.Idle at least. What waits since the other end has no room for it is not
// under way.
func unheard(c *net.TCPConn) time.Duration {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	var silence time.Duration
	_ = raw.Control(func(fd uintptr) { // fails if c is closed
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil || info.Unacked == 0 {
			return
		}
		silence = time.Duration(min(info.Last_ack_recv, info.Last_data_recv)) * time.Millisecond
	})
	return silence
}
