package connection

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/oe"
)

var us = netip.MustParseAddr("192.0.2.11")

// groupsOf reads groups as the daemon does: from ipsec.conf and files.
func groupsOf(t testing.TB, conf string, files map[string]string) []*Group {
	t.Helper()
	f := config.ParseText("ipsec.conf", conf)
	if err := f.Err(); err != nil {
		t.Fatal(err)
	}
	fsys := config.MapFS{Files: map[string]string{}}
	for name, text := range files {
		fsys.Files["policies/"+name] = text
	}
	g := config.ParseGroups(fsys, "policies", f)
	if err := g.Err(); err != nil {
		t.Fatal(err)
	}
	facts := &Facts{Ours: []Address{{Addr: us, Virtual: "ipsec0", Physical: "eth0"}}}
	facts.Default[0] = Gateway{Device: "eth0", Addr: us, NextHop: netip.MustParseAddr("192.0.2.1")}
	list, errs := OrientGroups(f.Conns, g.Entries, facts, oe.Options{})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return list
}

func rulesOf(t testing.TB, mode config.OEMode, conf string, files map[string]string) *rules {
	t.Helper()
	return compile(groupsOf(t, conf, files), func(*Group) config.OEMode { return mode }, nil, nil)
}

func packet(src, dst string) ipsec.Flow {
	return ipsec.Flow{Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst), Proto: 6, SrcPort: 40000, DstPort: 443}
}

const privateNet = "conn private-net\n also=private\n leftsubnet=192.0.2.128/29\n"

// B26: the worked example of opportunistic.md 2.4. Rule a is an explicit tunnel.
func TestB26WorkedExample(t *testing.T) {
	w := newStage(t)
	d := describe("branch", "192.0.2.128/29", "10.1.0.0/16")
	w.step(Add{List: []*Description{d}})
	w.step(Route{Name: "branch"})
	w.step(Regroup{Mode: config.OEYes, Rand: zeros{}, Ours: []netip.Addr{us}, List: groupsOf(t, privateNet, map[string]string{
		"private": "10.1.2.0/24\n", "private-net": "10.1.2.0/24\n", "clear": "10.1.2.3\n", "private-or-clear": "0.0.0.0/0\n"})})
	for _, c := range []struct{ src, dst, want string }{
		{"192.0.2.11", "10.1.2.3", "clear#10.1.2.3/32"},
		{"192.0.2.11", "10.1.2.9", "private#10.1.2.0/24"},
		{"192.0.2.131", "10.1.2.3", "private-net#10.1.2.0/24"},
		{"192.0.2.131", "10.1.9.9", "branch"},
		{"192.0.2.11", "8.8.8.8", "private-or-clear#0.0.0.0/0"},
		{"192.0.2.131", "8.8.8.8", "packetdefault"},
		{"172.16.0.9", "10.1.2.3", "packetdefault"},
	} {
		if got := w.table.Explain(packet(c.src, c.dst)).Rule; got != c.want {
			t.Errorf("%s -> %s: %s decides, want %s", c.src, c.dst, got, c.want)
		}
		x := w.table.ruleFor(packet(c.src, c.dst))
		if got := x != nil; got != (c.want != "branch") || got && x.name != c.want {
			t.Errorf("%s -> %s: ruleFor says %v", c.src, c.dst, x)
		}
	}
}

// stage drives a Table, and answers StartIKE as pluto does.
type stage struct {
	testing.TB
	table  *Table
	now    time.Time
	serial uint32
	log    []string
	starts []*ike.Conn
	orders []ToMachine
	asked  []Lookup
	forgot int
	checks []CheckUse
	spi    ipsec.SPI
}

func newStage(t testing.TB) *stage {
	return &stage{TB: t, table: NewTable(), now: time.Unix(1e9, 0), spi: 0x1000}
}

func (s *stage) step(ev Event) { s.act(ev) }

func (s *stage) act(ev Event) []Action {
	actions := s.table.Step(s.now, ev, nil)
	for _, a := range slices.Clone(actions) {
		switch a := a.(type) {
		case StartIKE:
			s.serial++
			s.starts = append(s.starts, a.Conn)
			actions = append(actions, s.act(Started{Conn: a.Conn, Serial: s.serial})...)
		case ToMachine:
			s.orders = append(s.orders, a)
		case Lookup:
			s.asked = append(s.asked, a)
		case Forget:
			s.forgot++
		case CheckUse:
			s.checks = append(s.checks, a)
		case Log:
			s.log = append(s.log, a.Text)
		}
	}
	return actions
}

