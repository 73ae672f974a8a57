// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// files are where everything is kept.
type files struct {
	config   string // config.toml: settings and the account
	identity string // identity.pem: own key and certificate
	peers    string // known_peers: keys of others
	missing  error  // why there is no place for files; nil if there is
}

// findFiles returns the files below dir or, if that is empty, in the XDG base
// directories.
func findFiles(dir string, getenv func(string) string) files {
	config, data := dir, dir
	if dir == "" {
		var noConfig, noData error
		config, noConfig = xdg(getenv, "XDG_CONFIG_HOME", ".config")
		data, noData = xdg(getenv, "XDG_DATA_HOME", ".local", "share")
		if err := cmp.Or(noConfig, noData); err != nil {
			return files{missing: err}
		}
	}
	return files{
		config:   filepath.Join(config, "config.toml"),
		identity: filepath.Join(data, "identity.pem"),
		peers:    filepath.Join(data, "known_peers"),
	}
}

// xdg returns our directory in one of the base directories. The specification
// wants relative ones ignored.
func xdg(getenv func(string) string, name string, otherwise ...string) (string, error) {
	base := getenv(name)
	if !filepath.IsAbs(base) {
		home := getenv("HOME")
		if home == "" {
			return "", &usageError{fmt.Errorf("neither %s nor HOME is set", name), "name a directory for the files of xtls-demo: --config DIR"}
		}
		base = filepath.Join(append([]string{home}, otherwise...)...)
	}
	return filepath.Join(base, "xtls"), nil
}

// A config is the content of config.toml.
type config struct {
	Path      *string `toml:"path"`
	BlockSize *int    `toml:"block_size"`
	CA        *string `toml:"ca"`
	Security  *string `toml:"security"`
	MinLevel  *string `toml:"min_level"`
	AcceptNew *bool   `toml:"accept_new"`
	Timeout   *string `toml:"timeout"`
	JSON      *bool   `toml:"json"`
	Quiet     *bool   `toml:"quiet"`
	Verbose   *int    `toml:"verbose"`
	Account   account `toml:"account"`
}

// An account is the one that xtls-demo login stored.
type account struct {
	JID      string `toml:"jid"`
	Password string `toml:"password,omitempty"`
	Server   string `toml:"server,omitempty"`
	ServerCA string `toml:"server_ca,omitempty"`
}

// A configValue is a key of config.toml that stands for a global flag.
type configValue struct{ key, flag, text string }

// values are the flags that the file sets. Those of the account are not among
// them: they count for that account only.
func (c *config) values() []configValue {
	var vs []configValue
	add := func(key string, set bool, text func() string) {
		if set {
			vs = append(vs, configValue{key, strings.ReplaceAll(key, "_", "-"), text()})
		}
	}
	add("path", c.Path != nil, func() string { return *c.Path })
	add("block_size", c.BlockSize != nil, func() string { return strconv.Itoa(*c.BlockSize) })
	add("ca", c.CA != nil, func() string { return *c.CA })
	add("security", c.Security != nil, func() string { return *c.Security })
	add("min_level", c.MinLevel != nil, func() string { return *c.MinLevel })
	add("accept_new", c.AcceptNew != nil, func() string { return strconv.FormatBool(*c.AcceptNew) })
	add("timeout", c.Timeout != nil, func() string { return *c.Timeout })
	add("json", c.JSON != nil, func() string { return strconv.FormatBool(*c.JSON) })
	add("quiet", c.Quiet != nil, func() string { return strconv.FormatBool(*c.Quiet) })
	add("verbose", c.Verbose != nil, func() string { return strconv.Itoa(*c.Verbose) })
	return vs
}

// loadConfig reads config.toml; a missing file is an empty one.
func loadConfig(name string) (config, error) {
	text, err := readPrivate(name)
	if errors.Is(err, fs.ErrNotExist) {
		return config{}, nil
	}
	if err != nil {
		return config{}, err
	}
	return parseConfig(name, text)
}

func parseConfig(name string, text []byte) (config, error) {
	var c config
	meta, err := toml.Decode(string(text), &c)
	if err != nil {
		return config{}, usagef("%s: %w", name, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return config{}, &usageError{
			fmt.Errorf("%s: %s: unknown key", name, unknown[0]),
			"known are ca, security, path, block_size, min_level, accept_new, timeout, json, quiet, verbose, and jid, password, server, server_ca under [account]",
		}
	}
	return c, nil
}

// saveAccount writes the account into config.toml and leaves the rest of the file
// as the user wrote it.
func saveAccount(name string, acc account) error {
	old, err := readPrivate(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var table bytes.Buffer
	if err := toml.NewEncoder(&table).Encode(struct {
		Account account `toml:"account"`
	}{acc}); err != nil {
		return err
	}
	text := replaceTable(string(old), "account", table.String())
	if c, err := parseConfig(name, []byte(text)); err != nil || c.Account != acc {
		return &usageError{fmt.Errorf("%s: the account cannot be written into this file", name), "remove its account entries and try again"}
	}
	return writePrivate(name, []byte(text))
}

// replaceTable returns a TOML text with the table of this name replaced, or added
// at the end.
func replaceTable(text, name, table string) string {
	var kept []string
	inside := false
	for line := range strings.Lines(text) {
		if header := strings.TrimSpace(line); strings.HasPrefix(header, "[") {
			header, _, _ = strings.Cut(header, "#")
			inside = strings.TrimSpace(header) == "["+name+"]"
		}
		if !inside {
			kept = append(kept, line)
		}
	}
	rest := strings.TrimRight(strings.Join(kept, ""), "\n")
	if rest != "" {
		rest += "\n\n"
	}
	return rest + table
}

// maxPrivate bounds the octets read from a file of settings or a password.
const maxPrivate = 64 << 10

// readPrivate reads a file that may hold secrets and refuses one that others have
// access to. Named pipes are files as well.
func readPrivate(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && runtime.GOOS != "windows" { // Windows has access lists
		return nil, &permissionError{name, mode}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPrivate+1))
	if err == nil && len(text) > maxPrivate {
		err = fmt.Errorf("%s is larger than %d octets", name, maxPrivate)
	}
	return text, err
}

// A permissionError is a file with secrets that others have access to.
type permissionError struct {
	name string
	mode fs.FileMode
}

func (e *permissionError) Error() string {
	return fmt.Sprintf("%s is accessible to other users (mode %04o)", e.name, e.mode)
}

// writePrivate replaces a file as a whole; others have no access to it.
func writePrivate(name string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = temp.Write(text)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), name)
	}
	if err != nil {
		_ = os.Remove(temp.Name()) // err says more
	}
	return err
}
