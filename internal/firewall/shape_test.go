package firewall

import (
	"strings"
	"testing"

	"cygnet/internal/ipsec"
)

// Every kind of selector, with and without a device, makes sets that nftables
// has a type for: a key of it has five fields at most.
func TestEveryShapeHasAKey(t *testing.T) {
	bootp := ipsec.Ports{Lo: 67, Hi: 68}
	var list []Policy
	for _, device := range []string{"eth0", "eth1", ""} /* the specific first, or it is out of reach */ {
		for _, net := range []string{"10.1.0.0/16", "2001:db8::/32"} {
			p := prefix(net)
			for _, s := range []ipsec.Selector{{Src: p, Dst: p, Proto: 17, SrcPorts: bootp, DstPorts: bootp}, {Src: p, Dst: p, Proto: 17, SrcPorts: bootp}, {Src: p, Dst: p, Proto: 17}, {Src: p, Dst: p}} {
				list = append(list, Policy{Selector: s, Device: device, Drop: true})
			}
		}
	}
	rs := render(State{Devices: []string{"ipsec0"}, Inbound: list, Outbound: list}, Options{})
	for _, s := range rs.sets {
		if k := s.kernelSet(); len(s.key) > 5 || k.KeyType.Name == "" {
			t.Errorf("set %s has a key of %d fields, %q", s.name, len(s.key), k.KeyType.Name)
		}
		for _, e := range s.elements {
			size := 0
			for _, f := range s.key {
				size += int(f.Bytes+3) / 4 * 4
			}
			if len(e.Key) != size {
				t.Errorf("set %s: an element of %d octets for a key of %d", s.name, len(e.Key), size)
			}
		}
	}
	only := 0
	for _, c := range rs.chains {
		for _, r := range c.rules {
			if strings.HasPrefix(r.name, CountOutbound) {
				only++
			}
		}
	}
	if only < 6 {
		t.Errorf("%d rules for what leaves", only)
	}
}
