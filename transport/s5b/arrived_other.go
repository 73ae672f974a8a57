// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

//go:build !unix

package s5b

import (
	"net"
	"time"
)

// arrivedTime is how long the system is given to hand over what it has.
const arrivedTime = 20 * time.Millisecond

// readArrived returns what the system has received on c and nobody has read, at most limit
// octets. It waits for arrivedTime at most, and then does not see more.
func readArrived(c *net.TCPConn, limit int) []byte {
	if c.SetReadDeadline(time.Now().Add(arrivedTime)) != nil {
		return nil
	}
	var all []byte
	buf := make([]byte, 16<<10)
	for len(all) < limit {
		n, err := c.Read(buf)
		all = append(all, buf[:n]...)
		if err != nil {
			break
		}
	}
	return all
}
