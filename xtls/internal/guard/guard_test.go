// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package guard_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"example.org/xtls/xtls/internal/guard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const header = `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' from="a>b">`

// feed guards one end of a TCP connection, has the other write in, and returns
// what could be read and the error after it.
func feed(t *testing.T, in string, counting bool) (string, error) {
	t.Helper()
	near, far := tcpPair(t)
	g := guard.New(near)
	defer g.Close()
	if counting {
		g.StartStream()
	}
	go func() {
		_, _ = io.WriteString(far, in)
		_ = far.Close()
	}()
	got, err := io.ReadAll(g)
	return string(got), err
}

func tcpPair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

func nested(depth int) string {
	return strings.Repeat("<a>", depth) + strings.Repeat("</a>", depth)
}

// stanza returns one of n octets.
func stanza(n int) string {
	return "<message>" + strings.Repeat("x", n-len("<message></message>")) + "</message>"
}

func TestStream(t *testing.T) {
	tests := []struct {
		name string
		in   string
		want error
	}{
		{"stanzas", header + stanza(100) + " \n" + `<iq id='1'/><presence></presence>`, nil},
		{"largest stanza", header + stanza(guard.MaxStanza) + stanza(guard.MaxStanza), nil},
		{"one over", header + stanza(guard.MaxStanza+1), guard.ErrStanzaTooLarge},
		{"endless attribute", header + `<iq id='` + strings.Repeat("x", guard.MaxStanza), guard.ErrStanzaTooLarge},
		{"endless white space", header + strings.Repeat(" ", guard.MaxStanza+1), guard.ErrStanzaTooLarge},
		{"endless header", header[:len(header)-1] + strings.Repeat(" ", guard.MaxStanza), guard.ErrStanzaTooLarge},
		{"deepest stanza", header + nested(guard.MaxDepth) + nested(guard.MaxDepth), nil},
		{"one deeper", header + nested(guard.MaxDepth+1), guard.ErrTooDeep},
		{"empty elements do not nest", header + "<m>" + strings.Repeat("<a/><b c='/>'/>", 1000) + "</m>", nil},
		{"brackets in attributes", header + `<m a="></m>" b='<'>x</m>` + nested(guard.MaxDepth), nil},
		{"cdata", header + `<m><![CDATA[<a></b>]]]]><![CDATA[>]]></m>` + nested(guard.MaxDepth), nil},
		{"comment", header + `<m><!-- x --></m>`, guard.ErrRestrictedXML},
		{"comment between stanzas", header + `<!-- x -->`, guard.ErrRestrictedXML},
		{"document type", `<!DOCTYPE stream [<!ENTITY a "b">]>` + header, guard.ErrRestrictedXML},
		{"processing instruction", header + `<m><?php ?></m>`, guard.ErrRestrictedXML},
		{"declaration in the stream", header + `<?xml version='1.0'?>`, guard.ErrRestrictedXML},
		{"cdata between stanzas", header + `<![CDATA[x]]>`, guard.ErrRestrictedXML},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := feed(t, tt.in, true)
			if !errors.Is(err, tt.want) || (tt.want == nil && err != nil) {
				t.Fatalf("err = %v, want %v", err, tt.want)
			}
			if tt.want == nil && got != tt.in {
				t.Error("what was read is not what was sent")
			}
		})
	}
}

func TestBeforeLogin(t *testing.T) {
	if _, err := feed(t, strings.Repeat("x", 256<<10), false); err != nil {
		t.Errorf("256 KiB: %v", err)
	}
	if _, err := feed(t, strings.Repeat("x", 256<<10+1), false); !errors.Is(err, guard.ErrPreAuth) {
		t.Errorf("one over: err = %v, want ErrPreAuth", err)
	}
}

func TestWriteNeverBlocks(t *testing.T) {
	near, _ := tcpPair(t) // nobody reads the far end
	g := guard.New(near)
	defer g.Close()
	block := make([]byte, 64<<10)
	for total := 0; ; total += len(block) {
		_, err := g.Write(block)
		if errors.Is(err, guard.ErrQueueFull) {
			if total < guard.MaxQueue {
				t.Errorf("the queue was full after %d octets", total)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if total > 4*guard.MaxQueue+64<<20 { // far beyond what the kernel buffers
			t.Fatal("the queue grows without bound")
		}
	}
	if _, err := g.Read(block); err == nil {
		t.Error("Read goes on after the connection failed")
	}
	if _, err := g.Write(block); !errors.Is(err, guard.ErrQueueFull) {
		t.Errorf("err = %v, want ErrQueueFull again", err)
	}
}

func TestOrderAndFlush(t *testing.T) {
	near, far := tcpPair(t)
	g := guard.New(near)
	var want bytes.Buffer
	for i := range 10_000 {
		s := bytes.Repeat([]byte{byte(i)}, i%50)
		want.Write(s)
		if _, err := g.Write(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("read %d octets, %v; want %d in order", len(got), err, want.Len())
	}
	if err := g.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close = %v, want net.ErrClosed", err)
	}
	if _, err := g.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close = %v, want net.ErrClosed", err)
	}
}

func TestCloseUnblocks(t *testing.T) {
	near, _ := tcpPair(t)
	g := guard.New(near)
	read := make(chan error, 1)
	go func() {
		_, err := g.Read(make([]byte, 1))
		read <- err
	}()
	_, _ = g.Write(make([]byte, guard.MaxQueue)) // more than the kernel takes
	start := time.Now()
	_ = g.Close()
	if err := <-read; err == nil {
		t.Error("Read returned without an error")
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("Close took %v with a server that does not read", d)
	}
}

// FuzzStream holds the guard against a real XML parser: where the guard lets a
// whole stream through, no stanza of it is deeper than the bound.
func FuzzStream(f *testing.F) {
	f.Add(header + `<iq id='1'><a b=">"/></iq></stream:stream>`)
	f.Add(header + nested(guard.MaxDepth+1))
	f.Add(header + `<m><![CDATA[]]]]></m>`)
	f.Add(header + `<m a='"'>&lt;</m>`)
	f.Add(`<a/><?x?>`)
	f.Fuzz(func(t *testing.T, in string) {
		g := guard.New(&readerConn{Reader: strings.NewReader(in)})
		defer g.Close()
		g.StartStream()
		d := xml.NewDecoder(g)
		depth := 0
		for {
			tok, err := d.Token()
			if err != nil {
				return
			}
			switch tok.(type) {
			case xml.StartElement:
				if depth++; depth > guard.MaxDepth+1 {
					t.Fatalf("the parser is %d deep in %q", depth, in)
				}
			case xml.EndElement:
				depth--
			case xml.Comment, xml.Directive:
				t.Fatalf("%T passed in %q", tok, in)
			}
		}
	})
}

type readerConn struct {
	net.Conn
	io.Reader
}

func (c *readerConn) Read(p []byte) (int, error)       { return c.Reader.Read(p) }
func (*readerConn) Close() error                       { return nil }
func (*readerConn) SetWriteDeadline(_ time.Time) error { return nil }
