package pluto

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/firewall"
	"cygnet/internal/host"
	"cygnet/internal/ipsec"
	"cygnet/internal/keys"
	"cygnet/internal/whack"
)

const established = "IPsec SA established"

func TestUpAndDown(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.west.start(setup + tunnel("net", "auto=add"))
		p.east.start(setup + tunnel("net", "auto=add"))
		out := p.west.must(whack.OpUp, "net")
		if last := out[len(out)-1]; !strings.HasPrefix(last, `004 "net" #2: IPsec SA established`) {
			t.Errorf("the last line is %q", last)
		}
		p.carries(t, "hello")
		if p.west.states(established) != 1 || p.east.states(established) != 1 {
			t.Errorf("status:\n%s", strings.Join(p.west.must(whack.OpStatus, ""), "\n"))
		}
		if got := p.west.eroute(); got != "tun0x1002@198.51.100.1" {
			t.Errorf("the eroute is %s", got)
		}
		routes, _ := p.west.machine.Routes(nil)
		if len(routes) != 1 || routes[0].String() != "10.2.0.0/24 via 198.51.100.1 dev ipsec0" {
			t.Errorf("routes are %v", routes)
		}

		p.west.must(whack.OpDown, "net")
		if p.west.states(established) != 0 {
			t.Error("after down an SA is still there")
		}
		p.west.send(sunset, sunrise, "lost")
		if got := p.east.got(); got != nil || len(p.wires[1].Clear()) != 0 {
			t.Errorf("after down something arrived: %q", got)
		}
		if got := p.west.eroute(); got != "%drop" {
			t.Errorf("after down the eroute is %s", got)
		}
		if got := p.east.eroute(); got != "%trap" {
			t.Errorf("after the peer's down the eroute is %s", got)
		}
		p.west.must(whack.OpUp, "net")
		p.carries(t, "again")
		if out, final := p.west.do(whack.OpUnroute, "net"); final.Exit != whack.ExitFailed || final.Code != 26 {
			t.Errorf("unroute of what is up: %v %+v", out, final)
		}
		p.west.must(whack.OpDown, "net")
		p.west.must(whack.OpUnroute, "net")
		if routes, _ := p.west.machine.Routes(nil); len(routes) != 0 || p.west.eroute() != "none" {
			t.Errorf("after unroute: %v, %s", routes, p.west.eroute())
		}
	})
}

// Traffic to a trap starts the negotiation, and the packet that did it arrives.
func TestOnDemand(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.west.start(setup + tunnel("net", "auto=route"))
		p.east.start(setup + tunnel("net", "auto=add"))
		if got := p.west.eroute(); got != "%trap" {
			t.Fatalf("the eroute is %s", got)
		}
		p.west.send(sunset, sunrise, "first")
		time.Sleep(time.Second)
		if got := p.east.got(); !slices.Equal(got, []string{"first"}) {
			t.Errorf("east got %q\n%s", got, p.west.log)
		}
		p.carries(t, "second")
	})
}

// What goes wrong has the exit code of the contract, and leaves nothing behind.
// R4.4.
func TestFailures(t *testing.T) {
	for _, tc := range []struct {
		name       string
		west, east string
		secrets    string
		exit       whack.Exit
		says       string
	}{
		{"wrong key", "", "", "@west @east : PSK \"another secret of the two, just as long\"\n", whack.ExitAuth, "AUTHENTICATION_FAILED"},
		{"no common algorithm", "ike=aes256-sha2_512;modp4096", "ike=aes128-sha2_256;modp2048", goodSecret, whack.ExitProposal, "NO_PROPOSAL_CHOSEN"},
		{"no common algorithm for ESP", "esp=aes256gcm16", "esp=aes128-sha2_256", goodSecret, whack.ExitProposal, "NO_PROPOSAL_CHOSEN"},
		{"unknown identity", "leftid=@stranger", "", "@stranger @west @east : PSK \"a secret of the two, long enough to be one\"\n", whack.ExitAuth, "AUTHENTICATION_FAILED"},
		{"no common selector", "rightsubnet=10.7.0.0/24", "", goodSecret, whack.ExitSelectors, "TS_UNACCEPTABLE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *pair) {
				conf := func(change string) string {
					return setup + tunnel("net", cmp.Or(change, "auto=add"), "keyingtries=1", "auto=add")
				}
				p.west.secrets = tc.secrets
				p.west.start(conf(tc.west))
				p.east.start(conf(tc.east))
				out, final := p.west.do(whack.OpUp, "net")
				if final.Exit != tc.exit || final.Reason != tc.exit.String() || !strings.Contains(final.Text, tc.says) {
					t.Errorf("%+v\n%s\n%s", final, strings.Join(out, "\n"), p.east.log)
				}
				if p.west.states(established) != 0 || p.west.eroute() != "none" {
					t.Errorf("something is left: %s", p.west.eroute())
				}
			})
		})
	}
}

