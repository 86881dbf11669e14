package manual

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"cygnet/internal/connection"
	"cygnet/internal/ipsec"
)

var (
	west = netip.MustParseAddr("192.0.2.1")
	east = netip.MustParseAddr("198.51.100.1")
)

// idle is a world in which IKE has nothing.
var idle = World{Taken: func(ipsec.SAID) bool { return false }}

func id(t *testing.T, text string) ipsec.SAID {
	t.Helper()
	s, err := ipsec.ParseSAID(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func net(src, dst string) ipsec.Selector {
	return ipsec.Selector{Src: netip.MustParsePrefix(src), Dst: netip.MustParsePrefix(dst)}
}

// manualConn plans m of ends with an SPI, under another name.
func manualConn(t *testing.T, name string, lines ...string) *Plan {
	t.Helper()
	p, err := plan(t, change(ends, []string{"spi=0x200", "esp=3des-md5-96", "espenckey=" + key192, "espauthkey=" + key128}, strings.Join(lines, "\n\t")), "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	p.Desc.Name = name
	for i := range p.Policies {
		p.Policies[i].Owner = name
	}
	for _, list := range [][]ipsec.SA{p.Out, p.In} {
		for i := range list {
			list[i].Owner = name
		}
	}
	return p
}

// spd prints policies and routes.
func spd(t Table, auto ...ipsec.Policy) string {
	var b strings.Builder
	for _, p := range t.Merge(auto) {
		fmt.Fprintf(&b, "%s => %s", p.Selector, p.Action)
		for _, id := range p.Bundle {
			fmt.Fprintf(&b, " %s", id)
		}
		fmt.Fprintf(&b, " (%s)\n", p.Owner)
	}
	for _, r := range t.Routes(nil) {
		fmt.Fprintf(&b, "route %s by %s\n", r.Prefix, r.Device)
	}
	return b.String()
}

func wantSPD(t *testing.T, when string, tab Table, want string) {
	t.Helper()
	if got := spd(tab); got != want {
		t.Errorf("%s: got\n%swant\n%s", when, got, want)
	}
}

const (
	upSPD   = "10.1.0.0/24 -> 10.2.0.0/24 => protect tun0x200@198.51.100.1 esp0x200@198.51.100.1 (m)\nroute 10.2.0.0/24 by ipsec0\n"
	downSPD = "10.1.0.0/24 -> 10.2.0.0/24 => %drop (m)\nroute 10.2.0.0/24 by ipsec0\n"
)

// R17.1, R17.2, R17.4, R17.7: the life of a connection by hand.
func TestUpDown(t *testing.T) {
	var tab Table
	p := manualConn(t, "m")
	up, c, err := tab.Up(p, idle)
	if err != nil {
		t.Fatal(err)
	}
	wantSPD(t, "up", up, upSPD)
	wantSPD(t, "the table before", tab, "")
	var added []string
	for _, sa := range c.Add {
		added = append(added, fmt.Sprintf("%s %s %s %v %v", sa.ID, sa.Dir, sa.Mode, sa.Selectors, sa.Bundle))
	}
	want := []string{
		"tun0x200@198.51.100.1 out tunnel [] []", "esp0x200@198.51.100.1 out tunnel [] []",
		"tun0x200@192.0.2.1 in tunnel [10.2.0.0/24 -> 10.1.0.0/24] [tun0x200@192.0.2.1 esp0x200@192.0.2.1]",
		"esp0x200@192.0.2.1 in tunnel [10.2.0.0/24 -> 10.1.0.0/24] [tun0x200@192.0.2.1 esp0x200@192.0.2.1]",
	}
	if !slices.Equal(added, want) {
		t.Errorf("added %q", added)
	}
	if _, _, err := up.Up(p, idle); !errors.Is(err, ErrUp) || err.Error() != `"m": already up` {
		t.Errorf("up twice: %v", err)
	}
	if _, _, err := up.Unroute("m"); !errors.Is(err, ErrRouteBusy) {
		t.Errorf("unroute while up: %v", err)
	}
	down, c, err := up.Down("m")
	if err != nil || len(c.Delete) != 4 {
		t.Fatalf("down: %v, deletes %v", err, c.Delete)
	}
	wantSPD(t, "down", down, downSPD)
	if _, _, err := down.Down("m"); !errors.Is(err, ErrNotUp) {
		t.Errorf("down twice: %v", err)
	}
	again, _, err := down.Up(p, idle)
	if err != nil {
		t.Fatal(err)
	}
	wantSPD(t, "up again", again, upSPD)
	gone, _, err := down.Unroute("m")
	if err != nil {
		t.Fatal(err)
	}
	wantSPD(t, "unrouted", gone, "")
	routed, _ := tab.Route(p)
	wantSPD(t, "routed only", routed, downSPD)
	if same, c := routed.Route(p); len(same.conns) != 1 || len(c.Scripts) > 0 {
		t.Error("routed twice")
	}
}

// R17.3: another connection comes up over the standing route of one that is
// down, and the route stays when that is unrouted.
func TestUpOverStandingRoute(t *testing.T) {
	tab, _, err := Table{}.Up(manualConn(t, "old"), idle)
	if err == nil {
		tab, _, err = tab.Down("old")
	}
	if err == nil {
		tab, _, err = tab.Up(manualConn(t, "m"), idle)
	}
	if err != nil {
		t.Fatal(err)
	}
	wantSPD(t, "new one up", tab, upSPD)
	tab, _, err = tab.Unroute("old")
	if err != nil {
		t.Fatal(err)
	}
	wantSPD(t, "old one unrouted", tab, upSPD)
}

// R10.10: the second connection with one SPI fails and hurts nothing.
func TestSameSPI(t *testing.T) {
	tab, _, err := Table{}.Up(manualConn(t, "m"), idle)
	if err != nil {
		t.Fatal(err)
	}
	second := manualConn(t, "second", "rightsubnet=10.3.0.0/24")
	same, c, err := tab.Up(second, idle)
	if !errors.Is(err, ErrSAInUse) || len(c.Add)+len(c.Delete) > 0 || !strings.Contains(err.Error(), `tun0x200@198.51.100.1: SA already in use.  Delete old one first.  It is connection "m"'s.`) {
		t.Errorf("%v, %+v", err, c)
	}
	_ = same
	wantSPD(t, "the first", tab, upSPD)
	taken := World{Taken: func(s ipsec.SAID) bool { return s.Proto == ipsec.ESP }}
	if _, _, err := (Table{}).Up(second, taken); !errors.Is(err, ErrSAInUse) {
		t.Errorf("an SA of IKE's is in the way: %v", err)
	}
}

// A selector belongs to one at a time; what is down yields.
func TestSameSelector(t *testing.T) {
	auto := ipsec.Policy{Selector: net("10.1.0.0/24", "10.2.0.0/24"), Action: ipsec.Trap, Owner: "auto"}
	if _, _, err := (Table{}).Up(manualConn(t, "m"), World{Taken: idle.Taken, Policies: []ipsec.Policy{auto}}); !errors.Is(err, ErrErouteInUse) {
		t.Errorf("IKE has it: %v", err)
	}
	up, _, err := Table{}.Up(manualConn(t, "m"), idle)
	if err != nil {
		t.Fatal(err)
	}
	if got := up.Merge([]ipsec.Policy{auto}); len(got) != 1 || got[0].Owner != "m" {
		t.Errorf("IKE comes later: %v", got)
	}
	down, _, err := up.Down("m")
	if err != nil {
		t.Fatal(err)
	}
	if got := down.Merge([]ipsec.Policy{auto}); len(got) != 1 || got[0].Owner != "auto" {
		t.Errorf("IKE comes when ours is down: %v", got)
	}
	if _, _, err := up.AddEroute(auto.Selector, ipsec.Pass.SAID(), true, idle); !errors.Is(err, ErrErouteInUse) {
		t.Errorf("a hole in a connection that is up: %v", err)
	}
	if _, _, err := up.DeleteEroute(auto.Selector, idle); err == nil || !strings.Contains(err.Error(), `connection "m"'s`) {
		t.Errorf("delete: %v", err)
	}
}

func TestScripts(t *testing.T) {
	p := manualConn(t, "m")
	p.Desc.Updown = []string{"/etc/updown"}
	verbs := func(c Change) string {
		var list []string
		for _, s := range c.Scripts {
			list = append(list, s.Verb)
		}
		return strings.Join(list, " ")
	}
	tab, c, err := Table{}.Up(p, idle)
	if err != nil || verbs(c) != "prepare-client route-client up-client" {
		t.Fatalf("%v %v", verbs(c), err)
	}
	if len(tab.Routes(nil)) != 0 {
		t.Error("a connection whose script routes has a route of ours")
	}
	if tab, c, err = tab.Down("m"); err != nil || verbs(c) != "down-client" {
		t.Errorf("%v %v", verbs(c), err)
	}
	if tab, c, err = tab.Up(p, idle); err != nil || verbs(c) != "up-client" {
		t.Errorf("%v %v", verbs(c), err)
	}
	if tab, _, err = tab.Down("m"); err != nil {
		t.Error(err)
	}
	if _, c, err = tab.Unroute("m"); err != nil || verbs(c) != "unroute-client" {
		t.Errorf("%v %v", verbs(c), err)
	}
}

func spec(t *testing.T, said, src, esp, enc, auth string) ipsec.SA {
	t.Helper()
	s := Spec{ID: id(t, said), Src: netip.MustParseAddr(src), ESP: esp, EncKey: secret(t, enc), AuthKey: secret(t, auth)}
	sa, err := s.SA(func(a netip.Addr) bool { return a == west })
	if err != nil {
		t.Fatal(err)
	}
	return sa
}

// Groups change what their SAs are (freeswan.md 4.10).
func TestGroups(t *testing.T) {
	tun := ipsec.SA{ID: id(t, "tun0x200@198.51.100.1"), Src: west}
	esp := spec(t, "esp0x200@198.51.100.1", "192.0.2.1", "3des-md5-96", key192, key128)
	in := spec(t, "esp0x201@192.0.2.1", "198.51.100.1", "3des-md5-96", key192, key128)
	if esp.Dir != ipsec.Out || in.Dir != ipsec.In {
		t.Fatalf("directions %s %s", esp.Dir, in.Dir)
	}
	var tab Table
	for _, sa := range []ipsec.SA{tun, esp, in} {
		var err error
		if tab, _, err = tab.AddSA(sa, idle); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := tab.AddSA(esp, idle); !errors.Is(err, ErrSAInUse) {
		t.Errorf("twice: %v", err)
	}
	if sa, _ := tab.SA(esp.ID); sa.Mode != ipsec.Transport {
		t.Error("an SA alone is in transport mode")
	}
	for _, tc := range []struct {
		ids  []ipsec.SAID
		want string
	}{
		{[]ipsec.SAID{tun.ID, in.ID}, "go the same way"},
		{[]ipsec.SAID{esp.ID, tun.ID}, "IP-in-IP is innermost"},
		{[]ipsec.SAID{esp.ID, esp.ID}, "has an SA of esp already"},
		{[]ipsec.SAID{tun.ID, id(t, "ah0x200@198.51.100.1")}, "SA not found"},
		{nil, "one to 4 SAs"},
	} {
		if _, _, err := tab.Group(tc.ids); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: %v", tc.ids, err)
		}
	}
	tab, c, err := tab.Group([]ipsec.SAID{tun.ID, esp.ID})
	if err != nil || len(c.Add) != 2 || c.Add[1].Mode != ipsec.Tunnel {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, _, err := tab.Group([]ipsec.SAID{tun.ID, esp.ID}); !errors.Is(err, ErrGrouped) {
		t.Errorf("grouped twice: %v", err)
	}
	if got := fmt.Sprint(tab.Groups()); got != "[[esp0x201@192.0.2.1] [tun0x200@198.51.100.1 esp0x200@198.51.100.1]]" {
		t.Errorf("groups %s", got)
	}
	tab, _, err = tab.AddEroute(net("10.1.0.0/24", "10.2.0.0/24"), tun.ID, false, idle)
	if err != nil {
		t.Fatal(err)
	}
	wantSPD(t, "eroute", tab, "10.1.0.0/24 -> 10.2.0.0/24 => protect tun0x200@198.51.100.1 esp0x200@198.51.100.1 ()\n")
	apart, c, err := tab.Group([]ipsec.SAID{esp.ID})
	if err != nil || len(c.Add) != 2 || c.Add[1].Mode != ipsec.Transport {
		t.Fatalf("%+v, %v", c, err)
	}
	wantSPD(t, "ungrouped", apart, "10.1.0.0/24 -> 10.2.0.0/24 => protect tun0x200@198.51.100.1 ()\n")
	// P6: an SA goes with its group, and its eroute stays.
	without, c, err := tab.DeleteSA(esp.ID)
	if err != nil || len(c.Delete) != 2 || len(without.Groups()) != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	wantSPD(t, "without SAs", without, "10.1.0.0/24 -> 10.2.0.0/24 => protect tun0x200@198.51.100.1 ()\n")
	if _, _, err := without.DeleteSA(esp.ID); !errors.Is(err, ErrNoSA) {
		t.Errorf("deleted twice: %v", err)
	}
	if all, c := tab.ClearSAs(); len(all.sas)+len(all.groups) > 0 || len(c.Delete) != 3 {
		t.Errorf("cleared: %+v", c)
	}
}

// E1 to E4.
func TestEroutes(t *testing.T) {
	s := net("10.1.0.0/24", "10.2.0.0/24")
	tab, _, err := Table{}.AddEroute(s, ipsec.Drop.SAID(), false, idle)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := tab.AddEroute(s, ipsec.Pass.SAID(), false, idle); !errors.Is(err, ErrErouteInUse) {
		t.Errorf("twice: %v", err)
	}
	tab, _, err = tab.AddEroute(s, ipsec.Pass.SAID(), true, idle)
	if err != nil {
		t.Fatal(err)
	}
	wantSPD(t, "replaced", tab, "10.1.0.0/24 -> 10.2.0.0/24 => %pass ()\n")
	for text, want := range map[string]string{"esp0x80@198.51.100.1": "reserved", "%trapsubnet": "no shunt that can be set", "comp0xf000@198.51.100.1": "at most"} {
		if _, _, err := tab.AddEroute(s, id(t, text), true, idle); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if tab, _, err = tab.AddEroute(s, id(t, "%passthrough"), true, idle); err != nil {
		t.Error(err)
	}
	wantSPD(t, "passthrough", tab, "10.1.0.0/24 -> 10.2.0.0/24 => %pass ()\n")
	gone, _, err := tab.DeleteEroute(s, idle)
	if err != nil {
		t.Fatal(err)
	}
	wantSPD(t, "deleted", gone, "")
	if _, _, err := gone.DeleteEroute(s, idle); !errors.Is(err, ErrNoEroute) {
		t.Errorf("deleted twice: %v", err)
	}
	cleared, _ := tab.ClearEroutes()
	wantSPD(t, "cleared", cleared, "")
}

// eroute --addin says what an inbound SA may deliver.
func TestAddIn(t *testing.T) {
	in := spec(t, "esp0x201@192.0.2.1", "198.51.100.1", "aes-sha1-96", key128, key160)
	out := spec(t, "esp0x200@198.51.100.1", "192.0.2.1", "aes-sha1-96", key128, key160)
	s := net("10.2.0.0/24", "10.1.0.0/24")
	var tab Table
	for _, sa := range []ipsec.SA{in, out} {
		var err error
		if tab, _, err = tab.AddSA(sa, idle); err != nil {
			t.Fatal(err)
		}
	}
	tab, c, err := tab.AddIn(s, in.ID)
	if err != nil || len(c.Add) != 1 || !slices.Equal(c.Add[0].Selectors, []ipsec.Selector{s}) {
		t.Fatalf("%+v, %v", c, err)
	}
	for _, tc := range []struct {
		id   ipsec.SAID
		want string
	}{{in.ID, ErrErouteInUse.Error()}, {out.ID, "goes out"}, {id(t, "ah0x201@192.0.2.1"), "not found"}} {
		if _, _, err := tab.AddIn(s, tc.id); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.id, err)
		}
	}
}

// Routes of IKE's connections come first, one for each prefix.
func TestRoutes(t *testing.T) {
	tab, _, err := Table{}.Up(manualConn(t, "m"), idle)
	if err != nil {
		t.Fatal(err)
	}
	theirs := []connection.KernelRoute{{Prefix: netip.MustParsePrefix("10.2.0.0/24"), Device: "ipsec1"}, {Prefix: netip.MustParsePrefix("10.9.0.0/24"), Device: "ipsec1"}}
	if got := tab.Routes(theirs); !slices.Equal(got, theirs) {
		t.Errorf("%v", got)
	}
	if got := tab.Routes(theirs[1:]); len(got) != 2 || got[1].Device != "ipsec0" || got[1].NextHop != east {
		t.Errorf("%v", got)
	}
}
