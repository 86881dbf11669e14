package main

import (
	"github.com/spf13/cobra"

	"cygnet/internal/whack"
)

func newTncfg() *cobra.Command {
	c := showTable[whack.Devices](whack.OpDevices, "tncfg [--attach --virtual ipsecN --physical IF | --detach --virtual ipsecN | --clear]",
		"List which virtual device guards which physical one, or change that")
	c.Long = `Without an action tncfg lists: virtual -> physical, the virtual device's MTU, in
parentheses what certainly fits its tunnels now, and the physical MTU.

What is attached or detached here stays so until the daemon ends, whatever
interfaces= says. Packets that are routed into a detached device are dropped.`
	var virtual, physical string
	f := c.Flags()
	f.Bool("attach", false, "attach --virtual to --physical")
	f.Bool("detach", false, "detach --virtual")
	f.Bool("clear", false, "detach all")
	f.StringVar(&virtual, "virtual", "", "the virtual device, as ipsec0")
	f.StringVar(&physical, "physical", "", "the physical device, as eth0 or ppp0")
	oldFlags(f)
	list := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		op, err := oneOf(cmd, "attach", "detach", "clear")
		switch {
		case err != nil:
			return err
		case op == "" && virtual+physical == "":
			return list(cmd, args)
		case op == "":
			return fail(whack.ExitUsage, "which action? --attach, --detach or --clear")
		case op == "attach" && (virtual == "" || physical == ""):
			return fail(whack.ExitUsage, "--attach needs --virtual and --physical")
		case op == "detach" && (virtual == "" || physical != ""):
			return fail(whack.ExitUsage, "--detach needs --virtual alone")
		case op == "clear" && virtual+physical != "":
			return fail(whack.ExitUsage, "--clear takes no device")
		}
		r := map[string]whack.Op{"attach": whack.OpAttach, "detach": whack.OpDetach, "clear": whack.OpDetachAll}
		return doByHand(cmd, whack.Request{Op: r[op], Args: whack.Args{Virtual: virtual, Physical: physical}})
	}
	return c
}
