package main

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"cygnet/internal/config"
	"cygnet/internal/whack"
)

// newWhack is the low-level control command. It keeps its own exit codes: the
// class of the last significant reply (freeswan.md 4.4).
func newWhack() *cobra.Command {
	var name, crash, myID string
	var serial, rekey uint32
	var async, json bool
	var debug debugFlags
	var conn *whackConn
	chosen := map[whack.Op]*bool{}
	c := &cobra.Command{
		Use:   "whack --OPERATION [--name NAME] ...",
		Short: "Talk to the running daemon directly",
		Long: `whack hands one operation or several to the running daemon. Its exit code is the
class of the last reply that matters, as FreeS/WAN had it, and not that of the
table of ` + "`ipsec help exit-codes'" + `.

A connection is defined by --name and its two ends with --to between them, for
example

  ipsec whack --name x --psk --encrypt --tunnel --pfs --host 192.0.2.1 --client 10.1.0.0/24 --to --host 198.51.100.1 --client 10.2.0.0/24

and ` + "`ipsec auto --showonly --add NAME'" + ` prints that of one in ipsec.conf.

--debug-CLASS, with the classes of plutodebug=, logs these in detail and no
others, until the daemon is told otherwise or ends.`,
		Args: cobra.NoArgs,
	}
	f := c.Flags()
	for _, o := range whackOperations {
		chosen[o.op] = f.Bool(o.flag, false, o.help)
	}
	f.StringVar(&name, "name", "", "the connection")
	f.Uint32Var(&serial, "deletestate", 0, "delete the state with this serial number")
	f.Uint32Var(&rekey, "rekeystate", 0, "replace the IKE SA or IPsec SA with this serial number now")
	f.StringVar(&crash, "crash", "", "drop all states with the peer at this address")
	f.StringVar(&myID, "myid", "", "what %myid stands for")
	debug.add(c)
	conn = newWhackConn(c)
	f.BoolVar(&async, "asynchronous", false, "do not wait for the outcome")
	f.BoolVar(&json, "json", false, "print JSON")
	f.String("label", "", "accepted for old scripts")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		var requests []whack.Request
		if myID != "" {
			requests = append(requests, whack.Request{Op: whack.OpMyID, Args: whack.Args{ID: myID}})
		}
		if classes, given := debug.classes(); given {
			requests = append(requests, whack.Request{Op: whack.OpDebug, Args: whack.Args{Debug: classes}})
		}
		if conn.given() {
			path, err := conn.define(name)
			if err != nil {
				return err
			}
			defer os.Remove(path)
			op := whack.OpAdd
			if *chosen[whack.OpDelete] { // the one of that name goes first
				op, *chosen[whack.OpDelete] = whack.OpReplace, false
			}
			requests = append(requests, whack.Request{Op: op, Args: whack.Args{Name: name, Config: path}})
		}
		for _, o := range whackOperations {
			if *chosen[o.op] {
				requests = append(requests, whack.Request{Op: o.op, Args: whack.Args{Name: name, Async: async}})
			}
		}
		if serial != 0 {
			requests = append(requests, whack.Request{Op: whack.OpDeleteState, Args: whack.Args{Serial: serial}})
		}
		if rekey != 0 {
			requests = append(requests, whack.Request{Op: whack.OpRekey, Args: whack.Args{Serial: rekey}})
		}
		if crash != "" {
			addr, err := netip.ParseAddr(crash)
			if err != nil {
				return fail(whack.ExitUsage, "--crash: %w", err)
			}
			requests = append(requests, whack.Request{Op: whack.OpCrash, Args: whack.Args{Addr: addr}})
		}
		if len(requests) == 0 {
			return fail(whack.ExitUsage, "no operation given; see `ipsec whack --help'")
		}
		return whackAll(cmd, requests, printing{verbose: true, json: json})
	}
	return c
}

var whackOperations = []struct {
	op   whack.Op
	flag string
	help string
}{
	{whack.OpStatus, "status", "show interfaces, connections and states"},
	{whack.OpListen, "listen", "look for interfaces and start to listen"},
	{whack.OpUnlisten, "unlisten", "stop listening"},
	{whack.OpRoute, "route", "route the connection"},
	{whack.OpUnroute, "unroute", "unroute the connection"},
	{whack.OpUp, "initiate", "bring the connection up"},
	{whack.OpDown, "terminate", "take the connection down"},
	{whack.OpDelete, "delete", "forget the connection"},
	{whack.OpRekey, "rekey", "renew the connection's keys now"},
	{whack.OpReload, "reload", "read ipsec.conf and all else again, as at SIGHUP"},
	{whack.OpReadSecrets, "rereadsecrets", "read ipsec.secrets again"},
	{whack.OpReadGroups, "rereadgroups", "read the policy groups again"},
	{whack.OpReadCerts, "rereadcerts", "read certificates and CRLs again"},
	{whack.OpReadCAs, "rereadcacerts", "the same"},
	{whack.OpReadCRLs, "rereadcrls", "the same"},
	{whack.OpReadAll, "rereadall", "read secrets and certificates again"},
	{whack.OpListKeys, "listpubkeys", "list the public keys of peers"},
	{whack.OpListCerts, "listcerts", "list the certificates of ipsec.d/certs"},
	{whack.OpListCAs, "listcacerts", "list the CAs that are trusted"},
	{whack.OpListCRLs, "listcrls", "list the CRLs"},
	{whack.OpTrafficStatus, "trafficstatus", "show what each tunnel has carried"},
	{whack.OpShutdown, "shutdown", "end the daemon"},
}

func whackAll(cmd *cobra.Command, requests []whack.Request, how printing) error {
	var codes []int
	for _, r := range requests {
		final, err := whack.Ask(cmd.Context(), where().socket(), r, func(reply whack.Reply) {
			codes = append(codes, reply.Code)
			if !how.json {
				how.print(cmd, reply)
			}
		})
		if err != nil {
			return &exitError{whack.ExitFailed, err}
		}
		codes = append(codes, final.Code)
		if how.json {
			fmt.Fprintln(cmd.OutOrStdout(), string(final.JSON))
		} else {
			how.print(cmd, final)
		}
	}
	return ended(whack.Exit(whack.WhackExit(codes)))
}

// debugFlags are --debug-none, --debug-all and one for each class.
type debugFlags map[string]*bool

func (d *debugFlags) add(c *cobra.Command) {
	f := c.Flags()
	*d = debugFlags{
		"none": f.Bool("debug-none", false, "log nothing in detail"),
		"all":  f.Bool("debug-all", false, "log everything in detail"),
	}
	for _, class := range config.PlutoClasses() {
		(*d)[class] = f.Bool("debug-"+class, false, "log "+class+" in detail")
		_ = f.MarkHidden("debug-" + class) // it exists: it was just made
	}
}

// classes lists those that are given, in order; none of them is a list too.
func (d debugFlags) classes() (list []string, given bool) {
	for _, c := range slices.Sorted(maps.Keys(d)) {
		if *d[c] {
			given = true
			if c != "none" {
				list = append(list, c)
			}
		}
	}
	return list, given
}
