package updown

import (
	"errors"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"cygnet/internal/firewall"
	"cygnet/internal/host"
	"cygnet/internal/lab"
	"cygnet/internal/lab/labtest"
)

func TestMain(m *testing.M) {
	if verb := os.Getenv("UPDOWN_TEST_VERB"); verb != "" {
		asScript()
		return
	}
	labtest.Main(m)
}

// asScript is this test program in the part of `ipsec _updown`.
func asScript() {
	if err := Default(os.Args[1:], os.Getenv); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		status := 1
		var usage *UsageError
		if errors.As(err, &usage) {
			status = usage.Status
		}
		os.Exit(status)
	}
	os.Exit(0)
}

func variables(changes ...string) map[string]string {
	m := map[string]string{
		"PLUTO_VERSION": "1.1", "PLUTO_VERB": "up-client", "PLUTO_CONNECTION": "west-east", "PLUTO_INTERFACE": "ipsec0",
		"PLUTO_NEXT_HOP": "192.0.2.254", "PLUTO_MY_CLIENT": "10.1.0.0/24", "PLUTO_PEER_CLIENT": "10.2.0.0/24",
		"PLUTO_MY_SOURCEIP": "10.1.0.1", "PLUTO_MTU": "1400",
	}
	for i := 0; i < len(changes); i += 2 {
		m[changes[i]] = changes[i+1]
	}
	return m
}

func lookup(m map[string]string) func(string) string { return func(k string) string { return m[k] } }

func routes(t *testing.T, h *host.Fake) []host.Route {
	t.Helper()
	list, err := h.Routes([]string{"ipsec0", "eth0"})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// The table of freeswan.md 6.13, in its order of calls.
func TestDefaultScript(t *testing.T) {
	h, fw := &host.Fake{}, &firewall.Fake{}
	s := Script{h, fw}
	run := func(verb string, args ...string) {
		t.Helper()
		if err := s.Run(args, lookup(variables("PLUTO_VERB", verb))); err != nil {
			t.Fatalf("%s: %v", verb, err)
		}
	}
	foreign := host.Route{Prefix: netip.MustParsePrefix("10.2.0.0/24"), Device: "eth0"}
	h.PutRoute(foreign)
	run("up-client", "ipfwadm")
	want := map[string][]firewall.Pair{"west-east 10.1.0.0/24 10.2.0.0/24": {{Device: "ipsec0",
		Local: netip.MustParsePrefix("10.1.0.0/24"), Remote: netip.MustParsePrefix("10.2.0.0/24")}}}
	if got := fw.Opened(); !maps.EqualFunc(got, want, func(a, b []firewall.Pair) bool { return len(a) == 1 && a[0] == b[0] }) {
		t.Errorf("opened %v, want %v", got, want)
	}
	run("prepare-client", "ipfwadm")
	if got := routes(t, h); len(got) != 0 {
		t.Errorf("after prepare there are %v", got)
	}
	run("route-client", "ipfwadm")
	route := host.Route{Prefix: foreign.Prefix, Device: "ipsec0", NextHop: netip.MustParseAddr("192.0.2.254"),
		Source: netip.MustParseAddr("10.1.0.1"), MTU: 1400}
	if got := routes(t, h); len(got) != 1 || got[0] != route {
		t.Errorf("routes %v, want %v", got, route)
	}
	run("down-client", "ipfwadm")
	if got := fw.Opened(); len(got) != 0 {
		t.Errorf("after down %v is open", got)
	}
	if got := routes(t, h); len(got) != 1 {
		t.Error("down took the route away")
	}
	run("unroute-client", "ipfwadm")
	if got := routes(t, h); len(got) != 0 {
		t.Errorf("after unroute there are %v", got)
	}
	// Without the argument, and for hosts, the firewall is left alone.
	run("up-client")
	run("up-host", "ipfwadm")
	if got := fw.Opened(); len(got) != 0 {
		t.Errorf("%v was opened", got)
	}
}

func TestCallsThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		args   []string
		change [2]string
		status int
	}{
		{nil, [2]string{"PLUTO_VERSION", "1.0"}, 2},
		{nil, [2]string{"PLUTO_VERSION", "2.0"}, 2},
		{nil, [2]string{"PLUTO_VERSION", ""}, 2},
		{[]string{"custom"}, [2]string{}, 2},
		{[]string{"ipfwadm", "more"}, [2]string{}, 2},
		{nil, [2]string{"PLUTO_VERB", "dance"}, 1},
		{nil, [2]string{"PLUTO_VERB", "up"}, 1},
		{nil, [2]string{"PLUTO_VERB", "up-somebody"}, 1},
		{[]string{"ipfwadm"}, [2]string{"PLUTO_PEER_CLIENT", "$(x)"}, 2},
		{[]string{"ipfwadm"}, [2]string{"PLUTO_MY_CLIENT", "fd01::/64"}, 2},
	} {
		m := variables(c.change[0], c.change[1])
		err := Script{&host.Fake{}, &firewall.Fake{}}.Run(c.args, lookup(m))
		var usage *UsageError
		if !errors.As(err, &usage) || usage.Status != c.status {
			t.Errorf("arguments %q, %v: %v, want status %d", c.args, c.change, err, c.status)
		}
	}
	for _, change := range [][2]string{{"PLUTO_NEXT_HOP", "x"}, {"PLUTO_MTU", "-1"}, {"PLUTO_INTERFACE", ""}, {"PLUTO_PEER_CLIENT", ""}} {
		m := variables("PLUTO_VERB", "route-client")
		m[change[0]] = change[1]
		if err := (Script{Host: &host.Fake{}}).Run(nil, lookup(m)); err == nil {
			t.Errorf("%v is accepted", change)
		}
	}
}

