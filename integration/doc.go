// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

// Package integration has no code to import: its tests try the whole product, the
// command line and the library, against a real Prosody and a real ejabberd.
//
// Each test starts a server of its own from a temporary directory, on free ports
// of loopback, as a child process that ends with the test, and runs the xtls-demo
// that was built from this source as other child processes: what is tested is what
// a user runs. Nothing here sleeps; everything waits for an event, within bounds,
// and shows all that the processes printed if it does not come.
//
// The harness is in child_test.go (processes), server_test.go, prosody_test.go and
// ejabberd_test.go (the servers), program_test.go (xtls-demo) and account_test.go (its
// users). The cases are in
//
//	hello_test.go        the session of the README, and what the server saw of it
//	data_test.go         octets: many, one, none, half-closed
//	trust_test.go        unknown, known and changed keys
//	failure_test.go      refusals and losses
//	service_test.go      forwarded TCP services and ping
//	library_test.go      the same as a Go developer sees it
//	stream_test.go       XML streams in tunnels, and chats
//	security_test.go     TLS and DTLS, and which one of them is faster
//	dishonest_test.go    a Prosody that tampers, by testdata/modules/mod_xtls_tamper.lua
//	relay_test.go        SOCKS5 bytestreams through Prosody's relay
//	middle_test.go       somebody in the middle, on the embedded server
//	ejabberd_test.go     the session of the README through an ejabberd
//
// OpenSSL and GnuTLS at the other end of our DTLS and TLS are in foreign_test.go of xtls and of
// xtls/internal/dtls, which cannot be imported from here.
//
// The figures of BENCHMARKS.md come from bench_*_test.go: contenders (contender_test.go)
// take turns behind delaying proxies (delay_test.go); statistics_test.go and
// plot_test.go make figures and a picture of what was measured.
//
// Where a server or a peer is not installed its tests are skipped and say what to install. With
// XTLS_INTEGRATION=required, as the script check of this directory sets it, that
// is a failure.
package integration
