package pluto

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/firewall"
	"cygnet/internal/host"
	"cygnet/internal/ipsec"
	"cygnet/internal/rawkey"
	"cygnet/internal/underlay"
	"cygnet/internal/whack"
)

const (
	authKey = "0x8d1f22c1_5570b3ac_93d4e617_01b8f24e_7c3a9d05"
	encKey  = "0x8d1f22c1_5570b3ac_93d4e617_01b8f24e"
)

// byHandConn is a connection with manual keys; lines change it.
func byHandConn(name string, lines ...string) string {
	return tunnel(name, append([]string{"spi=0x200", "esp=aes128-sha1-96", "espenckey=" + encKey, "espauthkey=" + authKey}, lines...)...)
}

// ask asks for an operation with all its arguments.
func (g *gateway) ask(op whack.Op, a whack.Args) ([]string, whack.Reply) {
	var out []string
	final := g.Do(context.Background(), whack.Request{Op: op, Args: a}, func(r whack.Reply) { out = append(out, r.Text) })
	return out, final
}

// refused asks for what must fail with that exit code and text.
func (g *gateway) refused(op whack.Op, a whack.Args, exit whack.Exit, want string) {
	g.t.Helper()
	if _, final := g.ask(op, a); final.Exit != exit || !strings.Contains(final.Text, want) {
		g.t.Errorf("%s %+v: exit %d, %q; want %d, %q", op, a, final.Exit, final.Text, exit, want)
	}
}

// done asks for what must succeed.
func (g *gateway) did(op whack.Op, a whack.Args) {
	g.t.Helper()
	if _, final := g.ask(op, a); final.Exit != whack.ExitDone {
		g.t.Fatalf("%s: exit %d, %q", op, final.Exit, final.Text)
	}
}

func (g *gateway) routes() string {
	list, err := g.machine.Routes([]string{"ipsec0"})
	if err != nil {
		g.t.Fatal(err)
	}
	return fmt.Sprint(list)
}

// R4.1 to R4.3, R4.10, R10.12, R12.11, R17: connections by hand without IKE.
func TestManualWithoutIKE(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.west.noIKE, p.east.noIKE = true, true
		p.west.start(setup + byHandConn("hand") + tunnel("auto"))
		p.east.start(setup + byHandConn("hand"))
		p.west.refused(whack.OpUp, whack.Args{Name: "auto"}, whack.ExitNotRunning, "pluto=no")
		p.west.refused(whack.OpManualUp, whack.Args{Name: "auto"}, whack.ExitConfig, "needs spi or spibase")
		p.west.refused(whack.OpManualUp, whack.Args{Name: "nobody"}, whack.ExitNoConn, `no connection "nobody"`)

		out, final := p.west.ask(whack.OpManualUp, whack.Args{Name: "hand"})
		if final.Exit != whack.ExitDone || len(out) != 1 || !strings.Contains(out[0], `connection "hand" has static keys`) {
			t.Errorf("%q, %+v", out, final)
		}
		p.east.must(whack.OpManualUp, "hand")
		p.carries(t, "by hand")
		if got := p.west.eroute(); got != "tun0x200@198.51.100.1" {
			t.Errorf("eroute %s", got)
		}
		p.west.refused(whack.OpManualUp, whack.Args{Name: "hand"}, whack.ExitFailed, "already up")
		p.west.refused(whack.OpManualUnroute, whack.Args{Name: "hand"}, whack.ExitFailed, "route busy")
		p.carries(t, "still")

		routes := p.west.routes()
		if !strings.Contains(routes, "10.2.0.0/24") {
			t.Errorf("routes %s", routes)
		}
		p.west.must(whack.OpManualDown, "hand")
		p.west.send(sunset, sunrise, "lost")
		if got := p.east.got(); len(got) > 0 {
			t.Errorf("down, east got %q", got)
		}
		if p.west.eroute() != "%drop" || p.west.routes() != routes {
			t.Errorf("down: eroute %s, routes %s", p.west.eroute(), p.west.routes())
		}
		if sas := p.west.must(whack.OpSAs, ""); len(sas) > 0 {
			t.Errorf("down: %q", sas)
		}
		// Other keys on both ends, over the standing route.
		p.east.must(whack.OpManualDown, "hand")
		for _, g := range []*gateway{p.west, p.east} {
			g.write(setup + byHandConn("hand", "espenckey=0x00112233_44556677_8899aabb_ccddeeff"))
			g.must(whack.OpManualUp, "hand")
		}
		p.carries(t, "new keys")
		if p.wires[0].ike+p.wires[1].ike > 0 {
			t.Errorf("%d messages of IKE were sent", p.wires[0].ike+p.wires[1].ike)
		}
		p.west.must(whack.OpManualDown, "hand")
		p.west.must(whack.OpManualUnroute, "hand")
		if p.west.eroute() != "none" || strings.Contains(p.west.routes(), "10.2.0.0/24") {
			t.Errorf("unrouted: eroute %s, routes %s", p.west.eroute(), p.west.routes())
		}
	})
}

