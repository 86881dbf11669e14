package sim

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"cygnet/internal/connection"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// Packet is a packet of the data plane on the outer network. Instead of being
// encrypted it says by what it was protected.
type Packet struct {
	ID     ipsec.SAID // zero: in the clear
	Key    [8]byte    // fingerprint of the SA's keys and algorithms
	Seq    uint64
	Inner  []ipsec.SAID // by what else, inside of ID: IPComp
	Flow   ipsec.Flow
	Number uint64 // of the packet in this World, from 1
	Copy   bool   // made by the network
}

// Plane is a data plane that follows the rules of the real ones without their
// ciphers: it numbers packets, and on receipt checks SPI, keys, sequence number
// and selectors. It implements ipsec.Backend and ipsec.Inspector.
type Plane struct {
	mu     sync.Mutex // Backend promises it; a World has one goroutine
	node   *Node
	rand   io.Reader
	sas    map[ipsec.SAID]*sa
	cpi    uint16 // the last one given
	spd    spd
	held   []held
	asked  map[string]bool // owner and flow of acquires since the policy last changed
	events chan ipsec.Event
	drops  map[string]uint64
	closed bool

	Delivered map[uint64]int // packet number -> copies that came out here
}

// sa is an SA with its life, or the reservation of its SPI.
type sa struct {
	ipsec.SA
	reserved    bool
	added       time.Time
	usage       ipsec.Usage
	seq         uint64          // last sent, or highest received
	seen        map[uint64]bool // received
	used        bool
	soft, hard  bool // reported
	replayDrops uint64
}

// held is a packet that waits for its policy to change.
type held struct {
	flow   ipsec.Flow
	number uint64
}

// maxEvents is how much a plane reports before its node listens. One event of
// the World causes a handful at most.
const maxEvents = 1024

func newPlane(n *Node) *Plane {
	return &Plane{
		node: n, rand: n.world.chance.reader("spi", n.Name),
		sas: map[ipsec.SAID]*sa{}, asked: map[string]bool{}, drops: map[string]uint64{},
		events: make(chan ipsec.Event, maxEvents), Delivered: map[uint64]int{},
	}
}

// ReserveSPI implements ipsec.Backend.
func (p *Plane) ReserveSPI(_ context.Context, dst netip.Addr, proto ipsec.Proto) (ipsec.SPI, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if proto != ipsec.ESP && proto != ipsec.AH && proto != ipsec.Comp {
		return 0, fmt.Errorf("reserve an SPI of %s: %w", proto, ipsec.ErrUnsupported)
	}
	var b [4]byte
	for {
		if _, err := io.ReadFull(p.rand, b[:]); err != nil {
			return 0, err
		}
		id := ipsec.SAID{Dst: dst, Proto: proto, SPI: ipsec.SPI(binary.BigEndian.Uint32(b[:]))}
		if proto == ipsec.Comp { // RFC 3173, 3.3: 16 bits, those for negotiation; in turn, as klips gives them
			if p.cpi == 0 {
				p.cpi = binary.BigEndian.Uint16(b[:])
			}
			p.cpi++
			id.SPI = ipsec.SPI(p.cpi % 0xf000)
		}
		if id.SPI >= ipsec.MinAutoSPI && p.sas[id] == nil {
			p.sas[id] = &sa{SA: ipsec.SA{ID: id, Dir: ipsec.In}, reserved: true}
			return id.SPI, nil
		}
	}
}

// AddSA implements ipsec.Backend.
func (p *Plane) AddSA(_ context.Context, s ipsec.SA) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("add %s: closed", s.ID)
	}
	if err := checkSA(&s); err != nil {
		return fmt.Errorf("add %s: %w", s.ID, err)
	}
	// The keys are ours from now on; the machine may wipe its copy.
	s.EncrKey, s.IntegKey = ipsec.NewSecret(clone(s.EncrKey.Bytes())), ipsec.NewSecret(clone(s.IntegKey.Bytes()))
	made := &sa{SA: s, added: p.node.world.now}
	p.sas[s.ID] = made
	if s.Life.HardTime > 0 {
		p.node.world.after(s.Life.HardTime, classTimer, func() { p.expire(made, true) })
	}
	return nil
}

