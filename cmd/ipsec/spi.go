package main

import (
	"net/netip"

	"github.com/spf13/cobra"

	"cygnet/internal/ipsec"
	"cygnet/internal/rawkey"
	"cygnet/internal/whack"
)

func newSpi() *cobra.Command {
	c := showTable[whack.SAs](whack.OpSAs, "spi [SA --src A --esp T --enckey K ... | SA --del | --clear]",
		"List the security associations, without their keys, or make and delete some by hand")
	c.Long = `Without an action spi lists. An SA is named by --said esp0x200@192.0.2.9 or by
--af inet --edst 192.0.2.9 --spi 0x200 --proto esp. To make one:

  ipsec spi --said tun0x200@192.0.2.9 --src 198.51.100.1 --ip4 --dst 192.0.2.9
  ipsec spi --said esp0x200@192.0.2.9 --src 198.51.100.1 --esp aes128-sha1-96 --enckey 0x… --authkey 0x…
  ipsec spi --said ah0x200@192.0.2.9 --src 198.51.100.1 --ah hmac-sha1-96 --authkey 0x…
  ipsec spi --said comp0x200@192.0.2.9 --src 198.51.100.1 --comp deflate

One whose --src is an address of ours protects what goes out, any other takes in
what arrives. ` + "`ipsec spigrp'" + ` joins several, ` + "`ipsec eroute'" + ` sends packets to them.
Keys on a command line can be seen by everybody on this machine: connections in
ipsec.conf are the better place. --del deletes an SA with its group, --clear all
that were made by hand.`
	var s spiFlags
	s.add(c)
	list := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		said, err := s.said.get()
		if err != nil {
			return err
		}
		op, err := oneOf(cmd, "del", "clear")
		switch {
		case err != nil:
			return err
		case op == "clear" && said != "":
			return fail(whack.ExitUsage, "--clear takes no SA")
		case op == "clear":
			return doByHand(cmd, whack.Request{Op: whack.OpClearSAs})
		case said == "" && (op != "" || s.src != ""):
			return fail(whack.ExitUsage, "which SA? --said, or --af, --edst, --spi and --proto")
		case said == "":
			return list(cmd, args)
		case op == "del":
			return doByHand(cmd, whack.Request{Op: whack.OpDelSA, Args: whack.Args{SAIDs: []string{said}}})
		}
		spec, err := s.spec(said)
		if err != nil {
			return err
		}
		return doByHand(cmd, whack.Request{Op: whack.OpAddSA, Args: whack.Args{SA: spec}})
	}
	return c
}

type spiFlags struct {
	said                       saidFlags
	src, dst                   string
	esp, ah, comp, encr, auth  string
	life                       string
	replay                     int
	del, clear, ip4, ip6, echo bool
}

func (s *spiFlags) add(c *cobra.Command) {
	f := c.Flags()
	s.said.add(f)
	f.StringVar(&s.src, "src", "", "source address")
	f.StringVar(&s.esp, "esp", "", "ESP transform: 3des-md5-96, aes128-sha1-96, …")
	f.StringVar(&s.ah, "ah", "", "AH transform: hmac-md5-96, hmac-sha1-96, …")
	f.StringVar(&s.comp, "comp", "", "compression: deflate")
	f.BoolVar(&s.ip4, "ip4", false, "IPv4 in IPv4")
	f.BoolVar(&s.ip6, "ip6", false, "IPv6 in IPv6")
	f.StringVar(&s.dst, "dst", "", "with --ip4 and --ip6: the outer destination, which is the SA's own")
	f.StringVar(&s.encr, "enckey", "", "encryption key, 0x… or 0s…")
	f.StringVar(&s.auth, "authkey", "", "authentication key")
	f.IntVar(&s.replay, "replay_window", 0, "replay window in packets, 0 to 64; 0: none")
	f.StringVar(&s.life, "life", "", "ITEM=N,…: soft- and hard-bytes, soft- and hard-packets, hard-addtime (seconds)")
	f.BoolVar(&s.del, "del", false, "delete the SA and its group")
	f.BoolVar(&s.clear, "clear", false, "delete all SAs made by hand")
	f.BoolVar(&s.echo, "listenreply", false, "accepted for old scripts")
	f.MarkHidden("listenreply")
	oldFlags(f)
}

func (s *spiFlags) spec(said string) (*whack.SASpec, error) {
	spec := &whack.SASpec{Said: said, ESP: s.esp, AH: s.ah, Comp: s.comp, Replay: s.replay, Life: s.life}
	id, err := ipsec.ParseSAID(said)
	if err != nil {
		return nil, fail(whack.ExitUsage, "%w", err)
	}
	if spec.Src, err = netip.ParseAddr(s.src); err != nil {
		return nil, fail(whack.ExitUsage, "--src: %w", err)
	}
	kinds := 0
	for _, on := range []bool{s.esp != "", s.ah != "", s.comp != "", s.ip4, s.ip6} {
		if on {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return nil, fail(whack.ExitUsage, "exactly one of --esp, --ah, --comp, --ip4 and --ip6 is needed")
	case s.ip4 && !id.Dst.Is4(), s.ip6 && !id.Dst.Is6():
		return nil, fail(whack.ExitUsage, "%s is not of that address family", id)
	case s.dst != "" && s.dst != id.Dst.String():
		return nil, fail(whack.ExitUsage, "--dst %s is not the destination of %s", s.dst, id)
	}
	if spec.Encr, err = keyFlag("--enckey", s.encr); err != nil {
		return nil, err
	}
	spec.Auth, err = keyFlag("--authkey", s.auth)
	return spec, err
}

// keyFlag reads a key; its errors do not show it.
func keyFlag(flag, text string) (whack.Key, error) {
	if text == "" {
		return whack.Key{}, nil
	}
	b, err := rawkey.Data(text)
	if err != nil {
		return whack.Key{}, fail(whack.ExitUsage, "%s: %w", flag, err)
	}
	return whack.Key{Secret: ipsec.NewSecret(b)}, nil
}
