// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

// Package socket sets up the TCP connection of a client to its XMPP server so that
// nothing waits in the kernel that need not wait.
//
// Servers leave Nagle's algorithm on (RFC 896), so the end of every stanza that
// takes more than one of their writes is held back until what came before is
// acknowledged; and a receiver may delay that by 40 ms (RFC 1122 §4.2.3.2). The client
// cannot change the server, but it can acknowledge at once. It can also keep its own
// stanzas out of the send buffer while the server takes no more, so that an urgent
// one does not queue behind megabytes that are beyond recall.
//
// Go turns the client's own Nagle off. Where the system has no such options the
// connection works all the same.
package socket
