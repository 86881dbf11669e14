package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"cygnet/internal/config"
	"cygnet/internal/whack"
)

// newKeycensor is barf's filter for ipsec.conf text, by itself.
func newKeycensor() *cobra.Command {
	return filter("_keycensor", "ipsec.conf", func(c config.Censor, text string) string { return c.Conf(text) })
}

// newSecretcensor is barf's filter for ipsec.secrets text.
func newSecretcensor() *cobra.Command {
	return filter("_secretcensor", "ipsec.secrets", func(c config.Censor, text string) string { return c.Secrets("standard input", text) })
}

// maxFiltered is how much text a filter reads.
const maxFiltered = 64 << 20

func filter(name, of string, apply func(config.Censor, string) string) *cobra.Command {
	var stable bool
	c := &cobra.Command{
		Use:    name + " < FILE",
		Short:  "Replace the keys in " + of + " text by what identifies them",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxFiltered+1))
			switch {
			case err != nil:
				return fail(whack.ExitFailed, "read standard input: %w", err)
			case len(text) > maxFiltered:
				return fail(whack.ExitFailed, "more than %d octets", maxFiltered)
			}
			fmt.Fprint(cmd.OutOrStdout(), apply(censor(stable), string(text)))
			return nil
		},
	}
	c.Flags().BoolVar(&stable, "stable", false, "censor as FreeS/WAN did")
	return c
}
