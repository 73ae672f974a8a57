// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"example.org/xtls/xtls"
)

// settings are the global flags. Each has an environment variable as well, and
// most a key in config.toml: the flag goes first, then the variable, then the
// file, then the default.
type settings struct {
	jid          string
	passwordFile string
	server       string
	serverCA     string
	ca           string
	config       string
	path         pathFlag
	blockSize    int
	security     securityFlag
	minLevel     levelFlag
	acceptNew    bool
	yesCode      bool
	timeout      time.Duration
	json         bool
	quiet        bool
	verbose      int

	timeoutGiven bool // by flag, variable or file

	// What goes with them once they are read.
	files  files
	stored account // in config.toml; empty if there is none
}

// defaultTimeout bounds the establishing of a tunnel.
const defaultTimeout = 2 * time.Minute

// register defines the global flags.
func (s *settings) register(f *pflag.FlagSet) {
	s.minLevel = levelFlag(xtls.LevelServerVouched)
	f.StringVar(&s.jid, "jid", "", "`JID` of the account to use (default: the stored account)")
	f.StringVar(&s.passwordFile, "password-file", "", "read the password from the first line of `FILE`")
	f.StringVar(&s.server, "server", "", "`HOST:PORT` of the server (STARTTLS), or xmpps://HOST:PORT (direct TLS); default: looked up in DNS")
	f.StringVar(&s.serverCA, "server-ca", "", "PEM `FILE` with the authority of the server's certificate (default: those of the system)")
	f.StringVar(&s.ca, "ca", "", "PEM `FILE` with authorities that you trust to know peers: a key that one of them has certified for its JID is CA, without a question")
	f.StringVar(&s.config, "config", "", "keep all files in `DIR` (default: the XDG directories)")
	f.Var(&s.security, "security", "what protects the tunnels that are opened from here: tls or dtls")
	f.Var(&s.path, "path", "`WAY` that tunnels take and no other: inband, relay (a SOCKS5 proxy) or direct; auto is the best there is")
	f.IntVar(&s.blockSize, "block-size", 0, "most `OCTETS` of a tunnel in one stanza, 256 to 65535; 0 is what every server forwards")
	f.Var(&s.minLevel, "min-level", "least `LEVEL` at which a tunnel is used: vouched, pinned, ca or verified; ca takes verified keys as well, verified takes none that only an authority vouches for")
	f.BoolVar(&s.acceptNew, "accept-new", false, "pin the key of an unknown peer without asking")
	f.BoolVar(&s.yesCode, "yes-code-from-stdin", false, "verify with what standard input says, a line for each code or password: for scripts")
	f.DurationVar(&s.timeout, "timeout", defaultTimeout, "`DURATION` for login, finding the peer, questions and handshake together; 0 means no limit; without it 12m if somebody may be asked")
	f.BoolVar(&s.json, "json", false, "print events as one JSON object per line")
	f.BoolVarP(&s.quiet, "quiet", "q", false, "print results, questions and errors only")
	f.CountVarP(&s.verbose, "verbose", "v", "print trust and path events; -vv the library's log; -vvv all of it")
}

// levelFlag is a flag whose values are the words of xtls.Level.
type levelFlag xtls.Level

func (l *levelFlag) String() string { return xtls.Level(*l).String() }
func (l *levelFlag) Type() string   { return "LEVEL" }

func (l *levelFlag) Set(s string) error {
	level, err := xtls.ParseLevel(s)
	if err != nil {
		return fmt.Errorf("want vouched, pinned, ca or verified")
	}
	*l = levelFlag(level)
	return nil
}

// pathFlag is a flag whose values are the words of xtls.Path.
type pathFlag xtls.Path

func (p *pathFlag) String() string { return xtls.Path(*p).String() }
func (p *pathFlag) Type() string   { return "WAY" }

func (p *pathFlag) Set(s string) error {
	path, err := xtls.ParsePath(s)
	if err != nil {
		return fmt.Errorf("want auto, inband, relay or direct")
	}
	*p = pathFlag(path)
	return nil
}

// securityFlag is a flag whose values are the words of xtls.Security.
type securityFlag xtls.Security

func (s *securityFlag) String() string { return xtls.Security(*s).String() }
func (s *securityFlag) Type() string   { return "SECURITY" }

func (s *securityFlag) Set(text string) error {
	security, err := xtls.ParseSecurity(text)
	if err != nil {
		return fmt.Errorf("want tls or dtls")
	}
	*s = securityFlag(security)
	return nil
}

// envName is the environment variable of a global flag.
func envName(flag string) string {
	return "XTLS_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// complete fills in what the command line left open, from the environment and
// from config.toml.
func (a *app) complete(cmd *cobra.Command) error {
	f := cmd.Root().PersistentFlags()
	given := make(map[string]bool) // by flag or variable
	var err error
	f.VisitAll(func(flag *pflag.Flag) {
		given[flag.Name] = flag.Changed
		value := a.getenv(envName(flag.Name))
		if err != nil || flag.Changed || value == "" {
			return
		}
		given[flag.Name] = true
		if e := flag.Value.Set(value); e != nil {
			err = usagef("environment variable %s: %q: %w", envName(flag.Name), value, e)
		}
	})
	a.ui.configure(a.set, eventsOnStderr(cmd))
	if err != nil {
		return err
	}
	a.set.files = findFiles(a.set.config, a.getenv)
	if a.set.files.missing == nil {
		if err := a.readConfig(f, given); err != nil {
			return err
		}
	}
	a.ui.configure(a.set, eventsOnStderr(cmd))
	a.set.timeoutGiven = a.set.timeoutGiven || given["timeout"]
	switch b := a.set.blockSize; {
	case a.set.timeout < 0:
		return usagef("--timeout %v is negative", a.set.timeout)
	case a.set.server != "" && !isServer(a.set.server):
		return usagef("--server %q: want HOST:PORT, or xmpps://HOST:PORT for direct TLS", a.set.server)
	case b != 0 && (b < 256 || b > 65535):
		return usagef("--block-size %d is not from 256 to 65535", b)
	}
	return nil
}

// isServer reports whether s is the address of a server.
func isServer(s string) bool {
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s, "xmpps://"))
	return err == nil && port != ""
}

// readConfig takes from config.toml what was given neither as a flag nor as a
// variable.
func (a *app) readConfig(f *pflag.FlagSet, given map[string]bool) error {
	c, err := loadConfig(a.set.files.config)
	if err != nil {
		return err
	}
	a.set.stored = c.Account
	for _, v := range c.values() {
		if given[v.flag] {
			continue
		}
		given[v.flag] = true
		if err := f.Set(v.flag, v.text); err != nil {
			return usagef("%s: %s: %q: %w", a.set.files.config, v.key, v.text, err)
		}
	}
	return nil
}
