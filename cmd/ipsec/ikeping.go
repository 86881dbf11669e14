package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cygnet/internal/whack"
)

// newIkeping asks whether IKE daemons can be reached (freeswan.md 4.24). What is
// sent differs: FreeS/WAN's exchange 244 gets no answer today, see answersIKE.
func newIkeping() *cobra.Command {
	var o ikeping
	c := &cobra.Command{
		Use:   "ikeping [--wait SECONDS] [--ikeport PORT] HOST[/PORT]...",
		Short: "Ask whether an IKE daemon can be reached",
		Long: `ikeping sends each HOST the header of an IKE message in a version that does not
exist, which every daemon of IKEv2 has to answer (RFC 7296, section 2.5), and
says who does. Nothing is negotiated, and no secret is needed. A HOST that does
not answer may be down, be behind a firewall, or know IKEv1 only. PORT is 500 if
nothing else is said. The exit code is 0 if somebody has answered.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	c.Flags().Uint16Var(&o.wait, "wait", 2, "seconds to wait for each answer")
	c.Flags().Uint16Var(&o.port, "ikeport", 500, "the port where none is given")
	return c
}

type ikeping struct{ wait, port uint16 }

func (o *ikeping) run(cmd *cobra.Command, args []string) error {
	var targets []netip.AddrPort
	for _, a := range args {
		t, err := o.target(cmd.Context(), a)
		if err != nil {
			return err
		}
		targets = append(targets, t)
	}
	answered := o.ping(cmd.Context(), cmd.OutOrStdout(), targets)
	if answered == 0 {
		return ended(whack.ExitFailed)
	}
	return nil
}

// ping asks one after the other and counts who answers.
func (o *ikeping) ping(ctx context.Context, out io.Writer, targets []netip.AddrPort) (answered int) {
	for _, t := range targets {
		verdict := "no answer"
		if answersIKE(ctx, t, time.Duration(o.wait)*time.Second) {
			verdict = "answers"
			answered++
		}
		fmt.Fprintf(out, "%s port %d: %s\n", t.Addr(), t.Port(), verdict)
	}
	fmt.Fprintf(out, "%d asked, %d answered\n", len(targets), answered)
	return answered
}

// target is an address or a name, perhaps with a port.
func (o *ikeping) target(ctx context.Context, word string) (netip.AddrPort, error) {
	host, number, given := strings.Cut(word, "/")
	port := uint64(o.port)
	if given {
		var err error
		if port, err = strconv.ParseUint(number, 10, 16); err != nil || port == 0 {
			return netip.AddrPort{}, fail(whack.ExitUsage, "%q is not a port (write HOST/500)", number)
		}
	}
	addr, err := netip.ParseAddr(host)
	if err == nil {
		return netip.AddrPortFrom(addr, uint16(port)), nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil { // which it is, too, where a name has no address
		return netip.AddrPort{}, fail(whack.ExitFailed, "%q is no address, and not found as a name: %w", host, err)
	}
	return netip.AddrPortFrom(found[0].Unmap(), uint16(port)), nil
}
