package interop

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"cygnet/internal/lab"
)

// Addresses inside, by the Configuration payload (RFC 7296 section 3.15): ours
// asks charon for one of either family, and charon asks ours.
func TestVirtualIP(t *testing.T) {
	t.Run("ours asks", func(t *testing.T) {
		r := start(t, plan{charon: "pools = four, six", spoil: func(x *parts) {
			x.conf = strings.Replace(x.conf, "leftsubnet=192.168.100.0/24", "leftsourceip=%config4,%config6", 1)
			x.swanctl = strings.Replace(x.swanctl, "remote_ts = 192.168.100.0/24", "", 1) + `
pools {
	four {
		addrs = 10.3.0.0/24
		dns = 192.168.200.53
	}
	six {
		addrs = fd00:3::/120
	}
}
`
		}})
		r.initiate(true)
		addrs := r.sh("west", "ip -o addr show dev ipsec0")
		if !strings.Contains(addrs, "10.3.0.1/32") || !strings.Contains(addrs, "fd00:3::1/128") {
			t.Errorf("ipsec0 has\n%s", addrs)
		}
		if text := r.sh("west", "cat "+r.west.Dir+"/run/resolv.conf"); !strings.Contains(text, "nameserver 192.168.200.53\n") {
			t.Errorf("name servers:\n%s", text)
		}
		r.ping("west", lab.Sunrise)
		if out := r.swanctl("--list-sas"); !strings.Contains(out, "10.3.0.1") || !strings.Contains(out, "fd00:3::1") {
			t.Errorf("charon does not know the addresses:\n%s", out)
		}
		r.ipsec(0, "auto", "--down", "net")
		if addrs := r.sh("west", "ip -o addr show dev ipsec0"); strings.Contains(addrs, "10.3.0.1/32") {
			t.Errorf("after down ipsec0 has\n%s", addrs)
		}
		r.secret()
	})
	t.Run("charon asks", func(t *testing.T) {
		r := start(t, plan{charon: "vips = 0.0.0.0, ::", conn: "modecfgdns=192.168.100.53 modecfgdomains=example.org", spoil: func(x *parts) {
			x.conf = strings.Replace(x.conf, "rightsubnet=192.168.200.0/24", "rightaddresspool=10.3.0.0/24,fd00:3::/120", 1)
			x.conf = strings.Replace(x.conf, "right=202.202.202.202", "right=%any", 1)
			x.swanctl = strings.Replace(x.swanctl, "local_ts = 192.168.200.0/24", "", 1)
		}})
		r.initiate(false)
		r.ipsecShows("10.3.0.1 in use by @east.lab", "leases")
		r.ipsecShows("fd00:3::1 in use by @east.lab", "leases")
		res, err := r.lab.Host("east").Ping(t.Context(), lab.Echo{Src: addr("10.3.0.1"), Dst: lab.Sunset, Count: 10, Interval: 10 * time.Millisecond})
		r.must(err)
		if res.Received != res.Sent {
			t.Errorf("%d of %d answered", res.Received, res.Sent)
		}
		r.swanctl("--terminate", "--ike", "net")
		r.ipsecShows("10.3.0.1 kept for @east.lab", "leases")
		// The same client comes back to the same address.
		r.initiate(false)
		r.ipsecShows("10.3.0.1 in use by @east.lab", "leases")
		r.secret()
	})
}

// ipsecShows waits until a command of ours prints some text.
func (r *rig) ipsecShows(text string, args ...string) {
	r.t.Helper()
	r.within(10*time.Second, text, func() bool { return strings.Contains(r.ipsec(0, args...), text) })
}

// sh runs a command line on a host.
func (r *rig) sh(host, line string) string {
	r.t.Helper()
	res, err := r.lab.Host(host).Run(r.t.Context(), nil, "/bin/sh", "-c", line)
	r.must(err)
	return res.Output()
}

// rehome gives the outer interface of a gateway another address, and the
// default route that went with the old one.
func (r *rig) rehome(host, from, to, router string) {
	r.t.Helper()
	h := r.lab.Host(host)
	r.must(h.RemoveAddr("eth0", netip.MustParsePrefix(from+"/24")))
	r.must(h.AddAddr("eth0", netip.MustParsePrefix(to+"/24")))
	r.must(h.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), addr(router)))
}

