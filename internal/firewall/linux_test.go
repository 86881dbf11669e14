package firewall

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"cygnet/internal/ipsec"
	"cygnet/internal/lab"
	"cygnet/internal/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// world is a gateway gw between its own net (near), a tunnel to another (far)
// and the Internet (wan). The tunnel is a plain wire by the name of a tunnel
// device: the filter knows devices by their names.
//
//	near 10.1.0.5 -- eth1 gw ipsec0 -- far 10.2.0.5
//	                      gw eth0   -- wan 192.0.2.9
type world struct {
	t                  *testing.T
	near, gw, far, wan *lab.Host
	fw                 *Linux
}

var (
	near4, near6 = netip.MustParseAddr("10.1.0.5"), netip.MustParseAddr("fd01::5")
	far4, far6   = netip.MustParseAddr("10.2.0.5"), netip.MustParseAddr("fd02::5")
	wan4         = netip.MustParseAddr("192.0.2.9")
	gw4          = netip.MustParseAddr("192.0.2.1")
	pair4        = Pair{"ipsec0", prefix("10.1.0.0/24"), prefix("10.2.0.0/24")}
	pair6        = Pair{"ipsec0", prefix("fd01::/64"), prefix("fd02::/64")}
	devices      = []string{"ipsec0"}
)

func build(t *testing.T) *world {
	t.Helper()
	l := labtest.New(t, "fw")
	w := &world{t: t}
	for _, h := range []struct {
		at   **lab.Host
		name string
	}{{&w.near, "near"}, {&w.gw, "gw"}, {&w.far, "far"}, {&w.wan, "wan"}} {
		var err error
		*h.at, err = l.AddHost(h.name)
		w.check(err)
	}
	link := func(a *lab.Host, aDev, aNet string, b *lab.Host, bDev, bNet string) {
		t.Helper()
		ports := func(h *lab.Host, dev, nets string) lab.Port {
			p := lab.Port{Host: h, Dev: dev}
			for _, n := range strings.Fields(nets) {
				p.Addrs = append(p.Addrs, prefix(n))
			}
			return p
		}
		w.check(l.Link(ports(a, aDev, aNet), ports(b, bDev, bNet)))
	}
	link(w.near, "eth0", "10.1.0.5/24 fd01::5/64", w.gw, "eth1", "10.1.0.1/24 fd01::1/64")
	link(w.gw, "ipsec0", "10.2.0.1/24 fd02::1/64", w.far, "eth0", "10.2.0.5/24 fd02::5/64")
	link(w.gw, "eth0", "192.0.2.1/24", w.wan, "eth0", "192.0.2.9/24 10.2.0.9/32")
	w.check(w.gw.Forward())
	for _, r := range []struct {
		h   *lab.Host
		via string
		v6  string
	}{{w.near, "10.1.0.1", "fd01::1"}, {w.far, "10.2.0.1", "fd02::1"}} {
		w.check(r.h.AddRoute(prefix("0.0.0.0/0"), netip.MustParseAddr(r.via)))
		w.check(r.h.AddRoute(prefix("::/0"), netip.MustParseAddr(r.v6)))
	}
	w.check(w.wan.AddRoute(prefix("10.1.0.0/24"), gw4))
	w.warmUp()
	w.fw = w.open(Options{})
	return w
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// open opens the filter of the gateway, as another process would.
func (w *world) open(o Options) *Linux {
	w.t.Helper()
	ns, err := netns.GetFromName(w.gw.Netns)
	w.check(err)
	o.NetNS = int(ns)
	fw, err := New(o)
	w.check(err)
	w.t.Cleanup(func() { fw.Close(); ns.Close() })
	return fw
}

// run runs a program on the gateway.
func (w *world) run(name string, args ...string) string {
	w.t.Helper()
	_, err := exec.LookPath(name)
	labtest.Need(w.t, err == nil, name+" (apt-get install nftables iptables)")
	r, err := w.gw.Run(w.t.Context(), nil, name, args...)
	if err != nil || r.Exit != 0 {
		w.t.Fatalf("%s %s: %v %d\n%s", name, strings.Join(args, " "), err, r.Exit, r.Output())
	}
	return r.Stdout
}

// ruleset is the whole ruleset, without what packets have done to it.
func (w *world) ruleset() string { return w.run("nft", "-s", "list", "ruleset") }

// datagram sends UDP from one host to another and returns the source that
// arrived, or false if nothing did.
func (w *world) datagram(from *lab.Host, src netip.AddrPort, to *lab.Host, dst netip.AddrPort) (netip.Addr, bool) {
	w.t.Helper()
	listener := w.listen(to, dst)
	defer listener.Close()
	sender := w.listen(from, src)
	defer sender.Close()
	var seen netip.Addr
	ok := arrives(func() {
		if _, err := sender.WriteToUDPAddrPort([]byte("probe"), dst); err != nil && !errors.Is(err, syscall.EPERM) {
			w.t.Error(err)
		}
	}, func(deadline time.Time) error {
		listener.SetReadDeadline(deadline)
		_, a, err := listener.ReadFromUDPAddrPort(make([]byte, 100))
		seen = a.Addr().Unmap()
		return err
	})
	return seen, ok
}

// arrives sends twice and tells whether receive gets it.
func arrives(send func(), receive func(deadline time.Time) error) bool {
	for range 2 {
		send()
		if receive(time.Now().Add(100*time.Millisecond)) == nil {
			return true
		}
	}
	return false
}

// warmUp has everybody learn the link addresses of their neighbours, which on
// a busy machine takes longer than a test should wait for nothing to come.
func (w *world) warmUp() {
	w.t.Helper()
	for _, p := range []struct {
		from *lab.Host
		to   string
	}{
		{w.near, "10.1.0.1"}, {w.near, "fd01::1"}, {w.far, "10.2.0.1"}, {w.far, "fd02::1"}, {w.wan, "192.0.2.1"},
		{w.gw, "10.1.0.5"}, {w.gw, "fd01::5"}, {w.gw, "10.2.0.5"}, {w.gw, "fd02::5"}, {w.gw, "192.0.2.9"},
	} {
		r, err := p.from.Ping(w.t.Context(), lab.Echo{Dst: netip.MustParseAddr(p.to), Wait: 10 * time.Second})
		if err != nil || r.Received != 1 {
			w.t.Fatalf("%s does not reach its neighbour %s: %v", p.from.Name, p.to, err)
		}
	}
}

func (w *world) listen(h *lab.Host, a netip.AddrPort) *net.UDPConn {
	w.t.Helper()
	var c *net.UDPConn
	w.check(h.Do(func() (err error) {
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(a))
		return err
	}))
	return c
}

