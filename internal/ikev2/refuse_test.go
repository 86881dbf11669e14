package ikev2

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// nothing checks that a failed attempt left nothing behind, at once at the
// initiator and after a while at the responder.
func (p *pair) nothing() {
	p.t.Helper()
	if len(p.west.plane)+len(p.east.plane) != 0 {
		p.t.Errorf("SAs are left over")
	}
	p.pass(2 * time.Minute)
	if n := len(p.west.machines) + len(p.east.machines); n != 0 {
		p.t.Errorf("%d machines are left over\n%s", n, p)
	}
	if p.east.gate.HalfOpen() != 0 {
		p.t.Errorf("the gate holds %d", p.east.gate.HalfOpen())
	}
}

func id(text string) ike.ID {
	i, err := ike.ParseID(text)
	if err != nil {
		panic(err)
	}
	return i
}

// Every way in which two ends do not get together, and what each says of it.
// adversary.md V2S-23.
func TestRefusals(t *testing.T) {
	conn := func(n *node) *ike.Conn { return n.conns[0] }
	only := func(c *ike.Conn, list *[]suite.Proposal, encr string) {
		var out []suite.Proposal
		for _, p := range *list {
			var e []suite.EncrChoice
			for _, x := range p.Encr {
				if x.Name == encr {
					e = append(e, x)
				}
			}
			if p.Encr = e; len(e) > 0 {
				out = append(out, p)
			}
		}
		*list = out
	}
	for _, c := range []struct {
		name    string
		spoil   func(p *pair)
		west    ike.Reason // of the initiator's failure
		says    string     // in it
		east    string     // in the responder's failure or note
		ikeUp   bool       // the IKE SA is up all the same
		patient bool       // west waits for something better first
	}{
		{name: "wrong PSK", spoil: func(p *pair) { p.east.psk = "another" },
			west: ike.ReasonAuth, says: "AUTHENTICATION_FAILED", east: "pre-shared keys for @east and @west differ"},
		{name: "no PSK at the initiator", spoil: func(p *pair) { p.west.psk = "" },
			west: ike.ReasonAuth, says: "no secret for @west and @east", east: "did not go on"},
		{name: "no PSK at the responder", spoil: func(p *pair) { p.east.psk = "" },
			west: ike.ReasonAuth, says: "AUTHENTICATION_FAILED", east: "no secret for @east and @west"},
		{name: "wrong key of the initiator", spoil: func(p *pair) {
			useKeys(p, edKey(1), edKey(2))
			p.west.signer = edKey(3)
		}, west: ike.ReasonAuth, says: "AUTHENTICATION_FAILED", east: "signature check on @west"},
		{name: "wrong key of the responder", spoil: func(p *pair) {
			useKeys(p, edKey(1), edKey(2))
			p.east.signer = edKey(3)
		}, west: ike.ReasonAuth, says: "signature check on @east", east: "does not accept our authentication"},
		{name: "unknown initiator", spoil: func(p *pair) { conn(p.west).Local.ID = id("@stranger") },
			west: ike.ReasonAuth, says: "the peer refuses us, '@stranger'", east: "no suitable connection for peer '@stranger'"},
		{name: "wrong responder", spoil: func(p *pair) { conn(p.west).Remote.ID = id("@oast") },
			west: ike.ReasonAuth, says: "AUTHENTICATION_FAILED", east: "asks for '@oast'"},
		{name: "method not allowed", spoil: func(p *pair) { conn(p.east).Remote.Auth = []ike.AuthMethod{ike.AuthPubkey} },
			west: ike.ReasonAuth, says: "AUTHENTICATION_FAILED", east: "authenticates by pre-shared key"},
		{name: "responder's method not allowed", spoil: func(p *pair) { conn(p.west).Remote.Auth = []ike.AuthMethod{ike.AuthPubkey} },
			west: ike.ReasonAuth, says: "authenticates by pre-shared key, which the connection does not allow", east: "does not accept our authentication"},
		{name: "no IKE proposal in common", spoil: func(p *pair) {
			only(conn(p.west), &conn(p.west).IKE, "aes_cbc")
			only(conn(p.east), &conn(p.east).IKE, "aes_gcm_16")
		}, west: ike.ReasonProposal, says: "NO_PROPOSAL_CHOSEN", east: "no acceptable IKE proposal", patient: true},
		{name: "no connection for the address", spoil: func(p *pair) { conn(p.east).Remote.Addr = netip.MustParseAddr("192.0.2.1") },
			west: ike.ReasonProposal, says: "NO_PROPOSAL_CHOSEN", east: "no connection has been authorized", patient: true},
		{name: "nobody there", spoil: func(p *pair) { p.fate = func(datagram) []datagram { return nil } },
			west: ike.ReasonSilent, says: "No response", patient: true},
		{name: "no ESP proposal in common", spoil: func(p *pair) {
			only(conn(p.west), &conn(p.west).ESP, "aes_cbc")
			only(conn(p.east), &conn(p.east).ESP, "aes_gcm_16")
		}, west: ike.ReasonProposal, says: "NO_PROPOSAL_CHOSEN", east: "no acceptable ESP proposal", ikeUp: true},
		{name: "no selectors in common", spoil: func(p *pair) {
			conn(p.west).Remote.TS = []ipsec.TS{ipsec.TSOf(netip.MustParsePrefix("10.9.0.0/16"), 0, ipsec.Ports{})}
		}, west: ike.ReasonTS, says: "TS_UNACCEPTABLE", east: "no connection is known for 10.9.0.0/16 === 192.168.100.0/24", ikeUp: true},
		{name: "smaller selectors without narrowing", spoil: func(p *pair) {
			conn(p.west).Remote.TS = []ipsec.TS{ipsec.TSOf(netip.MustParsePrefix("192.168.200.0/25"), 0, ipsec.Ports{})}
		}, west: ike.ReasonTS, says: "TS_UNACCEPTABLE", east: "ours: 192.168.200.0/24", ikeUp: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t, 11)
			c.spoil(p)
			p.west.initiate()
			p.settle()
			if c.patient {
				if len(facts[ike.Failed](p.west)) != 0 {
					t.Fatal("west gives up because of what anybody could have said")
				}
				p.pass(defaultRetransmitTotal)
			}
			f := p.west.failure()
			if f.Reason != c.west || !strings.Contains(f.Why, c.says) {
				t.Errorf("west says %s: %q", f.Reason, f.Why)
			}
			if c.ikeUp {
				p.check(0)
				for _, n := range []*node{p.west, p.east} {
					if len(facts[ike.IKEUp](n)) != 1 || len(facts[ike.IKEDown](n)) != 0 {
						t.Errorf("%s: the IKE SA should be up", n.name)
					}
				}
			} else {
				p.pass(40 * time.Second)
				if len(facts[ike.IKEUp](p.west)) != 0 {
					t.Error("west reports an IKE SA")
				}
				if len(facts[ike.IKEUp](p.east)) != len(facts[ike.IKEDown](p.east)) {
					t.Error("east keeps an IKE SA")
				}
				p.nothing()
			}
			if !strings.Contains(p.String(), c.east) {
				t.Errorf("east does not say %q:\n%s", c.east, p)
			}
		})
	}
}

