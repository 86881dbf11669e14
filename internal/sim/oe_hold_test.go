package sim

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"cygnet/internal/oe"
)

// OE-08: the DNS is dead for 30 seconds, and a host is told to wait no longer than one
// for it. Of forty destinations that are called ten times a second never more than a
// hundred packets wait, none of them longer than that second; then the policy of the
// group decides. Not one of private goes in the clear, and when the DNS is back there
// are tunnels.
func TestAdv_OE_08_DeadDNS(t *testing.T) {
	for _, name := range []string{"private", "private-or-clear"} {
		t.Run(name, func(t *testing.T) {
			w, n := strangers(t, 808, "192.0.2.1", "203.0.113.1")
			conf := fmt.Sprintf("conn %s\n left=%%defaultroute\n leftid=%%myid\n right=%%opportunisticgroup\n auto=route\n oe-dns-timeout=1s\n oe-hold-max=1s\n", name)
			failed := "denied dns"
			if name == "private-or-clear" {
				conf += " failureshunt=passthrough\n"
				failed = "clear dns"
			}
			n[0].Opportunistic(conf, group(name, everyone))
			n[1].Opportunistic("", group("private-or-clear", everyone))
			w.Run(time.Second)
			w.DNS.Dead = true
			hosts := []netip.Addr{n[1].Addr}
			for i := range 39 {
				hosts = append(hosts, netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)}))
			}
			sent, most := map[uint64]time.Time{}, 0
			for tick := range 300 {
				for _, to := range hosts {
					sent[n[0].Ping(icmp(n[0].Addr, to))] = w.now
				}
				w.Run(100 * time.Millisecond)
				most = max(most, len(n[0].Plane.held))
				for _, h := range n[0].Plane.held {
					if age := w.now.Sub(sent[h.number]); age > time.Second {
						t.Fatalf("after %d calls a packet for %s has waited for %s", tick, h.flow.Dst, age)
					}
				}
				if tick == 15 {
					for _, to := range hosts {
						if got := stateOf(n[0], n[0].Addr, to); got != failed {
							t.Errorf("%s: %s", to, got)
						}
					}
				}
			}
			if most == 0 || most > 100 {
				t.Errorf("%d packets have waited", most)
			}
			arrived := 0
			for number := range sent {
				arrived += n[1].Plane.Delivered[number]
			}
			if clear := name == "private-or-clear"; clear != (arrived > 0) || w.Stats.DataSent != 0 {
				t.Errorf("%d packets have arrived in the clear, %d were protected", arrived, w.Stats.DataSent)
			}
			w.DNS.Dead = false
			w.Run(2 * time.Minute) // every failure is forgotten by then
			ping(n[0], n[1])
			w.Run(2 * time.Second)
			if got, want := stateOf(n[0], n[0].Addr, n[1].Addr), "encrypted "+oe.LevelSecure.String()+" 203.0.113.1"; got != want {
				t.Errorf("the DNS is back: %s", got)
			}
			sound(t, w)
		})
	}
}
