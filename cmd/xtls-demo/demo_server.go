// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
)

// A recorder keeps what the server saw.
type recorder struct {
	mu    sync.Mutex
	start time.Time
	seen  []sighting
}

// A sighting is one stanza at the server.
type sighting struct {
	at   time.Duration
	from string // "alice" or "bob"
	name string // "session-initiate", "data"
	xml  []byte
}

func newRecorder() *recorder { return &recorder{start: time.Now()} }

// restart forgets what was seen.
func (r *recorder) restart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.start, r.seen = time.Now(), nil
}

// add is xtlstest.Config.OnStanza.
func (r *recorder) add(from, _ jid.JID, stanza []byte) {
	name := stanzaName(stanza)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, sighting{time.Since(r.start), from.Localpart(), name, stanza})
}

func (r *recorder) all() []sighting {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

// acknowledgement is the name of an answer without a word of its own.
const acknowledgement = "acknowledgement"

// stanzaName says what a stanza is: the action of Jingle, else the name of what it
// carries.
func stanzaName(stanza []byte) string {
	d := xml.NewDecoder(bytes.NewReader(stanza))
	kind, typ := "", ""
	for {
		t, err := d.Token()
		if err != nil {
			break
		}
		start, ok := t.(xml.StartElement)
		switch {
		case !ok:
			continue
		case kind == "":
			kind, typ = start.Name.Local, attribute(start, "type")
			if kind == "iq" && typ == "result" {
				return acknowledgement
			}
			continue
		}
		if action := attribute(start, "action"); action != "" {
			return action
		}
		return start.Name.Local
	}
	return strings.TrimSpace(kind + " " + typ)
}

func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// arrow is how wide the diagram is between the two ends.
const arrow = 44

// diagram draws what the server has seen so far.
func (d *demo) diagram() {
	d.a.ui.result("\n    alice %*s bob", arrow-4, "server"+strings.Repeat(" ", arrow/2-6))
	acks := 0
	for _, s := range d.saw.all() {
		d.a.ui.event("demo", "fact", "stanza", "from", s.from, "name", s.name, "octets", len(s.xml), "ms", milliseconds(s.at))
		if s.name == acknowledgement {
			acks++
			continue
		}
		label := fmt.Sprintf(" %s (%d octets) ", s.name, len(s.xml))
		line := "--" + label + strings.Repeat("-", max(1, arrow-3-len(label))) + ">"
		if s.from == "bob" {
			line = "<" + line[:len(line)-1]
		}
		d.a.ui.result("      |%s| %7.1f ms", verbatim(line), milliseconds(s.at))
	}
	d.a.ui.result("      and %d acknowledgements\n", acks)
}

// whatTheServerSaw counts the stanzas and looks for what was said in them. So that
// finding nothing means something, the same search must find the fingerprint,
// which the server may see.
func (d *demo) whatTheServerSaw(bob fingerprint.Fingerprint, file []byte) error {
	seen := d.saw.all()
	count, octets := make(map[string]int), 0
	for _, s := range seen {
		count[s.name]++
		octets += len(s.xml)
	}
	d.tell("seen", "\nWhat the server saw: %d stanzas, %d octets, of which %d with sealed data", "stanzas", len(seen), "octets", octets, "data", count["data"])
	for _, secret := range []struct {
		name string
		text []byte
	}{{"the text of alice", []byte(fromAlice)}, {"the text of bob", []byte(fromBob)}, {"the file", file[:64]}} {
		if find(seen, secret.text) {
			return fmt.Errorf("%s could be read by the server", secret.name)
		}
		d.tell("search", "  %s: not found, neither plain nor in base64 or hexadecimal", "for", secret.name)
	}
	if !find(seen, []byte(bob.String())) {
		return errors.New("the search does not find what must be there")
	}
	d.tell("control", "  %s: found; the server may know it, but cannot use it", "for", "the fingerprint of bob")
	return nil
}

// find reports whether octets stand in the stanzas in any form: as they are, in
// hexadecimal or base64, or in the data blocks, taken together for each direction.
func find(seen []sighting, octets []byte) bool {
	forms := encodings(octets)
	blocks := make(map[string][]byte)
	for _, s := range seen {
		for _, form := range forms {
			if bytes.Contains(s.xml, form) {
				return true
			}
		}
		blocks[s.from] = append(blocks[s.from], dataOf(s)...)
	}
	for _, all := range blocks {
		if bytes.Contains(all, octets) {
			return true
		}
	}
	return false
}

// encodings are the forms of octets inside of text. In base64 they look different
// at each of the three places of a group; what depends on the neighbours is cut.
func encodings(octets []byte) [][]byte {
	forms := [][]byte{octets, []byte(hex.EncodeToString(octets)), []byte(strings.ToUpper(hex.EncodeToString(octets)))}
	for skip := range 3 {
		text := base64.StdEncoding.EncodeToString(append(make([]byte, skip), octets...))
		forms = append(forms, []byte(text[4:len(text)-4]))
	}
	return forms
}

// dataOf returns the content of an in-band data block.
func dataOf(s sighting) []byte {
	if s.name != "data" {
		return nil
	}
	var iq struct {
		Data string `xml:"http://jabber.org/protocol/ibb data"`
	}
	if xml.Unmarshal(s.xml, &iq) != nil {
		return nil
	}
	octets, err := base64.StdEncoding.DecodeString(iq.Data)
	if err != nil {
		return nil
	}
	return octets
}
