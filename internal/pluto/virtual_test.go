package pluto

import (
	"encoding/json"
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/dhcp"
	"cygnet/internal/ipsec"
	"cygnet/internal/leases"
	"cygnet/internal/nameserver"
	"cygnet/internal/whack"
)

// asks and gives are the two ends of a connection with an address for west.
const (
	asks = "conn net\n\tauthby=secret\n\tleft=192.0.2.1\n\tleftid=@west\n\tleftsourceip=%config\n\tright=198.51.100.1\n\trightid=@east\n\trightsubnet=10.2.0.0/24\n\tauto=add\n"
	east = "conn net\n\tauthby=secret\n\tleft=%any\n\tleftid=@west\n\tleftaddresspool=10.9.0.7-10.9.0.8\n\tright=198.51.100.1\n\trightid=@east\n\trightsubnet=10.2.0.0/24\n\tauto=add\n\tmodecfgdns=10.2.0.53\n\tmodecfgdomains=corp.example\n"
)

// resolver notes what it is told.
type resolver struct{ links []nameserver.Link }

func (r *resolver) Set(links []nameserver.Link) { r.links = links }
func (r *resolver) Close()                      { r.links = nil }

// leases is the answer of a gateway about its pools.
func (g *gateway) leaseList() whack.Leases {
	g.t.Helper()
	_, final := g.do(whack.OpLeases, "")
	var l whack.Leases
	if err := json.Unmarshal(final.JSON, &l); err != nil {
		g.t.Fatalf("%v: %+v", err, final)
	}
	return l
}

// R18.9: the address comes with the connection, serves as source, and goes with
// it; who comes back has it again, also after a restart of the gateway.
func TestVirtualAddress(t *testing.T) {
	file := filepath.Join(t.TempDir(), "leases.db")
	inBubble(t, func(t *testing.T, p *pair) {
		names := &resolver{}
		p.west.resolver = func([]string) NameServers { return names }
		p.east.leases = func() (Leases, error) { return leases.Open(file, func(err error) { t.Error(err) }) }
		p.east.start(setup + east)
		p.west.start(setup + asks)
		p.west.must(whack.OpUp, "net")
		inside := netip.MustParseAddr("10.9.0.7")
		if have, _ := p.west.machine.Device("ipsec0"); !slices.Contains(have, inside) {
			t.Errorf("ipsec0 has %v", have)
		}
		if routes, _ := p.west.machine.Routes(nil); len(routes) != 1 || routes[0].Source != inside {
			t.Errorf("routes: %v", routes)
		}
		if len(names.links) != 1 || names.links[0].Device != "ipsec0" || !slices.Equal(names.links[0].Domains, []string{"corp.example"}) {
			t.Errorf("the resolver is told %+v", names.links)
		}
		l := p.east.leaseList()
		if len(l.Leases) != 1 || !l.Leases[0].Used || l.Leases[0].Owner != "@west" || l.Pools[0].Used != 1 || l.Pools[0].Size != 2 {
			t.Errorf("leases: %+v", l)
		}
		if lines := l.Lines(); len(lines) != 2 || !strings.HasPrefix(lines[0], `"net" 10.9.0.7-10.9.0.8: 1 of 2 in use, 0 kept`) || !strings.HasPrefix(lines[1], "10.9.0.7 in use by @west since ") {
			t.Errorf("lines: %q", lines)
		}

		p.west.must(whack.OpDown, "net")
		if have, _ := p.west.machine.Device("ipsec0"); slices.Contains(have, inside) || len(names.links) != 0 {
			t.Errorf("after down ipsec0 has %v, and the resolver %+v", have, names.links)
		}
		if l := p.east.leaseList(); l.Leases[0].Used || l.Pools[0].Kept != 1 {
			t.Errorf("after down: %+v", l)
		}
		p.east.stop()
		p.east.start(setup + east)
		if l := p.east.leaseList(); len(l.Leases) != 1 || l.Leases[0].Addr != inside {
			t.Errorf("after a restart: %+v", l)
		}
	})
}

// A file of leases that cannot be had is no reason to turn peers away.
func TestLeasesWithoutAFile(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.east.leases = func() (Leases, error) { return nil, errors.New("the disk is full") }
		p.east.start(setup + east)
		p.west.start(setup + asks)
		p.west.must(whack.OpUp, "net")
		if n := strings.Count(p.east.log.String(), "leases are not kept over a restart: the disk is full"); n != 1 {
			t.Errorf("said %d times\n%s", n, p.east.log)
		}
	})
}

// Leases are read with the configuration, before a peer can wait for them, and
// not at all where no connection gives addresses.
func TestLeasesAreReadAtStart(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		read := map[string]int{}
		p.east.leases = func() (Leases, error) { read["east"]++; return nil, errors.New("none") }
		p.west.leases = func() (Leases, error) { read["west"]++; return nil, errors.New("none") }
		p.east.start(setup + east)
		p.west.start(setup + asks)
		if read["east"] != 1 || read["west"] != 0 {
			t.Errorf("leases were read: %v", read)
		}
	})
}

// R18.8: an address from DHCP goes to the connection that asked for it, and to the
// device; down takes it away, and another time it is asked for anew.
func TestLeaseOfDHCP(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pair) {
		p.east.start(setup + strings.Replace(east, "leftaddresspool=10.9.0.7-10.9.0.8", "leftsubnetwithin=10.9.0.0/24", 1))
		p.west.start(setup + strings.Replace(asks, "%config", "%dhcp", 1))
		in := func(f func()) {
			if !p.west.call(t.Context(), f) {
				t.Fatal("west has ended")
			}
		}
		lease := &dhcp.Lease{Addr: netip.MustParseAddr("10.9.0.9"), Life: time.Hour, Renew: 30 * time.Minute}
		for range 2 {
			in(func() {
				desc, _, err := p.west.dhcpCarrier("net")
				if err != nil || !desc.NoRoutes || len(desc.Routes()) != 0 {
					t.Fatalf("%+v, %v", desc, err)
				}
				s := desc.Selectors()
				if len(s) != 1 || s[0].Src.String() != "192.0.2.1/32" || s[0].SrcPorts.Lo != 68 || s[0].DstPorts.Hi != 67 || s[0].Dst.Bits() != 0 {
					t.Errorf("the connection for DHCP is about %v", s)
				}
				if err := p.west.takeLease("net", lease); err != nil {
					t.Fatal(err)
				}
				p.west.stepTable(connection.Up{Name: "net", Async: true})
			})
			until(t, "a tunnel", time.Minute, func() bool { return p.west.states(established) == 1 })
			if have, _ := p.west.machine.Device("ipsec0"); !slices.Contains(have, lease.Addr) {
				t.Errorf("ipsec0 has %v", have)
			}
			in(func() {
				if got := p.west.table.Policies(); len(got) != 1 || got[0].Selector.Src.String() != "10.9.0.9/32" || got[0].Action != ipsec.Protect {
					t.Errorf("policies: %v", got)
				}
			})
			p.west.must(whack.OpDown, "net")
			if have, _ := p.west.machine.Device("ipsec0"); slices.Contains(have, lease.Addr) {
				t.Errorf("after down ipsec0 has %v", have)
			}
		}
	})
}
