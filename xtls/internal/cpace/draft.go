// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package cpace

import (
	"crypto/hmac"
	"crypto/sha512"
)

// The functions of draft-irtf-cfrg-cpace, named as there, for the suite
// CPACE-X25519-SHA512 in initiator-responder mode.

const (
	dsi        = "CPace255"       // G_X25519.DSI
	dsiISK     = dsi + "_ISK"     // domain of the session key
	blockBytes = sha512.BlockSize // H.s_in_bytes
	pointBytes = 32               // G_X25519.field_size_bytes
	tagBytes   = sha512.Size      // of Ta and Tb
)

// appendLV appends prepend_len(s): the length in LEB128, then s.
func appendLV(b, s []byte) []byte {
	n := len(s)
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(append(b, byte(n)), s...)
}

// lvCat is lv_cat.
func lvCat(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = appendLV(b, p)
	}
	return b
}

// generatorString is generator_string. The zeros fill the first block of the hash, so
// that its time does not tell the length of a short secret.
func generatorString(prs, ci, sid []byte) []byte {
	head := lvCat([]byte(dsi), prs)
	pad := max(0, blockBytes-1-len(head))
	b := appendLV(head, make([]byte, pad))
	return appendLV(appendLV(b, ci), sid)
}

// generator is G_X25519.calculate_generator: a point that only who knows prs can name.
func generator(prs, ci, sid []byte) [pointBytes]byte {
	h := sha512.Sum512(generatorString(prs, ci, sid))
	return elligator2([pointBytes]byte(h[:pointBytes]))
}

// transcript is transcript_ir.
func transcript(ya, ada, yb, adb []byte) []byte {
	return lvCat(ya, ada, yb, adb)
}

// sessionKey is ISK; k is the common point and not its neutral element.
func sessionKey(sid, k, transcript []byte) []byte {
	isk := sha512.Sum512(append(lvCat([]byte(dsiISK), sid, k), transcript...))
	return isk[:]
}

// tag is the key confirmation Ta or Tb of the side that sent y and ad.
func tag(sid, isk, y, ad []byte) []byte {
	h := sha512.New()
	h.Write([]byte("CPaceMac"))
	h.Write(sid)
	h.Write(isk)
	mac := hmac.New(sha512.New, h.Sum(nil))
	mac.Write(lvCat(y, ad))
	return mac.Sum(nil)
}
