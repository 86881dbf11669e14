package pluto

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/ike"
	"cygnet/internal/ikev1"
	"cygnet/internal/ikev2"
	"cygnet/internal/ipsec"
)

// Events for machines queue up and are served in order by drain, so that a
// machine's actions are all carried out before the next one moves. What the
// table asks of data plane, kernel and users is carried out at once.

func (d *Daemon) enqueue(serial uint32, ev ike.Event) {
	d.queue = append(d.queue, toMachine{serial, ev})
}

// drain serves the queue until it is empty.
func (d *Daemon) drain() {
	for len(d.queue) > 0 {
		next := d.queue[0]
		d.queue = d.queue[1:]
		d.stepMachine(next.serial, next.event)
	}
}

func (d *Daemon) stepMachine(serial uint32, ev ike.Event) {
	m := d.machines[serial]
	if m == nil {
		return
	}
	var actions []ike.Action
	if !d.contained(fmt.Sprintf("#%d", serial), ev, func() { actions = m.Step(time.Now(), ev, nil) }) {
		d.abandon(m)
		return
	}
	d.carryOut(m, actions)
}

// carryOut executes the actions of one step of m. Its messages leave last: when
// the peer hears that a Child SA stands, our routes, policies and filters
// already carry what it then sends, and the answers to it.
func (d *Daemon) carryOut(m ike.Machine, actions []ike.Action) {
	d.register(m)
	var messages []ike.Send
	for _, a := range actions {
		switch a := a.(type) {
		case ike.Send:
			messages = append(messages, a)
		case ike.StreamGood:
			if l := d.linkOf(a.Local.Addr()); l != nil {
				l.wire.ConfirmTCP(a.Local, a.Remote)
			}
		case ike.HangUp:
			if l := d.linkOf(a.Local.Addr()); l != nil {
				l.wire.HangUpTCP(a.Local, a.Remote)
			}
		case ike.KeepAlive:
			d.keepAlive(a)
		case ike.StartJob:
			d.backlog.add(job{m.Serial(), a.ID, a.Job}, d.strange[m.Serial()])
		case ike.Install:
			if err := d.install(a.SA); err != nil {
				d.enqueue(m.Serial(), ike.Refused{ID: a.SA.ID, Why: err.Error()})
			}
		case ike.Remove:
			d.removeSA(a.ID)
		case ike.Adopt:
			d.register(a.Machine)
		case ike.Report:
			d.report(m, a)
		case ike.Done:
			d.unregister(m)
		}
	}
	for _, msg := range messages {
		d.send(msg)
	}
}

// register makes m known by number and SPI, and sets its deadline.
func (d *Daemon) register(m ike.Machine) {
	d.machines[m.Serial()] = m
	i, r := m.SPIs()
	own := spiKey{r, false}
	if m.Initiator() {
		own = spiKey{i, true}
	}
	if own.spi != 0 {
		d.bySPI[own] = m
	}
	d.timers.set(m.Serial(), m.Deadline())
}

func (d *Daemon) unregister(m ike.Machine) {
	i, r := m.SPIs()
	for _, k := range []spiKey{{i, true}, {r, false}} {
		if d.bySPI[k] == m {
			delete(d.bySPI, k)
		}
	}
	delete(d.machines, m.Serial())
	delete(d.states, m.Serial())
	delete(d.strange, m.Serial())
	d.timers.set(m.Serial(), time.Time{})
}

func (d *Daemon) send(a ike.Send) {
	l := d.linkOf(a.Local.Addr())
	if l == nil {
		d.debugf("raw", "| no device has %s any more", a.Local)
		return
	}
	d.debugf("raw", "| sending %d octets to %s from %s", len(a.Msg), a.Remote, a.Local)
	var err error
	if a.Dial {
		err = l.wire.DialTCP(a.Local, a.Remote)
	}
	switch {
	case err != nil:
	case a.Stream:
		err = l.wire.SendStream(a.Local, a.Remote, a.Msg)
	default:
		err = l.wire.SendIKE(a.Local, a.Remote, a.Msg)
	}
	if err != nil {
		d.unsent(a, err)
	}
}

func (d *Daemon) keepAlive(a ike.KeepAlive) {
	if l := d.linkOf(a.Local.Addr()); l != nil {
		l.wire.SendKeepalive(a.Local, a.Remote)
	}
}

// faultKey marks an SA that the data plane has refused, until its ChildUp is
// reported.
type faultKey = ipsec.SAID

func (d *Daemon) install(sa ipsec.SA) error {
	err := d.put(sa)
	sa.EncrKey.Wipe() // the plane has what it needs, and nobody else needs them
	sa.IntegKey.Wipe()
	return err
}

// put is install for an SA whose keys are still needed.
func (d *Daemon) put(sa ipsec.SA) error {
	err := d.o.Plane.AddSA(context.Background(), sa)
	if err != nil {
		d.log.Error(fmt.Sprintf("the data plane refuses SA %s: %v", sa.ID, err))
		d.faults[sa.ID] = err
	}
	return err
}

