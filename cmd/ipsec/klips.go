package main

import (
	"github.com/spf13/cobra"
)

// newKlips is pluto without the negotiating: what `ipsec setup' starts where
// config setup says pluto=no.
func newKlips() *cobra.Command {
	var background bool
	c := &cobra.Command{
		Use:   "klips",
		Short: "Run the data plane alone, for connections with manual keys",
		Long: `klips attaches ipsec0 and its siblings and brings up what manualstart= and
auto=manual say, until SIGTERM. It negotiates nothing: the ports of IKE stay
closed and ipsec.secrets is not read. ` + "`ipsec manual'" + ` works with it as it does
beside pluto.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDaemon(cmd.Context(), where(), daemonOptions{background: background, noIKE: true}, cmd.ErrOrStderr())
		},
	}
	c.Flags().BoolVar(&background, "background", false, "log to logfile= or the journal instead of standard error")
	return c
}
