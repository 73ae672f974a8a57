// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package cpace

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
)

// hexBytes is a string of octets in a file of vectors.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

// load reads a file of vectors.
func load[T any](t testing.TB, name string) (v T) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// draftFile is what we use of testdata/cpace.json, the vectors of the draft.
type draftFile struct {
	Suite struct {
		PRS, CI, SID, G, ADa, ADb, K hexBytes
		ScalarA                      hexBytes `json:"ya"`
		ScalarB                      hexBytes `json:"yb"`
		PointA                       hexBytes `json:"Ya"`
		PointB                       hexBytes `json:"Yb"`
		ISK                          hexBytes `json:"ISK_IR"`
		Output                       hexBytes `json:"sid_output_ir"`
	} `json:"G_25519"`
	Points map[string]hexBytes `json:"X25519_points"`
}

func equal(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if len(want) == 0 || !bytes.Equal(got, want) {
		t.Errorf("%s = %x, want %x", what, got, want)
	}
}

// key is a scalar as crypto/ecdh wants it.
func key(t testing.TB, scalar []byte) *ecdh.PrivateKey {
	t.Helper()
	k, err := ecdh.X25519().NewPrivateKey(scalar)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestLVCat(t *testing.T) {
	long := bytes.Repeat([]byte{'x'}, 128)
	for _, tt := range []struct {
		name string
		in   [][]byte
		want []byte
	}{
		{"nothing", nil, nil},
		{"empty", [][]byte{{}}, []byte{0}},
		{"several", [][]byte{[]byte("1234"), []byte("5"), nil, []byte("678")}, []byte("\x041234\x015\x00\x03678")},
		{"127", [][]byte{long[:127]}, append([]byte{0x7f}, long[:127]...)},
		{"128", [][]byte{long}, append([]byte{0x80, 0x01}, long...)},
		{"16384", [][]byte{make([]byte, 16384)}, append([]byte{0x80, 0x80, 0x01}, make([]byte, 16384)...)},
	} {
		if got := lvCat(tt.in...); !bytes.Equal(got, tt.want) {
			t.Errorf("%s: got %.20x, want %.20x", tt.name, got, tt.want)
		}
	}
}

// TestGeneratorString: DSI, PRS and padding fill exactly the first block of the hash.
func TestGeneratorString(t *testing.T) {
	ci, sid := []byte("ci"), []byte("sid")
	for _, tt := range []struct{ prs, pad int }{{1, 116}, {8, 109}, {116, 1}, {117, 0}, {118, 0}, {127, 0}, {1024, 0}} {
		prs := bytes.Repeat([]byte{'p'}, tt.prs)
		want := lvCat([]byte("CPace255"), prs, make([]byte, tt.pad), ci, sid)
		got := generatorString(prs, ci, sid)
		if !bytes.Equal(got, want) {
			t.Errorf("with %d octets: got %.200x, want %.200x", tt.prs, got, want)
		}
		if at := bytes.Index(got, []byte("\x02ci\x03sid")); tt.prs <= 117 && at != sha512.BlockSize {
			t.Errorf("with %d octets: CI begins at %d, want at the second block", tt.prs, at)
		}
	}
}

// TestDraftVectors goes through CPACE-X25519-SHA512 step by step.
func TestDraftVectors(t *testing.T) {
	v := load[draftFile](t, "cpace.json").Suite
	str := slices.Concat([]byte("\x08CPace255\x08"), v.PRS, []byte{109}, make([]byte, 109), []byte{24}, v.CI, []byte{16}, v.SID)
	equal(t, "generator_string", generatorString(v.PRS, v.CI, v.SID), str)
	g := generator(v.PRS, v.CI, v.SID)
	equal(t, "generator", g[:], v.G)
	ya, yb := key(t, v.ScalarA), key(t, v.ScalarB)
	for _, m := range []struct {
		what        string
		scalar      *ecdh.PrivateKey
		point, want []byte
	}{
		{"Ya", ya, g[:], v.PointA},
		{"Yb", yb, g[:], v.PointB},
		{"K of A", ya, v.PointB, v.K},
		{"K of B", yb, v.PointA, v.K},
	} {
		got, err := multiply(m.scalar, m.point)
		if err != nil {
			t.Fatalf("%s: %v", m.what, err)
		}
		equal(t, m.what, got, m.want)
	}
	tr := transcript(v.PointA, v.ADa, v.PointB, v.ADb)
	equal(t, "transcript_ir", tr, slices.Concat([]byte{32}, v.PointA, []byte("\x03ADa\x20"), v.PointB, []byte("\x03ADb")))
	out := sha512.Sum512(append([]byte("CPaceSidOutput"), tr...))
	equal(t, "hash of transcript_ir", out[:], v.Output)
	equal(t, "ISK", sessionKey(v.SID, v.K, tr), v.ISK)
}

// prime and the functions below compute slowly, with big numbers and from the
// definitions, what the code under test computes fast.
var prime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))

