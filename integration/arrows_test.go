// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "example.org/xtls"

// arrows says which packages of the project, and which modules beyond the
// standard library, each package may import. A package that is not listed may not
// exist: who adds one decides where it stands.
var arrows = map[string]struct{ pkg, mod []string }{
	"fingerprint":       {nil, []string{"mellium.im/xmpp"}},
	"jingle":            {nil, []string{"mellium.im/xmpp", "mellium.im/xmlstream", "github.com/pion/logging"}},
	"jingle/jingletest": {nil, []string{"mellium.im/xmpp", "mellium.im/xmlstream"}},
	"transport":         {nil, []string{"mellium.im/xmpp"}},
	"transport/ibb":     {[]string{"transport"}, []string{"mellium.im/xmpp", "mellium.im/xmlstream", "github.com/pion/logging"}},
	"transport/s5b":     {[]string{"transport"}, []string{"mellium.im/xmpp", "github.com/pion/logging", "golang.org/x/sys"}},
	"transport/transporttest": {
		[]string{"transport", "jingle/jingletest"},
		[]string{"mellium.im/xmpp", "golang.org/x/net", "go.uber.org/goleak"},
	},
	"sas":                    {},
	"xtls/internal/guard":    {},
	"xtls/internal/cpace":    {nil, []string{"filippo.io/edwards25519", "golang.org/x/text"}},
	"xtls/internal/e2e":      {[]string{"xtls/internal/exchange", "xtls/internal/guard"}, []string{"mellium.im/xmpp", "mellium.im/xmlstream", "github.com/pion/logging"}},
	"xtls/internal/exchange": {nil, []string{"mellium.im/xmpp", "mellium.im/xmlstream", "github.com/pion/logging"}},
	"xtls/internal/lean":     {[]string{"transport/ibb", "xtls/internal/exchange"}, []string{"mellium.im/xmpp", "github.com/pion/logging"}},
	"xtls/internal/socket":   {nil, []string{"golang.org/x/sys"}},
	"xtls/internal/dtls":     {nil, []string{"github.com/pion/dtls/v2", "github.com/pion/logging", "golang.org/x/crypto"}},
	"xtls/internal/foreign":  {},
	"xtls/internal/sizes":    {},
	"xtls": {
		[]string{
			"fingerprint", "sas", "jingle", "transport", "transport/ibb", "transport/s5b", "xtls/internal/cpace", "xtls/internal/dtls",
			"xtls/internal/e2e", "xtls/internal/exchange", "xtls/internal/guard", "xtls/internal/lean", "xtls/internal/socket",
		},
		[]string{"mellium.im/xmpp", "mellium.im/xmlstream", "mellium.im/sasl", "github.com/pion/logging"},
	},
	"xtls/mux": {},
	"xtls/xtlstest": {
		[]string{"fingerprint", "xtls"},
		[]string{"mellium.im/xmpp", "mellium.im/xmlstream", "mellium.im/sasl", "github.com/pion/logging"},
	},
	"cmd/xtls-demo": {
		[]string{"fingerprint", "sas", "xtls", "xtls/mux", "xtls/xtlstest"},
		[]string{
			"mellium.im/xmpp", "mellium.im/xmlstream", "github.com/pion/logging", "github.com/spf13/cobra",
			"github.com/spf13/pflag", "github.com/BurntSushi/toml", "rsc.io/qr", "golang.org/x/term",
		},
	},
	"integration": {},
}

// TestArrows holds the direction of dependencies: cmd on xtls, xtls on the rest,
// jingle and transport not on each other.
func TestArrows(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); ; seen++ {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		allowed, ok := arrows[name]
		if !ok {
			t.Errorf("%s is not in the list of packages of this test", name)
		}
		for _, imp := range p.Imports {
			own, ours := strings.CutPrefix(imp, module+"/")
			foreign := !ours && strings.Contains(strings.Split(imp, "/")[0], ".")
			if ours && !slices.Contains(allowed.pkg, own) || foreign && !inModule(imp, allowed.mod) {
				t.Errorf("%s imports %s against the arrows", name, imp)
			}
		}
	}
	if seen != len(arrows) {
		t.Errorf("go list found %d packages, this test lists %d", seen, len(arrows))
	}
}

func inModule(imp string, modules []string) bool {
	return slices.ContainsFunc(modules, func(m string) bool { return imp == m || strings.HasPrefix(imp, m+"/") })
}
