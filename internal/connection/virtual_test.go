package connection

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/pool"
)

// asking makes a client's description: it asks for any IPv4 address.
func asking(d *Description) { d.RequestIP = []netip.Addr{netip.IPv4Unspecified()} }

// virtually brings a connection up, whose Configuration payload says addrs.
func (w *world) virtually(name string, addrs ...string) uint32 {
	w.t.Helper()
	w.step(Up{Name: name})
	serial := w.ikes[len(w.ikes)-1]
	c := w.conn(name)
	var list []netip.Addr
	for _, a := range addrs {
		list = append(list, netip.MustParseAddr(a))
	}
	w.ikeUp(serial, c.Conn, func(u *ike.IKEUp) {
		u.Virtual, u.DNS, u.DNSDomains = list, []netip.Addr{netip.MustParseAddr("10.2.0.53")}, []string{"corp.example"}
	})
	w.childUp(serial, c.Conn, func(u *ike.ChildUp) { u.TSLocal = hosts(list) })
	return serial
}

// action is what happens to packets from src to dst; "" without a policy.
func (w *world) action(src, dst string) string {
	for _, p := range w.policies {
		if p.Selector.Src.String() == src && p.Selector.Dst.String() == dst {
			if p.Action == ipsec.Protect {
				return "protect"
			}
			return p.Action.String()
		}
	}
	return ""
}

// An IKE SA that the peer has begun brings no address inside, whatever connection
// it is taken for: what needs one makes an IKE SA of its own.
func TestVirtualNeedsItsOwnIKE(t *testing.T) {
	w := newWorld(t)
	w.add(describe("c", "", "10.2.0.0/16", asking))
	w.ikeUp(10, w.conn("c").Conn)
	w.step(Up{Name: "c"})
	if len(w.starts) != 1 {
		t.Errorf("%d IKE SAs were started; told %v", len(w.starts), w.commands)
	}
}

func TestVirtualAddressOfOurs(t *testing.T) {
	w := newWorld(t)
	w.add(describe("c", "", "10.2.0.0/16", asking))
	w.step(Route{Name: "c"})
	if got := w.action("192.0.2.1/32", "10.2.0.0/16"); got != "%trap" {
		t.Errorf("before: %q", got)
	}
	serial := w.virtually("c", "10.9.0.7")
	if got := w.action("10.9.0.7/32", "10.2.0.0/16"); got != "protect" {
		t.Errorf("from the address inside: %q", got)
	}
	if got := w.action("192.0.2.1/32", "10.2.0.0/16"); got != "%drop" {
		t.Errorf("from the address outside: %q", got)
	}
	if len(w.routes) != 1 || w.routes[0].Source != netip.MustParseAddr("10.9.0.7") {
		t.Errorf("routes: %+v", w.routes)
	}
	a := w.conn("c").Assigned
	if len(a.DNS) != 1 || !slices.Equal(a.Domains, []string{"corp.example"}) {
		t.Errorf("name servers: %+v", a)
	}
	// The description as the file has it is the same one still.
	if !w.conn("c").equal(describe("c", "", "10.2.0.0/16", asking)) {
		t.Error("an assigned address makes another connection of it")
	}

	// The peer is gone: the address stays, so that what runs over it can wait.
	w.gone(serial, w.conn("c").Conn, ike.IKEDown{Why: noAnswer})
	if got := w.action("10.9.0.7/32", "10.2.0.0/16"); got != "%trap" {
		t.Errorf("after the peer's end, from the address inside: %q", got)
	}
	w.virtually("c", "10.9.0.8")
	if w.action("10.9.0.7/32", "10.2.0.0/16") != "" || w.action("10.9.0.8/32", "10.2.0.0/16") != "protect" {
		t.Errorf("with another address: %v", w.policies)
	}
	w.step(Down{Name: "c"})
	if len(w.conn("c").Assigned.Addrs) != 0 || w.routes[0].Source.IsValid() || w.action("192.0.2.1/32", "10.2.0.0/16") != "%drop" {
		t.Errorf("after down: %+v, %v", w.routes, w.policies)
	}
}

