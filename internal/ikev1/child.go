package ikev1

import (
	"slices"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/ipsec"
	"cygnet/internal/suite"
)

// child is a pair of IPsec SAs, or of bundles of them.
type child struct {
	serial    uint32
	ike       uint32 // serial of the ISAKMP SA that made it
	conn      *ike.Conn
	in, out   []ipsec.SAID // innermost first
	sides     sides
	replaced  bool // a newer pair took over; this one expires in silence
	rekeying  bool // a Quick Mode to replace it is in line or under way
	mayRekey  bool
	spent     bool // it has carried what it may, or nearly
	tries     int  // failed replacements
	replaceAt time.Time
	endAt     time.Time
}

// main is the SA of a bundle that stands for all: ESP, or AH alone.
func mainOf(ids []ipsec.SAID) ipsec.SAID {
	for _, id := range ids {
		if id.Proto == ipsec.ESP {
			return id
		}
	}
	return ids[len(ids)-1]
}

func (c *child) hasOut(p ipsec.Proto, spi ipsec.SPI) bool {
	return slices.ContainsFunc(c.out, func(id ipsec.SAID) bool { return id.Proto == p && id.SPI == spi })
}

func (s *SA) childBySerial(n uint32) *child {
	return s.childWhere(func(c *child) bool { return c.serial == n })
}

func (s *SA) childByID(id ipsec.SAID) *child {
	return s.childWhere(func(c *child) bool { return slices.Contains(c.in, id) || slices.Contains(c.out, id) })
}

func (s *SA) childWhere(is func(*child) bool) *child {
	for _, c := range s.children {
		if is(c) {
			return c
		}
	}
	return nil
}

// ids names the SAs of one direction of parts.
func (s *SA) ids(parts []part, dir ipsec.Direction) []ipsec.SAID {
	var out []ipsec.SAID
	for _, p := range parts {
		id := ipsec.SAID{Dst: s.remote.Addr(), Proto: p.proto, SPI: p.out}
		if dir == ipsec.In {
			id = ipsec.SAID{Dst: s.local.Addr(), Proto: p.proto, SPI: p.in}
		}
		out = append(out, id)
	}
	return out
}

// install puts the SAs of one direction of a Quick Mode into the data plane.
// In a bundle all have the mode that was negotiated for all; it is the
// innermost that wraps the packet.
func (s *step) install(q *quick, dir ipsec.Direction) {
	life := q.volume()
	ids := s.ids(q.parts, dir)
	if dir == ipsec.In {
		q.in = ids
	} else {
		q.out = ids
	}
	for i, id := range ids {
		p := q.parts[i]
		sa := ipsec.SA{
			ID: id, Src: s.local.Addr(), Dir: dir, Mode: q.terms.mode, Transform: p.chosen.Transform(),
			Replay: q.conn.Replay, Life: life, Owner: owner(q.conn),
		}
		if len(ids) > 1 {
			sa.Bundle = ids
		}
		if dir == ipsec.In {
			sa.Src, sa.Original = s.remote.Addr(), q.original()
			if q.conn.CheckArrival {
				sa.Selectors = q.sides.selectors()
			}
		}
		if p.proto == ipsec.ESP {
			sa.Encap = s.encapPorts()
		}
		if p.proto == ipsec.Comp { // what protects it counts and numbers
			sa.Replay, sa.Life = 0, ipsec.Lifetime{}
		} else {
			sa.EncrKey, sa.IntegKey = s.keysOf(q, p, id.SPI)
		}
		s.emit(ike.Install{SA: sa})
	}
}

