package connection

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/ipsec"
	"cygnet/internal/oe"
)

// Cause is why a flow has no tunnel, opportunistic.md 4.6.
type Cause uint8

// The causes. Of several, the weightier decides.
const (
	CauseNone Cause = iota
	CauseNoRecord
	CauseInsecure
	CauseUnusableKey
	CauseLocal
	CauseDNS
	CauseRefused
	CauseUnreachable
	CauseAuth
	CauseBogus
	numCauses
)

var causeNames = [numCauses]string{"", "no-record", "insecure", "unusable-key", "local", "dns", "refused", "unreachable", "auth", "bogus"}

// String is the word of status lines.
func (c Cause) String() string { return causeNames[c] }

// lives are how long failures of a cause are remembered: the first time, doubled
// with each repetition, and at most. Those with ttl follow the answer of the DNS
// within these bounds.
var lives = [numCauses]struct {
	first, most time.Duration
	ttl         bool
}{
	CauseNoRecord:    {time.Minute, 15 * time.Minute, true},
	CauseInsecure:    {time.Minute, 15 * time.Minute, true},
	CauseUnusableKey: {time.Minute, 15 * time.Minute, true},
	CauseBogus:       {time.Minute, 10 * time.Minute, false},
	CauseDNS:         {30 * time.Second, 5 * time.Minute, false},
	CauseUnreachable: {30 * time.Second, 5 * time.Minute, false},
	CauseAuth:        {time.Minute, 10 * time.Minute, true},
	CauseRefused:     {10 * time.Minute, 10 * time.Minute, false},
	CauseLocal:       {10 * time.Second, time.Minute, false},
}

// verdict is what befalls a flow after a failure. What a group blocks is blocked
// whatever the reason; what it would pass is blocked all the same where somebody
// may be standing in between, or where the destination has published that it
// encrypts (opportunistic.md 4.6).
func (g *Group) verdict(c Cause) ipsec.Action {
	if g.Failure != ipsec.Pass {
		return g.Failure
	}
	switch c {
	case CauseBogus:
		return ipsec.Drop
	case CauseUnreachable, CauseAuth:
		if !g.OE.Prefer {
			return ipsec.Drop
		}
	}
	return ipsec.Pass
}

// lapse is what is remembered of a destination's failures.
type lapse struct {
	cause Cause
	life  time.Duration
	until time.Time // then it is forgotten
}

// lapses remembers failures by destination, so that repeated ones last longer.
type lapses struct {
	by    map[netip.Addr]lapse
	order []netip.Addr // as they came
}

// life is how long a failure lasts. ttl is when the answer of the DNS behind it
// ends; zero if there is none.
func (l *lapses) life(now time.Time, dst netip.Addr, c Cause, ttl time.Time) time.Duration {
	bound := lives[c]
	d := bound.first
	if bound.ttl && !ttl.IsZero() {
		return min(max(ttl.Sub(now), bound.first), bound.most)
	}
	if old, ok := l.by[dst]; ok && old.cause == c && now.Before(old.until) {
		d = min(old.life*2, bound.most)
	}
	l.note(dst, lapse{c, d, now.Add(d + bound.most)})
	return d
}

func (l *lapses) note(dst netip.Addr, x lapse) {
	if l.by == nil {
		l.by = map[netip.Addr]lapse{}
	}
	if _, ok := l.by[dst]; !ok {
		l.order = append(l.order, dst)
	}
	l.by[dst] = x
	for len(l.order) > maxRemembered {
		delete(l.by, l.order[0])
		l.order = l.order[1:]
	}
}

// forget drops what is known of destinations in p.
func (l *lapses) forget(p netip.Prefix) {
	var kept []netip.Addr
	for _, a := range l.order {
		if p.Contains(a) {
			delete(l.by, a)
		} else {
			kept = append(kept, a)
		}
	}
	l.order = kept
}

// remembered keeps Secure positive answers beyond their TTL, until their
// signatures end: when the DNS falls silent they tell who encrypts
// (opportunistic.md 4.6).
type remembered struct {
	by    map[netip.Addr]oe.Finding
	order []netip.Addr
}

func (r *remembered) note(now time.Time, dst netip.Addr, f oe.Finding) {
	for _, o := range f.Offers {
		if o.Level < oe.LevelNamed {
			return
		}
	}
	if r.by == nil {
		r.by = map[netip.Addr]oe.Finding{}
	}
	if f.ProofEnd.IsZero() || f.ProofEnd.After(now.Add(rememberMost)) {
		f.ProofEnd = now.Add(rememberMost)
	}
	f.Steps = nil
	if _, ok := r.by[dst]; !ok {
		r.order = append(r.order, dst)
	}
	r.by[dst] = f
	for len(r.order) > maxRemembered {
		delete(r.by, r.order[0])
		r.order = r.order[1:]
	}
}

func (r *remembered) find(now time.Time, dst netip.Addr) (oe.Finding, bool) {
	f, ok := r.by[dst]
	return f, ok && now.Before(f.ProofEnd)
}

// forget drops a destination that is proven to have no record any more.
func (r *remembered) forget(dst netip.Addr) {
	if _, ok := r.by[dst]; !ok {
		return
	}
	delete(r.by, dst)
	r.order = slices.DeleteFunc(r.order, func(a netip.Addr) bool { return a == dst })
}

// unproven is the cause of a failure where the destination has no key that it could
// prove, and was called all the same (oe-try-anon=): what it lacks decides, for it
// has published nothing that would oblige it.
func (f *flow) unproven(why cause) cause {
	if f.finding == nil || why.kind != CauseUnreachable && why.kind != CauseAuth && why.kind != CauseRefused {
		return why
	}
	kind, ok := map[oe.Cause]Cause{oe.CauseInsecure: CauseInsecure, oe.CauseUnusableKey: CauseUnusableKey}[f.finding.Cause]
	if !ok {
		return why
	}
	return cause{kind, f.finding.Why + "; called anonymously, " + why.why}
}

// fail ends the work on a flow with what its group does then.
func (t *Table) fail(f *flow, why cause) {
	t.stop(f)
	why = f.unproven(why)
	var ttl time.Time
	if f.finding != nil {
		ttl = f.finding.Expires
	}
	o := &t.oe
	d := o.lapses.life(t.now, f.dst(), why.kind, ttl)
	action := f.rule.verdict(why.kind)
	f.failed = why
	state, word := Denied, "blocking it"
	if action == ipsec.Pass {
		state, word = Clear, "passing it in the clear"
		o.count.Clear++
	} else {
		o.count.Denied++
	}
	t.enter(f, state)
	t.alarms.set(&f.alarm, t.now.Add(t.jitter(d)))
	t.log(nil, fmt.Sprintf("%q: Can't Opportunistically initiate for %s: %s (%s); %s for %s", f.rule.name, f.title(), why.why, why.kind, word, d.Round(time.Second)))
	t.startReady()
}
