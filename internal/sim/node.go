package sim

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/ike"
	"cygnet/internal/ikev2"
	"cygnet/internal/ipsec"
)

// Engine makes the IKE machines of a node: IKEv2, or the toy of the tests.
type Engine interface {
	// Initiate returns the machine of a new IKE SA.
	Initiate(a connection.StartIKE) ike.Machine
	// Unclaimed takes a datagram that belongs to none of the node's machines,
	// and returns the machine it has made for it, if any.
	Unclaimed(now time.Time, ev ike.Received) (ike.Machine, []ike.Action)
}

// Node is a gateway: connections, IKE machines and a data plane. It does what
// pluto does between them, one event at a time.
type Node struct {
	Name  string
	Addr  netip.Addr
	Plane *Plane
	Keys  *Keys
	Table *connection.Table

	// Ring is asked instead of Keys, if it is set: it may know certificates.
	Ring ike.KeyStore

	// Pool is what peers of connections with FromPool get addresses from.
	Pool ikev2.Addresses

	// JobTime is how long a job takes; zero is at once.
	JobTime time.Duration

	world      *World
	engine     Engine
	makeEngine func(*Node) Engine
	defined    []*connection.Description
	machines   []*hosted // by serial
	serial     uint32
	todo       []func() // consequences of the event being worked on
	draining   bool
	tableAt    time.Time // the table's deadline that is planned
	policies   string    // as last traced

	Facts []ike.Report // everything reported, for tests; not while the trace is quiet
	Down  bool         // crashed

	tunnels map[string]*Tunnel     // it is an end of, by name
	flows   map[ipsec.Flow]*Tunnel // by what Tunnel.flowOf gives for this end
	bySPI   map[uint64]*hosted     // machines by our SPI
	serials map[uint32]*hosted     // machines by serial
	stepped []*hosted              // whose deadlines may have changed

	newest map[string]uint32 // serial of the last Child SA of a connection
	called ike.ID            // the name by which strangers may know it
	forged bool              // what is being received was not sent by anybody with a key
	skew   time.Duration     // of its clock from the World's
	asleep time.Time         // until when it is suspended

	wallSkew time.Duration // of its time of day from the World's

	first netip.Addr // its address before any Move
	nat   *NAT       // that it is behind

	lost     map[ipsec.SAID]bool      // SAs that a flush has taken out of its data plane
	fuse     int                      // crash after so many actions more of machines; 0: none
	tokens   bool                     // quick crash detection, RFC 6290
	redirect netip.Addr               // where whoever calls is sent (RFC 5685); invalid: nowhere
	ended    map[ipsec.SAID]time.Time // SAs whose end was reported; inbound ones stay a while for packets under way
}

// hosted is a machine on a node.
type hosted struct {
	ike.Machine
	at    time.Time // the deadline that is planned
	wake  *wake     // for it
	ran   time.Time // of the last TimeUp
	spins int       // TimeUps at that instant
	ended time.Time // when it reported its end; it may linger to repeat its last answer
}

// wake is what the plan of the World has of a machine. When another deadline is
// planned, or none, it is nobody's: a machine that is gone is not kept for it.
type wake struct{ *hosted }

// Add makes a node. engine is called when the node starts, and again after a
// Restart.
func (w *World) Add(name, addr string, engine func(*Node) Engine) *Node {
	at := netip.MustParseAddr(addr)
	n := &Node{Name: name, Addr: at, first: at, world: w, Keys: newKeys(w.chance.reader("keys", name)), makeEngine: engine, newest: map[string]uint32{}, tunnels: map[string]*Tunnel{}, flows: map[ipsec.Flow]*Tunnel{}, bySPI: map[uint64]*hosted{}, serials: map[uint32]*hosted{}, ended: map[ipsec.SAID]time.Time{}, lost: map[ipsec.SAID]bool{}}
	n.Plane = newPlane(n)
	n.Table = connection.NewTable()
	n.engine = engine(n)
	w.nodes = append(w.nodes, n)
	w.byAddr[n.Addr] = n
	return n
}

// World returns the world the node is in.
func (n *Node) World() *World { return n.world }

// Machines returns the machines of the node by serial.
func (n *Node) Machines() []ike.Machine {
	var all []ike.Machine
	for _, h := range n.machines {
		all = append(all, h.Machine)
	}
	return all
}