// R12.10: manualstart= and auto=manual, also beside IKE; what fails keeps
// nothing else from starting.
func TestManualStart(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		conf := strings.Replace(setup, "interfaces", "manualstart=\"hand nobody\"\n\tinterfaces", 1) +
			byHandConn("hand") + byHandConn("second", "rightsubnet=10.3.0.0/24", "spi=0x201", "auto=manual") +
			byHandConn("clash", "rightsubnet=10.4.0.0/24", "auto=manual") + tunnel("auto", "leftsubnet=10.9.0.0/24", "auto=add")
		p.west.start(conf)
		p.east.start(conf)
		p.carries(t, "from the start")
		list := strings.Join(p.west.must(whack.OpEroutes, ""), "\n")
		if !strings.Contains(list, "10.3.0.0/24        => tun0x201@") || strings.Contains(list, "10.4.0.0/24") {
			t.Errorf("eroutes\n%s", list)
		}
		log := p.west.log.String()
		for _, want := range []string{`...could not start conn "nobody": there is no connection "nobody"`, `...could not start conn "clash": ipsec.conf:37: spi: "clash": tun0x200@198.51.100.1: SA already in use.`} {
			if !strings.Contains(log, want) {
				t.Errorf("the log lacks %q:\n%s", want, log)
			}
		}
		p.west.must(whack.OpUp, "auto") // R4.1: IKE beside it
		p.carries(t, "beside IKE")
	})
}

// A selector belongs to one: by hand or by IKE.
func TestManualAndIKE(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		conf := setup + byHandConn("hand") + tunnel("auto", "auto=add")
		p.west.start(conf)
		p.east.start(conf)
		p.west.must(whack.OpUp, "auto")
		p.west.refused(whack.OpManualUp, whack.Args{Name: "hand"}, whack.ExitFailed, `eroute already in use.  Delete old one first.  It is connection "auto"'s.`)
		p.carries(t, "IKE's")
		p.west.must(whack.OpDelete, "auto")
		p.east.must(whack.OpDelete, "auto")
		p.west.must(whack.OpManualUp, "hand")
		p.east.must(whack.OpManualUp, "hand")
		p.carries(t, "by hand")
		p.west.must(whack.OpAdd, "auto")
		p.west.must(whack.OpRoute, "auto")
		if got := p.west.eroute(); got != "tun0x200@198.51.100.1" {
			t.Errorf("eroute %s", got)
		}
		if !strings.Contains(p.west.log.String(), `"auto": eroute 10.1.0.0/24 -> 10.2.0.0/24 was made by hand and stays`) {
			t.Errorf("log\n%s", p.west.log)
		}
		p.carries(t, "still by hand")
	})
}

