// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package xtls

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"mellium.im/xmpp/jid"

	"example.org/xtls/fingerprint"
)

// A vector is one known answer of testdata/sas.json: inputs and every value of
// the key schedule that follows from them. (The values of SAS and CPace in it
// are further derivations from the same keys.)
type vector struct {
	Name string
	In   struct {
		App              string
		Content          string
		Creator          string
		Exporter         unhex
		FPInitiator      unhex    `json:"fp_initiator"`
		FPResponder      unhex    `json:"fp_responder"`
		Initiator        string   `json:"initiator"`
		Responder        string   `json:"responder"`
		MethodsInitiator []string `json:"methods_initiator"`
		MethodsResponder []string `json:"methods_responder"`
		NonceInitiator   unhex    `json:"offer_nonce_initiator"`
		NonceResponder   unhex    `json:"offer_nonce_responder"`
		SetupInitiator   string   `json:"setup_initiator"`
		SetupResponder   string   `json:"setup_responder"`
		SID              string
		Version          string
	}
	Out struct {
		ALPN         string
		NH           unhex
		CTX0, CTX    unhex
		CtlInitiator unhex `json:"ctl_key_initiator"`
		CtlResponder unhex `json:"ctl_key_responder"`
	}
}

type unhex []byte

func (u *unhex) UnmarshalText(b []byte) (err error) {
	*u, err = hex.DecodeString(string(b))
	return err
}

func readVectors(t *testing.T) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/sas.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 3 {
		t.Fatalf("%d vectors, want 3", len(all))
	}
	return all
}

func (v *vector) offer(fp []byte, methods []string, nonce []byte, setup string) *offer {
	ns, service, _ := strings.Cut(v.In.App, " ")
	return &offer{
		app:      App{Namespace: ns, Service: service},
		versions: strings.Fields(v.In.Version),
		digests:  []fingerprint.Digest{fingerprint.Fingerprint(fp).Digest()},
		setup:    setup,
		methods:  methods,
		nonce:    nonce,
	}
}

func (v *vector) negotiation() *negotiation {
	return &negotiation{
		sid: v.In.SID, creator: v.In.Creator, content: v.In.Content,
		initiator: jid.MustParse(v.In.Initiator), responder: jid.MustParse(v.In.Responder),
		offerI: v.offer(v.In.FPInitiator, v.In.MethodsInitiator, v.In.NonceInitiator, v.In.SetupInitiator),
		offerR: v.offer(v.In.FPResponder, v.In.MethodsResponder, v.In.NonceResponder, v.In.SetupResponder),
	}
}

func TestKeyScheduleVectors(t *testing.T) {
	for _, v := range readVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			nh := v.negotiation().hash()
			check(t, "NH", nh[:], v.Out.NH)
			if got := alpnToken(nh); got != v.Out.ALPN {
				t.Errorf("alpnToken = %q, want %q", got, v.Out.ALPN)
			}
			k, err := newKeys(v.In.Exporter, nh, fingerprint.Fingerprint(v.In.FPInitiator), fingerprint.Fingerprint(v.In.FPResponder))
			if err != nil {
				t.Fatal(err)
			}
			check(t, "CTX0", k.ctx0[:], v.Out.CTX0)
			check(t, "CTX", k.ctx[:], v.Out.CTX)
			for purpose, want := range map[string]unhex{"ctl initiator": v.Out.CtlInitiator, "ctl responder": v.Out.CtlResponder} {
				got, err := k.derive(purpose, k.ctx0[:], 32)
				if err != nil {
					t.Fatal(err)
				}
				check(t, purpose, got, want)
			}
		})
	}
}

func check(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s = %x, want %x", what, got, want)
	}
}

// TestNegotiationHashCoversEverything changes each thing that is negotiated, one
// at a time: a server that does so must make the two ends disagree.
func TestNegotiationHashCoversEverything(t *testing.T) {
	v := readVectors(t)[1]
	base := v.negotiation().hash()
	if again := v.negotiation().hash(); again != base {
		t.Fatal("the hash is not a function of its input")
	}
	other := jid.MustParse("mallory@moor.example/x")
	changes := map[string]func(n *negotiation){
		"sid":          func(n *negotiation) { n.sid += "x" },
		"initiator":    func(n *negotiation) { n.initiator = other },
		"responder":    func(n *negotiation) { n.responder = other },
		"creator":      func(n *negotiation) { n.creator = "responder" },
		"content":      func(n *negotiation) { n.content = "other" },
		"both swapped": func(n *negotiation) { n.offerI, n.offerR = n.offerR, n.offerI },
	}
	for side, pick := range map[string]func(n *negotiation) *offer{
		"I": func(n *negotiation) *offer { return n.offerI },
		"R": func(n *negotiation) *offer { return n.offerR },
	} {
		changes["namespace "+side] = func(n *negotiation) { pick(n).app.Namespace = "urn:other" }
		changes["service "+side] = func(n *negotiation) { pick(n).app.Service = "admin" }
		changes["version added "+side] = func(n *negotiation) { o := pick(n); o.versions = append(o.versions, "2") }
		changes["version dropped "+side] = func(n *negotiation) { pick(n).versions = nil }
		changes["digest "+side] = func(n *negotiation) { pick(n).digests[0].Sum[0] ^= 1 }
		changes["algo "+side] = func(n *negotiation) { pick(n).digests[0].Algo = "sha-512" }
		changes["digest added "+side] = func(n *negotiation) { o := pick(n); o.digests = append(o.digests, o.digests[0]) }
		changes["setup "+side] = func(n *negotiation) { pick(n).setup = "active" }
		changes["method dropped "+side] = func(n *negotiation) { o := pick(n); o.methods = o.methods[:1] }
		changes["methods reordered "+side] = func(n *negotiation) {
			o := pick(n)
			o.methods = []string{o.methods[1], o.methods[0]}
		}
		changes["nonce "+side] = func(n *negotiation) { pick(n).nonce = append([]byte{1}, pick(n).nonce[1:]...) }
	}
	for name, change := range changes {
		n := v.negotiation()
		change(n)
		if n.hash() == base {
			t.Errorf("%s: changing it does not change the hash", name)
		}
	}
}

// TestDigestOrder checks that the order in which fingerprints are listed, which a
// server may change when it re-serialises, does not matter.
func TestDigestOrder(t *testing.T) {
	a := fingerprint.Fingerprint{1}.Digest()
	b := fingerprint.Digest{Algo: "sha-512", Sum: make([]byte, 64)}
	o1 := offer{digests: []fingerprint.Digest{a, b}}
	o2 := offer{digests: []fingerprint.Digest{b, a}}
	check(t, "canonical form", o1.canonical(), o2.canonical())
}
