package ikev2

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// A pair is two daemons in one loop, without a network or a clock: what one
// sends is put in a list, and the test decides what becomes of it.
type pair struct {
	compressed bool // each pair has IPComp
	t          *testing.T
	now        time.Time
	west, east *node
	flying     []datagram
	// fate, if set, says what becomes of a datagram: nothing (lost), itself,
	// several copies.
	fate   func(d datagram) []datagram
	sent   []datagram   // everything ever sent
	hungUp []ike.HangUp // connections closed
}

type datagram struct {
	from, to *node
	ike.Send
}

// node is one daemon: gate, machines, a data plane that only remembers, keys.
type node struct {
	p        *pair
	name     string
	addr     netip.AddrPort
	cfg      *Config
	gate     *Gate
	conns    []*ike.Conn
	machines []ike.Machine
	plane    map[ipsec.SAID]ipsec.SA
	nextSPI  ipsec.SPI
	reserved []ipsec.SPI // of ESP and AH, not given back
	serial   uint32
	reports  []ike.Report
	at       []time.Duration       // when
	out      map[uint32]ipsec.SAID // outbound SA of each Child SA that is up
	use      ipsec.SAID            // where outbound traffic goes now
	seen     map[ipsec.SAID]bool   // inbound SAs that traffic came on
	had      map[ipsec.SAID]bool   // SAs ever installed
	fresh    map[ipsec.SAID]bool   // outbound SAs of new pairs that we answered
	jobs     []heldJob
	holdJobs bool
	noCPI    bool // the data plane has no number for IPComp
	keyring
	store ike.KeyStore // instead of keyring
}

type heldJob struct {
	m ike.Machine
	ike.StartJob
}

// keyring is a KeyStore.
type keyring struct {
	psk    string
	signer crypto.Signer
	public []ike.PublicKey
}

func (k *keyring) PSK(_ *ike.Conn, local, remote ike.ID) (ipsec.Secret, error) {
	if k.psk == "" {
		return ipsec.Secret{}, fmt.Errorf("no secret for %s and %s", local, remote)
	}
	return ipsec.NewSecret([]byte(k.psk)), nil
}

func (k *keyring) Sign(_ *ike.Conn, octets []byte, hashes []uint16) (ike.Signature, error) {
	if k.signer == nil {
		return ike.Signature{}, errors.New("unable to locate my private key")
	}
	method, data, err := suite.SignDigital(rand.NewChaCha8([32]byte{}), k.signer, octets, hashes)
	return ike.Signature{Method: method, Data: data}, err
}

func (k *keyring) Public(*ike.Conn, ike.ID) ([]ike.PublicKey, error) { return k.public, nil }

// The node is its own PAD.

func (n *node) Between(local, remote netip.Addr) (out []*ike.Conn) {
	for _, c := range n.conns {
		if c.Local.Addr == local && (c.Remote.Addr == remote || c.Remote.Addr.IsUnspecified()) {
			out = append(out, c)
		}
	}
	return out
}

func (n *node) Identified(local, remote netip.Addr, peer, want ike.ID) (out []*ike.Conn) {
	for _, c := range n.Between(local, remote) {
		if c.Remote.ID.Admits(peer) && (want.Kind == ike.IDNone || want.Equal(c.Local.ID)) {
			out = append(out, c)
		}
	}
	return out
}

func (n *node) Instantiate(c *ike.Conn, remote netip.AddrPort, peer ike.ID) *ike.Conn {
	if !c.Template {
		return c
	}
	i := *c
	i.Template, i.Instance = false, 1
	i.Remote.Addr, i.Remote.ID = remote.Addr(), peer
	return &i
}

func (n *node) Siblings(c *ike.Conn) []*ike.Conn {
	out := []*ike.Conn{c}
	for _, o := range n.conns {
		if o != c && o.Remote.ID == c.Remote.ID && o.Local.ID == c.Local.ID {
			out = append(out, o)
		}
	}
	return out
}

