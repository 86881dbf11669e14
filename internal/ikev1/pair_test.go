package ikev1

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cryptorand "crypto/rand"

	"cygnet/internal/ike"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// A pair is two daemons in one loop, without a network or a clock: what one
// sends is put in a list, and the test decides what becomes of it.
type pair struct {
	t          testing.TB
	now        time.Time
	west, east *node
	flying     []datagram
	// fate, if set, says what becomes of a datagram: nothing (lost), itself,
	// several copies.
	fate func(d datagram) []datagram
	sent []datagram // everything ever sent
	nat  bool       // west is behind a NAT that gives it another address and port
}

type datagram struct {
	from, to *node
	ike.Send
}

// node is one daemon: gate, machines, a data plane that only remembers, keys.
type node struct {
	p         *pair
	name      string
	addr      netip.AddrPort
	cfg       *Config
	gate      *Gate
	conns     []*ike.Conn
	instances []*ike.Conn
	machines  []ike.Machine
	plane     map[ipsec.SAID]ipsec.SA
	order     []string // what happened to the data plane and the wire
	nextSPI   ipsec.SPI
	noSPI     bool
	serial    uint32
	reports   []ike.Report
	at        []time.Duration
	jobs      []heldJob
	holdJobs  bool
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
	psks   map[ike.ID]string // by peer, before psk
	signer crypto.Signer
	public []ike.PublicKey
}

func (k *keyring) PSK(_ *ike.Conn, local, remote ike.ID) (ipsec.Secret, error) {
	if s, ok := k.psks[remote]; ok {
		return ipsec.NewSecret([]byte(s)), nil
	}
	if k.psk == "" {
		return ipsec.Secret{}, fmt.Errorf("no preshared key found for `%s' and `%s'", local, remote)
	}
	return ipsec.NewSecret([]byte(k.psk)), nil
}

func (k *keyring) Sign(*ike.Conn, []byte, []uint16) (ike.Signature, error) {
	return ike.Signature{}, errors.New("signatures of IKEv2 are not wanted here")
}

func (k *keyring) SignHash(_ *ike.Conn, hash []byte) ([]byte, error) {
	if k.signer == nil {
		return nil, errors.New("unable to locate my private key for RSA Signature")
	}
	return suite.SignHash(cryptorand.Reader, k.signer, hash)
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
	for _, i := range n.instances {
		if i.Name == c.Name && i.Remote.Addr == remote.Addr() && i.Remote.ID == peer {
			return i
		}
	}
	i := *c
	i.Template, i.Instance = false, len(n.instances)+1
	i.Remote.Addr, i.Remote.ID = remote.Addr(), peer
	n.instances = append(n.instances, &i)
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
	if n.noSPI {
		return 0, errors.New("full")
	}
	n.nextSPI++
	if p == ipsec.Comp {
		return n.nextSPI&0xfff | 0x1000, nil
	}
	return n.nextSPI, nil
}

var (
	epoch    = time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)
	westAddr = netip.MustParseAddrPort("101.101.101.101:500")
	eastAddr = netip.MustParseAddrPort("202.202.202.202:500")
	natAddr  = netip.MustParseAddrPort("99.99.99.99:500")
)

func newPair(t testing.TB, seed byte) *pair {
	p := &pair{t: t, now: epoch}
	p.west = newNode(p, "west", westAddr, seed)
	p.east = newNode(p, "east", eastAddr, seed+100)
	w := connection("west-east", p.west, p.east, "192.168.100.0/24", "192.168.200.0/24")
	e := connection("west-east", p.east, p.west, "192.168.200.0/24", "192.168.100.0/24")
	p.west.conns, p.east.conns = []*ike.Conn{w}, []*ike.Conn{e}
	return p
}

func newNode(p *pair, name string, addr netip.AddrPort, seed byte) *node {
	n := &node{p: p, name: name, addr: addr, plane: map[ipsec.SAID]ipsec.SA{}, nextSPI: ipsec.SPI(seed)<<12 + 0x1000}
	n.psk = "correct horse battery staple"
	n.cfg = &Config{
		PAD: n, Rand: rand.NewChaCha8([32]byte{seed}), SPIs: n, Bundles: true,
		NextSerial:        func() uint32 { n.serial++; return n.serial },
		UseInitialContact: func(*ike.Conn) bool { return len(n.plane) == 0 },
	}
	n.gate = NewGate(n.cfg, Limits{})
	return n
}

