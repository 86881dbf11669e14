package resolve

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"cygnet/internal/dnslab"
	"cygnet/internal/oe"
)

// The time of day jumps across the validity of what is signed, there and back,
// while hardly any time passes: nothing that was proven before counts unseen, and
// nothing that was refused stays refused. Adjusting and smearing is no jump.
func TestAdv_CLK_07_ProofsOverJumps(t *testing.T) {
	lab, at := serve(t, dnslab.Options{})
	var off atomic.Int64
	wall := func() time.Time { return time.Now().Add(time.Duration(off.Load())) }
	r := open(t, Options{Servers: []netip.AddrPort{at}, Method: BySelf, Anchors: anchors(t, lab), Wall: wall})
	const year = 365 * 24 * time.Hour
	for i, c := range []struct {
		off  time.Duration
		want oe.Security
	}{{0, oe.Secure}, {year, oe.Bogus}, {0, oe.Secure}, {-2 * year, oe.Bogus}, {0, oe.Secure}} {
		off.Store(int64(c.off))
		a := lookup(t, r, "10.2.0.192.in-addr.arpa", oe.TypeIPSECKEY)
		if a.Security != c.want {
			t.Errorf("%d: %s from the present: %v (%s)", i, c.off, a.Security, a.Why)
		}
		if life := time.Until(a.Expires); life <= 0 || life > 25*time.Hour {
			t.Errorf("%d: it is kept for %s", i, life)
		}
	}
	w := &watch{now: time.Now, wall: wall}
	for _, d := range []time.Duration{0, 0, -time.Second} {
		if off.Store(int64(d)); w.set() {
			t.Errorf("%s counts as a jump", d)
		}
	}
}
