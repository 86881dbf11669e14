package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"cygnet/internal/whack"
)

// operation is one of the mutually exclusive operations of `ipsec auto`.
type operation struct {
	flag  string
	op    whack.Op
	named bool // takes the name of a connection
	help  string
}

var operations = []operation{
	{"up", whack.OpUp, true, "bring the connection up and wait for the outcome"},
	{"down", whack.OpDown, true, "take the connection down; its route stays and its traffic is discarded"},
	{"add", whack.OpAdd, true, "load the connection from ipsec.conf"},
	{"delete", whack.OpDelete, true, "unload the connection and all that was built on it"},
	{"replace", whack.OpReplace, true, "load the connection anew, without a gap in its routing"},
	{"route", whack.OpRoute, true, "route the connection: traffic will bring it up"},
	{"unroute", whack.OpUnroute, true, "remove the connection's route and shunt"},
	{"ready", whack.OpListen, false, "look for interfaces and start to listen"},
	{"status", whack.OpStatus, false, "show interfaces, connections and states"},
	{"rereadsecrets", whack.OpReadSecrets, false, "read ipsec.secrets again"},
	{"rereadgroups", whack.OpReadGroups, false, "read the policy groups again"},
	{"rereadcerts", whack.OpReadCerts, false, "read all certificates and CRLs of ipsec.d again"},
	{"rereadcacerts", whack.OpReadCAs, false, "the same"},
	{"rereadcrls", whack.OpReadCRLs, false, "the same; tunnels of whom they revoke are deleted"},
	{"rereadall", whack.OpReadAll, false, "read secrets, groups and certificates again"},
	{"listpubkeys", whack.OpListKeys, false, "list the public keys of peers"},
	{"listcerts", whack.OpListCerts, false, "list the certificates of ipsec.d/certs"},
	{"listcacerts", whack.OpListCAs, false, "list the CAs that are trusted"},
	{"listcrls", whack.OpListCRLs, false, "list the CRLs"},
	{"listall", opListAll, false, "list public keys, certificates, CAs and CRLs"},
}

// opListAll stands for several requests, and is none itself.
const opListAll whack.Op = ""

// listAll is what --listall asks for, one after the other.
var listAll = []whack.Op{whack.OpListKeys, whack.OpListCerts, whack.OpListCAs, whack.OpListCRLs}

func newAuto() *cobra.Command {
	var o autoOptions
	chosen := map[string]*bool{}
	c := &cobra.Command{
		Use:   "auto [--show|--showonly] [--asynchronous] [--verbose] [--config FILE] --OPERATION [NAME]",
		Short: "Load, start, stop and watch connections with automatic keys",
		Long: `auto hands one operation on a connection to the running daemon and prints what
happens, each line with its class number. --up ends with 004 and exit code 0
when the tunnel stands; ` + "`ipsec help exit-codes'" + ` lists the other codes.`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			op, name, err := pick(cmd, chosen, args)
			if err != nil {
				return err
			}
			return o.run(cmd, op, name)
		},
	}
	for _, op := range operations {
		chosen[op.flag] = c.Flags().Bool(op.flag, false, op.help)
	}
	o.flags(c)
	return c
}

// pick finds the one operation that flags, or the obsolete order NAME up,
// name.
func pick(cmd *cobra.Command, chosen map[string]*bool, args []string) (operation, string, error) {
	var found []operation
	for _, op := range operations {
		if *chosen[op.flag] {
			found = append(found, op)
		}
	}
	if len(found) == 0 && len(args) == 2 {
		for _, op := range operations {
			if args[1] == op.flag && op.named {
				fmt.Fprintf(cmd.ErrOrStderr(), "auto: warning: obsolete order of words; write `ipsec auto --%s %s'\n", op.flag, args[0])
				return op, args[0], nil
			}
		}
	}
	if len(found) != 1 {
		return operation{}, "", fail(whack.ExitUsage, "exactly one operation is needed, such as --up NAME or --status")
	}
	op := found[0]
	switch {
	case op.named && len(args) != 1:
		return op, "", fail(whack.ExitUsage, "--%s takes the name of one connection", op.flag)
	case !op.named && len(args) != 0:
		return op, "", fail(whack.ExitUsage, "--%s takes no name", op.flag)
	case op.named:
		return op, args[0], nil
	}
	return op, "", nil
}

// shortVerbs are `ipsec up NAME` and its siblings.
func shortVerbs() []*cobra.Command {
	var list []*cobra.Command
	for _, op := range operations {
		if !op.named && op.flag != "status" {
			continue
		}
		var o autoOptions
		c := &cobra.Command{
			Use:   op.flag + " NAME",
			Short: "Short for `ipsec auto --" + op.flag + "': " + op.help,
			Args:  cobra.ExactArgs(1),
		}
		if !op.named {
			c.Use, c.Args = op.flag, cobra.NoArgs
		}
		c.RunE = func(cmd *cobra.Command, args []string) error {
			name := ""
			if op.named {
				name = args[0]
			}
			return o.run(cmd, op, name)
		}
		o.flags(c)
		list = append(list, c)
	}
	return list
}

// newSecrets is `ipsec secrets`, FreeS/WAN's name for reading them again.
func newSecrets() *cobra.Command {
	return &cobra.Command{
		Use:   "secrets",
		Short: "Short for `ipsec auto --rereadsecrets': read ipsec.secrets again",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd, whack.Request{Op: whack.OpReadSecrets}, printing{})
		},
	}
}

type autoOptions struct {
	async, verbose, json, utc bool
	shown, showOnly           bool
	config                    string
}

func (o *autoOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&o.async, "asynchronous", false, "with up: return once the negotiation is queued")
	f.BoolVar(&o.verbose, "verbose", false, "print log lines (class 002) as well")
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.BoolVar(&o.utc, "utc", false, "print times in UTC")
	f.BoolVar(&o.shown, "show", false, "print the whack commands that amount to the same, as well")
	f.BoolVar(&o.showOnly, "showonly", false, "print them and do nothing")
	f.StringVar(&o.config, "config", "", "read connections from this file instead of ipsec.conf")
}

func (o *autoOptions) run(cmd *cobra.Command, op operation, name string) error {
	if o.shown || o.showOnly {
		if err := o.show(cmd.OutOrStdout(), op, name); err != nil || o.showOnly {
			return err
		}
	}
	config := o.config
	if config != "" {
		var err error
		if config, err = filepath.Abs(config); err != nil {
			return err
		}
	}
	ops := []whack.Op{op.op}
	if op.op == opListAll {
		ops = listAll
	}
	for _, each := range ops {
		if err := ask(cmd, whack.Request{Op: each, Args: whack.Args{
			Name: name, Config: config, Async: o.async, UTC: o.utc,
		}}, printing{verbose: o.verbose, json: o.json}); err != nil {
			return err
		}
	}
	return nil
}
