package connection

import (
	"slices"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
)

// AuditEvery is how often the runtime looks in the data plane for the SAs that
// should be there (Table.Lost). It bounds for how long a tunnel whose SAs were
// flushed behind our back swallows packets.
const AuditEvery = 30 * time.Second

// Lost finds the Child SAs of which the data plane no longer has a part, and
// returns what their IKE SAs must be told of it. has reports whether the data
// plane has an SA.
func (t *Table) Lost(has func(ipsec.SAID) bool) (list []ToMachine) {
	for _, c := range t.conns {
		for _, ch := range c.children {
			if ch.replaced || ch.closing {
				continue
			}
			for _, id := range slices.Concat(ch.up.Ins(), ch.up.Outs()) {
				if !has(id) {
					list = append(list, ToMachine{ch.ike, ike.Plane{Event: ipsec.Lost{ID: id}}})
					break
				}
			}
		}
	}
	return list
}
