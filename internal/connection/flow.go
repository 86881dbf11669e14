package connection

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/oe"
)

// FlowState is how far opportunistic encryption of a flow is, opportunistic.md
// 4.1. A flow that nothing is known of is not in the table.
type FlowState uint8

// The states.
const (
	Asking      FlowState = iota // the DNS; packets are held
	Negotiating                  // with gateways; packets are held
	Encrypted                    // a tunnel carries it
	Clear                        // failed, and passes in the clear for a while
	Denied                       // failed, and is blocked for a while
	numFlowStates
)

var flowStateNames = [numFlowStates]string{"asking", "negotiating", "encrypted", "clear", "denied"}

// String is the word of status lines.
func (s FlowState) String() string { return flowStateNames[s] }

// flow is one pair of hosts that a group is about, with protocol and ports if
// the entry has them.
type flow struct {
	sel   ipsec.Selector
	rule  *rule
	state FlowState
	since time.Time // of the state
	begun time.Time
	ours  bool // we began, because packets wait

	alarm alarm // of the state: a deadline, or the end of a failure
	hold  alarm // packets have waited long enough

	lookups []*lookup
	finding *oe.Finding
	allowed bool // we may speak for the source
	retried bool // the key was looked up past the cache

	gateways []oe.Candidate // not tried yet
	tried    int
	next     alarm   // when the next one begins beside those that are tried
	attempts []*conn // with gateways, ours and theirs
	ready    alarm   // packets that wait may go by a tunnel that the peer has begun
	why      cause   // of the weightiest attempt that failed

	conn   *conn // of the tunnel
	level  oe.Level
	proof  alarm // the DNS is to be asked whether the peer still may
	grace  alarm // the peer may not have switched to the tunnel yet
	anon   bool  // the peer is anonymous
	failed cause
}

// cause is why a flow has no tunnel.
type cause struct {
	kind Cause
	why  string
}

// settled reports whether a failure decides about the flow for now.
func (f *flow) settled() bool { return f.state == Clear || f.state == Denied }

// waits reports whether an outcome is awaited.
func (f *flow) waits() bool { return f.state == Asking || f.state == Negotiating }

func (f *flow) src() netip.Addr { return f.sel.Src.Addr() }
func (f *flow) dst() netip.Addr { return f.sel.Dst.Addr() }

// title is how log lines call the flow.
func (f *flow) title() string { return fmt.Sprintf("%s to %s", f.src(), f.dst()) }

// touchFlow says that the claims of a flow's connections may have changed.
func (t *Table) touchFlow(f *flow) {
	t.dirty = true
	if f.conn != nil {
		t.touch(f.conn)
	}
	for _, c := range f.attempts {
		t.touch(c)
	}
}

// selectorOf is the flow that a packet belongs to under a rule: the pair of
// hosts, with protocol and ports where the rule has them (opportunistic.md 3.1).
func (x *rule) selectorOf(p ipsec.Flow) ipsec.Selector {
	s := ipsec.Selector{Src: hostPrefix(p.Src), Dst: hostPrefix(p.Dst), Proto: x.sel.Proto, SrcPorts: x.sel.SrcPorts, DstPorts: x.sel.DstPorts}
	return s
}

func hostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// enter moves a flow to a state and forgets the deadlines of the one before.
func (t *Table) enter(f *flow, s FlowState) {
	o := &t.oe
	if f.waits() {
		o.waiting--
	}
	f.state, f.since = s, t.now
	t.touchFlow(f)
	if f.waits() {
		o.waiting++
	}
	for _, a := range []*alarm{&f.alarm, &f.next, &f.proof, &f.ready} {
		t.alarms.set(a, time.Time{})
	}
	if !f.waits() {
		t.alarms.set(&f.hold, time.Time{})
	}
	t.dirty = true
}

