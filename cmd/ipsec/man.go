package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newMan writes the manual pages from the commands themselves and from the
// reference, so that pages and help cannot differ.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIRECTORY",
		Short:  "Write all manual pages, into the directories of their sections below one",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			commands := filepath.Join(args[0], "man8")
			if err := os.MkdirAll(commands, 0o755); err != nil {
				return err
			}
			day := time.Unix(0, 0).UTC() // pages of one version are equal octet for octet
			header := &doc.GenManHeader{Title: "IPSEC", Section: "8", Source: "Cygnet " + release, Manual: "Cygnet", Date: &day}
			if err := doc.GenManTree(cmd.Root(), header, commands); err != nil {
				return fmt.Errorf("write manual pages: %w", err)
			}
			return writePages(args[0])
		},
	}
}

// writePages writes the pages that are not about a command.
func writePages(dir string) error {
	for _, p := range reference() {
		section := filepath.Join(dir, fmt.Sprintf("man%d", p.section))
		if err := os.MkdirAll(section, 0o755); err != nil {
			return err
		}
		var b bytes.Buffer
		p.writeMan(&b)
		if err := os.WriteFile(filepath.Join(section, fmt.Sprintf("%s.%d", p.name, p.section)), b.Bytes(), 0o644); err != nil {
			return fmt.Errorf("write manual pages: %w", err)
		}
	}
	return nil
}
