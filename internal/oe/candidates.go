package oe

import (
	"cmp"
	"crypto"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"slices"
)

// Candidate is a gateway with all keys that it may prove.
type Candidate struct {
	Addr  netip.Addr
	Names []string // by which records called it: its identity may be one of them or its address
	Keys  []crypto.PublicKey
	Level Level
}

// Candidates are the gateways to try, best first: lower precedence before
// higher, equal ones in random order (opportunistic.md 4.4). At most 8 keys
// are kept of each.
func (f Finding) Candidates(random io.Reader) ([]Candidate, error) {
	type lot struct {
		Offer
		draw uint64
	}
	lots := make([]lot, len(f.Offers))
	draws := map[netip.Addr]uint64{} // the offers of one gateway stay together
	for n, o := range f.Offers {
		if _, drawn := draws[o.Addr]; !drawn {
			var b [8]byte
			if _, err := io.ReadFull(random, b[:]); err != nil {
				return nil, fmt.Errorf("choose among gateways: %w", err)
			}
			draws[o.Addr] = binary.BigEndian.Uint64(b[:])
		}
		lots[n] = lot{o, draws[o.Addr]}
	}
	slices.SortStableFunc(lots, func(a, b lot) int {
		return cmp.Or(cmp.Compare(a.Precedence, b.Precedence), cmp.Compare(a.draw, b.draw))
	})
	var out []Candidate
	for _, l := range lots {
		n := slices.IndexFunc(out, func(c Candidate) bool { return c.Addr == l.Addr })
		if n < 0 {
			n = len(out)
			out = append(out, Candidate{Addr: l.Addr, Level: l.Level})
		}
		out[n].add(l.Offer)
	}
	return out, nil
}

func (c *Candidate) add(o Offer) {
	if o.Name != "" && !slices.Contains(c.Names, o.Name) {
		c.Names = append(c.Names, o.Name)
	}
	known := slices.ContainsFunc(c.Keys, func(k crypto.PublicKey) bool { return equalKeys(k, o.Key) })
	if !known && len(c.Keys) < maxKeys {
		c.Keys = append(c.Keys, o.Key)
	}
	c.Level = min(c.Level, o.Level)
}