func TestSilentPeer(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.west.start(setup + tunnel("net", "keyingtries=1", "auto=add"))
		began := time.Now()
		_, final := p.west.do(whack.OpUp, "net")
		if final.Exit != whack.ExitSilent || final.Code != 31 {
			t.Errorf("%+v", final)
		}
		if d := time.Since(began); d < 30*time.Second || d > 2*time.Minute {
			t.Errorf("it took %v", d)
		}
		sent := p.wires[0].ike
		time.Sleep(time.Hour)
		if p.wires[0].ike != sent {
			t.Error("attempts go on")
		}
	})
}

func TestNoSuchConnection(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.west.start(setup + tunnel("net") + "conn bad\n\tleft=192.0.2.1\n\tright=198.51.100.1\n\ttype=nonsense\n")
		for _, tc := range []struct {
			op   whack.Op
			name string
			exit whack.Exit
		}{
			{whack.OpUp, "nothing", whack.ExitNoConn}, {whack.OpAdd, "nothing", whack.ExitNoConn},
			{whack.OpDown, "net", whack.ExitNoConn}, {whack.OpAdd, "bad", whack.ExitConfig},
			{whack.OpAdd, "net", whack.ExitDone}, {whack.OpAdd, "net", whack.ExitFailed}, {whack.OpReplace, "net", whack.ExitDone},
			{whack.OpDelete, "net", whack.ExitDone}, {whack.OpDelete, "net", whack.ExitNoConn},
		} {
			if _, final := p.west.do(tc.op, tc.name); final.Exit != tc.exit {
				t.Errorf("%s %s: %+v, want exit code %d", tc.op, tc.name, final, tc.exit)
			}
		}
	})
}

// R1.5 on real machines: many connections, one IKE SA.
func TestManyConnections(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		conf := setup
		for i := range 20 {
			conf += tunnel(fmt.Sprintf("net%02d", i), fmt.Sprintf("rightsubnet=10.2.%d.0/24", i), "auto=start")
		}
		p.east.start(strings.ReplaceAll(conf, "auto=start", "auto=add"))
		p.west.start(conf)
		until(t, "twenty tunnels", 30*time.Second, func() bool { return p.west.states(established) == 20 })
		if n := p.west.states("IKE SA established"); n != 1 {
			t.Errorf("%d IKE SAs", n)
		}
		p.west.must(whack.OpDown, "net07")
		if n := p.west.states(established); n != 19 {
			t.Errorf("%d tunnels after taking one down", n)
		}
	})
}

// R12.16: both ends start at the same time, and end with one pair.
func TestBothStart(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.wires[0].setCut(true)
		p.wires[1].setCut(true)
		p.west.start(setup + tunnel("net", "auto=start"))
		p.east.start(setup + tunnel("net", "auto=start"))
		p.wires[0].setCut(false)
		p.wires[1].setCut(false)
		until(t, "a tunnel", time.Minute, func() bool { return p.west.states(established) > 0 && p.east.states(established) > 0 })
		p.carries(t, "at once")
		time.Sleep(time.Minute)
		for _, g := range []*gateway{p.west, p.east} {
			if n, k := g.states(established), g.states("IKE SA established"); n != 1 || k != 1 {
				t.Errorf("%s holds %d pairs and %d IKE SAs\n%s", g.name, n, k, g.log)
			}
		}
		p.carries(t, "later")
	})
}

