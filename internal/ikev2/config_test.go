package ikev2

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
)

func addrs(list ...string) (out []netip.Addr) {
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// warrior is west as a road warrior, which asks east for addresses.
func warrior(t *testing.T, want ...string) (*pair, *Addresses) {
	p := newPair(t, 17)
	pool := &Addresses{
		Prefixes: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/29"), netip.MustParsePrefix("fd00::/64")},
		DNS:      addrs("192.168.200.53", "fd00::53"), Domains: []string{"example.com"},
	}
	p.west.conns[0].RequestIP = addrs(want...)
	p.east.conns[0].FromPool = true
	p.east.cfg.Pool = pool
	any := []ipsec.TS{ipsec.TSOf(netip.MustParsePrefix("0.0.0.0/0"), 0, ipsec.Ports{}), ipsec.TSOf(netip.MustParsePrefix("::/0"), 0, ipsec.Ports{})}
	p.west.conns[0].Remote.TS, p.east.conns[0].Local.TS = any, any
	return p, pool
}

// Of two connections of the same ends, one with a pool, a caller means the one
// with it if it asks for an address, and the other if it does not: whichever is
// first in the list.
func TestConfigurationChooses(t *testing.T) {
	for _, asks := range []bool{false, true} {
		p, _ := warrior(t, "0.0.0.0")
		plain := *p.east.conns[0]
		plain.Name, plain.FromPool = "plain", false
		plain.Remote.TS = p.west.conns[0].Local.TS
		p.east.conns = []*ike.Conn{p.east.conns[0], &plain}
		if asks {
			slices.Reverse(p.east.conns)
		} else {
			p.west.conns[0].RequestIP = nil
		}
		_, e := p.up()
		if e.conn.FromPool != asks {
			t.Errorf("asks: %v, but the connection is %q", asks, e.conn.Name)
		}
	}
}

// west asks for addresses and name servers and gets them, and its Child SA is
// of these addresses; so are later ones, after the IKE SA was rekeyed as well.
func TestConfiguration(t *testing.T) {
	for _, c := range []struct{ want, got, dns []netip.Addr }{
		{addrs("0.0.0.0"), addrs("10.9.0.1"), addrs("192.168.200.53")},
		{addrs("::"), addrs("fd00::1"), addrs("fd00::53")},
		{addrs("0.0.0.0", "::"), addrs("10.9.0.1", "fd00::1"), addrs("192.168.200.53", "fd00::53")},
		{addrs("10.9.0.5"), addrs("10.9.0.5"), addrs("192.168.200.53")},
		{addrs("10.9.0.7"), addrs("10.9.0.1"), addrs("192.168.200.53")}, // broadcast
	} {
		p, pool := warrior(t)
		p.west.conns[0].RequestIP = c.want
		p.up()
		for _, n := range []*node{p.west, p.east} {
			up := facts[ike.IKEUp](n)[0]
			if !slices.Equal(up.Virtual, c.got) || !slices.Equal(up.DNS, c.dns) || !slices.Equal(up.DNSDomains, []string{"example.com"}) {
				t.Errorf("%s got %+v", n.name, up)
			}
		}
		w := p.west.machines[0].(*SA)
		if ts := w.children[0].sides.local; !slices.Equal(ts, Lease{Addrs: c.got}.selectors()) {
			t.Errorf("Child SA of %s", textOf(ts))
		}
		p.west.step(w, ike.Rekey{})
		p.settle()
		p.pass(time.Minute)
		w = p.west.machines[0].(*SA)
		e := p.east.machines[0].(*SA)
		p.west.step(w, ike.AddChild{Conn: p.west.conns[0]})
		p.settle()
		p.check(2)
		if !slices.Equal(w.virtual.Addrs, c.got) || !e.leased || pool.held[w.localID].uses != 1 {
			t.Error("the lease does not move to the successor")
		}
		if ts := w.children[1].sides.local; !slices.Equal(ts, Lease{Addrs: c.got}.selectors()) {
			t.Errorf("second Child SA of %s", textOf(ts))
		}
		p.west.step(w, ike.Delete{})
		p.pass(time.Minute)
		if pool.held[w.localID].uses != 0 {
			t.Error("the lease was not given back")
		}
	}
}

// No address, no Child SA, for whatever reason; the IKE SA stays (RES-16).
func TestConfigurationRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(p *pair, pool *Addresses)
		notify uint16
	}{
		"not asked for":  {func(p *pair, _ *Addresses) { p.west.conns[0].RequestIP = nil }, ike.NotifyFailedCPRequired},
		"no pool":        {func(p *pair, _ *Addresses) { p.east.cfg.Pool = nil }, ike.NotifyInternalAddressFailure},
		"no such family": {func(p *pair, pool *Addresses) { pool.Prefixes = pool.Prefixes[1:] }, ike.NotifyInternalAddressFailure},
		"exhausted": {func(p *pair, pool *Addresses) {
			for i := range 6 {
				if _, err := pool.Lease(nil, ike.ID{Kind: ike.IDFQDN, Data: string(rune('a' + i))}, addrs("0.0.0.0")); err != nil {
					p.t.Fatal(err)
				}
			}
		}, ike.NotifyInternalAddressFailure},
	} {
		p, pool := warrior(t, "0.0.0.0")
		c.change(p, pool)
		w := p.west.initiate()
		p.settle()
		if w.state != stateUp || len(p.west.plane)+len(p.east.plane) != 0 || p.west.failure().Notify != c.notify {
			t.Errorf("%s: %+v\n%s", name, p.west.failure(), p)
		}
	}
}

