package connection

import (
	"crypto"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/config"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/oe"
	"cygnet/internal/rawkey"
)

// Opportunistic encryption, opportunistic.md 4 and 5. Its unit is the flow, a
// pair of hosts: packets that meet a group's trap make one, and so does a peer
// that asks for it. Names are looked up by the action Lookup, which Found
// answers; tunnels are made by connections as any others are, one for each
// gateway that is tried.

// Regroup takes over the groups of the configuration, opportunistic.md 2.5. What
// they treat as before goes on undisturbed.
type Regroup struct {
	Waiter    uint64
	List      []*Group
	Mode      config.OEMode
	Own       []crypto.PublicKey // keys of this machine
	Ours      []netip.Addr       // addresses of this machine
	Name      string             // that this machine has, by myid=; empty: none
	Resolvers []netip.Addr       // that answer Lookup, on other machines
	DNS       oe.Options
	Rand      io.Reader
}

// Found answers Lookup.
type Found struct {
	ID      uint64
	Finding oe.Finding
}

// Used answers CheckUse: when the SAs of a connection have last carried a packet,
// either way. Zero is never.
type Used struct {
	Owner   string
	In, Out time.Time
}

// Flush forgets what failures have led to for destinations in Prefix, so that
// the next packet is looked at anew.
type Flush struct {
	Waiter uint64
	Prefix netip.Prefix
}

// Lookup asks the DNS. Fresh says that what is remembered must not answer.
type Lookup struct {
	ID      uint64
	Inquiry *oe.Inquiry
	Fresh   bool
}

// Forget says that the answer to a Lookup is not wanted any more.
type Forget struct{ ID uint64 }

// ForgetNames says that nothing that the DNS has said before may be believed any
// more: what is remembered of it must not answer.
type ForgetNames struct{}

// CheckUse asks when SAs of a connection have last carried a packet.
type CheckUse struct {
	Owner   string
	In, Out []ipsec.SAID
}

func (Regroup) event()      {}
func (Found) event()        {}
func (Used) event()         {}
func (Flush) event()        {}
func (Lookup) action()      {}
func (Forget) action()      {}
func (ForgetNames) action() {}
func (CheckUse) action()    {}

// opportunism is the state of opportunistic encryption in a Table.
type opportunism struct {
	Regroup
	rules *rules
	flows map[ipsec.Selector]*flow

	lookups map[uint64]*lookup
	last    uint64    // ID of a Lookup
	queue   []*lookup // that wait until others are answered
	asking  int

	ready   []*flow // that wait until other negotiations have ended
	selves  map[netip.Addr]*selfCheck
	granted map[netip.Addr]time.Time // sources that may be ours to speak for, until then
	lapses  lapses
	known   remembered
	fresh   ike.Bucket // new flows of sources that are not ours
	waiting int        // flows in Asking and Negotiating
	anon    int        // flows with anonymous peers
	count   Opportunity
	captive time.Time // until when bogus answers count as none, see Captive
	stale   bool      // a connection that somebody wrote was routed or unrouted
}

// Opportunity counts what became of flows, for the status.
type Opportunity struct {
	Begun, Tunnels, Clear, Denied uint64
	Limited                       uint64 // not begun because of a limit
}

// lookup is a question that was asked or will be.
type lookup struct {
	id      uint64
	inquiry *oe.Inquiry
	fresh   bool
	within  time.Duration
	found   func(oe.Finding)
	alarm   alarm
	asked   bool
}

// ask asks the DNS and calls found once, with the answer or when within has
// passed since the question went out.
func (t *Table) ask(i *oe.Inquiry, fresh bool, within time.Duration, found func(oe.Finding)) *lookup {
	o := &t.oe
	o.last++
	l := &lookup{id: o.last, inquiry: i, fresh: fresh, within: within, found: found}
	l.alarm.ring = func() { t.answered(l, oe.Finding{Cause: oe.CauseDNS, Why: "no answer from the DNS in time"}, true) }
	o.lookups[l.id] = l
	o.queue = append(o.queue, l)
	t.askNext()
	return l
}

// askNext lets as many questions go out as may be under way together.
func (t *Table) askNext() {
	o := &t.oe
	for o.asking < maxLookups && len(o.queue) > 0 {
		l := o.queue[0]
		o.queue = o.queue[1:]
		if o.lookups[l.id] != l {
			continue // not wanted any more
		}
		l.asked = true
		o.asking++
		t.alarms.set(&l.alarm, t.now.Add(l.within))
		t.do(Lookup{ID: l.id, Inquiry: l.inquiry, Fresh: l.fresh})
	}
}

// found is the event of an answer.
func (t *Table) found(e Found) {
	if l := t.oe.lookups[e.ID]; l != nil {
		t.answered(l, e.Finding, false)
	}
}