func TestVirtualAddressOfPeers(t *testing.T) {
	giving := func(d *Description) {
		d.Template, d.FromPool = true, true
		d.Remote.Addr, d.Remote.ID, d.Remote.TS = netip.IPv4Unspecified(), ike.ID{}, nil
		d.NextHop = netip.Addr{}
	}
	w := newWorld(t)
	w.add(describe("pool", "10.1.0.0/24", "", giving))
	lease := netip.MustParseAddr("10.9.0.7")
	// call is a client that gets the address; another one of the same name
	// from elsewhere takes it over, before the first is found to be gone.
	call := func(serial uint32, from string) *ike.Conn {
		at := netip.MustParseAddrPort(from)
		k := w.table.Instantiate(w.conn("pool").Conn, at, ike.ID{Kind: ike.IDFQDN, Data: "ann"})
		w.serial = max(w.serial, serial)
		w.ikeUp(serial, k, func(u *ike.IKEUp) { u.Remote, u.Virtual = at, []netip.Addr{lease} })
		w.childUp(serial, k, byPeer, func(u *ike.ChildUp) { u.TSRemote = hosts([]netip.Addr{lease}) })
		return k
	}
	first := call(1, "203.0.113.7:500")
	if got := w.action("10.1.0.0/24", "10.9.0.7/32"); got != "protect" || w.action("10.1.0.0/24", "203.0.113.7/32") != "" {
		t.Fatalf("to the lease: %q", got)
	}
	second := call(10, "203.0.113.8:500")
	for _, p := range w.policies {
		if p.Action == ipsec.Protect && p.Bundle[0].Dst != second.Remote.Addr {
			t.Errorf("the lease is still at %s", p.Bundle[0].Dst)
		}
	}
	w.state("pool[2]", Erouted)
	w.gone(1, first, ike.IKEDown{})
	if got := w.action("10.1.0.0/24", "10.9.0.7/32"); got != "protect" || len(w.routes) != 1 {
		t.Errorf("after the first is gone: %q", got)
	}
	w.gone(10, second, ike.IKEDown{})
	w.pass(2 * orphanAge)
	if len(w.policies) != 0 || len(w.routes) != 0 {
		t.Errorf("left behind: %v, %v", w.policies, w.routes)
	}
}

// A peer at a fixed address whose lease has ended leaves no claim to it.
func TestLeaseOfFixedPeerEnds(t *testing.T) {
	w := newWorld(t)
	w.add(describe("fixed", "10.1.0.0/24", "", func(d *Description) { d.FromPool = true }))
	w.step(Up{Waiter: 1, Name: "fixed"})
	if r := w.replies[len(w.replies)-1]; r.OK || r.Code != codeNoPeer {
		t.Errorf("up without a lease: %+v", r)
	}
	k := w.conn("fixed").Conn
	lease := []netip.Addr{netip.MustParseAddr("10.9.0.7")}
	w.ikeUp(5, k, func(u *ike.IKEUp) { u.Virtual = lease })
	w.childUp(5, k, byPeer, func(u *ike.ChildUp) { u.TSRemote = hosts(lease) })
	if w.action("10.1.0.0/24", "10.9.0.7/32") != "protect" {
		t.Fatal(w.policies)
	}
	w.gone(5, k, ike.IKEDown{})
	if got := w.action("10.1.0.0/24", "10.9.0.7/32"); got != "%drop" || len(w.routes) != 1 {
		t.Errorf("at the end of the lease: %q, %v", got, w.routes)
	}
	w.pass(restTime)
	if got := w.action("10.1.0.0/24", "10.9.0.7/32"); got != "" || len(w.routes) != 0 {
		t.Errorf("after the lease: %q, %v", got, w.routes)
	}
}

// mobile makes a connection that moves: net to net, both ends with MOBIKE.
func mobile(t *testing.T) (w *world, serial uint32) {
	w = newWorld(t)
	w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24"))
	w.step(Up{Name: "c"})
	serial = w.ikes[0]
	w.ikeUp(serial, w.conn("c").Conn, func(u *ike.IKEUp) { u.MOBIKE = true })
	w.childUp(serial, w.conn("c").Conn)
	w.told()
	return w, serial
}

func elsewhere(d *Description) {
	d.Local.Addr, d.NextHop = netip.MustParseAddr("192.0.9.9"), netip.MustParseAddr("192.0.9.254")
	d.Physical = "wlan0"
}

func TestMove(t *testing.T) {
	w, serial := mobile(t)
	old := w.conn("c").Conn
	w.step(Reorient{List: []*Description{describe("c", "10.1.0.0/24", "10.2.0.0/24", elsewhere)}})
	w.wantTold("#1 Move")
	w.state("c", Erouted)
	if len(w.starts) != 1 || w.eroute("c") == "%trap" || w.routes[0].NextHop != netip.MustParseAddr("192.0.9.254") {
		t.Errorf("%d attempts, eroute %s, routes %v", len(w.starts), w.eroute("c"), w.routes)
	}
	// The machine goes on to speak of the connection as it knew it.
	child := w.childUp(serial, old, func(u *ike.ChildUp) { u.Rekeyed = w.serial - 1 })
	if w.conn("c").using().serial != child {
		t.Error("the pair from the new address is not in use")
	}
	w.step(Delete{Name: "c"})
	if len(w.table.byConn) != 0 {
		t.Errorf("%d left in the index", len(w.table.byConn))
	}
}

