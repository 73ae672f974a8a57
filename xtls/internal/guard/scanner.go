// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package guard

// A scanner follows the nesting of an XML stream octet by octet, without
// building anything, and stops it where a stanza breaks a bound. It is not an
// XML parser: what it lets through is still parsed strictly above it, so it
// only has to count no less than the parser does.
type scanner struct {
	state   scanState
	quote   byte // in an attribute value: the quote that ends it
	slash   bool // the last octet of the tag was '/'
	depth   int  // open elements; 1 is the stream itself
	size    int  // octets since the last stanza ended
	matched int  // how much of the current delimiter has been seen
}

type scanState uint8

const (
	inText  scanState = iota
	atOpen            // seen '<'
	inStart           // in a start tag
	inEnd             // in an end tag
	inDecl            // in the XML declaration that may precede the stream header
	inBang            // seen '<!', a CDATA section must follow
	inCDATA
)

const cdataOpen = "[CDATA["

// scan follows p to the end of a stanza, or of p, and returns how far that is, or
// an error where a bound is broken.
func (s *scanner) scan(p []byte) (int, error) {
	for i, c := range p {
		if s.size++; s.size > MaxStanza {
			return i, ErrStanzaTooLarge
		}
		if err := s.next(c); err != nil {
			return i, err
		}
		if s.depth > MaxDepth+1 {
			return i, ErrTooDeep
		}
		if s.between() {
			return i + 1, nil
		}
	}
	return len(p), nil
}

// follow follows p, which is our own and need not keep to the bounds.
func (s *scanner) follow(p []byte) error {
	for _, c := range p {
		if err := s.next(c); err != nil {
			return err
		}
	}
	return nil
}

// between tells whether the last octet was the last one of a stanza, or of the
// stream header.
func (s *scanner) between() bool { return s.size == 0 && s.depth == 1 }

// outside tells whether a stanza may begin here: between, or after white space.
func (s *scanner) outside() bool { return s.state == inText && s.depth == 1 }

func (s *scanner) next(c byte) error {
	switch s.state {
	case inText:
		if c == '<' {
			s.state = atOpen
		}
	case atOpen:
		return s.open(c)
	case inStart:
		return s.startTag(c)
	case inEnd:
		if c == '>' {
			s.close()
		}
	case inDecl:
		if c == '>' {
			s.state = inText
		}
	case inBang:
		if c != cdataOpen[s.matched] {
			return ErrRestrictedXML
		}
		if s.matched++; s.matched == len(cdataOpen) {
			s.state, s.matched = inCDATA, 0
		}
	case inCDATA:
		switch {
		case c == ']':
			s.matched = min(s.matched+1, 2)
		case c == '>' && s.matched == 2:
			s.state, s.matched = inText, 0
		default:
			s.matched = 0
		}
	}
	return nil
}

// open decides what the octet after '<' begins.
func (s *scanner) open(c byte) error {
	switch {
	case c == '/':
		s.state = inEnd
	case c == '!' && s.depth > 1:
		s.state, s.matched = inBang, 0
	case c == '?' && s.depth == 0:
		s.state = inDecl
	case c == '!', c == '?':
		return ErrRestrictedXML
	default:
		s.state, s.quote, s.slash = inStart, 0, false
	}
	return nil
}

func (s *scanner) startTag(c byte) error {
	switch {
	case s.quote != 0:
		if c == s.quote {
			s.quote = 0
		}
		s.slash = false
	case c == '"' || c == '\'':
		s.quote = c
		s.slash = false
	case c == '>':
		s.depth++
		s.state = inText
		switch {
		case s.slash:
			s.close()
		case s.depth == 1:
			s.size = 0 // the stream header counts for itself
		}
	default:
		s.slash = c == '/'
	}
	return nil
}

// close ends the innermost element; with a stanza's end the count begins anew.
func (s *scanner) close() {
	s.state = inText
	if s.depth > 0 {
		s.depth--
	}
	if s.depth <= 1 {
		s.size = 0
	}
}
