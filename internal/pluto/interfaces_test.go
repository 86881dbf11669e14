package pluto

import (
	"strings"
	"testing"
	"time"

	"cygnet/internal/whack"
)

// adversary.md CRS-15: somebody deletes ipsec0. It is made again with its routes,
// the tunnel goes on with the same SAs, and the other device notices nothing.
func TestVirtualDeviceDeleted(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.west.start(setup + tunnel("net", "auto=add"))
		p.east.start(setup + tunnel("net", "auto=add"))
		p.west.must(whack.OpUp, "net")
		p.carries(t, "before")
		eroute := p.west.eroute()
		addrs, _ := p.west.machine.Device("ipsec0")
		for range 2 {
			if err := p.west.machine.RemoveDevice("ipsec0"); err != nil {
				t.Fatal(err)
			}
			p.west.machine.Change(p.west.machine.Links, p.west.machine.Defaults)
			time.Sleep(2 * time.Second)
			again, ok := p.west.machine.Device("ipsec0")
			if !ok || len(again) != len(addrs) || again[0] != addrs[0] {
				t.Fatalf("ipsec0 has %v, had %v\n%s", again, addrs, p.west.log)
			}
			routes, _ := p.west.machine.Routes(nil)
			if len(routes) != 1 || routes[0].String() != "10.2.0.0/24 via 198.51.100.1 dev ipsec0" {
				t.Errorf("routes are %v", routes)
			}
			if got := p.west.eroute(); got != eroute {
				t.Errorf("the eroute was %s, is %s\n%s", eroute, got, p.west.log)
			}
		}
		if n := strings.Count(p.west.log.String(), "somebody has deleted ipsec0: making it again"); n != 2 {
			t.Errorf("told %d times:\n%s", n, p.west.log)
		}
		if p.west.states(established) != 1 {
			t.Error("the tunnel is gone")
		}
	})
}
