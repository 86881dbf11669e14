package updown

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

func ts(p string) ipsec.TS { return ipsec.TSOf(netip.MustParsePrefix(p), 0, ipsec.Ports{}) }

func id(t *testing.T, s string) ike.ID {
	t.Helper()
	i, err := ike.ParseID(s)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func westEast(t *testing.T) *ike.Conn {
	return &ike.Conn{
		Name:     "west-east",
		Instance: 3,
		Local:    ike.End{Addr: netip.MustParseAddr("101.101.101.101"), ID: id(t, "@west.example.org"), TS: []ipsec.TS{ts("192.168.100.0/24")}},
		Remote:   ike.End{Addr: netip.MustParseAddr("202.202.202.202"), ID: id(t, "C=CH, O=East, CN=east gateway"), TS: []ipsec.TS{ts("192.168.200.0/24")}},
	}
}

// The variables of freeswan.md 6.13, all of them.
func TestEnvironment(t *testing.T) {
	l := Link{Interface: "ipsec0", NextHop: netip.MustParseAddr("101.101.101.1"), Sources: []netip.Addr{netip.MustParseAddr("192.168.100.1")},
		MTU: 1400, Metric: 5, Policy: "PSK+ENCRYPT+TUNNEL", PeerCA: "C=CH, CN=ca"}
	want := []string{
		"PLUTO_VERSION=1.1",
		"PLUTO_VERB=up-client",
		"PLUTO_CONNECTION=west-east",
		"PLUTO_NEXT_HOP=101.101.101.1",
		"PLUTO_INTERFACE=ipsec0",
		"PLUTO_ME=101.101.101.101",
		"PLUTO_MY_ID=@west.example.org",
		"PLUTO_MY_CLIENT=192.168.100.0/24",
		"PLUTO_MY_CLIENT_NET=192.168.100.0",
		"PLUTO_MY_CLIENT_MASK=255.255.255.0",
		"PLUTO_MY_PORT=0",
		"PLUTO_MY_PROTOCOL=0",
		"PLUTO_PEER=202.202.202.202",
		"PLUTO_PEER_ID=C=CH, O=East, CN=east gateway",
		"PLUTO_PEER_CLIENT=192.168.200.0/24",
		"PLUTO_PEER_CLIENT_NET=192.168.200.0",
		"PLUTO_PEER_CLIENT_MASK=255.255.255.0",
		"PLUTO_PEER_PORT=0",
		"PLUTO_PEER_PROTOCOL=0",
		"PLUTO_PEER_CA=C=CH, CN=ca",
		"PLUTO_MY_SOURCEIP=192.168.100.1",
		"PLUTO_STACK=klips",
		"PLUTO_METRIC=5",
		"PLUTO_MTU=1400",
		"PLUTO_CONN_POLICY=PSK+ENCRYPT+TUNNEL",
		"PLUTO_CONN_ADDRFAMILY=ipv4",
		"PLUTO_CONN_CLIENTFAMILY=ipv4",
		"PLUTO_CONN_ENDFAMILY=ipv4",
	}
	if diff := cmp.Diff([][]string{want}, Environments(westEast(t), "up-client", l)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func values(env []string, names ...string) string {
	var list []string
	for _, n := range names {
		i := slices.IndexFunc(env, func(s string) bool { return strings.HasPrefix(s, "PLUTO_"+n+"=") })
		if i < 0 {
			list = append(list, "-")
			continue
		}
		_, v, _ := strings.Cut(env[i], "=")
		list = append(list, v)
	}
	return strings.Join(list, " ")
}

// Several nets, ranges and both families: one call for each pair.
func TestPairs(t *testing.T) {
	c := westEast(t)
	c.Local.TS = []ipsec.TS{ts("10.1.0.0/24"), ts("fd01::/64")}
	c.Remote.TS = []ipsec.TS{
		{Start: netip.MustParseAddr("10.2.0.1"), End: netip.MustParseAddr("10.2.0.3"), Proto: 6, Ports: ipsec.Ports{Lo: 80, Hi: 80}},
		ts("fd02::7/128"),
	}
	var got []string
	for _, env := range Environments(c, "route-client-v6", Link{Sources: []netip.Addr{netip.MustParseAddr("10.1.0.1")}}) {
		got = append(got, values(env, "VERB", "MY_CLIENT", "PEER_CLIENT", "PEER_CLIENT_MASK", "PEER_PROTOCOL", "PEER_PORT", "MY_SOURCEIP", "CONN_CLIENTFAMILY", "NEXT_HOP"))
	}
	want := []string{
		"route-client 10.1.0.0/24 10.2.0.1/32 255.255.255.255 6 80 10.1.0.1 ipv4 202.202.202.202",
		"route-client 10.1.0.0/24 10.2.0.2/31 255.255.255.254 6 80 10.1.0.1 ipv4 202.202.202.202",
		"route-client-v6 fd01::/64 fd02::7/128 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 0 0 - ipv6 202.202.202.202",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestHarmless(t *testing.T) {
	for in, want := range map[string]string{
		"west.example.org":        "west.example.org",
		"C=CH, CN=a b":            "C=CH, CN=a b",
		"fd01::/64":               "fd01::/64",
		"$(touch x)":              "%24%28touch x%29",
		"`id`; a|b&c<d>e":         "%60id%60%3B a%7Cb%26c%3Cd%3Ee",
		`'"\`:                     "%27%22%5C",
		"a\nb\x00c\td":            "a%0Ab%00c%09d",
		"*?[~#!{}":                "%2A%3F%5B%7E%23%21%7B%7D",
		"100%":                    "100%25",
		"-rf":                     "%2Drf",
		"a-b":                     "a-b",
		"ü":                       "%C3%BC",
		"":                        "",
		strings.Repeat("x", 2000): strings.Repeat("x", maxValue),
	} {
		if got := harmless(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// CTL-08: whatever a peer calls itself, a script that is careless with quotes
// runs nothing of it.
func TestHostileIdentities(t *testing.T) {
	dir := t.TempDir()
	canary := filepath.Join(dir, "canary")
	careless := script(t, `eval "x=$PLUTO_PEER_ID"; sh -c "echo $PLUTO_PEER_ID"; for f in $PLUTO_PEER_ID; do echo $f; done; touch `+dir+`/ran`)
	for _, text := range []string{"$(touch " + canary + ")", "`touch " + canary + "`", "x; touch " + canary, "x\ntouch " + canary,
		"x' ; touch " + canary + " ; '", `x" ; touch ` + canary + ` ; "`, "x | touch " + canary, "x && touch " + canary, "x > " + canary} {
		for _, kind := range []ike.IDKind{ike.IDFQDN, ike.IDUser, ike.IDKeyID} {
			c := westEast(t)
			c.Remote.ID = ike.ID{Kind: kind, Data: text}
			r, rec := newRunner(t, Options{})
			submit(t, r, Call{Name: c.Name, Verb: "up-client", Command: []string{careless}, Env: Environments(c, "up-client", Link{})})
			rec.result(t)
			if _, err := os.Stat(canary); err == nil {
				t.Fatalf("identity %q of kind %d was run", text, kind)
			}
			if _, err := os.Stat(filepath.Join(dir, "ran")); err != nil {
				t.Fatalf("the script did not get to its end: %v", err)
			}
			os.Remove(filepath.Join(dir, "ran"))
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                  "plain",
		"tab\there":              "tab here",
		"\x1b[31mred":            `\x1b[31mred`,
		"a\rb":                   `a\x0db`,
		"back\\slash":            `back\\slash`,
		"\xff\xfe":               `\xff\xfe`,
		"grün":                   "grün",
		"line\u2028separator":    `line\xe2\x80\xa8separator`,
		"\u202eright to left":    `\xe2\x80\xaeright to left`,
		"replacement \ufffd too": "replacement \ufffd too",
	} {
		if got := printable([]byte(in)); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func FuzzHarmless(f *testing.F) {
	f.Add("$(x)")
	f.Fuzz(func(t *testing.T, s string) {
		for i, c := range []byte(harmless(s)) {
			ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("@._:/=,+ %-", c) >= 0
			if !ok || i == 0 && c == '-' {
				t.Fatalf("%q lets %q through", s, c)
			}
		}
	})
}

func FuzzOutput(f *testing.F) {
	f.Add([]byte("a\nb"), 1)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		var whole, parts []string
		l := &lines{emit: func(s string) { whole = append(whole, s) }}
		l.Write(b)
		l.flush()
		l = &lines{emit: func(s string) { parts = append(parts, s) }}
		cut = max(0, min(cut, len(b)))
		l.Write(b[:cut])
		l.Write(b[cut:])
		l.flush()
		if !slices.Equal(whole, parts) {
			t.Fatalf("in one piece %q, in two %q", whole, parts)
		}
		for _, line := range whole {
			if strings.ContainsAny(line, "\n\r\x00\x1b") {
				t.Fatalf("line %q", line)
			}
		}
	})
}
