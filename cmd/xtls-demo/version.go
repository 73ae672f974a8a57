// Copyright 2026 The XTLS Authors. All rights reserved.
// Use of this source code is governed by a BSD 2-clause
// licence that can be found in the LICENSE file.

package main

import (
	"runtime/debug"

	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the version of this program",
		Args:  argsBetween(0, 0),
		RunE:  func(*cobra.Command, []string) error { return a.version() },
	}
}

func (a *app) version() error {
	version, toolchain, revision := "unknown", "unknown", ""
	if b, ok := debug.ReadBuildInfo(); ok {
		version, toolchain = b.Main.Version, b.GoVersion
		for _, s := range b.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	if version == "" {
		version = "(devel)"
	}
	a.ui.event("version", "version", version, "go", toolchain, "revision", revision)
	line := "xtls-demo " + version + " (" + toolchain + ")"
	if revision != "" {
		line += " " + revision
	}
	a.ui.result("%s", line)
	return nil
}
