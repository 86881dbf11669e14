package oe

import (
	"fmt"
	"net/netip"
)

// maxOwners is how many addresses of a prefix get a record each; more are for a
// wildcard.
const maxOwners = 65536

// Owners are the reverse names of all addresses of a prefix that hosts can
// have, or the one wildcard that stands for those without records of their own
// (opportunistic.md 7.2).
func Owners(p netip.Prefix, wildcard bool) ([]string, error) {
	p = p.Masked()
	host := p.Addr().BitLen() - p.Bits()
	if wildcard {
		unit := 8
		if p.Addr().Is6() {
			unit = 4
		}
		if host == 0 || p.Bits()%unit != 0 {
			return nil, fmt.Errorf("no wildcard stands for %s: its length would have to be a multiple of %d", p, unit)
		}
		return []string{"*." + ReversePrefix(p)}, nil
	}
	if host > 16 {
		return nil, fmt.Errorf("%s has more than %d addresses; a wildcard makes one record for all", p, maxOwners)
	}
	var names []string
	for a := p.Addr(); p.Contains(a); a = a.Next() {
		// Network and broadcast address of an IPv4 subnet are no hosts.
		if edge := a == p.Addr() || !p.Contains(a.Next()); edge && p.Addr().Is4() && host > 1 {
			continue
		}
		names = append(names, ReverseName(a))
	}
	return names, nil
}
