package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	"cygnet/internal/updown"
	"cygnet/internal/whack"
)

// newUpdown is the default leftupdown= command, for scripts that want what it
// does and something more.
func newUpdown() *cobra.Command {
	return &cobra.Command{
		Use:   "_updown [ipfwadm|iptables|nftables]",
		Short: "Do what the daemon does by itself when a connection goes up or down",
		Long: `_updown routes and unroutes the peer's network, as the PLUTO_* variables say, and
with an argument opens and closes forwarding between the two networks. It is
what leftupdown= stands for by default; a script of one's own may call it.`,
		Hidden: true,
		RunE: func(_ *cobra.Command, args []string) error {
			err := updown.Default(args, os.Getenv)
			var usage *updown.UsageError
			if errors.As(err, &usage) {
				return fail(whack.Exit(usage.Status), "%w", err)
			}
			if err != nil {
				return fail(whack.ExitFailed, "%w", err)
			}
			return nil
		},
	}
}