// Who began the IKE SA moves to another address, while pings go both ways
// (RFC 4555). They go on after a moment, on the same IKE SA.
func TestMOBIKE(t *testing.T) {
	anywhere := func(x *parts) {
		x.conf = strings.Replace(x.conf, "left=101.101.101.101", "left=%defaultroute", 1)
		x.swanctl = strings.Replace(x.swanctl, "remote_addrs = 101.101.101.101", "remote_addrs = %any", 1)
	}
	for name, c := range map[string]struct {
		byUs  bool
		spoil func(x *parts)
		move  func(r *rig)
		moved string
	}{
		"ours moves": {true, anywhere, func(r *rig) { r.rehome("west", "101.101.101.101", "101.101.101.102", "101.101.101.1") }, "101.101.101.102"},
		"charon moves": {false, func(x *parts) {
			x.conf = strings.Replace(x.conf, "right=202.202.202.202", "right=%any", 1)
			x.swanctl = strings.Replace(x.swanctl, "local_addrs = 202.202.202.202", "local_addrs = %any", 1)
		}, func(r *rig) { r.rehome("east", "202.202.202.202", "202.202.202.203", "202.202.202.1") }, "202.202.202.203"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, plan{esp: "aes256gcm16-x25519", spoil: c.spoil})
			r.initiate(c.byUs)
			r.traffic()
			there := r.pinging("sunset", lab.Sunrise)
			back := r.pinging("sunrise", lab.Sunset)
			c.move(r)
			r.within(15*time.Second, "both ends at the new address", func() bool {
				return strings.Contains(r.swanctl("--list-sas"), c.moved) && r.answered("sunset", lab.Sunrise)
			})
			for _, p := range []*lab.Pinger{there, back} {
				if res := p.Stop(); res.LongestGap > 100 { // 5 s; retransmissions of IKE take 0.5, 1, 2 s
					t.Errorf("ping to %s: %d of %d lost, %d in a row", p.Dst, res.Lost(), res.Sent, res.LongestGap)
				} else {
					t.Logf("ping to %s: %d of %d lost", p.Dst, res.Lost(), res.Sent)
				}
			}
			r.traffic()
			if n := strings.Count(r.log(), "IKE SA established"); n != 1 {
				t.Errorf("%d IKE SAs were made", n)
			}
			if ike, children := r.charonSAs(); ike != 1 || children != 1 {
				t.Errorf("charon has %d IKE SAs and %d Child SAs", ike, children)
			}
		})
	}
}

// pinging starts a ping, 20 times a second.
func (r *rig) pinging(from string, to netip.Addr) *lab.Pinger {
	r.t.Helper()
	p, err := r.lab.Host(from).StartPing(lab.Echo{Dst: to, Interval: 50 * time.Millisecond})
	r.must(err)
	r.t.Cleanup(func() { p.Stop() })
	return p
}

func (r *rig) answered(from string, to netip.Addr) bool {
	res, err := r.lab.Host(from).Ping(r.t.Context(), lab.Echo{Dst: to, Count: 1, Wait: 300 * time.Millisecond})
	r.must(err)
	return res.Received == 1
}

// A NAT before us gives us another address in mid-life (RFC 7296 section 2.23,
// RFC 4555 section 3.8): the tunnel goes on from there.
func TestNATRebinding(t *testing.T) {
	r := start(t, plan{esp: "aes256gcm16-x25519", conn: "dpddelay=1s", spoil: func(x *parts) {
		x.swanctl = strings.Replace(x.swanctl, "remote_addrs = 101.101.101.101", "remote_addrs = %any", 1)
	}})
	nic := r.lab.Host("nic")
	r.must(nic.Masquerade(netip.MustParsePrefix("101.101.101.0/24"), "east", true))
	r.initiate(true)
	if out := r.swanctl("--list-sas"); !strings.Contains(out, "202.202.202.1[") {
		t.Fatalf("charon does not see the NAT:\n%s", out)
	}
	r.traffic()
	p := r.pinging("sunset", lab.Sunrise)
	// The kernel forgets mappings to an address that it loses.
	r.must(nic.RemoveAddr("east", netip.MustParsePrefix("202.202.202.1/24")))
	r.must(nic.AddAddr("east", netip.MustParsePrefix("202.202.202.9/24")))
	r.within(20*time.Second, "the tunnel by the new address", func() bool {
		return strings.Contains(r.swanctl("--list-sas"), "202.202.202.9[") && r.answered("sunrise", lab.Sunset)
	})
	res := p.Stop()
	t.Logf("%d of %d lost, %d in a row", res.Lost(), res.Sent, res.LongestGap)
	r.traffic()
	if n := strings.Count(r.log(), "IKE SA established"); n != 1 {
		t.Errorf("%d IKE SAs were made", n)
	}
}
