// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	linkMTU  = 1500
	linkHere = "10.231.87.1" // this end
	linkFar  = "10.231.87.2" // the end in the namespace
	farSide  = "xtls-bench"  // the network namespace
)

// farNetwork makes a network namespace that is reached over a link of its own, whose
// packets take oneWay each way and are never larger than linkMTU, as on a real network:
// neither loopback nor a veth pair cuts what is sent. It returns the command that runs
// others inside. Everything ends with the test. It needs root, ip and TUN devices.
func farNetwork(t testing.TB, oneWay time.Duration) (within []string) {
	t.Helper()
	if os.Getuid() != 0 {
		missing(t, "making a network namespace needs root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		missing(t, "making a network namespace needs ip (Debian and Ubuntu: apt-get install iproute2)")
	}
	here, err := openTUN("xtls-here")
	if err != nil {
		missing(t, fmt.Sprintf("making a link needs TUN devices: %v", err))
	}
	far, err := openTUN("xtls-far")
	if err != nil {
		t.Fatal(err)
	}
	var forwarding sync.WaitGroup
	forwarding.Go(func() { forward(far, here, oneWay) })
	forwarding.Go(func() { forward(here, far, oneWay) })
	t.Cleanup(func() {
		_, _ = here.Close(), far.Close()
		forwarding.Wait()
	})
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %q: %v\n%s", args, err, out)
		}
	}
	ip("netns", "add", farSide)
	t.Cleanup(func() { ip("netns", "del", farSide) })
	ip("link", "set", "xtls-far", "netns", farSide)
	ip("addr", "add", linkHere, "peer", linkFar, "dev", "xtls-here")
	ip("-n", farSide, "addr", "add", linkFar, "peer", linkHere, "dev", "xtls-far")
	ip("-n", farSide, "link", "set", "lo", "up")
	ip("link", "set", "xtls-here", "mtu", "1500", "txqueuelen", "5000", "up")
	ip("-n", farSide, "link", "set", "xtls-far", "mtu", "1500", "txqueuelen", "5000", "up")
	return []string{"ip", "netns", "exec", farSide}
}

// openTUN makes a network device of which this process is the other end.
func openTUN(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// forward carries packets until one of the devices is closed. Each takes oneWay.
func forward(to, from *os.File, oneWay time.Duration) {
	type packet struct {
		octets []byte
		due    time.Time
	}
	const most = 1 << 14 // packets on their way
	onTheWay := make(chan packet, most)
	var arriving sync.WaitGroup
	defer arriving.Wait()
	defer close(onTheWay)
	arriving.Go(func() {
		for p := range onTheWay {
			time.Sleep(time.Until(p.due))
			_, _ = to.Write(p.octets) // one that is refused is lost, as packets are
		}
	})
	buf := make([]byte, linkMTU)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		onTheWay <- packet{append([]byte(nil), buf[:n]...), time.Now().Add(oneWay)}
	}
}