// All kinds of keys, with and without SIGNATURE_HASH_ALGORITHMS.
func TestPubkeyMethods(t *testing.T) {
	rsaKey := func() *rsa.PrivateKey {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	ecKey := func(c elliptic.Curve) *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	t.Run("RSA and ECDSA", func(t *testing.T) {
		p := newPair(t, 1)
		useKeys(p, rsaKey(), ecKey(elliptic.P256()))
		p.up()
	})
	t.Run("ECDSA P-384 and Ed25519", func(t *testing.T) {
		p := newPair(t, 1)
		useKeys(p, ecKey(elliptic.P384()), edKey(2))
		p.up()
	})
	t.Run("PSK one way, key the other", func(t *testing.T) {
		p := newPair(t, 1)
		useKeys(p, edKey(1), edKey(2))
		p.west.conns[0].Local.Auth = []ike.AuthMethod{ike.AuthPSK}
		p.east.conns[0].Remote.Auth = []ike.AuthMethod{ike.AuthPSK}
		p.up()
	})
}

// A road warrior: the connection is a template, the peer's address comes with
// its call.
func TestRoadWarrior(t *testing.T) {
	p := newPair(t, 1)
	c := p.east.conns[0]
	c.Template, c.Remote.Addr, c.Remote.ID = true, netip.IPv4Unspecified(), ike.ID{}
	c.Remote.TS, c.Remote.Host = nil, true
	w := p.west.conns[0]
	w.Local.TS, w.Local.Host = nil, true
	_, e := p.up()
	if e.conn == c || e.conn.Title() != `"west-east"[1] 101.101.101.101` {
		t.Errorf("the IKE SA is of %s", e.conn.Title())
	}
	up := facts[ike.ChildUp](p.east)[0]
	if len(up.TSRemote) != 1 || up.TSRemote[0].String() != "101.101.101.101/32" {
		t.Errorf("the road warrior's selectors are %v", up.TSRemote)
	}
}

// Two connections to one peer share an IKE SA; each request finds its own.
func TestSiblings(t *testing.T) {
	p := newPair(t, 1)
	p.west.conns = append(p.west.conns, connection("second", p.west, p.east, "10.1.0.0/16", "10.2.0.0/16"))
	p.east.conns = append(p.east.conns, connection("second", p.east, p.west, "10.2.0.0/16", "10.1.0.0/16"))
	w := p.west.initiate()
	p.west.step(w, ike.AddChild{Conn: p.west.conns[1]}) // waits for the IKE SA
	p.settle()
	p.check(2)
	ups := facts[ike.ChildUp](p.east)
	if len(ups) != 2 || ups[1].TSLocal[0].String() != "10.2.0.0/16" {
		t.Errorf("%+v", ups)
	}
	if len(facts[ike.IKEUp](p.west)) != 1 {
		t.Error("a second IKE SA")
	}
}

// Narrowing, RFC 7296, 2.9: the responder takes the part it may, and the packet
// that asked for the SA is inside.
// adversary.md V2S-24.
func TestNarrowing(t *testing.T) {
	p := newPair(t, 1)
	all := []ipsec.TS{ipsec.TSOf(netip.MustParsePrefix("0.0.0.0/0"), 0, ipsec.Ports{})}
	p.west.conns[0].Remote.TS = all
	p.east.conns[0].Local.TS = []ipsec.TS{
		ipsec.TSOf(netip.MustParsePrefix("10.2.0.0/16"), 6, ipsec.Ports{Lo: 80, Hi: 443}),
		ipsec.TSOf(netip.MustParsePrefix("192.168.200.0/24"), 0, ipsec.Ports{}),
	}
	w := NewInitiator(p.west.cfg, p.west.conns[0], p.west.addr, p.east.addr)
	p.west.machines = append(p.west.machines, w)
	flow := &ipsec.Flow{Src: netip.MustParseAddr("192.168.100.7"), Dst: netip.MustParseAddr("192.168.200.9"), Proto: 17, SrcPort: 1024, DstPort: 53}
	p.west.step(w, ike.Initiate{Trigger: flow})
	auth := p.flying[0] // IKE_SA_INIT
	_ = auth
	p.settle()
	p.check(1)
	asked := open(t, w, p.sent[2].Msg, true)
	tsi, _ := asked.TSi()
	tsr, _ := asked.TSr()
	if tsi.Selectors[0].String() != "192.168.100.7/32:1024 proto 17" || tsr.Selectors[0].String() != "192.168.200.9/32:53 proto 17" {
		t.Errorf("the trigger does not go first: %v %v", tsi, tsr)
	}
	up := facts[ike.ChildUp](p.west)[0]
	if got := textOf(up.TSRemote); got != "10.2.0.0/16:80-443 proto 6,192.168.200.0/24" {
		t.Errorf("agreed on %s", got)
	}
	for _, sa := range p.west.plane {
		if sa.Dir == ipsec.In && len(sa.Selectors) != 2 {
			t.Errorf("inbound selectors: %v", sa.Selectors)
		}
		if sa.Dir == ipsec.In && sa.Selectors[0].String() != "10.2.0.0/16:80-443 -> 192.168.100.0/24 proto 6" {
			t.Errorf("inbound selector: %v", sa.Selectors[0])
		}
	}
	// A rekeyed pair keeps what was agreed.
	p.west.step(w, ike.Rekey{Child: w.children[0].serial})
	p.settle()
	if ups := facts[ike.ChildUp](p.east); len(ups) != 2 || textOf(ups[1].TSLocal) != textOf(ups[0].TSLocal) {
		t.Errorf("rekeyed to %+v", ups)
	}
}

// Transport mode, RFC 7296, 1.3.1: both must want it.
// adversary.md V2S-27.
func TestTransportMode(t *testing.T) {
	host := func(c *ike.Conn, m ipsec.Mode) {
		c.Mode = m
		c.Local.Host, c.Remote.Host = true, true
		c.Local.TS, c.Remote.TS = nil, nil
	}
	t.Run("both", func(t *testing.T) {
		p := newPair(t, 1)
		host(p.west.conns[0], ipsec.Transport)
		host(p.east.conns[0], ipsec.Transport)
		w, _ := p.up()
		if up := facts[ike.ChildUp](p.east)[0]; up.Mode != ipsec.Transport {
			t.Errorf("mode %s", up.Mode)
		}
		p.west.step(w, ike.Rekey{Child: w.children[0].serial})
		p.settle()
		if ups := facts[ike.ChildUp](p.east); len(ups) != 2 || ups[1].Mode != ipsec.Transport {
			t.Errorf("after rekeying: %+v", ups)
		}
	})
	t.Run("responder wants tunnel", func(t *testing.T) {
		p := newPair(t, 1)
		host(p.west.conns[0], ipsec.Transport)
		host(p.east.conns[0], ipsec.Tunnel)
		p.west.initiate()
		p.settle()
		if f := p.west.failure(); f.Reason != ike.ReasonTS || !strings.Contains(f.Why, "transport mode") {
			t.Errorf("%+v", f)
		}
		p.check(0) // east's pair is deleted
	})
	t.Run("initiator wants tunnel", func(t *testing.T) {
		p := newPair(t, 1)
		host(p.west.conns[0], ipsec.Tunnel)
		host(p.east.conns[0], ipsec.Transport)
		p.west.initiate()
		p.settle()
		if f := p.west.failure(); f.Reason != ike.ReasonTS || f.Notify != ike.NotifyTSUnacceptable {
			t.Errorf("%+v", f)
		}
		p.check(0)
	})
}

// Encapsulation: by default always in UDP on port 4500; with encapsulation=no
// on both sides raw ESP, unless a NAT is there.
func TestEncapsulation(t *testing.T) {
	for _, c := range []struct {
		name       string
		west, east ike.Tristate
		nat        bool
		want       bool
	}{
		{"default", ike.Auto, ike.Auto, false, true},
		{"yes", ike.Yes, ike.Yes, false, true},
		{"no", ike.No, ike.No, false, false},
		{"no, but the peer forces it", ike.No, ike.Auto, false, true},
		{"forced on a peer that does not", ike.Auto, ike.No, false, true},
		{"no, but there is a NAT", ike.No, ike.No, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t, 1)
			p.west.conns[0].Encap, p.east.conns[0].Encap = c.west, c.east
			outside := netip.MustParseAddr("192.0.2.77")
			if c.nat {
				p.east.conns[0].Remote.Addr = outside
				p.fate = func(d datagram) []datagram { return []datagram{throughNAT(p, d, outside)} }
			}
			w := p.west.initiate()
			p.settle()
			up := facts[ike.ChildUp](p.west)
			if len(up) != 1 {
				t.Fatalf("not up\n%s", p)
			}
			if got := up[0].Encap != (ipsec.Encap{}); got != c.want {
				t.Errorf("encapsulated: %v", got)
			}
			if got := w.remote.Port() == 4500; got != c.want {
				t.Errorf("west talks to %s", w.remote)
			}
			up = facts[ike.ChildUp](p.east)
			if got := up[0].Encap != (ipsec.Encap{}); got != c.want {
				t.Errorf("at the peer encapsulated: %v", got)
			}
			if c.nat {
				if up[0].Encap.RemotePort != 14500 || up[0].Out.Dst != outside {
					t.Errorf("east sends to %v, %+v", up[0].Out, up[0].Encap)
				}
				if !w.natLocal || w.keepAliveAt.IsZero() {
					t.Error("west does not notice its NAT")
				}
			}
		})
	}
}