// checkSA refuses what no data plane could carry.
func checkSA(s *ipsec.SA) error {
	e := suite.EncrByID(s.Transform.Encr)
	switch {
	case s.ID.Proto == ipsec.Comp:
		return checkComp(s)
	case s.ID.Proto != ipsec.ESP && s.ID.Proto != ipsec.AH:
		return ipsec.ErrUnsupported
	case s.ID.SPI < ipsec.MinSPI:
		return errors.New("reserved SPI")
	case s.Replay < 0:
		return errors.New("negative replay window")
	case s.Transform.Encr == 0 && s.Transform.Integ == 0:
		return errors.New("no protection at all")
	case s.Transform.Encr != 0 && e == nil:
		return fmt.Errorf("cipher %d is unknown", s.Transform.Encr)
	case e != nil && s.EncrKey.Len() != keyBits(e, s.Transform.KeyBits)/8+e.Salt:
		return fmt.Errorf("%s key of %d octets", e.Name, s.EncrKey.Len())
	case s.Transform.Integ != 0 && (suite.IntegByID(s.Transform.Integ) == nil || s.IntegKey.Len() != suite.IntegByID(s.Transform.Integ).Key):
		return fmt.Errorf("integrity key of %d octets", s.IntegKey.Len())
	}
	return nil
}

func checkComp(s *ipsec.SA) error {
	switch {
	case !s.ID.SPI.IsCPI():
		return fmt.Errorf("%d is no CPI", s.ID.SPI)
	case s.EncrKey.Len() > 0 || s.IntegKey.Len() > 0:
		return errors.New("IPComp with keys")
	}
	return nil
}

func keyBits(e *suite.Encr, bits int) int {
	if bits == 0 && len(e.KeyBits) > 0 {
		return e.KeyBits[0]
	}
	return bits
}

// DeleteSA implements ipsec.Backend.
func (p *Plane) DeleteSA(_ context.Context, id ipsec.SAID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sas[id] == nil {
		return fmt.Errorf("delete %s: %w", id, ipsec.ErrNotFound)
	}
	delete(p.sas, id)
	return nil
}

// SetPolicies implements ipsec.Backend.
func (p *Plane) SetPolicies(_ context.Context, want []ipsec.Policy) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pol := range want {
		if err := checkPolicy(pol); err != nil {
			return err
		}
	}
	p.spd = spd{}
	for _, pol := range want {
		p.spd.set(pol)
	}
	p.resubmit()
	return nil
}

// checkPolicy refuses what no data plane could do.
func checkPolicy(pol ipsec.Policy) error {
	if !pol.Selector.Src.IsValid() || !pol.Selector.Dst.IsValid() || pol.Action == ipsec.Protect && len(pol.Bundle) == 0 {
		return fmt.Errorf("policy %s of %q is incomplete", pol.Selector, pol.Owner)
	}
	return nil
}

// changePolicies does what SetPolicies would do with the list of policies after a
// change of it.
func (p *Plane) changePolicies(c connection.Policies) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pol := range c.Set {
		if err := checkPolicy(pol); err != nil {
			return err
		}
	}
	for _, sel := range c.Gone {
		p.spd.remove(sel)
	}
	for _, pol := range c.Set {
		p.spd.set(pol)
	}
	p.resubmit()
	return nil
}

// resubmit lets packets that were held try again.
func (p *Plane) resubmit() {
	clear(p.asked)
	again := p.held
	p.held = nil
	for _, h := range again {
		p.submit(h.flow, h.number)
	}
}

// Usage implements ipsec.Backend.
func (p *Plane) Usage(_ context.Context, id ipsec.SAID) (ipsec.Usage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sas[id]
	if s == nil || s.reserved {
		return ipsec.Usage{}, fmt.Errorf("usage of %s: %w", id, ipsec.ErrNotFound)
	}
	return s.usage, nil
}

// Events implements ipsec.Backend.
func (p *Plane) Events() <-chan ipsec.Event { return p.events }

// Close implements ipsec.Backend.
func (p *Plane) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.events)
	}
	return nil
}

// Policies implements ipsec.Inspector.
func (p *Plane) Policies() []ipsec.PolicyStatus {
	var all []ipsec.PolicyStatus
	for _, pol := range p.spd.ranked() {
		all = append(all, ipsec.PolicyStatus{Policy: pol})
	}
	return all
}

// SAs implements ipsec.Inspector. Reservations are left out.
func (p *Plane) SAs() []ipsec.SAStatus {
	var all []ipsec.SAStatus
	for _, s := range p.sorted() {
		st := ipsec.SAStatus{SA: s.SA, Usage: s.usage, Seq: s.seq, ReplayErrs: s.replayDrops,
			Age: int64(p.node.world.now.Sub(s.added) / time.Second)}
		st.EncrKey, st.IntegKey = ipsec.Secret{}, ipsec.Secret{}
		all = append(all, st)
	}
	return all
}

