// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package fingerprint_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"example.org/xtls/fingerprint"
	"mellium.im/xmpp/jid"
)

func TestNewIdentity(t *testing.T) {
	id, err := fingerprint.NewIdentity(jid.MustParse("Alba@Isle.Example/desk"))
	if err != nil {
		t.Fatal(err)
	}
	leaf := id.Leaf
	if leaf == nil || len(id.Certificate) != 1 || string(leaf.Raw) != string(id.Certificate[0]) {
		t.Fatal("Leaf is not the one certificate")
	}
	if leaf.Version != 3 || leaf.Subject.String() != "CN=xtls" || leaf.Issuer.String() != "CN=xtls" || leaf.SerialNumber.Sign() <= 0 {
		t.Errorf("version %d, subject %v, issuer %v, serial %v", leaf.Version, leaf.Subject, leaf.Issuer, leaf.SerialNumber)
	}
	if want := leaf.NotBefore.AddDate(10, 0, 0); !leaf.NotAfter.Equal(want) || leaf.NotBefore.After(time.Now()) || !leaf.NotBefore.Equal(leaf.NotBefore.Truncate(24*time.Hour)) {
		t.Errorf("valid from %v to %v, want ten years from a midnight", leaf.NotBefore, leaf.NotAfter)
	}
	if key, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		t.Errorf("key is %T, want ECDSA on P-256", leaf.PublicKey)
	}
	if err := leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature); err != nil {
		t.Errorf("self-signature: %v", err)
	}
	// The one extension, octet for octet as in TV1: so no extended key usage, no key identifiers.
	vector, err := x509.ParseCertificate(tv1DER(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(leaf.Extensions) != 1 || !leaf.Extensions[0].Id.Equal(vector.Extensions[0].Id) || string(leaf.Extensions[0].Value) != string(vector.Extensions[0].Value) {
		t.Errorf("extensions = %v, want %v", leaf.Extensions, vector.Extensions)
	}
	if err := fingerprint.CheckKey(leaf); err != nil {
		t.Errorf("CheckKey: %v", err)
	}
	other, err := fingerprint.NewIdentity(jid.MustParse("alba@isle.example"))
	if err != nil {
		t.Fatal(err)
	}
	if other.Leaf.SerialNumber.Cmp(leaf.SerialNumber) == 0 || fingerprint.Of(other.Leaf.Raw) == fingerprint.Of(leaf.Raw) {
		t.Error("two identities are the same")
	}
	if _, err := fingerprint.NewIdentity(jid.JID{}); err == nil {
		t.Error("NewIdentity(no owner) succeeded")
	}
}

// The identity does what it is for: mutual TLS 1.3, seen by the other side under the right fingerprint.
func TestIdentityTLS(t *testing.T) {
	a, errA := fingerprint.NewIdentity(bob)
	b, errB := fingerprint.NewIdentity(carol)
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	var wg sync.WaitGroup
	rawA, rawB := net.Pipe()
	client := tls.Client(rawA, &tls.Config{Certificates: []tls.Certificate{a}, MinVersion: tls.VersionTLS13, InsecureSkipVerify: true})
	server := tls.Server(rawB, &tls.Config{Certificates: []tls.Certificate{b}, MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAnyClientCert, SessionTicketsDisabled: true})
	wg.Go(func() {
		defer rawB.Close()
		if err := server.HandshakeContext(t.Context()); err != nil {
			t.Error(err)
		}
	})
	err := client.HandshakeContext(t.Context())
	wg.Wait()
	rawA.Close()
	if err != nil {
		t.Fatal(err)
	}
	if got := fingerprint.Of(client.ConnectionState().PeerCertificates[0].Raw); got != fingerprint.Of(b.Leaf.Raw) {
		t.Errorf("client sees %v", got)
	}
	if got := fingerprint.Of(server.ConnectionState().PeerCertificates[0].Raw); got != fingerprint.Of(a.Leaf.Raw) {
		t.Errorf("server sees %v", got)
	}
}

func TestOpenIdentity(t *testing.T) {
	name := filepath.Join(t.TempDir(), "new", "xtls", "identity.pem")
	made, err := fingerprint.OpenIdentity(name, jid.MustParse("bob@example.net/phone"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("mode = %v, want 0600", info.Mode())
	}
	loaded, err := fingerprint.OpenIdentity(name, bob)
	if err != nil {
		t.Fatal(err)
	}
	if fingerprint.Of(made.Leaf.Raw) != fingerprint.Of(loaded.Leaf.Raw) || !made.PrivateKey.(*ecdsa.PrivateKey).Equal(loaded.PrivateKey) {
		t.Error("what is loaded is not what was saved")
	}
	if text := readFile(t, name); strings.Count(text, "-----BEGIN ") != 2 || !strings.Contains(text, "-----BEGIN PRIVATE KEY-----") {
		t.Errorf("the file is not a certificate and a PKCS #8 key:\n%s", strings.Join(strings.Split(text, "\n")[:1], ""))
	}
	if _, err := fingerprint.OpenIdentity(name, jid.JID{}); err == nil {
		t.Error("OpenIdentity for nobody succeeded")
	}
}

func TestOpenIdentityRefuses(t *testing.T) {
	good := filepath.Join(t.TempDir(), "identity.pem")
	if _, err := fingerprint.OpenIdentity(good, bob); err != nil {
		t.Fatal(err)
	}
	text := readFile(t, good)
	split := strings.Index(text, "-----BEGIN PRIVATE KEY")
	second := filepath.Join(t.TempDir(), "identity.pem")
	if _, err := fingerprint.OpenIdentity(second, bob); err != nil {
		t.Fatal(err)
	}
	otherText := readFile(t, second)
	for _, tt := range []struct {
		name, text string
		mode       fs.FileMode
		owner      jid.JID
		why        string
	}{
		{"group may read", text, 0o640, bob, "chmod 600"},
		{"others may read", text, 0o604, bob, "chmod 600"},
		{"others may write", text, 0o602, bob, "chmod 600"},
		{"other account", text, 0o600, carol, `is the identity of "[bob@example.net]", not of "carol@example.org"`},
		{"empty", "", 0o600, bob, "no usable identity"},
		{"cut", text[:len(text)-40], 0o600, bob, "no usable identity"},
		{"no key", text[:split], 0o600, bob, "no usable identity"},
		{"no certificate", text[split:], 0o600, bob, "no usable identity"},
		{"key of another", text[:split] + otherText[strings.Index(otherText, "-----BEGIN PRIVATE KEY"):], 0o600, bob, "no usable identity"},
		{"weak key", weakIdentity(t), 0o600, bob, "P-521"},
		{"no address", addrlessIdentity(t), 0o600, bob, "names no XMPP address"},
		{"too large", text + strings.Repeat("#", 64<<10), 0o600, bob, "larger than 65536"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.mode != 0o600 && runtime.GOOS == "windows" {
				t.Skip("Windows has no such modes")
			}
			name := filepath.Join(t.TempDir(), "identity.pem")
			writeFile(t, name, tt.text, tt.mode)
			_, err := fingerprint.OpenIdentity(name, tt.owner)
			if err == nil || !strings.Contains(err.Error(), tt.why) || !strings.Contains(err.Error(), name) {
				t.Errorf("OpenIdentity = %v, want an error with %q and the name", err, tt.why)
			}
			if got := readFile(t, name); got != tt.text {
				t.Error("the file was changed")
			}
		})
	}
	if _, err := fingerprint.OpenIdentity(t.TempDir(), bob); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("OpenIdentity(directory) = %v", err)
	}
}

