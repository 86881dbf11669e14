package ikev2

import (
	"net/netip"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// In transport mode behind a NAT the responder's inbound SA knows which addresses
// the peer's checksums cover, also after the pair is replaced, whoever does it.
func TestAdv_ESP_34_OriginalAddresses(t *testing.T) {
	p := newPair(t, 1)
	outside := netip.MustParseAddr("192.0.2.77")
	host := func(c *ike.Conn) {
		c.Mode = ipsec.Transport
		c.Local.Host, c.Remote.Host, c.Local.TS, c.Remote.TS = true, true, nil, nil
	}
	host(p.west.conns[0])
	host(p.east.conns[0])
	p.east.conns[0].Remote.Addr = outside
	p.fate = func(d datagram) []datagram { return []datagram{throughNAT(p, d, outside)} }
	p.west.initiate()
	p.settle()
	e := p.east.machines[0].(*SA)
	want := ipsec.Original{Src: p.west.addr.Addr(), Dst: p.east.addr.Addr()}
	check := func(when string) {
		t.Helper()
		for id, sa := range p.east.plane {
			switch {
			case sa.Dir == ipsec.In && sa.Original != want:
				t.Errorf("%s: %s has original addresses %+v, want %+v", when, id, sa.Original, want)
			case sa.Dir == ipsec.Out && sa.Original != ipsec.Original{}:
				t.Errorf("%s: %s has original addresses", when, id)
			}
			if sa.Mode != ipsec.Transport || sa.Encap == (ipsec.Encap{}) {
				t.Errorf("%s: %s is in %s mode, encapsulation %+v", when, id, sa.Mode, sa.Encap)
			}
		}
		// West cannot know what its peer's checksums cover.
		for id, sa := range p.west.plane {
			if sa.Original != (ipsec.Original{}) {
				t.Errorf("%s: at west %s has %+v", when, id, sa.Original)
			}
		}
		if len(p.east.plane) < 2 {
			t.Fatalf("%s: not up\n%s", when, p)
		}
	}
	check("at first")
	p.west.step(p.west.machines[0], ike.Rekey{Child: p.west.machines[0].(*SA).children[0].serial})
	p.settle()
	check("replaced by west")
	p.east.step(e, ike.Rekey{Child: e.children[0].serial})
	p.settle()
	for _, c := range e.children {
		if c.initiator && c.original != want {
			t.Errorf("replaced by east: %+v", c.original)
		}
	}
}

// In tunnel mode, and where there is no NAT, nothing is said of it.
func TestNoOriginalAddresses(t *testing.T) {
	p := newPair(t, 1)
	p.up()
	for id, sa := range p.east.plane {
		if sa.Original != (ipsec.Original{}) {
			t.Errorf("%s has %+v", id, sa.Original)
		}
	}
}

// Whatever was negotiated, another key is made before 2^32 packets, and with 3DES
// before 2^20 blocks.
func TestAdv_ESP_37_Limits(t *testing.T) {
	for _, algorithms := range []string{"aes256gcm16", "chacha20poly1305", "aes256-sha2_256", "3des-sha1"} {
		p := newPair(t, 1)
		for _, n := range []*node{p.west, p.east} {
			var err error
			if n.conns[0].ESP, err = suite.ParseESP(algorithms); err != nil {
				t.Fatal(err)
			}
		}
		w, _ := p.up()
		for _, n := range []*node{p.west, p.east} {
			for id, sa := range n.plane {
				l := sa.Life
				if aead := sa.IntegKey.Len() == 0; (aead || !sa.Transform.ESN) && (l.SoftPackets == 0 || l.SoftPackets >= l.HardPackets || l.HardPackets >= 1<<32) {
					t.Errorf("%s at %s: %s lives %+v", algorithms, n.name, id, l)
				}
				if short := algorithms == "3des-sha1"; short && (l.SoftBytes == 0 || l.SoftBytes >= 8<<20 || l.HardBytes > 1<<30) || !short && l.HardBytes != 0 {
					t.Errorf("%s at %s: %s lives %+v", algorithms, n.name, id, l)
				}
			}
		}
		p.west.step(w, ike.Plane{Event: ipsec.Expire{ID: w.children[0].out}})
		p.settle()
		if n := len(facts[ike.ChildUp](p.west)); n != 2 {
			t.Errorf("%s: %d pairs after the soft limit", algorithms, n)
		}
	}
}

// No nonce of an AEAD is used twice under the keys of an IKE SA in one direction:
// through rekeyings of everything, with lost messages; a copy of a message is the
// same octets.
func TestAdv_CRY_21_NoncesOfIKE(t *testing.T) {
	p := newPair(t, 1)
	for _, n := range []*node{p.west, p.east} {
		n.conns[0].IKE = []suite.Proposal{suite.DefaultIKE()[0]}
	}
	n := 0
	p.fate = func(d datagram) []datagram {
		if n++; n%5 == 0 {
			return nil // lost, and sent once more
		}
		return []datagram{d}
	}
	p.west.initiate()
	p.pass(time.Minute)
	for range 4 {
		for _, n := range []*node{p.west, p.east} {
			s := n.machines[len(n.machines)-1].(*SA)
			n.step(s, ike.Rekey{Child: s.children[0].serial})
			p.pass(time.Minute)
			n.step(s, ike.Rekey{})
			p.pass(time.Minute)
		}
	}
	type nonce struct {
		from       *node
		spiI, spiR uint64
		iv         [8]byte
	}
	seen := map[nonce]string{}
	keys := map[[2]uint64]bool{}
	for _, d := range p.sent {
		h, err := ike.ParseHeader(d.Msg)
		if err != nil {
			t.Fatal(err)
		}
		at := 28 + 4
		switch ike.PayloadType(d.Msg[16]) {
		case ike.PayloadSK:
		case ike.PayloadSKF:
			at += 4
		default:
			continue
		}
		x := nonce{d.from, h.SPIi, h.SPIr, [8]byte(d.Msg[at:])}
		if old, ok := seen[x]; ok && old != string(d.Msg) {
			t.Errorf("nonce %x of %s is used for two messages", x.iv, d.from.name)
		}
		seen[x], keys[[2]uint64{h.SPIi, h.SPIr}] = string(d.Msg), true
	}
	if len(keys) < 5 || len(seen) < 30 {
		t.Errorf("only %d messages of %d IKE SAs", len(seen), len(keys))
	}
}
