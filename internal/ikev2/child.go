package ikev2

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// childState is what a pair of Child SAs is there for.
type childState uint8

const (
	childUp       childState = iota
	childReplaced            // a newer pair took over; its initiator deletes this one
	childClosing             // replaced, and our Delete is out
)

// child is a pair of Child SAs.
type child struct {
	serial    uint32
	conn      *ike.Conn
	state     childState
	initiator bool       // of the exchange that made it
	in, out   ipsec.SAID // of ESP or AH
	comp      cpis
	sides     sides
	mode      ipsec.Mode
	encap     ipsec.Encap
	original  ipsec.Original
	used      bool   // outbound traffic is on it
	replaces  uint32 // serial of the pair that it took over from as responder
	replaceAt time.Time
	endAt     time.Time
}

// protocol is how IKE names the child's protocol.
func (c *child) protocol() suite.Protocol {
	if c.in.Proto == ipsec.AH {
		return suite.ProtoAH
	}
	return suite.ProtoESP
}

// agreement is everything two ends settled about a Child SA, before its keys.
type agreement struct {
	conn          *ike.Conn
	chosen        suite.Chosen
	spiIn, spiOut ipsec.SPI
	sides         sides
	selectors     []ipsec.Selector
	mode          ipsec.Mode
	ni, nr        []byte // of the exchange
	initiator     bool   // we are
	serial        uint32
	replaces      *child
	comp          cpis
	at            netip.Addr // where spiIn and the CPI were reserved
	number        uint8      // of the offer that the responder took
	asked         sides      // what the initiator asked for, in our view; see natOriginal
	noTFC         bool       // the peer takes no TFC padding
	group         *suite.KE  // with PFS
	peerPublic    []byte     // with PFS
}

// proto is the data plane's name of the protocol.
func (a *agreement) proto() ipsec.Proto { return protoOf(a.chosen.Protocol) }

func protoOf(p suite.Protocol) ipsec.Proto {
	if p == suite.ProtoAH {
		return ipsec.AH
	}
	return ipsec.ESP
}

// install derives the keys of an agreement and puts both SAs into the data
// plane. It reports nothing yet: the caller first sends what it has to send. shared
// and more are what deriveChild takes.
func (s *step) install(a *agreement, shared, more ipsec.Secret) *child {
	k := deriveChild(a.chosen, s.chosen.PRF, s.keys.d, shared, a.ni, a.nr, more.Bytes())
	more.Wipe()
	encrOut, integOut, encrIn, integIn := k.encrI, k.integI, k.encrR, k.integR
	if !a.initiator {
		encrOut, integOut, encrIn, integIn = k.encrR, k.integR, k.encrI, k.integI
	}
	c := &child{
		serial: a.serial, conn: a.conn, initiator: a.initiator, sides: a.sides, mode: a.mode,
		in:  ipsec.SAID{Dst: s.local.Addr(), Proto: a.proto(), SPI: a.spiIn},
		out: ipsec.SAID{Dst: s.remote.Addr(), Proto: a.proto(), SPI: a.spiOut}, encap: s.encapPorts(a.proto()), comp: a.comp,
		original: s.original(a),
	}
	if a.at != c.in.Dst { // we have moved since
		s.giveBack(a)
	}
	in := ipsec.SA{
		ID: c.in, Src: c.out.Dst, Dir: ipsec.In, Mode: a.mode, Transform: a.chosen.Transform(),
		EncrKey: encrIn, IntegKey: integIn, Encap: s.encapPorts(a.proto()), Replay: a.conn.Replay,
		Life: a.conn.Volume(0, a.chosen.KeyLimit(), a.nonce()), Owner: owner(a.conn), Original: c.original,
	}
	if a.conn.CheckArrival {
		in.Selectors = a.selectors
	}
	out := in
	out.ID, out.Src, out.Dir, out.Selectors, out.Original = c.out, c.in.Dst, ipsec.Out, nil, ipsec.Original{}
	out.EncrKey, out.IntegKey, out.TFC = encrOut, integOut, a.padding()
	if a.comp != (cpis{}) {
		in.Bundle, out.Bundle = c.ins(), c.outs()
		s.installComp(c, in, out)
	}
	s.emit(ike.Install{SA: in})
	s.emit(ike.Install{SA: out})
	c.replaceAt, c.endAt = s.lifetimes(a.conn, a.conn.ChildLife, a.initiator)
	s.children = append(s.children, c)
	return c
}

// nonce is the one that we made.
func (a *agreement) nonce() []byte {
	if a.initiator {
		return a.ni
	}
	return a.nr
}

