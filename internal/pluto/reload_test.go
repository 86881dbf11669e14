package pluto

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/whack"
)

// A reload with an error, of the file or of one connection, under five hundred SAs:
// all of them go on with their keys and counters, and the caller hears of it.
func TestAdv_CFG_05_ErrorUnder500SAs(t *testing.T) {
	const tunnels = 250
	inBubble(t, func(t *testing.T, p *pair) {
		conns := func(auto string) string {
			var b strings.Builder
			b.WriteString(setup)
			for i := range tunnels {
				b.WriteString(tunnel(fmt.Sprint("net", i), fmt.Sprintf("rightsubnet=10.2.%d.0/24", i), "ikelifetime=8h", "keylife=8h", "pfs=no", "ike=aes128gcm16-sha2_256-x25519", auto))
			}
			return b.String()
		}
		p.east.start(conns("auto=add"))
		p.west.start(conns("auto=start"))
		until(t, "all tunnels", 10*time.Minute, func() bool { return len(p.west.plane.SAs()) == 2*tunnels })
		time.Sleep(10 * time.Second)
		p.carries(t, "before")
		list := func() (ids []string) {
			for _, sa := range p.west.plane.SAs() {
				ids = append(ids, fmt.Sprint(sa.ID, sa.Owner, sa.Seq))
			}
			for _, pol := range p.west.plane.Policies() {
				ids = append(ids, fmt.Sprint(pol.Selector, pol.Action, pol.Bundle, pol.Owner))
			}
			return ids
		}
		before := list()
		for _, x := range []struct{ name, conf string }{
			{"a section that does not end", conns("auto=start") + "conn bad\n\tleft=\"192.0.2.1\n"},
			{"an error in config setup", "version 2.0\nconfig setup\n\tinterfaces=nonsense\n\tuniqueids=perhaps\n" + strings.TrimPrefix(conns("auto=start"), setup)},
			{"a wrong value in one connection", strings.Replace(conns("auto=start"), "rightsubnet=10.2.9.0/24", "rightsubnet=10.2.9.0/33", 1)},
		} {
			p.west.write(x.conf)
			if err := p.west.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "ipsec.conf:") {
				t.Errorf("%s: error %v", x.name, err)
			}
			if after := list(); !slices.Equal(before, after) {
				t.Errorf("%s: %d SAs and eroutes, %d before", x.name, len(after), len(before))
			}
		}
		p.carries(t, "after")
	})
}

// Of two peers with overlapping nets the more specific one has the packets, wherever
// it stands; of the same net the one that stands first, and the other one's owner
// is told.
func TestAdv_CFG_17_OverlappingPeers(t *testing.T) {
	hub := tunnel("hub", "rightsubnet=10.2.0.0/16", "auto=route")
	branch := tunnel("branch", "right=198.51.100.2", "rightid=@branch", "rightsubnet=10.2.7.0/24", "auto=route")
	twin := tunnel("twin", "right=198.51.100.3", "rightid=@twin", "rightsubnet=10.2.0.0/16", "auto=route")
	for _, x := range []struct{ conf, net, host, clash string }{
		{hub + branch, "hub", "branch", ""},
		{branch + hub, "hub", "branch", ""},
		{hub + twin, "hub", "hub", "twin"},
		{twin + hub, "twin", "twin", "hub"},
	} {
		inBubble(t, func(t *testing.T, p *pair) {
			p.west.start(setup + x.conf)
			p.east.start(setup)
			owner := func(dst string) string {
				f := ipsec.Flow{Src: netip.MustParseAddr("10.1.0.5"), Dst: netip.MustParseAddr(dst), Proto: 253}
				for _, pol := range p.west.plane.Policies() { // the most specific first
					if pol.Selector.Contains(f) {
						return pol.Owner
					}
				}
				return ""
			}
			if net, host := owner("10.2.1.1"), owner("10.2.7.1"); net != x.net || host != x.host {
				t.Errorf("%s\nthe net is %s's, the branch's net %s's; want %s, %s", x.conf, net, host, x.net, x.host)
			}
			if log := p.west.log.String(); x.clash != "" && !strings.Contains(log, fmt.Sprintf("could not route conn %q", x.clash)) {
				t.Errorf("the log says nothing of %s:\n%s", x.clash, log)
			}
		})
	}
}

