// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package jingletest_test

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"mellium.im/xmlstream"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/stanza"

	"example.org/xtls/jingle/jingletest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const nsEcho = "urn:example:echo"

// echo answers every <ping n='...'/> with <pong n='...'/> and notes n.
type echo struct {
	mu   sync.Mutex
	seen []string
}

func (h *echo) option() mux.Option {
	return mux.IQ(stanza.SetIQ, xml.Name{Space: nsEcho, Local: "ping"}, h)
}

func (h *echo) HandleIQ(iq stanza.IQ, t xmlstream.TokenReadEncoder, start *xml.StartElement) error {
	var n string
	for _, a := range start.Attr {
		if a.Name.Local == "n" {
			n = a.Value
		}
	}
	h.mu.Lock()
	h.seen = append(h.seen, n)
	h.mu.Unlock()
	pong := xml.StartElement{Name: xml.Name{Space: nsEcho, Local: "pong"}, Attr: []xml.Attr{{Name: xml.Name{Local: "n"}, Value: n}}}
	_, err := xmlstream.Copy(t, iq.Result(xmlstream.Wrap(nil, pong)))
	return err
}

func (h *echo) got() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.seen)
}

func ping(n string) []byte { return []byte("<ping xmlns='" + nsEcho + "' n='" + n + "'/>") }

// request sends ping n from a and returns the n of the answer.
func request(t *testing.T, a *jingletest.End, to jid.JID, n string) (string, error) {
	t.Helper()
	r, err := a.Request(t.Context(), stanza.SetIQ, to, ping(n))
	if err != nil {
		return "", err
	}
	var pong struct {
		XMLName xml.Name `xml:"urn:example:echo pong"`
		N       string   `xml:"n,attr"`
	}
	if err := xml.NewTokenDecoder(r).Decode(&pong); err != nil {
		t.Fatalf("answer does not decode: %v", err)
	}
	return pong.N, nil
}

func pair(t *testing.T) (a, b *jingletest.End, h *echo) {
	t.Helper()
	a, b = jingletest.Pair(t)
	h = &echo{}
	b.Serve(h.option())
	return a, b, h
}

func isSet(s jingletest.Stanza) bool { return s.Type == "set" }

func isAnswer(s jingletest.Stanza) bool { return s.Type == "result" || s.Type == "error" }

func TestRequestAndLogOrder(t *testing.T) {
	a, b, _ := pair(t)
	for _, n := range []string{"1", "2"} {
		if got, err := request(t, a, b.LocalAddr(), n); got != n || err != nil {
			t.Fatalf("Request = %q, %v, want %q", got, err, n)
		}
	}
	log := jingletest.Log(b)
	want := []string{"set ping", "result pong", "set ping", "result pong"}
	for i, s := range log {
		if got := s.Type + " " + s.Payload.Local; i >= len(want) || got != want[i] || !s.Delivered || s.Injected || s.Number != i+1 {
			t.Errorf("log[%d] = %v, want %s", i, s, want[min(i, len(want)-1)])
		}
	}
	if len(log) != len(want) {
		t.Errorf("%d stanzas in the log, want %d", len(log), len(want))
	}
	if from := log[1].From; !from.Equal(b.LocalAddr()) {
		t.Errorf("answer is from %v, want %v", from, b.LocalAddr())
	}
}

func TestGoKeepsOrder(t *testing.T) {
	a, b, h := pair(t)
	var want []string
	answers := make(chan error, 100)
	for i := range 100 {
		n := fmt.Sprint(i)
		want = append(want, n)
		a.Go(stanza.SetIQ, b.LocalAddr(), ping(n), func(_ xml.TokenReader, err error) { answers <- err })
	}
	for range want {
		if err := <-answers; err != nil {
			t.Fatal(err)
		}
	}
	if got := h.got(); !slices.Equal(got, want) {
		t.Errorf("arrived %v, want %v", got, want)
	}
}

func TestTap(t *testing.T) {
	for _, test := range []struct {
		name string
		tap  func(jingletest.Stanza) []jingletest.Stanza
		want []string // what arrives for pings 1 and 2
		log  []bool   // Delivered of the sets in the log
	}{
		{"pass", func(s jingletest.Stanza) []jingletest.Stanza { return []jingletest.Stanza{s} }, []string{"1", "2"}, []bool{true, true}},
		{"drop", func(s jingletest.Stanza) []jingletest.Stanza {
			if strings.Contains(s.XML, "n='1'") {
				return nil
			}
			return []jingletest.Stanza{s}
		}, []string{"2"}, []bool{false, true}},
		{"alter", func(s jingletest.Stanza) []jingletest.Stanza {
			s.XML = strings.Replace(s.XML, "n='1'", "n='one'", 1)
			return []jingletest.Stanza{s}
		}, []string{"one", "2"}, []bool{false, true, true}},
		{
			"repeat", func(s jingletest.Stanza) []jingletest.Stanza { return []jingletest.Stanza{s, s} },
			[]string{"1", "1", "2", "2"},
			[]bool{true, true, true, true},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, b, h := pair(t)
			a.Tap(test.tap)
			for _, n := range []string{"1", "2"} {
				a.Go(stanza.SetIQ, b.LocalAddr(), ping(n), func(xml.TokenReader, error) {})
			}
			jingletest.Settle(a)
			if got := h.got(); !slices.Equal(got, test.want) {
				t.Errorf("arrived %v, want %v", got, test.want)
			}
			var delivered []bool
			for _, s := range jingletest.Log(a) {
				if isSet(s) {
					delivered = append(delivered, s.Delivered)
				}
			}
			if !slices.Equal(delivered, test.log) {
				t.Errorf("delivered %v, want %v\n%s", delivered, test.log, jingletest.Dump(a))
			}
		})
	}
}