// The real thing, as a process of its own on a gateway that drops what it
// should forward.
func TestDefaultOnAMachine(t *testing.T) {
	_, err := exec.LookPath("iptables")
	labtest.Need(t, err == nil, "iptables")
	l := labtest.New(t, "ud")
	gw, err := l.AddHost("gw")
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.AddHost("far")
	if err != nil {
		t.Fatal(err)
	}
	near, err := l.AddHost("near")
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	port := func(h *lab.Host, dev, addr string) lab.Port {
		return lab.Port{Host: h, Dev: dev, Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}}
	}
	must(l.Link(port(near, "eth0", "10.1.0.5/24"), port(gw, "eth1", "10.1.0.1/24")))
	must(l.Link(port(gw, "ipsec0", "192.0.2.1/24"), port(far, "eth0", "192.0.2.254/24")))
	must(far.AddAddr("eth0", netip.MustParsePrefix("10.2.0.5/32")))
	must(gw.Forward())
	must(near.AddRoute(netip.MustParsePrefix("10.2.0.0/24"), netip.MustParseAddr("10.1.0.1")))
	must(far.AddRoute(netip.MustParsePrefix("10.1.0.0/24"), netip.MustParseAddr("192.0.2.1")))
	run := func(env []string, name string, args ...string) lab.Result {
		t.Helper()
		r, err := gw.Run(t.Context(), env, name, args...)
		must(err)
		return r
	}
	run(nil, "iptables", "-P", "FORWARD", "DROP")
	before := run(nil, "iptables-save").Stdout
	self, err := os.Executable()
	must(err)
	script := func(verb string) {
		t.Helper()
		var env []string
		for k, v := range variables("PLUTO_VERB", verb, "PLUTO_MTU", "1300") {
			env = append(env, k+"="+v)
		}
		if r := run(append(env, "UPDOWN_TEST_VERB="+verb), self, "ipfwadm"); r.Exit != 0 {
			t.Fatalf("%s exits with %d: %s", verb, r.Exit, r.Output())
		}
	}
	pings := func() bool {
		t.Helper()
		r, err := near.Ping(t.Context(), lab.Echo{Dst: netip.MustParseAddr("10.2.0.5"), Count: 2})
		must(err)
		return r.Received > 0
	}
	script("prepare-client")
	script("route-client")
	if pings() {
		t.Error("forwarded before up")
	}
	script("up-client")
	if !pings() {
		t.Error("not forwarded after up")
	}
	route := run(nil, "ip", "route", "get", "10.2.0.5").Stdout
	for _, want := range []string{"dev ipsec0", "via 192.0.2.254", "src 10.1.0.1", "mtu 1300"} {
		if !strings.Contains(route, want) {
			t.Errorf("route %q lacks %q", route, want)
		}
	}
	script("down-client")
	if pings() {
		t.Error("forwarded after down")
	}
	script("unroute-client")
	if route := run(nil, "ip", "route", "show", "10.2.0.0/24").Stdout; route != "" {
		t.Errorf("after unroute: %s", route)
	}
	if after := run(nil, "iptables-save").Stdout; stripTimes(after) != stripTimes(before) {
		t.Errorf("rules afterwards\n%s\nwant\n%s", after, before)
	}
	if r := run(nil, "nft", "list", "tables"); strings.Contains(r.Stdout, firewall.TableName) {
		t.Error("our table is left behind")
	}
}

// stripTimes removes comments, which have times, and counters.
func stripTimes(s string) string {
	var out []string
	for _, line := range strings.Split(s, "\n") {
		line, _, _ = strings.Cut(line, " [")
		if !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}
