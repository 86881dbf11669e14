// Package enroll makes gateways findable: the records that name a gateway for
// its own address and for those of its clients, and their way into a zone by
// dynamic update (RFC 2136). The work is one step per gateway, whatever the
// number of the others (opportunistic.md 10.10).
package enroll

import (
	"crypto"
	"encoding/csv"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"cygnet/internal/oe"
	"cygnet/internal/rawkey"
)

// Member is a gateway with the networks behind it.
type Member struct {
	Address  netip.Addr
	Clients  []netip.Prefix
	Wildcard bool // one record stands for all addresses of each of Clients
}

// Read reads a list: per line an address and, after commas, the networks behind
// it. A line that starts with # is a comment.
func Read(r io.Reader) ([]Member, error) {
	c := csv.NewReader(r)
	c.Comment, c.FieldsPerRecord, c.TrimLeadingSpace = '#', -1, true
	var all []Member
	seen := map[netip.Addr]int{}
	for {
		words, err := c.Read()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := c.FieldPos(0)
		m, err := Parse(words[0], words[1:])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if before, twice := seen[m.Address]; twice {
			return nil, fmt.Errorf("line %d: %s stands in line %d already", line, m.Address, before)
		}
		seen[m.Address] = line
		all = append(all, m)
	}
}

// Parse reads an address and networks.
func Parse(address string, clients []string) (Member, error) {
	a, err := netip.ParseAddr(strings.TrimSpace(address))
	if err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() {
		return Member{}, fmt.Errorf("%q is not the address of a gateway", address)
	}
	m := Member{Address: a.Unmap()}
	for _, text := range clients {
		p, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil {
			return Member{}, fmt.Errorf("%q is not a network (write it as 10.1.7.0/24)", text)
		}
		if p.Addr().BitLen() != m.Address.BitLen() {
			return Member{}, fmt.Errorf("network %s is of another family than its gateway %s", p, m.Address)
		}
		m.Clients = append(m.Clients, p.Masked())
	}
	return m, nil
}

// Owners are the names at which a member's records stand, its own first.
func (m Member) Owners() ([]string, error) {
	names := []string{oe.ReverseName(m.Address)}
	for _, p := range m.Clients {
		more, err := oe.Owners(p, m.Wildcard)
		if err != nil {
			return nil, err
		}
		for _, n := range more {
			if !slices.Contains(names[:1], n) {
				names = append(names, n)
			}
		}
	}
	return names, nil
}

// precedence of the records: they are the only ones.
const precedence = 10

// Records are the lines for the zone file.
func (m Member) Records(key crypto.PublicKey) ([]string, error) {
	owners, err := m.Owners()
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, owner := range owners {
		line, err := rawkey.IPSECKEYRecord(owner, precedence, m.Address.String(), key)
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	return lines, nil
}
