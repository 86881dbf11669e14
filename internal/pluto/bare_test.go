package pluto

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/firewall"
	"cygnet/internal/ipsec"
	"cygnet/internal/whack"
)

// What goes between the gateways without ESP or AH around it passes the filter
// exactly while an SA needs it, and nothing else does.
func TestBare(t *testing.T) {
	in := func(mode ipsec.Mode, protos ...ipsec.Proto) (list []ipsec.SAStatus) {
		var ids []ipsec.SAID
		for _, p := range protos {
			ids = append(ids, ipsec.SAID{Dst: westAddr, Proto: p, SPI: 0x200})
		}
		for _, id := range ids {
			sa := ipsec.SA{ID: id, Src: eastAddr, Dir: ipsec.In, Mode: mode}
			if len(ids) > 1 {
				sa.Bundle = ids
			}
			list = append(list, ipsec.SAStatus{SA: sa})
		}
		out := ipsec.SA{ID: ipsec.SAID{Dst: eastAddr, Proto: protos[0], SPI: 0x200}, Src: westAddr, Dir: ipsec.Out, Mode: mode}
		return append(list, ipsec.SAStatus{SA: out})
	}
	for _, test := range []struct {
		sas  []ipsec.SAStatus
		want string // protocols
	}{
		{nil, "[]"},
		{in(ipsec.Tunnel, ipsec.Tun), "[4 41]"},
		{in(ipsec.Tunnel, ipsec.Tun, ipsec.Comp), "[4 41 108]"},
		{in(ipsec.Tunnel, ipsec.Comp), "[4 41 108]"},
		{in(ipsec.Tunnel, ipsec.ESP), "[]"},
		{in(ipsec.Tunnel, ipsec.Comp, ipsec.ESP), "[]"},
		{in(ipsec.Tunnel, ipsec.Tun, ipsec.AH), "[]"},
		{in(ipsec.Tunnel, ipsec.Tun, ipsec.Comp, ipsec.ESP, ipsec.AH), "[]"},
		{slices.Concat(in(ipsec.Tunnel, ipsec.Comp), in(ipsec.Tunnel, ipsec.Tun)), "[4 41 108]"},
	} {
		var protos []uint8
		for _, p := range bare(test.sas) {
			protos = append(protos, p.Proto)
			if p.Drop || p.Src != netip.PrefixFrom(westAddr, 32) || p.Dst != netip.PrefixFrom(eastAddr, 32) {
				t.Errorf("%+v", p)
			}
		}
		if got := fmt.Sprint(protos); got != test.want {
			t.Errorf("%v: passes %s, want %s", test.sas, got, test.want)
		}
	}
}

// The daemon's filter passes IP-in-IP while an SA of it is there. It comes before
// what a policy between the gateways drops.
func TestBareThroughTheFilter(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		filter := &firewall.Fake{}
		p.west.filter = filter
		p.west.start(setup + tunnel("hosts", "auto=route", "leftsubnet="+westAddr.String()+"/32", "rightsubnet="+eastAddr.String()+"/32"))
		p.east.start(setup)
		passes := func() (in, out []uint8) {
			time.Sleep(time.Second)
			read := func(list []firewall.Policy) (protos []uint8) {
				for _, f := range list {
					if f.Drop {
						return protos // the first that matches decides
					}
					if f.Proto != 0 {
						protos = append(protos, f.Proto)
					}
				}
				t.Error("nothing is dropped")
				return protos
			}
			return read(filter.State().Inbound), read(filter.State().Outbound)
		}
		check := func(when string, want ...uint8) {
			t.Helper()
			if in, out := passes(); !slices.Equal(in, want) || !slices.Equal(out, want) {
				t.Errorf("%s: %v in and %v out pass, want %v", when, in, out, want)
			}
		}
		check("at first")
		p.west.did(whack.OpAddSA, whack.Args{SA: &whack.SASpec{Said: "tun0x200@" + westAddr.String(), Src: eastAddr}})
		check("with an SA", 4, 41)
		p.west.did(whack.OpDelSA, whack.Args{SAIDs: []string{"tun0x200@" + westAddr.String()}})
		check("without it")
		if lines := strings.Join(p.west.must(whack.OpSAs, ""), "\n"); strings.Contains(lines, "tun0x200") {
			t.Errorf("SAs\n%s", lines)
		}
	})
}