// keysOf cuts the keys of one SA out of its KEYMAT: encryption first, with the
// salt of an AEAD (RFC 2407 leaves the order to RFC 2401, RFC 4106 adds the
// salt).
func (s *SA) keysOf(q *quick, p part, spi ipsec.SPI) (encr, integ ipsec.Secret) {
	e, i := p.chosen.Encr.KeyLen(), 0
	if p.chosen.Integ != nil {
		i = p.chosen.Integ.Key
	}
	k := keymat(s.chosen.PRF, s.keys.d, q.shared, uint8(p.protocol()), spi, q.ni, q.nr, e+i)
	encr, integ = ipsec.NewSecret(clone(k[:e])), ipsec.NewSecret(clone(k[e:]))
	clear(k)
	return encr, integ
}

// volume is the part of a lifetime that the data plane counts. The limits are
// those of all SAs of a bundle, which end together.
func (q *quick) volume() ipsec.Lifetime {
	var all suite.KeyLimit
	for _, p := range q.parts {
		if l := p.chosen.KeyLimit(); p.proto != ipsec.Comp {
			all.Packets = lesser(all.Packets, l.Packets)
			all.Rekey, all.End = lesser(all.Rekey, l.Rekey), lesser(all.End, l.End)
		}
	}
	ours := q.nr
	if q.first {
		ours = q.ni
	}
	return q.conn.Volume(q.terms.kilobytes*1024, all, ours)
}

// owner is the name under which the data plane shows an SA.
func owner(c *ike.Conn) string {
	if c.Instance == 0 {
		return c.Name
	}
	return c.Title()
}

// childUp makes a finished Quick Mode a child, and says so. An older pair of
// the same connection for the same sides is replaced by it, whoever began.
func (s *step) childUp(q *quick) {
	ours, asked := lifeOf(q.conn.ChildLife, defaultESP), q.terms.life
	if asked == 0 {
		asked = defaultESP // RFC 2407, 4.5
	}
	life := min(ours, asked)
	// freeswan.md 6.6: a peer that believes the SA to last longer will not
	// replace it, so somebody else must.
	mayRekey := q.conn.Rekey || !q.first && (q.terms.shortened || ours < asked)
	c := &child{
		serial: q.serial, ike: s.serial, conn: q.conn, sides: q.sides, mayRekey: mayRekey,
		in: q.in, out: q.out,
	}
	c.replaceAt, c.endAt = s.lifetimes(q.conn, life, q.first, mayRekey)
	home := s.home()
	old := home.childWhere(func(o *child) bool { return o == q.old })
	for _, o := range home.children {
		if old == nil && !o.replaced && o.conn == q.conn && o.sides.equal(q.sides) {
			old = o
		}
	}
	state := quickR2.Name
	if q.first {
		state = quickI2.Name
	}
	up := ike.ChildUp{
		IKE: home.serial, In: mainOf(c.in), Out: mainOf(c.out), TSLocal: []ipsec.TS{c.sides.local}, TSRemote: []ipsec.TS{c.sides.remote},
		Suite: suiteText(q.parts, q.terms.group), Mode: q.terms.mode, Use: true, Initiator: q.first, ReplaceAt: c.replaceAt, EndAt: c.endAt, State: state,
	}
	if mainOf(c.in).Proto == ipsec.ESP {
		up.Encap = s.encapPorts()
	}
	if len(c.in) > 1 {
		up.InBundle, up.OutBundle = c.in, c.out
	}
	if old != nil {
		up.Rekeyed = old.serial
		old.replaced, old.replaceAt = true, zeroTime
		// By volume pairs may be replaced every few seconds: they do not wait
		// for their time to expire, which may be a day off.
		if end := s.now.Add(spentLife); old.spent && end.Before(old.endAt) {
			old.endAt = end
		}
	}
	home.children = append(home.children, c)
	s.reportOf(c.conn, c.serial, up)
	s.wake(home)
}

// childLimit is what happens at a soft or hard limit of a pair.
func (s *step) childLimit(c *child, hard bool) {
	switch {
	case hard:
		s.deleteChild(c, &ike.Failure{Reason: ike.ReasonOther, Why: expiredText(c)})
	case c.mayRekey && !c.replaced:
		s.rekeyChild(c)
	}
}

