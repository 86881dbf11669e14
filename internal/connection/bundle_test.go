package connection

import (
	"slices"
	"testing"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// bundled makes a reported pair one of AH around ESP around IPComp.
func bundled(u *ike.ChildUp) {
	u.InBundle, u.OutBundle = around(u.In), around(u.Out)
}

func around(esp ipsec.SAID) []ipsec.SAID {
	return []ipsec.SAID{{Dst: esp.Dst, Proto: ipsec.Comp, SPI: 0x2000 + esp.SPI&0xfff}, esp, {Dst: esp.Dst, Proto: ipsec.AH, SPI: esp.SPI}}
}

// The eroute of a pair of bundles has all of its SAs, in the order in which they
// are applied, and after a rekeying those of the newer pair.
func TestErouteOfABundle(t *testing.T) {
	w := newWorld(t)
	w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24"))
	w.step(Up{Name: "c"})
	c := w.conn("c")
	w.ikeUp(1, c.Conn)
	old := w.childUp(1, c.Conn, bundled)
	check := func(serial uint32) {
		t.Helper()
		_, ch := w.table.childBySerial(serial)
		if len(w.policies) != 1 || !slices.Equal(w.policies[0].Bundle, around(ch.up.Out)) {
			t.Errorf("policies %v, want one of %v", w.policies, around(ch.up.Out))
		}
		for _, id := range append(around(ch.up.In), around(ch.up.Out)...) {
			if got := w.table.Carrier(id); got != 1 {
				t.Errorf("%s rides on #%d, want #1", id, got)
			}
		}
	}
	check(old)
	next := w.childUp(1, c.Conn, bundled, func(u *ike.ChildUp) { u.Rekeyed = old })
	check(next)
	w.childDown(1, old, c.Conn, ike.ChildDown{Replaced: true})
	check(next)
	w.childDown(1, next, c.Conn, ike.ChildDown{ByPeer: true})
	if w.state("c", Trapped); w.eroute("c") != "%trap" {
		t.Errorf("the eroute is %s", w.eroute("c"))
	}
}

// A rekeying may come to another bundle than before: the peer compresses no
// more.
func TestBundleThatLosesIPComp(t *testing.T) {
	w := newWorld(t)
	w.add(describe("c", "10.1.0.0/24", "10.2.0.0/24"))
	w.step(Up{Name: "c"})
	c := w.conn("c")
	w.ikeUp(1, c.Conn)
	old := w.childUp(1, c.Conn, bundled)
	next := w.childUp(1, c.Conn, func(u *ike.ChildUp) { u.Rekeyed = old })
	_, ch := w.table.childBySerial(next)
	if got := w.policies[0].Bundle; !slices.Equal(got, []ipsec.SAID{ch.up.Out}) {
		t.Errorf("the eroute has %v, want %s alone", got, ch.up.Out)
	}
}
