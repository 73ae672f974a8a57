// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package cpace

import "filippo.io/edwards25519/field"

// curveA is the coefficient A of Curve25519, v² = u³ + A·u² + u.
const curveA = 486662

// elligator2 maps a uniform string to the u-coordinate of a point on Curve25519 whose
// discrete logarithm nobody knows: map_to_curve_elligator2 of RFC 9380 §6.7.1 with
// Z = 2, without the v-coordinate, which X25519 has no use for. It takes the same time
// for every input, because the input comes from the secret.
func elligator2(in [pointBytes]byte) [pointBytes]byte {
	// SetBytes is decodeUCoordinate: it ignores bit 255 and reduces. It can only fail
	// by the length.
	r, err := new(field.Element).SetBytes(in[:])
	if err != nil {
		panic("cpace: " + err.Error())
	}
	one := new(field.Element).One()
	a := new(field.Element).Mult32(one, curveA)

	// x1 = -A / (1 + 2r²). The denominator is never 0: -1/2 is no square.
	d := new(field.Element).Square(r)
	d.Add(d, d).Add(d, one)
	x1 := new(field.Element).Multiply(d.Invert(d), a)
	x1.Negate(x1)

	// Of x1 and x2 = -A - x1 exactly one is on the curve: x1 if
	// x1³ + A·x1² + x1 = ((x1 + A)·x1 + 1)·x1 is a square.
	g := new(field.Element).Add(x1, a)
	g.Multiply(g, x1).Add(g, one).Multiply(g, x1)
	_, onCurve := new(field.Element).SqrtRatio(g, one)
	x2 := new(field.Element).Add(x1, a)
	x2.Negate(x2)

	return [pointBytes]byte(new(field.Element).Select(x1, x2, onCurve).Bytes())
}
