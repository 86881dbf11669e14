package connection

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/oe"
)

// decide goes on with a flow once the DNS has said all that is needed
// (opportunistic.md 4.1, rows 6 to 10).
func (t *Table) decide(f *flow) {
	if f.state != Asking || f.finding == nil || !f.allowed {
		return
	}
	o := &t.oe
	x := *f.finding
	why := func(c Cause) cause { return cause{c, x.Why} }
	kept, known := o.known.find(t.now, f.dst())
	switch t.meaning(x.Cause, f.rule.Group) {
	case oe.CauseNone:
		o.known.note(t.now, f.dst(), x)
		t.choose(f, x)
	case oe.CauseNoRecord, oe.CauseUnlisted:
		o.known.forget(f.dst())
		t.fail(f, why(CauseNoRecord))
	case oe.CauseInsecure:
		switch {
		case known: // a zone does not lose its signatures of its own accord (6.4)
			t.fail(f, cause{CauseBogus, "the answer was signed before and is not now: " + x.Why})
		case f.rule.OE.TryAnon && f.rule.minAuth() == oe.LevelAnon:
			t.choose(f, anonymous(f.dst()))
		default:
			t.fail(f, why(CauseInsecure))
		}
	case oe.CauseUnusableKey:
		if f.rule.OE.TryAnon && f.rule.minAuth() == oe.LevelAnon {
			t.choose(f, anonymous(f.dst()))
			return
		}
		t.fail(f, why(CauseUnusableKey))
	case oe.CauseDNS:
		if known {
			t.log(nil, fmt.Sprintf("%q: %s: the DNS is silent (%s): its last good answer is used", f.rule.name, f.title(), x.Why))
			t.choose(f, kept)
			return
		}
		t.fail(f, why(CauseDNS))
	default:
		t.fail(f, why(CauseBogus))
	}
}

// anonymous is the offer of a destination that has no key to prove.
func anonymous(dst netip.Addr) oe.Finding {
	return oe.Finding{Offers: []oe.Offer{{Addr: dst, Level: oe.LevelAnon}}}
}

// choose orders the gateways and begins with the first (opportunistic.md 4.4).
func (t *Table) choose(f *flow, x oe.Finding) {
	o := &t.oe
	me := t.selfOf(f.rule.Group)
	if !me.gateway() && f.src() != f.rule.Local.Addr {
		t.fail(f, cause{CauseLocal, "who has no key at its address speaks for no client"})
		return
	}
	list, err := x.Candidates(o.Rand)
	if err != nil {
		t.fail(f, cause{CauseLocal, err.Error()})
		return
	}
	list = slices.DeleteFunc(list, func(c oe.Candidate) bool { return c.Level < f.rule.minAuth() })
	if len(list) == 0 {
		t.fail(f, cause{CauseUnusableKey, fmt.Sprintf("no gateway of %s can prove itself as well as oe-min-auth=%s asks", f.dst(), f.rule.minAuth())})
		return
	}
	f.gateways, f.tried, f.why = list, 0, cause{}
	t.enter(f, Negotiating)
	t.alarms.set(&f.alarm, t.now.Add(f.rule.OE.IKETimeout))
	o.ready = append(o.ready, f)
	t.startReady()
}

// startReady lets flows negotiate that have waited until others were done. No
// network is called at more often than it can be expected to answer.
func (t *Table) startReady() {
	o := &t.oe
	if len(o.ready) == 0 {
		return
	}
	busy, by := 0, map[netip.Prefix]int{}
	for _, f := range o.flows {
		for _, c := range f.attempts {
			if f.state == Negotiating {
				busy++
				by[netOf(c.Remote.Addr)]++
			}
		}
	}
	waiting := o.ready
	o.ready = nil
	for _, f := range waiting {
		if f.state != Negotiating || len(f.gateways) == 0 {
			continue
		}
		n := netOf(f.gateways[0].Addr)
		if busy >= maxNegotiations || by[n] >= maxPerNet {
			o.ready = append(o.ready, f)
			continue
		}
		busy++
		by[n]++
		t.tryNext(f)
	}
}

func netOf(a netip.Addr) netip.Prefix {
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, _ := a.Prefix(bits)
	return p
}