// Drops implements ipsec.Inspector.
func (p *Plane) Drops() []ipsec.Counter {
	var all []ipsec.Counter
	for reason, n := range p.drops {
		all = append(all, ipsec.Counter{Reason: reason, Count: n})
	}
	slices.SortFunc(all, func(a, b ipsec.Counter) int { return cmp.Compare(a.Reason, b.Reason) })
	return all
}

// sorted returns the installed SAs by destination, protocol and SPI.
func (p *Plane) sorted() []*sa {
	var all []*sa
	for _, s := range p.sas {
		if !s.reserved {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *sa) int { return compareSAID(a.ID, b.ID) })
	return all
}

// reserved returns the SPIs that are kept for SAs still to come, in order.
func (p *Plane) reserved() []ipsec.SAID {
	var all []ipsec.SAID
	for id, s := range p.sas {
		if s.reserved {
			all = append(all, id)
		}
	}
	slices.SortFunc(all, compareSAID)
	return all
}

func compareSAID(a, b ipsec.SAID) int {
	return cmp.Or(a.Dst.Compare(b.Dst), cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.SPI, b.SPI))
}

// fingerprint stands for "decrypts and authenticates": equal when both ends
// have the same keys and algorithms for an SA.
func fingerprint(s *ipsec.SA) [8]byte {
	h := sha256.New()
	h.Write(s.EncrKey.Bytes())
	h.Write(s.IntegKey.Bytes())
	fmt.Fprintf(h, "|%d %d|%+v|%s", s.EncrKey.Len(), s.IntegKey.Len(), s.Transform, s.Mode)
	return [8]byte(h.Sum(nil))
}

// submit is a packet that comes from the protected side.
func (p *Plane) submit(f ipsec.Flow, number uint64) {
	if p.node.sleeping() {
		p.drop("asleep")
		return
	}
	pol, ok := p.spd.find(f)
	if !ok {
		p.drop("no_eroute")
		return
	}
	p.node.world.carries(p.node, f, pol.Action == ipsec.Protect)
	switch pol.Action {
	case ipsec.Protect:
		p.protect(pol, f, number)
	case ipsec.Pass:
		p.node.world.clear(p.node, f, number)
	case ipsec.Trap:
		if key := pol.Owner + f.String(); !p.asked[key] {
			p.asked[key] = true
			p.report(ipsec.Acquire{Owner: pol.Owner, Flow: f})
		}
		p.hold(f, number)
	case ipsec.Hold:
		p.hold(f, number)
	default:
		p.drop("policy")
	}
}

// hold keeps the first and the newest packet of a flow.
func (p *Plane) hold(f ipsec.Flow, number uint64) {
	n := 0
	for _, h := range p.held {
		if h.flow == f {
			n++
		}
	}
	if n >= 2 {
		for i := len(p.held) - 1; i >= 0; i-- {
			if p.held[i].flow == f {
				p.held = slices.Delete(p.held, i, i+1)
				p.drop("hold")
				break
			}
		}
	}
	p.held = append(p.held, held{f, number})
}

// protect sends by the outermost SA of the bundle.
func (p *Plane) protect(pol ipsec.Policy, f ipsec.Flow, number uint64) {
	w := p.node.world
	id := pol.Bundle[len(pol.Bundle)-1]
	s := p.sas[id]
	if s == nil || s.reserved || s.Dir != ipsec.Out || s.hard {
		p.drop("no_sa")
		if !p.node.lost[id] {
			w.breach("I3", "%s sends %s by %s, which is not there", p.node.Name, f, id)
		}
		return
	}
	inner := pol.Bundle[:len(pol.Bundle)-1]
	for _, id := range inner {
		if c := p.sas[id]; c == nil || c.reserved || c.Dir != ipsec.Out {
			p.drop("no_sa")
			w.breach("I3", "%s sends %s through %s, which is not there", p.node.Name, f, id)
			return
		}
	}
	s.seq++
	p.count(s)
	w.Stats.DataSent++
	w.sealed(p.node, s)
	from, to := netip.AddrPortFrom(s.Src, s.Encap.LocalPort), netip.AddrPortFrom(s.ID.Dst, s.Encap.RemotePort)
	w.Net.sendData(from, to, Packet{ID: id, Key: fingerprint(&s.SA), Seq: s.seq, Inner: inner, Flow: f, Number: number})
}