// NextSerial gives out the numbers of states.
func (n *Node) NextSerial() uint32 {
	n.serial++
	return n.serial
}

// ReserveSPI implements ike.SPISource.
func (n *Node) ReserveSPI(dst netip.Addr, p ipsec.Proto) (ipsec.SPI, error) {
	return n.Plane.ReserveSPI(context.Background(), dst, p)
}

// later queues a consequence of the event being worked on.
func (n *Node) later(do func()) { n.todo = append(n.todo, do) }

// drain works until nothing follows any more.
func (n *Node) drain() {
	if n.draining {
		return
	}
	n.draining = true
	for steps := 0; ; steps++ {
		n.listen()
		if len(n.todo) == 0 {
			break
		}
		if steps == maxConsequences {
			n.world.breach("I11", "%s: one event has more than %d consequences", n.Name, maxConsequences)
			n.todo = nil
			break
		}
		do := n.todo[0]
		n.todo = n.todo[1:]
		do()
	}
	n.draining = false
	n.arm()
	n.world.bounded(n)
}

// maxConsequences bounds what one event may set off. Taking down the largest
// node of the tests is a few hundred.
const maxConsequences = 100_000

// listen passes on what the data plane reports.
func (n *Node) listen() {
	for {
		select {
		case e := <-n.Plane.events:
			n.later(func() { n.plane(e) })
		default:
			if !n.draining && len(n.todo) > 0 {
				n.drain()
			}
			return
		}
	}
}

// listenSoon makes sure of a listen after the current event.
func (n *Node) listenSoon() {
	n.world.at(n.world.now, classJob, n.listen)
}

