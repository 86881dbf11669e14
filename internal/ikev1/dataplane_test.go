package ikev1

import (
	"testing"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// In transport mode behind a NAT both ends tell each other by NAT-OA what their
// checksums cover, RFC 3947 section 5.2.
func TestAdv_ESP_34_OriginalAddresses(t *testing.T) {
	p := newPair(t, 12)
	p.west.conns[0] = connection("hosts", p.west, p.east, "", "")
	p.east.conns[0] = connection("hosts", p.east, p.west, "", "")
	p.useNAT()
	p.east.conns[0].Remote.TS = nil
	p.both(func(c *ike.Conn) { c.Mode = ipsec.Transport })
	p.up()
	want := map[*node]ipsec.Original{
		p.east: {Src: westAddr.Addr(), Dst: eastAddr.Addr()},
		p.west: {Src: eastAddr.Addr(), Dst: natAddr.Addr()},
	}
	for n, o := range want {
		found := 0
		for id, sa := range n.plane {
			switch {
			case sa.Dir == ipsec.Out && sa.Original != ipsec.Original{}:
				t.Errorf("%s: %s has %+v", n.name, id, sa.Original)
			case sa.Dir == ipsec.In:
				found++
				if sa.Original != o {
					t.Errorf("%s: %s has %+v, want %+v", n.name, id, sa.Original, o)
				}
			}
		}
		if found != 1 {
			t.Errorf("%s: %d inbound SAs", n.name, found)
		}
	}
}

// A key of 3DES is replaced before 2^20 blocks, and any key before 2^32 packets.
func TestAdv_ESP_37_Limits(t *testing.T) {
	p := newPair(t, 3)
	p.both(func(c *ike.Conn) { c.ESP = withKE(parsed(suite.ParseESP, "3des-sha1"), 14) })
	w, _ := p.up()
	for _, n := range []*node{p.west, p.east} {
		for id, sa := range n.plane {
			if l := sa.Life; l.SoftBytes == 0 || l.SoftBytes >= 8<<20 || l.HardBytes != 1<<30 || l.SoftPackets == 0 || l.SoftPackets >= l.HardPackets || l.HardPackets >= 1<<32 {
				t.Errorf("%s: %s lives %+v", n.name, id, l)
			}
		}
	}
	p.west.step(w, ike.Plane{Event: ipsec.Expire{ID: w.children[0].out[0]}})
	p.settle()
	if n := len(facts[ike.ChildUp](p.west)); n != 2 {
		t.Errorf("%d pairs after the soft limit", n)
	}
}