// identityText is an identity file made elsewhere, with these extensions.
func identityText(t *testing.T, curve elliptic.Curve, extensions []pkix.Extension) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), ExtraExtensions: extensions}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

func bobsAddress() []pkix.Extension {
	return []pkix.Extension{{Id: oidSAN, Value: sequence(addrName(asn1.TagUTF8String, "bob@example.net"))}}
}

func weakIdentity(t *testing.T) string { return identityText(t, elliptic.P521(), bobsAddress()) }

func addrlessIdentity(t *testing.T) string { return identityText(t, elliptic.P256(), nil) }

// An identity made by other tools serves as well.
func TestOpenIdentityMadeElsewhere(t *testing.T) {
	name := filepath.Join(t.TempDir(), "identity.pem")
	text := identityText(t, elliptic.P384(), bobsAddress())
	writeFile(t, name, text, 0o600)
	id, err := fingerprint.OpenIdentity(name, bob)
	if err != nil || id.Leaf == nil || readFile(t, name) != text {
		t.Errorf("OpenIdentity = %v, Leaf %v", err, id.Leaf)
	}
}

// Two programs started for the first time at once must not end up with a key each, one of them lost.
func TestOpenIdentityAtOnce(t *testing.T) {
	name := filepath.Join(t.TempDir(), "identity.pem")
	var wg sync.WaitGroup
	got := make([]fingerprint.Fingerprint, 8)
	for i := range got {
		wg.Go(func() {
			id, err := fingerprint.OpenIdentity(name, bob)
			if err != nil {
				t.Error(err)
				return
			}
			got[i] = fingerprint.Of(id.Leaf.Raw)
		})
	}
	wg.Wait()
	for _, f := range got {
		if f != got[0] {
			t.Fatalf("different identities: %v", got)
		}
	}
}

// PROTOCOL.md section 4.
func TestCheckKey(t *testing.T) {
	ecdsaKey := func(c elliptic.Curve) any {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key.Public()
	}
	rsaKey := func(bits uint) any {
		return &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), int(bits)-1, 1), E: 65537}
	}
	for _, tt := range []struct {
		name string
		key  any
		ok   bool
	}{
		{"P-256", ecdsaKey(elliptic.P256()), true},
		{"P-384", ecdsaKey(elliptic.P384()), true},
		{"P-521", ecdsaKey(elliptic.P521()), false},
		{"P-224", ecdsaKey(elliptic.P224()), false},
		{"Ed25519", ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)), true},
		{"RSA 1024", rsaKey(1024), false},
		{"RSA 2047", rsaKey(2047), false},
		{"RSA 2048", rsaKey(2048), true},
		{"RSA 8192", rsaKey(8192), true},
		{"RSA 8193", rsaKey(8193), false},
		{"none", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := fingerprint.CheckKey(&x509.Certificate{PublicKey: tt.key}); (err == nil) != tt.ok {
				t.Errorf("CheckKey = %v, want accepted: %t", err, tt.ok)
			}
		})
	}
	if err := fingerprint.CheckKey(nil); err == nil {
		t.Error("CheckKey(nil) succeeded")
	}
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func writeFile(t testing.TB, name, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
}