func mustID(text string) ike.ID {
	id, err := ike.ParseID(text)
	if err != nil {
		panic(err)
	}
	return id
}

func connection(name string, local, remote *node, lnet, rnet string) *ike.Conn {
	end := func(n *node, subnet string) ike.End {
		e := ike.End{Addr: n.addr.Addr(), ID: mustID("@" + n.name), Auth: []ike.AuthMethod{ike.AuthPSK}}
		if subnet == "" {
			e.Host = true
			e.TS = []ipsec.TS{hostTS(e.Addr)}
			return e
		}
		e.TS = []ipsec.TS{ipsec.TSOf(netip.MustParsePrefix(subnet), 0, ipsec.Ports{})}
		return e
	}
	return &ike.Conn{
		Name: name, Version: ike.Version1, Local: end(local, lnet), Remote: end(remote, rnet),
		IKE: parsed(suite.ParseIKE, "aes256-sha2_256-modp2048"), ESP: withKE(parsed(suite.ParseESP, "aes256-sha2_256"), 14), PFS: true,
		Replay: 128, CheckArrival: true, Encap: ike.No,
		IKELife: time.Hour, ChildLife: 8 * time.Hour, RekeyMargin: 9 * time.Minute, RekeyFuzz: 100, Rekey: true, KeyingTries: 1,
	}
}

func parsed(parse func(string) ([]suite.Proposal, error), text string) []suite.Proposal {
	ps, err := parse(text)
	if err != nil {
		panic(err)
	}
	return ps
}

func withKE(ps []suite.Proposal, group uint16) []suite.Proposal {
	for i := range ps {
		ps[i] = ps[i].WithKE([]*suite.KE{suite.KEByID(group)})
	}
	return ps
}

// both changes the connection of both ends.
func (p *pair) both(change func(*ike.Conn)) {
	for _, n := range []*node{p.west, p.east} {
		for _, c := range n.conns {
			change(c)
		}
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
			n.order = append(n.order, "send")
			d := datagram{from: n, to: n.p.other(n), Send: a}
			n.p.sent = append(n.p.sent, d)
			if n.p.fate == nil {
				n.p.flying = append(n.p.flying, d)
			} else {
				n.p.flying = append(n.p.flying, n.p.fate(d)...)
			}
		case ike.StartJob:
			n.jobs = append(n.jobs, heldJob{m, a})
		case ike.Install:
			if old, ok := n.plane[a.SA.ID]; ok {
				n.p.t.Errorf("%s: SA %s installed twice", n.name, old.ID)
			}
			n.plane[a.SA.ID] = a.SA
			n.order = append(n.order, "install "+a.SA.Dir.String())
		case ike.Remove:
			delete(n.plane, a.ID)
			n.order = append(n.order, "remove")
		case ike.Adopt:
			if !slices.Contains(n.machines, a.Machine) {
				n.machines = append(n.machines, a.Machine)
			}
		case ike.Done:
			n.machines = slices.DeleteFunc(n.machines, func(x ike.Machine) bool { return x == m })
		case ike.Report:
			n.reports, n.at = append(n.reports, a), append(n.at, n.p.now.Sub(epoch))
		}
	}
	if !n.holdJobs {
		n.work()
	}
}

// work runs the jobs that wait.
func (n *node) work() {
	for len(n.jobs) > 0 {
		j := n.jobs[0]
		n.jobs = n.jobs[1:]
		env := ike.Env{Rand: n.cfg.Rand, Keys: &n.keyring}
		if n.store != nil {
			env.Keys = n.store
		}
		result, err := j.Job.Run(env)
		n.step(j.m, ike.JobDone{ID: j.ID, Result: result, Err: err})
	}
}

func (p *pair) other(n *node) *node {
	if n == p.west {
		return p.east
	}
	return p.west
}

