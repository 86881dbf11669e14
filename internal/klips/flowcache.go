package klips

// flowCache remembers the policy of recent flows for one worker. A slot holds
// one flow; a collision costs a lookup, nothing else. The zero value is ready;
// it takes its memory at the first miss.
type flowCache struct {
	slots []cached
}

type cached struct {
	key     key
	entry   *entry // nil: no eroute
	version uint64 // of the snapshot; 0 marks an empty slot
}

// find returns the policy of k in snapshot s, as lookup knows it.
func (c *flowCache) find(p *Plane, s *snapshot, k *key) *entry {
	if c.slots == nil {
		c.slots = make([]cached, flowCacheLen)
	}
	slot := &c.slots[k.hash()%flowCacheLen]
	if slot.version != s.version || slot.key != *k {
		*slot = cached{*k, p.lookup(s, k), s.version}
	}
	return slot.entry
}
