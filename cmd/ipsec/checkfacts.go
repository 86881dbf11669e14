package main

import (
	"bufio"
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"cygnet/internal/check"
	"cygnet/internal/host"
)

// Limits of the questions to DNS.
const (
	maxNodes    = 32 // clients of one gateway whose records are looked at
	dnsPatience = 5 * time.Second
)

// gatherFacts looks at this machine for the rules that need it. What cannot be
// learnt stays nil, and its rules do not apply.
func gatherFacts(g *check.Gateway) *check.Facts {
	f := &check.Facts{NAT: natFacts(), DNS: nameServers("/etc/resolv.conf"), Age: map[string]time.Duration{}}
	hostFacts(f)
	for _, name := range g.Files() {
		if st, err := os.Stat(name); err == nil {
			f.Age[name] = time.Since(st.ModTime())
		}
	}
	if g.Opportunistic() {
		f.TXT = keyRecords(f, g.Protected())
	}
	return f
}

// hostFacts fills in interfaces and routes.
func hostFacts(f *check.Facts) {
	h, err := host.Open()
	if err != nil {
		return
	}
	defer h.Close()
	links, err := h.Interfaces()
	if err != nil {
		return
	}
	f.Interfaces = []check.Interface{}
	names := map[int]string{}
	for _, l := range links {
		names[l.Index] = l.Name
		if !strings.HasPrefix(l.Name, "ipsec") { // ours repeat the addresses of the physical ones
			f.Interfaces = append(f.Interfaces, check.Interface{Name: l.Name, Up: l.Up, MTU: l.MTU, Addrs: l.Addrs})
		}
	}
	if defaults, err := h.DefaultRoutes(); err == nil {
		for _, d := range defaults {
			if d.Device != "" && !slices.Contains(f.Default, d.Device) {
				f.Default = append(f.Default, d.Device)
			}
		}
	}
	f.Routes = routeFacts(names)
}

func routeFacts(names map[int]string) []check.Route {
	found, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil
	}
	list := []check.Route{}
	for _, r := range found {
		if r.Dst == nil {
			continue
		}
		a, ok := netip.AddrFromSlice(r.Dst.IP)
		bits, _ := r.Dst.Mask.Size()
		if ok {
			list = append(list, check.Route{Prefix: netip.PrefixFrom(a.Unmap(), bits), Device: names[r.LinkIndex], Ours: r.Protocol == host.Protocol})
		}
	}
	return list
}

// nameServers reads resolv.conf.
func nameServers(file string) []netip.Addr {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	list := []netip.Addr{}
	for s := bufio.NewScanner(f); s.Scan(); {
		w := strings.Fields(s.Text())
		if len(w) < 2 || w[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(w[1]); err == nil {
			list = append(list, a.WithZone(""))
		}
	}
	return list
}

// natFacts asks the tools of the packet filters, those that are there, for
// rules that rewrite source addresses. Without any tool nothing is known.
func natFacts() []check.NATRule {
	var list []check.NATRule
	for _, tool := range []struct {
		words []string
		parse func(string) []check.NATRule
	}{
		{[]string{"nft", "list", "ruleset"}, parseNFT},
		{[]string{"iptables-legacy-save", "-t", "nat"}, parseIPTables},
	} {
		out, err := exec.Command(tool.words[0], tool.words[1:]...).Output()
		if err != nil {
			continue
		}
		if list == nil {
			list = []check.NATRule{}
		}
		list = append(list, tool.parse(string(out))...)
	}
	return list
}

// parseIPTables reads iptables-save: chain POSTROUTING of table nat.
func parseIPTables(text string) []check.NATRule {
	var list []check.NATRule
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		if len(w) < 2 || w[0] != "-A" || w[1] != "POSTROUTING" {
			continue
		}
		r := check.NATRule{Text: strings.TrimSpace(line)}
		understood, target := true, ""
		for i := 2; i < len(w)-1; i++ {
			negated := w[i-1] == "!"
			switch w[i] {
			case "-s":
				r.Source, understood = prefixOf(w[i+1]), understood && !negated
			case "-d":
				r.Dest, understood = prefixOf(w[i+1]), understood && !negated
			case "-o":
				r.Out = outDevice(w[i+1], negated)
			case "-j":
				target = w[i+1]
			case "-p", "-i", "-m":
				understood = understood && w[i] == "-m" && w[i+1] == "comment"
			}
		}
		switch target {
		case "ACCEPT", "RETURN":
			r.Exempt = true
		case "MASQUERADE", "SNAT":
		default:
			continue
		}
		if understood {
			list = append(list, r)
		}
	}
	return list
}

