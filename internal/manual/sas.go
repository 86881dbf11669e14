package manual

import (
	"cmp"
	"fmt"
	"slices"

	"cygnet/internal/ipsec"
)

// maxCPI is the last CPI that is not private use (RFC 3173, 3.3); numbers of
// IPComp have 16 bits.
const maxCPI = 0xefff

// has reports whether an SA was made by hand.
func (t Table) has(id ipsec.SAID) bool { _, ok := t.sas[id]; return ok }

// SA is an SA that was made by hand, as its group makes it.
func (t Table) SA(id ipsec.SAID) (ipsec.SA, bool) {
	if !t.has(id) {
		return ipsec.SA{}, false
	}
	ids := t.group(id)
	return t.formed(ids)[slices.Index(ids, id)], true
}

// AddSA adds one SA.
func (t Table) AddSA(sa ipsec.SA, w World) (Table, Change, error) {
	if err := checkSPI(sa.ID); err != nil {
		return t, Change{}, err
	}
	if t.has(sa.ID) || w.Taken(sa.ID) {
		return t, Change{}, fmt.Errorf("%s: %w%s", sa.ID, ErrSAInUse, t.userOf(sa.ID))
	}
	t = t.clone()
	sa.Mode = ipsec.Transport // until a group says otherwise
	if sa.ID.Proto == ipsec.Tun {
		sa.Mode = ipsec.Tunnel
	}
	t.sas[sa.ID] = sa
	return t, Change{Add: []ipsec.SA{sa}}, nil
}

// checkSPI refuses what IANA has reserved, and what a CPI cannot be.
func checkSPI(id ipsec.SAID) error {
	switch {
	case id.SPI < ipsec.MinSPI:
		return fmt.Errorf("%s: SPIs below 0x%x are reserved", id, uint32(ipsec.MinSPI))
	case id.Proto == ipsec.Comp && id.SPI > maxCPI:
		return fmt.Errorf("%s: a CPI is at most 0x%x", id, maxCPI)
	}
	return nil
}

// DeleteSA deletes an SA and the group it belongs to.
func (t Table) DeleteSA(id ipsec.SAID) (Table, Change, error) {
	if !t.has(id) {
		return t, Change{}, fmt.Errorf("%s: %w", id, ErrNoSA)
	}
	t = t.clone()
	return t, Change{Delete: t.remove(id)}, nil
}

// ClearSAs deletes all SAs that were made by hand.
func (t Table) ClearSAs() (Table, Change) {
	t = t.clone()
	var c Change
	for _, id := range t.ids() {
		if t.has(id) {
			c.Delete = append(c.Delete, t.remove(id)...)
		}
	}
	return t, c
}

// remove takes an SA and its group out of t, which is the caller's own.
func (t *Table) remove(id ipsec.SAID) []ipsec.SAID {
	ids := t.group(id)
	t.groups = slices.DeleteFunc(t.groups, func(g []ipsec.SAID) bool { return slices.Contains(g, id) })
	for _, id := range ids {
		delete(t.sas, id)
	}
	return ids
}

// ids lists the SAs by destination, protocol and SPI.
func (t Table) ids() []ipsec.SAID {
	var list []ipsec.SAID
	for id := range t.sas {
		list = append(list, id)
	}
	slices.SortFunc(list, func(a, b ipsec.SAID) int {
		return cmp.Or(a.Dst.Compare(b.Dst), cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.SPI, b.SPI))
	})
	return list
}

// group is the group that an SA belongs to, or the SA alone.
func (t Table) group(id ipsec.SAID) []ipsec.SAID {
	for _, g := range t.groups {
		if slices.Contains(g, id) {
			return g
		}
	}
	return []ipsec.SAID{id}
}

// Group makes a bundle of SAs, innermost first. A single SA stands for the
// opposite: the group that it belongs to is taken apart (freeswan.md 4.10).
func (t Table) Group(ids []ipsec.SAID) (Table, Change, error) {
	for _, id := range ids {
		if !t.has(id) {
			return t, Change{}, fmt.Errorf("%s: %w", id, ErrNoSA)
		}
	}
	if len(ids) == 1 {
		return t.ungroup(ids[0])
	}
	if err := t.groupable(ids); err != nil {
		return t, Change{}, err
	}
	t = t.clone()
	t.groups = append(t.groups, slices.Clone(ids))
	return t, Change{Add: t.formed(ids)}, nil
}