func (d *Daemon) removeSA(id ipsec.SAID) {
	delete(d.faults, id)
	d.tally.gone(id, d.usage)
	if d.stillSends(id) {
		return
	}
	if err := d.o.Plane.DeleteSA(context.Background(), id); err != nil && !errors.Is(err, ipsec.ErrNotFound) {
		d.log.Error(fmt.Sprintf("the data plane cannot remove SA %s: %v", id, err))
	}
}

// stillSends reports whether an outbound SA that is to be removed serves another
// pair. CPIs may be well-known ones, the same for all pairs with a peer
// (RFC 3173, 3.3); those SAs have no keys and are as good as one.
func (d *Daemon) stillSends(id ipsec.SAID) bool {
	return id.Proto == ipsec.Comp && slices.ContainsFunc(d.table.Views(), func(v connection.View) bool {
		return slices.ContainsFunc(v.Children, func(c connection.ChildView) bool { return slices.Contains(c.Up.Outs(), id) })
	})
}

// report logs a fact and tells the table. A Child SA that the data plane has
// refused did not come up, whatever its machine believes.
func (d *Daemon) report(m ike.Machine, r ike.Report) {
	if up, ok := r.Fact.(ike.ChildUp); ok {
		if id, err := d.faultOf(up); err != nil {
			d.enqueue(m.Serial(), ike.Refused{ID: id, Why: err.Error()}) // of a pair that was not known before
			r.Fact = ike.Failed{Child: true, Why: &ike.Failure{Reason: ike.ReasonPlane, Why: "the data plane refuses the SA: " + err.Error()}}
		}
	}
	switch f := r.Fact.(type) {
	case ike.State:
		d.states[r.Serial] = f
	case ike.IKEUp:
		delete(d.states, r.Serial)
		delete(d.strange, r.Serial)
	}
	d.tally.count(r)
	d.logReport(r)
	if d.o.Report != nil {
		d.o.Report(r)
	}
	if !d.stopping {
		d.stepTable(connection.Reported{IKE: m.Serial(), Report: r})
	}
}

// faultOf finds an SA of a pair, or of the bundles of one, that the data plane
// has refused, and why.
func (d *Daemon) faultOf(up ike.ChildUp) (ipsec.SAID, error) {
	for _, id := range slices.Concat(up.Ins(), up.Outs()) {
		if err := d.faults[id]; err != nil {
			return id, err
		}
	}
	return ipsec.SAID{}, nil
}

// stepTable gives the table an event and carries out what follows.
func (d *Daemon) stepTable(ev connection.Event) {
	for _, a := range d.table.Step(time.Now(), ev, nil) {
		switch a := a.(type) {
		case connection.Policies:
			d.setPolicies()
		case connection.Routes:
			d.setRoutes()
		case connection.Updown:
			d.runScript(a)
		case connection.Log:
			d.logTable(a)
		case connection.Reply:
			d.follow() // who is told that a connection is up finds the way open
			d.reply(a)
		case connection.ToMachine:
			d.enqueue(a.Serial, a.Event)
		case connection.StartIKE:
			d.startIKE(a)
		case connection.Lookup:
			d.lookup(a)
		case connection.Forget:
			d.forgetLookup(a.ID)
		case connection.ForgetNames:
			d.forgetNames()
		case connection.CheckUse:
			d.checkUse(a)
		}
	}
	d.follow()
}

// startIKE makes an initiator. Its first event goes before any that the table
// has for it.
func (d *Daemon) startIKE(a connection.StartIKE) {
	if d.deaf || d.linkOf(a.Conn.Local.Addr) == nil {
		d.cannotStart(a.Conn, &ike.Failure{Reason: ike.ReasonOther, Why: "need --listen before --initiate"})
		return
	}
	local, remote := endpoints(a.Conn, d.ikePort())
	if a.Gateway.IsValid() {
		remote = netip.AddrPortFrom(a.Gateway, remote.Port())
	}
	var m ike.Machine
	if a.Conn.Version == ike.Version1 {
		m = ikev1.NewInitiator(d.cfg1, a.Conn, local, remote)
	} else {
		m = ikev2.NewInitiator(d.cfg, a.Conn, local, remote)
	}
	d.machines[m.Serial()] = m
	d.enqueue(m.Serial(), ike.Initiate{Trigger: a.Trigger})
	d.stepTable(connection.Started{Conn: a.Conn, Serial: m.Serial()})
}

func (d *Daemon) cannotStart(c *ike.Conn, why *ike.Failure) {
	d.log.Warn(fmt.Sprintf("%s: cannot initiate: %s", c.Title(), why.Why))
	d.stepTable(connection.Started{Conn: c, Err: why})
}

// setPolicies makes the data plane's SPD what the table wants now.
func (d *Daemon) setPolicies() {
	if err := d.pushPolicies(); err != nil {
		d.log.Error(fmt.Sprintf("the data plane refuses the policies: %v", err))
	}
}
