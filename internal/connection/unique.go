package connection

import (
	"fmt"

	"cygnet/internal/config"
	"cygnet/internal/ike"
)

// supersede settles what a new IKE SA of a peer means for older ones of the
// same peer identity, as uniqueids= has it (freeswan.md 6.9):
//
//	yes, replace  one from another address ends the older ones: the peer has moved
//	no            both stay: several peers may share a name (R9.5)
//	keep          the newcomer goes while an older one from elsewhere stands
//	never         as no, and INITIAL_CONTACT is not heeded either
//
// A peer that says INITIAL_CONTACT knows of no other IKE SA (RFC 7296, 2.4),
// and from the place of the older one it has started anew. Where several may
// share a name, that says nothing about the ones elsewhere.
func (t *Table) supersede(sa *ikeSA) {
	if !named(sa.up) {
		return
	}
	for _, old := range t.at.proven[sa.up.RemoteID] {
		if old == sa || old.doomed || old.up.LocalID != sa.up.LocalID {
			continue
		}
		// What the DNS says about a name makes nobody the peer that a connection
		// with other proofs is for.
		if (old.conn.Stranger == nil) != (sa.conn.Stranger == nil) {
			continue
		}
		mode := sa.conn.Unique
		elsewhere := movedFrom(old, sa)
		contact := sa.up.InitialContact && mode != config.UniqueNever
		if contact && t.crossing(old, sa) { // or the peer has restarted just now
			contact, old.probed = false, t.now
			t.do(ToMachine{old.serial, ike.Probe{Tell: true}})
		}
		switch {
		case elsewhere && mode == config.UniqueKeep:
			t.log(sa.conn.Conn, fmt.Sprintf("%s is connected from %s already: its IKE SA #%d from %s is refused (uniqueids=keep)",
				sa.up.RemoteID, old.up.Remote, sa.serial, sa.up.Remote))
			// Its Child SA gets an eroute all the same, for as long as the Delete
			// takes: answers to what it brings must not leave in the clear.
			sa.doomed = true
			t.endIKE(sa)
			return
		case elsewhere && mode == config.UniqueReplace:
			t.log(old.conn.Conn, fmt.Sprintf("the peer has moved to %s: its IKE SA #%d is obsolete", sa.up.Remote, old.serial))
		case contact && (!elsewhere || mode == config.UniqueReplace):
			t.log(old.conn.Conn, fmt.Sprintf("the peer has started anew: its IKE SA #%d is obsolete", old.serial))
		default:
			continue
		}
		old.doomed = true
		old.end.ring = func() { t.endIKE(old) }
		t.alarms.set(&old.end, t.now.Add(supersedeDelay))
	}
}

// PeerIsOne reports whether all who prove that identity are one peer.
func (d *Description) PeerIsOne(id ike.ID) bool {
	return id.Kind != ike.IDNone && id.Kind != ike.IDNULL && (d.Unique == config.UniqueReplace || d.Unique == config.UniqueKeep)
}

// named reports whether the peer has proved a name that only one can have.
func named(up *ike.IKEUp) bool {
	return up.RemoteID.Kind != ike.IDNone && up.RemoteID.Kind != ike.IDNULL
}

// crossing reports whether the peer could not know of old yet when it said that
// it has no other: old came up after the peer began with sa; or old is ours and
// has come up only just now.
func (t *Table) crossing(old, sa *ikeSA) bool {
	later := sa.up.Began.Before(old.first) && !sa.up.Began.IsZero()
	return !sa.ours && (later || old.ours && t.now.Sub(old.first) < contactGrace)
}

// movedFrom reports whether the peer of sa calls from another place than that
// of old. That is for peers that call from anywhere: two addresses that the
// configuration itself gives to one identity, IPv4 and IPv6 say, are both its
// home.
func movedFrom(old, sa *ikeSA) bool {
	from, to := old.up.Remote, sa.up.Remote
	if sa.ours || old.conn.base == nil && sa.conn.base == nil || from.Addr().Is4() != to.Addr().Is4() {
		return false
	}
	return from.Addr() != to.Addr() || old.up.Encap && sa.up.Encap && from.Port() != to.Port()
}
