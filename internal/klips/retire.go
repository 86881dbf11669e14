package klips

// What remembers flows may keep an entry long after it has left the SPD, and an
// entry leads to its SAs, with all that their keys became. So SAs are taken from
// entries that are no longer in use, and no key outlives its SA by much.

// retire lists the entries of old that snapshot s does not have; p.mu is held.
func (p *Plane) retire(old, s *snapshot) {
	kept := make(map[*entry]struct{}, len(s.entries))
	for _, e := range s.entries {
		kept[e] = struct{}{}
	}
	for _, e := range old.entries {
		if _, ok := kept[e]; !ok && e.out.Load() != nil {
			e.left = true
			p.retired = append(p.retired, e)
		}
	}
}

// bury takes the SAs from entries that retired before the last call, a second
// ago: by then no worker is at a batch that began under the SPD they were in.
// p.mu is held.
func (p *Plane) bury() {
	var fresh []*entry
	for _, e := range p.retired {
		if e.left {
			e.left = false
			fresh = append(fresh, e)
		} else {
			e.out.Store(nil)
		}
	}
	p.retired = fresh
}