// begin makes a flow.
func (t *Table) begin(x *rule, sel ipsec.Selector) *flow {
	f := &flow{sel: sel, rule: x, begun: t.now, since: t.now}
	f.alarm.ring = func() { t.flowAlarm(f) }
	f.hold.ring = func() { t.heldTooLong(f) }
	f.next.ring = func() { t.tryNext(f) }
	f.proof.ring = func() { t.reprove(f) }
	f.grace.ring = func() { t.touchFlow(f) }
	f.ready.ring = func() { t.peerReady(f) }
	t.oe.flows[sel] = f
	t.oe.waiting++
	t.oe.count.Begun++
	t.dirty = true
	return f
}

// opportune takes a packet that has met the trap of a rule. It reports false if
// no rule is responsible.
func (t *Table) opportune(e Acquire) bool {
	x := t.ruleFor(e.Flow)
	if x == nil || x.name != e.Owner || x.action != ipsec.Trap {
		return false
	}
	o := &t.oe
	sel := x.selectorOf(e.Flow)
	if o.flows[sel] != nil {
		return true // it is being worked on (opportunistic.md 4.7)
	}
	if !o.ours(e.Flow.Src) && !o.fresh.Take(t.now, newFlowRate, newFlowBurst) || o.waiting >= maxWaiting || !t.room() {
		o.count.Limited++
		return true
	}
	f := t.begin(x, sel)
	f.ours = true
	t.alarms.set(&f.hold, t.now.Add(x.OE.HoldMax))
	t.log(nil, fmt.Sprintf("%q: initiating on demand from %s: asking the DNS about %s", x.name, e.Flow, f.dst()))
	t.askAbout(f, false)
	return true
}

// room makes room for one more flow: the failure that ends first goes.
func (t *Table) room() bool {
	if len(t.oe.flows) < maxFlows {
		return true
	}
	var first *flow
	for _, f := range t.oe.flows {
		if f.settled() && (first == nil || cmp.Or(f.alarm.at.Compare(first.alarm.at), ipsec.Selector.Compare(f.sel, first.sel)) < 0) {
			first = f
		}
	}
	if first == nil {
		return false
	}
	t.end(first)
	return true
}

// askAbout starts the lookups of a flow: who may speak for the destination, and
// whether we may for the source if that is not ourselves (opportunistic.md 4.2).
func (t *Table) askAbout(f *flow, fresh bool) {
	o := &t.oe
	me, src := t.selfOf(f.rule.Group), f.src()
	f.finding = nil
	f.allowed = src == f.rule.Local.Addr || o.ours(src) || o.granted[src].After(t.now)
	dns := f.rule.Stranger.DNS
	dns.Own = o.Ours
	ask := func(i *oe.Inquiry, found func(oe.Finding)) {
		var l *lookup
		l = t.ask(i, fresh, f.rule.OE.DNSTimeout, func(x oe.Finding) {
			f.lookups = slices.DeleteFunc(f.lookups, func(y *lookup) bool { return y == l })
			found(x)
		})
		f.lookups = append(f.lookups, l)
	}
	ask(oe.Gateways(f.dst(), dns), func(x oe.Finding) {
		f.finding = &x
		t.decide(f)
	})
	if f.allowed {
		return
	}
	if !me.gateway() {
		t.fail(f, cause{CauseLocal, fmt.Sprintf("our client %s needs a gateway with a published key, and we have none", src)})
		return
	}
	ask(oe.MaySpeak(src, oe.Speaker{Addr: f.rule.Local.Addr}, me.key.Key, dns), func(x oe.Finding) { t.delegated(f, x) })
}

// delegated learns whether our client has named us as its gateway.
func (t *Table) delegated(f *flow, x oe.Finding) {
	if x.Cause != oe.CauseNone {
		t.fail(f, cause{CauseLocal, fmt.Sprintf("our client %s does not delegate us as its Security Gateway: %s", f.src(), x.Why)})
		return
	}
	f.allowed = true
	t.grantSource(f.src(), x.Expires)
	t.decide(f)
}

func (t *Table) grantSource(a netip.Addr, until time.Time) {
	o := &t.oe
	if len(o.granted) >= maxRemembered {
		o.granted = map[netip.Addr]time.Time{}
	}
	o.granted[a] = atLeast(t.now.Add(leastProof), until)
}