// An SA and an eroute by single commands, as `manual --showonly` prints them.
func TestSingleCommands(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.west.noIKE, p.east.noIKE = true, true
		nothing := setup
		p.west.start(nothing)
		p.east.start(nothing)
		for i, g := range []*gateway{p.west, p.east} {
			me, you := westAddr, eastAddr
			mine, yours := netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("10.2.0.0/24")
			if i == 1 {
				me, you, mine, yours = you, me, yours, mine
			}
			for _, dir := range [][2]netip.Addr{{me, you}, {you, me}} {
				src, dst := dir[0], dir[1]
				tun, esp := fmt.Sprintf("tun0x200@%s", dst), fmt.Sprintf("esp0x200@%s", dst)
				g.did(whack.OpAddSA, whack.Args{SA: &whack.SASpec{Said: tun, Src: src}})
				g.did(whack.OpAddSA, whack.Args{SA: &whack.SASpec{Said: esp, Src: src, ESP: "aes-sha1", Encr: key(t, encKey), Auth: key(t, authKey)}})
				g.did(whack.OpGroup, whack.Args{SAIDs: []string{tun, esp}})
			}
			g.did(whack.OpErouteAdd, whack.Args{Eroute: &whack.ErouteSpec{Src: mine, Dst: yours, Said: fmt.Sprintf("tun0x200@%s", you)}})
			g.did(whack.OpErouteAddIn, whack.Args{Eroute: &whack.ErouteSpec{Src: yours, Dst: mine, Said: fmt.Sprintf("tun0x200@%s", me)}})
		}
		p.carries(t, "single commands")
		// --addin holds: an address from elsewhere does not get in.
		p.east.did(whack.OpErouteAdd, whack.Args{Eroute: &whack.ErouteSpec{Src: netip.MustParsePrefix("10.77.0.0/24"), Dst: netip.MustParsePrefix("10.1.0.0/24"), Said: "tun0x200@192.0.2.1"}})
		p.east.send(netip.MustParseAddr("10.77.0.1"), sunset, "forged")
		if got := p.west.got(); len(got) > 0 {
			t.Errorf("west got %q", got)
		}
		g := p.west
		g.refused(whack.OpAddSA, whack.Args{SA: &whack.SASpec{Said: "esp0x200@198.51.100.1", Src: westAddr, ESP: "aes-sha1", Encr: key(t, encKey), Auth: key(t, authKey)}}, whack.ExitFailed, "SA already in use.  Delete old one first.")
		g.refused(whack.OpAddSA, whack.Args{SA: &whack.SASpec{Said: "esp0x80@198.51.100.1", Src: westAddr, ESP: "aes-sha1", Encr: key(t, encKey), Auth: key(t, authKey)}}, whack.ExitFailed, "reserved")
		g.refused(whack.OpAddSA, whack.Args{SA: &whack.SASpec{Said: "esp0x300@198.51.100.1", Src: westAddr, ESP: "aes-sha1", Encr: key(t, encKey), Auth: key(t, encKey)}}, whack.ExitFailed, "key of 128 bits, but hmac_sha1_96 needs 160")
		g.refused(whack.OpGroup, whack.Args{SAIDs: []string{"tun0x200@198.51.100.1", "esp0x200@198.51.100.1"}}, whack.ExitFailed, "already grouped")
		g.refused(whack.OpDelSA, whack.Args{SAIDs: []string{"ah0x200@198.51.100.1"}}, whack.ExitFailed, "SA not found")
		g.refused(whack.OpErouteDel, whack.Args{Eroute: &whack.ErouteSpec{Src: netip.MustParsePrefix("10.5.0.0/24"), Dst: netip.MustParsePrefix("10.2.0.0/24")}}, whack.ExitFailed, "eroute doesn't exist.  Can't delete.")
		if got := strings.Join(g.must(whack.OpGroups, ""), "\n"); got != "000 tun0x200@192.0.2.1 esp0x200@192.0.2.1 \n000 tun0x200@198.51.100.1 esp0x200@198.51.100.1 " {
			t.Errorf("spigrp\n%s", got)
		}
		g.did(whack.OpDelSA, whack.Args{SAIDs: []string{"esp0x200@198.51.100.1"}})
		g.send(sunset, sunrise, "without an SA")
		if got := p.east.got(); len(got) > 0 {
			t.Errorf("east got %q", got)
		}
		g.did(whack.OpErouteClear, whack.Args{})
		g.did(whack.OpClearSAs, whack.Args{})
		if len(g.must(whack.OpSAs, ""))+len(g.must(whack.OpEroutes, "")) > 0 {
			t.Error("something is left")
		}
	})
}

func key(t *testing.T, text string) whack.Key {
	t.Helper()
	b, err := rawkey.Data(text)
	if err != nil {
		t.Fatal(err)
	}
	return whack.Key{Secret: ipsec.NewSecret(b)}
}