// original is what the peer's transport checksums cover in transport mode behind
// a NAT: the addresses that it asked for as initiator (RFC 7296, 2.23.1). The
// answers of a responder do not tell, so as initiator we know them only from a
// pair that this one replaces.
func (s *SA) original(a *agreement) (o ipsec.Original) {
	switch {
	case a.mode != ipsec.Transport || !s.encap || !s.natLocal && !s.natRemote:
	case a.initiator && a.replaces != nil:
		return a.replaces.original
	case !a.initiator:
		src, one := onlyHost(a.asked.remote)
		dst, two := onlyHost(a.asked.local)
		if one && two {
			return ipsec.Original{Src: src, Dst: dst}
		}
	}
	return o
}

// onlyHost is the host that all of a list are about.
func onlyHost(list []ipsec.TS) (a netip.Addr, ok bool) {
	for _, t := range list {
		if t.Start != t.End || t.Start != list[0].Start {
			return a, false
		}
		a = t.Start
	}
	return a, a.IsValid()
}

// encapPorts is what ESP travels in. AH has no encapsulation.
func (s *SA) encapPorts(p ipsec.Proto) ipsec.Encap {
	if !s.encap || p != ipsec.ESP {
		return ipsec.Encap{}
	}
	e := ike.EncapPorts(s.local, s.remote)
	e.Stream = s.tcp != tcpNone
	return e
}

// owner is the name under which the data plane shows an SA.
func owner(c *ike.Conn) string {
	if c.Instance == 0 {
		return c.Name
	}
	return c.Title()
}

// announce reports a new pair. use says that outbound traffic may move to it at
// once.
func (s *step) announce(a *agreement, c *child, use bool) {
	c.used = use
	up := ike.ChildUp{
		IKE: s.serial, In: c.in, Out: c.out, TSLocal: c.sides.local, TSRemote: c.sides.remote,
		Suite: a.chosen.String(), Encap: s.encapPorts(a.proto()), Mode: c.mode, Use: use,
		Initiator: c.initiator, ReplaceAt: c.replaceAt, EndAt: c.endAt,
	}
	if a.comp != (cpis{}) {
		up.InBundle, up.OutBundle = c.ins(), c.outs()
		up.Suite += "+DEFLATE"
	}
	if a.replaces != nil {
		up.Rekeyed = a.replaces.serial
	}
	s.reportOf(c.conn, c.serial, up)
}

// useChild moves outbound traffic to a pair whose peer is known to be ready.
func (s *step) useChild(c *child) {
	if !c.used && c.state == childUp {
		c.used = true
		s.reportOf(c.conn, c.serial, ike.ChildUse{})
		s.rehomeChild(c)
	}
}

// useSuccessor moves outbound traffic to the pair that took over from old.
func (s *step) useSuccessor(old *child) {
	for _, c := range s.children {
		if c.replaces == old.serial {
			s.useChild(c)
		}
	}
}

// childLimit is what happens at a soft or hard limit of a pair.
func (s *step) childLimit(c *child, hard bool) {
	switch {
	case hard && c.state == childUp:
		s.deleteChild(c, &ike.Failure{Reason: ike.ReasonOther, Why: "IPsec SA expired"})
	case hard: // the peer has rekeyed it and never deleted it
		s.useSuccessor(c)
		s.deleteReplaced(c)
	case c.conn.Rekey:
		s.rekeyChild(c)
	}
}

// dropChild removes a pair at once. What may have packets under way is only
// buried: a replaced pair, and the inbound half of one that ends before the peer
// has heard of it while another IKE SA carries the same. Where none does, what
// comes in could not be answered.
func (s *step) dropChild(c *child, why *ike.Failure, byPeer bool) {
	s.forgetChild(c)
	replaced := c.state != childUp
	if replaced {
		why = nil
	}
	s.reportOf(c.conn, c.serial, ike.ChildDown{IKE: s.serial, In: c.in, Out: c.out, Why: why, ByPeer: byPeer, Replaced: replaced})
	switch {
	case replaced:
		s.bury(append(c.outs(), c.ins()...)...)
	case byPeer || why != nil || !s.moved:
		s.remove(append(c.outs(), c.ins()...)...)
	default:
		s.remove(c.outs()...)
		s.bury(c.ins()...)
	}
}

func (s *step) forgetChild(c *child) {
	for i := range s.children {
		if s.children[i] == c {
			s.children = append(s.children[:i:i], s.children[i+1:]...)
			return
		}
	}
}

