// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mellium.im/xmpp/stanza"

	"example.org/xtls/jingle/jingletest"
	"example.org/xtls/transport/ibb"
)

// payloadOf returns the octets in a <data/> stanza.
func payloadOf(t *testing.T, s jingletest.Stanza) []byte {
	t.Helper()
	_, text, _ := strings.Cut(s.XML[strings.Index(s.XML, "<data"):], ">")
	text, _, _ = strings.Cut(text, "<")
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatalf("%s: %v", s.XML, err)
	}
	return b
}

// errorFor renders the error answer of a server to s.
func errorFor(s jingletest.Stanza, typ stanza.ErrorType, cond stanza.Condition) string {
	return fmt.Sprintf("<iq xmlns='jabber:client' type='error' id='%s' from='%s' to='%s'><error type='%s'>"+
		"<%s xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>", s.ID, s.To, s.From, typ, cond)
}

// undeliverable makes a's server answer stanzas named element with an error as long as fail says so.
// fail gets the number of the stanza, from 0.
func (r *rig) undeliverable(element string, typ stanza.ErrorType, cond stanza.Condition, fail func(n int) bool) {
	n := 0
	r.a.Tap(func(s jingletest.Stanza) []jingletest.Stanza {
		if !isElement(element)(s) {
			return []jingletest.Stanza{s}
		}
		n++
		if !fail(n - 1) {
			return []jingletest.Stanza{s}
		}
		// The tap holds locks of a.
		go r.a.Inject(errorFor(s, typ, cond))
		return nil
	})
}

// pattern is n octets that tell where they are from.
func pattern(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d ", i)
	}
	return b.String()[:n]
}

// TestSlowReader: what is not read stays within the receive buffer, the rest waits at the sender,
// and everything arrives once the reader goes on; with credit and without.
func TestSlowReader(t *testing.T) {
	for _, tt := range []struct{ stranger, messages bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		t.Run(fmt.Sprintf("stranger=%v messages=%v", tt.stranger, tt.messages), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testSlowReader(t, tt.stranger, tt.messages) })
		})
	}
}

func testSlowReader(t *testing.T, stranger, messages bool) {
	const window = 8 << 10
	r := newRig(t, ibb.Config{BlockSize: 1000, ReceiveBuffer: window, SendBuffer: 4 << 10})
	r.stranger = stranger
	a, b := r.connect(t, messages)
	a.SetDeadline(time.Time{})
	b.SetDeadline(time.Time{})
	want := pattern(50 * 700)
	written := make(chan error, 1)
	go func() {
		for i := 0; i < len(want); i += 700 {
			if _, err := a.Write([]byte(want[i : i+700])); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	synctest.Wait() // nothing moves any more
	time.Sleep(time.Minute)
	synctest.Wait()

	checkStalled(t, r, window)
	var got strings.Builder
	buf := make([]byte, 1000)
	for got.Len() < len(want) {
		n, err := b.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if messages && n != 700 {
			t.Errorf("message of %d octets", n)
		}
		got.Write(buf[:n])
	}
	if got.String() != want {
		t.Error("what was read differs from what was written")
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// checkStalled checks what was sent in the first minute while nobody read.
func checkStalled(t *testing.T, r *rig, window int) {
	t.Helper()
	accepted, refused := 0, 0
	for _, s := range jingletest.Log(r.a) {
		if s.Payload.Local != "data" {
			continue
		}
		switch got := condition(answerTo(r.a, s.ID)); got {
		case "result":
			accepted += len(payloadOf(t, s))
		case "wait resource-constraint":
			refused++
		default:
			t.Fatalf("answer %q", got)
		}
	}
	if accepted > window || accepted < window-1000 {
		t.Errorf("the peer took %d octets that nobody read, the buffer is %d", accepted, window)
	}
	if !r.stranger && refused > 0 {
		t.Errorf("%d blocks were refused although credit is used", refused)
	}
	// A minute of pauses that double from 50 ms to 2 s.
	if r.stranger && (refused < 20 || refused > 40) {
		t.Errorf("%d blocks were refused in a minute", refused)
	}
}

// TestRepeatedBlockIsIdentical: a refused block comes again with the same seq and octets
// (mellium's bug 10 makes that impossible), after a pause, and nothing overtakes it.
func TestRepeatedBlockIsIdentical(t *testing.T) {
	for _, cond := range []stanza.Condition{stanza.RecipientUnavailable, stanza.RemoteServerTimeout, stanza.ResourceConstraint} {
		for _, stranger := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s stranger=%v", cond, stranger), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, ibb.Config{BlockSize: 256})
					r.stranger = stranger
					a, b := r.connect(t, false)
					// Blocks 2 to 5 are in flight together if there is credit, then alone.
					r.undeliverable("data", stanza.Wait, cond, func(n int) bool { return n >= 2 && n < 8 })
					want := pattern(256 * 10)
					mustWrite(t, a, want)
					if got := readString(t, b, len(want)); got != want {
						t.Error("what was read differs from what was written")
					}
					first := map[string]string{}
					for _, s := range jingletest.Log(r.a) {
						if s.Payload.Local != "data" {
							continue
						}
						_, seq, _ := strings.Cut(s.XML, " seq='")
						seq, _, _ = strings.Cut(seq, "'")
						body := string(payloadOf(t, s))
						if prev, ok := first[seq]; ok && prev != body {
							t.Errorf("seq %s was repeated with other octets", seq)
						}
						first[seq] = body
					}
					// More than 10 if the writer was late for a block.
					if len(first) < 10 {
						t.Errorf("%d different seq, want 10 at least", len(first))
					}
				})
			})
		}
	}
}