func (n *Node) plane(e ipsec.Event) {
	var id ipsec.SAID
	switch e := e.(type) {
	case ipsec.Acquire:
		n.world.Trace.add(n.Name, fmt.Sprintf("acquire for %s: %s", e.Owner, e.Flow))
		n.tell(connection.Acquire{Owner: e.Owner, Flow: e.Flow})
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
	if h := n.hosted(n.Table.Carrier(id)); h != nil {
		n.step(h, ike.Plane{Event: e})
	}
}

// command gives the connection table something a user asks for.
func (n *Node) command(text string, ev connection.Event) {
	if n.order(text) {
		n.later(func() { n.tell(ev) })
		n.drain()
	}
}

// order traces a command and reports whether anybody is there to obey it.
func (n *Node) order(text string) bool {
	n.world.Trace.add(n.Name, "$ "+text)
	return !n.out()
}

// tell steps the connection table.
func (n *Node) tell(ev connection.Event) {
	for _, a := range n.Table.Step(n.clock(), ev, nil) {
		n.doTable(a)
	}
}

func (n *Node) doTable(a connection.Action) {
	switch a := a.(type) {
	case connection.StartIKE:
		n.later(func() { n.start(a) })
	case connection.ToMachine:
		n.later(func() {
			if h := n.hosted(a.Serial); h != nil {
				n.step(h, a.Event)
			}
		})
	case connection.Policies:
		if err := n.Plane.changePolicies(a); err != nil {
			n.world.breach("I4", "%s: %v", n.Name, err)
		}
		n.world.Trace.policies(n)
	case connection.Lookup:
		n.question(a)
	case connection.CheckUse:
		n.useOf(a)
	case connection.Log:
		n.world.Trace.add(n.Name, "| "+a.Text)
	case connection.Reply:
		if a.Final && !a.OK {
			n.world.Trace.add(n.Name, fmt.Sprintf("%03d %s", a.Code, a.Text))
		}
	}
}

func (n *Node) start(a connection.StartIKE) {
	m := n.engine.Initiate(a)
	h := n.host(m)
	n.tell(connection.Started{Conn: a.Conn, Serial: m.Serial()})
	n.step(h, ike.Initiate{Trigger: a.Trigger})
}

func (n *Node) host(m ike.Machine) *hosted {
	if h := n.hosted(m.Serial()); h != nil {
		n.stepped = append(n.stepped, h)
		return h
	}
	h := &hosted{Machine: m}
	i, _ := slices.BinarySearchFunc(n.machines, m.Serial(), bySerial)
	n.machines = slices.Insert(n.machines, i, h)
	n.bySPI[ourSPI(m)], n.serials[m.Serial()] = h, h
	n.world.holders[ourSPI(m)] = n
	n.stepped = append(n.stepped, h)
	return h
}

// unhost forgets a machine.
func (n *Node) unhost(h *hosted) {
	h.asleep()
	if i, ok := slices.BinarySearchFunc(n.machines, h.Serial(), bySerial); ok {
		n.machines = slices.Delete(n.machines, i, i+1)
	}
	delete(n.bySPI, ourSPI(h))
	delete(n.serials, h.Serial())
	if n.world.holders[ourSPI(h)] == n {
		delete(n.world.holders, ourSPI(h))
	}
}

func bySerial(h *hosted, serial uint32) int { return cmp.Compare(h.Serial(), serial) }

// ourSPI is the SPI that a machine has chosen itself.
func ourSPI(m ike.Machine) uint64 {
	i, r := m.SPIs()
	if m.Initiator() {
		return i
	}
	return r
}

func (n *Node) hosted(serial uint32) *hosted { return n.serials[serial] }

// received is a datagram from the network.
func (n *Node) received(local, remote netip.AddrPort, msg []byte) {
	if n.out() || len(msg) <= 1 { // or a NAT keepalive
		return
	}
	ev, forged := ike.Received{Local: local, Remote: remote, Msg: msg}, n.forged
	n.world.heard(n, ev)
	n.later(func() {
		h, actions := n.take(ev)
		if forged {
			n.world.unmoved(n, msg, actions)
		}
		n.do(h, actions)
	})
	n.drain()
}

// take gives a datagram to whom it is for.
func (n *Node) take(ev ike.Received) (*hosted, []ike.Action) {
	if h := n.claimant(ev.Msg); h != nil {
		n.stepped = append(n.stepped, h)
		return h, h.Step(n.clock(), ev, nil)
	}
	m, actions := n.engine.Unclaimed(n.clock(), ev)
	if m == nil { // or one that is known repeats its answer
		return nil, actions
	}
	return n.host(m), actions
}

// claimant finds the machine that a message is for, by our SPI.
func (n *Node) claimant(msg []byte) *hosted {
	h, err := ike.ParseHeader(msg)
	if err != nil {
		return nil
	}
	spi := h.SPIi
	if h.FromInitiator() {
		spi = h.SPIr
	}
	if m := n.bySPI[spi]; m != nil && spi != 0 && m.Initiator() != h.FromInitiator() {
		return m
	}
	return nil
}

// step gives a machine one event and does what follows.
func (n *Node) step(h *hosted, ev ike.Event) {
	n.stepped = append(n.stepped, h)
	n.do(h, h.Step(n.clock(), ev, nil))
}

func (n *Node) do(h *hosted, actions []ike.Action) {
	for _, a := range actions {
		if n.Down { // since the action before
			return
		}
		n.doOne(h, a)
		n.burn()
	}
}

// burn crashes the node when its fuse has burnt down.
func (n *Node) burn() {
	if n.fuse == 0 {
		return
	}
	if n.fuse--; n.fuse == 0 {
		n.Crash()
	}
}

func (n *Node) doOne(h *hosted, a ike.Action) {
	w := n.world
	switch a := a.(type) {
	case ike.Send:
		w.answers(n, a)
		w.Net.sendIKE(a.Local, a.Remote, clone(a.Msg))
	case ike.KeepAlive:
		w.Net.sendIKE(a.Local, a.Remote, []byte{0xff})
	case ike.StartJob:
		n.startJob(h, a)
	case ike.Install:
		w.installed(n, a.SA)
		w.ownBusiness(n, h, a.SA.Owner, a.SA.ID)
		w.Trace.install(n, a.SA)
		if err := n.Plane.AddSA(context.Background(), a.SA); err != nil {
			w.breach("I8", "%s: %v", n.Name, err)
		}
	case ike.Remove:
		w.ownBusiness(n, h, "", a.ID)
		w.removed(n, a.ID)
		if err := n.Plane.DeleteSA(context.Background(), a.ID); err != nil && !n.lost[a.ID] {
			w.breach("I8", "%s: %v", n.Name, err)
		}
	case ike.Adopt:
		n.host(a.Machine)
	case ike.Done:
		if h != nil {
			n.unhost(h)
		}
	case ike.Report:
		n.report(h, a)
	default:
		w.breach("I11", "%s: unknown action %T", n.Name, a)
	}
}

// startJob runs the job now, so that its use of randomness has its place in
// history, and brings the result when its time has come.
func (n *Node) startJob(h *hosted, a ike.StartJob) {
	w := n.world
	if h == nil {
		w.breach("I11", "%s: a job for no machine: %s", n.Name, a.Job)
		return
	}
	result, err := a.Job.Run(ike.Env{Rand: w.chance.reader("job", fmt.Sprintf("%s #%d %d", n.Name, h.Serial(), a.ID)), Keys: n.keyStore(), Ask: w.DNS.ask})
	if !w.Trace.Quiet { // nobody reads what is said
		w.tap.job(a.Job, result)
	}
	n.jobDone(n.delay(a.Job), h, ike.JobDone{ID: a.ID, Result: result, Err: err})
}

func (n *Node) keyStore() ike.KeyStore {
	if n.Ring != nil {
		return n.Ring
	}
	return n.Keys
}

// jobDone brings the result of a job, when the node is awake to take it.
func (n *Node) jobDone(after time.Duration, h *hosted, done ike.JobDone) {
	w := n.world
	w.busy++
	w.after(after, classJob, func() {
		w.busy--
		switch {
		case n.hosted(h.Serial()) != h:
		case n.sleeping():
			n.jobDone(n.asleep.Sub(w.now), h, done)
		default:
			n.later(func() { n.step(h, done) })
			n.drain()
		}
	})
}

func (n *Node) report(h *hosted, r ike.Report) {
	w := n.world
	machine := uint32(0)
	if h != nil {
		machine = h.Serial()
		if _, down := r.Fact.(ike.IKEDown); down && h.ended.IsZero() {
			h.ended = w.now
		}
	}
	switch f := r.Fact.(type) {
	case ike.ChildDown:
		n.ended[f.In], n.ended[f.Out] = w.now, w.now
		if f.Why != nil {
			w.disturb()
		}
	case ike.ChildUp:
		if r.Conn != nil {
			n.newest[r.Conn.Name] = r.Serial
		}
	case ike.IKEUp:
		w.established(n, r, f)
	case ike.IKEDown:
		if f.Why != nil {
			w.disturb()
		}
	}
	if !w.Trace.Quiet {
		n.Facts = append(n.Facts, r)
	}
	w.count(r.Fact)
	w.Trace.fact(n, r)
	n.later(func() { n.tell(connection.Reported{IKE: machine, Report: r}) })
}

// arm plans the deadlines that have changed.
func (n *Node) arm() {
	w := n.world
	changed := n.stepped
	n.stepped = nil
	for _, h := range changed {
		at := h.Deadline()
		if at.IsZero() || !h.at.IsZero() && h.at.Equal(at) {
			continue
		}
		h.asleep()
		h.at, h.wake = at, &wake{h}
		wake := h.wake
		w.at(at.Add(-n.skew), classTimer, func() {
			if wake.hosted != nil {
				n.timeUp(wake.hosted, at)
			}
		})
	}
	if at := n.Table.Deadline(); !at.IsZero() && !at.Equal(n.tableAt) {
		n.tableAt = at
		w.at(at.Add(-n.skew), classTimer, func() {
			if n.tableAt.Equal(at) && !n.out() {
				n.tableAt = time.Time{}
				n.later(func() { n.tell(connection.TimeUp{}) })
				n.drain()
			}
		})
	}
}

// asleep forgets the deadline that is planned.
func (h *hosted) asleep() {
	if h.at = (time.Time{}); h.wake != nil {
		h.wake.hosted, h.wake = nil, nil
	}
}

// maxSpins is how many deadlines in a row a machine may ask for at one instant.
const maxSpins = 100

func (n *Node) timeUp(h *hosted, at time.Time) {
	if n.hosted(h.Serial()) != h || !h.at.Equal(at) || n.out() {
		return // planned anew, or gone; who wakes up plans anew
	}
	h.asleep()
	if now := n.clock(); h.ran != now {
		h.ran, h.spins = now, 0
	}
	h.spins++
	if h.spins == maxSpins {
		n.world.breach("I11", "%s #%d: its deadline stays in the past", n.Name, h.Serial())
		return
	}
	n.later(func() { n.step(h, ike.TimeUp{}) })
	n.drain()
}