func (n *node) ReserveSPI(_ netip.Addr, p ipsec.Proto) (ipsec.SPI, error) {
	n.nextSPI++
	if p == ipsec.Comp {
		if n.noCPI {
			return 0, errors.New("full")
		}
		return n.nextSPI&0x7fff | 0x8000, nil
	}
	n.reserved = append(n.reserved, n.nextSPI)
	return n.nextSPI, nil
}

// leaks are the SPIs that are reserved and have no SA.
func (n *node) leaks() []ipsec.SPI {
	return slices.DeleteFunc(slices.Clone(n.reserved), func(spi ipsec.SPI) bool {
		for id := range n.plane {
			if id.SPI == spi {
				return true
			}
		}
		return false
	})
}

var epoch = time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)

func newPair(t *testing.T, seed byte) *pair {
	p := &pair{t: t, now: epoch}
	p.west = newNode(p, "west", "101.101.101.101:500", seed)
	p.east = newNode(p, "east", "202.202.202.202:500", seed+100)
	w := connection("west-east", p.west, p.east, "192.168.100.0/24", "192.168.200.0/24")
	e := connection("west-east", p.east, p.west, "192.168.200.0/24", "192.168.100.0/24")
	p.west.conns, p.east.conns = []*ike.Conn{w}, []*ike.Conn{e}
	return p
}

func newNode(p *pair, name, addr string, seed byte) *node {
	n := &node{p: p, name: name, addr: netip.MustParseAddrPort(addr), plane: map[ipsec.SAID]ipsec.SA{}, out: map[uint32]ipsec.SAID{}, seen: map[ipsec.SAID]bool{}, had: map[ipsec.SAID]bool{}, fresh: map[ipsec.SAID]bool{}, nextSPI: ipsec.SPI(seed)<<12 + 0x1000}
	n.psk = "correct horse battery staple"
	n.cfg = &Config{
		PAD: n, Rand: rand.NewChaCha8([32]byte{seed}), SPIs: n,
		NextSerial:        func() uint32 { n.serial++; return n.serial },
		UseInitialContact: func(*ike.Conn) bool { return true },
	}
	n.gate = NewGate(n.cfg, Limits{})
	return n
}

func connection(name string, local, remote *node, lnet, rnet string) *ike.Conn {
	end := func(n *node, subnet string) ike.End {
		id, _ := ike.ParseID("@" + n.name)
		return ike.End{
			Addr: n.addr.Addr(), ID: id, Auth: []ike.AuthMethod{ike.AuthPSK},
			TS: []ipsec.TS{ipsec.TSOf(netip.MustParsePrefix(subnet), 0, ipsec.Ports{})},
		}
	}
	return &ike.Conn{
		Name: name, Version: 2, Local: end(local, lnet), Remote: end(remote, rnet),
		IKE: suite.DefaultIKE(), ESP: suite.DefaultESP(true), PFS: true, Replay: 128, CheckArrival: true,
		IKELife: 8 * time.Hour, ChildLife: time.Hour, RekeyMargin: 9 * time.Minute, RekeyFuzz: 100, Rekey: true,
	}
}

// step gives a machine an event and does what it asks for.
func (n *node) step(m ike.Machine, ev ike.Event) {
	n.perform(m, m.Step(n.p.now, ev, nil))
}