func TestTapSeesAnswers(t *testing.T) {
	a, b, _ := pair(t)
	b.Tap(func(s jingletest.Stanza) []jingletest.Stanza {
		s.XML = strings.Replace(s.XML, `n="1"`, `n="forged"`, 1)
		return []jingletest.Stanza{s}
	})
	if got, err := request(t, a, b.LocalAddr(), "1"); got != "forged" || err != nil {
		t.Errorf("Request = %q, %v, want the altered answer", got, err)
	}
}

func TestHoldAndRelease(t *testing.T) {
	a, b, h := pair(t)
	a.Hold(func(s jingletest.Stanza) bool { return !strings.Contains(s.XML, "n='2'") })
	done := make(chan error, 3)
	for _, n := range []string{"1", "2", "3"} {
		a.Go(stanza.SetIQ, b.LocalAddr(), ping(n), func(_ xml.TokenReader, err error) { done <- err })
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	jingletest.Settle(a)
	if got := h.got(); !slices.Equal(got, []string{"2"}) {
		t.Errorf("arrived while holding: %v, want only 2", got)
	}
	if log := jingletest.Log(a); log[0].Delivered {
		t.Errorf("held stanza is logged as delivered: %v", log[0])
	}
	a.Release()
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if got := h.got(); !slices.Equal(got, []string{"2", "1", "3"}) {
		t.Errorf("arrived %v, want 2 1 3", got)
	}
	if log := jingletest.Log(a); !log[0].Delivered {
		t.Errorf("released stanza is logged as not delivered: %v", log[0])
	}
	if got, err := request(t, a, b.LocalAddr(), "4"); got != "4" || err != nil {
		t.Errorf("after Release: %q, %v", got, err)
	}
}

func TestInject(t *testing.T) {
	_, b, h := pair(t)
	b.Inject("<iq xmlns='jabber:client' type='set' id='m1' from='mallory@evil.example/x' to='bruno@moor.example/phone'><ping xmlns='urn:example:echo' n='evil'/></iq>")
	answer := jingletest.Await(b, isAnswer)
	if got := h.got(); !slices.Equal(got, []string{"evil"}) {
		t.Errorf("arrived %v", got)
	}
	if answer.ID != "m1" || answer.To.String() != "mallory@evil.example/x" || answer.Delivered {
		t.Errorf("answer = %v, want one to mallory that goes nowhere", answer)
	}
}

// A server or peer that knows the id of a request must not be able to answer it.
func TestAnswerFromOtherAddressIsIgnored(t *testing.T) {
	a, b, _ := pair(t)
	b.Hold(nil)
	a.Tap(func(s jingletest.Stanza) []jingletest.Stanza {
		a.Inject("<iq xmlns='jabber:client' type='result' id='" + s.ID + "' from='mallory@evil.example/x'><pong xmlns='urn:example:echo' n='evil'/></iq>")
		return []jingletest.Stanza{s}
	})
	go func() {
		jingletest.Await(a, func(s jingletest.Stanza) bool { return isAnswer(s) && !s.Injected })
		jingletest.Settle(a)
		b.Release()
	}()
	if got, err := request(t, a, b.LocalAddr(), "1"); got != "1" || err != nil {
		t.Errorf("Request = %q, %v, want the answer of bruno", got, err)
	}
}

func TestHostileStanzasDoNotReachTheMux(t *testing.T) {
	for _, test := range []struct{ name, xml, answer string }{
		{"empty set", "<iq xmlns='jabber:client' type='set' id='h' from='m@e.example/x'/>", "bad-request"},
		{"text", "<iq xmlns='jabber:client' type='set' id='h' from='m@e.example/x'>zzz</iq>", "bad-request"},
		{"two payloads", "<iq xmlns='jabber:client' type='get' id='h' from='m@e.example/x'><a xmlns='b'/><a xmlns='b'/></iq>", "bad-request"},
		{"unknown payload", "<iq xmlns='jabber:client' type='get' id='h' from='m@e.example/x'><a xmlns='b'/></iq>", "service-unavailable"},
		{"text in a result", "<iq xmlns='jabber:client' type='result' id='h' from='m@e.example/x'>zzz</iq>", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, b, _ := pair(t)
			b.Inject(test.xml)
			jingletest.Settle(b)
			log := jingletest.Log(b)
			if test.answer == "" {
				if len(log) != 1 {
					t.Errorf("answered: %v", log)
				}
				return
			}
			if len(log) != 2 || log[1].Type != "error" || !strings.Contains(log[1].XML, test.answer) {
				t.Errorf("log = %v, want an answer with %s", log, test.answer)
			}
		})
	}
}

