package connection

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

func westFacts() *Facts {
	return &Facts{
		Ours:    []Address{{Addr: west, Virtual: "ipsec0", Physical: "eth0"}, {Addr: netip.MustParseAddr("2001:db8::1"), Virtual: "ipsec0", Physical: "eth0"}},
		Default: [2]Gateway{{"eth0", west, hop}, {"eth0", netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::fe")}},
		Names:   map[string]netip.Addr{"east.example.org": east},
	}
}

// parse reads one connection; lines are its parameters.
func parse(t *testing.T, lines ...string) *config.Conn {
	t.Helper()
	f := config.ParseText("ipsec.conf", "version 2.0\nconfig setup\n\tinterfaces=ipsec0=eth0\nconn c\n\tauthby=secret\n\t"+strings.Join(lines, "\n\t")+"\n")
	c := f.Conn("c")
	if c == nil {
		t.Fatalf("%q: %v", lines, f.Errors)
	}
	return c
}

// text is a description as a test reads it.
func text(d *Description) string {
	end := func(e ike.End) string {
		s := e.Addr.String()
		if e.ID.Kind != ike.IDNone {
			s += "[" + e.ID.String() + "]"
		}
		for _, ts := range e.TS {
			s += " " + ts.String()
		}
		return s
	}
	s := fmt.Sprintf("%s | %s", end(d.Local), end(d.Remote))
	if !d.Oriented {
		return s + " | unoriented"
	}
	s += fmt.Sprintf(" | %s via %s", d.Virtual, d.Hop())
	if d.Template {
		s += " template"
	}
	return s
}

func TestOrient(t *testing.T) {
	for _, tc := range []struct{ conf, want string }{
		{"left=192.0.2.1;right=198.51.100.1",
			"192.0.2.1[192.0.2.1] 192.0.2.1/32 | 198.51.100.1[198.51.100.1] 198.51.100.1/32 | ipsec0 via 198.51.100.1"},
		{"left=192.0.2.1;leftsubnet=10.1.0.0/24;leftid=@west;leftnexthop=192.0.2.254;right=198.51.100.1;rightsubnet=10.2.0.0/24;rightid=@east",
			"192.0.2.1[@west] 10.1.0.0/24 | 198.51.100.1[@east] 10.2.0.0/24 | ipsec0 via 192.0.2.254"},
		// The same, seen from the right (R3.3).
		{"right=192.0.2.1;rightsubnet=10.1.0.0/24;rightid=@west;rightnexthop=192.0.2.254;left=198.51.100.1;leftsubnet=10.2.0.0/24;leftid=@east",
			"192.0.2.1[@west] 10.1.0.0/24 | 198.51.100.1[@east] 10.2.0.0/24 | ipsec0 via 192.0.2.254"},
		{"left=%defaultroute;right=198.51.100.1;rightsubnet=0.0.0.0/0",
			"192.0.2.1[192.0.2.1] 192.0.2.1/32 | 198.51.100.1[198.51.100.1] 0.0.0.0/0 | ipsec0 via 192.0.2.254"},
		{"left=192.0.2.1;leftnexthop=%defaultroute;right=east.example.org",
			"192.0.2.1[192.0.2.1] 192.0.2.1/32 | 198.51.100.1[198.51.100.1] 198.51.100.1/32 | ipsec0 via 192.0.2.254"},
		{"left=192.0.2.1;leftsubnet=10.1.0.0/24;right=%any",
			"192.0.2.1[192.0.2.1] 10.1.0.0/24 | 0.0.0.0 0.0.0.0/32 | ipsec0 via invalid IP template"},
		{"left=%any;rightsubnet=10.1.0.0/24;right=192.0.2.1;leftid=@road",
			"192.0.2.1[192.0.2.1] 10.1.0.0/24 | 0.0.0.0[@road] 0.0.0.0/32 | ipsec0 via invalid IP template"},
		{"left=203.0.113.1;right=198.51.100.1",
			"203.0.113.1[203.0.113.1] 203.0.113.1/32 | 198.51.100.1[198.51.100.1] 198.51.100.1/32 | unoriented"},
		{"left=2001:db8::1;leftsubnet=2001:db8:1::/48;right=2001:db8:ffff::1;rightsubnet=2001:db8:2::/48",
			"2001:db8::1[2001:db8::1] 2001:db8:1::/48 | 2001:db8:ffff::1[2001:db8:ffff::1] 2001:db8:2::/48 | ipsec0 via 2001:db8:ffff::1"},
		{"left=192.0.2.1;right=198.51.100.1;leftprotoport=tcp/80;rightprotoport=tcp",
			"192.0.2.1[192.0.2.1] 192.0.2.1/32:80 proto 6 | 198.51.100.1[198.51.100.1] 198.51.100.1/32 proto 6 | ipsec0 via 198.51.100.1"},
	} {
		d, err := Orient(parse(t, strings.Split(tc.conf, ";")...), westFacts())
		if err != nil {
			t.Errorf("%s: %v", tc.conf, err)
			continue
		}
		if got := text(d); got != tc.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tc.conf, got, tc.want)
		}
	}
}

