package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"cygnet/internal/whack"
)

// newWhy asks the daemon what it has kept of failures.
func newWhy() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "why [NAME]",
		Short: "Say why a connection is not up, and what would mend it",
		Long: `why tells what failed last of a connection, by our attempts and by the peer's:
what we offered, what the peer offered where that is known, in what the two
differ, and the line of ipsec.conf that would mend it, here or there. The daemon
keeps that until the connection is up again. Without a NAME it tells of all
connections of which something has failed.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := whack.Request{Op: whack.OpWhy}
			if len(args) > 0 {
				r.Args.Name = args[0]
			}
			out := cmd.OutOrStdout()
			final, err := whack.Ask(cmd.Context(), where().socket(), r, func(reply whack.Reply) {
				if !asJSON {
					fmt.Fprintln(out, reply.Text)
				}
			})
			switch {
			case err != nil:
				return &exitError{whack.ExitFor(final, err), err}
			case final.Exit != whack.ExitDone:
				return fail(final.Exit, "%s", final.Text)
			case asJSON:
				return printJSON(out, final.JSON)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
