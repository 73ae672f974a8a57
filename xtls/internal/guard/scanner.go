// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package guard

// A Scanner follows the nesting of an XML stream octet by octet, without
// building anything, and stops it where a stanza breaks a bound. It is not an
// XML parser: what it lets through is still parsed strictly above it, so it
// only has to count no less than the parser does.
type Scanner struct {
	// Bounds, to be set before the first octet: octets of one stanza, and of
	// everything before a stream's header is complete; nesting below the stream.
	MaxStanza, MaxHeader, MaxDepth int

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

// Scan follows p and returns an error where a bound is broken: ErrStanzaTooLarge,
// ErrTooDeep or ErrRestrictedXML. After an error the Scanner is of no use.
func (s *Scanner) Scan(p []byte) error {
	for _, c := range p {
		if err := s.Next(c); err != nil {
			return err
		}
	}
	return nil
}

// stanza follows p to the end of a stanza, or of p, and returns how far that is.
func (s *Scanner) stanza(p []byte) (int, error) {
	for i, c := range p {
		if err := s.Next(c); err != nil {
			return i, err
		}
		if s.ended() {
			return i + 1, nil
		}
	}
	return len(p), nil
}

// ended tells whether the last octet was the last one of a stanza, or of the stream
// header.
func (s *Scanner) ended() bool { return s.size == 0 && s.depth == 1 }

// Depth is the number of open elements, the stream itself included.
func (s *Scanner) Depth() int { return s.depth }

// Between reports whether the stream is between two of its elements, or has ended:
// where something may be put in.
func (s *Scanner) Between() bool { return s.depth <= 1 && s.state == inText }

// Next follows one octet. See [Scanner.Scan].
func (s *Scanner) Next(c byte) error {
	limit := s.MaxStanza
	if s.depth == 0 {
		limit = s.MaxHeader
	}
	if s.size++; s.size > limit {
		return ErrStanzaTooLarge
	}
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
		switch {
		case c == '?':
			s.matched = 1
		case c == '>' && s.matched == 1: // only '?>' ends it for the parser above
			s.state, s.matched = inText, 0
		default:
			s.matched = 0
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
func (s *Scanner) open(c byte) error {
	switch {
	case c == '/':
		s.state = inEnd
	case c == '!' && s.depth > 1:
		s.state, s.matched = inBang, 0
	case c == '?' && s.depth == 0:
		s.state, s.matched = inDecl, 0
	case c == '!', c == '?':
		return ErrRestrictedXML
	default:
		s.state, s.quote, s.slash = inStart, 0, false
	}
	return nil
}

func (s *Scanner) startTag(c byte) error {
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
		if s.depth++; s.depth > s.MaxDepth+1 {
			return ErrTooDeep
		}
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
func (s *Scanner) close() {
	s.state = inText
	if s.depth > 0 {
		s.depth--
	}
	if s.depth <= 1 {
		s.size = 0
	}
}
