package ipsec

import (
	"net/netip"
	"testing"
)

func TestTSPrefixes(t *testing.T) {
	for _, c := range []struct {
		start, end string
		want       []string
	}{
		{"10.1.0.0", "10.1.0.255", []string{"10.1.0.0/24"}},
		{"10.1.0.5", "10.1.0.5", []string{"10.1.0.5/32"}},
		{"10.1.0.1", "10.1.0.6", []string{"10.1.0.1/32", "10.1.0.2/31", "10.1.0.4/31", "10.1.0.6/32"}},
		{"0.0.0.0", "255.255.255.255", []string{"0.0.0.0/0"}},
		{"::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", []string{"::/0"}},
		{"2001:db8::", "2001:db8::1", []string{"2001:db8::/127"}},
		{"10.1.0.6", "10.1.0.5", nil},
		{"10.1.0.6", "::1", nil},
	} {
		ts := TS{Start: netip.MustParseAddr(c.start), End: netip.MustParseAddr(c.end)}
		got := ts.Prefixes()
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, want %v", ts, got, c.want)
			continue
		}
		for i := range got {
			if got[i].String() != c.want[i] {
				t.Errorf("%s: %v, want %v", ts, got, c.want)
			}
		}
	}
	worst := TS{Start: netip.MustParseAddr("0.0.0.1"), End: netip.MustParseAddr("255.255.255.254")}
	if n := len(worst.Prefixes()); n != 62 {
		t.Errorf("the oddest IPv4 range takes %d prefixes, want 62", n)
	}
}

func TestTSString(t *testing.T) {
	for _, c := range []struct {
		ts   TS
		want string
	}{
		{TSOf(netip.MustParsePrefix("10.1.0.0/16"), 0, Ports{}), "10.1.0.0/16"},
		{TSOf(netip.MustParsePrefix("10.1.0.1/32"), 6, Ports{80, 80}), "10.1.0.1/32:80 proto 6"},
		{TS{Start: netip.MustParseAddr("10.0.0.1"), End: netip.MustParseAddr("10.0.0.9")}, "10.0.0.1-10.0.0.9"},
		{TS{}, "invalid IP-invalid IP"},
	} {
		if got := c.ts.String(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
