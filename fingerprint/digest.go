// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint

import (
	"bytes"
	"crypto/sha1" // read from old peers, never enough by itself: see CheckDigests
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// The names of the digests that may be signalled (IANA "Hash Function Textual Names").
const (
	SHA1   = "sha-1"
	SHA256 = "sha-256"
	SHA384 = "sha-384"
	SHA512 = "sha-512"
)

var (
	// ErrUnsupportedDigest is what [ParseDigest] reports, wrapped, for a digest made by an algorithm that is not used here (MD5, say) or
	// that cannot be told. The caller ignores such an element (PROTOCOL.md section 4) and goes on with the others.
	ErrUnsupportedDigest = errors.New("fingerprint: unsupported digest")

	// ErrWeakDigests is what [CheckDigests] reports if no digest has at least 256 bits: none was signalled, or SHA-1 is all there is
	// (PROTOCOL.md section 4).
	ErrWeakDigests = errors.New("fingerprint: no digest of at least 256 bits was announced")

	// ErrNotAnnounced is what [CheckDigests] reports, wrapped, if the certificate is not the one that was signalled. Somebody altered
	// the signalling or the tunnel: nothing may be sent.
	ErrNotAnnounced = errors.New("fingerprint: the certificate is not the one announced in signalling")
)

// A Digest is one fingerprint element of a Jingle offer or answer. It comes over a path that the servers control, so it is a hint of which
// certificate to expect and authenticates nobody (PROTOCOL.md section 4).
type Digest struct {
	// Algo is one of SHA1, SHA256, SHA384 and SHA512.
	Algo string
	// Sum is the digest of the DER form of the end-entity certificate, as long as Algo says.
	Sum []byte
}

// ParseDigest reads one signalled digest with the tolerance that PROTOCOL.md section 4 asks for: text is trimmed, colons and white space are
// dropped, case is folded. algo is the element's algo or hash attribute: empty, sha1, sha-1, sha256, sha-256, sha384, sha-384, sha512 or
// sha-512 in either case; if it is empty, the length of text tells. Algo of the result is the name with the hyphen.
//
// An error that wraps [ErrUnsupportedDigest] means that the element is to be ignored. Any other error means that the element
// names an algorithm we know and then breaks its syntax, or that its text has more than 512 octets; whoever sent it is to be refused.
func ParseDigest(algo, text string) (Digest, error) {
	name, size := algorithm(algo)
	unnamed := strings.TrimSpace(algo) == ""
	if name == "" && !unnamed {
		return Digest{}, fmt.Errorf("%w: algorithm %s", ErrUnsupportedDigest, quote(algo))
	}
	var sum []byte
	err := errTooLong
	if len(text) <= maxText {
		sum, err = decodeHex(text)
	}
	if unnamed && err == nil {
		name, size = algorithmOfSize(len(sum))
	}
	switch {
	case name == "":
		return Digest{}, fmt.Errorf("%w: no algorithm is named and the text %s fits none", ErrUnsupportedDigest, quote(text))
	case err != nil:
		return Digest{}, fmt.Errorf("fingerprint: %s digest %s: %w", name, quote(text), err)
	case len(sum) != size:
		return Digest{}, fmt.Errorf("fingerprint: %s digest %s has %d hexadecimal digits, not %d", name, quote(text), 2*len(sum), 2*size)
	}
	return Digest{Algo: name, Sum: sum}, nil
}

// String returns the digest as it is written in signalling: lower-case hexadecimal digits, nothing else.
func (d Digest) String() string { return hex.EncodeToString(d.Sum) }

// Colons returns the digest as RFC 8122 §5 and XEP-0320 write it: upper-case pairs separated by colons.
func (d Digest) Colons() string {
	pairs := make([]string, len(d.Sum))
	for i, b := range d.Sum {
		pairs[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(pairs, ":")
}

// Strong reports whether d has at least 256 bits. An offer without any strong digest is to be refused (PROTOCOL.md section 4).
func (d Digest) Strong() bool {
	name, size := algorithm(d.Algo)
	return name == d.Algo && len(d.Sum) == size && size >= sha256.Size
}

// Matches reports whether d is the digest of the certificate whose DER form is der. A Digest with an unknown Algo matches nothing.
func (d Digest) Matches(der []byte) bool {
	switch d.Algo {
	case SHA1:
		sum := sha1.Sum(der)
		return bytes.Equal(sum[:], d.Sum)
	case SHA256:
		sum := sha256.Sum256(der)
		return bytes.Equal(sum[:], d.Sum)
	case SHA384:
		sum := sha512.Sum384(der)
		return bytes.Equal(sum[:], d.Sum)
	case SHA512:
		sum := sha512.Sum512(der)
		return bytes.Equal(sum[:], d.Sum)
	}
	return false
}

// Fingerprint returns d as a [Fingerprint], which names a certificate before it has been seen. ok is false unless d is a SHA-256.
func (d Digest) Fingerprint() (f Fingerprint, ok bool) {
	if d.Algo != SHA256 || len(d.Sum) != len(f) {
		return Fingerprint{}, false
	}
	return Fingerprint(d.Sum), true
}

// CheckDigests judges the certificate of a handshake, given by its DER form, by the digests that were signalled for it: each of them must
// match and at least one must have 256 bits or more; SHA-1 alone is never enough (PROTOCOL.md section 4). The error wraps
// [ErrNotAnnounced] or is [ErrWeakDigests]. A nil error still authenticates nobody: see [Store.Check].
func CheckDigests(digests []Digest, der []byte) error {
	strong := false
	for _, d := range digests {
		if !d.Matches(der) {
			return fmt.Errorf("%w: its %s digest differs", ErrNotAnnounced, quote(d.Algo))
		}
		strong = strong || d.Strong()
	}
	if !strong {
		return ErrWeakDigests
	}
	return nil
}

// algorithm returns the normal form of an algorithm's name and the size of its digests in octets, or "" for one that is not used here.
func algorithm(name string) (normal string, size int) {
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "sha1", SHA1:
		return SHA1, sha1.Size
	case "sha256", SHA256:
		return SHA256, sha256.Size
	case "sha384", SHA384:
		return SHA384, sha512.Size384
	case "sha512", SHA512:
		return SHA512, sha512.Size
	}
	return "", 0
}

// algorithmOfSize tells the algorithm by the size of its digest, for peers that name none (XEP-0265, Gajim). 16 octets, MD5, give none.
func algorithmOfSize(size int) (name string, _ int) {
	for _, name := range []string{SHA1, SHA256, SHA384, SHA512} {
		if _, s := algorithm(name); s == size {
			return name, s
		}
	}
	return "", 0
}
