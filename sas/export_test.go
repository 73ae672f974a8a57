// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package sas

// OnDraw replaces the source of the nonces of s.
func (s *Series) OnDraw(draw func(nonce []byte)) { s.draw = draw }