func (n *node) perform(m ike.Machine, actions []ike.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case ike.Send:
			d := datagram{from: n, to: n.p.other(n), Send: a}
			n.p.sent = append(n.p.sent, d)
			if n.p.fate == nil {
				n.p.flying = append(n.p.flying, d)
			} else {
				n.p.flying = append(n.p.flying, n.p.fate(d)...)
			}
		case ike.HangUp:
			n.p.hungUp = append(n.p.hungUp, a)
		case ike.StartJob:
			n.jobs = append(n.jobs, heldJob{m, a})
		case ike.Install:
			if old, ok := n.plane[a.SA.ID]; ok {
				n.p.t.Errorf("%s: SA %s installed twice", n.name, old.ID)
			}
			n.plane[a.SA.ID] = a.SA
			n.had[a.SA.ID] = true
		case ike.Remove:
			delete(n.plane, a.ID)
			n.reserved = slices.DeleteFunc(n.reserved, func(spi ipsec.SPI) bool { return spi == a.ID.SPI })
		case ike.Adopt:
			if !slices.Contains(n.machines, a.Machine) {
				n.machines = append(n.machines, a.Machine)
			}
		case ike.Done:
			n.machines = slices.DeleteFunc(n.machines, func(x ike.Machine) bool { return x == m })
		case ike.Report:
			n.reports, n.at = append(n.reports, a), append(n.at, n.p.now.Sub(epoch))
			n.route(a)
		}
	}
	if !n.holdJobs {
		n.work()
	}
}

// route does what the connection table does with reports about Child SAs.
func (n *node) route(r ike.Report) {
	switch f := r.Fact.(type) {
	case ike.ChildUp:
		if _, twice := n.out[r.Serial]; twice {
			n.p.t.Errorf("%s: Child SA #%d is up twice", n.name, r.Serial)
		}
		n.out[r.Serial] = f.Out
		n.fresh[f.Out] = f.Rekeyed == 0 && !f.Initiator
		if f.Use {
			n.use = f.Out
		}
	case ike.ChildUse:
		n.use = n.out[r.Serial]
	case ike.ChildDown:
		if _, ok := n.out[r.Serial]; !ok {
			n.p.t.Errorf("%s: Child SA #%d went down but was never up", n.name, r.Serial)
		}
		delete(n.out, r.Serial)
		if n.use == f.Out {
			n.use = ipsec.SAID{}
			if f.Replaced && len(n.out) > 0 {
				n.p.t.Fatalf("%s: Child SA #%d was replaced while traffic was on it at %s\n%s", n.name, r.Serial, n.p.now.Sub(epoch), n.p)
			}
		}
	}
}

// excused reports whether packets may be lost by right: a responder may send on
// a new pair before its answer has arrived, and one end may have given up the
// peer and all that they had in common.
func (n *node) excused(o *node) bool {
	return n.fresh[n.use] && !o.had[n.use] || len(o.machines) == 0
}

// traffic sends one packet each way. Whatever IKE is doing, an SA that one end
// sends on must be one that the other receives on.
func (p *pair) traffic() {
	p.t.Helper()
	for _, n := range []*node{p.west, p.east} {
		if n.use == (ipsec.SAID{}) {
			continue
		}
		o := p.other(n)
		if n.excused(o) {
			continue
		}
		if sa, ok := o.plane[n.use]; !ok || sa.Dir != ipsec.In {
			p.t.Fatalf("%s sends on %s, which %s does not have\n%s", n.name, n.use, o.name, p)
		}
		if sa, ok := n.plane[n.use]; !ok || sa.Dir != ipsec.Out {
			p.t.Fatalf("%s has traffic on %s, which it does not have itself\n%s", n.name, n.use, p)
		}
		if !o.seen[n.use] {
			o.seen[n.use] = true
			for _, m := range o.machines {
				if s := m.(*SA); s.childByIn(n.use) != nil {
					o.step(m, ike.Plane{Event: ipsec.FirstUse{ID: n.use}})
				}
			}
		}
	}
}

// work runs the jobs that wait.
func (n *node) work() {
	for len(n.jobs) > 0 {
		n.workOnce()
	}
}

// workOnce runs the oldest job.
func (n *node) workOnce() {
	j := n.jobs[0]
	n.jobs = n.jobs[1:]
	store := n.store
	if store == nil {
		store = &n.keyring
	}
	result, err := j.Job.Run(ike.Env{Rand: n.cfg.Rand, Keys: store})
	n.step(j.m, ike.JobDone{ID: j.ID, Result: result, Err: err})
}