// TestPatience: a stream whose stanzas are refused for ever breaks, after a bounded time.
func TestPatience(t *testing.T) {
	for _, tt := range []struct {
		cond  stanza.Condition
		limit time.Duration
	}{
		{stanza.RecipientUnavailable, ibb.DeliveryPatience},
		{stanza.RemoteServerTimeout, ibb.DeliveryPatience},
		{stanza.ResourceConstraint, ibb.BufferPatience},
	} {
		t.Run(string(tt.cond), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, ibb.Config{})
				a, _ := r.connect(t, false)
				a.SetDeadline(time.Time{})
				r.undeliverable("data", stanza.Wait, tt.cond, func(int) bool { return true })
				start := time.Now()
				mustWrite(t, a, "hello?")
				_, err := a.Read(make([]byte, 1))
				took := time.Since(start)
				refused, ok := errors.AsType[*ibb.RefusedError](err)
				if !ok || refused.Op != "data" || refused.Err.Condition != tt.cond {
					t.Errorf("Read = %v, want a RefusedError with %s", err, tt.cond)
				}
				if took < tt.limit || took > tt.limit+5*time.Second {
					t.Errorf("it took %v, want %v", took, tt.limit)
				}
			})
		})
	}
}

// TestBlockRefused: any other error answer to a block ends the stream at once, and the peer is
// told (XEP-0047 §2.2: "the sender MUST close the bytestream").
func TestBlockRefused(t *testing.T) {
	for _, tt := range []struct {
		typ  stanza.ErrorType
		cond stanza.Condition
	}{
		{stanza.Cancel, stanza.ItemNotFound},
		{stanza.Cancel, stanza.UnexpectedRequest},
		{stanza.Cancel, stanza.BadRequest},
		{stanza.Cancel, stanza.ServiceUnavailable},
		{stanza.Cancel, stanza.ResourceConstraint},
		{stanza.Wait, stanza.InternalServerError},
	} {
		t.Run(string(tt.typ)+" "+string(tt.cond), func(t *testing.T) {
			r := newRig(t, ibb.Config{})
			a, b := r.connect(t, false)
			mustWrite(t, b, "before")
			jingletest.Await(r.b, isElement("data"))
			jingletest.Settle(r.b)
			r.undeliverable("data", tt.typ, tt.cond, func(int) bool { return true })
			mustWrite(t, a, "x")
			got, err := readAll(a)
			if refused, ok := errors.AsType[*ibb.RefusedError](err); !ok || refused.Err.Condition != tt.cond || got != "before" {
				t.Errorf("Read = %q, %v, want what came before and a RefusedError", got, err)
			}
			jingletest.Await(r.a, isElement("close"))
			if err := a.Close(); err == nil {
				t.Error("Close = nil although a block was refused")
			}
		})
	}
}