// An SA of IKE's is not deleted behind its back.
func TestIKEsSAs(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.west.start(setup + tunnel("auto", "auto=add"))
		p.east.start(setup + tunnel("auto", "auto=add"))
		p.west.must(whack.OpUp, "auto")
		var sas whack.SAs
		_, final := p.west.ask(whack.OpSAs, whack.Args{})
		if err := json.Unmarshal(final.JSON, &sas); err != nil {
			t.Fatal(err)
		}
		for _, sa := range sas.SAs {
			if strings.HasPrefix(sa.Said, "esp") {
				p.west.refused(whack.OpDelSA, whack.Args{SAIDs: []string{sa.Said}}, whack.ExitFailed, `negotiated for connection "auto"`)
			}
		}
		p.west.did(whack.OpClearSAs, whack.Args{})
		p.west.did(whack.OpErouteClear, whack.Args{})
		p.carries(t, "after --clear")
	})
}

// A hard limit ends an SA by hand; what it protected is dropped.
func TestLifeByHand(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.west.noIKE = true
		p.west.start(setup)
		p.west.did(whack.OpAddSA, whack.Args{SA: &whack.SASpec{Said: "esp0x200@198.51.100.1", Src: westAddr, ESP: "aes-sha1", Encr: key(t, encKey), Auth: key(t, authKey), Life: "soft-packets=1,hard-packets=2"}})
		p.west.did(whack.OpErouteAdd, whack.Args{Eroute: &whack.ErouteSpec{Src: netip.MustParsePrefix("192.0.2.1/32"), Dst: netip.MustParsePrefix("198.51.100.1/32"), Said: "esp0x200@198.51.100.1"}})
		for range 4 {
			p.west.send(westAddr, eastAddr, "counted")
		}
		until(t, "the SA is gone", time.Minute, func() bool { return len(p.west.must(whack.OpSAs, "")) == 0 })
		if got := p.west.eroute(); got != "esp0x200@198.51.100.1" {
			t.Errorf("eroute %s", got)
		}
		log := p.west.log.String()
		if !strings.Contains(log, "nears the end of its life") || !strings.Contains(log, "has come to the end of its life") {
			t.Errorf("log\n%s", log)
		}
	})
}

// tncfg: what is attached and detached by hand stays so.
func TestDevicesByHand(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		g := p.west
		g.noIKE = true
		g.machine.Links = append(g.machine.Links, host.Interface{Name: "eth1", Index: 3, Up: true, MTU: 1500, Addrs: []netip.Prefix{netip.MustParsePrefix("203.0.113.1/24")}})
		g.start(setup + byHandConn("hand"))
		if got := g.must(whack.OpDevices, ""); len(got) != 4 || !strings.HasPrefix(got[0], "000 ipsec0 -> eth0 mtu=") || got[1] != "000 ipsec1 -> NULL mtu=0(0) -> 0" {
			t.Errorf("%q", got)
		}
		g.refused(whack.OpAttach, whack.Args{Virtual: "ipsec0", Physical: "eth1"}, whack.ExitFailed, "Virtual device is already attached to eth0.  Use detach first.")
		g.refused(whack.OpAttach, whack.Args{Virtual: "ipsec1", Physical: "eth0"}, whack.ExitFailed, "eth0 is attached to ipsec0 already")
		g.refused(whack.OpAttach, whack.Args{Virtual: "ipsec1", Physical: "eth9"}, whack.ExitFailed, "there is no device eth9")
		g.refused(whack.OpAttach, whack.Args{Virtual: "tun7", Physical: "eth1"}, whack.ExitFailed, "is not ipsec0")
		g.refused(whack.OpDetach, whack.Args{Virtual: "ipsec1"}, whack.ExitFailed, "not attached")
		g.did(whack.OpAttach, whack.Args{Virtual: "ipsec1", Physical: "eth1:1"})
		g.did(whack.OpDetach, whack.Args{Virtual: "ipsec0"})
		g.refused(whack.OpManualUp, whack.Args{Name: "hand"}, whack.ExitFailed, "cannot find interface for 192.0.2.1 or 198.51.100.1")
		g.machine.Change(g.machine.Links, g.machine.Defaults)
		time.Sleep(time.Minute) // a change of interfaces undoes neither
		got := g.must(whack.OpDevices, "")
		if got[0] != "000 ipsec0 -> NULL mtu=0(0) -> 0" || !strings.HasPrefix(got[1], "000 ipsec1 -> eth1 mtu=") {
			t.Errorf("%q", got)
		}
		g.did(whack.OpDetachAll, whack.Args{})
		g.did(whack.OpAttach, whack.Args{Virtual: "ipsec0", Physical: "eth0"})
		g.must(whack.OpManualUp, "hand")
	})
}

