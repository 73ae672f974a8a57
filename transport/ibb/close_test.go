// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/jingle/jingletest"
	"example.org/xtls/transport"
	"example.org/xtls/transport/ibb"
)

// TestCloseFlushes: everything Write accepted arrives, to the last octet (mellium's bug 2 keeps
// up to two of them back), and then the close.
func TestCloseFlushes(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 4095, 4096, 4097, 60_000} {
		for _, stranger := range []bool{false, true} {
			r := newRig(t, ibb.Config{})
			r.stranger = stranger
			a, b := r.connect(t, false)
			want := pattern(n)
			mustWrite(t, a, want)
			if err := a.Close(); err != nil {
				t.Errorf("%d octets: Close = %v", n, err)
			}
			got, err := readAll(b)
			if got != want || err != transport.ErrClosedByPeer {
				t.Errorf("%d octets: Read = %d octets, %v", n, len(got), err)
			}
			// XEP-0047 §2.3: all data, then <close/>, then its result.
			last := jingletest.Await(r.a, isElement("close"))
			if got := condition(answerTo(r.a, last.ID)); got != "result" {
				t.Errorf("answer to <close/> is %q", got)
			}
		}
	}
}

// TestCloseIsBounded: a peer that does not answer holds Close for 30 seconds, and what did not
// arrive is named.
func TestCloseIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name  string
		close func(*ibb.Conn) error
		want  time.Duration
		why   error
	}{
		{"linger", (*ibb.Conn).Close, 30 * time.Second, os.ErrDeadlineExceeded},
		{"a write deadline in the past does not matter", func(c *ibb.Conn) error {
			c.SetWriteDeadline(time.Unix(1, 0))
			return c.Close()
		}, 30 * time.Second, os.ErrDeadlineExceeded},
		{"aborted after a second", func(c *ibb.Conn) error {
			time.AfterFunc(time.Second, func() { c.Abort(errEnough) })
			return c.Close()
		}, time.Second, errEnough},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, ibb.Config{})
				a, _ := r.connect(t, false)
				mustWrite(t, a, "delivered")
				synctest.Wait()
				r.a.Hold(nil)
				mustWrite(t, a, "lost")
				start := time.Now()
				err := tt.close(a)
				if took := time.Since(start); took != tt.want {
					t.Errorf("Close took %v, want %v", took, tt.want)
				}
				if !errors.Is(err, tt.why) || !strings.Contains(err.Error(), "4 octets not acknowledged") {
					t.Errorf("Close = %v", err)
				}
				if tt.why != errEnough {
					jingletest.Await(r.a, isElement("close")) // although it does not get far
				}
			})
		})
	}
}

var errEnough = errors.New("enough")

// TestCloseWaitsForAnswer: the closer waits for the result (XEP-0047 §2.3), also if it is an error.
func TestCloseWaitsForAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, ibb.Config{})
		a, _ := r.connect(t, false)
		r.b.Hold(func(s jingletest.Stanza) bool { return s.Type == "result" })
		closed := make(chan error, 1)
		go func() { closed <- a.Close() }()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close did not wait for the answer to <close/>")
		default:
		}
		r.b.Release()
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

// TestCloseUnblocks: Read and Write return at once, before the flush is done.
func TestCloseUnblocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, ibb.Config{})
		a, _ := r.connect(t, false)
		r.a.Hold(nil)
		errs := make(chan error, 2)
		go func() { _, err := a.Read(make([]byte, 1)); errs <- err }()
		go func() { _, err := a.Write(make([]byte, 1<<20)); errs <- err }()
		synctest.Wait()
		start := time.Now()
		go a.Close()
		for range 2 {
			if err := <-errs; !errors.Is(err, net.ErrClosed) {
				t.Errorf("got %v, want net.ErrClosed", err)
			}
		}
		if time.Since(start) != 0 {
			t.Errorf("it took %v", time.Since(start))
		}
		time.Sleep(time.Minute) // Close has returned
		if err := a.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("SetDeadline after Close = %v", err)
		}
	})
}