// TestForeignTextIsQuoted: the text of an error answer reaches no terminal raw.
func TestForeignTextIsQuoted(t *testing.T) {
	cond := stanza.Condition(strings.Repeat("\x1b[31m", 100))
	err := &ibb.RefusedError{Op: "data", Err: stanza.Error{Type: "\n", Condition: cond, Text: map[string]string{"": "\a"}}}
	if s := err.Error(); strings.ContainsAny(s, "\x1b\n\a") || len(s) > 400 {
		t.Errorf("Error() = %q", s)
	}
}

// TestForgedResult: a result for a block after one that was refused cannot be true, in whichever
// order the answers come.
func TestForgedResult(t *testing.T) {
	for refused := range 3 {
		const inFlight = 4
		r := newRig(t, ibb.Config{BlockSize: 256, InFlight: inFlight})
		a, _ := r.connect(t, false)
		var blocks []jingletest.Stanza
		r.a.Tap(func(s jingletest.Stanza) []jingletest.Stanza {
			if !isElement("data")(s) {
				return []jingletest.Stanza{s}
			}
			blocks = append(blocks, s)
			if len(blocks) == inFlight {
				go answerForged(r.a, blocks, refused)
			}
			return nil
		})
		mustWrite(t, a, pattern(1024))
		_, err := a.Read(make([]byte, 1))
		if v, ok := errors.AsType[*ibb.ProtocolError](err); !ok || !strings.Contains(v.Text, "before it was refused") {
			t.Errorf("Read = %v, want a ProtocolError", err)
		}
	}
}

// answerForged answers the blocks, the last first, and says that one was not delivered.
func answerForged(e *jingletest.End, blocks []jingletest.Stanza, refused int) {
	for i := len(blocks) - 1; i >= 0; i-- {
		s := blocks[i]
		if i == refused {
			e.Inject(errorFor(s, stanza.Wait, stanza.RecipientUnavailable))
		} else {
			e.Inject(fmt.Sprintf("<iq xmlns='jabber:client' type='result' id='%s' from='%s' to='%s'/>", s.ID, s.To, s.From))
		}
	}
}

// TestInFlight: no more than the configured number of blocks is unacknowledged, and one without
// credit, or as long as nothing is known of the path.
func TestInFlight(t *testing.T) {
	for _, tt := range []struct {
		stranger bool
		inFlight int
		want     int
	}{{false, 0, 1}, {false, 7, 7}, {true, 7, 1}} {
		t.Run(fmt.Sprint(tt.stranger, tt.inFlight), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, ibb.Config{InFlight: tt.inFlight})
				r.stranger = tt.stranger
				a, b := r.connect(t, false)
				r.b.Hold(func(s jingletest.Stanza) bool { return s.Type == "result" })
				wait := write(t, a, pattern(60_000))
				synctest.Wait()
				if got := sentBlocks(r.a); got != tt.want {
					t.Errorf("%d blocks in flight, want %d", got, tt.want)
				}
				r.b.Release()
				readString(t, b, 60_000)
				wait()
			})
		})
	}
}

// TestSmallWritesGather: as in Nagle's algorithm, while something is on its way.
func TestSmallWritesGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, ibb.Config{})
		a, b := r.connect(t, false)
		r.b.Hold(func(s jingletest.Stanza) bool { return s.Type == "result" })
		for _, s := range []string{"a", "b", "c", "d"} {
			mustWrite(t, a, s)
			synctest.Wait()
		}
		r.b.Release()
		if got := readString(t, b, 4); got != "abcd" {
			t.Errorf("Read = %q", got)
		}
		if got := sentBlocks(r.a); got != 2 {
			t.Errorf("%d blocks, want a and bcd", got)
		}
	})
}
