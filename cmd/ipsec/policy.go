package main

import (
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"cygnet/internal/whack"
)

// newPolicy is `ipsec policy': what policy groups and opportunistic encryption
// do now, and why.
func newPolicy() *cobra.Command {
	var explain, asJSON bool
	var flush, proto, port string
	c := &cobra.Command{
		Use:   "policy [--explain SOURCE DESTINATION | --flush ADDRESS|NET|all]",
		Short: "Show policy groups and what opportunistic encryption has come to",
		Long: `policy lists the policy groups with the number of their entries and what packets
meet without a tunnel, then each pair of hosts that opportunistic encryption has
to do with: whether the DNS is asked, a gateway is called, a tunnel carries the
pair, or what failed and why.

--explain says which entry or connection decides about a packet. --flush forgets
failures, so that the next packet is looked at anew.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := whack.Request{Op: whack.OpPolicy}
			switch {
			case flush != "" && len(args) == 0 && !explain:
				return flushFailures(cmd, flush)
			case explain && len(args) == 2:
				spec, err := flowSpec(args, proto, port)
				if err != nil {
					return err
				}
				r.Args.Flow = spec
			case explain:
				return fail(whack.ExitUsage, "--explain takes a source and a destination address")
			case len(args) != 0 || flush != "":
				return fail(whack.ExitUsage, "what is wanted? --explain SOURCE DESTINATION, --flush ADDRESS, or nothing")
			}
			found, err := fetchBy[whack.Policy](cmd, r)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), found)
			}
			for _, line := range found.Lines() {
				fmt.Fprintln(cmd.OutOrStdout(), line)
			}
			return nil
		},
	}
	f := c.Flags()
	f.BoolVar(&explain, "explain", false, "say what decides about packets from SOURCE to DESTINATION")
	f.StringVar(&proto, "proto", "any", "with --explain: transport protocol")
	f.StringVar(&port, "port", "0", "with --explain: port of the destination")
	f.StringVar(&flush, "flush", "", "forget failures of an address, a net or all")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func flowSpec(args []string, protoText, portText string) (*whack.FlowSpec, error) {
	var s whack.FlowSpec
	var err error
	for i, to := range []*netip.Addr{&s.Src, &s.Dst} {
		if *to, err = netip.ParseAddr(args[i]); err != nil {
			return nil, fail(whack.ExitUsage, "%q is no address", args[i])
		}
	}
	if s.Src.Is4() != s.Dst.Is4() {
		return nil, fail(whack.ExitUsage, "%s and %s are of two families", s.Src, s.Dst)
	}
	if s.Proto, err = protocol(protoText); err != nil {
		return nil, err
	}
	s.DstPort, err = port(s.Proto, portText)
	return &s, err
}

func flushFailures(cmd *cobra.Command, what string) error {
	r := whack.Request{Op: whack.OpFlush}
	if what != "all" {
		p, err := netip.ParsePrefix(what)
		if a, aerr := netip.ParseAddr(what); aerr == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return fail(whack.ExitUsage, "%q is no address and no net", what)
		}
		r.Args.Prefix = p.Masked()
	}
	return ask(cmd, r, printing{})
}
