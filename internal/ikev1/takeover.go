package ikev1

import (
	"fmt"
	"slices"
	"time"

	"cygnet/internal/ike"
)

// What ISAKMP SAs between the same two ends have to do with each other. IPsec
// SAs belong to the two ends, not to the ISAKMP SA that made them: a new one
// takes over the children of the old, and lets the old one expire in silence
// (freeswan.md 6.6). It may answer in it until then.

var zeroTime time.Time

// kin lists the other machines between the same two identities and addresses,
// oldest first.
func (s *SA) kin() []*SA {
	var out []*SA
	for _, o := range s.cfg.machines {
		if o != s && o.isUp && o.localID == s.localID && o.remoteID == s.remoteID &&
			o.local.Addr() == s.local.Addr() && o.remote.Addr() == s.remote.Addr() {
			out = append(out, o)
		}
	}
	return out
}

// home is the machine that what s has belongs to now.
func (s *SA) home() *SA {
	for s.heir != nil && s.heir.state != stateDead {
		s = s.heir
	}
	return s
}

// wake has the runtime give o a TimeUp at once: it has work that only its own
// Step can do.
func (s *step) wake(o *SA) {
	if o == s.SA || o.state == stateDead {
		return
	}
	o.wakeAt = s.now
	s.emit(ike.Adopt{Machine: o})
}

// replace starts a new ISAKMP SA with the peer, unless that is coming.
func (s *step) replace() {
	if s.successor != nil {
		return
	}
	n := NewInitiator(s.cfg, s.conn, s.local, s.remote)
	if s.natLocal || s.natRemote || s.encap {
		// RFC 3947, 4: further exchanges stay on the port they have found.
		n.local, n.remote = s.local, s.remote
	}
	n.predecessor, n.startAt = s.SA, s.now
	s.successor = n
	s.emit(ike.Adopt{Machine: n})
}

// replaceFailed is said by a successor that came to nothing.
func (s *step) replaceFailed(why *ike.Failure) {
	s.successor = nil
	s.tries++
	s.report(ike.Note{Text: fmt.Sprintf("no new ISAKMP SA: %s", why.Why), Serious: true})
	s.abandonWants(why, func(w want) bool { return w.old == nil }) // whoever waits hears of it
	for i := range s.wants {
		s.wants[i].after = s.now.Add(retryRekey)
	}
	if tries := s.conn.KeyingTries; s.state == stateUp && (tries == 0 || s.tries < tries) {
		s.replaceAt = s.now.Add(retryRekey)
	}
	if tries := s.conn.KeyingTries; tries != 0 && s.tries >= tries {
		s.abandonWants(why, func(want) bool { return true })
	}
}

// takeOver is what a new ISAKMP SA does with those before it. It returns the
// serial of the latest. A peer that says INITIAL-CONTACT has nothing any more;
// what we hold is left alone, for the connection table to end.
func (s *step) takeOver(contact bool) (replaced uint32) {
	for _, o := range s.kin() {
		if contact && o != s.predecessor {
			continue
		}
		if o.heir != nil { // has been taken over by one in this list
			o.heir = s.SA
			continue
		}
		replaced = o.serial
		o.heir = s.SA
		s.children = append(s.children, o.children...)
		o.children = nil
		for _, w := range o.wants {
			w.after = zeroTime
			s.wants = append(s.wants, w)
		}
		o.wants = nil
		o.replaceAt = zeroTime
		if o.state == stateUp {
			o.state = stateReplaced
		}
		s.wake(o)
	}
	if p := s.predecessor; p != nil && p.successor == s.SA {
		p.successor = nil
		p.tries = 0
	}
	s.predecessor = nil
	return replaced
}

// contacted obeys INITIAL-CONTACT in an Informational message, RFC 2407 section
// 4.6.3.3: the peer has nothing but this ISAKMP SA. It counts only before
// anything was negotiated in it, so that it can do no harm later.
func (s *step) contacted() {
	if len(s.quicks) > 0 || s.childWhere(func(c *child) bool { return c.ike == s.serial }) != nil {
		return
	}
	for _, o := range s.kin() {
		s.note("the peer has started anew: its ISAKMP SA #%d is obsolete", o.serial)
		o.peerGone = true
		s.wake(o)
	}
	for _, c := range slices.Clone(s.children) {
		s.dropChild(c, nil, true)
	}
}

// unregister forgets a machine that is no more.
func (s *SA) unregister() {
	s.cfg.machines = slices.DeleteFunc(s.cfg.machines, func(o *SA) bool { return o == s })
}
