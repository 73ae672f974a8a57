// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtlstest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stream"
)

// pipeServer starts a server without ports, for a bubble of testing/synctest: its
// clients come by net.Pipe and its time is the bubble's.
func pipeServer(t *testing.T, cfg Config) *Server {
	t.Helper()
	cfg.Accounts = map[string]string{"alba": "a", "bruno": "b"}
	s, err := newServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pipeClient logs a client in and returns a reader that gives it one stanza of the
// server after the other.
type pipeClient struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func (c *pipeClient) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatal(err)
	}
}

// until reads until text has come.
func (c *pipeClient) until(text string) {
	c.t.Helper()
	var got strings.Builder
	for !strings.HasSuffix(got.String(), text) {
		b, err := c.r.ReadByte()
		if err != nil {
			c.t.Fatalf("%v after %q", err, got.String())
		}
		got.WriteByte(b)
	}
}

func pipeLogin(t *testing.T, s *Server, name, password string) *pipeClient {
	t.Helper()
	ours, theirs := net.Pipe()
	s.serve(theirs, true)
	conn := tls.Client(ours, s.ClientTLS())
	c := &pipeClient{t, conn, bufio.NewReader(conn)}
	const header = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>"
	c.send(header)
	c.until("</stream:features>")
	c.send("<auth xmlns='" + nsSASL + "' mechanism='PLAIN'>" +
		base64.StdEncoding.EncodeToString([]byte("\x00"+name+"\x00"+password)) + "</auth>")
	c.until("<success xmlns='" + nsSASL + "'/>")
	c.send(header)
	c.until("</stream:features>")
	c.send("<iq type='set' id='b'><bind xmlns='" + nsBind + "'><resource>x</resource></bind></iq>")
	c.until("</iq>")
	return c
}

// bubble runs f with a server whose time does not pass by itself.
func bubble(t *testing.T, cfg Config, f func(t *testing.T, s *Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := pipeServer(t, cfg)
		f(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestRateLimit(t *testing.T) {
	const rate = 10_000
	bubble(t, Config{RateLimit: rate}, func(t *testing.T, s *Server) {
		a, b := pipeLogin(t, s, "alba", "a"), pipeLogin(t, s, "bruno", "b")
		start := time.Now()
		const count = 100
		message := "<message to='bruno@localhost/x'>" + strings.Repeat("x", 990) + "</message>"
		go func() {
			for range count {
				a.send(message)
			}
		}()
		for range count {
			b.until("</message>")
		}
		// The first second's worth is free, less the login.
		want := time.Duration(count*len(message)-rate) * time.Second / rate
		if got := time.Since(start); got < want || got > want+200*time.Millisecond {
			t.Errorf("%d octets took %v, want %v", count*len(message), got, want)
		}
		_ = a.conn.Close()
		_ = b.conn.Close()
	})
}

func TestLatency(t *testing.T) {
	const latency = 70 * time.Millisecond
	bubble(t, Config{Latency: latency}, func(t *testing.T, s *Server) {
		a, b := pipeLogin(t, s, "alba", "a"), pipeLogin(t, s, "bruno", "b")
		start := time.Now()
		for range 50 { // all at once: latency is no rate
			a.send("<message to='bruno@localhost/x'>x</message>")
		}
		for range 50 {
			b.until("</message>")
		}
		if got := time.Since(start); got != latency {
			t.Errorf("one way took %v, want %v", got, latency)
		}
		start = time.Now()
		a.send("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>")
		a.until("/>")
		if got := time.Since(start); got != latency {
			t.Errorf("a ping to the server took %v, want %v", got, latency)
		}
		a.send("<message to='bruno@localhost/x'>last</message></stream:stream>")
		a.until("</stream:stream>")
		b.until("last</message>")
		_ = a.conn.Close()
		_ = b.conn.Close()
	})
}

// TestLoginTime: who connects and says nothing is shown out.
func TestLoginTime(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, s *Server) {
		for _, direct := range []bool{false, true} {
			start := time.Now()
			ours, theirs := net.Pipe()
			s.serve(theirs, direct)
			if _, err := io.Copy(io.Discard, ours); err != nil {
				t.Error(err)
			}
			if got := time.Since(start); got != loginTime {
				t.Errorf("direct %v: shown out after %v, want %v", direct, got, loginTime)
			}
		}
	})
}

// TestWriteTime: a client that stops reading is gone after a while even if little
// waits for it, and does not hold up the end of the server.
func TestWriteTime(t *testing.T) {
	for _, closeFirst := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := pipeServer(t, Config{})
			a, b := pipeLogin(t, s, "alba", "a"), pipeLogin(t, s, "bruno", "b")
			a.send("<presence to='bruno@localhost/x'/><message to='bruno@localhost/x'/>")
			synctest.Wait()
			start := time.Now()
			want := writeTime
			if closeFirst {
				want = closeTime
			} else {
				<-time.After(writeTime) // of the bubble
				synctest.Wait()
				if found := s.find(jid.MustParse("bruno@localhost")); len(found) != 0 {
					t.Error("bruno still counts as connected")
				}
			}
			go func() { _, _ = io.Copy(io.Discard, a.r) }() // ends with the connection
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if got := time.Since(start); got != want {
				t.Errorf("took %v, want %v", got, want)
			}
			_ = a.conn.Close()
			_ = b.conn.Close()
		})
	}
}

