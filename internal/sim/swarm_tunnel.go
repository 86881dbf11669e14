package sim

import (
	"fmt"
	"slices"
	"strings"
)

// tunnel draws the i-th tunnel and how both ends are configured for it. It
// returns the lines that it takes.
func (p *planner) tunnel(i int, ike string, fragment int) (lines []string) {
	t := planned{name: fmt.Sprintf("net%d", i), a: "west", b: "east"}
	if len(p.nodes) > 2 && i == 1 {
		t.b = "north"
	}
	if p.nat { // the other end can wait only
		t.only = t.a
	}
	words := []string{"tries=0", "dpd=20s", "dpdaction=restart", "retransmit=30s", one(p, "pfs", "pfs=yes", "pfs=no"), ike}
	if p.nat {
		words = append(words, "encap=auto")
	}
	if fragment > 0 {
		words = append(words, fmt.Sprintf("fragment=%d", fragment))
	}
	if p.pick("lives", 2) == 0 {
		words = append(words, "life=8m", "ikelife=15m", "margin=4m", "fuzz=50", one(p, "reauth", "", "", "reauth=yes", "east.reauth=yes"))
	}
	if p.pick("mobike", 2) == 0 {
		words = append(words, "mobike=yes")
	}
	net := fmt.Sprintf("10.1.%d.0/24", i)
	words = append(words, one(p, "compress", "", "", "compress=yes", "west.compress=yes"), one(p, "resume", "", "resume=yes"),
		p.childless)
	switch p.pick("caller", 8) {
	case 0: // a road warrior with an address of east's, one of them
		if i == 0 {
			lines = append(lines, "pool east 10.9.0.0/24")
			net = "10.9.0.1/32"
			words = append(words, "asks=west")
			t.only = t.a
		}
	case 2:
		words = append(words, "keys=yes")
	case 1: // one that has a password
		words = append(words, "eap="+t.a)
		t.only = t.a
	}
	if p.front && t.b == "east" {
		words = append(words, "via=front")
		t.only = t.a
	}
	if t.only != "" {
		words = append(words, t.b+".dpdaction=clear")
	}
	p.tunnels = append(p.tunnels, t)
	words = slices.DeleteFunc(words, func(s string) bool { return s == "" })
	return append(lines, fmt.Sprintf("tunnel %s %s %s %s 10.2.%d.0/24 %s", t.name, t.a, net, t.b, i, strings.Join(words, " ")))
}