// parseNFT reads nft list ruleset: base chains of type nat at postrouting.
// Rules with conditions that are not understood are left out.
func parseNFT(text string) []check.NATRule {
	var list []check.NATRule
	nat := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "chain "), strings.HasPrefix(line, "table "):
			nat = false
			continue
		case strings.HasPrefix(line, "type "):
			nat = strings.HasPrefix(line, "type nat hook postrouting")
			continue
		}
		if r, ok := nftRule(line); nat && ok {
			list = append(list, r)
		}
	}
	return list
}

func nftRule(line string) (check.NATRule, bool) {
	r := check.NATRule{Text: line}
	w := strings.Fields(line)
	for i := 0; i < len(w); i++ {
		switch w[i] {
		case "ip", "ip6":
			if i+2 >= len(w) || w[i+2] == "!=" || w[i+2] == "{" {
				return r, false
			}
			switch p := prefixOf(w[i+2]); w[i+1] {
			case "saddr":
				r.Source = p
			case "daddr":
				r.Dest = p
			default:
				return r, false
			}
			i += 2
		case "oifname", "oif":
			if i+1 >= len(w) || w[i+1] == "{" {
				return r, false
			}
			i++
			negated := w[i] == "!="
			if negated && i+1 < len(w) {
				i++
			}
			r.Out = outDevice(strings.Trim(w[i], `"`), negated)
		case "counter":
			if i+4 < len(w) && w[i+1] == "packets" {
				i += 4
			}
		case "masquerade", "snat":
			return r, true
		case "return", "accept":
			r.Exempt = true
			return r, true
		default:
			return r, false
		}
	}
	return r, false
}

// outDevice is the device that a rule is limited to. One that spares another
// device than ours is for ours too; one that spares ours is for none of them.
func outDevice(name string, negated bool) string {
	switch {
	case !negated:
		return name
	case strings.HasPrefix(name, "ipsec"):
		return "!" + name
	}
	return ""
}

// prefixOf is the zero value for what is not one address or prefix.
func prefixOf(text string) netip.Prefix {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked()
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, a.BitLen())
}

// keyRecords asks for the TXT records of this machine's addresses and of the
// nodes behind it.
func keyRecords(f *check.Facts, nets []netip.Prefix) []check.KeyRecord {
	ctx, cancel := context.WithTimeout(context.Background(), dnsPatience)
	defer cancel()
	list := []check.KeyRecord{}
	for _, a := range nodes(f, nets) {
		found, err := net.DefaultResolver.LookupTXT(ctx, reverseName(a))
		if err != nil {
			continue
		}
		for _, text := range found {
			if r, ok := parseKeyRecord(a, text); ok {
				list = append(list, r)
			}
		}
	}
	return list
}

// nodes lists the machine's own public addresses, then addresses behind it.
func nodes(f *check.Facts, nets []netip.Prefix) []netip.Addr {
	var list []netip.Addr
	for _, i := range f.Interfaces {
		for _, p := range i.Addrs {
			if !p.Addr().IsLoopback() {
				list = append(list, p.Addr())
			}
		}
	}
	limit := len(list) + maxNodes
	for _, n := range nets {
		for a := n.Addr(); n.Contains(a) && len(list) < limit; a = a.Next() {
			list = append(list, a)
		}
	}
	return list
}

// reverseName is where the records of an address stand.
func reverseName(a netip.Addr) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	if a.Is4() {
		v := a.As4()
		slices.Reverse(v[:])
		return netip.AddrFrom4(v).String() + ".in-addr.arpa."
	}
	v := a.As16()
	for i := len(v) - 1; i >= 0; i-- {
		b.WriteString(string([]byte{digits[v[i]&0xf], '.', digits[v[i]>>4], '.'}))
	}
	return b.String() + "ip6.arpa."
}

// parseKeyRecord reads X-IPsec-Server(10)=ADDRESS KEY.
func parseKeyRecord(owner netip.Addr, text string) (check.KeyRecord, bool) {
	rest, ok := strings.CutPrefix(text, "X-IPsec-Server(")
	_, rest, found := strings.Cut(rest, ")=")
	w := strings.Fields(rest)
	if !ok || !found || len(w) < 2 {
		return check.KeyRecord{}, false
	}
	gateway, err := netip.ParseAddr(w[0])
	if err != nil {
		return check.KeyRecord{}, false
	}
	return check.KeyRecord{Owner: owner, Gateway: gateway, Key: strings.Join(w[1:], "")}, true
}