// pass lets time pass, as far as the table's deadlines go.
func (s *stage) pass(d time.Duration) {
	end := s.now.Add(d)
	for at := s.table.Deadline(); !at.IsZero() && !at.After(end); at = s.table.Deadline() {
		if at.After(s.now) {
			s.now = at
		}
		s.act(TimeUp{})
		if next := s.table.Deadline(); !next.IsZero() && !next.After(s.now) {
			s.Fatalf("the deadline %v does not pass", next)
		}
	}
	s.now = end
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// The policies of the data plane decide as the rules do.
func TestPoliciesDecideAsRules(t *testing.T) {
	r := rulesOf(t, config.OEYes, privateNet, map[string]string{
		"private": "10.0.0.0/8\n10.1.2.3 tcp 0 25\n", "clear": "10.1.0.0/16\n0.0.0.0/0 udp 0 53\n10.1.2.0/24 tcp 22 25\n10.1.2.0/24 tcp 0 0\n", "block": "10.1.2.0/24\n", "private-net": "10.2.0.0/16\n"})
	for _, src := range []string{"192.0.2.11", "192.0.2.130", "172.16.0.1"} {
		for _, dst := range []string{"10.1.2.3", "10.1.2.4", "10.1.9.9", "10.2.0.1", "10.9.0.1", "8.8.8.8"} {
			for _, ports := range [][3]int{{6, 4000, 25}, {6, 22, 25}, {17, 4000, 53}, {1, 0, 0}, {6, 4000, 443}} {
				f := ipsec.Flow{Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst), Proto: uint8(ports[0]), SrcPort: uint16(ports[1]), DstPort: uint16(ports[2])}
				var best *ipsec.Policy
				for i := range r.plain {
					p := &r.plain[i].Policy
					if p.Selector.Contains(f) && (best == nil || moreSpecific(p.Selector, best.Selector)) {
						best = p
					}
				}
				x := r.match(f)
				switch {
				case x == nil || best == nil:
					t.Errorf("%s: rule %v, policy %v", f, x, best)
				case best.Owner != x.name && !strings.HasPrefix(best.Owner, "%"):
					t.Errorf("%s: rule %s, policy of %s", f, x.name, best.Owner)
				}
			}
		}
	}
}

// opportunistic.md 2.4: the prefix decides before the port does: clear DNS for
// everybody opens no hole into a private net.
func TestPrefixBeforePort(t *testing.T) {
	r := rulesOf(t, config.OEYes, "", map[string]string{"private": "10.0.0.0/8\n", "clear": "0.0.0.0/0 udp 0 53\n10.0.0.53 udp 0 53\n"})
	dns := func(dst string) ipsec.Flow {
		return ipsec.Flow{Src: us, Dst: netip.MustParseAddr(dst), Proto: 17, SrcPort: 5000, DstPort: 53}
	}
	for dst, want := range map[string]string{"10.0.0.9": "private#10.0.0.0/8", "10.0.0.53": "clear#10.0.0.53/32-udp-0-53", "8.8.8.8": "clear#0.0.0.0/0-udp-0-53"} {
		if got := r.match(dns(dst)).name; got != want {
			t.Errorf("%s: %s, want %s", dst, got, want)
		}
	}
}

// B27: of a net and a host in it the host wins, whichever is stricter.
func TestB27LongestPrefix(t *testing.T) {
	for _, files := range []map[string]string{
		{"clear": "10.0.0.0/24\n", "block": "10.0.0.5\n"},
		{"block": "10.0.0.0/24\n", "clear": "10.0.0.5\n"},
	} {
		r := rulesOf(t, config.OEYes, "", files)
		for dst, name := range map[string]string{"10.0.0.5": "/32", "10.0.0.6": "/24"} {
			if got := r.match(packet("192.0.2.11", dst)).name; !strings.HasSuffix(got, name) {
				t.Errorf("%v: %s has %s", files, dst, got)
			}
		}
	}
}