// The peer vanishes: traffic is held, and the tunnel comes back with it.
func TestPeerVanishes(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.west.start(setup + tunnel("net", "dpddelay=30", "dpdaction=restart", "auto=start"))
		p.east.start(setup + tunnel("net", "auto=add"))
		until(t, "a tunnel", time.Minute, func() bool { return p.west.states(established) == 1 })
		p.wires[1].setCut(true)
		until(t, "noticing", 10*time.Minute, func() bool { return p.west.eroute() == "%hold" })
		p.wires[1].setCut(false)
		until(t, "coming back", 10*time.Minute, func() bool { return p.west.states(established) == 1 })
		p.carries(t, "back")
	})
}

// A restarted daemon is back without anybody touching the other one.
func TestRestart(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.east.start(setup + tunnel("net", "auto=add"))
		p.west.start(setup + tunnel("net", "auto=start"))
		until(t, "a tunnel", time.Minute, func() bool { return p.west.states(established) == 1 })
		west := p.west
		west.stop()
		if p.east.states(established) != 0 {
			t.Error("east was not told")
		}
		if _, ok := west.machine.Device("ipsec0"); ok {
			t.Error("ipsec0 is still there")
		}
		if n := len(west.plane.SAs()); n != 0 {
			t.Errorf("%d SAs are still there", n)
		}
	})
}

// An orderly end is quick even if the peer does not answer (CTL-07).
func TestStopIsQuick(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.east.start(setup + tunnel("net", "auto=add"))
		p.west.start(setup + tunnel("net", "auto=start"))
		until(t, "a tunnel", time.Minute, func() bool { return p.west.states(established) == 1 })
		p.wires[1].setCut(true)
		began := time.Now()
		p.west.stop()
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

// What a daemon that died has left routed stays covered by its successor, also
// if nothing in the configuration says so.
// adversary.md CRS-03.
func TestAfterCrash(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		left := []host.Route{{Prefix: netip.MustParsePrefix("10.2.0.0/24"), Device: "ipsec0"}}
		if err := p.west.machine.SetRoutes(left, []string{"ipsec0"}); err != nil {
			t.Fatal(err)
		}
		p.west.start(setup + tunnel("net", "auto=add"))
		if got := p.west.eroute(); got != "%trap" {
			t.Errorf("the eroute is %s", got)
		}
	})
}

// Rekeying by hand, under traffic.
func TestRekey(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.west.start(setup + tunnel("net", "auto=add"))
		p.east.start(setup + tunnel("net", "auto=add"))
		p.west.must(whack.OpUp, "net")
		before := p.west.eroute()
		p.west.must(whack.OpRekey, "net")
		for i := range 50 {
			p.carries(t, fmt.Sprint("packet ", i))
			time.Sleep(20 * time.Millisecond)
		}
		if p.west.eroute() == before || p.west.states(established) != 1 {
			t.Errorf("eroute %s, was %s; %d pairs", p.west.eroute(), before, p.west.states(established))
		}
	})
}

// A day of lifetimes: rekeying of both kinds, no packet lost, nothing piles up.
// R4.7.
func TestLongRun(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		life := []string{"ikelifetime=1h", "keylife=20m", "rekeymargin=3m", "rekeyfuzz=50%"}
		p.east.start(setup + tunnel("net", append(life, "auto=add")...))
		p.west.start(setup + tunnel("net", append(life, "auto=start")...))
		until(t, "a tunnel", time.Minute, func() bool { return p.west.states(established) == 1 })
		for i := range 24 * 12 {
			time.Sleep(5 * time.Minute)
			p.carries(t, fmt.Sprint("packet ", i))
		}
		for _, g := range []*gateway{p.west, p.east} {
			if n, k, sas := g.states(established), g.states("IKE SA established"), len(g.plane.SAs()); n != 1 || k != 1 || sas != 2 {
				t.Errorf("%s holds %d pairs, %d IKE SAs, %d SAs", g.name, n, k, sas)
			}
		}
	})
}

