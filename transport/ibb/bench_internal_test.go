// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/xml"
	"testing"
	"time"

	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/mux"
	"mellium.im/xmpp/stanza"
)

// BenchmarkEncode is the rendering of one block.
func BenchmarkEncode(b *testing.B) {
	payload := make([]byte, DefaultBlockSize)
	var buf []byte
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		buf = appendData(buf[:0], "SDAHO5D2OJXIHD2OKGMMOBWFFE", 65535, payload)
	}
}

// BenchmarkDecode is one block from parsed XML to octets: what a handler does before it looks at seq.
func BenchmarkDecode(b *testing.B) {
	text := xml.CharData(base64.StdEncoding.AppendEncode(nil, make([]byte, DefaultBlockSize)))
	attrs := []xml.Attr{{Name: xml.Name{Local: "seq"}, Value: "65535"}}
	r := &tokens{}
	var buf []byte
	b.SetBytes(DefaultBlockSize)
	b.ReportAllocs()
	for b.Loop() {
		*r = tokens{text, xml.EndElement{}}
		if _, _, err := decodeBlock(&buf, r, attrs, DefaultBlockSize); err != nil {
			b.Fatal(err)
		}
	}
}

// tokens is a TokenReader over a slice.
type tokens []xml.Token

func (t *tokens) Token() (xml.Token, error) {
	tok := (*t)[0]
	*t = (*t)[1:]
	return tok, nil
}

// BenchmarkHandle is the receiving path from the octets of a stanza to the reader and its answer,
// encoding/xml and mellium's mux included.
func BenchmarkHandle(b *testing.B) {
	peer := jid.MustParse("alba@isle.example/desk")
	t := &Transport{streams: make(map[streamKey]*Conn)}
	c := &Conn{t: t, peer: peer, sid: "s", opened: true, credit: true, blockSize: DefaultBlockSize}
	c.readable.L, c.writable.L, c.work.L = &c.mu, &c.mu, &c.mu
	c.in = receiver{blockSize: DefaultBlockSize, window: DefaultReceiveBuffer}
	t.streams[c.key()] = c
	m := mux.New(stanza.NSClient, Handle(t))
	payload := make([]byte, DefaultBlockSize)
	var text []byte
	var out bytes.Buffer
	b.SetBytes(DefaultBlockSize)
	b.ReportAllocs()
	for b.Loop() {
		text = append(text[:0], "<iq xmlns='jabber:client' type='set' id='x' from='alba@isle.example/desk' to='bruno@moor.example/phone'>"...)
		text = append(appendData(text, "s", c.in.seq, payload), "</iq>"...)
		d := xml.NewDecoder(bytes.NewReader(text))
		tok, err := d.Token()
		if err != nil {
			b.Fatal(err)
		}
		start := tok.(xml.StartElement)
		out.Reset()
		e := xml.NewEncoder(&out)
		if err := m.HandleXMPP(struct {
			xml.TokenReader
			*xml.Encoder
		}{d, e}, &start); err != nil {
			b.Fatal(err)
		}
		e.Flush()
		if n, err := c.Read(payload); n != DefaultBlockSize || err != nil {
			b.Fatal(n, err)
		}
	}
}

// An echo answers each block at once, as a session would without any work of its own.
type echo struct{ sent int }

func (*echo) LocalAddr() jid.JID { return jid.MustParse("bruno@moor.example/phone") }

func (*echo) Request(context.Context, stanza.IQType, jid.JID, []byte) (xml.TokenReader, error) {
	return nil, nil
}

func (e *echo) Go(_ stanza.IQType, _ jid.JID, payload []byte, done func(xml.TokenReader, error)) {
	e.sent += len(payload)
	done(nil, nil)
}

// BenchmarkSend is the sending path of one block, from Write to its acknowledgement.
func BenchmarkSend(b *testing.B) {
	t := &Transport{stanzas: &echo{}}
	c := &Conn{t: t, sid: "s", opened: true, blockSize: DefaultBlockSize, born: time.Now()}
	c.readable.L, c.writable.L, c.work.L = &c.mu, &c.mu, &c.mu
	c.out = sender{size: DefaultSendBuffer, proven: startChunk, ctl: newController(DefaultBlockSize, sessionBlocks, DefaultSendBuffer, false)}
	payload := make([]byte, DefaultBlockSize)
	c.out.write(payload, false) // a queue that runs empty frees its memory
	b.SetBytes(DefaultBlockSize)
	b.ReportAllocs()
	for b.Loop() {
		if n, err := c.Write(payload); n != len(payload) || err != nil {
			b.Fatal(n, err)
		}
		c.step()
	}
}