// adversary.md CFG-16.
func TestOrientErrors(t *testing.T) {
	facts := westFacts()
	facts.Ours = append(facts.Ours, Address{Addr: east, Virtual: "ipsec1", Physical: "eth1"})
	_, err := Orient(parse(t, "left=192.0.2.1", "right=198.51.100.1"), facts)
	if !errors.Is(err, ErrBothEnds) || !strings.HasPrefix(err.Error(), `ipsec.conf:4: connection "c": `) {
		t.Errorf("both ends ours: %v", err)
	}
	facts = westFacts()
	facts.Default = [2]Gateway{}
	if _, err = Orient(parse(t, "left=%defaultroute", "right=198.51.100.1"), facts); err == nil || !strings.Contains(err.Error(), "%defaultroute requested but not known") {
		t.Errorf("no default route: %v", err)
	}
	if _, err = Orient(parse(t, "left=192.0.2.1", "right=nowhere.example.org"), westFacts()); err == nil || !strings.Contains(err.Error(), "nowhere.example.org") {
		t.Errorf("unknown name: %v", err)
	}
	if _, err = Orient(parse(t, "left=192.0.2.1", "right=198.51.100.1", "leftid=%myid"), westFacts()); err == nil || !strings.Contains(err.Error(), "%myid") {
		t.Errorf("unknown %%myid: %v", err)
	}
}

func TestOrientTreatment(t *testing.T) {
	ends := []string{"left=192.0.2.1", "right=198.51.100.1"}
	for _, tc := range []struct {
		line                 string
		shunt, hold, failure ipsec.Action
	}{
		{"auto=add", ipsec.Trap, ipsec.Hold, ipsec.Trap},
		{"failureshunt=drop", ipsec.Trap, ipsec.Hold, ipsec.Drop},
		{"failureshunt=passthrough", ipsec.Trap, ipsec.Hold, ipsec.Pass},
		{"failureshunt=reject", ipsec.Trap, ipsec.Hold, ipsec.Reject},
		{"type=passthrough", ipsec.Pass, ipsec.Pass, ipsec.Pass},
		{"type=drop", ipsec.Drop, ipsec.Drop, ipsec.Drop},
		{"type=reject", ipsec.Reject, ipsec.Reject, ipsec.Reject},
	} {
		d, err := Orient(parse(t, append(ends, tc.line)...), westFacts())
		if err != nil {
			t.Errorf("%s: %v", tc.line, err)
			continue
		}
		if d.Shunt != tc.shunt || d.Hold != tc.hold || d.Failure != tc.failure {
			t.Errorf("%s: %s %s %s", tc.line, d.Shunt, d.Hold, d.Failure)
		}
	}
}

func TestOrientProposals(t *testing.T) {
	ends := []string{"left=192.0.2.1", "right=198.51.100.1"}
	for _, tc := range []struct{ lines, ike, esp string }{
		{"ike=aes128-sha2_256;modp2048;;esp=aes128-sha2_256", "modp_2048", "modp_2048"}, // PFS with the group of the IKE SA
		{"ike=aes128-sha2_256;modp2048;;pfs=no", "modp_2048", ""},
	} {
		d, err := Orient(parse(t, append(ends, strings.Split(tc.lines, ";;")...)...), westFacts())
		if err != nil {
			t.Errorf("%s: %v", tc.lines, err)
			continue
		}
		group := func(i int) string {
			p := d.IKE
			if i == 1 {
				p = d.ESP
			}
			for _, k := range p[0].KE {
				return k.Name
			}
			return ""
		}
		if group(0) != tc.ike || group(1) != tc.esp {
			t.Errorf("%s: groups %q and %q, want %q and %q", tc.lines, group(0), group(1), tc.ike, tc.esp)
		}
	}
}

// Descriptions made twice of the same text are equal: a reload leaves such
// connections alone.
func TestOrientIsStable(t *testing.T) {
	lines := []string{"left=192.0.2.1", "right=198.51.100.1", "rightsubnet=10.2.0.0/24", "ike=aes256-sha2_256;modp2048"}
	a, err := Orient(parse(t, lines...), westFacts())
	if err != nil {
		t.Fatal(err)
	}
	b, err := Orient(parse(t, lines...), westFacts())
	if err != nil {
		t.Fatal(err)
	}
	if !a.equal(b) {
		t.Error("they differ")
	}
	c, err := Orient(parse(t, append(lines, "pfs=no")...), westFacts())
	if err != nil {
		t.Fatal(err)
	}
	if a.equal(c) {
		t.Error("a change was not noticed")
	}
}
