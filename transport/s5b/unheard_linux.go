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
// if octets are under way on c that were sent again since, and 0 otherwise. On a path that lives there
// is one every keepAlive.Idle at least. What the other end has no room for waits here, or is sent again
// and again where it has taken room back; it answers each time, and that does not count as sent again.
func unheard(c *net.TCPConn) time.Duration {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	var silence time.Duration
	_ = raw.Control(func(fd uintptr) { // fails if c is closed
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil || info.Unacked == 0 || info.Retransmits == 0 {
			return
		}
		silence = time.Duration(min(info.Last_ack_recv, info.Last_data_recv)) * time.Millisecond
	})
	return silence
}