// busy reports whether anything is under way.
func (p *pair) busy() bool { return len(p.flying)+len(p.west.jobs)+len(p.east.jobs) > 0 }

func (p *pair) other(n *node) *node {
	if n == p.west {
		return p.east
	}
	return p.west
}

// receive delivers a datagram as pluto does: by SPI, else to the gate.
func (n *node) receive(s ike.Send) {
	ev := ike.Received{Local: s.Remote, Remote: s.Local, Msg: bytes.Clone(s.Msg), Stream: s.Stream}
	if m := n.find(s.Msg); m != nil {
		n.step(m, ev)
		return
	}
	m, actions := n.gate.Receive(n.p.now, ev, nil)
	if m != nil {
		n.machines = append(n.machines, m)
	}
	n.perform(m, actions)
}

func (n *node) find(msg []byte) ike.Machine {
	h, err := ike.ParseHeader(msg)
	if err != nil {
		return nil
	}
	for _, m := range n.machines {
		i, r := m.SPIs()
		if i == h.SPIi && m.Initiator() != h.FromInitiator() && (r == h.SPIr || m.Initiator() && r == 0) {
			return m
		}
	}
	return nil
}

// settle delivers until nothing flies.
func (p *pair) settle() { p.settleUntil(func() bool { return false }) }

// settleUntil is settle that ends early once done.
func (p *pair) settleUntil(done func() bool) {
	for i := 0; len(p.flying) > 0 && !done(); i++ {
		if i > 10000 {
			p.t.Fatal("the two never stop talking")
		}
		d := p.flying[0]
		p.flying = p.flying[1:]
		d.to.receive(d.Send)
	}
}

// pass lets time go by, with everything that falls due.
func (p *pair) pass(d time.Duration) {
	end := p.now.Add(d)
	for i := 0; ; i++ {
		if i > 100000 {
			p.t.Fatal("deadlines without end")
		}
		p.settle()
		next, n, m := p.nextDeadline()
		if m == nil || next.After(end) {
			break
		}
		if next.After(p.now) {
			p.now = next
		}
		n.step(m, ike.TimeUp{})
	}
	p.now = end
}

func (p *pair) nextDeadline() (next time.Time, n *node, m ike.Machine) {
	for _, x := range []*node{p.west, p.east} {
		for _, k := range x.machines {
			if d := k.Deadline(); !d.IsZero() && (m == nil || d.Before(next)) {
				next, n, m = d, x, k
			}
		}
	}
	return next, n, m
}

// initiate starts conns[0] of a node and returns the machine.
func (n *node) initiate() *SA {
	c := n.conns[0]
	sa := NewInitiator(n.cfg, c, n.addr, n.p.other(n).addr)
	n.machines = append(n.machines, sa)
	n.step(sa, ike.Initiate{})
	return sa
}

// up brings the tunnel up and returns the two machines.
func (p *pair) up() (w, e *SA) {
	p.t.Helper()
	w = p.west.initiate()
	p.settle()
	if len(p.east.machines) != 1 {
		p.t.Fatalf("east has %d machines\n%s", len(p.east.machines), p)
	}
	e = p.east.machines[0].(*SA)
	if w.state != stateUp || e.state != stateUp {
		p.t.Fatalf("not up\n%s", p)
	}
	p.check(1)
	return w, e
}

// check compares both ends: n pairs of Child SAs, each the mirror of the other,
// with equal keys and nothing left over.
func (p *pair) check(n int) {
	p.t.Helper()
	if p.compressed {
		n *= 2
	}
	if len(p.west.plane) != 2*n || len(p.east.plane) != 2*n {
		p.t.Fatalf("west has %d SAs, east %d, want %d\n%s", len(p.west.plane), len(p.east.plane), 2*n, p)
	}
	p.bundled()
	for id, w := range p.west.plane {
		e, ok := p.east.plane[id]
		if !ok {
			p.t.Fatalf("east has no %s\n%s", id, p)
		}
		if w.Dir == e.Dir || w.Mode != e.Mode || w.Transform != e.Transform || !w.EncrKey.Equal(e.EncrKey) || !w.IntegKey.Equal(e.IntegKey) {
			p.t.Fatalf("%s differs:\n%+v\n%+v", id, w, e)
		}
		if w.Encap.LocalPort != e.Encap.RemotePort || w.Src != e.Src {
			p.t.Fatalf("%s differs outside:\n%+v\n%+v", id, w, e)
		}
	}
}