func at(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

// seen tells by which source a datagram arrives, "nothing" if it does not.
func (w *world) seen(from *lab.Host, src netip.Addr, to *lab.Host, dst netip.Addr) string {
	w.t.Helper()
	a, ok := w.datagram(from, at(src, 0), to, at(dst, 7007))
	if !ok {
		return "nothing"
	}
	return a.String()
}

func (w *world) expect(what, got, want string) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func (w *world) counter(name string) uint64 {
	w.t.Helper()
	list, err := w.fw.Counters()
	w.check(err)
	for _, c := range list {
		if c.Name == name {
			return c.Packets
		}
	}
	return 0
}

// The acceptance check of R13.9, with the ways in which gateways are
// firewalled: with the flag, the nets talk by their own addresses; afterwards
// the rules are what they were.
func TestLeftFirewall(t *testing.T) {
	for _, c := range []struct {
		name  string
		setUp func(w *world)
	}{
		{"nft", func(w *world) {
			w.run("nft", "add table inet mine")
			w.run("nft", "add chain inet mine forw { type filter hook forward priority 0; policy drop; }")
			w.run("nft", "add rule inet mine forw ct state established counter accept")
			w.run("nft", "add chain inet mine post { type nat hook postrouting priority 100; }")
			w.run("nft", "add rule inet mine post masquerade")
		}},
		{"nft, rejecting at the end, in two chains", func(w *world) {
			w.run("nft", "add table ip a")
			w.run("nft", "add chain ip a f { type filter hook forward priority 10; }")
			w.run("nft", "add rule ip a f counter reject")
			w.run("nft", "add table ip6 b")
			w.run("nft", "add chain ip6 b f { type filter hook forward priority -5; policy drop; }")
			w.run("nft", "add table inet n")
			w.run("nft", "add chain inet n post { type nat hook postrouting priority 100; }")
			w.run("nft", "add rule inet n post masquerade")
		}},
		{"iptables", func(w *world) {
			for _, tool := range []string{"iptables", "ip6tables"} {
				w.run(tool, "-P", "FORWARD", "DROP")
				w.run(tool, "-A", "FORWARD", "-p", "tcp", "--dport", "22", "-m", "comment", "--comment", "mine", "-j", "ACCEPT")
				w.run(tool, "-A", "FORWARD", "-j", "REJECT")
				w.run(tool, "-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE")
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := build(t)
			c.setUp(w)
			before := w.ruleset()
			talk := func(want bool) {
				t.Helper()
				for _, d := range []struct {
					from, to *lab.Host
					src, dst netip.Addr
				}{{w.near, w.far, near4, far4}, {w.far, w.near, far4, near4}, {w.near, w.far, near6, far6}, {w.far, w.near, far6, near6}} {
					expected := "nothing"
					if want {
						expected = d.src.String()
					}
					w.expect(d.src.String()+" to "+d.dst.String(), w.seen(d.from, d.src, d.to, d.dst), expected)
				}
			}
			talk(false)
			w.check(w.fw.Set(State{Devices: devices, Forward: []Pair{pair4, pair6}}))
			talk(true)
			w.expect("from outside, not by the tunnel", w.seen(w.wan, wan4, w.near, near4), "nothing")
			w.expect("to outside, not by the tunnel", w.seen(w.near, near4, w.wan, wan4), "nothing")
			// The gateway's own packets from inside are exempt as well.
			w.expect("from the gateway's inner address", w.seen(w.gw, netip.MustParseAddr("10.1.0.1"), w.far, far4), "10.1.0.1")
			if n := w.counter(CountForward); n < 4 {
				t.Errorf("%d packets are counted as forwarded", n)
			}
			w.check(w.fw.Set(State{Devices: devices}))
			talk(false)
			w.expect("rules afterwards", w.ruleset(), before)
		})
	}
}

// iptables shows our rule as one of its own, and one that was saved and
// restored is known again.
func TestRuleInIptables(t *testing.T) {
	w := build(t)
	w.run("iptables", "-P", "FORWARD", "DROP")
	w.check(w.fw.Set(State{Devices: devices, Forward: []Pair{pair4}}))
	want := "-A FORWARD -m mark --mark 0x1000/0x1000 -m comment --comment " + Tag + " -j ACCEPT"
	if got := w.run("iptables", "-S", "FORWARD"); !strings.Contains(got, want) {
		t.Fatalf("iptables shows\n%s", got)
	}
	saved := w.run("iptables-save")
	file := t.TempDir() + "/rules"
	w.check(os.WriteFile(file, []byte(saved), 0o600))
	w.run("iptables-restore", file)
	w.check(w.fw.Set(State{Devices: devices, Forward: []Pair{pair4}}))
	if got := strings.Count(w.run("iptables", "-S", "FORWARD"), Tag); got != 1 {
		t.Errorf("the rule is there %d times after a restore", got)
	}
	w.run("iptables-restore", file)
	w.check(w.fw.Remove())
	if got := w.run("iptables", "-S", "FORWARD"); got != "-P FORWARD DROP\n" {
		t.Errorf("after Remove iptables shows\n%s", got)
	}
}

// An empty chain that accepts is left alone.
func TestChainsThatDropNothing(t *testing.T) {
	w := build(t)
	w.run("nft", "add table inet mine")
	w.run("nft", "add chain inet mine forw { type filter hook forward priority 0; policy accept; }")
	w.check(w.fw.Set(State{Devices: devices, Forward: []Pair{pair4}}))
	if strings.Contains(w.ruleset(), Tag) {
		t.Error("a rule was put into a chain that needs none")
	}
	w.run("nft", "add rule inet mine forw drop") // now it does
	w.check(w.fw.Set(State{Devices: devices, Forward: []Pair{pair4}}))
	w.expect("near to far", w.seen(w.near, near4, w.far, far4), near4.String())
}

func selector(local, remote string) ipsec.Selector {
	return ipsec.Selector{Src: prefix(local), Dst: prefix(remote)}
}

// ESP-30: what a connection protects does not get in by the wrong door. wan
// pretends to be 10.2.0.9 of the far net.
func TestInboundClear(t *testing.T) {
	w := build(t)
	spoof := netip.MustParseAddr("10.2.0.9")
	toNear := func() string { return w.seen(w.wan, spoof, w.near, near4) }
	w.expect("spoofed, without policy", toNear(), spoof.String())

	policy := Policy{Selector: selector("10.1.0.0/24", "10.2.0.0/24"), Drop: true}
	w.check(w.fw.Set(State{Devices: devices, Inbound: []Policy{policy}}))
	w.expect("spoofed", toNear(), "nothing")
	if n := w.counter(CountInbound); n != 2 {
		t.Errorf("%d packets counted, want 2", n)
	}
	w.expect("by the tunnel", w.seen(w.far, far4, w.near, near4), far4.String())
	w.expect("of no policy", w.seen(w.wan, wan4, w.near, near4), wan4.String())

	// A more specific policy that passes comes first.
	w.check(w.fw.Set(State{Devices: devices, Inbound: []Policy{{Selector: selector("10.1.0.0/24", "10.2.0.9/32")}, policy}}))
	w.expect("passed by the more specific policy", toNear(), spoof.String())
	if n := w.counter(CountInbound); n != 2 {
		t.Errorf("%d packets counted after a new table, want still 2", n)
	}

	// Only one port is protected.
	policy.Proto, policy.SrcPorts = 17, ipsec.Ports{Lo: 7007, Hi: 7007}
	w.check(w.fw.Set(State{Devices: devices, Inbound: []Policy{policy}}))
	w.expect("to the protected port", toNear(), "nothing")
	if _, ok := w.datagram(w.wan, at(spoof, 0), w.near, at(near4, 7008)); !ok {
		t.Error("another port is dropped too")
	}

	// The Internet as a subnet: neighbours inside it are no intruders, because
	// answers to them do not go into the tunnel; with a device they would be.
	all := Policy{Selector: selector("0.0.0.0/0", "0.0.0.0/0"), Drop: true}
	w.check(w.fw.Set(State{Devices: devices, Inbound: []Policy{all}}))
	w.expect("neighbour", w.seen(w.near, near4, w.gw, netip.MustParseAddr("10.1.0.1")), near4.String())
	w.expect("one that belongs into the tunnel", toNear(), "nothing")
	all.Device = "eth0"
	w.check(w.fw.Set(State{Devices: devices, Inbound: []Policy{all}}))
	w.expect("neighbour on another device", w.seen(w.near, near4, w.gw, netip.MustParseAddr("10.1.0.1")), near4.String())
	w.expect("anything by the device", w.seen(w.wan, wan4, w.near, near4), "nothing")
}

// A tunnel between the two gateways themselves: what carries it must pass,
// all else must not.
func TestHostToHost(t *testing.T) {
	w := build(t)
	p := Policy{Selector: selector("192.0.2.1/32", "192.0.2.9/32"), Device: "eth0", Drop: true}
	w.check(w.fw.Set(State{Devices: devices, Inbound: []Policy{p}, Outbound: []Policy{p}}))
	for _, c := range []struct {
		from, to *lab.Host
		src, dst netip.AddrPort
		want     bool
	}{
		{w.wan, w.gw, at(wan4, 500), at(gw4, 500), true},
		{w.wan, w.gw, at(wan4, 40000), at(gw4, 4500), true}, // through a NAT
		{w.wan, w.gw, at(wan4, 7007), at(gw4, 7007), false},
		{w.gw, w.wan, at(gw4, 500), at(wan4, 500), true},
		{w.gw, w.wan, at(gw4, 4500), at(wan4, 40000), true},
		{w.gw, w.wan, at(gw4, 7007), at(wan4, 7007), false},
		{w.gw, w.wan, at(gw4, 7007), at(wan4, 500), false},
	} {
		if _, got := w.datagram(c.from, c.src, c.to, c.dst); got != c.want {
			t.Errorf("%s to %s passes: %v, want %v", c.src, c.dst, got, c.want)
		}
	}
	for _, proto := range []string{"ip4:50", "ip4:51", "ip4:17"} {
		want := proto != "ip4:17"
		if got := w.raw(proto, w.wan, wan4, w.gw, gw4); got != want {
			t.Errorf("%s from outside passes: %v, want %v", proto, got, want)
		}
		if got := w.raw(proto, w.gw, gw4, w.wan, wan4); got != want {
			t.Errorf("%s to outside passes: %v, want %v", proto, got, want)
		}
	}
	// Forwarded ESP is not ours: the exemption is for this machine.
	p = Policy{Selector: selector("10.1.0.0/24", "192.0.2.9/32"), Device: "eth0", Drop: true}
	w.check(w.fw.Set(State{Devices: devices, Inbound: []Policy{p}, Outbound: []Policy{p}}))
	if w.raw("ip4:50", w.wan, wan4, w.near, near4) || w.raw("ip4:50", w.near, near4, w.wan, wan4) {
		t.Error("forwarded ESP passes a policy that covers it")
	}
}

// IPv6 needs neighbour discovery between the very hosts that are protected.
func TestNeighbourDiscoveryPasses(t *testing.T) {
	w := build(t)
	gw6 := netip.MustParseAddr("fd01::1")
	p := Policy{Selector: selector("fd01::1/128", "fd01::5/128"), Device: "eth1", Drop: true}
	w.check(w.fw.Set(State{Devices: devices, Inbound: []Policy{p}, Outbound: []Policy{p}}))
	w.run("ip", "-6", "neigh", "flush", "dev", "eth1")
	if r, err := w.near.Run(t.Context(), nil, "ip", "-6", "neigh", "flush", "dev", "eth0"); err != nil || r.Exit != 0 {
		t.Fatalf("flush: %v %s", err, r.Output())
	}
	arrived := false
	for range 50 { // discovery takes as long as it takes
		if _, arrived = w.datagram(w.near, at(near6, 500), w.gw, at(gw6, 500)); arrived {
			break
		}
	}
	if !arrived {
		t.Error("IKE does not arrive")
	}
	if _, got := w.datagram(w.near, at(near6, 7007), w.gw, at(gw6, 7007)); got {
		t.Error("what is protected arrives in the clear")
	}
	if _, got := w.datagram(w.gw, at(gw6, 7007), w.near, at(near6, 7007)); got {
		t.Error("what is protected leaves in the clear")
	}
}

// raw sends one IP packet of a protocol, and tells whether it arrives.
func (w *world) raw(proto string, from *lab.Host, src netip.Addr, to *lab.Host, dst netip.Addr) bool {
	w.t.Helper()
	open := func(h *lab.Host, a netip.Addr) (c *net.IPConn) {
		w.check(h.Do(func() (err error) {
			c, err = net.ListenIP(proto, &net.IPAddr{IP: a.AsSlice()})
			return err
		}))
		return c
	}
	r, s := open(to, dst), open(from, src)
	defer r.Close()
	defer s.Close()
	return arrives(func() {
		if _, err := s.WriteToIP(make([]byte, 64), &net.IPAddr{IP: dst.AsSlice()}); err != nil && !errors.Is(err, syscall.EPERM) {
			w.t.Error(err)
		}
	}, func(deadline time.Time) error {
		r.SetReadDeadline(deadline)
		_, _, err := r.ReadFromIP(make([]byte, 200))
		return err
	})
}

// What should be protected does not leave in the clear when the tunnel device
// and its routes are gone.
func TestOutboundClear(t *testing.T) {
	w := build(t)
	w.check(w.fw.Set(State{Devices: devices, Outbound: []Policy{{Selector: selector("10.1.0.0/24", "10.2.0.0/24"), Drop: true}}}))
	w.expect("by the tunnel", w.seen(w.near, near4, w.far, far4), near4.String())
	w.run("ip", "link", "delete", "ipsec0")
	w.run("ip", "route", "add", "10.2.0.0/24", "via", "192.0.2.9")
	stray := netip.MustParseAddr("10.2.0.9")
	w.expect("forwarded in the clear", w.seen(w.near, near4, w.wan, stray), "nothing")
	w.expect("sent in the clear", w.seen(w.gw, netip.MustParseAddr("10.1.0.1"), w.wan, stray), "nothing")
	w.expect("not protected", w.seen(w.near, near4, w.wan, wan4), near4.String())
	if n := w.counter(CountOutbound); n != 4 {
		t.Errorf("%d packets counted, want 4", n)
	}
	// It survives the process, until somebody removes it.
	w.check(w.fw.Close())
	w.fw = w.open(Options{})
	w.expect("after the process ended", w.seen(w.near, near4, w.wan, stray), "nothing")
	w.check(w.fw.Remove())
	w.expect("removed", w.seen(w.near, near4, w.wan, stray), near4.String())
	w.expect("ruleset", w.ruleset(), "")
}

func TestClampMSS(t *testing.T) {
	w := build(t)
	w.run("ip", "link", "set", "ipsec0", "mtu", "1400")
	for _, c := range []struct {
		size     uint16
		from, to *lab.Host
		dst      netip.Addr
		lo, hi   int // what the listening side may send in a segment
	}{
		{1000, w.near, w.far, far4, 980, 1000},
		{1000, w.far, w.near, near4, 980, 1000},
		{1000, w.near, w.far, far6, 980, 1000},
		{0, w.near, w.far, far4, 1340, 1360}, // 1400 less 40
	} {
		w.check(w.fw.Set(State{Devices: devices, Clamp: []Clamp{{pair4, c.size}, {pair6, c.size}}}))
		if got := w.segment(c.from, c.to, c.dst); got < c.lo || got > c.hi {
			t.Errorf("clamped to %d, %s sends segments of %d, want %d to %d", c.size, c.dst, got, c.lo, c.hi)
		}
	}
	if w.counter(CountClamp) == 0 {
		t.Error("nothing is counted")
	}
	w.check(w.fw.Set(State{}))
	if got := w.segment(w.near, w.far, far4); got < 1440 {
		t.Errorf("segments of %d without a clamp", got)
	}
}

// segment is the MSS that the accepting side of a TCP connection has to heed.
func (w *world) segment(from, to *lab.Host, dst netip.Addr) int {
	w.t.Helper()
	var ln *net.TCPListener
	w.check(to.Do(func() (err error) {
		ln, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at(dst, 7009)))
		return err
	}))
	defer ln.Close()
	w.check(from.Do(func() error {
		c, err := (&net.Dialer{Timeout: 3 * time.Second}).Dial("tcp", at(dst, 7009).String())
		if err == nil {
			c.Close()
		}
		return err
	}))
	ln.SetDeadline(time.Now().Add(time.Second))
	c, err := ln.AcceptTCP()
	w.check(err)
	defer c.Close()
	raw, err := c.SyscallConn()
	w.check(err)
	mss := 0
	w.check(raw.Control(func(fd uintptr) { mss, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG) }))
	w.check(err)
	return mss
}

