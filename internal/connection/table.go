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

// Table holds all connections. The zero value is not ready: use NewTable.
type Table struct {
	conns   []*conn // sorted by name, then instance
	byConn  map[*ike.Conn]*conn
	ikes    []*ikeSA // oldest first
	at      index
	alarms  alarms
	waiters []*waiter

	seq     uint64 // of the last conn, for ties
	nextTun ipsec.SPI

	staked  stakes
	touched []*conn // whose claims may have changed since
	spd     told[ipsec.Selector, ipsec.Policy]
	routes  told[netip.Prefix, KernelRoute]
	resting []rest // oldest first
	dirty   bool   // what SPD and routes are made of has changed since

	oe opportunism

	// Of the current Step.
	now    time.Time
	out    []Action
	report ike.Report // what a Reported brought

	batching bool // SPD and routes wait for the end of a Batch
}

// key names a connection or instance.
type key struct {
	name     string
	instance int
}

func (k key) compare(l key) int {
	return cmp.Or(cmp.Compare(k.name, l.name), cmp.Compare(k.instance, l.instance))
}

// owner is how policies name their connection, and how Acquire finds it.
func (k key) owner() string {
	if k.instance == 0 {
		return k.name
	}
	return fmt.Sprintf("%s[%d]", k.name, k.instance)
}

// conn is a connection or an instance of one: what is wanted and how far it is.
type conn struct {
	*Description
	seq  uint64
	base *conn // of an instance: its template
	born time.Time

	state        State
	basis        basis        // of its claims
	claims       []*claim     // in Table.staked
	ways         []*way       // in Table.staked
	touched      bool         // it is in Table.touched
	gone         bool         // it is not in the table any more
	up           bool         // the user wants it up: Pluto's policy flag UP
	joined       *ikeSA       // whose outcome it awaits while negotiating
	redirects    []time.Time  // when its peer sent us on, of late
	tries        int          // keying attempts that have failed since the last success
	retry        alarm        // the next attempt
	orphaned     alarm        // an instance may be left over
	trigger      *ipsec.Flow  // packet that started the current attempt
	blockedUntil time.Time    // after a failure, traffic alone starts no attempt before
	children     []*child     // oldest first
	last         *ike.Failure // of the newest failed attempt
	blames       [3]*Blame    // what failed last: of the peer's attempts, of ours, of anybody's
	scriptUp     bool         // its updown command was called with up, and not yet with down

	flow  *flow    // of an opportunistic connection that negotiates for one, or serves it
	level oe.Level // that its peer is authenticated with

	stranded  bool        // our address is gone; see reorient
	adrift    bool        // it is gone too, but the SAs are spared; see drift
	former    []*ike.Conn // what Conn was before moves
	instances int         // highest instance number given out
}

func (c *conn) key() key { return key{c.Name, c.Instance} }

// NewTable returns an empty table.
func NewTable() *Table {
	return &Table{byConn: map[*ike.Conn]*conn{}, at: newIndex(), nextTun: ipsec.FirstTunSPI}
}

// Step consumes one event and appends to out what must be done, in order.
func (t *Table) Step(now time.Time, ev Event, out []Action) []Action {
	t.now, t.out, t.report = now, out, ike.Report{}
	t.take(ev)
	t.yield()
	t.due()
	t.settle()
	t.checkDown()
	out, t.out = t.out, nil
	return out
}

// take handles one event.
func (t *Table) take(ev Event) {
	switch e := ev.(type) {
	case Batch:
		t.batching = true
		for _, one := range e.List {
			t.take(one)
		}
		t.batching = false
	case Add:
		t.add(e)
	case Replace:
		t.replace(e)
	case Delete:
		t.remove(e)
	case Up:
		t.bringUp(e)
	case Down:
		t.takeDown(e)
	case Route:
		t.route(e)
	case Unroute:
		t.unroute(e)
	case Rekey:
		t.rekey(e)
	case Abandon:
		t.abandon(e.Waiter)
	case DeleteState:
		t.deleteState(e)
	case Crash:
		t.crash(e)
	case Acquire:
		t.acquire(e)
	case Started:
		t.started(e)
	case Reported:
		t.reported(e)
	case Reorient:
		t.reorient(e)
	case UpdownDone:
		t.updownDone(e)
	case Regroup:
		t.regroup(e)
	case Found:
		t.found(e)
	case Used:
		t.wasUsed(e)
	case Captive:
		t.captivity(e)
	case Flush:
		t.flush(e)
	case Refused:
		t.refused(e)
	case TimeUp:
	}
}

