// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package sas_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"example.org/xtls/sas"
)

// vectorCode returns the code of the nth vector; the first one is x9a4up.
func vectorCode(t testing.TB, n int) sas.Code {
	t.Helper()
	v := readVectors(t)[n]
	i, r := v.replay(t)
	show(t, i, r)
	return code(t, i)
}

const robots = "robot pin elephant light bulb scissors umbrella train"

// matches is what people type for x9a-4up, which is also 5094-2702-7958.
var matches = []struct {
	form  sas.Form
	typed string
	want  bool
}{
	{sas.FormB32, "x9a4up", true},
	{sas.FormB32, "X9A-4UP", true},
	{sas.FormB32, " x9a 4up\r\n", true},
	{sas.FormB32, "x-9-a-4-u-p", true},
	{sas.FormB32, "x9a\u20114up\u00a0", true}, // the hyphen and the blank that do not break
	{sas.FormB32, "x9a4vp", true},             // there is no v, so it must be u
	{sas.FormB32, "x9a4uq", false},
	{sas.FormB32, "x9a4u", false},
	{sas.FormB32, "x9a4upp", false},
	{sas.FormB32, "", false},
	{sas.FormB32, "------", false},
	{sas.FormB32, "x9a4u\xff", false},
	{sas.FormB32, "x9a4u\u0440", false}, // a Cyrillic letter that looks like p
	{sas.FormB32, "5094-2702-7958", false},
	{sas.FormB32, strings.Repeat(" ", 506) + "x9a4up", true},
	{sas.FormB32, strings.Repeat(" ", 507) + "x9a4up", false}, // 513 octets

	{sas.FormDecimal, "5094-2702-7958", true},
	{sas.FormDecimal, "5094 2702 7958", true},
	{sas.FormDecimal, "509427027958", true},
	{sas.FormDecimal, "50 94, 27 02, 79 58", true},
	{sas.FormDecimal, "5094-2702-7959", false},
	{sas.FormDecimal, "7958-2702-5094", false},
	{sas.FormDecimal, "5094-2702", false},
	{sas.FormDecimal, "5094-2702-7958-1", false},
	{sas.FormDecimal, "13286-2702-7958", false},
	{sas.FormDecimal, "5094-2702-0999", false},
	{sas.FormDecimal, "5094-2702-9192", false},
	{sas.FormDecimal, "5094-2702-79x8", false},
	{sas.FormDecimal, "x9a4up", false},

	{sas.FormEmoji, robots, true},
	{sas.FormEmoji, strings.ToUpper(robots), true},
	{sas.FormEmoji, strings.ReplaceAll(robots, " ", ""), true},
	{sas.FormEmoji, "robot, pin, elephant, light-bulb, scissors, umbrella, train", true},
	{sas.FormEmoji, "31 63 6 41 45 37 51", true},
	{sas.FormEmoji, "31-63-06-41-45-37-51", true},
	{sas.FormEmoji, "🤖📌🐘💡✂️☂️🚂", true},
	{sas.FormEmoji, "🤖 📌 🐘 💡 ✂ ☂ 🚂", true}, // without the selector
	{sas.FormEmoji, "31 pin 🐘 41 45 umbrella 51", true},
	{sas.FormEmoji, "31robot", false},
	{sas.FormEmoji, "31636414537 51", false},
	{sas.FormEmoji, "31 63 6 41 45 37 50", false},
	{sas.FormEmoji, "31 63 6 41 45 37", false},
	{sas.FormEmoji, "31 63 6 41 45 37 51 1", false},
	{sas.FormEmoji, "95 63 6 41 45 37 51", false},  // 31 + 64
	{sas.FormEmoji, "31 63 70 41 45 37 51", false}, // 6 + 64: must not run into the number before
	{sas.FormEmoji, "031 63 6 41 45 37 51", false},
	{sas.FormEmoji, "pin robot elephant light bulb scissors umbrella train", false},
	{sas.FormEmoji, robots + " dog", false},
	{sas.FormEmoji, "robot pin", false},
	{sas.FormEmoji, "", false},

	{0, "x9a4up", false},
	{sas.FormEmoji + 1, "x9a4up", false},
}

func TestMatches(t *testing.T) {
	c := vectorCode(t, 0)
	for _, tt := range matches {
		if got := c.Matches(tt.form, tt.typed); got != tt.want {
			t.Errorf("Matches(%d, %q) = %v, want %v", tt.form, tt.typed, got, tt.want)
		}
	}
}

// TestMistakenCharacters: what is not in the alphabet stands for what it looks like.
func TestMistakenCharacters(t *testing.T) {
	for in, out := range map[string]string{"0": "o", "O": "o", "l": "1", "L": "1", "2": "z", "V": "u"} {
		found := false
		for n := range 300 {
			c := numbered(t, n)
			b32 := c.B32()
			if !strings.Contains(b32, out) {
				continue
			}
			found = true
			if typed := strings.Replace(b32, out, in, 1); !c.Matches(sas.FormB32, typed) {
				t.Errorf("%q is not taken for %q", typed, b32)
			}
		}
		if !found {
			t.Errorf("no code with %q", out)
		}
	}
}

