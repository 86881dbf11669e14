package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is the version of this source tree.
const release = "0.1.0"

const copyright = `Cygnet, copyright 2026 the Cygnet authors.
Licensed under the Apache License, Version 2.0: you may use, copy, change and
distribute it under the terms in the file LICENSE. It comes with no warranty.`

// version is the release, with the commit where the build knows it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return release + "+" + s.Value[:12]
		}
	}
	return release
}

// versionText keeps the version as the third word of the first line, where
// scripts written for FreeS/WAN look for it.
func versionText() string {
	return "Linux Cygnet " + version() + "\nSee `ipsec --copyright' for copyright information."
}

func executableDir() string {
	exe, err := os.Executable()
	if err != nil {
		return "/usr/sbin"
	}
	return filepath.Dir(exe)
}

// newVersion is `ipsec version`, the same as `ipsec --version`.
func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, as `ipsec --version'",
		Args:  cobra.NoArgs,
		Run:   func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), versionText()) },
	}
}