func mod(x *big.Int) *big.Int        { return x.Mod(x, prime) }
func mul(x, y *big.Int) *big.Int     { return mod(new(big.Int).Mul(x, y)) }
func add(x, y *big.Int) *big.Int     { return mod(new(big.Int).Add(x, y)) }
func sub(x, y *big.Int) *big.Int     { return mod(new(big.Int).Sub(x, y)) }
func inverse(x *big.Int) *big.Int    { return new(big.Int).Exp(x, sub(prime, big.NewInt(2)), prime) }
func encode(x *big.Int) (b [32]byte) { x.FillBytes(b[:]); slices.Reverse(b[:]); return b }
func littleEndian(b []byte) *big.Int {
	b = slices.Clone(b)
	slices.Reverse(b)
	return new(big.Int).SetBytes(b)
}
func decodeU(in [32]byte) *big.Int { in[31] &= 0x7f; return mod(littleEndian(in[:])) }
func isSquare(x *big.Int) bool     { return big.Jacobi(x, prime) >= 0 }
func curve(u *big.Int) *big.Int {
	return add(add(mul(mul(u, u), u), mul(big.NewInt(curveA), mul(u, u))), u)
}

func refElligator(in [32]byte) [32]byte {
	r := decodeU(in)
	v := mul(sub(new(big.Int), big.NewInt(curveA)), inverse(add(big.NewInt(1), mul(big.NewInt(2), mul(r, r)))))
	if !isSquare(curve(v)) {
		v = sub(sub(new(big.Int), v), big.NewInt(curveA))
	}
	return encode(v)
}

// refX25519 is the ladder of RFC 7748 §5.
func refX25519(scalar, u [32]byte) [32]byte {
	scalar[0] &= 248
	scalar[31] = scalar[31]&127 | 64
	k, x1 := littleEndian(scalar[:]), decodeU(u)
	x2, z2, x3, z3 := big.NewInt(1), new(big.Int), x1, big.NewInt(1)
	for bit := 254; bit >= 0; bit-- {
		if k.Bit(bit) == 1 {
			x2, z2, x3, z3 = x3, z3, x2, z2
		}
		a, b, c, d := add(x2, z2), sub(x2, z2), add(x3, z3), sub(x3, z3)
		aa, bb, da, cb := mul(a, a), mul(b, b), mul(d, a), mul(c, b)
		e := sub(aa, bb)
		x3, z3 = mul(add(da, cb), add(da, cb)), mul(x1, mul(sub(da, cb), sub(da, cb)))
		x2, z2 = mul(aa, bb), mul(e, add(aa, mul(big.NewInt(121665), e)))
		if k.Bit(bit) == 1 {
			x2, z2, x3, z3 = x3, z3, x2, z2
		}
	}
	return encode(mul(x2, inverse(z2)))
}

