// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package cpace

// PRS is what goes into the exchange.
func (p Password) PRS() string { return p.prs() }

// InitiateWith is Initiate with a scalar that is not random.
func InitiateWith(scalar [32]byte, pw Password, run byte, slot Slot, c Context) (*Exchange, Frame, error) {
	e, err := newExchange(pw, run, slot, c, scalar)
	if err != nil {
		return nil, nil, err
	}
	e.state = awaitB
	return e, frame(TypeA, run, []byte{suite}, slot[:], e.point), nil
}

// RespondWith is Respond with a scalar that is not random.
func RespondWith(scalar [32]byte, pw Password, run byte, slot Slot, c Context) (*Exchange, error) {
	return newExchange(pw, run, slot, c, scalar)
}