func (w *world) generation() uint32 {
	w.t.Helper()
	g, err := w.fw.generation()
	w.check(err)
	return g
}

func TestSetIsIdempotentAndSmall(t *testing.T) {
	w := build(t)
	state := State{Devices: devices, Forward: []Pair{pair4}, Inbound: []Policy{{Selector: selector("10.1.0.0/24", "10.2.0.0/24"), Drop: true}}}
	w.check(w.fw.Set(state))
	g := w.generation()
	for range 3 {
		w.check(w.fw.Set(state))
	}
	if got := w.generation(); got != g {
		t.Errorf("Set of the same wrote %d times", got-g)
	}
	// More of the same kind changes elements, not rules, in one transaction.
	handles := w.run("nft", "-a", "-s", "list", "chain", "inet", TableName, "inbound")
	state.Inbound = append(state.Inbound, Policy{Selector: selector("10.1.0.0/24", "10.3.0.0/24"), Drop: true})
	w.check(w.fw.Set(state))
	if got := w.run("nft", "-a", "-s", "list", "chain", "inet", TableName, "inbound"); got != handles {
		t.Errorf("rules were made anew:\n%s", got)
	}
	if got := w.generation(); got != g+1 {
		t.Errorf("%d transactions for one Set", got-g)
	}
	if !strings.Contains(w.ruleset(), "10.3.0.0/24") {
		t.Error("the element is missing")
	}
	state.Inbound = state.Inbound[1:]
	w.check(w.fw.Set(state))
	if s := w.run("nft", "list", "set", "inet", TableName, "inbound-0"); strings.Contains(s, "10.2.0.0/24") || !strings.Contains(s, "10.3.0.0/24") {
		t.Errorf("after taking the first away:\n%s", s)
	}
	// What changes elsewhere makes it look, not write.
	w.run("nft", "add table inet other")
	g = w.generation()
	w.check(w.fw.Set(state))
	if got := w.generation(); got != g {
		t.Errorf("Set wrote %d times because of a table of others", got-g)
	}
}

