package main

import (
	"time"

	"github.com/spf13/cobra"

	"cygnet/internal/whack"
)

// newOECaptive is `ipsec oe captive', opportunistic.md 10.6.
func newOECaptive() *cobra.Command {
	var during time.Duration
	c := &cobra.Command{
		Use:   "captive on|off [--for 5m]",
		Short: "Let the page of a captive portal be seen",
		Long: `captive on is for networks that forge every answer of the DNS until you have seen
their page. Forged answers block what the group private-or-clear would otherwise
pass, and the page with it. For the time of --for, an hour at most, they count as
a DNS that does not answer: what goes in the clear without a tunnel goes in the
clear. Groups that never pass anything in the clear, and connections of
ipsec.conf, are not affected. It ends by itself or by captive off; then all that
has failed is looked at anew. It never begins by itself: otherwise to forge the
DNS would be a way to switch encryption off.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := whack.Request{Op: whack.OpCaptive}
			switch {
			case args[0] == "off" && !cmd.Flags().Changed("for"):
			case args[0] != "on":
				return fail(whack.ExitUsage, "what is wanted? `ipsec oe captive on [--for 5m]' or `ipsec oe captive off'")
			case during < time.Second || during > time.Hour:
				return fail(whack.ExitUsage, "--for %s: between 1s and 1h, please", during)
			default:
				r.Args.Seconds = uint32(during / time.Second)
			}
			return ask(cmd, r, printing{})
		},
	}
	c.Flags().DurationVar(&during, "for", 5*time.Minute, "how long, at most 1h")
	return c
}