func (t *Table) answered(l *lookup, f oe.Finding, late bool) {
	t.drop(l, late)
	l.found(f)
	t.askNext()
}

// unask drops a question whose answer nobody wants any more.
func (t *Table) unask(l *lookup) {
	if l != nil && t.oe.lookups[l.id] == l {
		t.drop(l, l.asked)
		t.askNext()
	}
}

func (t *Table) drop(l *lookup, tell bool) {
	o := &t.oe
	delete(o.lookups, l.id)
	t.alarms.set(&l.alarm, time.Time{})
	if l.asked {
		o.asking--
	}
	if tell {
		t.do(Forget{l.id})
	}
}

// regroup takes over groups.
func (t *Table) regroup(e Regroup) {
	o := &t.oe
	if o.flows == nil {
		o.flows, o.lookups, o.selves = map[ipsec.Selector]*flow{}, map[uint64]*lookup{}, map[netip.Addr]*selfCheck{}
		o.granted = map[netip.Addr]time.Time{}
	}
	same := slices.EqualFunc(o.Own, e.Own, func(a, b crypto.PublicKey) bool { return rawkey.Equal(a, b) })
	moved, renamed := !slices.Equal(o.Ours, e.Ours), o.Name != e.Name
	o.Regroup = e
	o.DNS.Own = e.Ours
	if moved { // another network: what failed in the last one says nothing (4.1, row 23)
		t.forgetFailures(func(*flow) bool { return true })
		o.lapses = lapses{}
	}
	t.checkSelves(!same || moved || renamed)
	closed, change := t.recompile()
	for _, c := range t.oe.rules.clashes {
		t.log(nil, c.String())
	}
	for _, line := range t.takesOut() {
		t.log(nil, line)
	}
	t.settle()
	text := change.String()
	if closed > 0 {
		text += fmt.Sprintf(", %d tunnels closed", closed)
	}
	if e.Waiter != 0 {
		t.do(Reply{Waiter: e.Waiter, Text: text})
		t.answer(e.Waiter)
	}
}

// entryChange is the difference between two versions of the rules.
type entryChange struct{ added, removed, changed int }

// String is like +3 -1 ~2 entries.
func (c entryChange) String() string {
	return fmt.Sprintf("+%d -%d ~%d entries", c.added, c.removed, c.changed)
}

// recompile makes the rules anew, after the groups or what is known of
// ourselves has changed, and puts the flows under them.
func (t *Table) recompile() (closed int, change entryChange) {
	o := &t.oe
	old := o.rules
	o.rules = compile(o.List, t.modeOf, o.Ours, o.Resolvers)
	change = differ(old, o.rules)
	t.templates()
	t.dirty = true
	for _, f := range t.flowList() {
		if t.reconsider(f) {
			closed++
		}
	}
	return closed, change
}

// differ compares two versions, both sorted by selector.
func differ(old, now *rules) (c entryChange) {
	var a, b []*rule
	if old != nil {
		a = old.list
	}
	b = now.list
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && ipsec.Selector.Compare(a[0].sel, b[0].sel) < 0:
			c.removed++
			a = a[1:]
		case len(a) == 0 || ipsec.Selector.Compare(a[0].sel, b[0].sel) > 0:
			c.added++
			b = b[1:]
		default:
			if a[0].name != b[0].name || a[0].action != b[0].action {
				c.changed++
			}
			a, b = a[1:], b[1:]
		}
	}
	return c
}

// takesOut warns of entries that take traffic out of a connection
// (opportunistic.md 2.4): they are more specific than it is.
func (t *Table) takesOut() []string {
	var lines []string
	for _, c := range t.conns {
		if c.Stranger != nil || !c.Negotiable() || !c.Oriented {
			continue
		}
		for _, s := range c.Selectors() {
			for _, x := range t.oe.rules.list {
				if x.sel != s && within(x.sel.Dst, s.Dst) && overlaps(x.sel.Src, s.Src) && moreSpecific(x.sel, s) && len(lines) < maxWarnings {
					lines = append(lines, fmt.Sprintf("%s takes traffic out of conn %q (%s), %s:%d", x.name, c.Name, s.Dst, x.where.File, x.where.Line))
				}
			}
		}
	}
	return lines
}

func within(p, q netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Contains(p.Addr()) }

func overlaps(p, q netip.Prefix) bool { return p.Overlaps(q) }

// moreSpecific reports whether a wins over b where both match: the longer source
// prefix, then the longer destination prefix, then ports and protocol.
func moreSpecific(a, b ipsec.Selector) bool {
	if a.Src.Bits() != b.Src.Bits() {
		return a.Src.Bits() > b.Src.Bits()
	}
	if a.Dst.Bits() != b.Dst.Bits() {
		return a.Dst.Bits() > b.Dst.Bits()
	}
	return (&rule{sel: a}).breadth() > (&rule{sel: b}).breadth()
}

