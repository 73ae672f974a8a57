// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package guard_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"example.org/xtls/xtls/internal/guard"
)

// block is a bulk stanza of about n octets.
func block(n int) string { return "<iq><data>" + strings.Repeat("B", n) + "</data></iq>" }

// TestControlOvertakesBulk: a server reads slowly while much bulk waits. What is not bulk
// arrives after no more than the block that is on its way already, and the next one.
func TestControlOvertakesBulk(t *testing.T) {
	const size, blocks = 5600, 50
	for _, n := range []int{size, 90_000} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe() // takes only what is read
			g := guard.New(near)
			write(t, g, header)
			expect(t, far, header)
			for range blocks {
				if err := g.WriteBulk([]byte(block(n))); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait() // the first batch is being written
			const ping = `<iq id="ping"/>`
			write(t, g, ping)
			go func() { _ = g.Close() }()
			all := make([]byte, blocks*len(block(n))+len(ping))
			if _, err := io.ReadFull(far, all); err != nil {
				t.Fatal(err)
			}
			_ = far.Close()
			// The batch holds what was there when the writer woke up, up to a bound.
			perBatch := max(1, 16<<10/len(block(n)))
			before, after, _ := strings.Cut(string(all), ping)
			ahead := strings.Count(before, "<iq>")
			if ahead < 1 || ahead > perBatch || before != strings.Repeat(block(n), ahead) || after != strings.Repeat(block(n), blocks-ahead) {
				t.Errorf("%d blocks before what is not bulk, want at most %d, and all blocks", ahead, perBatch)
			}
		})
	}
}

// TestBulkStaysBetweenStanzas: the session writes its stanzas in pieces. Bulk never
// gets into one, nor before the stream begins or after it has ended.
func TestBulkStaysBetweenStanzas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		g := guard.New(near)
		bulk := func() {
			t.Helper()
			if err := g.WriteBulk([]byte(block(10))); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		bulk()
		write(t, g, header[:50])
		expect(t, far, header[:50])
		write(t, g, header[50:])
		expect(t, far, header[50:]+block(10))

		message := `<message a="<>'/>"><b/><c><![CDATA[</message>]]></c> </message>`
		for i := range len(message) {
			write(t, g, message[i:i+1])
			expect(t, far, message[i:i+1])
			if i == 5 {
				bulk()
			}
		}
		expect(t, far, block(10))

		write(t, g, " ") // between stanzas
		expect(t, far, " ")
		bulk()
		expect(t, far, block(10))

		write(t, g, "</stream:stream>")
		expect(t, far, "</stream:stream>")
		bulk()
		go func() { _ = g.Close() }()
		if rest, err := io.ReadAll(far); err != nil || len(rest) > 0 {
			t.Errorf("after the end of the stream: %q, %v", rest, err)
		}
	})
}

// TestStreamRestart: after login a second stream begins, and bulk stays between its
// stanzas as well.
func TestStreamRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		g := guard.New(near)
		write(t, g, header)
		write(t, g, "<auth/>")
		g.StartStream()
		write(t, g, header+"<iq>")
		if err := g.WriteBulk([]byte(block(10))); err != nil {
			t.Fatal(err)
		}
		expect(t, far, header+"<auth/>"+header+"<iq>")
		write(t, g, "</iq>")
		expect(t, far, "</iq>"+block(10))
		go func() { _ = g.Close() }()
		_, _ = io.ReadAll(far)
	})
}

// TestBulkIsBounded: with a server that does not read, bulk fails when so much waits,
// but the connection lives.
func TestBulkIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		g := guard.New(near)
		stanza := []byte(block(90_000))
		total := 0
		for ; ; total += len(stanza) {
			if full := g.Full(); full != (total > guard.MaxQueue/2) {
				t.Fatalf("Full is %v with %d octets", full, total)
			}
			if err := g.WriteBulk(stanza); errors.Is(err, guard.ErrQueueFull) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if total > guard.MaxQueue || total+len(stanza) <= guard.MaxQueue {
			t.Errorf("full after %d octets", total)
		}
		write(t, g, header)
		expect(t, far, header)
		_ = far.Close()
		_ = g.Close()
		if err := g.WriteBulk(stanza); err == nil {
			t.Error("bulk is taken after Close")
		}
	})
}

func TestOwnComment(t *testing.T) {
	near, _ := tcpPair(t)
	g := guard.New(near)
	defer g.Close()
	write(t, g, header+"<message>")
	if _, err := g.Write([]byte("<!-- no -->")); !errors.Is(err, guard.ErrRestrictedXML) {
		t.Errorf("a comment of our own: %v", err)
	}
	if err := g.WriteBulk([]byte(block(10))); !errors.Is(err, guard.ErrRestrictedXML) {
		t.Errorf("bulk after it: %v", err)
	}
}

func write(t *testing.T, g *guard.Conn, s string) {
	t.Helper()
	if n, err := g.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("Write: %d, %v", n, err)
	}
}

// expect reads exactly s.
func expect(t *testing.T, r io.Reader, s string) {
	t.Helper()
	got := make([]byte, len(s))
	if n, err := io.ReadFull(r, got); err != nil || string(got) != s {
		at := 0
		for at < n && got[at] == s[at] {
			at++
		}
		t.Fatalf("read %d octets, %v; different at %d: %.60q", n, err, at, got[at:])
	}
}
