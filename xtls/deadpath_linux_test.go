// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls_test

import (
	"errors"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pion/logging"
	"golang.org/x/sys/unix"

	"example.org/xtls/xtls"
	"example.org/xtls/xtls/xtlstest"
)

// TestDeadPath: when nothing arrives at the other end of a direct path any more, while both sessions
// live, both ends say within a minute that the tunnel is lost. TCP alone takes a quarter of an hour
// if something was written, and does not notice if nothing was.
func TestDeadPath(t *testing.T) {
	t.Parallel()
	var rows sync.WaitGroup // all at once: they only wait
	for _, tt := range []struct {
		name       string
		alice, bob bool // writes
	}{{"idle", false, false}, {"one writes", true, false}, {"both write", true, true}} {
		rows.Go(func() { t.Run(tt.name, func(t *testing.T) { deadPath(t, tt.alice, tt.bob) }) })
	}
	rows.Wait()
}

func deadPath(t *testing.T, aliceWrites, bobWrites bool) {
	s := xtlstest.NewServer(t, xtlstest.Config{})
	aCfg, bCfg := acquainted(t, s, xtls.PathDirect)
	log := make(lines, 1000)
	aCfg.LoggerFactory = &logging.DefaultLoggerFactory{Writer: log, ScopeLevels: map[string]logging.LogLevel{"s5b": logging.LogLevelDebug}}
	a, b := xtlstest.Tunnel(t, xtlstest.NewClient(t, s, "alice", aCfg), xtlstest.NewClient(t, s, "bob", bCfg))
	made := regexp.MustCompile(`: direct (\S+)`)
	var addr netip.AddrPort
	for !addr.IsValid() {
		if m := made.FindStringSubmatch(<-log); m != nil {
			addr = netip.MustParseAddrPort(m[1])
		}
	}
	deafen(t, addr)

	lost := make(chan error, 2)
	for c, writes := range map[*xtls.Conn]bool{a: aliceWrites, b: bobWrites} {
		if writes {
			if _, err := c.Write([]byte("lost")); err != nil {
				t.Fatal(err)
			}
		}
		go func() {
			_, err := c.Read(make([]byte, 100))
			lost <- err
		}()
	}
	late := time.After(time.Minute)
	for range 2 {
		select {
		case err := <-lost:
			if !errors.Is(err, xtls.ErrLost) {
				t.Errorf("Read: %v, want ErrLost", err)
			}
		case <-late:
			t.Fatal("it was not noticed")
		}
	}
}

// deafen drops whatever comes to either end of the connection to addr, which is of this process, once
// nothing is under way: the filter of a socket, a classic BPF program, keeps 0 octets of each segment.
func deafen(t *testing.T, addr netip.AddrPort) {
	t.Helper()
	ends := sockets(t, addr)
	if len(ends) != 2 {
		t.Fatalf("%d sockets of the connection to %v", len(ends), addr)
	}
	for _, fd := range ends {
		for late := time.Now().Add(testTime); ; time.Sleep(time.Millisecond) {
			info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
			if err != nil || time.Now().After(late) {
				t.Fatalf("%+v, %v", info, err)
			}
			if info.Unacked == 0 {
				break
			}
		}
	}
	for _, fd := range ends {
		program := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
		err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &program[0]})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// sockets are those of this process that are an end of the connection to addr.
func sockets(t *testing.T, addr netip.AddrPort) []int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, entry := range open {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			t.Fatal(err)
		}
		peer, err := unix.Getpeername(fd)
		if err != nil {
			continue // not a connection
		}
		if own, err := unix.Getsockname(fd); err == nil && (sockAddr(own) == addr || sockAddr(peer) == addr) {
			found = append(found, fd)
		}
	}
	return found
}

// sockAddr is the zero AddrPort for what is neither IPv4 nor IPv6.
func sockAddr(a unix.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}