// ruleFor returns the rule that decides about a packet; nil if there is none,
// or if a connection that somebody wrote decides (opportunistic.md 2.4).
func (t *Table) ruleFor(f ipsec.Flow) *rule {
	if t.oe.rules == nil {
		return nil
	}
	x := t.oe.rules.match(f)
	if x == nil || t.explicit(f, x.sel) {
		return nil
	}
	return x
}

// explicit reports whether a connection that somebody wrote, and that is
// routed, covers a packet no less specifically than a selector does.
func (t *Table) explicit(f ipsec.Flow, than ipsec.Selector) bool {
	for _, c := range t.conns {
		if c.Stranger != nil || !c.state.Routed() {
			continue
		}
		for _, s := range c.Selectors() {
			if s.Contains(f) && !moreSpecific(than, s) {
				return true
			}
		}
	}
	return false
}

// yield puts the flows under the rules again after a connection that somebody
// wrote has been routed: what it covers is its own from then on.
func (t *Table) yield() {
	if !t.oe.stale || t.oe.rules == nil {
		return
	}
	t.oe.stale = false
	for _, f := range t.flowList() {
		t.reconsider(f)
	}
}

// templates keeps one template in the table for each group that has tunnels
// with strangers, as who we are found ourselves to be. Responders begin with
// them.
func (t *Table) templates() {
	o := &t.oe
	want := map[string]*Description{}
	for _, g := range o.List {
		if g.Opportunistic() && t.modeOf(g) != config.OENo {
			want[g.Name] = g.as(t.selfOf(g))
		}
	}
	for _, c := range slices.Clone(t.conns) {
		if c.Stranger == nil || !c.Template {
			continue
		}
		if d := want[c.Name]; d == nil {
			t.retire(c)
		} else if !c.equal(d) {
			delete(t.byConn, c.Conn)
			c.Description = d
			t.byConn[d.Conn] = c
		}
		delete(want, c.Name)
	}
	for _, g := range o.List {
		if d := want[g.Name]; d != nil && t.find(key{d.Name, 0}) == nil {
			t.insert(&conn{Description: d})
		}
	}
}

// retire forgets a template, and ends the IKE SAs that began with it.
func (t *Table) retire(c *conn) {
	for _, sa := range t.ikes {
		if sa.conn.base == c && sa.up != nil && !sa.doomed {
			sa.doomed = true
			t.do(ToMachine{sa.serial, ike.Delete{}})
		}
	}
	t.evict(c)
}

// flush is the administrator's word that failures shall be forgotten.
func (t *Table) flush(e Flush) {
	n := t.forgetFailures(func(f *flow) bool { return e.Prefix.Contains(f.dst()) })
	t.oe.lapses.forget(e.Prefix)
	t.settle()
	if e.Waiter != 0 {
		t.do(Reply{Waiter: e.Waiter, Text: fmt.Sprintf("%d failures forgotten", n)})
		t.answer(e.Waiter)
	}
}

// forgetFailures ends the flows that have failed and that are meant. It returns
// how many.
func (t *Table) forgetFailures(meant func(*flow) bool) (n int) {
	for _, f := range t.flowList() {
		if f.settled() && meant(f) {
			t.end(f)
			n++
		}
	}
	return n
}

// flowList lists the flows in a fixed order.
func (t *Table) flowList() []*flow {
	list := make([]*flow, 0, len(t.oe.flows))
	for _, f := range t.oe.flows {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b *flow) int { return ipsec.Selector.Compare(a.sel, b.sel) })
	return list
}

// jitter spreads a life by a tenth, so that a thousand do not end together.
func (t *Table) jitter(d time.Duration) time.Duration {
	var b [2]byte
	if _, err := io.ReadFull(t.oe.Rand, b[:]); err != nil {
		return d
	}
	return d - d/10 + d/5*time.Duration(binary.BigEndian.Uint16(b[:]))/(1<<16)
}

// ownKey returns the key of ours that is among those of a finding, or nil.
func (o *opportunism) ownKey(f oe.Finding) *ike.PublicKey {
	for _, offer := range f.Offers {
		for _, k := range o.Own {
			if offer.Key != nil && rawkey.Equal(offer.Key, k) {
				return &ike.PublicKey{Key: k, Origin: "ipsec.secrets"}
			}
		}
	}
	return nil
}

// ours reports whether an address is this machine's.
func (o *opportunism) ours(a netip.Addr) bool { return slices.Contains(o.Ours, a) }
