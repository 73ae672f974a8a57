// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package integration_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// doctorTime is how long a diagnosis may take on a busy machine.
const doctorTime = 2 * time.Minute

// diagnose runs doctor and returns its findings by what they are about, and the lines of
// configuration that it has for the admin.
func diagnose(t *testing.T, u *user, args ...string) (findings map[string]event, config string) {
	t.Helper()
	p := u.start(append([]string{"doctor"}, args...)...)
	p.exitWithin(doctorTime, exitDone)
	findings = make(map[string]event)
	for line := range bytes.Lines(p.events.bytes()) {
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		switch e.text("ev") {
		case "doctor":
			findings[e.text("what")] = e
		case "advice":
			config += e.text("config") + "\n"
		}
	}
	for _, what := range []string{"server", "login", "resume", "inband", "inband_latency", "relay", "stanza"} {
		if findings[what] == nil {
			t.Fatalf("no finding on %s in\n%s", what, p.events)
		}
	}
	return findings, config
}

// TestDoctor: a Prosody as it is shipped, whose limits are found, and one without limits and
// with a relay.
func TestDoctor(t *testing.T) {
	t.Parallel()
	t.Run("limits", func(t *testing.T) {
		t.Parallel()
		p := startProsody(t, prosodyOptions{accounts: []string{"alice"}, limits: true, module: "version"})
		found, config := diagnose(t, login(t, "alice", p.starttls, p.ca), "--duration=4s")
		if rate := found["inband"].number("rate"); rate < 2000 || rate > 15000 || found["inband"]["limited"] != true {
			t.Errorf("10 kB/s of stanzas were measured as %v", found["inband"])
		}
		if found["relay"]["works"] != false || found["stanza"].number("passed") != 0 || found["server"].text("software") != "Prosody" || found["resume"]["offered"] != true {
			t.Errorf("found %v", found)
		}
		for _, want := range []string{`rate = "1mb/s"`, `Component "proxy.localhost" "proxy65"`} {
			if !strings.Contains(config, want) {
				t.Errorf("%s is not in the advice:\n%s", want, config)
			}
		}
	})
	t.Run("free", func(t *testing.T) {
		t.Parallel()
		p := startProsody(t, prosodyOptions{accounts: []string{"alice"}, proxy65: true, module: "version"})
		found, config := diagnose(t, login(t, "alice", p.starttls, p.ca), "--duration=1s")
		if rate := found["inband"].number("rate"); rate < 100e3 || found["inband"]["limited"] != false {
			t.Errorf("without limits: %v", found["inband"])
		}
		if r := found["relay"]; r["works"] != true || r.number("rate") < 1e6 || r["local"] != true || r.text("address") != p.relay {
			t.Errorf("the relay at %s: %v", p.relay, r)
		}
		if s := found["stanza"]; s.number("passed") != 250<<10 || s.number("refused") != 512<<10 {
			t.Errorf("Prosody takes 256 KiB: %v", s)
		}
		if strings.Contains(config, "limits") || !strings.Contains(config, "network_default_read_size") {
			t.Errorf("there are no limits, and Prosody reads little at a time:\n%s", config)
		}
	})
}

// TestDoctorEjabberd: another server, another syntax.
func TestDoctorEjabberd(t *testing.T) {
	t.Parallel()
	s := startEjabberd(t, ejabberdOptions{accounts: []string{"alice"}})
	found, _ := diagnose(t, login(t, "alice", s.starttls, s.ca), "--duration=1s")
	if found["relay"]["works"] != true || found["inband"]["limited"] != false || found["stanza"].number("passed") != 250<<10 || found["stanza"].number("refused") != 512<<10 {
		t.Errorf("found %v", found)
	}
}
