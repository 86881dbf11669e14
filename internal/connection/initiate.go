package connection

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// ikeSA is one IKE SA, from the request for it to its end.
type ikeSA struct {
	order   uint64     // of its coming among others
	serial  uint32     // 0 until the runtime has made the machine
	conn    *conn      // the connection it was made for
	named   *ike.Conn  // what its machine calls that, from before a move perhaps
	peer    netip.Addr // as configured, which a move does not change
	ours    bool       // we initiated it
	up      *ike.IKEUp
	since   time.Time // of up
	first   time.Time // of up of the first that this one has replaced, by rekeying
	waiting []*conn   // connections whose Child SA it shall bring

	probed  time.Time // when it was asked whether it lives, because the peer seems not to know it
	doomed  bool      // it is to be deleted
	end     alarm     // when another supersedes it
	reauths uint32    // the IKE SA that this one shall take the place of

	idle alarm // of one with a stranger, when it shall end if nothing rides on it
}

// bringUp initiates all that a name means.
func (t *Table) bringUp(e Up) {
	var list []*conn
	for _, c := range t.named(e.Name) {
		if c.Instance == 0 {
			list = append(list, c)
		}
	}
	if len(list) == 0 {
		t.unknown(e.Waiter, e.Name)
		return
	}
	for _, c := range list {
		if code, why := t.uninitiable(c); code != 0 {
			t.refuse(e.Waiter, code, why)
			return
		}
	}
	var w *waiter
	if e.Waiter != 0 && !e.Async {
		w = t.wait(e.Waiter, list)
	}
	for _, c := range list {
		c.up = true
		t.upOne(c)
	}
	if w == nil {
		t.answer(e.Waiter)
	}
}

// uninitiable says why c cannot be initiated, with its class; 0 if it can.
func (t *Table) uninitiable(c *conn) (int, string) {
	switch {
	case !c.Oriented:
		return codeOrient, fmt.Sprintf("%s: we have no ipsecN interface for either end of this connection", c.Title())
	case !c.Negotiable():
		return codeNever, fmt.Sprintf("%s: cannot initiate an authby=never connection", c.Title())
	case c.Template:
		return codeNoPeer, fmt.Sprintf("%s: cannot initiate connection without knowing peer IP address (kind=CK_TEMPLATE)", c.Title())
	case c.DHCP && len(c.Assigned.Addrs) == 0:
		return codeNever, fmt.Sprintf("%s: cannot initiate without an address from DHCP", c.Title())
	case c.Within && len(c.Assigned.TS) == 0, c.FromPool && len(c.Assigned.Addrs) == 0, (c.Within || c.FromPool) && t.newestIKE(c) == nil:
		return codeNoPeer, fmt.Sprintf("%s: cannot initiate: the peer is given its address when it calls", c.Title())
	}
	return 0, ""
}

func (t *Table) upOne(c *conn) {
	switch {
	case c.using() != nil && (c.state == Erouted || c.state == Keyed):
		t.say(c, codeSuccess, fmt.Sprintf("%s #%d: IPsec SA established already", c.Title(), c.using().serial))
		t.release(c, nil)
	case c.state.Negotiating() && c.joined != nil:
		t.say(c, codeComment, c.Title()+": waits for the negotiation in progress")
	default:
		c.tries = 0
		t.initiate(c, nil)
	}
}

// initiate starts an attempt for c: on an IKE SA with its peer where there is
// one, whether established or being negotiated, else on a new one.
func (t *Table) initiate(c *conn, trigger *ipsec.Flow) {
	t.retryAt(c, time.Time{})
	c.trigger = trigger
	if c.state.Routed() {
		t.become(c, Held)
	} else {
		t.become(c, Initiating)
	}
	sa := t.suitable(c)
	if sa == nil {
		sa = &ikeSA{conn: c, peer: c.Remote.Addr, ours: true}
		t.record(sa)
		sa.waiting, c.joined = append(sa.waiting, c), sa
		t.settle()
		t.do(StartIKE{Conn: c.Conn, Trigger: trigger})
		return
	}
	sa.waiting, c.joined = append(sa.waiting, c), sa
	if sa.serial != 0 {
		t.settle()
		t.do(ToMachine{sa.serial, ike.AddChild{Conn: c.Conn, Trigger: trigger}})
	}
}

