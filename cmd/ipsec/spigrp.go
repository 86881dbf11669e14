package main

import (
	"github.com/spf13/cobra"

	"cygnet/internal/ipsec"
	"cygnet/internal/whack"
)

func newSpigrp() *cobra.Command {
	c := showTable[whack.Groups](whack.OpGroups, "spigrp [SA [SA [SA [SA]]]]", "List which SAs are applied together, or join SAs made by hand")
	c.Long = `Without SAs spigrp lists. SAs are given innermost first, in the order in which
they are applied to a packet that goes out (tun, comp, esp, ah), each as --said
SAID or as four words, inet DESTINATION SPI PROTO. A single SA takes apart the
group that it belongs to.`
	c.Args = cobra.MaximumNArgs(16)
	var said []string
	c.Flags().StringArrayVar(&said, "said", nil, "an SA, as esp0x200@192.0.2.9")
	oldFlags(c.Flags())
	list := c.RunE
	c.RunE = func(cmd *cobra.Command, words []string) error {
		if len(said)+len(words) == 0 {
			return list(cmd, words)
		}
		ids, err := groupOf(said, words)
		if err != nil {
			return err
		}
		return doByHand(cmd, whack.Request{Op: whack.OpGroup, Args: whack.Args{SAIDs: ids}})
	}
	return c
}

func groupOf(said, words []string) ([]string, error) {
	if len(said) > 0 && len(words) > 0 {
		return nil, fail(whack.ExitUsage, "name all SAs by --said or all by four words")
	}
	var ids []string
	for _, s := range said {
		id, err := ipsec.ParseSAID(s)
		if err != nil {
			return nil, fail(whack.ExitUsage, "--said: %w", err)
		}
		ids = append(ids, id.String())
	}
	for ; len(words) > 0; words = words[4:] {
		if len(words) < 4 {
			return nil, fail(whack.ExitUsage, "an SA is four words: inet DESTINATION SPI PROTO")
		}
		id, err := saidOf(words[0], words[1], words[2], words[3])
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	if len(ids) > 4 {
		return nil, fail(whack.ExitUsage, "a group has at most four SAs")
	}
	return ids, nil
}
