// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

//go:build !linux

package integration_test

import "net"

// quickAcks returns conn: this system has nothing of the kind.
func quickAcks(conn net.Conn) net.Conn { return conn }
