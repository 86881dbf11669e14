package sim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/dnslab/labzones"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/oe"
)

// The acceptance cases of opportunistic.md 11 that turn on who may speak for whom.

// A02: a connection of TCP to a stranger: its SYN is sent once, goes through the
// tunnel, and the answer is there within 1.2 seconds.
func TestA02TCP(t *testing.T) {
	w, n := strangers(t, 41, "192.0.2.1", "203.0.113.1")
	w.DNS.Delay = 100 * time.Millisecond
	w.Net.IKE.Delay, w.Net.Data.Delay = 50*time.Millisecond, 50*time.Millisecond
	for _, x := range n {
		x.Opportunistic("", group("private-or-clear", everyone))
	}
	w.Run(time.Second)
	began := w.Elapsed()
	syn := ipsec.Flow{Src: n[0].Addr, Dst: n[1].Addr, Proto: 6, SrcPort: 40000, DstPort: 443}
	p := n[0].Ping(syn)
	if !w.RunUntil(time.Minute, func() bool { return n[1].Plane.Delivered[p] == 1 }) {
		t.Fatal("the SYN is lost")
	}
	q := n[1].Ping(ipsec.Flow{Src: syn.Dst, Dst: syn.Src, Proto: 6, SrcPort: 443, DstPort: 40000})
	if !w.RunUntil(time.Minute, func() bool { return n[0].Plane.Delivered[q] == 1 }) {
		t.Fatal("the answer is lost")
	}
	if took := w.Elapsed() - began; took > 1200*time.Millisecond || w.Stats.DataSent != 2 {
		t.Errorf("took %v, %d packets were protected", took, w.Stats.DataSent)
	}
	sound(t, w)
}

// use gives a node a private key and publishes it, after others, at its address.
func use(w *World, n *Node, key crypto.Signer, others ...crypto.PublicKey) {
	n.Keys.private = key
	w.DNS.Withdraw(n.Addr)
	for _, k := range append(others, key.Public()) {
		w.DNS.Publish(n.Addr, n.Addr, 10, k)
	}
}

// A05, A06: keys of all kinds; of five long ones at one gateway that fits which
// the gateway has.
func TestA05A06Keys(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	var four []crypto.PublicKey
	for _, name := range []string{"a", "b", "c", "d"} {
		four = append(four, labzones.RSA(name, 4096))
	}
	for name, give := range map[string]func(w *World, b *Node){
		"A05 Ed25519":     func(*World, *Node) {},
		"A06 ECDSA":       func(w *World, b *Node) { use(w, b, p256) },
		"A06 RSA":         func(w *World, b *Node) { use(w, b, r) },
		"A06 one of five": func(w *World, b *Node) { use(w, b, r, four...) },
	} {
		t.Run(name, func(t *testing.T) {
			w, n := strangers(t, 42, "192.0.2.1", "203.0.113.1")
			give(w, n[1])
			tunnelComes(t, w, n)
		})
	}
}

// tunnelComes lets the first of two strangers ping the second, and wants both to
// be known by their addresses.
func tunnelComes(t *testing.T, w *World, n []*Node) {
	t.Helper()
	everybody := everyone
	if n[0].Addr.Is6() {
		everybody = "::/0\n"
	}
	for _, x := range n[:2] {
		x.Opportunistic("", group("private", everybody))
	}
	w.Run(time.Second)
	p := ping(n[0], n[1])
	w.Run(time.Second)
	for i := range 2 {
		if got, want := stateOf(n[i], n[i].Addr, n[1-i].Addr), "encrypted secure "+n[1-i].Addr.String(); got != want {
			t.Errorf("%s: %q, want %q", n[i].Name, got, want)
		}
	}
	if n[1].Plane.Delivered[p] != 1 || w.Stats.DataSent != 1 {
		t.Errorf("delivered %d, protected %d", n[1].Plane.Delivered[p], w.Stats.DataSent)
	}
	sound(t, w)
}

// A01, A07 of IPv6: two strangers whose records stand in ip6.arpa.
func TestA07IPv6(t *testing.T) {
	w, n := strangers(t, 43, "2001:db8:a::1", "2001:db8:b::1")
	tunnelComes(t, w, n)
}