// TestElligator2 compares with the definition in RFC 9380 §6.7.1, for small and large
// numbers, those that are not reduced, bit 255, and random ones.
func TestElligator2(t *testing.T) {
	var in [][32]byte
	for d := range int64(25) {
		low, high, all := encode(big.NewInt(d)), encode(new(big.Int).Sub(prime, big.NewInt(d+1))), [32]byte{}
		for i := range all {
			all[i] = 0xff
		}
		all[0] -= byte(d) // at or over the prime, with bit 255
		in = append(in, low, high, all)
	}
	for range 200 {
		in = append(in, newScalar())
	}
	kept := 0
	for _, r := range in {
		want := refElligator(r)
		if got := elligator2(r); got != want {
			t.Errorf("elligator2(%x) = %x, want %x", r, got, want)
		}
		if !isSquare(curve(decodeU(want))) {
			t.Fatalf("the reference maps %x off the curve", r)
		}
		other := r
		other[31] ^= 0x80
		if elligator2(r) == elligator2(other) {
			kept++
		}
	}
	if kept != len(in) {
		t.Errorf("bit 255 mattered for %d of %d", len(in)-kept, len(in))
	}
}

// abortPoints are the points of cpace.json that must abort; the draft names all twelve
// "Invalid", but the other five only look like points of low order when bit 255 is not
// cleared.
var abortPoints = []string{"0", "1", "2", "3", "4", "5", "7"}

func isAbortPoint(name string) bool {
	return slices.Contains(abortPoints, strings.TrimPrefix(name, "Invalid Y"))
}

// TestPoints: seven points multiply to the neutral element and are refused, the other
// five give what RFC 7748 says.
func TestPoints(t *testing.T) {
	points := load[draftFile](t, "cpace.json").Points
	if len(points) != 12 {
		t.Fatalf("%d points, want 12", len(points))
	}
	for name, u := range points {
		for range 3 {
			s := newScalar()
			want := refX25519(s, [32]byte(u))
			got, err := multiply(key(t, s[:]), u)
			switch {
			case isAbortPoint(name) != (want == [32]byte{}):
				t.Errorf("%s: the reference gives %x", name, want)
			case isAbortPoint(name) && err == nil:
				t.Errorf("%s gives %x, want an error", name, got)
			case !isAbortPoint(name) && (err != nil || !bytes.Equal(got, want[:])):
				t.Errorf("%s gives %x, %v, want %x", name, got, err, want)
			}
		}
	}
}

// TestPointsInFrames: a point of low order makes K known to everybody. The tag that
// belongs to it must not open anything.
func TestPointsInFrames(t *testing.T) {
	c := testContext()
	pw, _ := NewCode()
	abort := &AbortError{Reason: ReasonBad}
	for name, u := range load[draftFile](t, "cpace.json").Points {
		i, _, err := Initiate(pw, 1, Slot{}, c)
		if err != nil {
			t.Fatal(err)
		}
		ada, adb := i.associated('I'), i.associated('R')
		isk := sessionKey(c.SID[:], make([]byte, pointBytes), transcript(i.point, ada, u, adb))
		reply, err := i.Step(frame(TypeB, 1, u, tag(c.SID[:], isk, u, adb)))
		if !isAbort(err, abort) || reply.Type() != TypeAbort || i.Done() {
			t.Errorf("%s in PW_B: got %v, %v", name, reply, err)
		}

		r, err := Respond(pw, 1, Slot{}, c)
		if err != nil {
			t.Fatal(err)
		}
		reply, err = r.Step(frame(TypeA, 1, []byte{suite}, make([]byte, slotBytes), u))
		switch {
		case isAbortPoint(name) && (!isAbort(err, abort) || reply.Type() != TypeAbort):
			t.Errorf("%s in PW_A: got %v, %v", name, reply, err)
		case !isAbortPoint(name) && (err != nil || reply.Type() != TypeB):
			t.Errorf("%s in PW_A: got %v, %v, want PW_B", name, reply, err)
		}
	}
}

func isAbort(err error, want *AbortError) bool {
	got, ok := err.(*AbortError)
	return ok && *got == *want
}

// testContext is one that two ends share.
func testContext() Context {
	c := Context{InitiatorJID: "alba@isle.example", ResponderJID: "bruno@moor.example"}
	for _, b := range [][]byte{c.SID[:], c.FPI[:], c.FPR[:], c.NH[:]} {
		_, _ = rand.Read(b)
	}
	return c
}