// A server that gives no address, or traffic selectors of other addresses, gets
// no Child SA.
func TestConfigurationUnusable(t *testing.T) {
	p, _ := warrior(t, "0.0.0.0")
	p.east.conns[0].FromPool = false
	w := p.west.initiate()
	p.settle()
	p.pass(time.Minute)
	if w.state != stateUp || len(p.west.plane)+len(p.east.plane) != 0 {
		t.Errorf("no CP in the answer\n%s", p)
	}
	s := &step{SA: w}
	ours := Lease{Addrs: addrs("10.9.0.1")}
	for _, ts := range [][]ipsec.TS{everything(w.conn.RequestIP), Lease{Addrs: addrs("10.9.0.2")}.selectors()} {
		a := &agreement{sides: sides{local: ts}}
		if s.configured(wire.Payloads{configReply(ours)}, a) == nil {
			t.Errorf("%s accepted for 10.9.0.1", textOf(ts))
		}
	}
	if r := s.configured(wire.Payloads{configReply(ours)}, &agreement{sides: sides{local: ours.selectors()}}); r != nil {
		t.Errorf("refused: %s", r.why)
	}
}

// What a server may write into our resolver's configuration.
func TestConfigurationHostile(t *testing.T) {
	cp := configReply(Lease{
		Addrs:   addrs("127.0.0.1", "224.0.0.1", "0.0.0.0", "fd00::1", "10.0.0.1"),
		DNS:     addrs("127.0.0.53", "10.0.0.53"),
		Domains: []string{"example.com\nnameserver 6.6.6.6", "$(reboot)", "-x.org", "a..b", "", "Ok.Example."},
	})
	l := leaseOf(cp, addrs("0.0.0.0"))
	if !slices.Equal(l.Addrs, addrs("10.0.0.1")) || !slices.Equal(l.DNS, addrs("10.0.0.53")) || !slices.Equal(l.Domains, []string{"ok.example"}) {
		t.Errorf("%+v", l)
	}
	var many Lease
	for range 100 {
		many.Addrs = append(many.Addrs, addrs("10.0.0.1")...)
	}
	if l := leaseOf(configReply(many), addrs("0.0.0.0")); len(l.Addrs) != maxAddrs {
		t.Errorf("%d addresses", len(l.Addrs))
	}
}

// An identity gets its address again; others take it only when nothing else is
// left and it is not in use.
func TestAddresses(t *testing.T) {
	p := &Addresses{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/30")}}
	who := func(n string) ike.ID { return ike.ID{Kind: ike.IDFQDN, Data: n} }
	lease := func(n string) netip.Addr {
		l, err := p.Lease(nil, who(n), addrs("0.0.0.0"))
		if err != nil {
			return netip.Addr{}
		}
		return l.Addrs[0]
	}
	a, b := lease("a"), lease("b")
	if a == b || !a.IsValid() || !b.IsValid() || lease("c").IsValid() {
		t.Fatal(a, b)
	}
	if lease("a") != a { // a second IKE SA of the same identity
		t.Error("another address for the same identity")
	}
	p.Release(nil, who("a"), Lease{})
	if lease("c").IsValid() {
		t.Error("an address in use was given away")
	}
	p.Release(nil, who("a"), Lease{})
	if lease("a") != a {
		t.Error("a does not get its address again")
	}
	p.Release(nil, who("a"), Lease{})
	if lease("c") != a {
		t.Error("an unused address is not given to who needs it")
	}
	if len(p.owner) != 2 || len(p.held) != 2 {
		t.Errorf("the pool remembers %d addresses of %d", len(p.owner), len(p.held))
	}
}

// Who asks for sixty addresses in one message gets one; a thousand are more than
// a configuration may ask for, and the message is refused as a whole.
func TestAdv_RES_16_ManyInOneMessage(t *testing.T) {
	for n, leases := range map[int]int{60: 1, 1000: 0} {
		p, pool := warrior(t, slices.Repeat([]string{"0.0.0.0"}, n)...)
		w := p.west.initiate()
		p.settle()
		if len(pool.held) != leases || len(pool.owner) != leases || (w.state == stateUp) != (leases == 1) {
			t.Errorf("%d asked for: %d have %d addresses\n%s", n, len(pool.held), len(pool.owner), p)
		}
	}
}