// A03 of IPv6: the clients of two gateways.
func TestA03IPv6Gateways(t *testing.T) {
	w, n := strangers(t, 44, "2001:db8:a::1", "2001:db8:b::1")
	src, dst := netip.MustParseAddr("2001:db8:a::10"), netip.MustParseAddr("2001:db8:b::20")
	w.DNS.Publish(src, n[0].Addr, 10, n[0].Key())
	w.DNS.Publish(dst, n[1].Addr, 10, n[1].Key())
	for _, x := range n {
		x.Opportunistic("", nil)
	}
	w.Run(time.Second)
	n[0].Ping(icmp(src, dst))
	w.Run(time.Second)
	if got := stateOf(n[0], src, dst); got != "encrypted secure 2001:db8:b::1" {
		t.Error(got)
	}
	sound(t, w)
}

// A08: the record calls the gateway by name, whose address the DNS has, proven.
func TestA08GatewayByName(t *testing.T) {
	w, n := strangers(t, 45, "192.0.2.1", "203.0.113.1")
	client, name := netip.MustParseAddr("203.0.113.20"), "gate.example.test."
	raw, err := oe.Record{Precedence: 10, Gateway: oe.Gateway{Name: name}, Key: n[1].Key()}.AppendIPSECKEY(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.DNS.Set(oe.Query{Name: oe.ReverseName(client), Type: oe.TypeIPSECKEY}, oe.Answer{Security: oe.Secure, Found: true, Raw: [][]byte{raw}})
	w.DNS.Set(oe.Query{Name: name, Type: oe.TypeA}, oe.Answer{Security: oe.Secure, Found: true, Raw: [][]byte{n[1].Addr.AsSlice()}})
	for _, x := range n {
		x.Opportunistic("", nil)
	}
	w.Run(time.Second)
	n[0].Ping(icmp(n[0].Addr, client))
	w.Run(time.Second)
	if got := stateOf(n[0], n[0].Addr, client); got != "encrypted secure 203.0.113.1" {
		t.Error(got)
	}
	sound(t, w)
}

// A12: A has learned that B is the gateway of a client, but the client's record
// names B no more, or has another key: B refuses, and says why.
func TestA12NotOurClient(t *testing.T) {
	client := netip.MustParseAddr("203.0.113.20")
	for name, publish := range map[string]func(w *World, n []*Node){
		"gone":        func(*World, []*Node) {},
		"another key": func(w *World, n []*Node) { w.DNS.Publish(client, n[1].Addr, 10, n[2].Key()) },
		"another":     func(w *World, n []*Node) { w.DNS.Publish(client, n[2].Addr, 10, n[2].Key()) },
	} {
		w, n := strangers(t, 46, "192.0.2.1", "203.0.113.1", "198.51.100.1")
		n[1].Opportunistic("", nil)
		w.Run(time.Second)
		publish(w, n)
		claim(w, n[0], n[1], netip.PrefixFrom(n[0].Addr, 32), netip.PrefixFrom(client, 32))
		n[0].Up("claim")
		w.Run(2 * time.Second)
		if got := stateOf(n[1], client, n[0].Addr); got != "none" || len(n[1].Plane.SAs()) != 0 {
			t.Errorf("%s: %q, %d SAs", name, got, len(n[1].Plane.SAs()))
		}
		if !traceHas(w, "our client 203.0.113.20 does not delegate us as its Security Gateway") {
			t.Errorf("%s: no line in the log\n%s", name, w.Trace)
		}
		sound(t, w)
	}
}

// asNobody makes the connection of claim anonymous on its own side.
func asNobody(_ *Node, c *connection.Description) {
	c.Local.ID, c.Local.Auth = ike.ID{Kind: ike.IDNULL}, []ike.AuthMethod{ike.AuthNULL}
}

// A17: an initiator that publishes its key at a name only, which myid= says it is:
// its packet arrives by a tunnel, B knows it by that name, and a group that asks
// for more refuses it. Another's client it cannot speak for.
func TestA17InitiateOnly(t *testing.T) {
	for name, want := range map[string]string{"clear-or-private": "encrypted named 192.0.2.1", "private": "none"} {
		w, n := strangers(t, 51, "192.0.2.1", "203.0.113.1")
		w.DNS.Withdraw(n[0].Addr)
		raw, err := oe.Record{Precedence: 10, Key: n[0].Key()}.AppendIPSECKEY(nil)
		if err != nil {
			t.Fatal(err)
		}
		w.DNS.Set(oe.Query{Name: "road.example.test.", Type: oe.TypeIPSECKEY}, oe.Answer{Security: oe.Secure, Found: true, Raw: [][]byte{raw}})
		n[0].called = ike.ID{Kind: ike.IDFQDN, Data: "road.example.test"}
		n[0].Opportunistic("", group("private", everyone))
		n[1].Opportunistic("", group(name, everyone))
		w.Run(time.Second)
		p := ping(n[0], n[1])
		w.Run(2 * time.Second)
		if got := stateOf(n[1], n[1].Addr, n[0].Addr); got != want {
			t.Errorf("%s: %q, want %q\n%s", name, got, want, w.Trace)
		}
		if got := n[1].Plane.Delivered[p] == 1; got != (want != "none") {
			t.Errorf("%s: delivered: %v", name, got)
		}
		if !traceHas(w, "the DNS has our key for @road.example.test, and none for 192.0.2.1: we can begin, and cannot be called") {
			t.Errorf("%s: no line in the log", name)
		}
		client := netip.MustParseAddr("192.0.2.10")
		n[0].Ping(icmp(client, n[1].Addr))
		w.Run(time.Second)
		if got := stateOf(n[0], client, n[1].Addr); got != "clear local" {
			t.Errorf("%s: the client: %q", name, got)
		}
		sound(t, w)
	}
}

// A19: an anonymous peer asks for the address of B's resolver: refused, and what B
// sends there goes as before.
func TestA19ResolverClaimed(t *testing.T) {
	w, n := strangers(t, 47, "192.0.2.1", "203.0.113.1", "192.0.2.53")
	n[1].Opportunistic("", group("clear-or-private", everyone))
	w.Run(time.Second)
	claim(w, n[0], n[1], netip.PrefixFrom(n[2].Addr, 32), netip.PrefixFrom(n[1].Addr, 32), asNobody)
	n[0].Up("claim")
	w.Run(2 * time.Second)
	if got := stateOf(n[1], n[1].Addr, n[2].Addr); got != "none" || len(n[1].Plane.SAs()) != 0 {
		t.Errorf("%q, %d SAs", got, len(n[1].Plane.SAs()))
	}
	if len(n[1].Table.IKEs()) != 1 {
		t.Error("the peer was not even heard: this tests nothing")
	}
	n[2].Opportunistic("", group("clear", everyone))
	p := n[1].Ping(ipsec.Flow{Src: n[1].Addr, Dst: n[2].Addr, Proto: 17, SrcPort: 4000, DstPort: 53})
	w.Run(time.Second)
	if n[2].Plane.Delivered[p] != 1 || n[0].Plane.Delivered[p] != 0 {
		t.Errorf("the resolver got %d, the peer %d", n[2].Plane.Delivered[p], n[0].Plane.Delivered[p])
	}
	sound(t, w)
}

// A20: who is anonymous asks for the hosts of a tunnel with a peer that is known,
// from that peer's address: the tunnel stays as it is.
func TestA20Anonymous(t *testing.T) {
	w, n := strangers(t, 48, "192.0.2.1", "203.0.113.1")
	n[0].Opportunistic("", nil)
	n[1].Opportunistic("", group("clear-or-private", everyone))
	w.Run(time.Second)
	ping(n[0], n[1])
	w.Run(time.Second)
	before := inbound(n[1])
	claim(w, n[0], n[1], netip.PrefixFrom(n[0].Addr, 32), netip.PrefixFrom(n[1].Addr, 32), asNobody)
	n[0].Up("claim")
	w.Run(5 * time.Second)
	if !traceHas(w, "has a tunnel with authentication secure, the peer has anon") {
		t.Errorf("no line in the log\n%s", w.Trace)
	}
	if got := stateOf(n[1], n[1].Addr, n[0].Addr); got != "encrypted secure 192.0.2.1" || inbound(n[1]) != before {
		t.Errorf("%q, SAs %q, before %q", got, inbound(n[1]), before)
	}
	sound(t, w)
}

// inbound lists the SAs that a node receives by.
func inbound(n *Node) string {
	var list []string
	for _, s := range n.Plane.SAs() {
		if s.Dir == ipsec.In {
			list = append(list, s.ID.String())
		}
	}
	return strings.Join(list, " ")
}

// A21, A22: records of FreeS/WAN's form serve where no others are, whatever else
// is among them; one that names its gateway gives no address to call.
func TestA21A22LegacyRecords(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text := func(s string) []byte { return append([]byte{byte(len(s))}, s...) }
	for name, c := range map[string]struct {
		gateway oe.Gateway
		want    string
	}{
		"A21": {oe.Gateway{Addr: netip.MustParseAddr("203.0.113.1")}, "encrypted secure 203.0.113.1"},
		"A22": {oe.Gateway{Name: "gate.example.test."}, "clear unusable-key"},
	} {
		t.Run(name, func(t *testing.T) {
			w, n := strangers(t, 49, "192.0.2.1", "203.0.113.1")
			use(w, n[1], key)
			client := netip.MustParseAddr("203.0.113.20")
			rec, err := oe.Record{Precedence: 10, Gateway: c.gateway, Key: key.Public()}.AppendTXT(nil)
			if err != nil {
				t.Fatal(err)
			}
			w.DNS.Set(oe.Query{Name: oe.ReverseName(client), Type: oe.TypeTXT}, oe.Answer{Security: oe.Secure, Found: true,
				Raw: [][]byte{text("v=spf1 -all"), text("X-IPsec-Server(70000)=203.0.113.1 AQ"), rec}})
			for _, x := range n {
				x.Opportunistic("", nil)
			}
			w.Run(time.Second)
			n[0].Ping(icmp(n[0].Addr, client))
			w.Run(time.Second)
			if got := stateOf(n[0], n[0].Addr, client); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			if name == "A22" && !traceHas(w, "the gateway's address is not specified") {
				t.Error("the log does not say why")
			}
			sound(t, w)
		})
	}
}

// B36: a member list, shared by all, has our own address in it: no policy and no
// route is about it, for what we send to ourselves never leaves.
func TestB36OwnAddress(t *testing.T) {
	w, n := strangers(t, 50, "192.0.2.1", "203.0.113.1")
	n[0].Opportunistic("conn packetdefault\n auto=ignore\n", group("private", "192.0.2.1\n203.0.113.1\n"))
	w.Run(time.Second)
	about := func(a netip.Addr) (policies, routes int) {
		for _, p := range n[0].Table.Policies() {
			if p.Selector.Contains(icmp(n[0].Addr, a)) {
				policies++
			}
		}
		for _, r := range n[0].Table.Routes() {
			if r.Prefix.Contains(a) {
				routes++
			}
		}
		return policies, routes
	}
	if p, r := about(n[0].Addr); p != 0 || r != 0 {
		t.Errorf("%d policies and %d routes for ourselves", p, r)
	}
	if p, r := about(n[1].Addr); p == 0 || r != 1 {
		t.Errorf("%d policies and %d routes for the other member", p, r)
	}
	sound(t, w)
}

// B35: private has all of IPv6: what stays on the link, what has many receivers,
// and what comes from another address than the group's go on as before, so that
// neighbours, routers and DHCPv6 servers are found; all else is held.
func TestB35IPv6(t *testing.T) {
	w, n := strangers(t, 52, "2001:db8:a::1", "2001:db8:b::1")
	n[0].Opportunistic("", group("private", "::/0\n"))
	w.Run(time.Second)
	link := netip.MustParseAddr("fe80::1")
	for _, c := range []struct {
		src   netip.Addr
		dst   string
		proto uint8
		want  ipsec.Action
	}{
		{n[0].Addr, "ff02::1:ff00:2", 58, ipsec.Pass}, // a neighbour is solicited
		{n[0].Addr, "fe80::2", 58, ipsec.Pass},        // and answered
		{link, "ff02::2", 58, ipsec.Pass},             // a router
		{link, "ff02::1:2", 17, ipsec.Pass},           // DHCPv6
		{n[0].Addr, "2001:db8:b::1", 58, ipsec.Trap},
		{n[0].Addr, "2001:db8:c::1", 6, ipsec.Trap},
	} {
		p := ipsec.Flow{Src: c.src, Dst: netip.MustParseAddr(c.dst), Proto: c.proto}
		if x, ok := n[0].Plane.spd.find(p); !ok || x.Action != c.want {
			t.Errorf("%s: %+v, want %s", p, x, c.want)
		}
	}
}