// Reload: what did not change goes on, the rest follows.
// adversary.md CFG-06.
func TestReload(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		other := func(auto string) string { return tunnel("other", "rightsubnet=10.3.0.0/24", auto) }
		p.east.start(setup + tunnel("net", "auto=add") + other("auto=add"))
		p.west.start(setup + tunnel("net", "auto=start") + other("auto=start"))
		until(t, "two tunnels", time.Minute, func() bool { return p.west.states(established) == 2 })
		before := p.west.states("newest IPsec SA: #2")
		p.west.write(setup + tunnel("net", "auto=start") + tunnel("third", "rightsubnet=10.2.0.128/25", "auto=route"))
		if err := p.west.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p.west.states("newest IPsec SA: #2") != before || before != 1 {
			t.Error("the unchanged connection did not go on")
		}
		if p.west.states(`"other"`) != 0 {
			t.Errorf("what is gone from the file is still there:\n%s", strings.Join(p.west.must(whack.OpStatus, ""), "\n"))
		}
		p.west.write("version 2.0\nconfig setup\n\tinterfaces=\"broken\n")
		if err := p.west.Reload(t.Context()); err == nil {
			t.Error("a broken file was taken")
		}
		p.carries(t, "after reload")
	})
}

// Our address goes and comes back. With MOBIKE the SAs wait for it, without
// they end; either way nothing leaves meanwhile.
// adversary.md CRS-15.
func TestAddressChanges(t *testing.T) {
	for _, c := range []struct{ mobike, meanwhile string }{{"no", "%drop"}, {"yes", "tun0x1002@198.51.100.1"}} {
		inBubble(t, func(t *testing.T, p *pair) {
			p.west.start(setup + tunnel("net", "mobike="+c.mobike, "auto=start"))
			p.east.start(setup + tunnel("net", "auto=add"))
			until(t, "a tunnel", time.Minute, func() bool { return p.west.states(established) == 1 })
			links, defaults := p.west.machine.Links, p.west.machine.Defaults
			bare := slices.Clone(links)
			bare[0].Addrs = nil
			p.west.machine.Change(bare, [2]host.DefaultRoute{})
			time.Sleep(2 * time.Second)
			if got := p.west.eroute(); got != c.meanwhile {
				t.Errorf("mobike=%s: without our address the eroute is %s\n%s", c.mobike, got, p.west.log)
			}
			if routes, _ := p.west.machine.Routes(nil); len(routes) != 1 {
				t.Errorf("routes are %v", routes)
			}
			p.west.machine.Change(links, defaults)
			time.Sleep(2 * time.Second)
			if got := p.west.eroute(); got == "%drop" || got == "none" {
				t.Errorf("with our address back the eroute is %s\n%s", got, p.west.log)
			}
		})
	}
}

// R12.6.
func TestForwarding(t *testing.T) {
	for _, old := range []string{"0", "1"} {
		inBubble(t, func(t *testing.T, p *pair) {
			p.west.machine.SetSwitch(host.Forward4, old)
			p.west.start(setup + "\tforwardcontrol=yes\n")
			if v, _ := p.west.machine.Switch(host.Forward4); v != "1" {
				t.Errorf("forwarding is %s while running", v)
			}
			p.west.stop()
			if v, _ := p.west.machine.Switch(host.Forward4); v != old {
				t.Errorf("forwarding is %s afterwards, was %s", v, old)
			}
		})
	}
}

// R19.1 and R19.3.
func TestInterfaces(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.west.start("version 2.0\nconfig setup\n\tinterfaces=\n" + tunnel("net", "auto=add"))
		if !strings.Contains(p.west.log.String(), "no public interfaces found") {
			t.Errorf("log: %s", p.west.log)
		}
		if _, final := p.west.do(whack.OpUp, "net"); final.Code != 22 {
			t.Errorf("up without interfaces: %+v", final)
		}
	})
}

// R19.1, R19.7, R12.4: a device that is absent or has no address is waited for,
// and attached when it comes; a tunnel over another device notices nothing.
// adversary.md CRS-15, NET-12.
func TestInterfacesComeAndGo(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.west.start("version 2.0\nconfig setup\n\tinterfaces=\"ipsec0=eth0 ipsec1=eth1\"\n" + tunnel("net", "auto=add"))
		p.east.start(setup + tunnel("net", "auto=add"))
		p.west.must(whack.OpUp, "net")
		p.carries(t, "before")
		if n := strings.Count(p.west.log.String(), "there is no device eth1: waiting for it"); n != 1 {
			t.Errorf("eth1 is missed %d times:\n%s", n, p.west.log)
		}
		before := p.west.machine.Links
		change := func(addrs ...netip.Prefix) {
			links := append(slices.Clone(before), host.Interface{Name: "eth1", Index: 9, Up: true, MTU: 1500, Addrs: addrs})
			p.west.machine.Change(links, p.west.machine.Defaults)
			time.Sleep(time.Second)
		}
		change()
		if !strings.Contains(p.west.log.String(), "eth1 has no address: waiting for it") {
			t.Errorf("log: %s", p.west.log)
		}
		for _, a := range []string{"203.0.113.1/24", "203.0.113.7/24"} {
			want := netip.MustParsePrefix(a)
			change(want)
			if addrs, _ := p.west.machine.Device("ipsec1"); len(addrs) != 1 || addrs[0] != want.Addr() {
				t.Errorf("ipsec1 has %v, want %s\n%s", addrs, want, p.west.log)
			}
		}
		p.west.machine.Change(before, p.west.machine.Defaults)
		time.Sleep(time.Second)
		if !strings.Contains(p.west.log.String(), "shutting down interface ipsec1/eth1 203.0.113.7") {
			t.Errorf("log: %s", p.west.log)
		}
		p.carries(t, "after")
		if n := p.west.states("IPsec SA established"); n != 1 {
			t.Errorf("%d tunnels", n)
		}
	})
}

