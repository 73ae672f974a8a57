// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package sas_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.org/xtls/sas"
)

func readModel(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("models", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var resultLine = regexp.MustCompile(`(?m)^RESULT (.*) is (true|false)\.$`)

// TestModelResults compares the table of models/README.md with the recorded
// output, both ways, and checks that each model has its output.
func TestModelResults(t *testing.T) {
	var recorded, claimed []string
	outs, err := filepath.Glob("models/*.out")
	if err != nil || len(outs) == 0 {
		t.Fatalf("no recorded output: %v", err)
	}
	for _, out := range outs {
		model := strings.TrimSuffix(filepath.Base(out), ".out") + ".pv"
		queries := strings.Count(readModel(t, model), "\nquery ") + strings.Count(readModel(t, model), ". query ") +
			strings.Count(readModel(t, model), "\nweaksecret ")
		results := resultLine.FindAllStringSubmatch(readModel(t, filepath.Base(out)), -1)
		if len(results) != queries {
			t.Errorf("%s has %d queries, its output %d results", model, queries, len(results))
		}
		for _, r := range results {
			recorded = append(recorded, fmt.Sprintf("%s: %s: %s", model, r[1], r[2]))
		}
	}
	if models, _ := filepath.Glob("models/*.pv"); len(models) != len(outs) {
		t.Errorf("%d models, %d outputs", len(models), len(outs))
	}
	row := regexp.MustCompile("(?m)^\\| `(\\w+\\.pv)` \\| `(.*)` \\| (true|false) \\|")
	for _, m := range row.FindAllStringSubmatch(readModel(t, "README.md"), -1) {
		claimed = append(claimed, fmt.Sprintf("%s: %s: %s", m[1], m[2], m[3]))
	}
	for _, r := range recorded {
		if !slices.Contains(claimed, r) {
			t.Errorf("README.md does not say %s", r)
		}
	}
	for _, c := range claimed {
		if !slices.Contains(recorded, c) {
			t.Errorf("no output says %s", c)
		}
	}
}

// TestModelTerms checks that the values in models/README.md are those of the first
// vector, and that they are on the wire of a run.
func TestModelTerms(t *testing.T) {
	terms := make(map[string]string)
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| .* \\| `([0-9a-f]{64})` \\|$")
	for _, m := range row.FindAllStringSubmatch(readModel(t, "README.md"), -1) {
		terms[m[1]] = m[2]
	}
	v := readVectors(t)[0]
	i, r := v.replay(t)
	commit := start(t, i)
	nonce := step(t, r, commit)
	reveal := step(t, i, nonce)
	for term, value := range map[string][]byte{
		"com(e, na)": commit.Body, "nb": nonce.Body, "na": reveal.Body, "short(e, na, nb)": v.Out.S,
	} {
		if got := hex.EncodeToString(value); terms[term] != got {
			t.Errorf("README.md says that %s is %q, want %s", term, terms[term], got)
		}
	}
	if got, want := lead8(code(t, i)), int(v.Out.S[0]); got != want {
		t.Errorf("the code begins with %08b, S with %08b", got, want)
	}
	if !bytes.Equal(v.Out.Commit, commit.Body) {
		t.Errorf("COMMIT holds %x, want %x", commit.Body, v.Out.Commit)
	}
}

// TestModelOrder compares what the processes of the SAS models do between the
// handshake and showing the code, in the source and in the process that ProVerif
// printed, with what an Exchange does, step by step.
func TestModelOrder(t *testing.T) {
	want := map[string]string{"initiator": traceInitiator(t), "responder": traceResponder(t)}
	t.Logf("initiator: %s", want["initiator"])
	t.Logf("responder: %s", want["responder"])
	for file, roles := range map[string][]string{
		"commit_sas.pv":        {"initiator", "responder"},
		"commit_sas.out":       {"initiator", "responder"},
		"commit_sas_roles.pv":  {"initiator", "responder", "initiator", "responder"},
		"commit_sas_roles.out": {"initiator", "responder", "initiator", "responder"},
	} {
		got := modelTraces(t, readModel(t, file))
		if len(got) != len(roles) {
			t.Errorf("%s: %d processes, want %d", file, len(got), len(roles))
			continue
		}
		for n, role := range roles {
			if got[n] != want[role] {
				t.Errorf("%s, process %d:\n  %s\nthe %s in the code:\n  %s", file, n+1, got[n], role, want[role])
			}
		}
	}
}

// modelTraces cuts from each process the part between the exporter and the event
// that it shows its code, without types, numbering and blanks.
func modelTraces(t *testing.T, model string) []string {
	t.Helper()
	model, _, _ = strings.Cut(model, "Process 1") // the same again, rearranged
	for _, cut := range []string{`(?s)\(\*.*?\*\)`, `\{\d+\}`, `: (nonce|bitstring|sas|key)\b`, `_\d+\b`, `\s+`} {
		model = regexp.MustCompile(cut).ReplaceAllString(model, "")
	}
	model = strings.ReplaceAll(model, "if(c=com(e,na))then", "ifc=com(e,na)then")
	var traces []string
	for _, m := range regexp.MustCompile(`lete=ekm\(exp\(\w+,\w\),.*?\)in(new.*?|in\(net.*?)event[AB]Shows\(e\)`).FindAllStringSubmatch(model, -1) {
		body := m[1]
		if i := strings.LastIndex(body, "lete=ekm("); i >= 0 {
			t.Fatalf("cannot read the model: %s", body)
		}
		traces = append(traces, body)
	}
	return traces
}

// A tracer drives one end of a run and writes down what it does, in the words of
// the model. Terms are told by their octets.
type tracer struct {
	strings.Builder
	keys   sas.Keys
	nI, nR []byte
}

func newTracer(t *testing.T) *tracer {
	return &tracer{keys: someKeys(t, "one tunnel"), nI: random(), nR: random()}
}

// end is a fresh end that notes when it draws its nonce.
func (tr *tracer) end(t *testing.T, role sas.Role, draw []byte, name string) *sas.Exchange {
	s := newSeries(t, role, tr.keys)
	s.OnDraw(func(b []byte) {
		copy(b, draw)
		fmt.Fprintf(tr, "new%s;", name)
	})
	return exchange(t, s)
}

func (tr *tracer) term(t *testing.T, b []byte) string {
	t.Helper()
	switch {
	case bytes.Equal(b, tr.nI):
		return "na"
	case bytes.Equal(b, tr.nR):
		return "nb"
	case bytes.Equal(b, hmacSum(tr.keys.Commit, []byte{1}, tr.nI)):
		return "com(e,na)"
	}
	t.Fatalf("a frame with %x, which is no term of the model", b)
	return ""
}

func (tr *tracer) out(t *testing.T, f sas.Frame) {
	t.Helper()
	fmt.Fprintf(tr, "out(net,%s);", tr.term(t, f.Body))
}

// shows notes that the code is there, and not before.
func (tr *tracer) shows(t *testing.T, x *sas.Exchange) {
	t.Helper()
	if lead8(code(t, x)) != int(hmacSum(tr.keys.Value, []byte{1}, tr.nI, tr.nR)[0]) {
		t.Fatal("the code is not short(e, na, nb)")
	}
	tr.WriteString("lets=short(e,na,nb)in")
}

func traceInitiator(t *testing.T) string {
	tr := newTracer(t)
	x := tr.end(t, sas.Initiator, tr.nI, "na")
	tr.out(t, start(t, x))
	wantNoCode(t, x)
	tr.WriteString("in(net,nb);")
	tr.out(t, step(t, x, sas.Frame{Type: sas.FrameNonce, Run: 1, Body: tr.nR}))
	tr.shows(t, x)
	return tr.String()
}

func traceResponder(t *testing.T) string {
	tr := newTracer(t)
	commit := sas.Frame{Type: sas.FrameCommit, Run: 1, Body: hmacSum(tr.keys.Commit, []byte{1}, tr.nI)}
	x := tr.end(t, sas.Responder, tr.nR, "nb")
	tr.WriteString("in(net,c);")
	tr.out(t, step(t, x, commit))
	wantNoCode(t, x)
	tr.WriteString("in(net,na);")

	// The model stops if the commitment does not open: so does another one here.
	other := newTracer(t).end(t, sas.Responder, tr.nR, "nb")
	step(t, other, commit)
	if _, err := other.Step(sas.Frame{Type: sas.FrameReveal, Run: 1, Body: random()}); err != nil {
		wantNoCode(t, other)
		tr.WriteString("ifc=com(e,na)then")
	}
	step(t, x, sas.Frame{Type: sas.FrameReveal, Run: 1, Body: tr.nI})
	tr.shows(t, x)
	return tr.String()
}

func wantNoCode(t *testing.T, x *sas.Exchange) {
	t.Helper()
	if _, ok := x.Code(); ok {
		t.Fatal("a code before the model has one")
	}
}