func (t Table) groupable(ids []ipsec.SAID) error {
	if len(ids) == 0 || len(ids) > ipsec.MaxBundle {
		return fmt.Errorf("a group has one to %d SAs, not %d", ipsec.MaxBundle, len(ids))
	}
	seen := map[ipsec.Proto]bool{}
	for i, id := range ids {
		switch {
		case len(t.group(id)) > 1:
			return fmt.Errorf("%s: %w", id, ErrGrouped)
		case t.sas[id].Dir != t.sas[ids[0]].Dir:
			return fmt.Errorf("%s goes %s, %s goes %s: SAs of a group go the same way", ids[0], t.sas[ids[0]].Dir, id, t.sas[id].Dir)
		case id.Dst != ids[0].Dst:
			return fmt.Errorf("%s and %s have different destinations", ids[0], id)
		case seen[id.Proto]:
			return fmt.Errorf("%s: the group has an SA of %s already", id, id.Proto)
		case i > 0 && id.Proto == ipsec.Tun:
			return fmt.Errorf("%s: IP-in-IP is innermost, name it first", id)
		}
		seen[id.Proto] = true
	}
	return nil
}

func (t Table) ungroup(id ipsec.SAID) (Table, Change, error) {
	ids := t.group(id)
	if len(ids) == 1 {
		return t, Change{}, nil
	}
	t = t.clone()
	t.groups = slices.DeleteFunc(t.groups, func(g []ipsec.SAID) bool { return g[0] == ids[0] })
	var c Change
	for _, id := range ids {
		c.Add = append(c.Add, t.formed([]ipsec.SAID{id})...)
	}
	return t, c, nil
}

// formed gives the SAs of a group what they are in it: an arriving packet must
// have gone through all of them, and their modes are as RFC 4301 counts them.
// The tun SA says that there is a tunnel, the SA after it is in tunnel mode,
// those after that protect the result in transport mode.
func (t Table) formed(ids []ipsec.SAID) []ipsec.SA {
	var list []ipsec.SA
	tunnel := len(ids) > 0 && ids[0].Proto == ipsec.Tun
	selectors := t.sas[ids[0]].Selectors
	for i, id := range ids {
		sa := t.sas[id]
		sa.Mode = ipsec.Transport
		if tunnel && i <= 1 {
			sa.Mode = ipsec.Tunnel
		}
		if i > 0 && len(sa.Selectors) == 0 {
			sa.Selectors = selectors
		}
		sa.Bundle = nil
		if sa.Dir == ipsec.In && len(ids) > 1 {
			sa.Bundle = slices.Clone(ids)
		}
		list = append(list, sa)
	}
	return list
}

// AddIn says what an inbound SA may deliver: `ipsec eroute --addin`. The other
// SAs of its group are held to the same.
func (t Table) AddIn(s ipsec.Selector, id ipsec.SAID) (Table, Change, error) {
	sa, ok := t.sas[id]
	switch {
	case !ok:
		return t, Change{}, fmt.Errorf("%s: %w", id, ErrNoSA)
	case sa.Dir != ipsec.In:
		return t, Change{}, fmt.Errorf("%s goes out: packets that arrive have other SAs", id)
	case slices.Contains(sa.Selectors, s):
		return t, Change{}, ErrErouteInUse
	}
	t = t.clone()
	ids := t.group(id)
	for _, id := range ids {
		sa := t.sas[id]
		sa.Selectors = append(slices.Clone(sa.Selectors), s)
		t.sas[id] = sa
	}
	return t, Change{Add: t.formed(ids)}, nil
}

// Bundle is the group that an SA belongs to, innermost first; any other SA is
// alone.
func (t Table) Bundle(id ipsec.SAID) []ipsec.SAID { return slices.Clone(t.group(id)) }

// Groups lists all SAs: each group, and each SA that is in none.
func (t Table) Groups() [][]ipsec.SAID {
	var list [][]ipsec.SAID
	for _, id := range t.ids() {
		g := t.group(id)
		if !slices.ContainsFunc(list, func(have []ipsec.SAID) bool { return slices.Contains(have, id) }) {
			list = append(list, g)
		}
	}
	return list
}

// userOf tells which connection has an SA, as a part of a message.
func (t Table) userOf(id ipsec.SAID) string { return of(t.sas[id].Owner) }

func of(owner string) string {
	if owner == "" {
		return ""
	}
	return fmt.Sprintf("  It is connection %q's.", owner)
}