// tryNext negotiates with the next gateway of a flow, beside those that have not
// answered yet.
func (t *Table) tryNext(f *flow) {
	most := maxGateways
	if f.rule.Failure == ipsec.Pass && f.rule.OE.Prefer {
		most = maxGatewaysLax
	}
	if f.state != Negotiating || len(f.gateways) == 0 || f.tried >= most {
		return
	}
	g := f.gateways[0]
	f.gateways = f.gateways[1:]
	f.tried++
	if len(f.gateways) > 0 {
		t.alarms.set(&f.next, t.now.Add(nextGateway))
	}
	var keys []ike.PublicKey
	for _, k := range g.Keys {
		keys = append(keys, ike.PublicKey{Key: k, Origin: "the DNS"})
	}
	c := t.attempt(f, g.Addr, keys, g.Level)
	t.initiate(c, nil)
}

// attempt makes the connection of a flow with one gateway.
func (t *Table) attempt(f *flow, gateway netip.Addr, keys []ike.PublicKey, level oe.Level) *conn {
	d := f.rule.as(t.selfOf(f.rule.Group))
	k := d.Conn
	base := t.find(key{k.Name, 0})
	k.Name, k.Template = f.rule.name, false
	if base != nil {
		base.instances++
		k.Instance = base.instances
	}
	k.Local.TS, k.Local.Host = tsOf(f.src(), f.sel.Proto, f.sel.SrcPorts), f.src() == k.Local.Addr
	k.Remote = ike.End{Addr: gateway, ID: ike.IDOfAddr(gateway), Auth: []ike.AuthMethod{ike.AuthPubkey}, Keys: keys,
		TS: tsOf(f.dst(), f.sel.Proto, f.sel.DstPorts), Host: f.dst() == gateway}
	if level == oe.LevelAnon {
		k.Remote.ID, k.Remote.Auth = ike.ID{Kind: ike.IDNULL}, []ike.AuthMethod{ike.AuthNULL}
	}
	d.RemoteWord, d.NextHop = "", f.rule.NextHop
	c := &conn{Description: d, base: base, flow: f, level: level}
	t.insert(c)
	f.attempts = append(f.attempts, c)
	return c
}

// abandonAttempt gives up what is under way with one gateway.
func (t *Table) abandonAttempt(f *flow, c *conn) {
	f.attempts = slices.DeleteFunc(f.attempts, func(x *conn) bool { return x == c })
	c.flow = nil
	t.cancel(c)
	t.closeFlow(c)
}

// attemptOver settles an attempt with one gateway that came to nothing. Proven
// says that the gateway had proved who it is.
func (t *Table) attemptOver(c *conn, why *ike.Failure, proven bool) {
	f := c.flow
	c.flow = nil
	t.become(c, Unrouted)
	f.attempts = slices.DeleteFunc(f.attempts, func(x *conn) bool { return x == c })
	t.outlive(c)
	if f.state != Negotiating || t.oe.flows[f.sel] != f {
		return
	}
	f.why = f.weightiest(causeOf(c, why, proven))
	switch {
	case f.why.kind == CauseAuth && !f.retried && f.ours:
		t.refetch(f)
	case len(f.gateways) > 0:
		t.tryNext(f)
	case len(f.attempts) == 0 && f.ours:
		t.fail(f, f.why)
	case len(f.attempts) == 0:
		t.end(f)
	}
	t.startReady()
}

// causeOf is what a failed attempt says about a gateway. A refusal counts only from
// who has proved itself: whoever can forge an error must not be able to switch
// encryption off (opportunistic.md 4.1, rows 13 and 14). A gateway that is refused
// by us, because it answered what it was not asked, is not trusted.
func causeOf(c *conn, why *ike.Failure, proven bool) cause {
	if why == nil {
		return cause{CauseUnreachable, "the gateway does not answer"}
	}
	text := fmt.Sprintf("gateway %s: %s", c.Remote.Addr, why.Why)
	switch why.Reason {
	case ike.ReasonSilent:
		return cause{CauseUnreachable, text}
	case ike.ReasonAuth:
		return cause{CauseAuth, text}
	case ike.ReasonTS, ike.ReasonProposal, ike.ReasonProtocol:
		switch {
		case !proven:
			return cause{CauseUnreachable, text}
		case !why.ByPeer:
			return cause{CauseAuth, text}
		}
		return cause{CauseRefused, text}
	}
	if why.ByPeer && !proven {
		return cause{CauseUnreachable, text}
	}
	return cause{CauseLocal, text}
}

