package ikev1

import (
	"container/list"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev1/wire"
	"cygnet/internal/octet"
)

// Gate takes the datagrams that belong to no ISAKMP SA and decides which of
// them may become one. A first message is answered with a cookie and
// remembered, which is cheap, bounded and makes room for others when there are
// too many; HASH_I covers its SA payload, so IKEv1 cannot do without. Only the
// second, which brings the cookie back from the same address, makes a machine
// and costs a key exchange. No answer is longer than what it answers.
//
// It is called from the goroutine that owns the machines it makes.
type Gate struct {
	cfg    *Config
	limits Limits

	secret      [32]byte
	secretUntil time.Time

	errors, notes ike.Bucket

	greetings list.List // of *greeting, oldest first
	byCaller  map[caller]*list.Element
	greeted   map[netip.Prefix]int

	halfOpen list.List // of *arrival, oldest first
	bySrc    map[netip.Prefix]int
}

// caller names a first message by whom it comes from.
type caller struct {
	spiI          uint64
	local, remote netip.AddrPort
}

// greeting is a first message that was answered.
type greeting struct {
	caller
	digest [sha256.Size]byte
	spiR   uint64
	conn   *ike.Conn
	choice phase1
	can    abilities
	saBody []byte // SAi_b
	answer []byte
	src    netip.Prefix
	until  time.Time
}

// arrival is a half-open ISAKMP SA.
type arrival struct {
	src   netip.Prefix
	until time.Time
}

// NewGate returns a gate.
func NewGate(cfg *Config, limits Limits) *Gate {
	return &Gate{
		cfg: cfg, limits: limits.withDefaults(),
		byCaller: make(map[caller]*list.Element), greeted: make(map[netip.Prefix]int), bySrc: make(map[netip.Prefix]int),
	}
}

// HalfOpen is the number of ISAKMP SAs whose peer has not proven itself yet.
func (g *Gate) HalfOpen() int { return g.halfOpen.Len() }

// Receive takes a datagram that belongs to no machine. It returns the machine
// of a new responder, which has already taken the datagram, or nil.
func (g *Gate) Receive(now time.Time, m ike.Received, out []ike.Action) (ike.Machine, []ike.Action) {
	h, err := ike.ParseHeader(m.Msg)
	if err != nil || h.Major != ike.Version1 || unfit(m) || g.cfg.Spoken != nil && !g.cfg.Spoken() {
		return nil, out
	}
	in := inbound{Header: h, digest: sha256.Sum256(m.Msg), local: m.Local, remote: m.Remote}
	g.sweep(now)
	switch {
	case h.Exchange != ike.MainMode:
		// Aggressive Mode, Mode Config and the like do not exist here
		// (V1-04); anything about an ISAKMP SA that we do not have is
		// nobody's word (V1-11).
		if h.SPIr == 0 && h.Exchange != ike.InfoV1 {
			out = g.note(now, in, out, fmt.Sprintf("unsupported exchange type %s in message", h.Exchange))
		}
		return nil, out
	case h.MessageID != 0 || h.Flags&ike.FlagEncryption != 0:
		return nil, out
	case h.SPIr == 0:
		return nil, g.greet(now, in, m.Msg, out)
	}
	return g.admit(now, in, m.Msg, out)
}

// unfit reports addresses that no honest peer has (adversary.md RES-04).
func unfit(m ike.Received) bool {
	r := m.Remote.Addr()
	return m.Remote.Port() == 0 || !r.IsValid() || r.IsUnspecified() || r.IsMulticast() || m.Remote == m.Local ||
		m.Local.Addr().IsMulticast() || r.Unmap() == broadcast
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// sourceOf is the network that counts as one source: who owns one address of it
// owns all.
func sourceOf(a netip.AddrPort) netip.Prefix {
	addr, bits := a.Addr().Unmap(), 24
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits)
	return p
}

// greet answers a first message.
//
//	--> HDR, SA, VIDs
//	<-- HDR, SA, VIDs
func (g *Gate) greet(now time.Time, in inbound, msg []byte, out []ike.Action) []ike.Action {
	who := caller{in.SPIi, in.local, in.remote}
	if e, ok := g.byCaller[who]; ok { // the first stands, and is answered as before
		gr := e.Value.(*greeting)
		if gr.digest == in.digest {
			out = append(out, ike.Send{Local: in.local, Remote: in.remote, Msg: clone(gr.answer)})
		}
		return out
	}
	src := sourceOf(in.remote)
	if g.greeted[src] >= g.limits.PerSource {
		return out
	}
	got, err := wire.Parse(msg)
	if err != nil || wire.MainSA.Check(got.Payloads, false) != nil {
		return out
	}
	var conns []*ike.Conn
	for _, c := range g.cfg.PAD.Between(in.local.Addr(), in.remote.Addr()) {
		if c.Version == ike.Version1 {
			conns = append(conns, c)
		}
	}
	if len(conns) == 0 {
		return g.note(now, in, out, fmt.Sprintf("initial Main Mode message received on %s but no connection has been authorized", in.local))
	}
	sa, _ := got.SA()
	conn, choice, t, why := select1(conns, sa)
	if why != nil {
		out = g.noteOf(now, in, out, conns, why)
		return g.refuse(now, in, len(msg), why.Notify, out)
	}
	gr := &greeting{
		caller: who, digest: in.digest, src: src, until: now.Add(greetingLife), conn: conn, choice: choice,
		can: abilitiesOf(got.VendorIDs()), saBody: clone(sa.Body()), spiR: g.cookie(now, in),
	}
	answer := wire.SA{Proposals: []wire.Proposal{{Number: sa.Proposals[0].Number, Protocol: wire.ProtoISAKMP, Transforms: []wire.Transform{t}}}}
	h := ike.Header{SPIi: in.SPIi, SPIr: gr.spiR, Major: ike.Version1, Exchange: ike.MainMode}
	gr.answer = wire.Append(nil, h, append([]wire.Payload{answer}, echo(got.VendorIDs())...)...)
	if len(gr.answer) > len(msg) {
		return out
	}
	g.keep(gr)
	return append(out, ike.Send{Local: in.local, Remote: in.remote, Msg: clone(gr.answer)})
}

