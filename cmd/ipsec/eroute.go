package main

import (
	"net/netip"

	"github.com/spf13/cobra"

	"cygnet/internal/whack"
)

var erouteOps = map[string]whack.Op{"add": whack.OpErouteAdd, "addin": whack.OpErouteAddIn, "replace": whack.OpErouteReplace,
	"del": whack.OpErouteDel, "clear": whack.OpErouteClear}

func newEroute() *cobra.Command {
	c := showTable[whack.Eroutes](whack.OpEroutes, "eroute [--add|--addin|--replace|--del|--clear ...]",
		"List the eroutes, what happens to which packets, or change those made by hand")
	c.Long = `Without an action eroute lists: packets so far, from where to where, and the SA
or shunt that they get. --add, --replace and --addin (what an inbound SA may
deliver) take an eroute and an SA:

  ipsec eroute --add --eraf inet --src 10.1.0.0/24 --dst 10.2.0.0/24 --said tun0x200@192.0.2.9

The SA need not exist yet; until it does packets are dropped. --del takes the
eroute only, --clear nothing. Eroutes of connections go with them.`
	var e erouteFlags
	e.add(c)
	list := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		op, err := oneOf(cmd, "add", "addin", "replace", "del", "clear")
		switch {
		case err != nil:
			return err
		case op == "" && !e.given():
			return list(cmd, args)
		case op == "":
			return fail(whack.ExitUsage, "which action? --add, --addin, --replace, --del or --clear")
		}
		r := whack.Request{Op: erouteOps[op]}
		if op != "clear" {
			if r.Args.Eroute, err = e.spec(op == "del"); err != nil {
				return err
			}
		}
		return doByHand(cmd, r)
	}
	return c
}

type erouteFlags struct {
	eraf, src, dst, proto, srcPort, dstPort string
	said                                    saidFlags
}

func (e *erouteFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.Bool("add", false, "add an eroute")
	f.Bool("addin", false, "add what an inbound SA may deliver")
	f.Bool("replace", false, "add an eroute or replace one made by hand")
	f.Bool("del", false, "delete an eroute made by hand")
	f.Bool("clear", false, "delete all eroutes made by hand")
	f.StringVar(&e.eraf, "eraf", "", "address family of the eroute: inet or inet6")
	f.StringVar(&e.src, "src", "", "source net")
	f.StringVar(&e.dst, "dst", "", "destination net")
	f.StringVar(&e.proto, "transport-proto", "any", "transport protocol")
	f.StringVar(&e.srcPort, "src-port", "0", "source port, of tcp and udp")
	f.StringVar(&e.dstPort, "dst-port", "0", "destination port, of tcp and udp")
	e.said.add(f)
	oldFlags(f)
}

func (e *erouteFlags) given() bool { return e.eraf+e.src+e.dst != "" }

func (e *erouteFlags) spec(del bool) (*whack.ErouteSpec, error) {
	var s whack.ErouteSpec
	var err error
	if s.Src, err = e.net("--src", e.src); err != nil {
		return nil, err
	}
	if s.Dst, err = e.net("--dst", e.dst); err != nil {
		return nil, err
	}
	if s.Proto, err = protocol(e.proto); err != nil {
		return nil, err
	}
	if s.SrcPort, err = port(s.Proto, e.srcPort); err != nil {
		return nil, err
	}
	if s.DstPort, err = port(s.Proto, e.dstPort); err != nil {
		return nil, err
	}
	if s.Said, err = e.said.get(); err != nil {
		return nil, err
	}
	switch {
	case s.Said == "" && !del:
		return nil, fail(whack.ExitUsage, "which SA? --said, or --af, --edst, --spi and --proto")
	case s.Said != "" && del:
		return nil, fail(whack.ExitUsage, "--del takes no SA")
	case (s.SrcPort != 0 || s.DstPort != 0) && s.Proto != 6 && s.Proto != 17:
		return nil, fail(whack.ExitUsage, "ports need --transport-proto tcp or udp")
	}
	return &s, nil
}

// net reads a net; an address alone is a net of one.
func (e *erouteFlags) net(flag, text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if a, aerr := netip.ParseAddr(text); aerr == nil {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	if err != nil {
		return p, fail(whack.ExitUsage, "%s: %q is not a net such as 10.1.0.0/24", flag, text)
	}
	return p.Masked(), sameFamily(e.eraf, p.Addr())
}