// weightiest is the cause that decides: the most serious of those that the
// attempts have had so far, and of one more.
func (f *flow) weightiest(c cause) cause {
	if f.why.kind > c.kind {
		return f.why
	}
	return c
}

// refetch asks the DNS past its caches: the key may have been changed a moment
// ago (opportunistic.md 4.1, row 15).
func (t *Table) refetch(f *flow) {
	for _, c := range slices.Clone(f.attempts) {
		t.abandonAttempt(f, c)
	}
	f.retried = true
	f.gateways = nil
	t.enter(f, Asking)
	t.askAbout(f, true)
}

// tunnelUp takes a new Child SA of a flow into use. Others that are being tried
// for it are given up.
func (t *Table) tunnelUp(c *conn) {
	f := c.flow
	if ch := c.using(); f.waits() && f.ours && ch != nil && !ch.up.Initiator && f.ready.at.IsZero() {
		// The peer has yet to take our answer in; packets that wait would be
		// there before it is ready for them.
		t.alarms.set(&f.ready, t.now.Add(peerSettles))
		return
	}
	t.carry(c)
}

// peerReady takes the tunnel into use that a peer has begun.
func (t *Table) peerReady(f *flow) {
	for _, c := range f.attempts {
		if len(c.children) > 0 {
			t.carry(c)
			return
		}
	}
}

// carry gives a flow to its tunnel.
func (t *Table) carry(c *conn) {
	f := c.flow
	f.attempts = slices.DeleteFunc(f.attempts, func(x *conn) bool { return x == c })
	for _, other := range slices.Clone(f.attempts) {
		t.abandonAttempt(f, other)
	}
	if old := f.conn; old != nil && old != c {
		f.conn = nil
		old.flow = nil
		t.touch(old)
		f.conn = c
		t.become(c, Erouted)
		t.settle()
		t.closeFlow(old)
	}
	again := f.conn == c && f.state == Encrypted
	f.conn, f.level = c, c.level
	t.setAnon(f, c.level == oe.LevelAnon)
	t.become(c, Erouted)
	if !again {
		t.stopAsking(f)
		t.enter(f, Encrypted)
		t.oe.count.Tunnels++
		t.alarms.set(&f.alarm, t.now.Add(lookEvery))
		t.alarms.set(&f.grace, t.now.Add(clearGrace))
		t.planProof(f)
		t.oe.lapses.forget(f.sel.Dst)
		t.log(c.Conn, fmt.Sprintf("opportunistic tunnel for %s by gateway %s, authentication %s", f.title(), c.Remote.Addr, f.level))
	}
	t.settle()
	t.startReady()
}

func (t *Table) stopAsking(f *flow) {
	for _, l := range slices.Clone(f.lookups) {
		t.unask(l)
	}
	f.lookups = nil
}

// tunnelDown is reached when the last Child SA of a flow's connection is gone.
// The rule's trap takes the packets again, so that nothing passes that the group
// does not let pass (opportunistic.md 4.1, row 20).
func (t *Table) tunnelDown(c *conn) {
	f := c.flow
	c.flow = nil
	t.become(c, Unrouted)
	if f != nil && f.conn == c {
		f.conn = nil
		t.stop(f)
		t.forgetFlow(f)
	}
	t.settle()
	t.outlive(c)
}

// look asks whether a tunnel is used.
func (t *Table) look(f *flow) {
	if f.conn == nil {
		return
	}
	q := CheckUse{Owner: f.conn.key().owner()}
	for _, ch := range f.conn.children {
		q.In = append(q.In, ch.up.Ins()...)
		q.Out = append(q.Out, ch.up.Outs()...)
	}
	t.alarms.set(&f.alarm, t.now.Add(lookEvery))
	t.do(q)
}

