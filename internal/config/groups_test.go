package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func parseGroupText(text string) *Groups {
	g := &Groups{Entries: map[string][]GroupEntry{}}
	g.parse("private", "private", text)
	return g
}

func entriesOf(g *Groups, name string) (list []string) {
	for _, e := range g.Entries[name] {
		list = append(list, e.String())
	}
	return list
}

// The grammar of opportunistic.md 2.3.
func TestGroupFile(t *testing.T) {
	g := parseGroupText(strings.Join([]string{
		"# comment",
		"192.0.2.1   # one host",
		"\t10.0.0.0/8",
		"10.1.2.3/8",
		"2001:db8::/32\r",
		"%any",
		"198.51.100.0/24 tcp 0 25",
		"198.51.100.0/24 udp domain 0",
		"203.0.113.7 47 0 0",
		"192.0.2.1/32",
		"",
	}, "\n"))
	want := []string{"192.0.2.1/32", "10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0", "::/0",
		"198.51.100.0/24-tcp-0-25", "198.51.100.0/24-udp-53-0", "203.0.113.7/32-gre-0-0"}
	if d := cmp.Diff(want, entriesOf(g, "private")); d != "" {
		t.Error(d)
	}
	var warnings []string
	for _, w := range g.Warnings {
		warnings = append(warnings, w.Error())
	}
	wantW := []string{"private:4: 10.1.2.3/8 has bits set behind its length: taken as 10.0.0.0/8", "private:4: 10.0.0.0/8 stands in line 3 already", "private:10: 192.0.2.1/32 stands in line 2 already"}
	if d := cmp.Diff(wantW, warnings); d != "" || len(g.Errors) != 0 {
		t.Error(d, g.Errors)
	}
}

// B29: one bad line costs no other line, and every bad line is named.
func TestB29BadLines_OE_19(t *testing.T) {
	g := parseGroupText("10.0.0.0/8\n10.1.0.0/16 tcp 0 70000\n10.2.0.0/16 esp 0 0\n10.3.0.0/16\n::ffff:10.0.0.1\nfe80::1%eth0\n10.4.0.0/16 icmp 0 8\ngw.example.com\n10.5.0.0/16 tcp\n10.6.0.0/33\n" + strings.Repeat("1", 2000) + "\n")
	var errs []string
	for _, p := range g.Errors {
		errs = append(errs, p.Error())
	}
	want := []string{
		`private:2: "70000" is not a port from 0 to 65535 or the name of one`,
		`private:3: protocol "esp" is what protects, not what is protected`,
		`private:5: "::ffff:10.0.0.1" is an IPv4 address inside IPv6 (write 10.0.0.1)`,
		`private:6: "fe80::1%eth0" is no prefix`,
		`private:7: port "8" with protocol "icmp": only tcp, udp and sctp have ports here`,
		`private:8: "gw.example.com" is no address (host names are not looked up here: write the address)`,
		`private:9: 2 words are no entry (write a target alone, or target, protocol, our port and the peer's port)`,
		`private:10: "10.6.0.0/33" is no prefix`,
		`private:11: line is longer than 1024 octets`,
	}
	if d := cmp.Diff(want, errs); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"10.0.0.0/8", "10.3.0.0/16"}, entriesOf(g, "private")); d != "" {
		t.Error(d)
	}
}

// R15.10: a group of the user's own has a file of its own name.
func TestR15_10GroupFiles(t *testing.T) {
	f := ParseText("ipsec.conf", "conn private-net\n also=private\n leftsubnet=192.0.2.128/29\nconn block\n auto=ignore\n")
	fsys := MapFS{Files: map[string]string{"/p/private-net": "10.1.2.0/24\n", "/p/clear": "10.1.2.3\n", "/p/block": "10.9.9.9\n"}}
	g := ParseGroups(fsys, "/p", f)
	got := fmt.Sprint(entriesOf(g, "private-net"), entriesOf(g, "clear"), entriesOf(g, "block"), len(g.Errors))
	if want := "[10.1.2.0/24] [10.1.2.3/32] [] 0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	c := f.Conn("private-net")
	if c == nil || !c.Group() || !c.Opportunistic() || c.Failure != FailDrop || c.Auto != AutoRoute {
		t.Errorf("private-net is %+v", c)
	}
}

// D25: every entry that is read from a group file reads back as itself.
func FuzzGroupFile(f *testing.F) {
	f.Add("10.0.0.0/8 tcp 0 25 # x\n%any\n")
	f.Fuzz(func(t *testing.T, text string) {
		g := parseGroupText(text)
		for _, e := range g.Entries["private"] {
			again := parseGroupText(strings.ReplaceAll(fmt.Sprintf("%s %d %d %d", e.Target, e.Proto, e.SrcPorts.Lo, e.DstPorts.Lo), " 0 0 0", ""))
			if len(again.Entries["private"]) != 1 {
				t.Fatalf("%v does not read back: %v", e, again.Errors)
			}
		}
	})
}