// Deadline is when Step wants a TimeUp event; the zero time means never.
func (t *Table) Deadline() time.Time {
	var first time.Time
	sooner := func(at time.Time) {
		if !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	sooner(t.alarms.first())
	for _, w := range t.waiters {
		sooner(w.until)
	}
	if len(t.resting) > 0 {
		sooner(t.resting[0].until)
	}
	sooner(t.oe.captive)
	return first
}

// due does what has been planned for now.
func (t *Table) due() {
	if at := t.Deadline(); at.IsZero() || at.After(t.now) {
		return
	}
	reached := func(at time.Time) bool { return !at.IsZero() && !at.After(t.now) }
	for a := t.alarms.due(t.now); a != nil; a = t.alarms.due(t.now) {
		a.ring()
	}
	t.rise()
	for _, w := range slices.Clone(t.waiters) {
		if reached(w.until) {
			t.finish(w, nil)
		}
	}
	if reached(t.oe.captive) {
		t.released()
	}
}

func (t *Table) do(a Action) { t.out = append(t.out, a) }

// become moves c to a state.
func (t *Table) become(c *conn, s State) {
	if c.state.Routed() != s.Routed() && c.Stranger == nil {
		t.oe.stale = true
	}
	if c.state != s {
		c.state = s
		t.touch(c)
	}
}

func (t *Table) insert(c *conn) {
	i, _ := t.position(c.key())
	t.conns = slices.Insert(t.conns, i, c)
	t.byConn[c.Conn] = c
	t.at.addConn(c)
	t.seq++
	c.seq, c.born = t.seq, t.now
	t.watchOrphan(c)
}

// evict forgets c; its SAs and claims must be gone or doomed already.
func (t *Table) evict(c *conn) {
	if i, ok := t.position(c.key()); ok && t.conns[i] == c {
		t.conns = slices.Delete(t.conns, i, i+1)
	}
	t.unstake(c)
	t.at.removeConn(c)
	for _, ch := range c.children {
		t.dropChild(ch)
	}
	for _, a := range []*alarm{&c.retry, &c.orphaned} {
		t.alarms.set(a, time.Time{})
	}
	for _, k := range append(c.former, c.Conn) {
		delete(t.byConn, k)
	}
	t.dirty = true
}

// dropChild takes a Child SA out of the index, with what was planned for it.
func (t *Table) dropChild(ch *child) {
	t.at.removeChild(ch)
	t.alarms.set(&ch.ready, time.Time{})
	t.alarms.set(&ch.surplus, time.Time{})
}

// watchOrphan sees to it that an instance which nothing uses goes, once it is old
// enough.
func (t *Table) watchOrphan(c *conn) {
	if c.base == nil || c.Stranger != nil || c.gone {
		return
	}
	c.orphaned.ring = func() {
		if t.reap(c); !c.gone {
			t.alarms.set(&c.orphaned, t.now.Add(orphanAge)) // something uses it
		}
	}
	t.alarms.set(&c.orphaned, atLeast(t.now, c.born.Add(orphanAge)))
}

// byAddress lists the IKE SAs with a peer.
func (t *Table) byAddress(peer netip.Addr) []*ikeSA {
	var list []*ikeSA
	for _, sa := range t.ikes {
		if sa.peer == peer || sa.up != nil && sa.up.Remote.Addr() == peer {
			list = append(list, sa)
		}
	}
	return list
}

// record takes in a new IKE SA.
func (t *Table) record(sa *ikeSA) {
	t.seq++
	sa.order = t.seq
	t.ikes = append(t.ikes, sa)
	t.at.addIKE(sa)
}