// bundled checks that each SA names the bundle that it stands in, and
// that all of that is there.
func (p *pair) bundled() {
	p.t.Helper()
	for _, n := range []*node{p.west, p.east} {
		for id, sa := range n.plane {
			if (sa.Bundle != nil) != p.compressed {
				p.t.Fatalf("%s: %s SA %s has bundle %v\n%s", n.name, sa.Dir, id, sa.Bundle, p)
			}
			for _, other := range sa.Bundle {
				if _, ok := n.plane[other]; !ok || !slices.Contains(sa.Bundle, id) {
					p.t.Fatalf("%s: %s of bundle %v is not there\n%s", n.name, other, sa.Bundle, p)
				}
			}
		}
	}
}

// compress makes both ends ask for IPComp.
func compress(p *pair) {
	p.compressed = true
	p.west.conns[0].Compress, p.east.conns[0].Compress = true, true
}

// String tells what happened, for failures.
func (p *pair) String() string {
	var b strings.Builder
	for _, n := range []*node{p.west, p.east} {
		for i, r := range n.reports {
			fmt.Fprintf(&b, "%8.3f %s #%d %T %s\n", n.at[i].Seconds(), n.name, r.Serial, r.Fact, r.Fact)
		}
		for _, m := range n.machines {
			s := m.(*SA)
			fmt.Fprintf(&b, "%s #%d in %s: %d children, %d tasks\n", n.name, s.serial, s.stateName(), len(s.children), len(s.tasks))
		}
	}
	return b.String()
}

// facts returns the reported facts of one kind.
func facts[F ike.Fact](n *node) (out []F) {
	for _, r := range n.reports {
		if f, ok := r.Fact.(F); ok {
			out = append(out, f)
		}
	}
	return out
}

// failure returns the only Failed of a node.
func (n *node) failure() *ike.Failure {
	n.p.t.Helper()
	all := facts[ike.Failed](n)
	if len(all) != 1 {
		n.p.t.Fatalf("%s reports %d failures, want one\n%s", n.name, len(all), n.p)
	}
	return all[0].Why
}

// exchangeOf is the exchange of a datagram.
func exchangeOf(d datagram) ike.ExchangeType {
	h, _ := ike.ParseHeader(d.Msg)
	return h.Exchange
}

func responseOf(d datagram) bool {
	h, _ := ike.ParseHeader(d.Msg)
	return h.Response()
}

func useKeys(p *pair, w, e crypto.Signer) {
	set := func(n *node, own, peer crypto.Signer) {
		n.signer, n.public = own, []ike.PublicKey{{Key: peer.Public(), Origin: "ipsec.conf"}}
		n.conns[0].Local.Auth, n.conns[0].Remote.Auth = []ike.AuthMethod{ike.AuthPubkey}, []ike.AuthMethod{ike.AuthPubkey}
	}
	set(p.west, w, e)
	set(p.east, e, w)
}

func edKey(n byte) crypto.Signer {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

// open decrypts a datagram with a machine's keys, for tests that look inside.
func open(t *testing.T, s *SA, msg []byte, fromInitiator bool) wire.Payloads {
	t.Helper()
	i, r, err := s.keys.ciphers(s.chosen)
	if err != nil {
		t.Fatal(err)
	}
	if !fromInitiator {
		i = r
	}
	ps, err := wire.Open(msg, i)
	if err != nil {
		t.Fatal(err)
	}
	return ps
}