// TestBothClose: two ends that close at once with full buffers both ways get out of each other's way.
func TestBothClose(t *testing.T) {
	for _, stranger := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, ibb.Config{ReceiveBuffer: 8 << 10}) // less than what is to be flushed
			r.stranger = stranger
			a, b := r.connect(t, false)
			for _, c := range []*ibb.Conn{a, b} {
				go c.Write(make([]byte, 8<<20))
			}
			synctest.Wait()
			time.Sleep(time.Second)
			start := time.Now()
			var wg sync.WaitGroup
			for _, c := range []*ibb.Conn{a, b} {
				wg.Go(func() { c.Close() })
			}
			wg.Wait()
			if took := time.Since(start); took >= 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestAfterClose: stanzas for a stream that is closed find none, and do no harm (mellium's bug 5
// is a panic here).
func TestAfterClose(t *testing.T) {
	r := newRig(t, ibb.Config{})
	a, b := r.connect(t, false)
	sid := sidOf(a)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(b); err != transport.ErrClosedByPeer {
		t.Fatal(err)
	}
	for name, payload := range map[string]string{
		"data":   data(sid, "0", "QQ=="),
		"close":  "<close xmlns='" + nsIBB + "' sid='" + sid + "'/>",
		"open":   "<open xmlns='" + nsIBB + "' block-size='4096' sid='" + sid + "'/>",
		"credit": "<credit xmlns='urn:xmpp:xtls:1' limit='1' sid='" + sid + "'/>",
	} {
		for _, e := range []struct{ at, from *jingletest.End }{{r.a, r.b}, {r.b, r.a}} {
			id := name + " at " + e.at.LocalAddr().Localpart()
			e.at.Inject(iq(e.from.LocalAddr(), e.at.LocalAddr(), id, payload))
			if got := condition(answerTo(r.a, id)); got != "cancel item-not-found" {
				t.Errorf("answer to %s is %q", id, got)
			}
		}
	}
}

// TestCloseRefused: nobody but the peer can close a stream.
func TestCloseRefused(t *testing.T) {
	r := newRig(t, ibb.Config{})
	a, b := r.connect(t, false)
	sid := sidOf(a)
	for _, tt := range []struct{ name, from, attr, want string }{
		{"third party", "mallory@evil.example/x", "sid='" + sid + "'", "cancel item-not-found"},
		{"other resource", "alba@isle.example/other", "sid='" + sid + "'", "cancel item-not-found"},
		{"unknown sid", jingletest.AddrA, "sid='x'", "cancel item-not-found"},
		{"no sid", jingletest.AddrA, "", "cancel bad-request"},
	} {
		r.b.Inject(iq(jid.MustParse(tt.from), r.b.LocalAddr(), tt.name, "<close xmlns='"+nsIBB+"' "+tt.attr+"/>"))
		if got := condition(answerTo(r.b, tt.name)); got != tt.want {
			t.Errorf("%s: answer is %q, want %q", tt.name, got, tt.want)
		}
	}
	mustWrite(t, a, "still")
	if got := readString(t, b, 5); got != "still" {
		t.Errorf("Read = %q", got)
	}
}

// TestPeerClosesFirst: what could not be delivered is not hidden.
func TestPeerClosesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, ibb.Config{})
		a, b := r.connect(t, false)
		r.a.Hold(isElement("data"))
		mustWrite(t, a, "too late")
		synctest.Wait()
		if err := b.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		r.a.Release()
		if _, err := readAll(a); err != transport.ErrClosedByPeer {
			t.Errorf("Read = %v", err)
		}
		if err := a.Close(); !errors.Is(err, transport.ErrClosedByPeer) || !strings.Contains(err.Error(), "8 octets") {
			t.Errorf("Close = %v", err)
		}
	})
}

