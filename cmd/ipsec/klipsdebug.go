package main

import (
	"strings"

	"github.com/spf13/cobra"

	"cygnet/internal/whack"
)

func newKlipsdebug() *cobra.Command {
	c := showTable[whack.KlipsFlags](whack.OpKlipsFlags, "klipsdebug [--set FLAG | --clear FLAG | --all | --none]",
		"List or change what the data plane logs in detail")
	c.Long = `Without an action klipsdebug lists. The flags are those of klipsdebug= in config
setup: ` + strings.Join(whack.KlipsClasses, ", ") + `.
Changes of eroutes, SAs and devices are logged as they happen; packets that go
nowhere are logged by their number and reason. --all means all but verbose.`
	var set, clear []string
	var all, none bool
	f := c.Flags()
	f.StringArrayVar(&set, "set", nil, "switch a flag on")
	f.StringArrayVar(&clear, "clear", nil, "switch a flag off")
	f.BoolVar(&all, "all", false, "switch all on")
	f.BoolVar(&none, "none", false, "switch all off")
	oldFlags(f)
	list := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var words []string
		if none {
			words = append(words, "none")
		}
		if all {
			words = append(words, "all")
		}
		for _, w := range set {
			words = append(words, "+"+w)
		}
		for _, w := range clear {
			words = append(words, "-"+w)
		}
		switch {
		case len(words) == 0:
			return list(cmd, args)
		case len(words) > 1:
			return fail(whack.ExitUsage, "one change at a time: --set FLAG, --clear FLAG, --all or --none")
		}
		return doByHand(cmd, whack.Request{Op: whack.OpKlipsDebug, Args: whack.Args{Debug: words}})
	}
	return c
}
