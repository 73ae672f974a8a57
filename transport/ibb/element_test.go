// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package ibb

import (
	"encoding/xml"
	"strings"
	"testing"

	"mellium.im/xmlstream"
)

// TestTextBound: the text of a block may be so long, and not an octet longer, white space included.
func TestTextBound(t *testing.T) {
	for text, want := range map[string]string{"abcdefghij": "abcdefghij", " abcd\tefg\n": "abcdefg"} {
		r := xmlstream.Token(xml.CharData(text))
		if got, err := appendText(nil, r, len(text)); string(got) != want || err != nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
		r = xmlstream.Token(xml.CharData(text))
		if _, err := appendText(nil, r, len(text)-1); err == nil || !strings.Contains(err.Error(), "octets of text") {
			t.Errorf("%q, one over: %v", text, err)
		}
	}
}
