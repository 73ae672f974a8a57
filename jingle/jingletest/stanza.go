// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package jingletest

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

const (
	// maxLog is how many stanzas the log keeps; the oldest go first. It bounds
	// the memory of tests that push megabytes through a pair.
	maxLog = 16 << 10

	// maxDump and maxDumpXML bound what a failing test prints: the last stanzas,
	// and the octets of each.
	maxDump    = 200
	maxDumpXML = 2 << 10

	// awaitLimit bounds Await. It is only reached if what is awaited never comes.
	awaitLimit = 20 * time.Second
)

// A Stanza is one stanza as it went over the wire.
type Stanza struct {
	From, To jid.JID  // zero if absent or malformed
	ID       string   // attribute id
	Type     string   // attribute type: get, set, result or error
	Payload  xml.Name // of the first child element; zero if there is none
	Action   string   // attribute action of the first child element: that of <jingle/>
	XML      string   // the whole stanza

	Number    int           // in the log, from 1
	Time      time.Duration // since the pair was made
	Delivered bool          // false if the tap dropped it, it is held back, or nobody has the address
	Injected  bool          // put in by Inject or by the tap, not sent by an end
}

// Log returns all stanzas of the pair that e belongs to in the order in which
// they were sent. Only the last 16,384 are kept.
func Log(e *End) []Stanza {
	e.l.mu.Lock()
	defer e.l.mu.Unlock()
	return append([]Stanza(nil), e.l.log...)
}

// Dump renders the last 200 stanzas of the log for people.
func Dump(e *End) string {
	log := Log(e)
	var b strings.Builder
	if n := len(log) - maxDump; n > 0 {
		fmt.Fprintf(&b, "(%d older ones left out)\n", n)
		log = log[n:]
	}
	for _, s := range log {
		b.WriteString(s.String() + "\n")
	}
	return b.String()
}

// String returns one line with the number, time, direction and text of s.
func (s Stanza) String() string {
	var note string
	if s.Injected {
		note = " (put in by the test)"
	}
	if !s.Delivered {
		note += " (not delivered)"
	}
	text := s.XML
	if len(text) > maxDumpXML {
		text = fmt.Sprintf("%s… (%d octets)", text[:maxDumpXML], len(s.XML))
	}
	return fmt.Sprintf("#%d %v %s→%s%s %s", s.Number, s.Time.Round(time.Microsecond),
		s.From.Localpart(), s.To.Localpart(), note, text)
}

// Await returns the first stanza in the log of e's pair that match selects,
// waiting for it to be sent. It panics after 20 s, with the log; in a synctest
// bubble that is as soon as nothing else can happen.
func Await(e *End, match func(Stanza) bool) Stanza {
	l := e.l
	limit := time.AfterFunc(awaitLimit, l.changed.Broadcast)
	defer limit.Stop()
	deadline := time.Now().Add(awaitLimit)

	l.mu.Lock()
	seen := 0 // number of the last stanza looked at
	for {
		for _, s := range l.log {
			if s.Number <= seen {
				continue
			}
			seen = s.Number
			if match(s) {
				l.mu.Unlock()
				return s
			}
		}
		if !time.Now().Before(deadline) {
			l.mu.Unlock()
			panic(fmt.Sprintf("jingletest: awaited stanza did not come in %v; stanzas:\n%s", awaitLimit, Dump(e)))
		}
		l.changed.Wait()
	}
}

// Settle waits until everything that was delivered to either end of e's pair has
// been handled and everything sent meanwhile as well. Stanzas that are held back
// do not count. It must not be called from a handler.
func Settle(e *End) {
	e.l.mu.Lock()
	defer e.l.mu.Unlock()
	for e.l.busy > 0 {
		e.l.changed.Wait()
	}
}

// logLocked appends s to the log and returns its number. l.mu is held.
func (l *link) logLocked(s Stanza) int {
	l.number++
	s.Number = l.number
	s.Time = time.Since(l.start)
	if len(l.log) >= maxLog {
		l.log = append(l.log[:0:0], l.log[maxLog/2:]...)
	}
	l.log = append(l.log, s)
	l.changed.Broadcast()
	return s.Number
}

// markLocked notes that the logged stanza was delivered after all. l.mu is held.
func (l *link) markLocked(number int) {
	for i := range l.log {
		if l.log[i].Number == number {
			l.log[i].Delivered = true
		}
	}
}

// parse reads what a Stanza says about itself from its text, which must be
// exactly one element.
func parse(text string) (Stanza, error) {
	s := Stanza{XML: text}
	d := xml.NewDecoder(strings.NewReader(text))
	d.DefaultSpace = stanza.NSClient
	for depth, elements := 0, 0; ; {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) && elements == 1 {
			return s, nil
		}
		if err != nil {
			return s, err
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			switch {
			case depth == 0 && elements > 0:
				return s, errors.New("more than one element")
			case depth == 0:
				elements++
				s.setStart(tok)
			case depth == 1 && s.Payload == xml.Name{}:
				s.Payload = tok.Name
				s.Action = attr(tok, "action")
			}
			depth++
		case xml.EndElement:
			depth--
		}
	}
}

// setStart takes over the attributes of the stanza.
func (s *Stanza) setStart(start xml.StartElement) {
	s.ID, s.Type = attr(start, "id"), attr(start, "type")
	// A malformed address stays zero: hostile tests send such.
	s.From, _ = jid.Parse(attr(start, "from"))
	s.To, _ = jid.Parse(attr(start, "to"))
}

// attr returns an attribute without namespace, or "".
func attr(start xml.StartElement, name string) string {
	for _, a := range start.Attr {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}