// receive is a packet from the outer network.
func (p *Plane) receive(from netip.AddrPort, pkt Packet) {
	w := p.node.world
	if p.node.sleeping() {
		w.Stats.DataLost++
		return
	}
	defer p.node.listen()
	if pkt.ID.IsZero() {
		p.receiveClear(pkt)
		return
	}
	s := p.sas[pkt.ID]
	switch {
	case s == nil || s.reserved || s.Dir != ipsec.In:
		p.drop("no_sa")
		w.void(p.node, pkt)
		return
	case s.hard:
		p.drop("expired")
		return
	case fingerprint(&s.SA) != pkt.Key:
		p.drop("auth")
		w.breach("I1", "%s: packet on %s is protected by other keys", p.node.Name, pkt.ID)
		return
	case s.seen[pkt.Seq] || s.Replay > 0 && pkt.Seq+uint64(s.Replay) <= s.seq:
		s.replayDrops++
		p.drop("replay")
		w.late(p.node, pkt)
		return
	}
	if s.seen == nil {
		s.seen = map[uint64]bool{}
	}
	if !p.unpacks(s, pkt) {
		p.drop("ipcomp")
		return
	}
	s.seen[pkt.Seq] = true
	newest := pkt.Seq > s.seq
	s.seq = max(s.seq, pkt.Seq)
	if len(s.Selectors) > 0 && !slices.ContainsFunc(s.Selectors, func(sel ipsec.Selector) bool { return sel.Contains(pkt.Flow) }) {
		p.drop("selectors")
		w.breach("I4", "%s: %s came by %s, whose selectors are %v", p.node.Name, pkt.Flow, pkt.ID, s.Selectors)
		return
	}
	w.accepted(p.node, pkt)
	p.count(s)
	if !s.used {
		s.used = true
		p.report(ipsec.FirstUse{ID: s.ID})
	}
	if seen := netip.AddrPortFrom(s.Src, s.Encap.RemotePort); newest && seen != from {
		p.report(ipsec.PeerMoved{ID: s.ID, From: from})
	}
	p.deliver(pkt)
}

// unpacks looks for what is inside a packet: its IPComp SA must be of the same
// pair.
func (p *Plane) unpacks(s *sa, pkt Packet) bool {
	w := p.node.world
	for _, id := range pkt.Inner {
		id.Dst = pkt.ID.Dst
		if c := p.sas[id]; c == nil || c.reserved || c.Dir != ipsec.In || c.Owner != s.Owner || !slices.Contains(s.Bundle, id) {
			w.breach("I1", "%s: packet %d on %s is compressed for %s, which is not there", p.node.Name, pkt.Number, pkt.ID, id)
			return false
		}
	}
	return true
}

func (p *Plane) deliver(pkt Packet) {
	p.Delivered[pkt.Number]++
	if t := p.node.world.Trace; t.watched[pkt.Number] {
		how := "in the clear"
		if !pkt.ID.IsZero() {
			how = "by " + p.node.world.nameOfSA(pkt.ID)
		}
		t.add(p.node.Name, fmt.Sprintf("packet %d arrives %s", pkt.Number, how))
	}
	p.node.world.Stats.DataDelivered++
}

// receiveClear takes a packet in the clear unless a policy wants it protected.
func (p *Plane) receiveClear(pkt Packet) {
	if pol, ok := p.spd.find(reverse(pkt.Flow)); ok && pol.Action != ipsec.Pass && !pol.ClearIn {
		p.drop("clear")
		return
	}
	p.node.world.inClear(p.node, pkt.Flow, "accepts")
	p.deliver(pkt)
}

// count is the accounting of one packet and its limits.
func (p *Plane) count(s *sa) {
	s.usage.Packets++
	s.usage.Bytes += packetSize
	s.usage.LastUsed = p.node.world.now
	l := s.Life
	if over(s.usage.Bytes, l.SoftBytes) || over(s.usage.Packets, l.SoftPackets) {
		p.expire(s, false)
	}
	if over(s.usage.Bytes, l.HardBytes) || over(s.usage.Packets, l.HardPackets) {
		p.expire(s, true)
	}
}

// packetSize is what every packet counts for, in octets.
const packetSize = 100

func over(n, limit uint64) bool { return limit > 0 && n >= limit }

func (p *Plane) expire(s *sa, hard bool) {
	if p.sas[s.ID] != s || hard && s.hard || !hard && s.soft {
		return
	}
	s.soft = true
	s.hard = s.hard || hard
	p.report(ipsec.Expire{ID: s.ID, Hard: hard})
	p.node.listenSoon()
}

func (p *Plane) report(e ipsec.Event) {
	select {
	case p.events <- e:
	default:
		p.node.world.breach("I7", "%s: more than %d unread plane events", p.node.Name, maxEvents)
	}
}

func (p *Plane) drop(reason string) { p.drops[reason]++ }
