// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package cpace_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"example.org/xtls/xtls/internal/cpace"
)

const alphabet = "ybndrfg8ejkmcpqxot1uwisza345h769"

// TestNewCode: every symbol is equally likely, and what is shown is what is used.
func TestNewCode(t *testing.T) {
	const codes = 20000
	count := make(map[rune]int)
	for range codes {
		pw, display := cpace.NewCode()
		typed, err := cpace.ParseCode(display)
		if err != nil || typed.PRS() != pw.PRS() || len(pw.PRS()) != 6 || len(display) != 7 || display[3] != '-' {
			t.Fatalf("NewCode = %q, shown as %q, read as %v", pw.PRS(), display, err)
		}
		for _, r := range pw.PRS() {
			count[r]++
		}
	}
	mean := float64(codes) * 6 / 32
	if len(count) != 32 {
		t.Errorf("%d symbols", len(count))
	}
	for _, r := range alphabet {
		if off := math.Abs(float64(count[r]) - mean); off > 6*math.Sqrt(mean) {
			t.Errorf("%q came %d times, want about %.0f", r, count[r], mean)
		}
	}
}

func TestParseCode(t *testing.T) {
	for _, tt := range []struct {
		typed, want string
		err         error
	}{
		{"x9a4up", "x9a4up", nil},
		{"x9a-4up", "x9a4up", nil},
		{" X9A 4UP\r\n", "x9a4up", nil},
		{"x.9_a,4:u/p", "x9a4up", nil},
		{"x9a\u20134up", "x9a4up", nil},       // en dash
		{"x9a\u20114\u00a0up", "x9a4up", nil}, // non-breaking hyphen and blank
		{"", "", cpace.ErrCodeLength},
		{" - ", "", cpace.ErrCodeLength},
		{"x9a4u", "", cpace.ErrCodeLength},
		{"x9a4upy", "", cpace.ErrCodeLength},
		{strings.Repeat("x", 1<<16), "", cpace.ErrCodeLength},
		{"x9a4ul", "", cpace.ErrCodeSymbol},
		{"x9a4uV", "", cpace.ErrCodeSymbol},
		{"09a4up", "", cpace.ErrCodeSymbol},
		{"29a4up", "", cpace.ErrCodeSymbol},
		{"x9a4u\u212a", "", cpace.ErrCodeSymbol}, // Kelvin sign, k in lower case
		{"x9a4u\xff", "", cpace.ErrCodeSymbol},
		{"x9a4u\x00p", "", cpace.ErrCodeSymbol},
	} {
		pw, err := cpace.ParseCode(tt.typed)
		if !errors.Is(err, tt.err) || err == nil && pw.PRS() != tt.want || err != nil && !pw.IsZero() {
			t.Errorf("ParseCode(%.20q): %v, want %v", tt.typed, err, tt.err)
		}
	}
	for _, r := range alphabet {
		if _, err := cpace.ParseCode(strings.Repeat(strings.ToUpper(string(r)), 6)); err != nil {
			t.Errorf("%q: %v", r, err)
		}
	}
}

// TestParsePassword has the examples of RFC 8265 §4.3 and the bounds.
func TestParsePassword(t *testing.T) {
	for _, tt := range []struct {
		name, typed, want string
		err               error
	}{
		{"spaces", "correct horse battery staple", "correct horse battery staple", nil},
		{"case", "Correct Horse Battery Staple", "Correct Horse Battery Staple", nil},
		{"non-ASCII", "πßå", "πßå", nil},
		{"symbol", "Jack of ♦s", "Jack of ♦s", nil},
		{"Ogham space", "foo\u1680bar", "foo bar", nil},
		{"decomposed", "pa\u0308ss", "p\u00e4ss", nil},
		{"compatibility stays", "\ufb01", "\ufb01", nil},
		{"outer spaces stay", " a ", " a ", nil},
		{"not a code", "x9a-4UP", "x9a-4UP", nil},
		{"empty", "", "", cpace.ErrPasswordEmpty},
		{"control", "my cat is a \tby", "", cpace.ErrPasswordForbidden},
		{"new line", "secret\n", "", cpace.ErrPasswordForbidden},
		{"unassigned", "a\U000e0fff", "", cpace.ErrPasswordForbidden},
		{"not UTF-8", "a\xff", "", cpace.ErrPasswordForbidden},
		{"longest", strings.Repeat("x", cpace.MaxPassword), strings.Repeat("x", cpace.MaxPassword), nil},
		{"one over", strings.Repeat("x", cpace.MaxPassword+1), "", cpace.ErrPasswordTooLong},
		{"shrinks under it", strings.Repeat("a\u0308", cpace.MaxPassword/3+1), "", cpace.ErrPasswordTooLong},
		// U+0958 becomes twice as long in NFC.
		{"grows to the bound", strings.Repeat("\u0958", 170) + "1234", strings.Repeat("\u0915\u093c", 170) + "1234", nil},
		{"grows over it", strings.Repeat("\u0958", 170) + "12345", "", cpace.ErrPasswordTooLong},
	} {
		pw, err := cpace.ParsePassword(tt.typed)
		switch {
		case !errors.Is(err, tt.err), err != nil && !pw.IsZero():
			t.Errorf("%s: error %v, want %v", tt.name, err, tt.err)
		case err == nil && pw.PRS() != tt.want:
			t.Errorf("%s: got %.40q, want %.40q", tt.name, pw.PRS(), tt.want)
		}
	}
}