// B28: an entry in two groups is named with both lines, and the stricter group
// has it.
func TestB28Clash(t *testing.T) {
	r := rulesOf(t, config.OEYes, "", map[string]string{"private": "10.0.0.0/8\n", "clear": "# x\n10.0.0.0/8\n"})
	if got := r.match(packet("192.0.2.11", "10.1.1.1")).name; got != "private#10.0.0.0/8" {
		t.Error(got)
	}
	var lines []string
	for _, c := range r.clashes {
		lines = append(lines, c.String())
	}
	want := []string{`policies/clear:2: 10.0.0.0/8 is in group "private" already (policies/private:1), which is stricter than "clear" and has it`}
	if d := cmp.Diff(want, lines); d != "" {
		t.Error(d)
	}
}

// B37 and opportunistic.md 2.8: what oe= makes of the groups. What would block
// never becomes clear.
func TestB37Modes(t *testing.T) {
	files := map[string]string{"private": "10.1.0.0/16\n", "private-or-clear": "10.2.0.0/16\n", "clear-or-private": "10.3.0.0/16\n", "clear": "10.4.0.0/16\n", "block": "10.5.0.0/16\n"}
	for mode, want := range map[config.OEMode]string{
		config.OEYes:       "%trap %trap %pass %pass %reject %trap",
		config.OEResponder: "%drop %pass %pass %pass %reject %pass",
		config.OENo:        "%drop %pass %pass %pass %reject none",
	} {
		r := rulesOf(t, mode, "", files)
		var got []string
		for _, dst := range []string{"10.1.0.1", "10.2.0.1", "10.3.0.1", "10.4.0.1", "10.5.0.1", "10.6.0.1"} {
			if x := r.match(packet("192.0.2.11", dst)); x != nil {
				got = append(got, x.action.String())
			} else {
				got = append(got, "none")
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("mode %d: %s, want %s", mode, strings.Join(got, " "), want)
		}
	}
}

// An entry that is more specific than a connection takes traffic out of it, as
// in FreeS/WAN, and that is said.
func TestTakesOut(t *testing.T) {
	w := newStage(t)
	w.step(Add{List: []*Description{describe("branch", "192.0.2.11/32", "10.0.0.0/24")}})
	actions := w.act(Regroup{Mode: config.OEYes, Rand: zeros{}, List: groupsOf(t, "", map[string]string{"clear": "# \n#\n10.0.0.5\n"})})
	found := false
	for _, a := range actions {
		if l, ok := a.(Log); ok && l.Text == `clear#10.0.0.5/32 takes traffic out of conn "branch" (10.0.0.0/24), policies/clear:3` {
			found = true
		}
	}
	if !found {
		t.Errorf("no warning in %v", actions)
	}
}

// Packets of sources that no group is about go on as without groups; but a
// connection for any source keeps its own.
func TestOthers(t *testing.T) {
	conf := "conn packetdefault\n auto=ignore\n"
	w := newStage(t)
	groups := groupsOf(t, conf, map[string]string{"private": "10.1.2.0/24\n"})
	w.step(Regroup{Mode: config.OEYes, Rand: zeros{}, List: groups})
	if e := w.table.Explain(packet("172.16.0.1", "10.1.2.3")); e.Action != "%pass" || e.Rule != "%others" {
		t.Errorf("%+v", e)
	}
	w.step(Add{List: []*Description{describe("all", "0.0.0.0/0", "10.0.0.0/8")}})
	w.step(Route{Name: "all"})
	if e := w.table.Explain(packet("172.16.0.1", "10.1.2.3")); e.Rule != "all" {
		t.Errorf("%+v", e)
	}
	if e := w.table.Explain(packet("192.0.2.11", "10.1.2.3")); e.Rule != "private#10.1.2.0/24" {
		t.Errorf("%+v", e)
	}
}

// opportunistic.md 2.7: link-local, multicast and broadcast are subject to no
// group, nor is DNS to the resolver, unless an entry names it.
func TestExempt_OE_17(t *testing.T) {
	resolver := netip.MustParseAddr("198.51.100.53")
	for _, files := range []map[string]string{{"private": "0.0.0.0/0\n"}, {"private": "0.0.0.0/0\n198.51.100.53\n"}} {
		r := compile(groupsOf(t, "", files), func(*Group) config.OEMode { return config.OEYes }, nil, []netip.Addr{resolver})
		policy := func(s ipsec.Selector) *ipsec.Policy {
			for i := range r.plain {
				if r.plain[i].Selector == s {
					return &r.plain[i].Policy
				}
			}
			return nil
		}
		host := netip.PrefixFrom(us, 32)
		for _, dst := range []string{"224.0.0.0/4", "169.254.0.0/16", "255.255.255.255/32"} {
			if p := policy(ipsec.Selector{Src: host, Dst: netip.MustParsePrefix(dst)}); p == nil || p.Action != ipsec.Pass {
				t.Errorf("%s: %v", dst, p)
			}
		}
		p := policy(ipsec.Selector{Src: host, Dst: netip.PrefixFrom(resolver, 32), Proto: 17, DstPorts: ipsec.Ports{Lo: 53, Hi: 53}})
		if named := len(files["private"]) > 12; (p == nil) != named {
			t.Errorf("%v: the policy for DNS is %v", files, p)
		}
	}
}

// B33: a hundred thousand entries, one of which changes.
func TestB33ManyEntries_OE_19(t *testing.T) {
	var text strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&text, "10.%d.%d.%d\n", i>>16, i>>8&255, i&255)
	}
	w := newStage(t)
	w.act(Regroup{Mode: config.OEYes, Rand: zeros{}, List: groupsOf(t, "", map[string]string{"private": text.String()})})
	actions := w.act(Regroup{Waiter: 1, Mode: config.OEYes, Rand: zeros{},
		List: groupsOf(t, "", map[string]string{"private": strings.TrimPrefix(text.String(), "10.0.0.0\n") + "10.200.0.1\n"})})
	said := ""
	for _, a := range actions {
		if r, ok := a.(Reply); ok && r.Text != "" {
			said = r.Text
		}
	}
	if said != "+1 -1 ~0 entries" {
		t.Errorf("%q", said)
	}
	if got := w.table.ruleFor(packet("192.0.2.11", "10.0.7.9")); got == nil || got.name != "private#10.0.7.9/32" {
		t.Errorf("%v", got)
	}
}