// throughNAT is west's address seen from outside: another, with ports moved up
// by 10000.
func throughNAT(p *pair, d datagram, outside netip.Addr) datagram {
	inside := p.west.addr.Addr()
	if d.from == p.west {
		d.Local = netip.AddrPortFrom(outside, d.Local.Port()+10000)
	} else {
		d.Remote = netip.AddrPortFrom(inside, d.Remote.Port()-10000)
	}
	return d
}

// A NAT that gives west another port: east follows the next authenticated
// request, and the pair is rekeyed for it.
func TestNATRebinding(t *testing.T) {
	p := newPair(t, 1)
	outside := netip.MustParseAddr("192.0.2.77")
	p.east.conns[0].Remote.Addr = outside
	port := uint16(0)
	p.fate = func(d datagram) []datagram {
		d = throughNAT(p, d, outside)
		if d.from == p.west {
			d.Local = netip.AddrPortFrom(d.Local.Addr(), d.Local.Port()+port)
		} else {
			d.Remote = netip.AddrPortFrom(d.Remote.Addr(), 4500)
		}
		return []datagram{d}
	}
	w := p.west.initiate()
	p.settle()
	p.pass(time.Minute)
	port = 7
	p.west.step(w, ike.Probe{})
	p.settle()
	e := p.east.machines[0].(*SA)
	if e.remote.Port() != 14507 {
		t.Errorf("east talks to %s", e.remote)
	}
	p.pass(time.Minute)
	for _, sa := range p.east.plane {
		if sa.Dir == ipsec.Out && sa.Encap.RemotePort != 14507 {
			t.Errorf("%s goes to port %d", sa.ID, sa.Encap.RemotePort)
		}
	}
	if len(p.east.plane) != 2 {
		t.Errorf("%d SAs", len(p.east.plane))
	}
	// The data plane may be the first to see it.
	e.lastMoved = time.Time{}
	p.east.step(e, ike.Plane{Event: ipsec.PeerMoved{ID: e.children[0].in, From: netip.AddrPortFrom(outside, 14509)}})
	if e.remote.Port() != 14509 {
		t.Errorf("east did not follow the data plane to %s", e.remote)
	}
}

// Volumes: the soft limit rekeys, the hard one deletes.
func TestVolume(t *testing.T) {
	p := newPair(t, 1)
	p.west.conns[0].LifeBytes, p.west.conns[0].LifePackets = 1<<30, 1<<20
	w, _ := p.up()
	c := w.children[0]
	for _, sa := range p.west.plane {
		if l := sa.Life; l.HardBytes != 1<<30 || l.SoftBytes >= l.HardBytes || l.SoftBytes < 3<<28 || l.SoftPackets >= l.HardPackets {
			t.Errorf("%+v", sa.Life)
		}
	}
	p.west.step(w, ike.Plane{Event: ipsec.Expire{ID: c.out}})
	p.west.step(w, ike.Plane{Event: ipsec.Expire{ID: c.in}}) // not twice
	p.settle()
	p.pass(time.Minute)
	p.check(1)
	if n := len(facts[ike.ChildUp](p.west)); n != 2 {
		t.Errorf("%d pairs were made", n)
	}
	p.west.step(w, ike.Plane{Event: ipsec.Expire{ID: w.children[0].in, Hard: true}})
	p.settle()
	p.check(0)
}
