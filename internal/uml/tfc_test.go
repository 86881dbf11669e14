package uml

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"cygnet/internal/ipsec"
	"cygnet/internal/lab"
)

// pad gives both sides one SA of ESP in tunnel mode in each direction, ours with
// TFC padding.
func (p *peers) pad(t *testing.T, ctx context.Context, s suite, tfc int) {
	t.Helper()
	p.guest.do(t, ctx, s.linux())
	p.clear(t, ctx)
	for dir := range 2 {
		sas := s.ours(dir)
		sa := sas[len(sas)-1] // without the tun SA that stands before it in a bundle
		sa.Bundle = nil
		if dir == 0 {
			sa.TFC = tfc
			list := []ipsec.Policy{{Selector: s.selector(), Action: ipsec.Protect, Bundle: []ipsec.SAID{sa.ID}, Owner: s.name}}
			if err := p.plane.SetPolicies(ctx, list); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.plane.AddSA(ctx, sa); err != nil {
			t.Fatal(err)
		}
	}
}

// received is what Linux has counted of the SA that we send with, after it has
// taken ESP off and before it has cut the inner packet to its length.
func (p *peers) received(t *testing.T, ctx context.Context, s suite) (octets, packets int) {
	t.Helper()
	out := p.guest.do(t, ctx, fmt.Sprintf("ip -s xfrm state get src %s dst %s proto esp spi %#x", s.outer[0], s.outer[1], uint32(spi(0, 0))))
	_, after, _ := strings.Cut(out, "lifetime current:")
	for w := range strings.FieldsSeq(after) {
		for suffix, n := range map[string]*int{"(bytes),": &octets, "(packets)": &packets} {
			if text, ok := strings.CutSuffix(w, suffix); ok {
				*n, _ = strconv.Atoi(text)
			}
		}
	}
	return octets, packets
}

// TestTFCPadding: Linux takes packets with TFC padding (RFC 4303, 2.7), all of one
// length where it takes off ESP, and cuts them to what they were; what is longer
// than the padding, and a megabyte of TCP, go through as ever.
func TestTFCPadding(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	p := newPeers(t, ctx)
	for _, c := range []struct {
		name  string
		layer layer
		addrs
	}{
		{"gcm/IPv4", esp(gcm128, alg{}), ip4}, {"aes-sha2/IPv4", esp(aes128, sha2), ip4}, {"gcm/IPv6", esp(gcm128, alg{}), ip6},
	} {
		for _, tfc := range []int{0, 600, ipsec.ToMTU} {
			t.Run(fmt.Sprintf("%s/%d", c.name, tfc), func(t *testing.T) {
				s := suite{"tfc", ipsec.Tunnel, []layer{c.layer}, c.addrs}
				p.pad(t, ctx, s, tfc)
				var lengths []int
				for _, size := range []int{1, 56, 300, 500} {
					octets, packets := p.received(t, ctx, s)
					r, err := p.host.Ping(ctx, lab.Echo{Src: s.inner[0], Dst: s.inner[1], Count: 3, Interval: 20 * time.Millisecond, Size: size, Wait: 5 * time.Second})
					if err != nil || r.Received != r.Sent || r.Foreign > 0 {
						t.Fatalf("ping of %d octets: %+v, %v; drops %s", size, r, err, p.drops())
					}
					now, n := p.received(t, ctx, s)
					if n-packets < 3 {
						t.Fatalf("Linux has counted %d packets of 3", n-packets)
					}
					lengths = append(lengths, (now-octets)/(n-packets))
				}
				t.Logf("Linux received packets of %v octets", lengths)
				for _, n := range lengths[1:] {
					if (n == lengths[0]) != (tfc != 0) {
						t.Errorf("lengths %v", lengths)
						break
					}
				}
				if tfc > 0 && lengths[0] != tfc || tfc == ipsec.ToMTU && lengths[0] < 1300 {
					t.Errorf("lengths %v", lengths)
				}
				if tfc != 0 { // TestKernel has the others
					p.traffic(t, ctx, s)
				}
			})
		}
	}
	if t.Failed() {
		r, err := p.guest.Run(ctx, "cat /proc/net/xfrm_stat; ip -s xfrm state")
		t.Logf("the guest: %s %v", r.Output(), err)
	}
}