func BenchmarkMatch(b *testing.B) {
	var text strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&text, "10.%d.%d.0/24\n", i>>8, i&255)
	}
	r := rulesOf(b, config.OEYes, "", map[string]string{"private": text.String(), "private-or-clear": "0.0.0.0/0\n"})
	f := packet("192.0.2.11", "10.7.9.1")
	for b.Loop() {
		r.match(f)
	}
}

// Rules and their policies are in a fixed order.
func TestRulesOrder(t *testing.T) {
	files := map[string]string{"private": "10.2.0.0/16\n10.1.0.0/16\n", "clear": "10.1.0.0/16 tcp 0 80\n"}
	a, b := rulesOf(t, config.OEYes, "", files), rulesOf(t, config.OEYes, "", files)
	if !slices.EqualFunc(a.plain, b.plain, func(x, y claimed) bool { return samePolicy(x.Policy, y.Policy) }) || !slices.Equal(a.routes, b.routes) {
		t.Error("two compilations differ")
	}
}

// opportunistic.md 2.7, B35: a strict group holds for the neighbours on the link
// as well, whose route would otherwise lead past it; a lax one leaves them alone.
func TestLinkRoutes(t *testing.T) {
	link := netip.MustParsePrefix("192.0.2.0/24")
	for _, c := range []struct {
		files map[string]string
		want  string
	}{
		{map[string]string{"private": "0.0.0.0/0\n"}, "0.0.0.0/0 192.0.2.0/25 192.0.2.128/25"},
		{map[string]string{"private-or-clear": "0.0.0.0/0\n"}, "0.0.0.0/0"},
		{map[string]string{"private-or-clear": "192.0.2.0/24\n"}, "0.0.0.0/0 192.0.2.0/25 192.0.2.128/25"},
		{map[string]string{"block": "192.0.2.77\n"}, "0.0.0.0/0 192.0.2.77/32"},
	} {
		groups := groupsOf(t, "", c.files)
		for _, g := range groups {
			g.Link = link
		}
		var got []string
		for _, r := range compile(groups, func(*Group) config.OEMode { return config.OEYes }, nil, nil).routes {
			got = append(got, r.Prefix.String())
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%v: %s, want %s", c.files, text, c.want)
		}
	}
}
