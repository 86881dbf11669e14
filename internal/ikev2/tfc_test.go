package ikev2

import (
	"testing"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// TFC padding in the first Child SA and after a rekeying: asked for on both
// sides, refused by the other, and where it cannot be.
func TestTFC(t *testing.T) {
	for name, c := range map[string]struct {
		set        func(west, east *ike.Conn)
		west, east int // what each pads to
	}{
		"off":       {func(w, e *ike.Conn) {}, 0, 0},
		"both":      {func(w, e *ike.Conn) { w.TFC, e.TFC = 1000, ipsec.ToMTU }, 1000, ipsec.ToMTU},
		"refused":   {func(w, e *ike.Conn) { w.TFC, e.TFC, e.RefuseTFC = 1000, 900, true }, 0, 900},
		"by west":   {func(w, e *ike.Conn) { w.TFC, e.TFC, w.RefuseTFC = 1000, 900, true }, 1000, 0},
		"transport": {func(w, e *ike.Conn) { w.TFC, e.TFC, w.Mode, e.Mode = 1000, 900, ipsec.Transport, ipsec.Transport }, 0, 0},
		"IPComp":    {func(w, e *ike.Conn) { w.TFC, e.TFC, w.Compress, e.Compress = 1000, 900, true, true }, 0, 0},
		"AH": {func(w, e *ike.Conn) {
			w.TFC, e.TFC, w.Encap, e.Encap = 1000, 900, ike.No, ike.No
			w.ESP, e.ESP = suite.DefaultAH(true), suite.DefaultAH(true)
		}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, 41)
			if name == "IPComp" {
				compress(p)
			}
			c.set(p.west.conns[0], p.east.conns[0])
			w, _ := p.up()
			check := func() {
				t.Helper()
				for n, want := range map[*node]int{p.west: c.west, p.east: c.east} {
					ups := facts[ike.ChildUp](n)
					for id, sa := range n.plane {
						switch {
						case sa.Dir == ipsec.In && sa.TFC != 0:
							t.Errorf("%s: inbound SA %s pads to %d", n.name, id, sa.TFC)
						case sa.Dir == ipsec.Out && id == ups[len(ups)-1].Out && sa.TFC != want:
							t.Errorf("%s: pads to %d, want %d", n.name, sa.TFC, want)
						}
					}
				}
			}
			check()
			p.west.step(w, ike.Rekey{Child: w.children[0].serial})
			p.settle()
			check()
		})
	}
}