// translate is the NAT before west: everything west sends comes from natAddr,
// and what is sent there goes to west. Ports stay, but for an offset.
func (p *pair) translate(s ike.Send) ike.Received {
	ev := ike.Received{Local: s.Remote, Remote: s.Local, Msg: bytes.Clone(s.Msg)}
	if !p.nat {
		return ev
	}
	const offset = 20000
	if ev.Remote.Addr() == westAddr.Addr() {
		ev.Remote = netip.AddrPortFrom(natAddr.Addr(), ev.Remote.Port()+offset)
	}
	if ev.Local.Addr() == natAddr.Addr() {
		ev.Local = netip.AddrPortFrom(westAddr.Addr(), ev.Local.Port()-offset)
	}
	return ev
}

// receive delivers a datagram as a daemon does: by cookies, else to the gate.
func (n *node) receive(s ike.Send) {
	ev := n.p.translate(s)
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
		if i == h.SPIi && (r == h.SPIr || m.Initiator() && r == 0) {
			return m
		}
	}
	return nil
}

// settle delivers until nothing flies.
func (p *pair) settle() {
	for i := 0; len(p.flying) > 0; i++ {
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
	to := n.p.other(n).addr
	sa := NewInitiator(n.cfg, n.conns[0], n.addr, to)
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

// check compares both ends: n pairs of SAs, each the mirror of the other, with
// equal keys and nothing left over.
func (p *pair) check(n int) {
	p.t.Helper()
	if len(p.west.plane) != 2*n || len(p.east.plane) != 2*n {
		p.t.Fatalf("west has %d SAs, east %d, want %d\n%s", len(p.west.plane), len(p.east.plane), 2*n, p)
	}
	p.mirrored()
}

func (p *pair) mirrored() {
	p.t.Helper()
	for id, w := range p.west.plane {
		if p.nat {
			if id.Dst == westAddr.Addr() {
				id.Dst = natAddr.Addr()
			}
			if w.Src == westAddr.Addr() {
				w.Src = natAddr.Addr()
			}
		}
		e, ok := p.east.plane[id]
		if !ok {
			p.t.Fatalf("east has no %s\n%s", id, p)
		}
		if w.Dir == e.Dir || w.Mode != e.Mode || w.Transform != e.Transform || !w.EncrKey.Equal(e.EncrKey) || !w.IntegKey.Equal(e.IntegKey) || w.Src != e.Src {
			p.t.Fatalf("%s differs:\n%+v\n%+v", id, w, e)
		}
		if id.Proto != ipsec.Comp && w.EncrKey.Len()+w.IntegKey.Len() == 0 {
			p.t.Fatalf("%s has no keys", id)
		}
	}
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
			fmt.Fprintf(&b, "%s #%d in %s (%d): %d children, %d quicks, %d wants\n", n.name, s.serial, s.stateName(), s.state, len(s.children), len(s.quicks), len(s.wants))
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

// said reports whether a node has said something with that in it.
func (n *node) said(text string) bool {
	return slices.ContainsFunc(n.reports, func(r ike.Report) bool { return strings.Contains(r.Fact.String(), text) })
}

// headOf is the header of a datagram.
func headOf(d datagram) ike.Header {
	h, _ := ike.ParseHeader(d.Msg)
	return h
}

var rsaKeys = sync.OnceValue(func() [2]*rsa.PrivateKey {
	var k [2]*rsa.PrivateKey
	for i := range k {
		var err error
		if k[i], err = rsa.GenerateKey(cryptorand.Reader, 2048); err != nil {
			panic(err)
		}
	}
	return k
})

func (p *pair) useRSA() {
	k := rsaKeys()
	p.both(func(c *ike.Conn) {
		c.Local.Auth, c.Remote.Auth = []ike.AuthMethod{ike.AuthPubkey}, []ike.AuthMethod{ike.AuthPubkey}
	})
	p.west.signer, p.east.signer = k[0], k[1]
	p.west.public = []ike.PublicKey{{Key: k[1].Public(), Origin: "ipsec.conf"}}
	p.east.public = []ike.PublicKey{{Key: k[0].Public(), Origin: "ipsec.conf"}}
}

// useNAT puts west behind a NAT; east knows it as a road warrior.
func (p *pair) useNAT() {
	p.nat = true
	c := p.east.conns[0]
	c.Template = true
	c.Remote.Addr = netip.IPv4Unspecified()
	p.both(func(c *ike.Conn) { c.Encap = ike.Auto })
}

func ipPort(a netip.AddrPort, port uint16) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), port) }