// Others flush everything, reload their rules, or have broken our table: the
// hint comes, and Set mends it.
func TestMending(t *testing.T) {
	w := build(t)
	rules := func() {
		w.run("nft", "add table inet mine")
		w.run("nft", "add chain inet mine forw { type filter hook forward priority 0; policy drop; }")
	}
	rules()
	state := State{Devices: devices, Forward: []Pair{pair4}, Outbound: []Policy{{Selector: selector("10.1.0.0/24", "10.2.0.0/24"), Drop: true}}}
	w.check(w.fw.Set(state))
	good := w.ruleset()
	select {
	case <-w.fw.Changes():
	default: // our own transaction is no change of others, but rules() was
	}
	for _, c := range []struct {
		what string
		harm func()
	}{
		{"flush", func() { w.run("nft", "flush", "ruleset"); rules() }},
		{"reload of a chain", func() { w.run("nft", "flush", "chain", "inet", "mine", "forw") }},
		{"a rule ahead of ours", func() { w.run("nft", "insert", "rule", "inet", "mine", "forw", "tcp", "dport", "1", "drop") }},
		{"our table deleted", func() { w.run("nft", "delete", "table", "inet", TableName) }},
		{"our chain emptied", func() { w.run("nft", "flush", "chain", "inet", TableName, "outbound") }},
	} {
		c.harm()
		select {
		case <-w.fw.Changes():
		case <-time.After(5 * time.Second):
			t.Errorf("%s: no hint", c.what)
		}
		w.check(w.fw.Set(state))
		if c.what == "a rule ahead of ours" {
			if got := w.run("nft", "-s", "list", "chain", "inet", "mine", "forw"); strings.Index(got, Tag) > strings.Index(got, "dport") {
				t.Errorf("%s: ours is not the first again:\n%s", c.what, got)
			}
			continue
		}
		w.expect("near to far after "+c.what, w.seen(w.near, near4, w.far, far4), near4.String())
		if got := w.ruleset(); c.what == "flush" && inOrder(got) != inOrder(good) {
			t.Errorf("%s: ruleset is\n%s\nwant\n%s", c.what, got, good)
		}
	}
	// Our own work gives no hints.
	for {
		select {
		case <-w.fw.Changes():
			continue
		case <-time.After(100 * time.Millisecond):
		}
		break
	}
	state.Forward = nil
	w.check(w.fw.Set(state))
	select {
	case <-w.fw.Changes():
		t.Error("our own transaction is announced as a change of others")
	case <-time.After(200 * time.Millisecond):
	}
}

