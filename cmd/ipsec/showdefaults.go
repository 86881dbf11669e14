package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"cygnet/internal/whack"
)

// newShowdefaults prints the facts about the default route that a start has
// noted (freeswan.md 4.19).
func newShowdefaults() *cobra.Command {
	return &cobra.Command{
		Use:   "showdefaults",
		Short: "Show what %defaultroute stands for",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := os.ReadFile(where().infoFile())
			if errors.Is(err, fs.ErrNotExist) {
				return fail(whack.ExitFailed, "cannot find defaults file `%s'", where().infoFile())
			}
			if err != nil {
				return fail(whack.ExitFailed, "%w", err)
			}
			for line := range strings.Lines(string(b)) {
				line = strings.TrimPrefix(strings.TrimPrefix(line, "default"), "#dr:")
				if _, err := cmd.OutOrStdout().Write([]byte(line)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