// deleteChild drops a pair and tells the peer. Nothing leaves on it any more;
// what the peer has sent before it knows is still received.
func (s *step) deleteChild(c *child, why *ike.Failure) {
	if c.state != childUp {
		s.deleteReplaced(c)
		return
	}
	s.forgetChild(c)
	s.reportOf(c.conn, c.serial, ike.ChildDown{IKE: s.serial, In: c.in, Out: c.out, Why: why})
	s.remove(c.outs()...)
	s.queue(&deleteTask{protocol: c.protocol(), spi: c.in.SPI, ins: c.ins(), out: c.out.SPI})
}

// deleteReplaced deletes a pair that a newer one has taken over from. It goes
// on receiving until the peer knows.
func (s *step) deleteReplaced(c *child) {
	if c.state != childClosing {
		c.state = childClosing
		c.replaceAt, c.endAt = time.Time{}, time.Time{}
		s.queue(&deleteTask{protocol: c.protocol(), spi: c.in.SPI, child: c})
	}
}

// superseded marks old as taken over. The initiator of the new pair deletes
// it; should that never happen we do, after a while.
func (s *step) superseded(old *child) {
	if old.state != childUp {
		return
	}
	old.state = childReplaced
	old.replaceAt = time.Time{}
	if end := s.now.Add(replacedLife); old.endAt.IsZero() || end.Before(old.endAt) {
		old.endAt = end
	}
}

func (s *SA) childBySerial(n uint32) *child {
	return s.childWhere(func(c *child) bool { return c.serial == n })
}

func (s *SA) childByIn(id ipsec.SAID) *child {
	return s.childWhere(func(c *child) bool { return slices.Contains(c.ins(), id) })
}

func (s *SA) childByID(id ipsec.SAID) *child {
	return s.childWhere(func(c *child) bool { return c.has(id) })
}

// childByPeer finds the pair that the peer receives on under spi.
func (s *SA) childByPeer(p suite.Protocol, spi ipsec.SPI) *child {
	return s.childWhere(func(c *child) bool { return c.protocol() == p && c.out.SPI == spi })
}

func (s *SA) childWhere(is func(*child) bool) *child {
	for _, c := range s.children {
		if is(c) {
			return c
		}
	}
	return nil
}

// deleteTask tells the peer that a pair of Child SAs is gone. What still
// receives on it goes when the peer has answered: child, a pair that has been
// replaced, or ins, what is left of one that is deleted for good. out is what the
// peer calls the latter.
//
//	HDR, SK {D} -->
//	<-- HDR, SK {[D]}
type deleteTask struct {
	protocol suite.Protocol
	spi      ipsec.SPI
	child    *child
	ins      []ipsec.SAID
	out      ipsec.SPI
}

func (t *deleteTask) begin(s *step) {
	if t.child != nil && s.childWhere(func(c *child) bool { return c == t.child }) == nil {
		s.finish(t) // the peer was faster
		return
	}
	s.request(ike.Informational, wire.Delete{Protocol: t.protocol, SPIs: []ipsec.SPI{t.spi}})
}

func (t *deleteTask) answer(s *step, _ wire.Payloads) {
	s.finish(t)
	if t.child != nil && s.childWhere(func(c *child) bool { return c == t.child }) != nil {
		if s.childWhere(func(c *child) bool { return c != t.child && c.conn == t.child.conn && c.used }) == nil {
			s.useSuccessor(t.child) // we have deleted what was the peer's to delete
		}
		s.dropChild(t.child, nil, false)
	}
	s.remove(t.ins...)
}

// abandon leaves what still receives to the grave: the peer, which is now told that
// the whole IKE SA is gone, may not have heard of this pair yet.
func (t *deleteTask) abandon(s *step, _ *ike.Failure) { s.bury(t.ins...) }

// deleting reports whether our Delete of the pair that the peer receives on
// under spi is on its way.
func (s *SA) deleting(p suite.Protocol, spi ipsec.SPI) bool {
	is := func(t task) bool {
		d, ok := t.(*deleteTask)
		return ok && d.protocol == p && len(d.ins) > 0 && d.out == spi
	}
	return is(s.active) || slices.ContainsFunc(s.tasks, func(w waiting) bool { return is(w.task) })
}

// checkSPI refuses what no data plane may use.
func checkSPI(spi []byte) (ipsec.SPI, error) {
	if len(spi) != 4 {
		return 0, fmt.Errorf("SPI of %d octets", len(spi))
	}
	n := ipsec.SPI(uint32(spi[0])<<24 | uint32(spi[1])<<16 | uint32(spi[2])<<8 | uint32(spi[3]))
	if n < ipsec.MinSPI {
		return 0, fmt.Errorf("SPI %#x is reserved", uint32(n)) // RFC 4303, 2.1
	}
	return n, nil
}
