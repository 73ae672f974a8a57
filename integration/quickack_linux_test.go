// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"net"
	"syscall"
)

// quickAcks returns conn, a TCP connection whose segments are acknowledged at once.
// The kernel forgets that wish, so it is repeated around every Read.
func quickAcks(conn net.Conn) net.Conn {
	tcp := conn.(*net.TCPConn)
	raw, err := tcp.SyscallConn()
	if err != nil {
		return conn
	}
	return &quickConn{tcp, raw}
}

type quickConn struct {
	*net.TCPConn
	raw syscall.RawConn
}

// Read reads between two wishes.
func (c *quickConn) Read(p []byte) (int, error) {
	c.wish()
	n, err := c.TCPConn.Read(p)
	c.wish()
	return n, err
}

func (c *quickConn) wish() {
	_ = c.raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
	})
}