// R19.1 as it was: with interfaces-optional=no an absent device is an error.
func TestInterfaceMustBeThere(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		g := p.west
		g.write("version 2.0\nconfig setup\n\tinterfaces-optional=no\n\tinterfaces=ipsec0=eth9\n")
		d, err := New(Options{Plane: g.plane, Host: g.machine, Keys: ring{keys.New(keys.Options{}), g},
			Config: func(string) (*config.File, error) { return config.ParseText("ipsec.conf", g.conf), nil }})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "there is no device eth9") {
			t.Errorf("start with an absent device: %v", err)
		}
	})
}

// R12.17: with plutowait=yes one negotiation ends before the next begins; a
// peer that is dead delays the others, and no more than that.
func TestPlutoWait(t *testing.T) {
	for wait, want := range map[string][]int{"no": {1, 2}, "yes": {0, 2}} {
		inBubble(t, func(t *testing.T, p *pair) {
			conns := tunnel("dead", "auto=start", "right=198.51.100.99", "rightid=@nobody", "keyingtries=1", "rightsubnet=10.9.0.0/24") +
				tunnel("net", "auto=start") + tunnel("net2", "auto=start", "rightsubnet=10.3.0.0/24")
			p.west.secrets += "@west @nobody : PSK \"another secret of two, long enough to be one\"\n"
			p.east.start(setup + tunnel("net", "auto=add") + tunnel("net2", "auto=add", "rightsubnet=10.3.0.0/24"))
			p.west.start(setup + "\tplutowait=" + wait + "\n" + conns)
			time.Sleep(5 * time.Second)
			if n := p.west.states("IPsec SA established"); n < want[0] || wait == "yes" && n != 0 {
				t.Errorf("plutowait=%s: %d tunnels after 5 s, want at least %d", wait, n, want[0])
			}
			until(t, "the others", 10*time.Minute, func() bool { return p.west.states("IPsec SA established") == want[1] })
		})
	}
}