func FuzzParsePassword(f *testing.F) {
	for _, s := range []string{"", "secret", "pa\u0308ss w\u1680ord", "\xff", "\u0958", strings.Repeat("é", 513)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		pw, err := cpace.ParsePassword(typed)
		if err != nil {
			return
		}
		again, err := cpace.ParsePassword(pw.PRS())
		if err != nil || again.PRS() != pw.PRS() || pw.PRS() == "" || len(pw.PRS()) > cpace.MaxPassword {
			t.Errorf("%q becomes %q, and then %v", typed, pw.PRS(), err)
		}
	})
}

func FuzzParseCode(f *testing.F) {
	for _, s := range []string{"", "x9a-4up", "X9A 4UP", "l02v", "\xffx9a4up", "x9a4upy"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		pw, err := cpace.ParseCode(typed)
		if err != nil {
			return
		}
		again, err := cpace.ParseCode(pw.PRS())
		if err != nil || again.PRS() != pw.PRS() || len(pw.PRS()) != cpace.CodeLength || strings.Trim(pw.PRS(), alphabet) != "" {
			t.Errorf("%q becomes %q, and then %v", typed, pw.PRS(), err)
		}
	})
}

// renderings is v, printed in every way.
func renderings(t *testing.T, v any) []string {
	t.Helper()
	j, err := json.Marshal(v)
	if err != nil {
		t.Error(err)
	}
	shown := []string{fmt.Sprint(v), string(j)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		shown = append(shown, fmt.Sprintf(verb, v))
	}
	return shown
}

// inside has secrets in fields that are not exported.
type inside struct {
	pw cpace.Password
	PW *cpace.Password
	e  *cpace.Exchange
}

// TestNothingShowsSecrets prints everything that can be printed, in every way.
func TestNothingShowsSecrets(t *testing.T) {
	const marker = "hunter2"
	pw := password(t, marker)
	code, display := cpace.NewCode()
	scalar := [32]byte{201, 202, 203, 204, 205, 206, 207, 208}
	begun, a, err := cpace.InitiateWith(scalar, pw, 1, slot, context())
	if err != nil {
		t.Fatal(err)
	}
	i, _, err := cpace.InitiateWith(scalar, pw, 1, slot, context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := cpace.RespondWith(scalar, pw, 1, slot, context())
	if err != nil {
		t.Fatal(err)
	}
	waiting, err := cpace.RespondWith(scalar, pw, 1, slot, context())
	if err != nil {
		t.Fatal(err)
	}
	step(t, waiting, a, cpace.TypeB) // knows the Ta it waits for
	ta := step(t, i, step(t, r, a, cpace.TypeB), cpace.TypeC)
	step(t, i, step(t, r, ta, cpace.TypeOK), 0)
	failed, _ := initiate(t, marker, 1, context())
	_, abort := failed.Step(nil)
	_, tooLong := cpace.ParsePassword(strings.Repeat(marker, 200))
	_, forbidden := cpace.ParsePassword(marker + "\x00")
	_, symbol := cpace.ParseCode(marker)
	_, length := cpace.ParseCode(display + "y")
	hidden := []string{
		marker, fmt.Sprintf("%x", marker), fmt.Sprintf("%X", marker), fmt.Sprint([]byte(marker)), code.PRS(), display,
	}
	for _, key := range [][]byte{i.ISK()[:8], scalar[:8], ta[2:10]} {
		hidden = append(hidden, string(key), fmt.Sprintf("%x", key), fmt.Sprintf("%X", key),
			strings.Trim(fmt.Sprint(key), "[]"), strings.Trim(fmt.Sprintf("%#v", key), "[]byte{}"))
	}
	for _, v := range []any{
		pw, &pw, code, i, r, failed, begun, waiting,
		inside{pw, &pw, i},
		&inside{pw, &pw, r},
		inside{pw, &pw, begun},
		inside{code, &code, waiting},
		[]cpace.Password{pw, code},
		abort, tooLong, forbidden, symbol, length,
	} {
		if v == nil {
			t.Fatal("an error is missing")
		}
		for _, s := range renderings(t, v) {
			for _, h := range hidden {
				if strings.Contains(s, h) {
					t.Errorf("%T shows %q", v, s)
				}
			}
		}
	}
}

// TestComparisons reads the code: tags are compared in constant time, so nothing that
// compares octets in another way is used at all.
func TestComparisons(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	constant := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			switch call := fmt.Sprint(sel.X, ".", sel.Sel); call {
			case "hmac.Equal":
				constant++
			case "bytes.Equal", "bytes.Compare", "slices.Equal", "slices.Compare", "reflect.DeepEqual":
				t.Errorf("%s uses %s", name, call)
			}
			return true
		})
	}
	if constant != 2 {
		t.Errorf("hmac.Equal is used %d times, want 2: for Ta and for Tb", constant)
	}
}