// wasUsed closes a tunnel that is not used any more. Where packets go out and
// none comes in, the peer is asked whether it is there still (opportunistic.md
// 4.5): what arrives is as good as an answer.
func (t *Table) wasUsed(e Used) {
	if c := t.byOwner(e.Owner); c != nil && c.flow != nil && c.flow.conn == c {
		t.lastUsed(c, c.flow, e)
	}
}

// lastUsed does that for a connection.
func (t *Table) lastUsed(c *conn, f *flow, e Used) {
	last := f.since
	for _, at := range []time.Time{e.In, e.Out} {
		if at.After(last) {
			last = at
		}
	}
	ch := c.using()
	switch {
	case !t.now.Before(last.Add(f.rule.OE.Idle)):
		t.log(c.Conn, fmt.Sprintf("opportunistic tunnel for %s is not used: closing it", f.title()))
		t.end(f)
	case ch != nil && e.Out.After(e.In) && e.Out.After(f.since) && !t.now.Before(atLeast(f.since, e.In).Add(lookEvery)):
		t.do(ToMachine{ch.ike, ike.Probe{}})
	}
}

// planProof sets when the DNS is asked again whether the peer of a tunnel may
// speak for its client (opportunistic.md 4.1, row 21). Nobody can be asked about
// who is anonymous or known by name only.
func (t *Table) planProof(f *flow) {
	if f.level < oe.LevelSecure || f.conn == nil {
		return
	}
	until := t.now.Add(leastProof)
	if f.finding != nil {
		until = atLeast(until, f.finding.Expires)
	}
	t.alarms.set(&f.proof, t.now.Add(t.jitter(until.Sub(t.now))))
}

// reprove asks whether the peer of a tunnel still may.
func (t *Table) reprove(f *flow) {
	proven := t.provenKey(f.conn)
	if f.state != Encrypted || proven == nil {
		return
	}
	gateway := f.conn.Remote.Addr
	var l *lookup
	l = t.ask(oe.MaySpeak(f.dst(), oe.Speaker{Addr: gateway}, proven, f.rule.Stranger.DNS), false, f.rule.OE.DNSTimeout, func(x oe.Finding) {
		f.lookups = slices.DeleteFunc(f.lookups, func(y *lookup) bool { return y == l })
		t.reproved(f, x)
	})
	f.lookups = append(f.lookups, l)
}

func (t *Table) reproved(f *flow, x oe.Finding) {
	cause := t.meaning(x.Cause, f.rule.Group)
	switch {
	case f.state != Encrypted:
	case cause == oe.CauseNone:
		f.finding = &x
		t.planProof(f)
	case cause == oe.CauseDNS && (f.finding == nil || f.finding.ProofEnd.IsZero() || t.now.Before(f.finding.ProofEnd)):
		t.alarms.set(&f.proof, t.now.Add(reproveAgain)) // the DNS is silent: its signatures still hold
	default:
		t.log(f.conn.Conn, fmt.Sprintf("opportunistic tunnel for %s: %s: closing it", f.title(), x.Why))
		t.end(f)
	}
}

// outlive evicts a connection of a flow that has ended, unless it still carries
// an SA or an IKE SA was made for it.
func (t *Table) outlive(c *conn) {
	if t.find(c.key()) != c || len(c.children) > 0 || c.joined != nil {
		return
	}
	idle := false
	for _, sa := range t.at.peer[c.Remote.Addr] {
		if sa.conn == c {
			idle = true
			t.guardIdle(sa, strangerIdle)
		}
	}
	if !idle {
		t.evict(c)
	}
}

// guardIdle ends an IKE SA with a stranger that has had no Child SA for a while.
func (t *Table) guardIdle(sa *ikeSA, after time.Duration) {
	sa.idle.ring = func() {
		if sa.up != nil && !sa.doomed && !t.usedBy(sa) {
			sa.doomed = true
			t.do(ToMachine{sa.serial, ike.Delete{}})
		}
	}
	t.alarms.set(&sa.idle, t.now.Add(after))
}

func (t *Table) usedBy(sa *ikeSA) bool {
	return len(sa.waiting) > 0 || len(t.at.riders[sa.serial]) > 0
}