// TestCloseOvertakesResult: the peer's <close/> and its result of a block leave on different
// goroutines. What it took was delivered, whichever comes first.
func TestCloseOvertakesResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, ibb.Config{})
		a, b := r.connect(t, false)
		r.b.Hold(func(s jingletest.Stanza) bool { return s.Type == "result" })
		mustWrite(t, a, "in time")
		if got := readString(t, b, 7); got != "in time" {
			t.Errorf("Read = %q", got)
		}
		go b.Close()
		if _, err := readAll(a); err != transport.ErrClosedByPeer {
			t.Errorf("Read = %v", err)
		}
		closed := make(chan error, 1)
		go func() { closed <- a.Close() }()
		synctest.Wait()
		r.b.Release()
		if err := <-closed; err != nil {
			t.Errorf("Close = %v", err)
		}
	})
}

// TestSessionEnded: Read and Write tell that the XMPP session is gone, and why (mellium's bug 4:
// Read hangs); the reason is never io.EOF, although XMPP sessions often end with it.
func TestSessionEnded(t *testing.T) {
	for _, cause := range []error{errors.New("cable cut"), io.EOF, fmt.Errorf("stream: %w", io.EOF), nil} {
		t.Run(fmt.Sprint(cause), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, ibb.Config{})
				a, b := r.connect(t, false)
				mustWrite(t, b, "before")
				synctest.Wait()
				errs := make(chan error, 1)
				go func() { _, err := a.Write(make([]byte, 8<<20)); errs <- err }()
				synctest.Wait()
				r.ta.Close(cause)
				got, err := readAll(a)
				for _, err := range []error{err, <-errs} {
					if !errors.Is(err, ibb.ErrSessionEnded) || errors.Is(err, io.EOF) {
						t.Errorf("got %v, want ErrSessionEnded", err)
					}
					if cause != nil && !strings.Contains(err.Error(), cause.Error()) {
						t.Errorf("%v does not tell %v", err, cause)
					}
				}
				if got != "before" {
					t.Errorf("Read = %q, want what came before", got)
				}
				if err := a.Close(); !errors.Is(err, ibb.ErrSessionEnded) {
					t.Errorf("Close = %v", err)
				}
				r.ta.Close(errors.New("again")) // changes nothing
			})
		})
	}
}

// TestRequestsFail: the session may fail without anybody calling Transport.Close.
func TestRequestsFail(t *testing.T) {
	for _, cause := range []error{errors.New("cable cut"), io.EOF} {
		r := newRig(t, ibb.Config{})
		a, _ := r.connect(t, false)
		r.a.Fail(cause)
		mustWrite(t, a, "x")
		_, err := readAll(a)
		if err == nil || !strings.Contains(err.Error(), "no answer to data: "+cause.Error()) || errors.Is(err, io.EOF) {
			t.Errorf("Read = %v", err)
		}
	}
}

// TestNoAnswer: a block of unknown fate ends the stream.
func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, ibb.Config{})
		a, _ := r.connect(t, false)
		a.SetDeadline(time.Time{})
		r.b.Tap(func(jingletest.Stanza) []jingletest.Stanza { return nil })
		mustWrite(t, a, "x")
		if _, err := readAll(a); err == nil || !strings.Contains(err.Error(), "no answer to data") {
			t.Errorf("Read = %v", err)
		}
	})
}