// inOrder sorts the tables of a ruleset.
func inOrder(ruleset string) string {
	tables := regexp.MustCompile(`(?m)^table `).Split(ruleset, -1)
	if len(tables) == 3 && tables[1] > tables[2] {
		tables[1], tables[2] = tables[2], tables[1]
	}
	return strings.Join(tables, "table ")
}

// What a crashed process left is replaced by the next, also with other marks.
func TestAfterACrash(t *testing.T) {
	w := build(t)
	w.run("iptables", "-P", "FORWARD", "DROP")
	before := w.ruleset()
	old := w.open(Options{Mark: 1 << 20})
	w.check(old.Set(State{Devices: devices, Forward: []Pair{pair4, pair6}, Inbound: []Policy{{Selector: selector("10.1.0.0/24", "10.9.0.0/24"), Drop: true}}}))
	w.check(w.fw.Set(State{Devices: devices, Forward: []Pair{pair4}}))
	s := w.ruleset()
	if strings.Contains(s, "10.9.0.0") || strings.Contains(s, "fd01") || strings.Contains(s, "0x00100000") || strings.Count(s, Tag) != 1 {
		t.Errorf("remains of the old process:\n%s", s)
	}
	w.expect("near to far", w.seen(w.near, near4, w.far, far4), near4.String())
	w.check(w.fw.Remove())
	w.expect("ruleset", w.ruleset(), before)
	w.check(w.fw.Remove()) // nothing there is no error
}

