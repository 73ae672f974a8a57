// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package socket

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxUnsent is how many octets may wait in the send buffer that were not sent yet:
// three blocks of 4096 in base64. Less slows a fast server down.
const maxUnsent = 16 << 10

// Tune sets up c, which must not be read otherwise any more, and returns what to
// read and write instead. It does nothing to what is no TCP connection.
func Tune(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	// What the kernel refuses is no loss: it only takes longer.
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent)
	})
	return &conn{Conn: c, raw: raw}
}

// A conn acknowledges at once what arrives.
type conn struct {
	net.Conn
	raw syscall.RawConn
}

// Read reads. The kernel soon goes back to delayed acknowledgements by itself, most of
// all after a write (tcp(7)), so it is told before and after: before for what
// comes next, after for what it may already be holding back.
func (c *conn) Read(p []byte) (int, error) {
	_ = c.raw.Control(acknowledge)
	n, err := c.Conn.Read(p)
	_ = c.raw.Control(acknowledge)
	return n, err
}

func acknowledge(fd uintptr) {
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
}