// suitable returns the IKE SA that c's Child SA can ride on: the newest
// established one with its peer, else one that we are negotiating.
func (t *Table) suitable(c *conn) *ikeSA {
	var found *ikeSA
	for _, sa := range t.at.peer[c.Remote.Addr] {
		if sa.doomed || !sa.fits(c) {
			continue
		}
		if found == nil || sa.up != nil {
			found = sa
		}
	}
	return found
}

// fits reports whether c's peer is at the other end of sa, under the same
// identities, proofs and algorithms: a connection with ike= of its own was not
// meant to ride on whatever another has agreed to, and one that must not go in
// UDP cannot ride on one that does.
func (sa *ikeSA) fits(c *conn) bool {
	d := sa.conn
	remote := d.Remote.ID
	if sa.up != nil {
		remote = sa.up.RemoteID
		if c.Asks() && len(sa.up.Virtual) == 0 {
			return false // an address inside comes with the IKE SA (RFC 7296, 2.19); the peer began this one
		}
	}
	return sa.peer == c.Remote.Addr && // first, because it decides nearly always
		sa.sharesStrangers(c) && d.Version == c.Version && d.Local.Addr == c.Local.Addr &&
		d.Local.Port == c.Local.Port && d.Remote.Port == c.Remote.Port && d.Local.ID == c.Local.ID &&
		c.Remote.ID.Admits(remote) && c.Remote.Certs == d.Remote.Certs && d.Local.EAPName == c.Local.EAPName &&
		d.PPK == c.PPK && slices.Equal(d.PPKIDs, c.PPKIDs) &&
		(d.Encap == ike.No) == (c.Encap == ike.No) && d.FromPool == c.FromPool && slices.Equal(d.RequestIP, c.RequestIP) && slices.Equal(d.Local.Auth, c.Local.Auth) && slices.Equal(d.Remote.Auth, c.Remote.Auth) &&
		sameProposals(d.IKE, c.IKE)
}

// sameProposals compares lists, at once where they are one and the same.
func sameProposals(a, b []suite.Proposal) bool {
	if len(a) > 0 && len(a) == len(b) && &a[0] == &b[0] {
		return true
	}
	return slices.EqualFunc(a, b, func(a, b suite.Proposal) bool { return a.String() == b.String() })
}

// started tells that the machine of a StartIKE exists, or cannot.
func (t *Table) started(e Started) {
	i := slices.IndexFunc(t.at.unborn, func(sa *ikeSA) bool { return sa.conn.Conn == e.Conn })
	if i < 0 {
		if e.Err == nil { // cancelled meanwhile
			t.do(ToMachine{e.Serial, ike.Delete{}})
		}
		return
	}
	sa := t.at.unborn[i]
	if e.Err != nil {
		t.ikeGone(sa, e.Err)
		return
	}
	t.at.number(sa, e.Serial)
	for _, c := range sa.waiting {
		if c != sa.conn { // the machine brings its own connection's child by itself
			t.do(ToMachine{sa.serial, ike.AddChild{Conn: c.Conn, Trigger: c.trigger}})
		}
	}
}

// acquire initiates the connection whose trap a packet has met.
func (t *Table) acquire(e Acquire) {
	if t.opportune(e) {
		return
	}
	c := t.byOwner(e.Owner)
	if c == nil || c.state != Trapped || !c.Negotiable() {
		return
	}
	flow := e.Flow
	if wait := c.blockedUntil; wait.After(t.now) { // soon after a failure
		t.become(c, Held)
		t.retryAt(c, wait)
		c.trigger = &flow
		return
	}
	t.log(c.Conn, fmt.Sprintf("initiating on demand from %s", flow))
	c.tries = 0
	t.initiate(c, &flow)
}

