package pluto

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/underlay"
)

// loop serves until ctx ends.
func (d *Daemon) loop(ctx context.Context) {
	d.auditAt = time.Now().Add(connection.AuditEvery)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Reset(d.nextDeadline())
		d.once(ctx.Done(), timer.C)
	}
}

// once waits for one event and handles it with all that follows.
func (d *Daemon) once(end <-chan struct{}, timer <-chan time.Time) {
	var jobs chan<- job
	next, waiting := d.backlog.first()
	if waiting {
		jobs = d.workers.jobs
	}
	select {
	case <-end:
		return
	case g := <-d.datagrams:
		d.received(g)
	case <-timer:
		d.timeUp()
	case jobs <- next:
		d.backlog.taken()
	case r := <-d.workers.results:
		d.enqueue(r.serial, r.done)
	case ev, ok := <-d.o.Plane.Events():
		if !ok {
			d.stop(errPlaneGone)
			return
		}
		d.planeEvent(ev)
	case f := <-d.commands:
		f()
	case f := <-d.oe.findings:
		d.foundOut(f)
	case <-d.filterChanges():
		d.othersAt = time.Now().Add(settleTime)
	case e := <-d.scriptDone:
		d.scriptEnded(e)
	case <-d.o.Host.Changes():
		d.rescanAt = time.Now().Add(settleTime)
	}
	d.drain()
}

// nextDeadline is how long nothing needs to be done by itself.
func (d *Daemon) nextDeadline() time.Duration {
	at, _ := d.timers.first()
	for _, other := range []time.Time{d.table.Deadline(), d.hand.lookAt, d.rescanAt, d.barkAt, d.filterAt, d.othersAt, d.auditAt} {
		if !other.IsZero() && (at.IsZero() || other.Before(at)) {
			at = other
		}
	}
	if at.IsZero() {
		return time.Hour
	}
	return max(0, time.Until(at))
}

// timeUp serves the deadlines that have come.
func (d *Daemon) timeUp() {
	now := time.Now()
	for {
		at, serial := d.timers.first()
		if serial == 0 || at.After(now) {
			break
		}
		d.timers.set(serial, time.Time{})
		d.stepMachine(serial, ike.TimeUp{})
	}
	if at := d.table.Deadline(); !at.IsZero() && !at.After(now) {
		d.stepTable(connection.TimeUp{})
	}
	if !d.barkAt.IsZero() && !d.barkAt.After(now) {
		d.notify("WATCHDOG=1") // from here, so that it says that the loop lives
		d.barkAt = now.Add(d.watchdog)
	}
	if at := d.hand.lookAt; !at.IsZero() && !at.After(now) {
		d.lookAtDrops(true)
	}
	if !d.auditAt.After(now) {
		d.audit()
	}
	if !d.filterAt.IsZero() && !d.filterAt.After(now) || !d.othersAt.IsZero() && !d.othersAt.After(now) {
		d.filterNow()
	}
	if !d.rescanAt.IsZero() && !d.rescanAt.After(now) {
		d.rescanAt = time.Time{}
		d.rescan()
	}
}

// received finds the machine that a message is for. What has none goes to the
// gate.
func (d *Daemon) received(g underlay.Datagram) {
	if d.deaf {
		return
	}
	if g.Msg == nil {
		d.streamLost(ike.StreamLost{Local: g.Local, Remote: g.Remote})
		return
	}
	if d.poisons.known(g.Msg) {
		d.debugf("raw", "| a message from %s is dropped: it has failed %d times", g.Remote, faultTries)
		return
	}
	d.debugf("raw", "| *received %d octets from %s on %s", len(g.Msg), g.Remote, g.Local)
	ev := ike.Received{Local: g.Local, Remote: g.Remote, Msg: g.Msg, Stream: g.Stream}
	h, err := ike.ParseHeader(g.Msg)
	if err != nil {
		d.debugf("parsing", "| %s: %v", g.Remote, err)
		return
	}
	if m := d.find(h); m != nil {
		d.stepMachine(m.Serial(), ev)
		return
	}
	d.atGate(h, ev)
}

// streamLost tells the machines that a TCP connection of ours is over.
func (d *Daemon) streamLost(ev ike.StreamLost) {
	d.log.Info(fmt.Sprintf("the TCP connection to %s is over", ev.Remote))
	for _, serial := range slices.Sorted(maps.Keys(d.machines)) {
		d.stepMachine(serial, ev)
	}
}

// find returns the machine of a message: the one whose SPI the peer uses for
// us. The request of an IKE_SA_INIT has none yet. IKEv1 has no flag that says
// which of the two cookies is the receiver's.
func (d *Daemon) find(h ike.Header) ike.Machine {
	if h.Major == ike.Version1 {
		if m := d.bySPI[spiKey{h.SPIr, false}]; m != nil && h.SPIr != 0 {
			return m
		}
		return d.bySPI[spiKey{h.SPIi, true}]
	}
	if h.FromInitiator() {
		if h.SPIr == 0 {
			return nil
		}
		return d.bySPI[spiKey{h.SPIr, false}]
	}
	return d.bySPI[spiKey{h.SPIi, true}]
}

// atGate gives a message that belongs to no IKE SA to the gate, which may make
// one of it.
func (d *Daemon) atGate(h ike.Header, ev ike.Received) {
	if d.stopping {
		return
	}
	receive := d.gate.Receive
	if h.Major == ike.Version1 {
		receive = d.gate1.Receive
	}
	var m ike.Machine
	var actions []ike.Action
	if !d.contained("a first message", ev, func() { m, actions = receive(time.Now(), ev, nil) }) {
		return
	}
	if m != nil {
		d.strange[m.Serial()] = true
		d.carryOut(m, actions)
		return
	}
	for _, a := range actions {
		switch a := a.(type) {
		case ike.Send:
			d.send(a)
		case ike.Report:
			d.tally.count(a)
			d.logReport(a)
			d.stepTable(connection.Refused{Report: a})
		}
	}
}

// planeEvent passes on what the data plane reports.
func (d *Daemon) planeEvent(ev ipsec.Event) {
	if d.expiredByHand(ev) {
		return
	}
	var id ipsec.SAID
	switch e := ev.(type) {
	case ipsec.Acquire:
		d.debugf("control", "| acquire for %s by %s", e.Owner, e.Flow)
		d.stepTable(connection.Acquire{Owner: e.Owner, Flow: e.Flow})
		return
	case ipsec.Strays:
		d.log.Info(fmt.Sprintf("dropped %d packets for which there is no SA, the first of them for %s from %s", e.Count, e.ID, e.From))
		return
	case ipsec.Expire:
		id = e.ID
	case ipsec.FirstUse:
		id = e.ID
	case ipsec.Lost:
		id = e.ID
	case ipsec.PeerMoved:
		id = e.ID
	}
	if serial := d.table.Carrier(id); serial != 0 {
		d.enqueue(serial, ike.Plane{Event: ev})
	}
}