// TestConcurrentUse is for the race detector, and for the end: nothing hangs, nothing panics.
func TestConcurrentUse(t *testing.T) {
	for i := range 20 {
		r := newRig(t, ibb.Config{BlockSize: 256, SendBuffer: 512, ReceiveBuffer: 512})
		r.stranger = i%2 == 1
		a, b := r.connect(t, i%4 > 1)
		var wg sync.WaitGroup
		for _, c := range []*ibb.Conn{a, b} {
			for range 2 {
				wg.Go(func() {
					for buf := make([]byte, 300); ; {
						if _, err := c.Read(buf); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
							return
						}
					}
				})
				wg.Go(func() {
					for {
						if _, err := c.Write(make([]byte, 200)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
							return
						}
					}
				})
			}
			wg.Go(func() {
				for c.SetDeadline(time.Now().Add(time.Millisecond)) == nil {
					c.LocalAddr()
					c.BlockSize()
				}
			})
		}
		jingletest.Await(r.a, isElement("data"))
		switch i % 3 {
		case 0:
			a.Close()
			b.Close()
		case 1:
			wg.Go(func() { a.Close() })
			wg.Go(func() { b.Close() })
		case 2:
			r.tb.Close(errors.New("gone"))
			r.ta.Close(errors.New("gone"))
			a.Close()
			b.Close()
		}
		wg.Wait()
	}
}

// TestSpare: behind a full queue there is room for an alert.
func TestSpare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, ibb.Config{})
		a, _ := r.connect(t, false)
		r.a.Hold(isElement("data"))
		a.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := a.Write(make([]byte, 8<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		for _, w := range []struct{ octets, want int }{{100, 0}, {24, 24}, {24, 24}, {24, 16}} { // and then no more
			a.SetWriteDeadline(time.Now().Add(time.Second))
			if n, err := a.Write(make([]byte, w.octets)); n != w.want || (err == nil) != (n == w.octets) {
				t.Errorf("Write of %d = %d, %v, want %d", w.octets, n, err, w.want)
			}
		}
		r.a.Release()
	})
}

// TestCloseWithoutRoom: a peer that has no room for more holds Close for 5 seconds.
func TestCloseWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, ibb.Config{ReceiveBuffer: 8 << 10})
		a, _ := r.connect(t, false)
		go a.Write(make([]byte, 1<<20))
		synctest.Wait()
		time.Sleep(time.Second)
		start := time.Now()
		if err := a.Close(); time.Since(start) != 5*time.Second || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Close = %v after %v", err, time.Since(start))
		}
	})
}

// TestCloseWaitsWhileThereIsProgress: a peer that takes one block every four seconds is slow, not
// gone; so is one behind a server whose limit other streams have used up for the moment. What Write
// accepted arrives. It does not hold Close for as long as there are blocks.
func TestCloseWaitsWhileThereIsProgress(t *testing.T) {
	for _, tt := range []struct {
		name        string
		blocks      int
		every       time.Duration
		least, most time.Duration
		want        error
	}{
		{"few", 5, 4 * time.Second, 16 * time.Second, time.Minute, nil},
		{"slow", 2, 25 * time.Second, 50 * time.Second, 50 * time.Second, nil},
		{"many", 100, 4 * time.Second, time.Minute, 80 * time.Second, os.ErrDeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, ibb.Config{BlockSize: 256, InFlight: 1})
				a, b := r.connect(t, false)
				r.a.Hold(isElement("data"))
				data := strings.Repeat("x", tt.blocks*256)
				mustWrite(t, a, data)
				stop := make(chan struct{})
				released := make(chan struct{})
				go func() {
					defer close(released)
					for {
						select {
						case <-time.After(tt.every):
							r.a.Release()
							r.a.Hold(isElement("data"))
						case <-stop:
							r.a.Release()
							return
						}
					}
				}()
				start := time.Now()
				err := a.Close()
				if took := time.Since(start); !errors.Is(err, tt.want) || took < tt.least || took > tt.most {
					t.Errorf("Close = %v after %v", err, took)
				}
				close(stop)
				<-released
				if tt.want != nil {
					return
				}
				b.SetReadDeadline(time.Time{})
				if got, err := readAll(b); got != data || !errors.Is(err, transport.ErrClosedByPeer) {
					t.Errorf("Read %d octets, %v", len(got), err)
				}
			})
		})
	}
}