func atLeast(least, at time.Time) time.Time {
	if at.Before(least) {
		return least
	}
	return at
}

// stop gives up all that is under way for a flow.
func (t *Table) stop(f *flow) {
	for _, l := range slices.Clone(f.lookups) {
		t.unask(l)
	}
	f.lookups = nil
	t.oe.ready = slices.DeleteFunc(t.oe.ready, func(x *flow) bool { return x == f })
	for _, c := range slices.Clone(f.attempts) {
		t.abandonAttempt(f, c)
	}
}

// end forgets a flow, and closes its tunnel. Its next packet is looked at anew.
func (t *Table) end(f *flow) {
	t.stop(f)
	if f.conn != nil {
		c := f.conn
		f.conn = nil
		t.closeFlow(c)
	}
	t.forgetFlow(f)
}

func (t *Table) forgetFlow(f *flow) {
	o := &t.oe
	if o.flows[f.sel] != f {
		return
	}
	if f.waits() {
		o.waiting--
	}
	t.setAnon(f, false)
	for _, a := range []*alarm{&f.alarm, &f.hold, &f.next, &f.proof, &f.grace, &f.ready} {
		t.alarms.set(a, time.Time{})
	}
	delete(o.flows, f.sel)
	t.dirty = true
}

func (t *Table) setAnon(f *flow, anon bool) {
	switch {
	case anon && !f.anon:
		t.oe.anon++
	case !anon && f.anon:
		t.oe.anon--
	}
	f.anon = anon
}

// closeFlow deletes the Child SAs of a flow's connection; the IKE SA stays for
// other flows (opportunistic.md 4.1, row 18).
func (t *Table) closeFlow(c *conn) {
	t.become(c, Unrouted)
	t.settle()
	for _, ch := range slices.Clone(c.children) {
		if !ch.closing {
			ch.closing = true
			t.do(ToMachine{ch.ike, ike.Delete{Child: ch.serial}})
		}
	}
	t.outlive(c)
}

// flowAlarm is the deadline of a state.
func (t *Table) flowAlarm(f *flow) {
	switch f.state {
	case Clear, Denied:
		t.end(f)
	case Negotiating:
		if f.ours {
			t.fail(f, f.weightiest(cause{CauseUnreachable, "no gateway has answered in time"}))
			return
		}
		t.end(f) // a peer asked for it and did not come
	case Encrypted:
		t.look(f)
	}
}

// heldTooLong decides for packets that nobody should wait for any longer.
func (t *Table) heldTooLong(f *flow) {
	switch f.state {
	case Asking:
		t.fail(f, cause{CauseDNS, "no answer from the DNS in time"})
	case Negotiating:
		t.fail(f, f.weightiest(cause{CauseUnreachable, "no gateway has answered in time"}))
	}
}

// reconsider puts a flow under the rules of now. It reports whether a tunnel was
// closed.
func (t *Table) reconsider(f *flow) (closed bool) {
	old := f.rule
	p := ipsec.Flow{Src: f.src(), Dst: f.dst(), Proto: f.sel.Proto, SrcPort: f.sel.SrcPorts.Lo, DstPort: f.sel.DstPorts.Lo}
	x := t.ruleFor(p)
	keeps := x != nil && x.Opportunistic() && x.selectorOf(p) == f.sel && (x.action == ipsec.Trap || x.action == ipsec.Pass || f.state == Encrypted)
	switch {
	case !keeps:
		closed = f.state == Encrypted
		t.end(f)
	case sameGroup(old.Group, x.Group) && old.action == x.action && old.Local.ID == x.Local.ID:
		f.rule = x
		t.touchFlow(f)
	case f.state == Encrypted && f.level >= x.minAuth():
		f.rule = x // the tunnel goes on, under the failure rule of the new group
		t.touchFlow(f)
	case f.state == Encrypted:
		t.end(f)
		closed = true
	default: // decide anew (opportunistic.md 4.1, row 17)
		t.end(f)
	}
	return closed
}
