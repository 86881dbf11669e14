package whack

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"cygnet/internal/ipsec"
)

var netipAddr = netip.MustParseAddr("198.51.100.1")

// TestStatusText is the example of freeswan.md 4.6.
func TestStatusText(t *testing.T) {
	said := func(text string) ipsec.SAID {
		s, err := ipsec.ParseSAID(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	west, east := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	s := &Status{
		Interfaces: []Interface{{"ipsec0", "eth0", west}},
		Conns: []ConnStatus{{Name: "branch", Oriented: true, Routing: "erouted", Owner: 8,
			Local:   EndStatus{Addr: west, ID: "@west", NextHop: netip.MustParseAddr("192.0.2.254"), Clients: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")}},
			Remote:  EndStatus{Addr: east, ID: "@east", NextHop: netip.MustParseAddr("198.51.100.254"), Clients: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/24")}},
			IKELife: 3600, ChildLife: 28800, RekeyMargin: 540, RekeyFuzz: 100, Policy: "RSASIG+ENCRYPT+TUNNEL+PFS+UP", Prio: [2]int{24, 24},
			Interface: "eth0", NewestIKE: 7, NewestChild: 8}},
		States: []SAState{
			{Serial: 8, Conn: "branch", Name: "STATE_QUICK_I2", Text: "sent QI2, IPsec SA established", Event: "EVENT_SA_REPLACE", EventIn: 27611,
				Newest: true, Owner: true, Used: 4, Out: "x", SAOut: said("esp.5f3c9a11@198.51.100.1"), SAIn: said("esp.8e0124d7@192.0.2.1"),
				TunOut: said("tun.1002@198.51.100.1"), TunIn: said("tun.1001@192.0.2.1")},
			{Serial: 7, Conn: "branch", Name: "STATE_MAIN_I4", Text: "ISAKMP SA established", Event: "EVENT_SA_REPLACE", EventIn: 2402, Newest: true, IKE: true},
		},
	}
	want := `interface ipsec0/eth0 192.0.2.1
%myid = (none)
debug none
 
"branch": 10.1.0.0/24===192.0.2.1[@west]---192.0.2.254...198.51.100.254---198.51.100.1[@east]===10.2.0.0/24; erouted; eroute owner: #8
"branch":   ike_life: 3600s; ipsec_life: 28800s; rekey_margin: 540s; rekey_fuzz: 100%; keyingtries: 0
"branch":   policy: RSASIG+ENCRYPT+TUNNEL+PFS+UP; prio: 24,24; interface: eth0; 
"branch":   newest ISAKMP SA: #7; newest IPsec SA: #8; 
 
#8: "branch" STATE_QUICK_I2 (sent QI2, IPsec SA established); EVENT_SA_REPLACE in 27611s; newest IPSEC; eroute owner
#8: "branch" used 4s ago; esp.5f3c9a11@198.51.100.1 esp.8e0124d7@192.0.2.1 tun.1002@198.51.100.1 tun.1001@192.0.2.1
#7: "branch" STATE_MAIN_I4 (ISAKMP SA established); EVENT_SA_REPLACE in 2402s; newest ISAKMP
 `
	if got := strings.Join(s.Lines(), "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTopology(t *testing.T) {
	west, road := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("203.0.113.7")
	for _, tc := range []struct {
		local, remote EndStatus
		want          string
	}{
		{EndStatus{Addr: west, ID: "192.0.2.1", Host: true}, EndStatus{Word: "%any", Addr: netip.IPv4Unspecified(), Host: true}, "192.0.2.1...%any"},
		{EndStatus{Addr: west, ID: "192.0.2.1", Clients: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}, EndStatus{Addr: road, ID: "@road", Host: true}, "0.0.0.0/0===192.0.2.1...203.0.113.7[@road]"},
		{EndStatus{Addr: west, ID: "192.0.2.1", Host: true, NextHop: road}, EndStatus{Addr: road, ID: "203.0.113.7", Host: true, Proto: 6, Port: 80}, "192.0.2.1...203.0.113.7:6/80"},
	} {
		c := ConnStatus{Local: tc.local, Remote: tc.remote}
		if got := c.Topology(); got != tc.want {
			t.Errorf("got %s, want %s", got, tc.want)
		}
	}
}

// TestErouteText is the example of freeswan.md 4.8.
func TestErouteText(t *testing.T) {
	e := &Eroutes{Eroutes: []Eroute{
		{Packets: 8, Src: netip.MustParsePrefix("192.0.2.1/32"), Dst: netip.MustParsePrefix("10.2.0.0/24"), Target: "tun0x1002@198.51.100.1"},
		{Src: netip.MustParsePrefix("10.1.0.0/24"), Dst: netip.MustParsePrefix("203.0.113.0/24"), Target: "%trap"},
		{Packets: 31, Src: netip.MustParsePrefix("10.1.0.10/32"), Dst: netip.MustParsePrefix("10.2.0.10/32"), DstPort: 80, Proto: 6, Target: "esp0x5f3c9a11@198.51.100.1"},
	}}
	want := []string{
		"8          192.0.2.1/32       -> 10.2.0.0/24        => tun0x1002@198.51.100.1",
		"0          10.1.0.0/24        -> 203.0.113.0/24     => %trap",
		"31         10.1.0.10/32       -> 10.2.0.10/32:80    => esp0x5f3c9a11@198.51.100.1:6",
	}
	if got := e.Lines(); !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

// CTL-06: hostile names and identities stay inside their JSON strings.
func TestHostileStatus(t *testing.T) {
	evil := "\"},{\n\x1b[31m\u202e$(x)"
	s := Status{Conns: []ConnStatus{{Name: evil, Remote: EndStatus{ID: evil}}}}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back Status
	if err := json.Unmarshal(b, &back); err != nil || back.Conns[0].Name != evil || back.Conns[0].Remote.ID != evil {
		t.Errorf("%v: %s", err, b)
	}
}
