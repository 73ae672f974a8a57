// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

//go:build unix

package s5b

import (
	"net"
	"syscall"
	"time"
)

// readArrived returns what the system has received on c and nobody has read, at most limit
// octets. It does not wait.
func readArrived(c *net.TCPConn, limit int) []byte {
	raw, err := c.SyscallConn()
	if err != nil || c.SetReadDeadline(time.Time{}) != nil {
		return nil
	}
	var all []byte
	buf := make([]byte, 16<<10)
	for len(all) < limit {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			n, _ = syscall.Read(int(fd), buf) // no octets: nothing there, or the end
			return true
		})
		if err != nil || n <= 0 {
			break
		}
		all = append(all, buf[:n]...)
	}
	return all
}