// Scripts open and shut beside a daemon, from other processes.
func TestScriptsBesideTheDaemon(t *testing.T) {
	w := build(t)
	w.run("iptables", "-P", "FORWARD", "DROP")
	w.run("iptables", "-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE")
	before := w.ruleset()
	script := w.open(Options{})
	talks := func(when, want string) {
		t.Helper()
		w.expect(when, w.seen(w.near, near4, w.far, far4), want)
	}
	w.check(script.Open("west-east", []Pair{pair4}))
	talks("opened without a daemon", near4.String())
	state := State{Devices: devices, Outbound: []Policy{{Selector: selector("10.1.0.0/24", "10.9.0.0/24"), Drop: true}}}
	w.check(w.fw.Set(state))
	talks("after the daemon started", near4.String())
	w.check(script.Open("other", []Pair{pair4}))
	w.check(script.Open("other", []Pair{pair4})) // replaces, does not add
	if n := strings.Count(w.ruleset(), `comment "script other"`); n != 4 {
		t.Errorf("%d rules of the second script, want 4", n)
	}
	w.check(script.Shut("west-east"))
	talks("one of two shut", near4.String())
	if w.counter(CountScripts) == 0 {
		t.Error("nothing is counted")
	}
	g := w.generation()
	w.check(w.fw.Set(state))
	if w.generation() != g {
		t.Error("the daemon wrote because of a script")
	}
	w.check(script.Shut("other"))
	w.check(script.Shut("never opened"))
	talks("both shut", "nothing")
	if s := w.ruleset(); strings.Contains(s, Tag) || !strings.Contains(s, "10.9.0.0") {
		t.Errorf("after all scripts have shut:\n%s", s)
	}
	w.check(w.fw.Set(State{}))
	w.expect("ruleset", w.ruleset(), before)
	w.check(script.Open("again", []Pair{pair4}))
	w.check(script.Shut("again"))
	w.expect("ruleset after the last script", w.ruleset(), before)
	if err := script.Open(strings.Repeat("x", 201), nil); err == nil {
		t.Error("a name of 201 octets is accepted")
	}
}

func TestThousandsOfSelectors(t *testing.T) {
	w := build(t)
	var state State
	state.Devices = devices
	for i := range 5000 {
		remote := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(64 + i>>8), byte(i), 0}), 24)
		state.Inbound = append(state.Inbound, Policy{Selector: ipsec.Selector{Src: prefix("10.1.0.0/24"), Dst: remote}, Drop: true})
	}
	state.Inbound = append(state.Inbound, Policy{Selector: selector("10.1.0.0/24", "10.2.0.0/24"), Drop: true})
	start := time.Now()
	w.check(w.fw.Set(state))
	whole := time.Since(start)
	start = time.Now()
	state.Inbound = state.Inbound[1:]
	w.check(w.fw.Set(state))
	t.Logf("5001 selectors set in %v, one taken away in %v", whole, time.Since(start))
	w.expect("spoofed", w.seen(w.wan, netip.MustParseAddr("10.2.0.9"), w.near, near4), "nothing")
	w.expect("by the tunnel", w.seen(w.far, far4, w.near, near4), far4.String())
}