// numbered returns some code, a different one for each n.
func numbered(t testing.TB, n int) sas.Code {
	t.Helper()
	si, sr := pair(t)
	nI, nR := make([]byte, 32), make([]byte, 32)
	nI[0], nI[1], nR[31] = byte(n), byte(n>>8), 1
	fixNonces(si, nI)
	fixNonces(sr, nR)
	i, r := exchange(t, si), exchange(t, sr)
	show(t, i, r)
	return code(t, i)
}

// TestFormsAgree reads many codes in every form: each is the prefix of the same
// bits, each matches its own code and no other.
func TestFormsAgree(t *testing.T) {
	const alphabet = "ybndrfg8ejkmcpqxot1uwisza345h769"
	const codes = 1000
	var all [codes]sas.Code
	tooLarge := 0
	for n := range all {
		c := numbered(t, n)
		all[n] = c
		var bits uint64
		names := make([]string, 0, 7)
		for _, e := range c.Emoji() {
			bits = bits<<6 | uint64(e.Number)
			names = append(names, e.Name)
		}
		var b32 uint64
		for _, ch := range c.B32() {
			b32 = b32<<5 | uint64(strings.IndexRune(alphabet, ch))
		}
		if b32 != bits>>12 {
			t.Fatalf("B32 %q is not the beginning of %042b", c.B32(), bits)
		}
		var d [3]uint64
		if _, err := fmt.Sscanf(c.Decimal(), "%d-%d-%d", &d[0], &d[1], &d[2]); err != nil {
			t.Fatal(err)
		}
		if (d[0]-1000)<<26|(d[1]-1000)<<13|(d[2]-1000) != bits>>3 {
			t.Fatalf("Decimal %q is not the beginning of %042b", c.Decimal(), bits)
		}
		if large := d[1] + 8192; d[0]%2 == 1 && large <= 9999 { // would run into the number before
			tooLarge++
			if typed := fmt.Sprintf("%d-%d-%d", d[0], large, d[2]); c.Matches(sas.FormDecimal, typed) {
				t.Errorf("%q is taken for %q", typed, c.Decimal())
			}
		}
		for form, typed := range map[sas.Form]string{sas.FormB32: c.B32Grouped(), sas.FormDecimal: c.Decimal(), sas.FormEmoji: strings.Join(names, " ")} {
			if !c.Matches(form, typed) {
				t.Errorf("%q is not taken", typed)
			}
			if n > 0 && all[n-1].Matches(form, typed) {
				t.Errorf("%q is taken for another code", typed)
			}
		}
	}
	if tooLarge == 0 {
		t.Error("no code to try too large a number with")
	}
}

// TestEmojiTable checks what parsing relies on: all names and symbols differ, and
// no name begins another one.
func TestEmojiTable(t *testing.T) {
	names, symbols := map[string]int{}, map[string]int{}
	var all [64]sas.Emoji
	for n := 0; len(names) < 64 && n < 5000; n++ {
		for _, e := range numbered(t, n).Emoji() {
			name := strings.ReplaceAll(strings.ToLower(e.Name), " ", "")
			for other, number := range names {
				if number != e.Number && (strings.HasPrefix(other, name) || strings.HasPrefix(name, other)) {
					t.Fatalf("%q and %q cannot be told apart", name, other)
				}
			}
			if number, ok := symbols[e.Symbol]; ok && number != e.Number || utf8.RuneCountInString(e.Symbol) > 2 {
				t.Fatalf("symbol %q of %d and %d", e.Symbol, number, e.Number)
			}
			names[name], symbols[e.Symbol], all[e.Number] = e.Number, e.Number, e
		}
	}
	if len(names) != 64 || len(symbols) != 64 {
		t.Errorf("%d names and %d symbols, want 64", len(names), len(symbols))
	}
	var table strings.Builder
	for number := range 64 {
		fmt.Fprintf(&table, "%d %s %s\n", number, all[number].Symbol, all[number].Name)
	}
	// Of the same lines made from data-definitions/sas-emoji.json of the Matrix specification.
	const matrix = "00f1e396936d3fb83ca783b0beb6f59826efb5b8aa91f1d1cb7a0dfe6800bd3f"
	if got := fmt.Sprintf("%x", sha256.Sum256([]byte(table.String()))); got != matrix {
		t.Errorf("the table is not that of Matrix: %s\n%s", got, table.String())
	}
}

// TestZeroCode: no code matches nothing, not even what zero bits would read.
func TestZeroCode(t *testing.T) {
	var c sas.Code
	if c.B32() != "" || c.B32Grouped() != "" || c.Decimal() != "" || c.Emoji() != [7]sas.Emoji{} {
		t.Error("the zero code is shown")
	}
	for form, typed := range map[sas.Form]string{sas.FormB32: "yyyyyy", sas.FormDecimal: "1000-1000-1000", sas.FormEmoji: "0 0 0 0 0 0 0"} {
		if c.Matches(form, typed) {
			t.Errorf("%q matches the zero code", typed)
		}
	}
}