// R12.8.
func TestKlipsDebug(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		g := p.west
		g.noIKE = true
		g.start(strings.Replace(setup, "interfaces", "klipsdebug=\"eroute\"\n\tinterfaces", 1) + byHandConn("hand"))
		on := func() string {
			var k whack.KlipsFlags
			_, final := g.ask(whack.OpKlipsFlags, whack.Args{})
			if err := json.Unmarshal(final.JSON, &k); err != nil {
				t.Fatal(err)
			}
			return strings.Join(k.On, " ")
		}
		if on() != "eroute" {
			t.Errorf("klipsdebug= gives %q", on())
		}
		g.did(whack.OpKlipsDebug, whack.Args{Debug: []string{"+rcv"}})
		g.refused(whack.OpKlipsDebug, whack.Args{Debug: []string{"+fish"}}, whack.ExitFailed, `unknown flag "fish"`)
		if on() != "eroute rcv" {
			t.Errorf("on: %q", on())
		}
		g.must(whack.OpManualUp, "hand")
		g.must(whack.OpManualDown, "hand")
		g.send(sunset, sunrise, "dropped")
		time.Sleep(3 * time.Second)
		log := g.log.String()
		for _, want := range []string{"klips_debug:eroute: 10.1.0.0/24 -> 10.2.0.0/24 => tun0x200@198.51.100.1 is set",
			"klips_debug:eroute: 10.1.0.0/24 -> 10.2.0.0/24 => tun0x200@198.51.100.1 is no more", "1 packets dropped"} {
			if !strings.Contains(log, want) {
				t.Errorf("the log lacks %q:\n%s", want, log)
			}
		}
		g.did(whack.OpKlipsDebug, whack.Args{Debug: []string{"all"}})
		if on() != strings.Join(slices.DeleteFunc(slices.Clone(whack.KlipsClasses), func(c string) bool { return c == "verbose" }), " ") {
			t.Errorf("all: %q", on())
		}
		g.did(whack.OpKlipsDebug, whack.Args{Debug: []string{"none"}})
		if on() != "" {
			t.Errorf("none: %q", on())
		}
	})
}

// A connection that was routed by hand when the daemon died stays so.
func TestRoutedByHandBeforeCrash(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		g := p.west
		g.noIKE = true
		g.start(setup + byHandConn("hand"))
		g.must(whack.OpManualUp, "hand")
		left, err := g.machine.Routes([]string{"ipsec0"})
		if err != nil || len(left) == 0 {
			t.Fatal(left, err)
		}
		g.stop()
		if err := g.machine.SetRoutes(left, []string{"ipsec0"}); err != nil { // as a crash leaves them
			t.Fatal(err)
		}
		g.start(setup + byHandConn("hand"))
		if g.eroute() != "%drop" || !strings.Contains(g.routes(), "10.2.0.0/24") {
			t.Errorf("eroute %s, routes %s", g.eroute(), g.routes())
		}
		g.must(whack.OpManualUp, "hand")
	})
}

// R10.2: static keys stay as they are, for as long as nobody changes them.
func TestKeysStay(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.west.noIKE, p.east.noIKE = true, true
		for _, g := range []*gateway{p.west, p.east} {
			g.start(setup + byHandConn("hand", "auto=manual"))
		}
		p.carries(t, "at first")
		time.Sleep(25 * time.Hour)
		p.carries(t, "a day later")
		if lines := strings.Join(p.west.must(whack.OpSAs, ""), "\n"); !strings.Contains(lines, "esp0x200@198.51.100.1") || !strings.Contains(lines, "addtime(90000,0,0)") {
			t.Errorf("SAs\n%s", lines)
		}
		p.west.plane.mu.Lock()
		defer p.west.plane.mu.Unlock()
		for _, sa := range p.west.plane.made {
			if sa.Life != (ipsec.Lifetime{}) {
				t.Errorf("%s has a lifetime: %+v", sa.ID, sa.Life)
			}
		}
		if n := len(p.west.plane.made); n != 4 { // ESP and IP-in-IP, both ways
			t.Errorf("%d SAs were made in a day, not 4", n)
		}
	})
}

