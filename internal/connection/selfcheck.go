package connection

import (
	"crypto"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/oe"
	"cygnet/internal/rawkey"
)

// selfCheck is what the DNS says about one of our own addresses: whether we are
// published there, with a key that we have, or else at our name, which is enough
// to begin (opportunistic.md 4.2, 6.1). With oe=auto
// that decides whether there is opportunistic encryption at all (section 13).
type selfCheck struct {
	self
	asked *lookup
	vain  int // answers in a row without our key
	said  string
	again alarm
}

// selfOf is who we are to the strangers of a group.
func (t *Table) selfOf(g *Group) self {
	s := self{addr: g.Local.Addr}
	if c := t.oe.selves[s.addr]; c != nil {
		s.key, s.name = c.key, c.name
		if s.name != "" && g.OE.Identity == config.OEIdentityIP {
			s.key, s.name = nil, ""
		}
	}
	s.null = g.OE.Identity == config.OEIdentityNull
	return s
}

// modeOf is oe= as it is in force for a group.
func (t *Table) modeOf(g *Group) config.OEMode {
	if t.oe.Mode != config.OEAuto {
		return t.oe.Mode
	}
	if c := t.oe.selves[g.Local.Addr]; c != nil && c.published() {
		return config.OEYes
	}
	return config.OENo
}

// checkSelves asks about the addresses of all groups: about those that are new,
// and about all if our keys are others than before. Without a key of our own there
// is nothing to ask.
func (t *Table) checkSelves(all bool) {
	o := &t.oe
	want := map[netip.Addr]bool{}
	for _, g := range o.List {
		if !g.Opportunistic() || o.Mode == config.OENo || want[g.Local.Addr] {
			continue
		}
		want[g.Local.Addr] = true
		s := o.selves[g.Local.Addr]
		if s != nil && !all {
			continue
		}
		if s == nil {
			s = &selfCheck{self: self{addr: g.Local.Addr}}
			s.again.ring = func() { t.checkSelf(s) }
			o.selves[s.addr] = s
		}
		t.checkSelf(s)
	}
	for addr, s := range o.selves {
		if !want[addr] {
			t.unask(s.asked)
			t.alarms.set(&s.again, time.Time{})
			delete(o.selves, addr)
		}
	}
}

// checkSelf asks about one address. What was known stays known until the answer
// is there.
func (t *Table) checkSelf(s *selfCheck) {
	o := &t.oe
	t.unask(s.asked)
	t.alarms.set(&s.again, time.Time{})
	if len(o.Own) == 0 {
		t.learnSelf(s, "", oe.Finding{Why: "this machine has no key of its own; `ipsec newhostkey' makes one"})
		return
	}
	s.asked = t.ask(oe.KeysOfAddr(s.addr, o.DNS), false, selfTimeout, func(f oe.Finding) {
		kept := f.Cause == oe.CauseDNS && s.gateway() // silence takes nothing away
		if o.Name != "" && o.ownKey(f) == nil && !kept {
			t.checkName(s, o.Name)
			return
		}
		s.asked = nil
		t.learnSelf(s, "", f)
		t.recompile()
	})
}

// checkName asks about our name: the address has no key of ours.
func (t *Table) checkName(s *selfCheck, name string) {
	s.asked = t.ask(oe.KeysOfName(name, t.oe.DNS), false, selfTimeout, func(f oe.Finding) {
		s.asked = nil
		t.learnSelf(s, name, f)
		t.recompile()
	})
}

// learnSelf takes in what the DNS says of us: under a name, or without one of the
// address.
func (t *Table) learnSelf(s *selfCheck, name string, f oe.Finding) {
	o := &t.oe
	had := s.key
	key := o.ownKey(f)
	switch {
	case key == nil && f.Cause == oe.CauseDNS && had != nil && slices.ContainsFunc(o.Own, func(k crypto.PublicKey) bool { return rawkey.Equal(k, had.Key) }):
		t.alarms.set(&s.again, t.now.Add(selfRetry)) // the DNS is silent: what was published still is
		return
	case key != nil:
		t.alarms.set(&s.again, atLeast(t.now.Add(leastProof), f.Expires))
	case len(o.Own) > 0:
		t.alarms.set(&s.again, t.now.Add(min(selfRetry<<min(s.vain, 8), selfRetryMost)))
		s.vain++
	}
	s.key, s.name = key, ""
	if key != nil {
		s.vain, s.name = 0, name
	}
	t.saySelf(s, f)
}

// saySelf says once what was found.
func (t *Table) saySelf(s *selfCheck, f oe.Finding) {
	var line string
	switch {
	case s.name != "":
		line = fmt.Sprintf("opportunistic encryption: the DNS has our key for @%s, and none for %s: we can begin, and cannot be called", s.name, s.addr)
	case s.key != nil:
		line = fmt.Sprintf("opportunistic encryption: the DNS has our key for %s", s.addr)
	case t.oe.Mode == config.OEAuto:
		why := f.Why
		if f.Cause == oe.CauseNone && len(f.Offers) > 0 {
			why = "the key in the DNS is none of ours"
		}
		line = fmt.Sprintf("opportunistic encryption is idle on %s: %s (`ipsec showhostkey --ipseckey --gateway %s' prints the record to publish)", s.addr, why, s.addr)
	default:
		line = fmt.Sprintf("opportunistic encryption on %s is anonymous: %s", s.addr, f.Why)
	}
	if s.said != line {
		s.said = line
		t.log(nil, line)
	}
}