func TestUnhandledIsServiceUnavailable(t *testing.T) {
	a, b := jingletest.Pair(t)
	for _, to := range []string{b.LocalAddr().String(), "nobody@moor.example/x"} {
		_, err := request(t, a, jid.MustParse(to), "1")
		if !errors.Is(err, stanza.Error{Type: stanza.Cancel, Condition: stanza.ServiceUnavailable}) {
			t.Errorf("Request to %s = %v, want service-unavailable", to, err)
		}
	}
}

func TestFail(t *testing.T) {
	a, b, _ := pair(t)
	b.Hold(nil)
	gone := errors.New("line cut")
	errs := make(chan error, 1)
	a.Go(stanza.SetIQ, b.LocalAddr(), ping("1"), func(_ xml.TokenReader, err error) { errs <- err })
	a.Fail(gone)
	if err := <-errs; !errors.Is(err, gone) {
		t.Errorf("pending request = %v, want %v", err, gone)
	}
	if _, err := request(t, a, b.LocalAddr(), "2"); !errors.Is(err, gone) {
		t.Errorf("later request = %v, want %v", err, gone)
	}
	b.Release()
	if _, err := request(t, b, a.LocalAddr(), "3"); !errors.Is(err, stanza.Error{Condition: stanza.ServiceUnavailable}) {
		t.Errorf("request to the end that is gone = %v, want service-unavailable", err)
	}
}

func TestRequestContext(t *testing.T) {
	a, b, _ := pair(t)
	b.Hold(nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		jingletest.Await(a, isAnswer)
		cancel()
	}()
	if _, err := a.Request(ctx, stanza.SetIQ, b.LocalAddr(), ping("1")); !errors.Is(err, context.Canceled) {
		t.Errorf("Request = %v, want context.Canceled", err)
	}
}

func TestAnswerLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _ := pair(t)
		b.Tap(func(jingletest.Stanza) []jingletest.Stanza { return nil })
		start := time.Now()
		_, err := request(t, a, b.LocalAddr(), "1")
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != jingletest.AnswerLimit {
			t.Errorf("Request = %v after %v, want os.ErrDeadlineExceeded after %v", err, time.Since(start), jingletest.AnswerLimit)
		}
	})
}

// recorder is a testing.TB that takes failures down instead of failing.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	failures []string
	logs     []string
	cleanups []func()
}

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Failed() bool     { r.mu.Lock(); defer r.mu.Unlock(); return len(r.failures) > 0 }

func (r *recorder) Logf(f string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs = append(r.logs, fmt.Sprintf(f, args...))
}

func (r *recorder) Errorf(f string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(f, args...))
}

// What a handler must not do fails the test, and then the log is printed.
func TestBadHandlers(t *testing.T) {
	name := xml.Name{Space: nsEcho, Local: "ping"}
	release := make(chan struct{})
	for _, test := range []struct {
		name, want string
		handler    mux.IQHandlerFunc
	}{
		{"error", "ends a mellium session", func(stanza.IQ, xmlstream.TokenReadEncoder, *xml.StartElement) error {
			return errors.New("oops")
		}},
		{"two answers", "answered IQ", func(iq stanza.IQ, t xmlstream.TokenReadEncoder, _ *xml.StartElement) error {
			_, err1 := xmlstream.Copy(t, iq.Result(nil))
			_, err2 := xmlstream.Copy(t, iq.Result(nil))
			return errors.Join(err1, err2)
		}},
		{"blocks", "is stuck", func(iq stanza.IQ, t xmlstream.TokenReadEncoder, _ *xml.StartElement) error {
			<-release
			return nil
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release = make(chan struct{})
				r := &recorder{TB: t}
				a, b := jingletest.Pair(r)
				b.Serve(mux.IQ(stanza.SetIQ, name, test.handler))
				a.Go(stanza.SetIQ, b.LocalAddr(), ping("1"), func(xml.TokenReader, error) {})
				synctest.Wait()
				for _, f := range r.cleanups {
					f()
				}
				close(release)
				if len(r.failures) == 0 || !strings.Contains(r.failures[0], test.want) {
					t.Errorf("failures = %q, want %q", r.failures, test.want)
				}
				if len(r.logs) != 1 || !strings.Contains(r.logs[0], "#1 ") || !strings.Contains(r.logs[0], nsEcho) {
					t.Errorf("logs = %q, want the stanzas", r.logs)
				}
			})
		})
	}
}

func TestOpen(t *testing.T) {
	a, b, done := jingletest.Open()
	defer done()
	h := &echo{}
	b.Serve(h.option())
	if got, err := request(t, a, b.LocalAddr(), "1"); got != "1" || err != nil {
		t.Errorf("Request = %q, %v", got, err)
	}
}