// retryAt plans the next attempt for c; the zero time plans none.
func (t *Table) retryAt(c *conn, at time.Time) {
	if !at.IsZero() {
		c.retry.ring = func() { t.again(c) }
	}
	t.alarms.set(&c.retry, at)
}

// again initiates c, if that is still possible: a peer that was given its address
// by an IKE SA which is gone must call itself.
func (t *Table) again(c *conn) {
	if _, why := t.uninitiable(c); why != "" {
		t.log(c.Conn, why)
		c.up = false
		if c.state.Negotiating() {
			t.exhausted(c)
			t.settle()
		}
		return
	}
	t.initiate(c, nil)
}

// attemptFailed settles what happens to c after a keying attempt: another one,
// at once or later, or the failure shunt.
func (t *Table) attemptFailed(c *conn, why *ike.Failure) {
	proven := c.joined != nil && c.joined.up != nil
	c.leave()
	c.last = why
	c.note(Blame{Why: why, At: t.now, Ours: true, Peer: netip.AddrPortFrom(c.Remote.Addr, 0)})
	if c.flow != nil {
		t.attemptOver(c, why, proven)
		return
	}
	if !c.state.Negotiating() {
		return
	}
	c.tries++
	if c.KeyingTries == 0 || c.tries < c.KeyingTries {
		t.retry(c, why)
		return
	}
	t.release(c, why)
	t.exhausted(c)
}

func (t *Table) retry(c *conn, why *ike.Failure) {
	limit := "an unlimited number"
	if c.KeyingTries != 0 {
		limit = fmt.Sprintf("at most %d", c.KeyingTries)
	}
	text := fmt.Sprintf("starting keying attempt %d of %s", c.tries+1, limit)
	delay := retryDelay(why, c.tries)
	if delay > 0 {
		text += fmt.Sprintf(" in %ds", int(delay.Seconds()))
	}
	if t.awaited(c) {
		text += ", but releasing whack"
	}
	t.log(c.Conn, text)
	t.say(c, codeLog, c.Title()+": "+text)
	t.release(c, why)
	t.retryAt(c, t.now.Add(delay))
}

func retryDelay(why *ike.Failure, tries int) time.Duration {
	if why != nil && why.Reason == ike.ReasonSilent {
		return 0
	}
	return min(retryFirst<<min(tries-1, 8), retryMost)
}

// exhausted puts the failure shunt in force. Without one the trap is back; the
// packets held for the attempt are dropped first, lest they meet it at once.
func (t *Table) exhausted(c *conn) {
	c.tries = 0
	if c.state == Initiating {
		t.become(c, Unrouted)
		return
	}
	if c.Failure != ipsec.Trap {
		t.become(c, Failed)
		return
	}
	t.become(c, Dropped)
	t.settle()
	t.become(c, Trapped)
	c.blockedUntil = t.now.Add(retryFirst)
}

// leave takes c off the list of the IKE SA it waited for.
func (c *conn) leave() {
	if c.joined != nil {
		c.joined.waiting = slices.DeleteFunc(c.joined.waiting, func(x *conn) bool { return x == c })
		c.joined = nil
	}
}

// cancel stops whatever attempt c is in. An IKE SA that nobody else wants goes
// with it; another is left alone, and a Child SA that still comes is refused
// when it comes.
func (t *Table) cancel(c *conn) {
	c.tries, c.trigger, c.blockedUntil = 0, nil, time.Time{}
	t.retryAt(c, time.Time{})
	t.watchOrphan(c)
	sa := c.joined
	if sa == nil {
		return
	}
	c.leave()
	if sa.up == nil && len(sa.waiting) == 0 {
		t.forget(sa)
		if sa.serial != 0 {
			t.do(ToMachine{sa.serial, ike.Delete{}})
		}
	}
}

// forget drops the record of an IKE SA.
func (t *Table) forget(sa *ikeSA) {
	t.alarms.set(&sa.idle, time.Time{})
	t.alarms.set(&sa.end, time.Time{})
	t.ikes = without(t.ikes, sa)
	t.at.removeIKE(sa)
	if sa.conn != nil {
		t.watchOrphan(sa.conn)
	}
}