func TestConnectionBound(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, s *Server) {
		var conns []net.Conn
		connect := func() net.Conn {
			ours, theirs := net.Pipe()
			s.serve(theirs, false)
			conns = append(conns, ours)
			synctest.Wait()
			return ours
		}
		refused := func(conn net.Conn) bool {
			_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, err := conn.Read(make([]byte, 1))
			return err == io.EOF
		}
		for range maxConnections {
			connect()
		}
		if !refused(connect()) {
			t.Error("one over the bound is served")
		}
		_ = conns[0].Close()
		synctest.Wait()
		if refused(connect()) {
			t.Error("refused although one went")
		}
		for _, conn := range conns {
			_ = conn.Close()
		}
	})
}

// TestBucketStop: a client that owes time can be stopped.
func TestBucketStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(1)
		stop := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(stop) })
		start := time.Now()
		b.take(1000, stop)
		if got := time.Since(start); got != time.Second {
			t.Errorf("took %v", got)
		}
	})
}

// TestBucketBurst: who was silent for long may run ahead by one second's worth and
// not more.
func TestBucketBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(1000)
		<-time.After(time.Hour) // of the bubble
		start := time.Now()
		b.take(1000, nil)
		if got := time.Since(start); got != 0 {
			t.Errorf("the first second's worth took %v", got)
		}
		b.take(1000, nil)
		if got := time.Since(start); got != time.Second {
			t.Errorf("the second one took %v", got)
		}
	})
}

// TestLinger: a client that is still sending when its stream ends with an error
// gets to read the error.
func TestLinger(t *testing.T) {
	bubble(t, Config{StanzaLimit: 1000}, func(t *testing.T, s *Server) {
		a := pipeLogin(t, s, "alba", "a")
		wrote := make(chan error)
		go func() {
			_, err := io.WriteString(a.conn, "<message>"+strings.Repeat("x", 1<<20))
			wrote <- err
		}()
		a.until("<policy-violation xmlns='" + nsStreams + "'/></stream:error></stream:stream>")
		if _, err := io.Copy(io.Discard, a.r); err != nil {
			t.Error(err)
		}
		if err := <-wrote; err != nil {
			t.Errorf("sending was cut off: %v", err)
		}
		_ = a.conn.Close()
	})
}

// readAll reads first-level elements as a server would.
func readAll(data []byte, each func(*element)) error {
	client, server := net.Pipe()
	go func() {
		_, _ = client.Write(data)
		_ = client.Close()
	}()
	defer func() { _ = server.Close() }()
	r := newReader(newSource(server, nil, nil), 1<<16)
	if _, err := r.header(); err != nil {
		return err
	}
	for {
		e, err := r.next()
		if err != nil {
			return err
		}
		each(e)
	}
}

// FuzzReader: whatever a client sends, the reader ends with a stream error or the
// end of the input, and what it writes for others is well formed, keeps to the
// bounds and means the same when read again.
func FuzzReader(f *testing.F) {
	const header = "<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams' xmlns:o='urn:o'>"
	for _, seed := range []string{
		"<message to='a@b'><body xml:lang='x'>&lt;&#13;</body></message></s:stream>",
		"<iq type='set' id='1'><o:x o:a='1' a='&quot;'/><y xmlns=''><z xmlns='urn:z' xmlns:p='urn:p' p:b=' '/></y></iq>",
		"<o:a><![CDATA[<>]]></o:a> <b/>",
		"<!-- x --><?x?><!DOCTYPE x><a b='1' b='2'/>",
		"<p:1y xmlns:p='u'/><p:é xmlns:p='u'/>",
	} {
		f.Add([]byte(header + seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := readAll(data, func(e *element) {
			once := e.render()
			var v struct {
				XMLName xml.Name
				Inner   []byte `xml:",innerxml"`
			}
			if err := xml.Unmarshal(append([]byte("<r xmlns='jabber:client'>"), append(once, "</r>"...)...), &v); err != nil {
				t.Fatalf("%q is not well formed: %v", once, err)
			}
			again := 0
			err := readAll(append([]byte("<r xmlns='jabber:client'>"), append(once, "</r>"...)...), func(e2 *element) {
				again++
				if twice := e2.render(); !bytes.Equal(once, twice) {
					t.Errorf("%q became %q", once, twice)
				}
				if e2.Name != e.Name || e2.Child != e.Child || e2.Children != e.Children || e2.Text != e.Text {
					t.Errorf("%q means something else when read again", once)
				}
			})
			// Written anew, an element can outgrow the bounds on what is read.
			if again != 1 && !errors.Is(err, stream.PolicyViolation) {
				t.Errorf("%q: %d elements, %v", once, again, err)
			}
		})
		if _, ok := errors.AsType[stream.Error](err); !ok && !errors.Is(err, io.EOF) {
			t.Errorf("ended with %v", err)
		}
	})
}

// FuzzParseStanza: what ParseStanza accepts, it accepts again in the same form.
func FuzzParseStanza(f *testing.F) {
	for _, seed := range []string{
		"<iq type='set' id='1' from='a@b/c' to='d@e/f'><x xmlns='y'>z</x></iq>",
		"<message xmlns='jabber:client'/>", "<presence/>x", "<iq/><iq/>", "<a/>", "", "<iq to='@'/>",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		st, err := ParseStanza(s)
		if err != nil {
			return
		}
		again, err := ParseStanza(string(st.XML))
		if err != nil {
			t.Fatalf("%q became %q: %v", s, st.XML, err)
		}
		if !bytes.Equal(st.XML, again.XML) || st.Kind != again.Kind || st.Type != again.Type ||
			st.ID != again.ID || !st.From.Equal(again.From) || !st.To.Equal(again.To) {
			t.Errorf("%q became %q", st.XML, again.XML)
		}
	})
}