// cookie is ours for a first message, freeswan.md 6.1: a hash of a secret that
// changes every hour, of the caller's address and of what it said. The same
// message gets the same cookie, also when it was forgotten in between.
func (g *Gate) cookie(now time.Time, in inbound) uint64 {
	if !now.Before(g.secretUntil) {
		copy(g.secret[:], ike.Octets(g.cfg.Rand, len(g.secret)))
		g.secretUntil = now.Add(secretLife)
	}
	mac := hmac.New(sha256.New, g.secret[:])
	mac.Write(in.remote.Addr().Unmap().AsSlice())
	mac.Write(octet.AppendUint16(nil, in.remote.Port()))
	mac.Write(in.digest[:])
	sum := mac.Sum(nil)
	return max(binary.BigEndian.Uint64(sum), 1)
}

// keep remembers a greeting. The oldest makes room: whoever is real comes back
// at once.
func (g *Gate) keep(gr *greeting) {
	for g.greetings.Len() >= g.limits.Greetings {
		g.forget(g.greetings.Front())
	}
	g.byCaller[gr.caller] = g.greetings.PushBack(gr)
	g.greeted[gr.src]++
}

func (g *Gate) forget(e *list.Element) {
	gr := g.greetings.Remove(e).(*greeting)
	delete(g.byCaller, gr.caller)
	uncount(g.greeted, gr.src)
}

func uncount(m map[netip.Prefix]int, p netip.Prefix) {
	if m[p]--; m[p] <= 0 {
		delete(m, p)
	}
}

// sweep forgets what is over. Machines end by their own Deadline; this is for a
// runtime that is late.
func (g *Gate) sweep(now time.Time) {
	for e := g.greetings.Front(); e != nil && !now.Before(e.Value.(*greeting).until); e = g.greetings.Front() {
		g.forget(e)
	}
	for e := g.halfOpen.Front(); e != nil && now.After(e.Value.(*arrival).until.Add(time.Second)); e = g.halfOpen.Front() {
		g.release(e)
	}
}

// admit makes a machine for a second message with the right cookie.
func (g *Gate) admit(now time.Time, in inbound, msg []byte, out []ike.Action) (ike.Machine, []ike.Action) {
	e, ok := g.byCaller[caller{in.SPIi, in.local, in.remote}]
	if !ok || e.Value.(*greeting).spiR != in.SPIr {
		return nil, out
	}
	gr := e.Value.(*greeting)
	if g.halfOpen.Len() >= g.limits.MaxHalfOpen || g.bySrc[gr.src] >= g.limits.MaxPerSource {
		return nil, out
	}
	got, err := wire.Parse(msg)
	if err != nil || wire.MainKE.Check(got.Payloads, gr.can.natDraft) != nil {
		return nil, out
	}
	in.Payloads = got.Payloads
	if ke, _ := in.KE(); len(ke.Data) != gr.choice.KE.Public {
		return nil, out
	}
	g.forget(e)
	a := &arrival{src: gr.src, until: now.Add(g.limits.HalfOpenLife)}
	half := g.halfOpen.PushBack(a)
	g.bySrc[a.src]++
	s := newResponder(g.cfg, gr, in)
	s.settled = func() { g.release(half) }
	st := &step{SA: s, now: now, out: &out}
	st.answerMI2(in, a.until)
	return s, out
}

// release forgets a half-open ISAKMP SA that is none any more.
func (g *Gate) release(e *list.Element) {
	if e.Value == nil {
		return
	}
	a := g.halfOpen.Remove(e).(*arrival)
	e.Value = nil
	uncount(g.bySrc, a.src)
}

// refuse answers with an error in the clear, within the limits on errors and
// never with more octets than came.
func (g *Gate) refuse(now time.Time, in inbound, size int, notify uint16, out []ike.Action) []ike.Action {
	h := ike.Header{SPIi: in.SPIi, Major: ike.Version1, Exchange: ike.InfoV1, MessageID: binary.BigEndian.Uint32(in.digest[:4])}
	msg := wire.Append(nil, h, wire.NewNotify(wire.ProtoISAKMP, notify, nil, nil))
	if len(msg) > size || !g.errors.Take(now, float64(g.limits.Errors), float64(g.limits.Errors)) {
		return out
	}
	return append(out, ike.Send{Local: in.local, Remote: in.remote, Msg: msg})
}

// noteOf is note of a refusal, of any of these connections.
func (g *Gate) noteOf(now time.Time, in inbound, out []ike.Action, conns []*ike.Conn, why *ike.Failure) []ike.Action {
	if !g.notes.Take(now, float64(g.limits.Errors), 1) {
		return out
	}
	return append(out, ike.Refusal(in.remote, conns, why))
}

// note reports what an unknown caller did, at a bounded rate.
func (g *Gate) note(now time.Time, in inbound, out []ike.Action, text string) []ike.Action {
	if !g.notes.Take(now, float64(g.limits.Errors), 1) {
		return out
	}
	return append(out, ike.Report{Peer: in.remote, Fact: ike.Note{Text: text}})
}