// A connection that moves day after day keeps what its machines name, and what
// one that still negotiates may name, and no more.
func TestMovesLeaveNothingBehind(t *testing.T) {
	w, serial := mobile(t)
	first := w.conn("c").Conn
	for i := range 50 {
		w.step(Reorient{List: []*Description{describe("c", "10.1.0.0/24", "10.2.0.0/24", func(d *Description) {
			elsewhere(d)
			d.Local.Addr = netip.AddrFrom4([4]byte{192, 0, 9, byte(10 + i)})
		})}})
	}
	w.told()
	if n := len(w.table.byConn); n > formerKept+2 {
		t.Errorf("%d names are known after 50 moves", n)
	}
	child := w.childUp(serial, first, func(u *ike.ChildUp) { u.Rekeyed = w.serial - 1 })
	if told := w.told(); len(told) != 0 || w.conn("c").using().serial != child {
		t.Errorf("the machine's own name is not known any more: %q", told)
	}
	w.step(Delete{Name: "c"})
	if len(w.table.byConn) != 0 {
		t.Errorf("%d left in the index", len(w.table.byConn))
	}
}

// Without MOBIKE, or where the change is more than one of address, a connection
// starts anew.
func TestNoMove(t *testing.T) {
	for name, c := range map[string]struct {
		local  string
		mobike bool
		ours   bool
		change func(*Description)
	}{
		"the peer does not know how": {"10.1.0.0/24", false, true, elsewhere},
		"the peer began":             {"10.1.0.0/24", true, false, elsewhere},
		"it is about the address":    {"", true, true, elsewhere},
		"another change":             {"10.1.0.0/24", true, true, func(d *Description) { elsewhere(d); d.PFS = true }},
	} {
		w := newWorld(t)
		w.add(describe("c", c.local, "10.2.0.0/24"))
		k := w.conn("c").Conn
		serial := uint32(7)
		if c.ours {
			w.step(Up{Name: "c"})
			serial = w.ikes[0]
		}
		w.ikeUp(serial, k, func(u *ike.IKEUp) { u.MOBIKE = c.mobike })
		w.childUp(serial, k, func(u *ike.ChildUp) { u.Initiator = c.ours })
		w.told()
		w.step(Reorient{List: []*Description{describe("c", c.local, "10.2.0.0/24", c.change)}})
		if told := w.told(); slices.ContainsFunc(told, func(s string) bool { return s == "#1 Move" }) || len(told) == 0 {
			t.Errorf("%s: machines were told %q", name, told)
		}
	}
}

// Between two networks there may be none at all for a while.
func TestDrift(t *testing.T) {
	lost := func(d *Description) { d.Oriented, d.Virtual, d.Physical = false, "", "" }
	gone := []*Description{describe("c", "10.1.0.0/24", "10.2.0.0/24", lost)}
	w, _ := mobile(t)
	w.step(Reorient{List: gone})
	w.wantTold()
	w.state("c", Erouted)
	w.step(Reorient{List: []*Description{describe("c", "10.1.0.0/24", "10.2.0.0/24", elsewhere)}})
	w.wantTold("#1 Move")

	// The same network again: nothing has happened.
	w, _ = mobile(t)
	w.step(Reorient{List: gone})
	w.step(Reorient{List: []*Description{describe("c", "10.1.0.0/24", "10.2.0.0/24")}})
	w.wantTold()
	w.state("c", Erouted)

	// Too late: the peer has not been heard of for too long.
	w, serial := mobile(t)
	w.step(Reorient{List: gone})
	w.gone(serial, w.conn("c").Conn, ike.IKEDown{Why: noAnswer})
	if got := w.eroute("c"); got != "%drop" {
		t.Errorf("without an address: %s", got)
	}
	w.pass(time.Hour)
	if len(w.starts) != 1 {
		t.Errorf("%d attempts without an address", len(w.starts))
	}
	w.step(Reorient{List: []*Description{describe("c", "10.1.0.0/24", "10.2.0.0/24", elsewhere)}})
	w.state("c", Held)
}

func TestOrientVirtual(t *testing.T) {
	f := config.ParseText("ipsec.conf", `version 2.0
conn c
	left=192.0.2.1
	leftsourceip=%config4,%config6
	right=198.51.100.1
	rightsubnet=10.2.0.0/16
	authby=secret
	fragmentation=force
`)
	if f.Err() != nil || len(f.Errors) > 0 {
		t.Fatal(f.Err(), f.Errors)
	}
	c := f.Conn("c")
	d, err := Orient(c, &Facts{Ours: []Address{{Addr: west, Virtual: "ipsec0", Physical: "eth0"}}})
	if err != nil || !d.Asks() || len(d.RequestIP) != 2 || d.FromPool || !d.MOBIKE || d.FragmentSize != 576 {
		t.Errorf("%+v, %v", d.Conn, err)
	}
	c.Left.Ask, c.Left.Pool = nil, []pool.Range{pool.Hosts(netip.MustParsePrefix("10.9.0.0/24"))}
	d, err = Orient(c, &Facts{Ours: []Address{{Addr: east, Virtual: "ipsec0", Physical: "eth0"}}})
	if err != nil || d.Asks() || !d.FromPool || len(d.Pool.Ranges) != 1 {
		t.Errorf("at the other end: %+v, %v", d.Conn, err)
	}
	if local, remote := d.Sides(); len(local) != 1 || len(remote) != 0 {
		t.Errorf("before a lease: %v to %v", local, remote)
	}
}