// expiredText is FreeS/WAN's line about the newest pair of a connection.
func expiredText(c *child) string {
	if !c.mayRekey {
		return "IPsec SA expired (--dontrekey)"
	}
	return "IPsec SA expired (LATEST!)"
}

// rekeyChild puts the replacement of a pair in line, unless it is there.
func (s *step) rekeyChild(c *child) {
	if !c.rekeying {
		s.want(want{conn: c.conn, old: c})
	}
}

// dropChild removes a pair at once. A replaced one may have packets under way
// and is buried.
func (s *step) dropChild(c *child, why *ike.Failure, byPeer bool) {
	s.children = slices.DeleteFunc(s.children, func(o *child) bool { return o == c })
	s.wants = slices.DeleteFunc(s.wants, func(w want) bool { return w.old == c })
	if c.replaced {
		why = nil
	}
	s.reportOf(c.conn, c.serial, ike.ChildDown{IKE: s.serial, In: mainOf(c.in), Out: mainOf(c.out), Why: why, ByPeer: byPeer, Replaced: c.replaced})
	if c.replaced {
		s.bury(append(slices.Clone(c.out), c.in...)...)
	} else {
		s.remove(c.out...)
		s.remove(c.in...)
	}
}

// grave holds replaced SAs for as long as packets may be under way.
type grave struct {
	at  time.Time
	ids []ipsec.SAID
}

// bury removes SAs from the data plane after the grace.
func (s *step) bury(ids ...ipsec.SAID) {
	s.graves = append(s.graves, grave{s.now.Add(grace), ids})
}

// digGraves removes what has lain long enough.
func (s *step) digGraves() {
	for len(s.graves) > 0 && !s.now.Before(s.graves[0].at) {
		s.remove(s.graves[0].ids...)
		s.graves = s.graves[1:]
	}
}

// deleteChild drops a pair and tells the peer.
func (s *step) deleteChild(c *child, why *ike.Failure) {
	s.dropChild(c, why, false)
	if v := s.voice(); v != nil {
		s.in(v).tellDeletes([]*child{c}, false)
	}
}

// refused takes back a pair of which the data plane did not take an SA.
func (s *step) refused(ev ike.Refused) {
	if c := s.childByID(ev.ID); c != nil {
		s.deleteChild(c, &ike.Failure{Reason: ike.ReasonPlane, Why: "the data plane refuses SA " + ev.ID.String() + ": " + ev.Why})
	}
}

// voice is a machine that can speak to the peer under protection: s itself, or
// another between the same ends.
func (s *SA) voice() *SA {
	if s.protected() {
		return s
	}
	for _, o := range s.kin() {
		if o.protected() {
			return o
		}
	}
	return nil
}

// tellDeletes sends Delete payloads for pairs, and in the end for the ISAKMP SA
// itself. Nothing answers them; a peer that misses them finds out by itself.
func (s *step) tellDeletes(cs []*child, isakmp bool) {
	var ps []wire.Payload
	for _, proto := range []ipsec.Proto{ipsec.ESP, ipsec.AH} {
		var spis [][]byte
		for _, c := range cs {
			for _, id := range c.in {
				if id.Proto == proto {
					spis = append(spis, spiOctets(proto, id.SPI))
				}
			}
		}
		for chunk := range slices.Chunk(spis, deletesPerMessage) {
			ps = append(ps, wire.NewDelete(part{proto: proto}.protocol(), chunk...))
		}
	}
	for _, p := range ps {
		s.tell(p)
	}
	if isakmp {
		s.tell(wire.NewDelete(wire.ProtoISAKMP, cookiesOf(s.spiI, s.spiR)))
	}
}

func (s *step) remove(ids ...ipsec.SAID) {
	for _, id := range ids {
		s.emit(ike.Remove{ID: id})
	}
}