// R13.9, R18.6: forwarding is open, and the peer's address answered for, while
// the connection is up; what is protected may neither come nor go in the clear.
func TestFilterAndProxy(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		filter := &firewall.Fake{}
		p.west.filter = filter
		lan := host.Interface{Name: "eth1", Index: 3, Up: true, MTU: 1500, Addrs: []netip.Prefix{netip.MustParsePrefix("10.2.0.1/16")}}
		p.west.machine.Links = append(p.west.machine.Links, lan)
		conn := tunnel("net", "auto=route", "leftfirewall=yes", "leftproxyarp=yes", "rightsubnet=10.2.0.77/32")
		p.east.start(setup + tunnel("net", "auto=add", "rightsubnet=10.2.0.77/32"))
		p.west.start(setup + conn)
		guard := firewall.Policy{Drop: true, Selector: ipsec.Selector{Src: netip.MustParsePrefix("10.1.0.0/24"), Dst: netip.MustParsePrefix("10.2.0.77/32")}}
		check := func(when string, up bool) {
			t.Helper()
			time.Sleep(time.Second)
			s := filter.State()
			if open := slices.Contains(s.Forward, firewall.Pair{Device: "ipsec0", Local: guard.Src, Remote: guard.Dst}); open != up {
				t.Errorf("%s: forwarding open: %v", when, open)
			}
			proxies := p.west.machine.Proxies()
			if answered := slices.Contains(proxies, host.Proxy{Device: "eth1", Addr: guard.Dst.Addr()}); answered != up || len(proxies) > 1 {
				t.Errorf("%s: answers for %v", when, proxies)
			}
			out := guard
			out.Device = "eth0"
			if !slices.Contains(s.Inbound, guard) || !slices.Contains(s.Outbound, out) {
				t.Errorf("%s: inbound %v outbound %v", when, s.Inbound, s.Outbound)
			}
		}
		check("routed", false)
		p.west.must(whack.OpUp, "net")
		check("up", true)
		p.west.must(whack.OpDown, "net")
		check("down", false)
		p.west.must(whack.OpUp, "net")
		p.west.stop()
		if s := filter.State(); len(s.Forward)+len(s.Inbound)+len(s.Outbound) > 0 || len(p.west.machine.Proxies()) > 0 {
			t.Errorf("left behind: %+v, %v", s, p.west.machine.Proxies())
		}
		p.west.start("version 2.0\nconfig setup\n\tinbound-clear=allow\n\tinterfaces=ipsec0=eth0\n" + conn)
		time.Sleep(time.Second)
		if s := filter.State(); len(s.Inbound) != 0 || len(s.Outbound) == 0 {
			t.Errorf("inbound-clear=allow: %+v", s)
		}
	})
}

// R3.2, R3.10: a road warrior is an instance of a template, and goes with its
// tunnel.
func TestRoadWarrior(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.east.start(setup + "conn road\n\tauthby=secret\n\tleft=198.51.100.1\n\tleftid=@east\n\tleftsubnet=10.2.0.0/24\n\tright=%any\n\trightid=@west\n\tauto=add\n")
		p.west.start(setup + "conn home\n\tauthby=secret\n\tleft=%defaultroute\n\tleftid=@west\n\tright=198.51.100.1\n\trightid=@east\n\trightsubnet=10.2.0.0/24\n\tauto=start\n")
		until(t, "a tunnel", time.Minute, func() bool { return p.west.states(established) == 1 })
		if p.east.states(`"road"[1] 192.0.2.1`, established) != 1 || p.east.states(`"road"[1]: 10.2.0.0/24===198.51.100.1[@east]...192.0.2.1[@west]; erouted`) != 1 {
			t.Errorf("status of east:\n%s", strings.Join(p.east.must(whack.OpStatus, ""), "\n"))
		}
		if routes, _ := p.east.machine.Routes(nil); len(routes) != 1 || routes[0].Prefix.String() != "192.0.2.1/32" {
			t.Errorf("routes of east: %v", routes)
		}
		p.west.send(westAddr, sunrise, "from the road")
		if got := p.east.got(); !slices.Equal(got, []string{"from the road"}) {
			t.Errorf("east got %q", got)
		}
		p.west.stop()
		time.Sleep(4 * time.Second)
		if routes, _ := p.east.machine.Routes(nil); len(routes) != 1 || p.east.states(`"road"[1]`) != 0 {
			t.Errorf("answers would leave in the clear: %v", routes)
		}
		time.Sleep(2 * time.Second)
		if routes, _ := p.east.machine.Routes(nil); len(routes) != 0 {
			t.Errorf("the instance is still there: %v", routes)
		}
	})
}

// dpdaction= for a road warrior that vanishes: its instance is cleared.
func TestRoadWarriorVanishes(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.east.start(setup + "conn road\n\tauthby=secret\n\tleft=198.51.100.1\n\tleftid=@east\n\tleftsubnet=10.2.0.0/24\n\tright=%any\n\trightid=@west\n\tauto=add\n")
		p.west.start(setup + "conn home\n\tauthby=secret\n\tleft=%defaultroute\n\tleftid=@west\n\tright=198.51.100.1\n\trightid=@east\n\trightsubnet=10.2.0.0/24\n\tauto=start\n")
		until(t, "a tunnel", time.Minute, func() bool { return p.west.states(established) == 1 })
		p.wires[0].setCut(true)
		until(t, "clearing", 10*time.Minute, func() bool { return p.east.states(`"road"[1]`) == 0 })
		if n := len(p.east.plane.SAs()); n != 0 {
			t.Errorf("%d SAs are left", n)
		}
	})
}