// leftfirewall= opens for a connection by hand while it is up, as it does for
// IKE's.
func TestFirewallByHand(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		filter := &firewall.Fake{}
		p.west.noIKE, p.west.filter = true, filter
		p.west.start(setup + byHandConn("hand", "leftfirewall=yes"))
		open := func() string {
			time.Sleep(time.Second)
			return fmt.Sprint(filter.State().Forward)
		}
		if got := open(); got != "[]" {
			t.Errorf("before: %s", got)
		}
		p.west.must(whack.OpManualUp, "hand")
		if got := open(); got != "[{ipsec0 10.1.0.0/24 10.2.0.0/24}]" {
			t.Errorf("up: %s", got)
		}
		p.west.must(whack.OpManualDown, "hand")
		if got := open(); got != "[]" {
			t.Errorf("down: %s", got)
		}
	})
}

// The connection's own script is called with the verbs, and takes it down when
// it fails.
func TestScriptByHand(t *testing.T) {
	for _, fails := range []string{"", "up"} {
		t.Run("fails at "+fails, func(t *testing.T) {
			dir := t.TempDir()
			script := filepath.Join(dir, "updown")
			text := fmt.Sprintf("#!/bin/sh\necho $PLUTO_VERB $PLUTO_CONNECTION $PLUTO_PEER_CLIENT >>%s/calls\n[ ${PLUTO_VERB%%%%-*} != \"%s\" ]\n", dir, fails)
			if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
			wa, _ := underlay.NewPair([]netip.Addr{westAddr}, []netip.Addr{eastAddr})
			g := newGateway(t, "west", westAddr, wa)
			g.noIKE = true
			g.start(setup + byHandConn("hand", "leftupdown="+script))
			defer g.plane.Close()
			defer g.stop()
			g.must(whack.OpManualUp, "hand")
			calls := func() string {
				b, err := os.ReadFile(filepath.Join(dir, "calls"))
				if err != nil {
					return ""
				}
				return string(b)
			}
			deadline := time.Now().Add(20 * time.Second)
			for strings.Count(calls(), "\n") < 3 && time.Now().Before(deadline) {
				time.Sleep(20 * time.Millisecond)
			}
			const three = "prepare-client hand 10.2.0.0/24\nroute-client hand 10.2.0.0/24\nup-client hand 10.2.0.0/24\n"
			if !strings.HasPrefix(calls(), three) {
				t.Fatalf("calls\n%s", calls())
			}
			if fails == "" {
				if g.eroute() != "tun0x200@198.51.100.1" {
					t.Errorf("eroute %s", g.eroute())
				}
				return
			}
			for g.eroute() != "%drop" && time.Now().Before(deadline) {
				time.Sleep(20 * time.Millisecond)
			}
			if g.eroute() != "%drop" || !strings.Contains(g.log.String(), `"hand": taken down because its script failed`) {
				t.Errorf("eroute %s, log\n%s", g.eroute(), g.log)
			}
		})
	}
}

// A reload brings up what has come to say auto=manual, with pluto and without;
// what was taken down by hand stays down.
func TestReloadManual(t *testing.T) {
	for _, noIKE := range []bool{true, false} {
		inBubble(t, func(t *testing.T, p *pair) {
			p.west.noIKE, p.east.noIKE = noIKE, noIKE
			hand, second := byHandConn("hand", "auto=manual"), byHandConn("second", "auto=manual", "spi=0x201", "rightsubnet=10.3.0.0/24")
			p.east.start(setup + hand)
			p.west.start(setup)
			reload := func(conf string) {
				t.Helper()
				p.west.write(conf)
				if err := p.west.Reload(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			reload(setup + hand)
			p.carries(t, "after the reload")
			p.west.did(whack.OpManualDown, whack.Args{Name: "hand"})
			reload(setup + hand + second)
			lines := strings.Join(p.west.must(whack.OpSAs, ""), "\n")
			if strings.Contains(lines, "esp0x200@198.51.100.1") || !strings.Contains(lines, "esp0x201@198.51.100.1") {
				t.Errorf("without IKE %v:\n%s\n%s", noIKE, lines, p.west.log)
			}
		})
	}
}