// Weak algorithms have to be named, or called for by legacy=freeswan; then there is
// one warning and the status lists them; allow-legacy=no forbids it.
func TestAdv_CFG_20_WeakSuites(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		weak := []string{"ike=3des-md5;modp1536", "esp=3des-md5", "keyexchange=ikev1", "auto=add"}
		p.east.start(setup + tunnel("net", weak...))
		p.west.start(setup + tunnel("net", weak...) + tunnel("good", "rightsubnet=10.3.0.0/24", "auto=add"))
		p.west.must(whack.OpUp, "net")
		if p.west.states(`"net":   obsolete algorithms: `, "3des_cbc", "md5", "modp_1536") == 0 {
			t.Errorf("the status does not show it:\n%s", strings.Join(p.west.must(whack.OpStatus, ""), "\n"))
		}
		if p.west.states(`"good":   obsolete`) > 0 {
			t.Error("a connection that names nothing has weak algorithms")
		}
		if log := p.west.log.String(); strings.Count(log, "obsolete algorithms") != 1 {
			t.Errorf("%d warnings:\n%s", strings.Count(log, "obsolete algorithms"), log)
		}
		p.west.write(setup + "\tallow-legacy=no\n" + tunnel("net", weak...))
		if err := p.west.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "forbidden by allow-legacy=no") {
			t.Errorf("with allow-legacy=no: %v", err)
		}
	})
}

// A flood of packets that no SA is for is one line of log (ESP-02).
func TestStraysAreLogged(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.west.start(setup)
		p.east.start(setup)
		p.west.call(t.Context(), func() {
			p.west.planeEvent(ipsec.Strays{ID: ipsec.SAID{Dst: westAddr, Proto: ipsec.ESP, SPI: 0x1234}, From: eastAddr, Count: 100_000})
		})
		want := "dropped 100000 packets for which there is no SA, the first of them for esp0x1234@192.0.2.1 from 198.51.100.1"
		if log := p.west.log.String(); strings.Count(log, want) != 1 {
			t.Errorf("the log:\n%s", log)
		}
	})
}

// spigrp lists the SAs of a bundle together, also of one that has been replaced
// and only receives what is still on its way.
func TestGroupsOfReplacedBundles(t *testing.T) {
	for _, version := range []string{"ikev1", "ikev2"} {
		inBubble(t, func(t *testing.T, p *pair) {
			lines := []string{"compress=yes", "keyexchange=" + version, "auto=add"}
			p.east.start(setup + tunnel("net", lines...))
			p.west.start(setup + tunnel("net", lines...))
			p.west.must(whack.OpUp, "net")
			p.carries(t, "before")
			old := p.west.plane.SAs()
			p.west.call(t.Context(), func() {
				for _, m := range p.west.machines {
					for _, v := range p.west.table.Views() {
						for _, c := range v.Children {
							p.west.enqueue(m.Serial(), ike.Rekey{Child: c.Serial})
						}
					}
				}
				p.west.drain()
			})
			time.Sleep(2 * time.Second)
			now := p.west.plane.SAs()
			if len(now) < 2*len(old) {
				t.Fatalf("%s: %d SAs after replacing %d:\n%s", version, len(now), len(old), p.west.log)
			}
			lists := p.west.must(whack.OpGroups, "")
			for _, sa := range old {
				if sa.ID.Proto != ipsec.ESP {
					continue
				}
				if !slices.ContainsFunc(lists, func(line string) bool {
					return strings.Contains(line, sa.ID.String()) && strings.Contains(line, "comp0x")
				}) {
					t.Errorf("%s: %s stands alone in\n%s", version, sa.ID, strings.Join(lists, "\n"))
				}
			}
		})
	}
}
