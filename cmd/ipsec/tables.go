package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"cygnet/internal/whack"
)

// lister is a view of the running daemon's tables.
type lister interface{ Lines() []string }

// showTable prints what a reading operation found, as lines or as the daemon's
// own JSON.
func showTable[T any, P interface {
	*T
	lister
}](op whack.Op, use, short string) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := fetch[T](cmd, op)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), found)
			}
			for _, line := range P(&found).Lines() {
				fmt.Fprintln(cmd.OutOrStdout(), line)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newLook() *cobra.Command {
	return showTable[whack.Look](whack.OpLook, "look", "Show eroutes, SAs, devices, routes and dropped packets together")
}

func newTrafficstatus() *cobra.Command {
	return showTable[whack.Traffic](whack.OpTrafficStatus, "trafficstatus", "Show what each tunnel has carried")
}
